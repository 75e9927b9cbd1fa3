//! Schemas and accounts, brought up to the plan on the primary; the replicas get them by replication.
//!
//! Only what differs is changed, so a restart adds nothing to the binary log. Passwords go into it as hashes.

use std::collections::BTreeSet;

use mainstay_site::plan;
use mainstay_site::secrets::Secrets;

use super::admin::{Admin, Fault};
use super::engine::replication_account;
use super::mariadb::NUDGES;
use super::{CHECK, Error, REPLICATION};

/// Of MariaDB: an unknown account in `SHOW GRANTS` (ER_NONEXISTING_GRANT).
const NO_SUCH_ACCOUNT: u16 = 1141;
/// Schemas that MariaDB has for itself.
const RESERVED: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// One account and all that it may do.
struct Account<'a> {
    name: String,
    password: &'a str,
    /// Privileges on everything; `USAGE` is none.
    global: &'static str,
    /// A schema that is its own.
    schema: Option<&'a str>,
}

/// Creates and corrects what the plan lists. What it no longer lists is kept: it is somebody's data.
///
/// # Errors
/// A name that cannot be a schema, a password that is missing, a statement that failed.
pub async fn prepare(admin: &mut Admin, config: &plan::Database, secrets: &Secrets) -> Result<(), Error> {
    if !config.store.is_empty() {
        create_nudges(admin).await?;
    }
    for schema in &config.schemas {
        check_name(schema)?;
        create_schema(admin, schema).await?;
    }
    for account in wanted(replicas(config), &config.schemas, secrets)? {
        bring_up(admin, &account).await?;
    }
    Ok(())
}

fn wanted<'a>(replicas: Vec<String>, schemas: &'a [String], secrets: &'a Secrets) -> Result<Vec<Account<'a>>, Error> {
    let replication =
        |name| Account { name, password: &secrets.replication, global: "REPLICATION SLAVE", schema: None };
    let check =
        Account { name: CHECK.into(), password: &secrets.database_check, global: "SLAVE MONITOR", schema: None };
    let mut accounts: Vec<Account<'a>> = replicas.into_iter().map(replication).collect();
    accounts.push(check);
    for schema in schemas {
        let password = password(schema, secrets).ok_or_else(|| Error::NoPassword(schema.clone()))?;
        accounts.push(Account { name: schema.clone(), password, global: "USAGE", schema: Some(schema) });
    }
    Ok(accounts)
}

/// Where the servers agree on who leads, each has an account of its own, so that one can be kept out.
fn replicas(config: &plan::Database) -> Vec<String> {
    if config.store.is_empty() {
        return vec![REPLICATION.to_owned()];
    }
    config.members.iter().map(|member| replication_account(&member.server)).collect()
}

/// The password of the application whose schema this is: a hyphen of its name may be an underscore in the schema's.
pub fn password<'a>(schema: &str, secrets: &'a Secrets) -> Option<&'a str> {
    let plain = |name: &str| name.replace('-', "_");
    let mut applications = secrets.database.iter();
    applications.find(|(app, _)| plain(app.as_str()) == plain(schema)).map(|(_, password)| password.as_str())
}

/// 64 characters is MariaDB's limit for a schema's name; these characters need no escape anywhere.
fn check_name(schema: &str) -> Result<(), Error> {
    let plain = schema.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    let reserved = RESERVED.contains(&schema) || schema.starts_with("mainstay");
    if plain && !reserved && (1..=64).contains(&schema.len()) { Ok(()) } else { Err(Error::Schema(schema.to_owned())) }
}

/// Where a primary writes what is to be acknowledged in the place of something else: see [`super::engine::Engine::nudge`].
async fn create_nudges(admin: &mut Admin) -> Result<(), Error> {
    let exists = "SELECT COUNT(*) FROM information_schema.TABLES WHERE CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) = ?";
    if admin.value::<u64>(exists, (NUDGES,)).await? == Some(0) {
        admin.run("CREATE DATABASE IF NOT EXISTS mainstay").await?;
        admin
            .run(&format!("CREATE TABLE {NUDGES} (one TINYINT PRIMARY KEY, times BIGINT NOT NULL) ENGINE = InnoDB"))
            .await?;
    }
    Ok(())
}

async fn create_schema(admin: &mut Admin, schema: &str) -> Result<(), Error> {
    let exists = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?";
    if admin.value::<u64>(exists, (schema,)).await? == Some(0) {
        admin.run(&format!("CREATE DATABASE `{schema}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")).await?;
        tracing::info!(schema, "created");
    }
    Ok(())
}

async fn bring_up(admin: &mut Admin, account: &Account<'_>) -> Result<(), Error> {
    let hash: Option<String> = admin.value("SELECT PASSWORD(?)", (account.password,)).await?;
    // The hash of nothing is nothing, and an account with that lets everybody in.
    let Some(hash) = hash.filter(|hash| !hash.is_empty()) else {
        return Err(Error::NoPassword(account.name.clone()));
    };
    let granted = granted(admin, &account.name).await?;
    if granted == account.grants(&hash) {
        return Ok(());
    }
    let name = &account.name;
    if granted.is_empty() {
        admin.run(&format!("CREATE USER `{name}`@`%` IDENTIFIED BY PASSWORD '{hash}'")).await?;
    } else {
        admin.run(&format!("ALTER USER `{name}`@`%` IDENTIFIED BY PASSWORD '{hash}'")).await?;
        admin.run(&format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM `{name}`@`%`")).await?;
    }
    for grant in account.statements() {
        admin.run(&grant).await?;
    }
    tracing::info!(account = %name, "account brought up to the plan");
    Ok(())
}

async fn granted(admin: &mut Admin, name: &str) -> Result<BTreeSet<String>, Fault> {
    match admin.rows(&format!("SHOW GRANTS FOR `{name}`@`%`")).await {
        Ok(rows) => Ok(rows.iter().filter_map(|row| row.get_opt::<String, _>(0)?.ok()).collect()),
        Err(fault) if fault.code() == Some(NO_SUCH_ACCOUNT) => Ok(BTreeSet::new()),
        Err(fault) => Err(fault),
    }
}

impl Account<'_> {
    /// As `SHOW GRANTS` prints them.
    fn grants(&self, hash: &str) -> BTreeSet<String> {
        let login = format!("GRANT {} ON *.* TO `{}`@`%` IDENTIFIED BY PASSWORD '{hash}'", self.global, self.name);
        [login].into_iter().chain(self.own_schema()).collect()
    }

    fn statements(&self) -> impl Iterator<Item = String> {
        let global = (self.global != "USAGE").then(|| format!("GRANT {} ON *.* TO `{}`@`%`", self.global, self.name));
        global.into_iter().chain(self.own_schema())
    }

    /// In a grant `_` stands for any character: without the escape `a_b` would be given `axb` too.
    fn own_schema(&self) -> Option<String> {
        let pattern = self.schema?.replace('_', "\\_");
        Some(format!("GRANT ALL PRIVILEGES ON `{pattern}`.* TO `{}`@`%`", self.name))
    }
}

#[cfg(test)]
mod tests {
    use mainstay_site::names::AppName;

    use super::*;

    #[test]
    fn names_that_cannot_be_schemas_are_refused() {
        for name in ["site", "my_app", "my-app", "a1"] {
            check_name(name).unwrap();
        }
        for name in ["", "mysql", "sys", "mainstay_admin", "a`b", "a;b", "A", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_underscore_grants_one_schema_only() {
        let account = Account { name: "a_b".into(), password: "", global: "USAGE", schema: Some("a_b") };
        assert_eq!(account.statements().collect::<Vec<_>>(), ["GRANT ALL PRIVILEGES ON `a\\_b`.* TO `a_b`@`%`"]);
    }

    #[test]
    fn an_application_with_a_hyphen_finds_its_password() {
        let secrets = Secrets::complete(None, [&AppName::from("my-app")], |bytes| bytes.fill(1));
        assert!(password("my_app", &secrets).is_some() && password("my-app", &secrets).is_some());
        assert!(wanted(Vec::new(), &["other".into()], &secrets).is_err());
    }
}
