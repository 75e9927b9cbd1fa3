//! A server with the role `cache`: sessions are in Redis, and go on without it.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Answer, get_with, post_with};
use crate::lab::{Lab, design, eventually};

/// What a page may take while Redis hangs: its time limit in the guestbook is a fifth of a second for reading and none for
/// writing right after, and the rest is for a busy machine.
const PAGE: Duration = Duration::from_secs(2);

const CACHE: &str =
    "\n[cache]\nmemory = \"16 MiB\"\n\n[firewall]\n\n[servers.cache1]\naddress = \"10.80.0.12\"\nroles = [\"cache\"]\n";

/// A visitor with a browser's memory for cookies.
struct Visitor<'l> {
    lab: &'l Lab,
    cookies: Vec<String>,
}

impl Visitor<'_> {
    fn keep(&mut self, answer: Answer) -> Answer {
        let set = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        for cookie in set.filter_map(|(_, value)| value.split(';').next()) {
            let name = cookie.split('=').next().unwrap();
            self.cookies.retain(|known| known.split('=').next() != Some(name));
            self.cookies.push(cookie.to_owned());
        }
        answer
    }

    fn page(&mut self) -> String {
        let began = Instant::now();
        let answer = get_with(self.lab.http(), &self.lab.www(), "/", &self.cookies).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(began.elapsed() < PAGE, "a page took {:?}", began.elapsed());
        self.keep(answer).body
    }

    fn sign(&mut self, name: &str) {
        let fields = [("name", name), ("text", "hello")];
        let answer = post_with(self.lab.http(), &self.lab.www(), "/messages", &fields, &self.cookies).unwrap();
        assert_eq!(self.keep(answer).status, 303);
    }
}

/// The report of the cache.
fn cache(lab: &Lab) -> serde_json::Value {
    let status = lab.status();
    let servers = status["servers"].as_array().unwrap();
    let services = servers.iter().filter_map(|server| server["status"]["services"].as_array()).flatten();
    services.into_iter().find(|service| service["name"] == "cache").expect("there is a cache")["report"].clone()
}

fn redis(lab: &Lab) -> Pid {
    let pid = cache(lab)["parts"][0]["pid"].as_i64().expect("Redis runs");
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

fn keys(lab: &Lab) -> u64 {
    let report = cache(lab);
    let fact = report["facts"].as_array().unwrap().iter().find(|fact| fact[0] == "keys").cloned();
    fact.and_then(|fact| fact[1].as_str()?.parse().ok()).unwrap_or(0)
}

#[test]
fn sessions_are_in_redis_and_go_on_when_it_is_killed_or_hangs() {
    let declaration = design("0-simple") + CACHE;
    let lab = Lab::start(&declaration, "d-cached.test");
    let mut visitor = Visitor { lab: &lab, cookies: Vec::new() };
    visitor.sign("Ada Lovelace");
    assert!(visitor.page().contains("Ada Lovelace"));
    eventually("the session is in Redis", Duration::from_secs(5), || (keys(&lab) > 0).then_some(()));
    assert!(!visitor.cookies.iter().any(|cookie| cookie.contains("Ada")), "{:?}", visitor.cookies);

    // Killed: it comes back empty, and the database knows who the visitor is.
    let before = redis(&lab);
    kill_process(before, Signal::KILL).unwrap();
    assert!(visitor.page().contains("value=\"Ada Lovelace\""));
    eventually("another Redis runs", Duration::from_secs(20), || {
        let pid = cache(&lab)["parts"][0]["pid"].as_i64()?;
        (pid != i64::from(before.as_raw_nonzero().get())).then_some(())
    });
    assert!(visitor.page().contains("value=\"Ada Lovelace\""));

    // Hanging: nobody waits for it for long, and what changes meanwhile is not undone by what it still has.
    let hanging = redis(&lab);
    eventually("the session is in it again", Duration::from_secs(20), || {
        visitor.page();
        (keys(&lab) > 0).then_some(())
    });
    kill_process(hanging, Signal::STOP).unwrap();
    visitor.sign("Countess");
    for _ in 0..5 {
        assert!(visitor.page().contains("value=\"Countess\""));
    }
    eventually("it is missed", Duration::from_secs(20), || (cache(&lab)["state"] == "failed").then_some(()));
    kill_process(hanging, Signal::CONT).unwrap();
    eventually("it is back", Duration::from_secs(20), || (cache(&lab)["state"] == "serving").then_some(()));
    assert!(visitor.page().contains("value=\"Countess\""), "what Redis had kept was older");
}
