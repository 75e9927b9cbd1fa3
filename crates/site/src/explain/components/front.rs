//! What visitors meet before the first server of the site answers.

use super::super::Scene;
use super::super::failure::loss;
use super::super::sentence::{list, names, verb};
use super::{Component, Here, absent};
use crate::findings::{Redundancy, redundancy};
use crate::model::{Certificate, ClusterMode, Inside, Tls, Www};
use crate::names::Role;
use crate::plan::Config;

pub(super) const DNS: Component = Component {
    word: "dns",
    aliases: &["nameservers", "domain", "zone"],
    title: "name server",
    what: "A name server answers the question which address a name has. Before a browser can ask the site for anything, \
           its resolver asks a name server where the site is.",
    here: dns,
};

fn dns(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let Some(server) = site.with_role(Role::Dns).next() else {
        return absent(
            "Nobody here answers for the name: somebody else's name service must. A server with the role `dns` would.",
        );
    };
    let www = match site.www {
        Www::Cname => "is an alias of it",
        Www::Address => "has addresses of its own",
    };
    let addresses: Vec<String> = site.public_addresses().iter().map(ToString::to_string).collect();
    let who = names(site.with_role(Role::Dns));
    let count = site.count(Role::Dns);
    let text = format!(
        "{who} {} for {}, so that the name follows the site by itself; www.{} {www}. Both lead to {}. Resolvers may \
         keep an answer for {} seconds.",
        verb(count, "answer"),
        site.domain,
        site.domain,
        list(&addresses),
        ttl(scene)
    );
    let talks =
        vec![format!("resolvers in the internet ask `dns` on {who} by DNS, port {} (UDP and TCP)", site.ports.dns)];
    let fails = match redundancy(site, Role::Dns) {
        Redundancy::Single => format!(
            "{who} is the only one: when it fails, {}. The servers behind it may be well; nobody finds them.",
            loss(site, Role::Dns, server)
        ),
        _ => format!("When {} fails, {}.", server.name, loss(site, Role::Dns, server)),
    };
    Here { who: Some(who), text, talks, fails, notices: Vec::new() }
}

/// What the plan says; none without a name server.
fn ttl(scene: &Scene<'_>) -> u32 {
    let services = scene.plans.iter().flat_map(|plan| &plan.services);
    let known =
        services.filter_map(|service| if let Config::Dns(dns) = &service.config { Some(dns.ttl) } else { None });
    known.max().unwrap_or_default()
}

pub(super) const FIREWALL: Component = Component {
    word: "firewall",
    aliases: &["firewalls", "packetfilter"],
    title: "firewall",
    what: "A firewall looks at every packet and drops what no rule allows: ports that nobody should reach, strangers at \
           the door for administrators, floods.",
    here: firewall,
};

fn firewall(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let network = site.with_role(Role::Firewall).next();
    if network.is_none() && site.firewall.is_none() {
        return absent(
            "Without one, every port of every server, the database's among them, can be tried by whoever reaches it. \
             [firewall] in the declaration asks for it.",
        );
    }
    let mut text = String::new();
    if network.is_some() {
        let who = names(site.with_role(Role::Firewall));
        text = format!("{who} {} between the internet and the site. ", verb(site.count(Role::Firewall), "stand"));
    }
    if let Some(firewall) = &site.firewall {
        let ssh = if firewall.ssh_from.is_empty() {
            "is closed to everybody".to_owned()
        } else {
            format!("is open to {} alone", list(&firewall.ssh_from))
        };
        text.push_str(&format!(
            "Every server also has one of its own, so that what got into one server does not reach the next. SSH {ssh}."
        ));
    }
    let fails = match network {
        None => "It is part of each server's kernel: it stands and falls with its server.".into(),
        Some(server) if redundancy(site, Role::Firewall) == Redundancy::Single => {
            format!(
                "{} is the only one in front of the site: when it fails, {}.",
                server.name,
                loss(site, Role::Firewall, server)
            )
        }
        Some(server) => format!("When {} fails, {}.", server.name, loss(site, Role::Firewall, server)),
    };
    let who = if network.is_some() { names(site.with_role(Role::Firewall)) } else { "every server".into() };
    let talks = vec![format!("visitors' packets pass it on their way to {}", names(site.with_role(site.front())))];
    Here {
        who: Some(who),
        text: text.trim_end().into(),
        talks,
        fails,
        notices: scene.notices(&["[firewall]", "the role `firewall`"]),
    }
}

pub(super) const CERTIFICATE: Component = Component {
    word: "certificate",
    aliases: &["tls", "https", "ssl", "acme", "encryption"],
    title: "certificate",
    what: "A certificate proves to a browser that it talks to this site and to nobody in between, and with it all traffic \
           is encrypted: HTTPS.",
    here: certificate,
};

fn certificate(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let Some(tls) = &site.tls else {
        return absent(
            "Without one the site is served over plain HTTP: passwords can be read and pages changed on the way. [tls] \
             in the declaration asks for it.",
        );
    };
    let (text, fails) = origin(tls);
    let inside = match tls.inside {
        Inside::Mutual => {
            "Between the tiers traffic is encrypted again, and both ends show a certificate of the site's own authority."
        }
        Inside::Off => "Encryption ends there: between the tiers traffic is in the clear.",
    };
    let front = names(site.with_role(site.front()));
    let shown = verb(site.count(site.front()), "show");
    let text = format!("{text} {front} {shown} it to visitors. {} {inside}", clear(tls));
    let talks = vec![format!("browsers ask {front} by HTTPS, port {}", site.ports.https)];
    Here { who: Some(front), text, talks, fails: fails.into(), notices: scene.notices(&["tls."]) }
}

/// What becomes of those who come in clear.
fn clear(tls: &Tls) -> String {
    const HOUR: u32 = 3600;
    const DAY: u32 = 24 * HOUR;
    let plain = match (tls.redirects(), tls.redirect) {
        (true, _) => {
            "Who comes by plain HTTP is sent on to HTTPS, except the health checks and the challenges of an authority."
        }
        (false, Some(_)) => "Plain HTTP is answered beside it, since redirect = false says so.",
        (false, None) => {
            "Plain HTTP is answered beside it: nobody is sent to a certificate that browsers warn of, unless \
             redirect = true says so."
        }
    };
    match tls.hsts_seconds {
        Some(seconds) => {
            let length = if seconds % DAY == 0 { (seconds / DAY, "days") } else { (seconds / HOUR, "hours") };
            format!(
                "{plain} Browsers that came by HTTPS are told not to come otherwise for {} {} (HSTS), which cannot be \
                 taken back sooner.",
                length.0, length.1
            )
        }
        None => plain.into(),
    }
}

/// Where a certificate comes from, and what happens when it fails.
fn origin(tls: &Tls) -> (String, &'static str) {
    match &tls.certificate {
        Certificate::Acme => (
            "It is obtained from a public authority and renewed by itself (ACME).".into(),
            "A certificate ends on a day that it names; from then on browsers refuse the site. It is renewed long before, \
             so that the authority may be away for weeks.",
        ),
        Certificate::SelfSigned => (
            "Mainstay makes it. Nobody vouches for it: browsers warn every visitor, which is fit for a trial, not for the \
             public.".into(),
            "Visitors who got used to the warning cannot tell the site from an impostor.",
        ),
        Certificate::Files { certificate, .. } => (
            format!("It is the owner's own, from `{certificate}`."),
            "It is not renewed by Mainstay: when it has expired, browsers refuse the site until the owner puts a new one.",
        ),
    }
}

pub(super) const FLOATING: Component = Component {
    word: "floating-address",
    aliases: &["vip", "virtualip", "floatingip", "virtualaddress", "cluster", "vrrp"],
    title: "floating address",
    what: "A floating address belongs to no single server. The balancer in charge holds it; when that one fails, another \
           claims it and tells the network (gratuitous ARP). The name leads to it always, so that nothing changes in DNS.",
    here: floating,
};

fn floating(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let Some(cluster) = site.balancer.as_ref().and_then(|it| it.cluster.as_ref()) else {
        return absent(
            "Without one, each balancer is reached at its own address, and the name must change when it fails. Two \
             balancers and [balancer] cluster = { address = \"…\" } ask for it.",
        );
    };
    let addresses: Vec<String> = cluster.addresses.iter().map(ToString::to_string).collect();
    let who = names(site.with_role(Role::Balancer));
    let mode = match cluster.mode {
        ClusterMode::ActivePassive => "One of them serves, the others wait (active-passive).",
        ClusterMode::ActiveActive => "Each serves at an address of its own and backs the others up (active-active).",
    };
    let hook = cluster
        .hook
        .as_ref()
        .map(|hook| format!(" Whoever takes it over calls `{hook}`, which moves it in the cloud."));
    let text = format!("{who} share {}. {mode}{}", list(&addresses), hook.unwrap_or_default());
    let talks = vec![
        format!("visitors come to {}, which leads to a balancer", list(&addresses)),
        "the balancers tell each other that they are alive".into(),
    ];
    let fails = "When the balancer that holds it fails, another takes it over within moments: connections through the \
                 failed one break, new ones are answered. One balancer can be worked on while another serves.";
    Here { who: Some(who), text, talks, fails: fails.into(), notices: scene.notices(&["balancer.cluster"]) }
}
