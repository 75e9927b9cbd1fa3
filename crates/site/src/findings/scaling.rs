//! What keeps the site from growing with its visitors.

use super::{Group, List, Told, names};
use crate::names::Role;

pub(super) fn find(list: &mut List<'_>) {
    let site = list.site;
    let serving = site.servers.iter().filter(|server| server.has(Role::App) || server.has(Role::Web)).count();
    if serving == 1 && site.count(Role::App) == 1 {
        let one: Vec<_> = site.with_role(Role::App).collect();
        let told = Told {
            what: format!("{} does all the work", names(one.iter().copied())),
            consequence: "the site cannot grow past one server: when it is full, visitors wait".into(),
            remedy: "add a server with the role `balancer` and a second one with `web` and `app`".into(),
        };
        list.add(Group::Scaling, "one-server", one, told);
    }
    shared_files(list);
}

/// What the code writes on one server is not on the others.
fn shared_files(list: &mut List<'_>) {
    let site = list.site;
    let seers: Vec<_> = site.servers.iter().filter(|server| server.has(Role::App) || server.has(Role::Web)).collect();
    for app in site.apps.iter().filter(|app| !app.shared.is_empty() && seers.len() > 1) {
        let told = Told {
            what: format!(
                "the application `{}` writes {}, and every server has its own",
                app.name,
                app.shared.join(", ")
            ),
            consequence: "a file written on one server is missing on the others, and gone with that server".into(),
            remedy: "keep such files in the database or an object store; shared storage is not part of this version"
                .into(),
        };
        list.add(Group::Scaling, "shared-files", seers.clone(), told);
    }
}
