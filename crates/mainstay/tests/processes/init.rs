//! The lab's process 1, with children that are no supervisors.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::scene::{MAINSTAY, lives, signal, until};

/// An init that runs a shell script, and is killed if the test fails.
struct Init(Child);

impl Init {
    fn run(folder: &Path, script: &str) -> Init {
        let mut command = Command::new(MAINSTAY);
        command.args(["init", "--", "sh", "-c", script]).current_dir(folder).stderr(Stdio::null());
        Init(command.spawn().unwrap())
    }

    fn code(&mut self) -> Option<i32> {
        until("the end of init", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number(folder: &Path, file: &str) -> u32 {
    let path = folder.join(file);
    until(file, || fs::read_to_string(&path).ok()?.trim().parse().ok())
}

#[test]
fn ends_with_its_child() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Init::run(folder.path(), "exit 0").code(), Some(0));
    assert_eq!(Init::run(folder.path(), "exit 2").code(), Some(2));
}

#[test]
fn starts_a_crashed_child_again() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo x >> lives; [ $(wc -l < lives) = 3 ] && exit 0; kill -9 $$";
    assert_eq!(Init::run(folder.path(), script).code(), Some(0));
    assert_eq!(fs::read_to_string(folder.path().join("lives")).unwrap(), "x\nx\nx\n");
}

#[test]
fn passes_a_wish_to_stop_on_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    // An orphan in a session of its own, deaf to SIGTERM, as a daemon would be.
    let script = "(setsid sh -c 'trap \"\" TERM; echo $$ > orphan; while :; do sleep 0.1; done' &) ; \
                  trap 'echo asked > end; exit 0' TERM; echo $$ > child; while :; do sleep 0.05; done";
    let mut init = Init::run(folder.path(), script);
    let (child, orphan) = (number(folder.path(), "child"), number(folder.path(), "orphan"));
    assert!(lives(child) && lives(orphan));
    signal(init.0.id(), "TERM");
    assert_eq!(init.code(), Some(0));
    assert_eq!(fs::read_to_string(folder.path().join("end")).unwrap(), "asked\n");
    assert!(!lives(child) && !lives(orphan));
}

#[test]
fn reaps_orphans() {
    let folder = tempfile::tempdir().unwrap();
    let script = "(sh -c 'echo $$ > orphan' &) ; trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let mut init = Init::run(folder.path(), script);
    let orphan = number(folder.path(), "orphan");
    // Not even as a zombie.
    until("the orphan is reaped", || (!Path::new(&format!("/proc/{orphan}")).exists()).then_some(()));
    signal(init.0.id(), "TERM");
    assert_eq!(init.code(), Some(0));
}
