//! The service with real workers: PHP, a shell command, and its crashes. Python has a test in `tests/python.rs`, since
//! it needs packages.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mainstay_site::model::{AppKind, Speaks};
use mainstay_site::plan::{self, Config};
use mainstay_site::wire::{Report, State};
use tokio::sync::watch;

use super::*;
use crate::service::{Asks, Context, Launches, Purges, Reporter, Shutdown, Sockets, Yields};

/// No worker here takes longer, even on a machine that compiles meanwhile.
const SOON: Duration = Duration::from_secs(20);

/// A service that runs in a thread of this test.
struct Running {
    folder: Option<tempfile::TempDir>,
    state: PathBuf,
    address: SocketAddr,
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
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let sockets = Sockets { tcp: vec![("http".into(), socket)], ..Sockets::default() };
    let context = Context {
        launch,
        sockets,
        reporter: reporter.clone(),
        shutdown,
        launches: Launches::default(),
        purges: Purges::default(),
        asks: Asks::default(),
        yields: Yields::default(),
    };
    let thread = std::thread::spawn(move || run(context, &config));
    Running { state: folder.path().to_owned(), folder: Some(folder), address, reporter, end, thread: Some(thread) }
}

impl Running {
    /// The first report for which `is` holds.
    fn wait(&self, what: &str, is: impl Fn(&Report) -> bool) -> Report {
        wait(what, || Some(self.reporter.current()).filter(|report| is(report))).as_ref().clone()
    }

    fn serving(&self) -> Report {
        self.wait("all workers serve", |report| report.state == State::Serving)
    }

    /// What curl gets from `path`, with its own arguments before.
    fn curl(&self, arguments: &[&str], path: &str) -> String {
        let url = format!("http://{}{path}", self.address);
        let mut command = Command::new("curl");
        command.args(["-s", "--max-time", "15", "--path-as-is"]).args(arguments).arg(url);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    fn status(&self, path: &str) -> String {
        self.curl(&["-o", "/dev/null", "-w", "%{http_code}"], path)
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
    AppKind::Http { command: command.into(), speaks: Speaks::Http1 }
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
    let mut left =
        Command::new("/bin/sleep").arg("60").env_clear().env("MAINSTAY_WORKER", run.join("w0")).spawn().unwrap();
    let mut other = Command::new("/bin/sleep")
        .arg("60")
        .env_clear()
        .env("MAINSTAY_WORKER", folder.path().join("run/app-site-api/w0"))
        .spawn()
        .unwrap();
    // vfork(2) lets its parent go on before the kernel shows the new environment.
    for child in [&left, &other] {
        wait("its environment is seen", || marked("MAINSTAY_WORKER=").contains(&child.id().to_string()).then_some(()));
    }
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
            fresh: None,
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

fn php() -> AppKind {
    AppKind::Php { entry: "index.php".into() }
}

/// Says what it was given and does what it is told.
const SCRIPT: &str = r#"<?php
header('X-Made-By: script');
match ($_GET['do'] ?? '') {
    'big' => print(str_repeat('0123456789abcdef', 1 << 18)),
    'slow' => touch(getenv('TMPDIR') . '/begun') && (usleep(700000) || print('slow')),
    'die' => posix_kill(getmypid(), 9),
    'body' => print(md5(file_get_contents('php://input'))),
    'upload' => print(md5_file($_FILES['file']['tmp_name']) . ' ' . $_FILES['file']['name']),
    'nothing' => http_response_code(404),
    default => print(implode(' ', [
        $_SERVER['REQUEST_METHOD'], $_SERVER['SCRIPT_NAME'], $_SERVER['PATH_INFO'] ?? '-', $_SERVER['HTTP_HOST'],
        $_SERVER['HTTP_X_MAINSTAY_VIA'], getenv('GREETING'), ini_get('memory_limit'), getmypid(),
    ])),
};
"#;

#[test]
fn php_runs_scripts_serves_files_and_hides_the_rest() {
    let files = [("index.php", SCRIPT), ("style.css", "a{}"), (".env", "secret")];
    let service = start(php(), &files, |app| app.shared = vec![("uploads".into(), "shared/site/uploads".into())]);
    fs::create_dir(service.state.join("releases/site-0123456789ab/code/uploads")).unwrap();
    fs::write(service.state.join("releases/site-0123456789ab/code/uploads/shell.php"), SCRIPT).unwrap();
    let pid = service.serving().parts[0].pid.unwrap();
    let via = ["-H", "X-Mainstay-Via: web=server2", "-H", "X-Forwarded-Host: www.foobar.com"];
    let told = service.curl(&via, "/index.php/page");
    assert_eq!(told, format!("GET /index.php /page www.foobar.com web=server2, app=server1 hello 256M {pid}"));
    assert!(service.curl(&[], "/no/such/page").starts_with("GET /index.php - "));
    assert!(service.curl(&["-i"], "/style.css").contains("text/css"));
    for path in ["/uploads/shell.php", "/.env", "/../../../../etc/passwd", "/%2e%2e/x"] {
        assert_eq!(service.status(path), "404", "{path}");
    }
    assert_eq!(service.status("/uploads"), "200", "a folder without index goes to the front controller");
    assert_eq!(service.status("/?do=nothing"), "404");
}

#[test]
fn php_takes_and_gives_large_bodies() {
    let service = start(php(), &[("index.php", SCRIPT)], |_| {});
    service.serving();
    assert_eq!(service.curl(&[], "/?do=big").len(), 16 << 18);
    let file = service.state.join("file.bin");
    fs::write(&file, "0123456789abcdef".repeat(1 << 18)).unwrap();
    let md5 = Command::new("md5sum").arg(&file).output().unwrap();
    let md5 = String::from_utf8(md5.stdout).unwrap()[..32].to_owned();
    let raw = format!("@{}", file.display());
    assert_eq!(service.curl(&["--data-binary", &raw, "-H", "Content-Type: text/plain"], "/?do=body"), md5);
    assert_eq!(service.curl(&["-F", &format!("file={raw}")], "/?do=upload"), format!("{md5} file.bin"));
    let chunked = ["--data-binary", &raw, "-H", "Transfer-Encoding: chunked", "-H", "Content-Type: text/plain"];
    assert_eq!(service.curl(&chunked, "/?do=body"), md5);
}

#[test]
fn a_php_worker_gets_one_request_at_a_time_and_the_others_wait() {
    let service = start(php(), &[("index.php", SCRIPT)], |_| {});
    service.serving();
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..3).map(|_| scope.spawn(|| service.curl(&[], "/?do=slow"))).collect();
        assert!(asked.into_iter().all(|answer| answer.join().unwrap() == "slow"));
    });
    let report = service.wait("all are counted", |report| report.counters["requests_total"] == 3);
    assert_eq!(report.counters["requests_unserved_total"], 0);
}

#[test]
fn a_script_that_kills_its_worker_is_a_502_and_the_next_request_is_served() {
    let service = start(php(), &[("index.php", SCRIPT)], |_| {});
    service.serving();
    assert_eq!(service.curl(&["-X", "POST", "-o", "/dev/null", "-w", "%{http_code}"], "/?do=die"), "502");
    assert!(service.curl(&[], "/").starts_with("GET /index.php"));
    service.wait("it is counted", |report| report.counters["responses_5xx_total"] == 1);
}

#[test]
fn requests_are_held_until_a_worker_is_there() {
    let slow = format!("{}; {SERVER}", "/usr/bin/python3 -c 'import time; time.sleep(1)'");
    let service = start(http(&slow), &[("index.html", "hello")], |_| {});
    assert_eq!(service.status("/.mainstay/health"), "503");
    assert_eq!(service.curl(&[], "/index.html"), "hello");
    assert_eq!(service.status("/.mainstay/health"), "200");
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let mut service = start(php(), &[("index.php", SCRIPT)], |_| {});
    service.serving();
    let url = format!("http://{}/?do=slow", service.address);
    let asked = std::thread::spawn(move || Command::new("curl").args(["-s", &url]).output().unwrap().stdout);
    let begun = service.state.join("run/app-site/tmp/begun");
    wait("it is under way", || begun.exists().then_some(()));
    service.stop().unwrap();
    assert_eq!(asked.join().unwrap(), b"slow");
}

#[test]
fn a_dead_worker_loses_no_get() {
    let service = start(http(SERVER), &[("index.html", "hello")], |app| app.workers = 2);
    let report = service.serving();
    let victim = rustix::process::Pid::from_raw(report.parts[0].pid.unwrap() as i32).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    for _ in 0..20 {
        assert_eq!(service.status("/index.html"), "200");
    }
}
