//! What a site that is down may become: among those that come up must be who has its data, and a majority of who agreed on what
//! is in them. A site that is up hands both over on its way (`mainstay_site::bridge`).

use std::path::Path;

use anyhow::ensure;
use mainstay_site::model::Site;
use mainstay_site::names::{Generation, Role, ServerName};
use mainstay_site::plan::{Config, derive};
use mainstay_site::votes;

use crate::cli::site_folder::SiteFolder;

/// What helps.
const HINT: &str = "bring the site up as it was and `mainstay apply` the new declaration, which hands it over; \
                    or begin anew after `mainstay down --purge`";

/// Refuses what would leave data or agreements behind.
pub fn refuse(before: &Site, after: &Site, folder: &SiteFolder) -> anyhow::Result<()> {
    let databases =
        |site: &Site| -> Vec<ServerName> { site.with_role(Role::Database).map(|server| server.name.clone()).collect() };
    let (had, have) = (databases(before), databases(after));
    let filled: Vec<ServerName> = had.iter().filter(|name| has(before, name, folder, Kept::Data)).cloned().collect();
    ensure!(
        have.is_empty() || filled.is_empty() || filled.iter().any(|name| have.contains(name)),
        "the site's data are with {} alone, and none of them is declared as a database server any more: {HINT}",
        listed(&filled)
    );
    let gone = votes::lost(before, after);
    ensure!(
        !gone.iter().any(|name| has(before, name, folder, Kept::Votes)),
        "with {} a majority of those goes that alone know what the servers agreed on: {HINT}",
        listed(&gone)
    );
    Ok(())
}

/// What a server may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Data,
    Votes,
}

/// Whether there is anything of this on the disk of a server.
fn has(site: &Site, name: &ServerName, folder: &SiteFolder, kept: Kept) -> bool {
    let plan = derive(site, &[], Generation(0)).into_iter().find(|plan| plan.server == *name);
    let services = plan.into_iter().flat_map(|plan| plan.services);
    let mut data = services.filter_map(|service| match service.config {
        Config::Database(config) if kept == Kept::Data => Some(config.data),
        Config::Store(config) if kept == Kept::Votes => Some(config.data),
        _ => None,
    });
    data.any(|data| is_filled(&folder.server(name).join(data)))
}

fn is_filled(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

fn listed(names: &[ServerName]) -> String {
    names.iter().map(ServerName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use mainstay_site::declaration::{Anywhere, parse};

    use super::*;

    const HEAD: &str =
        "format = 1\n[site]\ndomain = \"a.com\"\n[app]\npath = \"x\"\nkind = \"http\"\ncommand = \"x\"\n";

    /// Servers with these roles.
    fn site(servers: &[(&str, &str)]) -> Site {
        let one = |(place, (name, roles)): (usize, &(&str, &str))| {
            format!("[servers.{name}]\naddress = \"10.0.0.{}\"\nroles = [{roles}]\n", place + 1)
        };
        let servers: String = servers.iter().enumerate().map(one).collect();
        parse(&format!("{HEAD}{servers}"), &Anywhere).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    #[test]
    fn who_has_data_or_votes_may_not_leave_while_the_site_is_down() {
        let folder = tempfile::tempdir().unwrap();
        let folder = SiteFolder(folder.path().to_owned());
        let data = "\"web\", \"app\", \"database\"";
        let was = site(&[("lb1", "\"balancer\""), ("server1", data), ("server2", data)]);
        let others = site(&[("lb1", "\"balancer\""), ("server3", data), ("server4", data)]);
        let one = site(&[("lb1", "\"balancer\""), ("server1", data), ("server3", data)]);
        let refused = |after: &Site| refuse(&was, after, &folder).map_err(|why| why.to_string());
        assert_eq!(refused(&others), Ok(()), "nothing was ever written");
        std::fs::create_dir_all(folder.server(&"server1".into()).join("data/store/etcd/member")).unwrap();
        assert!(refused(&others).unwrap_err().contains("with server1, server2 a majority"));
        assert_eq!(refused(&one), Ok(()));
        std::fs::create_dir_all(folder.server(&"server1".into()).join("data/database/mariadb/site")).unwrap();
        assert!(refused(&others).unwrap_err().contains("the site's data are with server1 alone"));
        assert_eq!(refused(&one), Ok(()));
    }
}
