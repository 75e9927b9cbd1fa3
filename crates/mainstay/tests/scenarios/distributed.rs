//! D1: a balancer, two servers, a primary and its replica.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::client::{Answer, get_with};
use crate::lab::{Lab, design, eventually, said};

/// Who answered for one tier, as the guestbook was told.
fn answered(lab: &Lab, tier: &str) -> String {
    told(&lab.get("/messages.json"), tier)
}

fn told(answer: &Answer, tier: &str) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let whole: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let journey = whole["journey"].as_array().unwrap();
    let step = journey.iter().find(|step| step["tier"] == tier).expect("the guestbook says who answered");
    step["server"].as_str().unwrap().to_owned()
}

#[test]
fn requests_alternate_and_a_message_is_read_back_from_the_replica() {
    let lab = Lab::design("1-distributed", "distributed.test");
    let served: Vec<String> = (0..4).map(|_| answered(&lab, "web")).collect();
    assert!(served.windows(2).all(|pair| pair[0] != pair[1]), "{served:?}");

    lab.post("/messages", &[("name", "Grace"), ("text", "replicated")]);
    eventually("the replica has the message", Duration::from_secs(5), || {
        let there = lab.get("/messages.json").body.contains("replicated");
        (there && answered(&lab, "database").starts_with("server2")).then_some(())
    });
    assert_eq!(lab.dig(&["+short", "www.distributed.test", "A"]).lines().last(), Some("10.80.0.10"));
    let page = crate::client::get(lab.page(), "127.0.0.1", "/").unwrap();
    assert!(page.body.contains("<svg") && page.body.contains("server2"), "the status page draws the site");
}

#[test]
fn two_sites_run_side_by_side() {
    let one = Lab::design("1-distributed", "one.test");
    let other = Lab::design("1-distributed", "other.test");
    one.post("/messages", &[("name", "Ada"), ("text", "only here")]);
    assert!(one.get("/messages.json").body.contains("only here"));
    assert!(!other.get("/messages.json").body.contains("only here"));
}

#[test]
fn a_simple_site_grows_into_a_distributed_one_and_keeps_its_data() {
    let lab = Lab::design("0-simple", "growing.test");
    lab.post("/messages", &[("name", "Ada"), ("text", "from the beginning")]);
    let down = lab.down();
    assert!(down.status.success(), "{}", said(&down));

    lab.declare(&design("1-distributed"));
    let up = lab.up();
    assert!(up.status.success(), "{}", said(&up));
    eventually("the new replica has the old message", Duration::from_secs(10), || {
        let there = lab.get("/messages.json").body.contains("from the beginning");
        (there && answered(&lab, "database").starts_with("server2")).then_some(())
    });
}

/// The balancers share a key and no table; the application's tier has a cookie of its own.
#[test]
fn a_visitor_stays_with_its_servers_whichever_balancer_it_meets() {
    let declaration = design("1-distributed")
        .replace("[balancer]", "[balancer]\nsticky = true")
        .replace("[web]", "[web]\nsticky = true");
    let second = "\n[servers.lb2]\naddress = \"10.80.0.9\"\nroles = [\"balancer\"]\n";
    let lab = Lab::start(&format!("{declaration}{second}"), "sticky.test");
    let first = lab.get("/messages.json");
    let set = first.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let cookies: Vec<String> = set.filter_map(|(_, value)| Some(value.split(';').next()?.to_owned())).collect();
    let named = |name: &str| cookies.iter().any(|cookie| cookie.starts_with(name));
    assert!(named("mainstay-web=") && named("mainstay-app="), "{first:?}");
    let mut balancers = BTreeSet::new();
    for _ in 0..12 {
        let answer = get_with(lab.http(), &lab.www(), "/messages.json", &cookies).unwrap();
        assert_eq!(told(&answer, "web"), told(&first, "web"));
        assert_eq!(told(&answer, "app"), told(&first, "app"));
        balancers.insert(told(&answer, "balancer"));
    }
    assert_eq!(balancers.len(), 2, "{balancers:?}");
}
