//! The service with real workers: PHP, a shell command, and its crashes. Python has a test in `tests/python.rs`, since
//! it needs packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mainstay_site::model::AppKind;
use mainstay_site::plan::{self, Config};
use mainstay_site::wire::{Report, State};
use tokio::sync::watch;

use super::*;
use crate::service::{Context, Reporter, Shutdown, Sockets};

/// No worker here takes longer, even on a machine that compiles meanwhile.
const SOON: Duration = Duration::from_secs(20);

/// A service that runs in a thread of this test.
struct Running {
    folder: Option<tempfile::TempDir>,
    state: PathBuf,
    reporter: Reporter,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Starts the service for `files`, changed by `adjust`.
fn start(kind: AppKind, files: &[(&str, &str)], adjust: impl FnOnce(&mut plan::App)) -> Running {
    start_in(tempfile::tempdir().unwrap(), kind, files, adjust)
}

fn start_in(
    folder: tempfile::TempDir,
    kind: AppKind,
    files: &[(&str, &str)],
    adjust: impl FnOnce(&mut plan::App),
) -> Running {
    let mut launch = scene::launch(folder.path(), kind);
    let Config::App(config) = &mut launch.service.config else { panic!() };
    config.database = None;
    adjust(config);
    let config = config.clone();
    let code = folder.path().join(&config.code);
    fs::create_dir_all(&code).unwrap();
    for (name, text) in files {
        fs::write(code.join(name), text).unwrap();
    }
    let (end, shutdown) = Shutdown::new();
    let reporter = Reporter::default();
    let context = Context { launch, sockets: Sockets::default(), reporter: reporter.clone(), shutdown };
    let thread = std::thread::spawn(move || run(context, &config));
    Running { state: folder.path().to_owned(), folder: Some(folder), reporter, end, thread: Some(thread) }
}

impl Running {
    /// The first report for which `is` holds.
    fn wait(&self, what: &str, is: impl Fn(&Report) -> bool) -> Report {
        wait(what, || Some(self.reporter.current()).filter(|report| is(report))).as_ref().clone()
    }

    fn serving(&self) -> Report {
        self.wait("all workers serve", |report| report.state == State::Serving)
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.end.send_replace(true);
        self.thread.take().unwrap().join().unwrap()
    }

    /// Stops it and hands on its state directory.
    fn leave(mut self) -> tempfile::TempDir {
        self.stop().unwrap();
        self.folder.take().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.stop();
        }
    }
}

/// Waits until `look` finds something.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + SOON;
    let pause = std::sync::mpsc::channel::<()>();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain until {what}");
        let _ = pause.1.recv_timeout(Duration::from_millis(10));
    }
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn http(command: &str) -> AppKind {
    AppKind::Http { command: command.into() }
}

/// Debian's, since the test's user may have another that starts slowly.
const SERVER: &str = "exec /usr/bin/python3 -m http.server --bind $HOST $PORT";

#[test]
fn a_program_on_a_port_serves_and_ends() {
    let mut service = start(http(SERVER), &[("index.html", "hello")], |app| app.workers = 2);
    let report = service.serving();
    assert_eq!(report.parts.len(), 2);
    let pids: Vec<u32> = report.parts.iter().map(|part| part.pid.unwrap()).collect();
    assert!(pids.iter().all(|pid| alive(*pid)));
    service.stop().unwrap();
    assert!(pids.iter().all(|pid| !alive(*pid)), "workers outlived the service");
    assert_eq!(service.reporter.current().state, State::Stopped);
}

#[test]
fn a_killed_worker_is_back_within_a_second_and_the_other_is_not_touched() {
    let service = start(http(SERVER), &[], |app| app.workers = 2);
    let before = service.serving();
    let (victim, other) = (before.parts[0].pid.unwrap(), before.parts[1].pid.unwrap());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(victim as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let degraded = service.wait("it is noticed", |report| report.parts[0].state != State::Serving);
    assert_eq!(degraded.state, State::Degraded);
    assert!(degraded.because.contains("was killed by signal 9"), "{}", degraded.because);
    let after = service.serving();
    assert_ne!(after.parts[0].pid, Some(victim));
    assert_eq!(after.parts[1].pid, Some(other));
    assert_eq!(after.counters["worker_starts_total"], 3);
}

#[test]
fn a_crash_at_start_shows_the_last_lines_and_the_rest_serves() {
    let broken = "case $MAINSTAY_WORKER in *w0) echo 'no module named guestbook' >&2; exit 3;; esac";
    let command = format!("{broken}; {SERVER}");
    let service = start(http(&command), &[], |app| app.workers = 2);
    let report = service.wait("one serves and one fails", |report| {
        report.state == State::Degraded && report.because.contains("no module")
    });
    let broken = &report.parts[0];
    assert!(broken.because.contains("exited with status 3: no module named guestbook"), "{}", broken.because);
}

#[test]
fn a_program_that_is_not_there_is_named_with_the_next_step() {
    let service = start(http("no-such-server --port $PORT"), &[], |_| {});
    let report = service.wait("it failed", |report| report.state == State::Failed);
    assert!(report.because.contains("exited with status 127"), "{}", report.because);
    assert!(report.because.contains("no-such-server"), "{}", report.because);
}

#[test]
fn a_shells_children_end_with_it() {
    let service = start(http(&format!("{} & wait", SERVER.trim_start_matches("exec "))), &[], |_| {});
    let shell = service.serving().parts[0].pid.unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(shell as i32).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    service.wait("it is started again", |report| report.parts[0].pid.is_some_and(|pid| pid != shell));
    let mark = format!("MAINSTAY_WORKER={}/run/", service.state.display());
    let second = service.serving().parts[0].pid.unwrap();
    let groups: Vec<String> = marked(&mark).into_iter().map(|pid| group(&pid)).collect();
    assert!(groups.iter().all(|group| *group == second.to_string()), "{groups:?}");
}

fn marked(mark: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let names = processes.map(|process| process.file_name().to_string_lossy().into_owned());
    names.filter(|pid| fs::read_to_string(format!("/proc/{pid}/environ")).is_ok_and(|it| it.contains(mark))).collect()
}

/// The process group: field 5 of proc(5)'s stat, the third after the name in parentheses.
fn group(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2)).unwrap_or_default().to_owned()
}

#[test]
fn what_an_earlier_life_left_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run/app-site");
    let mut left = std::process::Command::new("/bin/sleep")
        .arg("60")
        .env_clear()
        .env("MAINSTAY_WORKER", run.join("w0"))
        .spawn()
        .unwrap();
    let mut other = std::process::Command::new("/bin/sleep")
        .arg("60")
        .env_clear()
        .env("MAINSTAY_WORKER", folder.path().join("run/app-site-api/w0"))
        .spawn()
        .unwrap();
    process::end_leftovers(&run);
    assert!(!wait("it is ended", || left.try_wait().unwrap()).success());
    assert!(other.try_wait().unwrap().is_none(), "another application's worker was ended");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn php_answers_fastcgi_with_our_settings() {
    let php = AppKind::Php { entry: "index.php".into() };
    let service = start(php, &[("index.php", "<?php echo ini_get('memory_limit');")], |app| app.workers = 2);
    let report = service.serving();
    let pid = report.parts[0].pid.unwrap();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(children, "", "one process per worker");
    assert!(service.state.join("run/app-site/w1.sock").exists());
}

#[test]
fn a_migration_without_a_database_runs_once_per_release() {
    let migrate = |app: &mut plan::App| app.migrate = Some("echo $MAINSTAY_RELEASE >> \"$HOME/runs\"".into());
    let first = start(http(SERVER), &[], migrate);
    first.serving();
    let again = start_in(first.leave(), http(SERVER), &[], migrate);
    again.serving();
    let next = start_in(again.leave(), http(SERVER), &[], |app| {
        migrate(app);
        app.release = "ba9876543210".into();
    });
    next.serving();
    assert_eq!(fs::read_to_string(next.state.join("data/app-site/runs")).unwrap(), "0123456789ab\nba9876543210\n");
}

#[test]
fn a_failed_migration_is_told_and_keeps_requests_away() {
    let service = start(http(SERVER), &[], |app| app.migrate = Some("echo 'no such column' >&2; exit 4".into()));
    let report = service.wait("it failed", |report| report.state == State::Failed);
    assert!(report.because.contains("exited with status 4: no such column"), "{}", report.because);
    assert_eq!(report.parts[0].name, "migration");
}

#[test]
fn a_database_that_is_away_is_waited_for() {
    let mut service = start(http(SERVER), &[], |app| {
        app.migrate = Some("true".into());
        app.database = Some(plan::AppDatabase {
            writer: ([127, 0, 0, 1], 1).into(),
            reader: ([127, 0, 0, 1], 1).into(),
            schema: "site".into(),
        });
    });
    let report = service.wait("it waits", |report| report.because.contains("waiting for the database"));
    assert_eq!(report.state, State::Starting);
    assert!(report.because.contains("127.0.0.1:1"), "{}", report.because);
    service.stop().unwrap();
}

#[test]
fn a_state_directory_with_a_long_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("s".repeat(100));
    let launch = scene::launch(&state, http(SERVER));
    let Config::App(config) = &launch.service.config else { panic!() };
    assert!(matches!(Folders::prepare(&launch, config), Err(Error::LongPath(_))));
}
