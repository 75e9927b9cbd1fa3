//! What a plan names and does not hold: keys and passwords, made once per site and kept in every server's state
//! directory (`secrets.json`, readable by root alone).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::FORMAT;
use crate::names::{AppName, ServerName};

/// Length of every secret before it is written as hexadecimal: 256 bits, so that none is ever the weakest link.
const SECRET_BYTES: usize = 32;

/// The secrets of a site.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// [`FORMAT`].
    pub format: u32,
    /// `SECRET_KEY` of each application; stable, since sessions are signed with it.
    pub app_keys: BTreeMap<AppName, String>,
    /// The password of each application's database account.
    pub database: BTreeMap<AppName, String>,
    /// The password of Mainstay's own account on every database server.
    pub database_admin: String,
    /// The password of the replication account.
    pub replication: String,
    /// The password of the account by which the SQL endpoints ask a database server how it is. Empty in files written
    /// before there was one; [`Secrets::complete`] fills it in.
    #[serde(default)]
    pub database_check: String,
    /// Signs the cookies by which visitors stay with a server; the same on every server. Empty in files written before
    /// there was one.
    #[serde(default)]
    pub sticky: String,
    /// From it come the keys of TLS session tickets; the same on every server, so that a session goes on at another one. Empty
    /// in files written before there was one.
    #[serde(default)]
    pub tickets: String,
    /// Signs what balancers say to each other about their floating addresses. Empty in files written before there was one.
    #[serde(default)]
    pub vip: String,
    /// Signs what front doors tell each other about visitors' requests. Empty in files written before there was one.
    #[serde(default)]
    pub limits: String,
    /// The password by which applications are let into their cache. Empty in files written before there was one.
    #[serde(default)]
    pub cache: String,
    /// The password of Mainstay's own account there, by which a copy is asked for too. Empty in files written before there
    /// was one.
    #[serde(default)]
    pub cache_admin: String,
    /// What visitors are shown over HTTPS; `None` without `[tls]`.
    #[serde(default)]
    pub certificate: Option<KeyPair>,
    /// The site's own certificate authority, by which its servers know each other. Its key is where the site is put
    /// together; elsewhere, and with every service, it is empty.
    #[serde(default)]
    pub authority: Option<KeyPair>,
    /// What each server shows the others: signed by the authority, for its name and address. A service has only its own
    /// server's.
    #[serde(default)]
    pub identities: BTreeMap<ServerName, KeyPair>,
    /// What an etcd that is not the site's is shown; `None` where the site's own is asked, or none.
    #[serde(default)]
    pub store: Option<StoreAccess>,
}

/// By what an etcd of somebody else is known, and by what it knows the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreAccess {
    /// PEM certificates of who may have signed the members'.
    pub authority: String,
    /// What the members are shown.
    pub identity: KeyPair,
}

/// A certificate with its private key, both PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// The chain, the site's own certificate first.
    pub certificate: String,
    /// PKCS #8, PKCS #1 or SEC1.
    pub key: String,
    /// The names that it was made for; none if it is the owner's.
    #[serde(default)]
    pub names: Vec<String>,
    /// Seconds since 1970 at which one that was made here ends.
    #[serde(default)]
    pub until: u64,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair for {:?}", self.names)
    }
}

impl Secrets {
    /// Fills in what is missing for `apps` and keeps everything that is there. `random` fills a buffer with
    /// unpredictable bytes.
    pub fn complete<'a>(
        known: Option<Secrets>,
        apps: impl IntoIterator<Item = &'a AppName>,
        mut random: impl FnMut(&mut [u8]),
    ) -> Secrets {
        let mut fresh = || {
            let mut bytes = [0; SECRET_BYTES];
            random(&mut bytes);
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let mut secrets = known.unwrap_or_else(|| Secrets {
            format: FORMAT,
            app_keys: BTreeMap::new(),
            database: BTreeMap::new(),
            database_admin: fresh(),
            replication: fresh(),
            database_check: String::new(),
            sticky: String::new(),
            tickets: String::new(),
            vip: String::new(),
            limits: String::new(),
            cache: String::new(),
            cache_admin: String::new(),
            certificate: None,
            authority: None,
            identities: BTreeMap::new(),
            store: None,
        });
        for later in [
            &mut secrets.database_check,
            &mut secrets.sticky,
            &mut secrets.tickets,
            &mut secrets.vip,
            &mut secrets.limits,
            &mut secrets.cache,
            &mut secrets.cache_admin,
        ] {
            if later.is_empty() {
                *later = fresh();
            }
        }
        for app in apps {
            secrets.app_keys.entry(app.clone()).or_insert_with(&mut fresh);
            secrets.database.entry(app.clone()).or_insert_with(&mut fresh);
        }
        secrets
    }
}

impl Secrets {
    /// What the server called `name` may know: of the identities its own, and of the authority no key.
    pub fn of(&self, name: &ServerName) -> Secrets {
        let mut own = self.clone();
        own.identities.retain(|server, _| server == name);
        if let Some(authority) = &mut own.authority {
            authority.key.clear();
        }
        own
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}
