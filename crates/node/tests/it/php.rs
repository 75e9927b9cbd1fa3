//! PHP itself behind the application service: uploads, workers that die, scripts that fail.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mainstay_node::app;
use mainstay_site::model::AppKind;
use mainstay_site::names::Role;
use mainstay_site::plan::{self, Config};
use mainstay_site::wire::State;
use tempfile::TempDir;

use crate::app::{config, state};
use crate::support::{self, Running, eventually, logged, output};

/// Does what it is told; `$TMPDIR` is where it tells what it did.
const SCRIPT: &str = r#"<?php
function told($name) { return getenv('TMPDIR') . "/$name"; }
match ($_GET['do'] ?? '') {
    'upload' => print($_FILES['file']['size'] . ' ' . md5_file($_FILES['file']['tmp_name'])),
    'form' => file_put_contents(told('form'), json_encode($_POST)),
    'half' => (function () {
        echo str_repeat('half', 10000);
        flush();
        touch(told('half'));
        while (true) { usleep(10000); }
    })(),
    'fatal' => no_such_function(),
    'complain' => error_log('the cupboard is bare'),
    default => print(getmypid()),
};
"#;

/// The application service with PHP, in this process.
pub struct Php {
    pub service: Running,
    pub address: SocketAddr,
    folder: TempDir,
}

impl Php {
    pub fn start(workers: u16, adjust: impl FnOnce(&mut plan::App)) -> Php {
        let folder = state();
        let mut config = config(AppKind::Php { entry: "index.php".into() }, "0123456789ab");
        config.workers = workers;
        adjust(&mut config);
        let code = folder.path().join(&config.code);
        fs::create_dir_all(&code).unwrap();
        fs::write(code.join("index.php"), SCRIPT).unwrap();
        let launch = support::launch("app-site", Role::App, Config::App(config.clone()), folder.path());
        let (sockets, port) = support::sockets("http");
        let service = Running::start(launch, sockets, move |context| app::run(context, &config).unwrap());
        service.until("the workers serve", |report| report.state == State::Serving);
        Php { service, address: SocketAddr::from(([127, 0, 0, 1], port)), folder }
    }

    pub fn state(&self) -> &Path {
        self.folder.path()
    }

    /// What a script told.
    fn told(&self, name: &str) -> PathBuf {
        self.state().join("run/app-site/tmp").join(name)
    }

    fn url(&self, what: &str) -> String {
        format!("http://{}/?do={what}", self.address)
    }

    fn status(&self, what: &str) -> String {
        output("curl", &["-s", "-o", "/dev/null", "-w", "%{http_code}", &self.url(what)])
    }

    fn total(&self, counter: &str) -> u64 {
        self.service.reporter.current().counters[counter]
    }
}

/// The most memory that this process ever held, in bytes (proc(5), `VmHWM`).
fn memory_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn an_upload_arrives_whole_and_is_never_held_in_memory() {
    const SIZE: u64 = 20 << 20;
    let php = Php::start(1, |_| {});
    let file = php.state().join("upload.bin");
    std::io::copy(&mut fs::File::open("/dev/urandom").unwrap().take(SIZE), &mut fs::File::create(&file).unwrap())
        .unwrap();
    let md5 = output("md5sum", &[file.to_str().unwrap()]);
    let form = format!("file=@{}", file.display());
    let url = php.url("upload");
    // Warm: buffers that are there once for every thread.
    assert_eq!(output("curl", &["-s", "-F", "file=@/dev/null;filename=a", &url]), format!("0 {EMPTY}"));
    let before = memory_peak();
    for extra in [&["-s"][..], &["-s", "-H", "Transfer-Encoding: chunked"]] {
        let arguments = [extra, &["-F", &form, &url]].concat();
        assert_eq!(output("curl", &arguments), format!("{SIZE} {}", &md5[..32]));
    }
    let grown = memory_peak() - before;
    assert!(grown < 6 << 20, "{grown} bytes more were held");
}

/// The MD5 sum of nothing.
const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";

#[test]
fn a_form_that_breaks_off_is_not_taken_for_a_whole_one() {
    let php = Php::start(1, |_| {});
    let head = "POST /?do=form HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let mut visitor = TcpStream::connect(php.address).unwrap();
    write!(visitor, "{head}Content-Length: 100000\r\n\r\namount=10&text={}", "x".repeat(50_000)).unwrap();
    drop(visitor);
    eventually("the visitor is missed", || php.total("client_aborts_total") == 1);
    assert_eq!(output("curl", &["-s", "-d", "amount=11", &php.url("form")]), "");
    assert_eq!(fs::read_to_string(php.told("form")).unwrap(), r#"{"amount":"11"}"#, "the only form that was run");
}

#[test]
fn a_worker_killed_within_its_answer_disturbs_nobody_else() {
    let php = Php::start(2, |_| {});
    let visitor = Command::new("curl").args(["-s", &php.url("half")]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("half of the answer is sent", || php.told("half").exists());
    let free: u32 = output("curl", &["-s", &php.url("")]).parse().unwrap();
    let parts = php.service.reporter.current().parts.clone();
    let victim = parts.iter().find(|part| part.pid != Some(free)).unwrap();
    let pid = rustix::process::Pid::from_raw(victim.pid.unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();

    let seen = visitor.wait_with_output().unwrap();
    assert_eq!(seen.status.code(), Some(18), "curl's word for an answer that broke off");
    assert_eq!(seen.stdout.len(), 40_000);
    assert_eq!(php.status(""), "200");
    assert!(logged(&[&victim.name, "broke off in the middle of its answer"]));
    eventually("its death is told", || logged(&["worker=", "was killed by signal 9"]));
    php.service.until("it is back", |report| report.state == State::Serving);
    assert_eq!((php.total("truncated_total"), php.total("worker_starts_total")), (1, 3));
}

#[test]
fn what_php_complains_of_is_in_the_log_with_the_request() {
    let php = Php::start(1, |_| {});
    let id = "X-Request-Id: 4711";
    let fatal = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", id, &php.url("fatal")];
    assert_eq!(output("curl", &fatal), "500");
    assert!(logged(&["PHP Fatal error", "Call to undefined function no_such_function()", "index.php:"]));
    // PHP's message has several lines, and the fields follow the last.
    assert!(logged(&["thrown in", "worker 0", "4711"]));
    assert_eq!(php.status("complain"), "200");
    assert!(logged(&["the cupboard is bare", "worker 0"]));
}

#[test]
fn health_checks_are_no_requests() {
    let php = Php::start(1, |_| {});
    let health = format!("http://{}/.mainstay/health", php.address);
    for _ in 0..3 {
        assert_eq!(output("curl", &["-s", "-o", "/dev/null", "-w", "%{http_code}", &health]), "200");
    }
    assert_eq!(php.status(""), "200");
    php.service.until("the request is counted", |report| report.counters["requests_total"] > 0);
    assert_eq!(php.total("requests_total"), 1);
}
