//! Applications with the real things beneath them: MariaDB for migrations, granian from the package index for Python.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mainstay_node::service::{Asks, Context, Launch, Launches, Purges, Reporter, Shutdown, Sockets, Yields};
use mainstay_node::{app, release};
use mainstay_site::model::{App, AppKind, Speaks};
use mainstay_site::names::{AppName, ReleaseId, Role};
use mainstay_site::plan::{self, AppDatabase, Config};
use mainstay_site::wire::State;
use tempfile::TempDir;

use crate::mariadb::Server;
use crate::support::{self, Running, output};

/// An application server's state directory, with room for Unix sockets' short names.
pub fn state() -> TempDir {
    let folder = tempfile::Builder::new().prefix("mst-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// An application with one worker and nothing else.
pub fn config(kind: AppKind, release: &str) -> plan::App {
    let folder = format!("releases/site-{release}");
    plan::App {
        app: AppName::from("site"),
        venv: matches!(kind, AppKind::Wsgi { .. } | AppKind::Asgi { .. }).then(|| format!("{folder}/venv")),
        kind,
        prefix: "/".into(),
        release: ReleaseId::from(release),
        code: format!("{folder}/code"),
        workers: 1,
        shared: Vec::new(),
        settings: BTreeMap::new(),
        migrate: None,
        health: "/".into(),
        database: None,
        cache: None,
    }
}

fn http(command: &str) -> AppKind {
    AppKind::Http { command: command.into(), speaks: Speaks::Http1 }
}

fn run(state: &Path, config: plan::App) -> Running {
    let launch = support::launch("app-site", Role::App, Config::App(config.clone()), state);
    Running::start(launch, Sockets::default(), move |context| app::run(context, &config).unwrap())
}

#[test]
fn of_two_servers_one_migrates_and_both_serve() {
    let database = Server::primary(0);
    let _role = database.serve();
    let folder = state();
    let runs = folder.path().join("runs");
    let server = |name: &str| {
        let state = folder.path().join(name);
        let mut config = config(http("exec /usr/bin/python3 -m http.server $PORT"), "0123456789ab");
        fs::create_dir_all(state.join(&config.code)).unwrap();
        // Long enough for the other to come to the lock meanwhile.
        config.migrate = Some(format!("echo $DB_NAME >> {}; sleep 1", runs.display()));
        let address = database.config.address;
        config.database = Some(AppDatabase { writer: address, reader: address, fresh: None, schema: "site".into() });
        run(&state, config)
    };
    let (one, two) = (server("one"), server("two"));
    for service in [&one, &two] {
        service.until("it serves", |report| report.state == State::Serving);
    }
    assert_eq!(fs::read_to_string(&runs).unwrap(), "site\n");
    drop(one);
    let again = server("one");
    again.until("it serves again", |report| report.state == State::Serving);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "site\n", "once per release, not per start");
}

/// Not a test: the service in a process that can be killed. Started by the test below.
#[test]
#[ignore = "started by another test"]
fn a_service_in_a_process_of_its_own() {
    let Some(state) = std::env::var_os("MAINSTAY_TEST_STATE") else { return };
    let text = fs::read(Path::new(&state).join("launch.json")).unwrap();
    let launch: Launch = serde_json::from_slice(&text).unwrap();
    let Config::App(config) = launch.service.config.clone() else { panic!("an application's launch") };
    let (_never, shutdown) = Shutdown::new();
    let context = Context {
        launch,
        sockets: Sockets::default(),
        reporter: Reporter::default(),
        shutdown,
        launches: Launches::default(),
        purges: Purges::default(),
        asks: Asks::default(),
        yields: Yields::default(),
    };
    app::run(context, &config).unwrap();
}

#[test]
fn workers_die_with_a_killed_service() {
    let folder = state();
    let told = folder.path().join("pid");
    let command = format!("echo $$ > {}; exec /usr/bin/python3 -m http.server $PORT", told.display());
    let config = config(http(&command), "0123456789ab");
    fs::create_dir_all(folder.path().join(&config.code)).unwrap();
    let launch = support::launch("app-site", Role::App, Config::App(config), folder.path());
    fs::write(folder.path().join("launch.json"), serde_json::to_vec(&launch).unwrap()).unwrap();
    let mut service = Command::new(std::env::current_exe().unwrap())
        .args(["app::a_service_in_a_process_of_its_own", "--exact", "--ignored"])
        .env("MAINSTAY_TEST_STATE", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut worker = String::new();
    support::eventually("a worker is started", || {
        worker = fs::read_to_string(&told).unwrap_or_default().trim().to_owned();
        !worker.is_empty()
    });
    service.kill().unwrap();
    service.wait().unwrap();
    // In a container without an init nobody may reap it: a zombie has no command line.
    let commanded = || fs::read(format!("/proc/{worker}/cmdline")).unwrap_or_default();
    support::eventually("the worker is dead", || commanded().is_empty());
}

/// Says what it sees of the visitor, and what it was given.
const PYTHON: &str = r#"
import os

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    seen = [environ["wsgi.url_scheme"], environ["HTTP_HOST"], environ["SERVER_PORT"], environ["REMOTE_ADDR"]]
    return [" ".join(seen + [os.environ["MAINSTAY_SERVER"], os.environ["HOME"]]).encode()]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            step = (await receive())["type"]
            await send({"type": step + ".complete"})
            if step.endswith("shutdown"):
                return
    host = dict(scope["headers"])[b"host"].decode()
    seen = [scope["scheme"], host, str(scope["server"][1]), scope["client"][0]]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": " ".join(seen).encode()})
"#;

fn python(entry: &str) -> AppKind {
    let entry = format!("seen:{entry}");
    if entry.ends_with("asgi") { AppKind::Asgi { entry } } else { AppKind::Wsgi { entry } }
}

/// Builds and installs [`PYTHON`]; needs the package index once, for the server itself.
fn installed(state: &Path, folder: &Path) -> release::Release {
    let source = folder.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("seen.py"), PYTHON).unwrap();
    let app = App {
        name: AppName::from("site"),
        path: String::new(),
        kind: python("wsgi"),
        workers: 1,
        shared: Vec::new(),
        settings: BTreeMap::new(),
        migrate: None,
        host: None,
        prefix: "/".into(),
        statics: BTreeMap::new(),
        health: "/".into(),
    };
    let built = release::build(&app, &source, &folder.join("builds"), &mut |_| {}).unwrap();
    release::install(&built, state, &[], None).unwrap();
    built
}

fn ask(socket: PathBuf) -> String {
    let socket = socket.to_str().unwrap();
    let forwarded =
        ["X-Forwarded-Proto: https", "X-Forwarded-Host: www.foobar.com", "X-Forwarded-For: 192.0.2.7, 10.80.0.10"];
    let headers = forwarded.iter().flat_map(|header| ["-H", header]);
    let fixed = ["-s", "--max-time", "10", "--unix-socket", socket, "http://inside/"];
    output("curl", &fixed.into_iter().chain(headers).collect::<Vec<_>>())
}

#[test]
fn python_sees_the_visitor_as_the_front_door_does() {
    let folder = state();
    let state = folder.path().join("server");
    let built = installed(&state, folder.path());
    let socket = state.join("run/app-site/w0.sock");

    let wsgi = run(&state, config(python("wsgi"), built.id.as_str()));
    wsgi.until("the WSGI worker serves", |report| report.state == State::Serving);
    let home = state.canonicalize().unwrap().join("data/app-site");
    assert_eq!(ask(socket.clone()), format!("https www.foobar.com 443 192.0.2.7 server1 {}", home.display()));
    drop(wsgi);
    assert!(!socket.exists(), "an ended worker takes its socket along");

    let asgi = run(&state, config(python("asgi"), built.id.as_str()));
    asgi.until("the ASGI worker serves", |report| report.state == State::Serving);
    assert_eq!(ask(socket), "https www.foobar.com 443 192.0.2.7");
    drop(asgi);

    let mut wrong = config(python("wsgi"), built.id.as_str());
    wrong.kind = AppKind::Wsgi { entry: "no_such_module:app".into() };
    let wrong = run(&state, wrong);
    wrong.until("the reason is told", |report| {
        report.state == State::Failed
            && report.because.contains("ModuleNotFoundError: No module named 'no_such_module'")
    });
}
