//! What a site does without: a package, room on the disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::lab::{Lab, design, eventually, said};

#[test]
fn a_missing_package_is_named() {
    let lab = Lab::prepare(&design("0-simple"), "missing.test");
    let nothing = lab.folder().join("nothing");
    std::fs::write(&nothing, "").unwrap();
    // Only this `up` and what it starts see the server's program gone.
    let hide = format!("mount --bind {} /usr/sbin/mariadbd && exec \"$@\"", nothing.display());
    let up = lab.up_within(&["unshare", "--mount", "sh", "-c", &hide, "sh"]);
    assert_eq!(up.status.code(), Some(5), "{}", said(&up));
    let told = said(&up);
    assert!(told.contains("install the Debian package mariadb-server-core"), "{told}");
    assert!(!told.contains("server1 dns is"), "the rest serves: {told}");
}

/// A file system of its own for a site's state.
struct Disk(PathBuf);

impl Disk {
    fn new(at: PathBuf) -> Disk {
        std::fs::create_dir(&at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=450m,mode=755", "none"]).arg(&at));
        Disk(at)
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").args(["--lazy"]).arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
}

fn because(lab: &Lab, service: &str) -> String {
    let status = lab.status();
    let services = status["servers"][0]["status"]["services"].as_array().unwrap();
    let found = services.iter().find(|it| it["name"] == service).unwrap();
    found["because"].as_str().unwrap().to_owned()
}

#[test]
fn a_full_disk_is_named_and_reading_goes_on() {
    let mut lab = Lab::prepare(&design("0-simple"), "full.test");
    let disk = Disk::new(lab.folder().join("disk"));
    lab.keep_state_in(Path::new("disk"));
    let up = lab.up();
    assert!(up.status.success(), "{}", said(&up));
    lab.post("/messages", &[("name", "Ada"), ("text", "before")]);

    disk.fill();
    eventually("the database names the full disk", Duration::from_secs(20), || {
        because(&lab, "database").contains("left on the disk of").then_some(())
    });
    let answer = lab.get("/messages.json");
    assert!(answer.status == 200 && answer.body.contains("before"), "{answer:?}");

    disk.free();
    eventually("everything serves again", Duration::from_secs(30), || {
        (lab.status()["state"] == "serving").then_some(())
    });
    lab.post("/messages", &[("name", "Ada"), ("text", "afterwards")]);
    assert!(lab.get("/messages.json").body.contains("afterwards"));
    let down = lab.down();
    assert!(down.status.success(), "{}", said(&down));
    lab.purge();
}
