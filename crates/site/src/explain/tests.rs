use super::*;
use crate::draw::tests::tier;
use crate::names::Role;

fn sites() -> Vec<Site> {
    let all = "[balancer]\ncluster = { address = \"10.99.0.1\" }\n[tls]\ncertificate = \"acme\"\n[firewall]\n\
               [database]\nfailover = \"automatic\"\n";
    vec![
        tier("", &[("all", 1, "dns web app database")]),
        tier("", &[("lb", 1, "dns balancer"), ("s", 2, "web app database")]),
        tier("", &[("web", 2, "web"), ("app", 1, "app")]),
        tier(
            all,
            &[
                ("fw", 2, "firewall"),
                ("lb", 2, "dns balancer"),
                ("web", 6, "web"),
                ("app", 2, "app cache"),
                ("db", 3, "database"),
                ("mon", 2, "monitor"),
            ],
        ),
    ]
}

#[test]
fn every_role_and_every_server_is_explained() {
    for site in sites() {
        for word in Role::ALL.map(Role::as_str) {
            let topics = explain(&site, word).unwrap();
            assert!(topics.iter().all(|topic| !topic.what.is_empty() && !topic.here.is_empty()), "{word}");
        }
        for server in &site.servers {
            let topics = explain(&site, server.name.as_str()).unwrap();
            assert_eq!(topics[0].who.as_deref(), Some(server.name.as_str()));
            assert!(server.roles.iter().all(|role| topics[0].fails.contains(role.as_str())), "{}", server.name);
        }
    }
}

#[test]
fn every_connection_of_the_plans_is_told() {
    for site in sites() {
        let told: Vec<String> = explain_all(&site).into_iter().flat_map(|topic| topic.talks).collect();
        for plan in derive(&site, &[], Generation(1)) {
            for service in &plan.services {
                for flow in &service.talks {
                    let (from, to) = (format!("`{}` on", service.name), format!("asks `{}` on", flow.service));
                    let port = flow.address.port().to_string();
                    let fits = |line: &&String| line.starts_with(&from) && line.contains(&to) && line.contains(&port);
                    assert!(told.iter().any(|line| fits(&line)), "{from} … {to} {port}: {told:#?}");
                }
            }
        }
    }
}

#[test]
fn every_declared_component_is_listed_and_no_other() {
    let words = |site: &Site| explain_all(site).into_iter().map(|topic| topic.word).collect::<Vec<_>>();
    let sites = sites();
    assert_eq!(words(&sites[0]), ["dns", "limits", "web", "page-cache", "app", "sql", "primary"]);
    assert_eq!(words(&sites[2]), ["limits", "web", "page-cache", "app"]);
    assert_eq!(words(&sites[3]).len(), components::ALL.len());
}

#[test]
fn each_word_is_asked_for_as_people_write_it() {
    let site = &sites()[0];
    let first = |word: &str| explain(site, word).unwrap().remove(0).word;
    for (word, topic) in [
        ("Load Balancer", "balancer"),
        ("load-balancer", "balancer"),
        ("VIP", "floating-address"),
        ("semi-sync", "replication"),
        ("name server", "dns"),
        ("tls", "certificate"),
        ("https", "certificate"),
        ("cache", "page-cache"),
        ("rate limits", "limits"),
        ("database", "primary"),
    ] {
        assert_eq!(first(word), topic, "{word}");
    }
}

#[test]
fn limits_and_cache_are_told_as_they_are_declared() {
    let here = |extra: &str, word: &str| explain(&tier(extra, &[("all", 1, "web app")]), word).unwrap().remove(0).here;
    assert!(here("", "cache").contains("up to 64 MiB"));
    assert!(here("[web]\ncache = { memory = \"2 GiB\" }\n", "cache").contains("up to 2048 MiB"));
    assert!(here("[web]\ncache = false\n", "cache").starts_with("Every page is made anew"));
    assert!(here("", "limits").contains("1024 connections"));
    let told = here(
        "[limits]\nconnections-per-address = 9\nrates = [{ per = \"address\", rate = \"5/m\", route = \"/login/\" }]\n",
        "limits",
    );
    assert!(
        told.contains("9 connections") && told.contains("Below /login/ an address may ask 5 times a minute"),
        "{told}"
    );
}

#[test]
fn an_unknown_word_gets_a_hint() {
    let site = &sites()[1];
    assert_eq!(explain(site, "balansr").unwrap_err().near.as_deref(), Some("balancer"));
    assert_eq!(explain(site, "lb2").unwrap_err().near.as_deref(), Some("lb1"));
    assert_eq!(explain(site, "zzz").unwrap_err().near, None);
}

#[test]
fn lists_end_in_and() {
    assert_eq!(sentence::list(&["a", "b", "c"]), "a, b and c");
    assert_eq!(sentence::list(&["a", "b", "c", "d", "e"]), "a, b, c and 2 others");
}
