//! Every verb of `mainstay db` on D1 with a primary that is replaced by itself, as a newcomer and as somebody paged at night.

use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::lab::{Lab, design, eventually, said};

const DOMAIN: &str = "verbs.test";
const SOON: Duration = Duration::from_secs(30);

fn db(lab: &Lab, arguments: &[&str]) -> Output {
    lab.mainstay(&[&["db"], arguments, &["--site", DOMAIN]].concat())
}

/// The words of a verb that did what was asked.
fn done(lab: &Lab, arguments: &[&str]) -> String {
    let output = db(lab, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn json(lab: &Lab, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(lab, &[arguments, &["--json"]].concat())).unwrap()
}

/// What a verb says that refuses.
fn refused(lab: &Lab, arguments: &[&str], because: &str) {
    let output = db(lab, arguments);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
    assert!(words.contains("error: ") && words.contains(because), "{arguments:?}: {words}");
}

/// The status, whatever its exit code.
fn status(lab: &Lab) -> Value {
    let output = db(lab, &["status", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", said(&output)))
}

/// Waits until both servers are members and the replica acknowledges; the primary.
fn settled(lab: &Lab) -> String {
    eventually("one leads and the other acknowledges", SOON, || {
        let now = status(lab);
        let whole = now["agreed"]["cluster"]["sync"].as_array().is_some_and(|sync| sync.len() == 1);
        (whole && db(lab, &["status"]).status.success()).then(|| now["primary"].as_str().unwrap().to_owned())
    })
}

fn other(server: &str) -> &'static str {
    if server == "server1" { "server2" } else { "server1" }
}

/// Pulls or plugs the cable of a server.
fn cable(server: &str, state: &str) {
    let record = std::fs::read_to_string(format!("/run/mainstay/{DOMAIN}/lab.json")).unwrap();
    let wires = &serde_json::from_str::<Value>(&record).unwrap()["wires"];
    let end = wires["ends"].as_array().unwrap().iter().find(|end| end["server"] == server).unwrap();
    let (bridge, port) = (wires["bridge"].as_str().unwrap(), end["port"].as_str().unwrap());
    let set = Command::new("ip").args(["-n", bridge, "link", "set", port, state]).status().unwrap();
    assert!(set.success());
}

fn post(lab: &Lab, text: &str) {
    eventually(text, SOON, || (lab.post("/messages", &[("name", "Ada"), ("text", text)]).status == 303).then_some(()));
}

fn shows(lab: &Lab, text: &str) {
    eventually(text, SOON, || lab.get("/messages.json").body.contains(text).then_some(()));
}

/// SQL on a server, as root of its machine.
fn sql(lab: &Lab, server: &str, statement: &str) -> String {
    let secrets = std::fs::read_to_string(lab.state(server).join("secrets.json")).unwrap();
    let secrets: Value = serde_json::from_str(&secrets).unwrap();
    let socket = lab.state(server).join("run/database/mariadb.sock");
    let output = Command::new("mariadb")
        .args(["--no-defaults", "--batch", "--skip-column-names", "--user=mainstay_admin"])
        .args([format!("--socket={}", socket.display()), format!("--execute={statement}")])
        .env("MYSQL_PWD", secrets["database_admin"].as_str().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{statement}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The beginning of the next second, as `--to` takes it.
fn next_second() -> String {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let at = eventually("the next second", SOON, || (now() > before).then(now));
    let output = Command::new("date").args(["-u", "-d", &format!("@{at}"), "+%F %T"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn every_verb_of_the_database_on_a_site_that_serves() {
    let declared = design("1-distributed").replace("[database]", "[database]\nfailover = \"automatic\"");
    let lab = Lab::start(&declared, DOMAIN);
    assert_eq!(settled(&lab), "server1");
    post(&lab, "the first");

    // ## Words that make no sense are refused before anything is done
    refused(&lab, &["switchover", "--to", "lb1"], "lb1 is no database server; there are server1, server2");
    refused(&lab, &["switchover", "--to", "server1"], "server1 is the primary already");
    refused(&lab, &["failover"], "server1 leads: `mainstay db switchover` moves the primary without loss");
    refused(&lab, &["rejoin", "server1", "--yes"], "server1 is the primary");
    refused(&lab, &["rejoin", "server2"], "nobody is here to say yes: say --yes");
    refused(&lab, &["restore", "--to", "yesterday"], "`yesterday` is no time");
    refused(&lab, &["backup"], "no folder is declared for backups");
    refused(&lab, &["backup", "--to", "here"], "here is no absolute path");
    let text = done(&lab, &["status"]);
    assert!(text.contains("primary: server1") && text.contains("on one of: server2"), "{text}");

    // ## The primary's place goes round
    let moved = json(&lab, &["switchover"]);
    assert_eq!((moved["primary"].as_str(), moved["before"].as_str()), (Some("server2"), Some("server1")));
    assert_eq!(sql(&lab, "server2", "SELECT @@read_only").trim(), "0", "it takes writes when the verb is done");
    assert!(done(&lab, &["status"]).contains("server1 handed over"));
    // At once: it waits for who has just handed over to read the new primary's log.
    assert!(done(&lab, &["switchover", "--to", "server1"]).starts_with("server1 is the primary now"));
    settled(&lab);

    // ## A replica is copied anew
    assert_eq!(json(&lab, &["rejoin", "server2", "--yes"])["state"], "replica");
    settled(&lab);
    assert_eq!(json(&lab, &["verify"])["told"]["equal"], "3 tables of server1 and server2");

    restores(&lab);
    without_a_majority(&lab);
    forces(&lab);
}

/// Backup, a dropped table, back to the second before, and the replica follows.
fn restores(lab: &Lab) {
    let folder = lab.folder().join("backups");
    let folder = folder.to_str().unwrap();
    let told = json(lab, &["backup", "--to", folder]);
    assert!(told["told"]["restore test"].as_str().unwrap().starts_with("3 tables are whole"), "{told}");
    post(lab, "after the backup");
    let before = next_second();
    sql(lab, "server1", "DROP TABLE site.messages");
    refused(lab, &["restore", "--to", &before, "--from", folder], "nobody is here to say yes: say --yes");
    refused(lab, &["restore", "--to", "2020-01-01 00:00:00", "--from", folder, "--yes"], "as old as that");
    done(lab, &["restore", "--to", &before, "--from", folder, "--yes"]);
    shows(lab, "after the backup");
    settled(lab);
    assert_eq!(json(lab, &["verify"])["told"]["equal"], "3 tables of server1 and server2");
}

/// Two of three votes are away: nothing can be ordered, and it is said why and what helps.
fn without_a_majority(lab: &Lab) {
    ["lb1", "server2"].into_iter().for_each(|server| cable(server, "down"));
    eventually("the store is lost", SOON, || status(lab)["primary"].is_null().then_some(()));
    let helps = "until a majority of lb1, server1, server2 answers";
    refused(lab, &["switchover"], helps);
    refused(lab, &["failover", "--to", "server2", "--force", "--yes"], helps);
    refused(lab, &["verify"], helps);
    let output = db(lab, &["status"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(said(&output).contains(helps), "{}", said(&output));
    ["lb1", "server2"].into_iter().for_each(|server| cable(server, "up"));
    settled(lab);
}

/// The only server with every acknowledged write is gone for good, and an operator gives up what only it has.
fn forces(lab: &Lab) {
    let primary = settled(lab);
    let replica = other(&primary);
    cable(replica, "down");
    // Only a write needs an acknowledgement, and finds out that nobody gives it any more.
    post(lab, "only on the primary");
    eventually("the primary goes on alone", SOON, || {
        (status(lab)["agreed"]["cluster"]["sync"].as_array()?.is_empty()).then_some(())
    });
    refused(lab, &["switchover"], "no replica acknowledges now");
    cable(&primary, "down");
    cable(replica, "up");
    eventually("nobody leads", SOON, || {
        let now = status(lab);
        (now["agreed"]["unreachable"].is_null() && now["primary"].is_null()).then_some(())
    });
    refused(lab, &["failover"], &format!("only {primary} has every acknowledged write"));
    let force = ["failover", "--force", "--to", replica];
    refused(lab, &force, "Whatever others have beyond that is lost");
    let led = json(lab, &[&force[..], &["--yes"]].concat());
    assert_eq!(led["primary"], replica);
    post(lab, "on the new primary");

    // ## The one before comes back: what only it had is kept as text, its data are copied anew
    cable(&primary, "up");
    assert_eq!(settled(lab), replica);
    let files = std::fs::read_dir(lab.state(&primary).join("data/database")).unwrap().flatten();
    let diverged = files.filter(|file| file.file_name().to_string_lossy().starts_with("diverged-"));
    let kept: String = diverged.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
    assert!(kept.contains("only on the primary"), "{kept}");
    shows(lab, "on the new primary");
    assert!(json(lab, &["verify"])["told"]["equal"].as_str().unwrap().starts_with("3 tables"));
}
