//! Who may read or do what they should not.

use super::{Group, List, Told, names};
use crate::model::{Certificate, Inside};
use crate::names::Role;

pub(super) fn find(list: &mut List<'_>) {
    firewall(list);
    https(list);
    adverts(list);
}

fn adverts(list: &mut List<'_>) {
    let site = list.site;
    if site.cluster().is_some_and(|cluster| !cluster.signed) {
        let told = Told {
            what: "the balancers believe whoever says that he has the floating address".into(),
            consequence: "anybody on their network can take the site from its visitors with one packet".into(),
            remedy: "remove signed = false from [balancer] cluster, unless others than Mainstay share the address"
                .into(),
        };
        list.add(Group::Security, "unsigned-adverts", site.with_role(Role::Balancer), told);
    }
}

fn firewall(list: &mut List<'_>) {
    let site = list.site;
    let Some(firewall) = &site.firewall else {
        let told = Told {
            what: "there is no firewall".into(),
            consequence: "every port of every server, the database's among them, can be tried by whoever reaches it"
                .into(),
            remedy: "add [firewall]; with ssh-from = [\"…\"] you keep your own way in".into(),
        };
        return list.add(Group::Security, "no-firewall", &site.servers, told);
    };
    let open: Vec<&str> =
        firewall.ssh_from.iter().filter(|network| network.ends_with("/0")).map(String::as_str).collect();
    if !open.is_empty() {
        let told = Told {
            what: format!("SSH is open to {}", open.join(" and ")),
            consequence: "anybody may try passwords and keys at every server".into(),
            remedy: "name the networks that you administer from in [firewall] ssh-from".into(),
        };
        list.add(Group::Security, "ssh-open", &site.servers, told);
    }
}

fn https(list: &mut List<'_>) {
    let site = list.site;
    let front: Vec<_> = site.with_role(site.front()).collect();
    let Some(tls) = &site.tls else {
        let told = Told {
            what: "the site is served over plain HTTP".into(),
            consequence: "passwords and sessions can be read and pages changed on the way to the visitor".into(),
            remedy: "add [tls] with certificate = \"acme\"".into(),
        };
        return list.add(Group::Security, "no-https", front, told);
    };
    if tls.certificate == Certificate::SelfSigned {
        let told = Told {
            what: "the certificate is self-signed".into(),
            consequence: "browsers warn every visitor, who then cannot tell you from an impostor".into(),
            remedy: "[tls] certificate = \"acme\" once the name is public".into(),
        };
        list.add(Group::Security, "self-signed", front.clone(), told);
    }
    if tls.redirect == Some(false) {
        let told = Told {
            what: "plain HTTP is answered beside HTTPS".into(),
            consequence: "who types the name without https:// stays in the clear".into(),
            remedy: "leave [tls] redirect out".into(),
        };
        list.add(Group::Security, "plain-http", front.clone(), told);
    }
    if tls.inside == Inside::Off && site.servers.len() > 1 {
        let told = Told {
            what: format!("TLS ends at {}", names(front.iter().copied())),
            consequence: "requests, answers and database traffic pass between the servers in the clear".into(),
            remedy: "[tls] inside = \"mutual\"".into(),
        };
        list.add(Group::Security, "inside-clear", front, told);
    }
}
