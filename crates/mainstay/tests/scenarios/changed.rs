//! What changes while visitors keep asking: plans, certificates, processes, the program itself. No request is lost.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mainstay_site::model::Algorithm;
use mainstay_site::names::ServiceName;
use mainstay_site::plan::{Config, Plan, Pool};
use mainstay_site::secrets::{KeyPair, Secrets};
use mainstay_site::wire::{ServiceStatus, State};

use crate::lab::{Lab, eventually, said};
use crate::steady::Steady;

/// For a change to be in force; all of them take well under a second.
const SOON: Duration = Duration::from_secs(20);

/// A balancer before two web servers, which serve a file themselves and have PHP for the rest.
fn prepared(domain: &str) -> Lab {
    let declaration = r#"format = 1
[site]
domain = "foobar.com"
[app]
path = "code"
kind = "php"
entry = "index.php"
[tls]
certificate = "self-signed"
[servers.lb1]
address = "10.80.0.10"
roles = ["balancer"]
[servers.server1]
address = "10.80.0.11"
roles = ["web", "app"]
[servers.server2]
address = "10.80.0.12"
roles = ["web", "app"]
"#;
    let lab = Lab::prepare(declaration, domain);
    let code = lab.folder().join("code");
    std::fs::create_dir(&code).unwrap();
    std::fs::write(code.join("index.php"), "<?php echo file_get_contents('php://input');").unwrap();
    std::fs::write(code.join("x.txt"), "small\n").unwrap();
    lab
}

fn started(domain: &str) -> Lab {
    let lab = prepared(domain);
    let up = lab.up();
    assert!(up.status.success(), "{}", said(&up));
    lab
}

fn steady(lab: &Lab) -> Steady {
    Steady::start(lab.http(), lab.https(), &lab.www())
}

fn lost_nothing(steady: Steady) {
    let tally = steady.end();
    eprintln!("{} answered, {} lost, slowest {:?}", tally.answered, tally.failed.len(), tally.slowest);
    assert!(tally.failed.is_empty(), "{} answered, not: {:#?}", tally.answered, tally.failed);
}

/// A service as its supervisor sees it.
fn service(lab: &Lab, server: &str, name: &str) -> ServiceStatus {
    let status = lab.control(server, async |client| client.status().await);
    status.services.into_iter().find(|service| service.name.as_str() == name).unwrap()
}

fn follows(service: &ServiceStatus) -> Option<&str> {
    let facts = &service.report.as_ref()?.facts;
    facts.iter().find(|(what, _)| what == "follows").map(|(_, is)| is.as_str())
}

/// Changes the balancer's pool, and waits until it goes by that.
fn reload(lab: &Lab, plan: &mut Plan, change: impl FnOnce(&mut Pool)) {
    plan.generation.0 += 1;
    let balancer = plan.services.iter_mut().find_map(|service| match &mut service.config {
        Config::Balancer(balancer) => Some(balancer),
        _ => None,
    });
    change(&mut balancer.unwrap().pool);
    lab.control("lb1", async |client| client.put_plan(plan).await);
    let generation = format!("generation {}", plan.generation);
    eventually(&format!("the balancer follows {generation}"), SOON, || {
        let balancer = service(lab, "lb1", "balancer");
        (follows(&balancer) == Some(&*generation)).then_some(())
    });
}

/// Puts another certificate among the balancer's secrets, as whoever renews it does, and waits until visitors are shown it.
fn certify(lab: &Lab, name: &str) {
    show(lab, made(lab, name));
    eventually(&format!("visitors are shown {name}"), SOON, || shown(lab).contains(name).then_some(()));
}

fn made(lab: &Lab, name: &str) -> KeyPair {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9"])
        .args(["-subj", &format!("/CN={name}"), "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(lab.folder())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let read = |file: &str| std::fs::read_to_string(lab.folder().join(file)).unwrap();
    KeyPair { certificate: read("cert.pem"), key: read("key.pem"), names: Vec::new(), until: 0 }
}

fn show(lab: &Lab, pair: KeyPair) {
    let (path, next) = (lab.state("lb1").join("secrets.json"), lab.state("lb1").join("secrets.next"));
    let mut secrets: Secrets = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    secrets.certificate = Some(pair);
    std::fs::write(&next, serde_json::to_vec(&secrets).unwrap()).unwrap();
    std::fs::rename(next, path).unwrap();
}

fn shown(lab: &Lab) -> String {
    let ask = "openssl s_client -connect $0 </dev/null 2>/dev/null | openssl x509 -noout -subject";
    said(&Command::new("sh").args(["-c", ask, &lab.https().to_string()]).output().unwrap())
}

#[test]
fn no_request_is_lost_by_other_backends_weights_algorithms_and_certificates() {
    let lab = started("reload.test");
    let plans = std::fs::read(lab.state(".site").join("plans.json")).unwrap();
    let plans: Vec<Plan> = serde_json::from_slice(&plans).unwrap();
    let mut plan = plans.into_iter().find(|plan| plan.server.as_str() == "lb1").unwrap();
    let before = service(&lab, "lb1", "balancer");
    let mut load = steady(&lab);
    for round in 1.. {
        reload(&lab, &mut plan, |pool| pool.backends[0].weight = 3);
        let mut away = None;
        reload(&lab, &mut plan, |pool| away = pool.backends.pop());
        reload(&lab, &mut plan, |pool| pool.algorithm = Algorithm::LeastConnections);
        reload(&lab, &mut plan, |pool| pool.backends.extend(away));
        certify(&lab, &format!("round{round}.test"));
        reload(&lab, &mut plan, |pool| pool.algorithm = Algorithm::ConsistentHash);
        reload(&lab, &mut plan, |pool| pool.backends.reverse());
        if load.is_enough() {
            break;
        }
    }
    lost_nothing(load);
    let after = service(&lab, "lb1", "balancer");
    assert_eq!((after.pid, after.restarts), (before.pid, before.restarts), "it was never restarted");
}

#[test]
fn no_request_is_lost_while_balancer_and_web_servers_restart() {
    let lab = started("restart.test");
    let mut load = steady(&lab);
    loop {
        for (server, name) in [("lb1", "balancer"), ("server1", "web"), ("lb1", "balancer"), ("server2", "web")] {
            restart(&lab, server, name);
        }
        if load.is_enough() {
            break;
        }
    }
    lost_nothing(load);
}

/// A certificate that fits no key is neither followed nor run into by a new process: what serves goes on, and says why.
#[test]
fn what_cannot_be_followed_is_told_and_the_old_goes_on() {
    let lab = started("declined.test");
    let before = service(&lab, "lb1", "balancer");
    let socket = std::fs::metadata(lab.state("lb1").join("run/balancer/report.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o022, 0, "only its owner may hand it a launch");
    let told = |what: &str| {
        eventually(what, SOON, || {
            let balancer = service(&lab, "lb1", "balancer");
            (balancer.state == State::Degraded && balancer.because.contains(what)).then_some(balancer)
        })
    };
    let (one, other) = (made(&lab, "one.test"), made(&lab, "other.test"));
    show(&lab, KeyPair { key: other.key, ..one });
    let balancer = told("goes on as it was, since it cannot be changed: the certificate and the private key");
    assert_eq!(balancer.pid, before.pid);
    lab.control("lb1", async |client| client.restart(&ServiceName("balancer".to_owned())).await);
    let balancer = told("its successor ended with exit code 1: the certificate and the private key");
    assert_eq!((balancer.pid, balancer.report.is_some()), (before.pid, true));
    assert_eq!(lab.get("/x.txt").status, 200);

    certify(&lab, "mended.test");
    let mended = eventually("it is well again", SOON, || {
        let balancer = service(&lab, "lb1", "balancer");
        (balancer.state == State::Serving).then_some(balancer)
    });
    assert_eq!(mended.pid, before.pid);
}

fn restart(lab: &Lab, server: &str, name: &str) {
    let before = service(lab, server, name).pid;
    lab.control(server, async |client| client.restart(&ServiceName(name.to_owned())).await);
    eventually(&format!("{name} of {server} is another process"), SOON, || {
        let now = service(lab, server, name);
        (now.pid != before && now.state == State::Serving).then_some(())
    });
}

#[test]
fn no_request_is_lost_while_the_program_is_replaced() {
    let mut lab = prepared("upgrade.test");
    let program = lab.run_by_a_copy();
    let up = lab.up();
    assert!(up.status.success(), "{}", said(&up));
    let mut load = steady(&lab);
    loop {
        let before = programs(&lab);
        replace(&program);
        let upgraded = lab.mainstay(&["upgrade", "upgrade.test"]);
        assert!(upgraded.status.success(), "{}", said(&upgraded));
        let after = programs(&lab);
        assert!(after.len() == before.len() && after.values().all(|now| Path::new(now) == program), "{after:?}");
        if load.is_enough() {
            break;
        }
    }
    lost_nothing(load);

    // Who switches servers on was started by a program that is not there any more.
    let file = lab.folder().join("site.toml");
    let more = "[servers.server3]\naddress = \"10.80.0.13\"\nroles = [\"web\", \"app\"]\n";
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + more).unwrap();
    let grown = lab.mainstay(&["apply", "--yes", "--wait", file.to_str().unwrap()]);
    assert!(grown.status.success(), "{}", said(&grown));

    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, "no program").unwrap();
    let refused = lab.mainstay(&["upgrade", "upgrade.test"]);
    assert!(!refused.status.success() && said(&refused).contains("cannot take over"), "{}", said(&refused));
    replace(&program);
}

fn replace(program: &Path) {
    let next = program.with_extension("next");
    std::fs::copy(env!("CARGO_BIN_EXE_mainstay"), &next).unwrap();
    std::fs::rename(next, program).unwrap();
}

/// The file that each supervisor and service runs, by `server/service`.
fn programs(lab: &Lab) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for server in lab.status()["servers"].as_array().unwrap() {
        let (name, status) = (server["server"].as_str().unwrap(), &server["status"]);
        let mut put = |what: &str, pid: &serde_json::Value| {
            let file = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
            all.insert(format!("{name}/{what}"), file.display().to_string());
        };
        put("supervisor", &status["pid"]);
        for service in status["services"].as_array().unwrap() {
            put(service["name"].as_str().unwrap(), &service["pid"]);
        }
    }
    all
}
