//! Another declaration for a site that runs, while visitors keep asking.

use std::process::{Command, Output};
use std::time::Duration;

use mainstay_site::names::Role;

use crate::lab::{Lab, design, eventually, said};
use crate::load::Load;

/// For what is under way without a command.
const SOON: Duration = Duration::from_secs(60);

fn apply(lab: &Lab, more: &[&str]) -> Output {
    let file = lab.folder().join("site.toml");
    let mut arguments = vec!["apply", file.to_str().unwrap()];
    arguments.extend(more);
    lab.mainstay(&arguments)
}

fn applied(lab: &Lab) -> String {
    let applied = apply(lab, &["--yes", "--wait"]);
    assert!(applied.status.success(), "{}", said(&applied));
    said(&applied)
}

fn history(lab: &Lab) -> serde_json::Value {
    let output = lab.mainstay(&["history", lab.domain(), "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

fn recorded(lab: &Lab) {
    eventually("the first generation is in the books", SOON, || {
        let history = history(lab);
        (history["rollout"]["outcome"]["state"] == "converged").then_some(())
    });
}

fn converged(lab: &Lab) -> bool {
    let rollout = &history(lab)["rollout"];
    rollout["outcome"]["state"] == "converged" && rollout["outcome"]["generation"] == rollout["target"]
}

fn lost_nothing(load: Load) {
    let tally = load.end();
    eprintln!("{} answered, {} failed, slowest {:?}", tally.answered, tally.failed.len(), tally.slowest);
    assert!(tally.failed.is_empty(), "{} answered, not: {:#?}", tally.answered, tally.failed);
    assert!(tally.answered > 20, "{tally:?}");
}

/// Three servers with a store of their own: a change of the pool, a server more, back, and one server maintained.
#[test]
fn a_pool_changes_and_a_server_comes_and_goes_without_a_lost_request() {
    let lab = Lab::design("1-distributed", "d-grown.test");
    recorded(&lab);
    lab.post("/messages", &[("name", "Ada"), ("text", "kept")]);
    let load = Load::start(lab.http(), lab.www(), "/messages.json");

    let weighted = design("1-distributed").replace("address = \"10.80.0.12\"", "address = \"10.80.0.12\"\nweight = 3");
    lab.declare(&weighted);
    let shown = said(&apply(&lab, &["--dry-run"]));
    assert!(shown.contains("pool.backends.server2.weight: 1 → 3"), "{shown}");
    assert_eq!(history(&lab)["rollout"]["target"], 1, "a dry run changes nothing");
    applied(&lab);

    let more = "\n[servers.server3]\naddress = \"10.80.0.13\"\nroles = [\"web\"]\n";
    lab.declare(&format!("{weighted}{more}"));
    let told = applied(&lab);
    assert!(told.contains("+ server3  is new: web\n"), "{told}");
    eventually("server3 answers", SOON, || lab.get("/messages.json").body.contains("\"server3\"").then_some(()));

    let back = lab.mainstay(&["rollback", "--site", lab.domain(), "--yes", "--wait"]);
    assert!(back.status.success(), "{}", said(&back));
    eventually("server3 has left", SOON, || {
        let status = lab.status();
        (status["servers"].as_array().unwrap().len() == 3).then_some(())
    });

    let told = lab.mainstay(&["maintain", "server1", "--site", lab.domain()]);
    assert!(told.status.success(), "{}", said(&told));
    for _ in 0..4 {
        assert!(!lab.get("/messages.json").body.contains("\"server1\""), "server1 is asked");
    }
    let told = lab.mainstay(&["maintain", "server1", "--done", "--site", lab.domain()]);
    assert!(told.status.success(), "{}", said(&told));
    let restarted = lab.mainstay(&["restart", "--rolling", lab.domain()]);
    assert!(restarted.status.success(), "{}", said(&restarted));
    lost_nothing(load);

    let history = history(&lab);
    let what: Vec<&str> =
        history["generations"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(what[..3], ["server1 is back", "maintain server1", "back to generation 2"], "{what:?}");
    assert!(lab.get("/messages.json").body.contains("kept"));
}

/// `kill -9` of the command at several moments: the old generation stays, or the servers go on.
#[test]
fn a_killed_apply_leaves_the_old_generation_or_servers_that_go_on() {
    let lab = Lab::design("1-distributed", "d-killed.test");
    recorded(&lab);
    let load = Load::start(lab.http(), lab.www(), "/messages.json");
    let mut reached = 0;
    for (round, after_ms) in [5_u64, 60, 120, 200, 300, 450].into_iter().enumerate() {
        let weight = format!("address = \"10.80.0.12\"\nweight = {}", round + 2);
        lab.declare(&design("1-distributed").replace("address = \"10.80.0.12\"", &weight));
        let before = history(&lab)["rollout"]["target"].clone();
        let file = lab.folder().join("site.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        let mut running = command.args(["apply", "--yes", file.to_str().unwrap()]).spawn().unwrap();
        std::thread::park_timeout(Duration::from_millis(after_ms));
        let _ = running.kill();
        running.wait().unwrap();
        eventually("the servers agree", SOON, || converged(&lab).then_some(()));
        reached += usize::from(history(&lab)["rollout"]["target"] != before);
    }
    eprintln!("{reached} of 6 went on without their command");
    applied(&lab);
    lost_nothing(load);
}

/// A release that works, then one that does not: it is gone back from by itself, and nobody is refused.
#[test]
fn a_release_rolls_over_the_applications_and_a_broken_one_rolls_back() {
    let code = |text: &str| {
        format!(
            "def app(environ, start):\n    {text}\n    start('200 OK', [('Content-Type', 'text/plain')])\n    return [b'one']\n"
        )
    };
    let declaration = "format = 1\n[site]\ndomain = \"foobar.com\"\n[app]\npath = \"code\"\nkind = \"wsgi\"\n\
        entry = \"main:app\"\n[web]\nstatic = { \"/static/\" = \"static\" }\n\
        [servers.lb1]\naddress = \"10.80.0.10\"\nroles = [\"balancer\"]\n\
        [servers.web1]\naddress = \"10.80.0.11\"\nroles = [\"web\"]\n\
        [servers.app1]\naddress = \"10.80.0.12\"\nroles = [\"app\"]\n\
        [servers.app2]\naddress = \"10.80.0.13\"\nroles = [\"app\"]\n";
    let lab = Lab::prepare(declaration, "d-release.test");
    let folder = lab.folder().join("code");
    std::fs::create_dir_all(folder.join("static")).unwrap();
    std::fs::write(folder.join("static/old.txt"), "old").unwrap();
    std::fs::write(folder.join("main.py"), code("pass")).unwrap();
    let up = lab.up();
    assert!(up.status.success(), "{}", said(&up));
    eventually("the first generation is in the books", SOON, || {
        (history(&lab)["rollout"]["target"] == 1).then_some(())
    });
    let web = service(&lab, "web1", "web");
    let load = Load::start(lab.http(), lab.www(), "/");

    std::fs::remove_file(folder.join("static/old.txt")).unwrap();
    std::fs::write(folder.join("static/new.txt"), "new").unwrap();
    std::fs::write(folder.join("main.py"), code("environ['x'] = 2")).unwrap();
    applied(&lab);
    assert_eq!(lab.get("/static/new.txt").body, "new");
    assert_eq!(lab.get("/static/old.txt").body, "old", "pages of the release before still find their files");
    assert_eq!(service(&lab, "web1", "web"), web, "the web server was not restarted for it");

    std::fs::write(folder.join("main.py"), "raise SystemExit('broken')\n").unwrap();
    let begun = std::time::SystemTime::now();
    let generations = history(&lab)["generations"].clone();
    let [runs, first] = [0, 1].map(|at: usize| generations[at]["codebases"][0]["release"].as_str().unwrap().to_owned());
    let broken = apply(&lab, &["--yes", "--wait"]);
    for server in ["web1", "app1", "app2"] {
        // The releases that were used longest ago go first; this is the one that serves.
        let used = lab.state(server).join(format!("releases/site-{runs}")).metadata().unwrap().modified().unwrap();
        assert!(used >= begun, "{server} would forget what runs before what failed");
    }
    assert_eq!(broken.status.code(), Some(1), "{}", said(&broken));
    assert!(said(&broken).contains("back to generation 2"), "{}", said(&broken));
    eventually("everybody is back", SOON, || {
        let all = lab.status();
        let generation = |it: &serde_json::Value| it["status"]["generation"] == 4;
        (all["state"] == "serving" && all["servers"].as_array().unwrap().iter().all(generation)).then_some(())
    });
    let back = said(&lab.mainstay(&["rollback", "--site", lab.domain(), "--dry-run"]));
    assert!(back.contains(&format!("{runs} → {first}")), "not to what failed: {back}");
    lost_nothing(load);
}

fn service(lab: &Lab, server: &str, name: &str) -> Option<u32> {
    let status = lab.control(server, async |client| client.status().await);
    status.services.into_iter().find(|service| service.name.as_str() == name).unwrap().pid
}

/// One server becomes three while it runs; what was written stays.
#[test]
fn a_running_simple_site_becomes_a_distributed_one() {
    let lab = Lab::design("0-simple", "d-growth.test");
    recorded(&lab);
    lab.post("/messages", &[("name", "Ada"), ("text", "from the beginning")]);
    let load = Load::start(lab.http(), lab.www(), "/messages.json");
    lab.declare(&design("1-distributed"));
    applied(&lab);
    eventually("the new replica has the old message", SOON, || {
        let answer = lab.get("/messages.json").body;
        (answer.contains("from the beginning") && answer.contains("\"server2\"")).then_some(())
    });
    eventually("everything serves", SOON, || (lab.status()["state"] == "serving").then_some(()));
    let tally = load.end();
    eprintln!(
        "growth: {} answered, {} failed, slowest {:?}: {:?}",
        tally.answered,
        tally.failed.len(),
        tally.slowest,
        tally.failed
    );
    let history = history(&lab);
    assert_eq!(history["generations"].as_array().unwrap().len(), 2, "{history}");
}

/// D2: what the drawing has arrows for is open, everything else is dropped, and the site is served over HTTPS.
#[test]
fn the_secured_design_runs_behind_its_filters() {
    let lab = Lab::design("2-secured", "d-secured.test");
    let url = format!("https://{}/", lab.https());
    let page = Command::new("curl").args(["-sSk", "-o", "/dev/null", "-w", "%{http_code}", &url]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&page.stdout), "200", "{}", said(&page));
    lab.post("/messages", &[("name", "Ada"), ("text", "behind walls")]);
    assert!(lab.get("/messages.json").body.contains("behind walls"));

    let reaches = |from: &str, to: &str, port: u16| {
        let namespace = format!("ms-d-secured.test_{from}");
        let dial = format!("exec 3<>/dev/tcp/{to}/{port}");
        let command = ["netns", "exec", &namespace, "timeout", "1", "bash", "-c", &dial];
        Command::new("ip").args(command).output().unwrap().status.success()
    };
    assert!(reaches("lb1", "10.80.0.11", 8080), "balancer → web");
    assert!(reaches("server2", "10.80.0.11", 8000), "web → app");
    assert!(reaches("server2", "10.80.0.11", 3307), "replica → primary");
    assert!(reaches("server1", "10.80.0.10", 2379), "database → store");
    assert!(!reaches("lb1", "10.80.0.11", 8000), "no arrow from the balancer to an application");
    assert!(!reaches("lb1", "10.80.0.11", 3307), "nor to a database");
    assert!(!reaches("mon1", "10.80.0.11", 8080), "nor from the monitor to a web server");
    assert!(!reaches("_internet", "10.80.0.11", 8080), "nor from a visitor");
    assert!(reaches("_internet", "10.80.0.10", 80), "visitors come to the balancer");

    // A balancer's place is another server's now, and with it a vote that only the others' filters knew.
    lab.declare(&design("2-secured").replace("servers.lb1", "servers.lb9").replace("\"10.80.0.10\"", "\"10.80.0.19\""));
    let told = applied(&lab);
    assert!(told.contains("the votes of fw1, lb1, mon1 go to fw1, lb9, mon1"), "{told}");
    eventually("everything serves", SOON, || (lab.status()["state"] == "serving").then_some(()));
    let members: Vec<String> =
        ["fw1", "lb9", "mon1"].iter().flat_map(|server| facts(&lab, server, "members")).collect();
    assert_eq!(members, ["3 of 3 answer"; 3]);
    assert!(reaches("_internet", "10.80.0.19", 80), "visitors come to the other balancer");
    assert!(lab.get("/messages.json").body.contains("behind walls"));
}

/// What the store's member on `server` says of itself by this name.
fn facts(lab: &Lab, server: &str, name: &str) -> Vec<String> {
    let status = lab.control(server, async |client| client.status().await);
    let store = status.services.into_iter().find(|service| service.role == Role::Store).unwrap();
    store.report.unwrap().facts.into_iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect()
}
