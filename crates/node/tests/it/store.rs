//! The embedded store, killed while it writes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use mainstay_node::store::embedded::{ABSENT, Embedded, Swap};

/// Names the store that a child of this test writes to.
const PATH: &str = "MAINSTAY_TEST_STORE";

/// The child: writes its number again and again, and says what was acknowledged.
#[test]
#[ignore = "runs as the child of the test below"]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let store = Embedded::open(path.as_ref()).unwrap();
    let mut revision = store.get("key").unwrap().map_or(ABSENT, |(revision, _)| revision);
    loop {
        let value = vec![(revision % 251) as u8; 3000];
        let Swap::Done(next) = store.compare_and_swap("key", revision, &value).unwrap() else { panic!("a conflict") };
        revision = next;
        println!("\nwrote {revision}");
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut known = 0;
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wrote = lines.filter_map(|line| line.unwrap().strip_prefix("wrote ")?.parse::<u64>().ok());
        let seen = wrote.nth(10 * round).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = wrote.last().unwrap_or(seen);
        let (revision, value) = Embedded::open(&path).unwrap().get("key").unwrap().unwrap();
        assert!(revision >= acknowledged && acknowledged > known, "{revision} {acknowledged} {known}");
        assert!(value.len() == 3000 && value.iter().all(|byte| *byte == ((revision - 1) % 251) as u8));
        known = revision;
    }
}
