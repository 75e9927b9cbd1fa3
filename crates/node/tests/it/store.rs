//! The embedded store, killed while it writes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use mainstay_node::store::{Compare, Embedded, Revision, Swap, Write};

/// Names the store that a child of this test writes to.
const PATH: &str = "MAINSTAY_TEST_STORE";

/// The child: writes its number again and again, and says what was acknowledged.
#[test]
#[ignore = "runs as the child of the test below"]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let store = Embedded::open(path.as_ref()).unwrap();
    let mut revision = store.get("key").unwrap().map(|entry| entry.changed);
    loop {
        let key = "key".to_owned();
        let compare = revision.map_or(Compare::Absent(key.clone()), |it| Compare::Changed(key.clone(), it));
        let value = vec![(revision.unwrap_or_default().0 % 251) as u8; 3000];
        let swap = store.transact(&[compare], &[Write::Put { key, value, lease: None }]).unwrap();
        let Swap::Done(next) = swap else { panic!("a conflict") };
        revision = Some(next);
        println!("\nwrote {next}");
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
        let entry = Embedded::open(&path).unwrap().get("key").unwrap().unwrap();
        let (Revision(revision), value) = (entry.changed, entry.value);
        assert!(revision >= acknowledged && acknowledged > known, "{revision} {acknowledged} {known}");
        assert!(value.len() == 3000 && value.iter().all(|byte| *byte == ((revision - 1) % 251) as u8));
        known = revision;
    }
}
