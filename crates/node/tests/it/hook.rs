//! The cloud's hook with real programs. 127.0.0.1 is an address that is here, 192.0.2.77 one that is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mainstay_node::hook;
use mainstay_node::service::Sockets;
use mainstay_site::names::Role;
use mainstay_site::plan::{self, Config};
use mainstay_site::wire::State;

use crate::support::{self, Running, eventually, logged};

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        Scene { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, text: &str) {
        // Beside and renamed: one that is being run cannot be written to.
        let beside = self.path("hook.new");
        fs::write(&beside, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&beside, self.path("hook")).unwrap();
    }

    fn start(&self) -> Running {
        fs::create_dir_all(self.path("run/hook")).unwrap();
        let addresses = ["127.0.0.1", "192.0.2.77"].map(|text| text.parse().unwrap()).to_vec();
        let config = plan::Hook { program: self.path("hook").display().to_string(), addresses };
        let launch = support::launch("hook", Role::Balancer, Config::Hook(config.clone()), self.folder.path());
        Running::start(launch, Sockets::default(), move |context| hook::run(context, &config).unwrap())
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn who_comes_is_told_once_with_its_address() {
    let scene = Scene::new();
    let log = scene.path("log");
    scene.program(&format!(
        "echo \"$1 $2 $MAINSTAY_ADDRESS $MAINSTAY_SERVER $MAINSTAY_SITE ${{LD_PRELOAD-none}}\" >> {}; echo moved by test",
        log.display()
    ));
    let running = scene.start();
    running.until("it was moved", |report| report.because.contains("127.0.0.1 was moved here"));
    assert_eq!(read(&log), "take 127.0.0.1 127.0.0.1 server1 foobar.com none\n");
    let report = running.reporter.current();
    assert!(report.because.contains("192.0.2.77 is not here") && report.state == State::Serving, "{report:?}");
    assert!(logged(&["the hook says: moved by test"]));
    let calls = || running.reporter.current().counters["hook_calls_total"];
    let begun = std::time::Instant::now();
    eventually("some looks later", || begun.elapsed().as_millis() > 500);
    assert_eq!((calls(), read(&log).lines().count()), (1, 1));
}

#[test]
fn a_failure_is_told_and_tried_again() {
    let scene = Scene::new();
    let running = scene.start();
    running.until("there is no program yet", |report| {
        report.state == State::Degraded && report.because.contains("cannot be run: No such file")
    });
    scene.program("echo no credentials >&2; exit 3");
    running.until("it says why", |report| {
        report.state == State::Degraded && report.because.contains("exit status: 3: no credentials")
    });
    scene.program("exit 0");
    running.until("it was moved", |report| report.because.contains("127.0.0.1 was moved here"));
    assert!(running.reporter.current().counters["hook_failures_total"] >= 2);
}

#[test]
fn what_hangs_ends_with_the_service_and_all_that_it_started() {
    let scene = Scene::new();
    let pid = scene.path("pid");
    scene.program(&format!("sleep 1000 & echo $! > {}; wait", pid.display()));
    let running = scene.start();
    eventually("it hangs", || read(&pid).ends_with('\n'));
    let child = format!("/proc/{}", read(&pid).trim());
    assert!(Path::new(&child).exists() && running.reporter.current().because.contains("is being moved"));
    drop(running);
    eventually("it is gone", || {
        // Whoever adopts it may take its time to reap it.
        let stat = read(&Path::new(&child).join("stat"));
        stat.is_empty() || stat.contains(") Z ")
    });
}
