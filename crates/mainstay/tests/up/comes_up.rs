use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::site::{FILES, Site, ask, err, out, root};

#[test]
fn a_site_serves_outlives_its_up_and_keeps_its_data() {
    if !root() {
        return;
    }
    let site = Site::new(&[("site", FILES)]);
    let up = site.up(&[]);
    assert_eq!(up.status.code(), Some(0), "{}", err(&up));
    assert!(out(&up).contains(&format!("http://{}:{}/", site.host(), site.http_port())), "{}", out(&up));
    assert_eq!(site.get("/"), (200, "this is site".into()));
    let dig = Command::new("dig")
        .args(["+short", "@127.0.0.1", "-p", &site.dns_port().to_string(), &format!("www.{}", site.domain)])
        .output()
        .unwrap();
    assert!(out(&dig).ends_with("10.80.0.11\n"), "{}", out(&dig));
    let (code, page) = ask(site.page_port(), "127.0.0.1", "/");
    assert!(code == 200 && page.contains(&site.domain) && page.contains("server1"));

    for (service, pid) in site.pids() {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(command.ends_with(format!("\0service\0{service}\0").as_bytes()), "{service} {pid}: {command:?}");
        let told = out(&site.run("status", &[&site.domain]));
        assert!(told.contains(&format!("{service} ({pid})")), "{told}");
    }

    let app = site.pids().into_iter().find(|(service, _)| service == "app-site").unwrap().1;
    assert!(is_asked_locally(app), "web server and application run on one server");

    let again = site.up(&[]);
    assert_eq!(again.status.code(), Some(0), "{}", err(&again));
    assert!(err(&again).contains("is up already") && err(&again).contains("nothing changes"), "{}", err(&again));

    // What the application keeps is there after `up` itself was killed.
    fs::write(site.state().join("server1/shared/site/kept/note"), "kept").unwrap();
    let killed = site.up_process();
    kill_process(Pid::from_raw(killed).unwrap(), Signal::KILL).unwrap();
    assert_eq!(site.status()["state"], "serving", "the servers do not need their up");
    let up = site.up(&[]);
    assert_eq!(up.status.code(), Some(0), "{}", err(&up));
    assert_ne!(site.up_process(), killed);
    assert_eq!(site.get("/kept/note"), (200, "kept".into()));
    assert_eq!(site.status()["servers"][0]["status"]["generation"], 1, "nothing was edited");

    let down = site.run("down", &[&site.domain]);
    assert!(down.status.success(), "{}", err(&down));
    assert!(err(&down).contains("the data stays"), "{}", err(&down));
    let asked = site.run("status", &[&site.domain]);
    assert!(err(&asked).contains("is not up on this machine"), "{}", err(&asked));
    assert!(site.state().join("server1/shared/site/kept/note").exists());
}

/// Whether somebody is connected to a Unix socket of the application for its own server (proc_net(5); 03 is connected).
fn is_asked_locally(app: u64) -> bool {
    let sockets = fs::read_to_string(format!("/proc/{app}/net/unix")).unwrap();
    let connected = |line: &&str| line.split_ascii_whitespace().nth(5) == Some("03");
    sockets.lines().filter(connected).any(|line| line.contains("/run/app-site.") && line.ends_with(".sock"))
}

#[test]
fn what_does_not_come_up_is_named_with_its_last_words_and_the_rest_serves() {
    if !root() {
        return;
    }
    let site = Site::new(&[("site", FILES), ("moon", "echo cannot find the moon >&2; exit 3")]);
    let up = site.up(&["--timeout", "60"]);
    assert_eq!(up.status.code(), Some(5), "{}", err(&up));
    let said = err(&up);
    assert!(said.contains("server1 app-moon is failed"), "{said}");
    assert!(said.contains("cannot find the moon"), "{said}");
    assert!(out(&up).contains("is up in part"), "{}", out(&up));
    assert_eq!(site.get("/"), (200, "this is site".into()));
    let status = site.run("status", &[&site.domain]);
    assert_eq!(status.status.code(), Some(5));
    let row = out(&status).lines().find(|line| line.contains("app-moon")).unwrap_or_default().to_owned();
    assert!(row.contains("✖ failed"), "{}", out(&status));
    let logs = site.run("logs", &["--site", &site.domain, "server1", "app-moon"]);
    assert!(out(&logs).contains("cannot find the moon"), "{}{}", out(&logs), err(&logs));
}

#[test]
fn without_namespaces_a_site_comes_up_on_loopback_addresses() {
    let site = Site::new(&[("site", FILES)]);
    let up = site.up(&["--loopback"]);
    assert_eq!(up.status.code(), Some(0), "{}", err(&up));
    assert_eq!(site.get("/"), (200, "this is site".into()));
    assert_eq!(site.status()["servers"][0]["address"], "127.0.1.1");
    let down = site.run("down", &[&site.domain]);
    assert!(down.status.success(), "{}", err(&down));
    assert!(std::net::TcpStream::connect(("127.0.0.1", site.http_port())).is_err());
}

/// The front end comes from files, pages that are none are its index, and the interface is asked of the code.
#[test]
fn a_single_page_application_beside_its_interface() {
    if !root() {
        return;
    }
    let site = Site::new(&[("api", FILES)]);
    let declared = fs::read_to_string(site.folder.path().join("site.toml")).unwrap();
    let declared = declared.replace(
        "route = \"/\"",
        "route = \"/api/\"\nstatic = { \"/\" = { folder = \"dist\", fallback = \"index.html\", \
         cache-control = \"public, max-age=60\" } }",
    );
    fs::write(site.folder.path().join("site.toml"), declared).unwrap();
    let code = site.folder.path().join("code-api");
    for (path, text) in [("dist/index.html", "the front end"), ("dist/app.js", "script"), ("api/list", "the list")] {
        fs::create_dir_all(code.join(path).parent().unwrap()).unwrap();
        fs::write(code.join(path), text).unwrap();
    }
    let up = site.up(&[]);
    assert_eq!(up.status.code(), Some(0), "{}", err(&up));
    for (path, answer) in [
        ("/", (200, "the front end")),
        ("/orders/7", (200, "the front end")),
        ("/app.js", (200, "script")),
        ("/api/list", (200, "the list")),
    ] {
        assert_eq!(site.get(path), (answer.0, answer.1.to_owned()), "{path}");
    }
    assert_eq!(site.get("/gone.js").0, 404, "a script that is missing is no page");
    let (status, said) = site.get("/api/orders/7");
    assert!(status == 404 && said.contains("File not found"), "the interface's own: {said}");
    let url = format!("http://{}:{}/orders/7", site.host(), site.http_port());
    let head = Command::new("curl").args(["-sSI", "--connect-to", "::127.0.0.1:", &url]).output().unwrap();
    assert!(out(&head).contains("Cache-Control: public, max-age=60\r\n"), "{}{}", out(&head), err(&head));
    let status = site.status();
    let web = status["servers"][0]["status"]["services"].as_array().unwrap();
    let web = web.iter().find(|service| service["name"] == "web").unwrap();
    assert_eq!(web["report"]["parts"].as_array().unwrap().len(), 1, "one pool, told once: {web}");
}

/// A redirect is right for those who come by the published ports and for those who come as on the internet.
#[test]
fn plain_http_is_sent_on_to_where_visitors_find_https() {
    if !root() {
        return;
    }
    let site = Site::new(&[("site", FILES)]);
    let declared = fs::read_to_string(site.folder.path().join("site.toml")).unwrap();
    let tls = "[tls]\ncertificate = \"self-signed\"\nredirect = true\n";
    fs::write(site.folder.path().join("site.toml"), format!("{declared}{tls}")).unwrap();
    let up = site.up(&[]);
    assert_eq!(up.status.code(), Some(0), "{}", err(&up));
    let curl = |more: &[&str]| {
        let output = Command::new("curl").args(["-sSk", "--connect-to", "::127.0.0.1:"]).args(more).output().unwrap();
        out(&output) + &err(&output)
    };
    let url = format!("http://{}:{}/", site.host(), site.http_port());
    let followed = curl(&["-L", "-w", " %{url_effective}", &url]);
    assert_eq!(followed, format!("this is site https://{}:{}/", site.host(), site.https_port()));
    let public = curl(&["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "-H", "Host: foobar.com", &url]);
    assert_eq!(public, "301 https://foobar.com/");
}

/// Counts its answers and lets them be kept.
const COUNTER: &str = "\
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Counter(BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Counter.asked += 1
        body = str(Counter.asked).encode()
        self.send_response(200)
        self.send_header('Content-Length', len(body))
        if self.path != '/':
            self.send_header('Cache-Control', 'max-age=600')
            self.send_header('Cache-Tag', self.path.split('/')[1])
        self.end_headers()
        self.wfile.write(body)
ThreadingHTTPServer((os.environ['HOST'], int(os.environ['PORT'])), Counter).serve_forever()
";

#[test]
fn what_is_stale_is_purged_by_address_path_tag_and_altogether() {
    if !root() {
        return;
    }
    let site = Site::new(&[("site", "exec /usr/bin/python3 counter.py")]);
    fs::write(site.folder.path().join("code-site/counter.py"), COUNTER).unwrap();
    let up = site.up(&[]);
    assert_eq!(up.status.code(), Some(0), "{}", err(&up));
    let pages = || ["/news/a", "/news/b?x=1"].map(|path| site.get(path).1);
    let same = |before: &[String; 2]| {
        let after = pages();
        [after[0] == before[0], after[1] == before[1]]
    };
    let url = format!("http://{}:{}/news/a", site.host().to_uppercase(), site.http_port());
    for (what, told, kept) in [
        (vec![&*url], "server1: 1 address taken out\n", [false, true]),
        (vec!["/news/b?x=1"], "server1: 1 address taken out\n", [true, false]),
        (vec!["/news/b"], "server1: nothing of it was there\n", [true, true]),
        (vec!["--tag", "news"], "server1: 2 addresses taken out\n", [false, false]),
        (vec!["--tag", "old"], "server1: nothing of it was there\n", [true, true]),
        (vec!["--all"], "server1: 2 addresses taken out\n", [false, false]),
    ] {
        let before = pages();
        assert_eq!(same(&before), [true, true], "they are cached");
        let purged = site.run("purge", &[&[&*site.domain], &*what].concat());
        assert_eq!((out(&purged).as_str(), purged.status.code()), (told, Some(0)), "{what:?} {}", err(&purged));
        assert_eq!(same(&before), kept, "{what:?}");
    }
    let purged = site.run("purge", &[&site.domain, "--all", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&purged.stdout).unwrap();
    assert_eq!(told["servers"], serde_json::json!([{ "server": "server1", "addresses": 2 }]));
    let logs = out(&site.run("logs", &["--site", &site.domain, "server1", "web", "-n", "500"]));
    assert!(logs.contains("purged as asked: tags news"), "{logs}");
    for wrong in [&["news"][..], &[], &["/a", "--all"], &["--tag", "a b"]] {
        let refused = site.run("purge", &[&[&*site.domain], wrong].concat());
        assert_eq!(refused.status.code(), Some(1), "{wrong:?}");
    }
}

#[test]
fn purging_deletes_the_site_and_nothing_else() {
    if !root() {
        return;
    }
    let site = Site::new(&[("site", FILES)]);
    assert_eq!(site.up(&[]).status.code(), Some(0));
    let down = site.run("down", &[&site.domain, "--purge"]);
    assert!(err(&down).contains("add --yes"), "nobody to ask: {}", err(&down));
    assert_eq!(site.get("/").0, 200, "and so nothing was stopped");
    let foreign = site.folder.path().to_str().unwrap();
    let down = site.run("down", &[&site.domain, "--purge", "--yes", "--state", foreign]);
    assert!(err(&down).contains("nothing was deleted"), "{}", err(&down));
    let state = site.state();
    let down = site.run("down", &[&site.domain, "--purge", "--yes", "--state", state.to_str().unwrap()]);
    assert!(down.status.success() && !state.exists(), "{}", err(&down));
    let place = mainstay_lab::Place::usual(&site.domain.as_str().into());
    assert!(!place.folder().exists(), "nothing is left of it");
    assert!(site.folder.path().join("site.toml").exists());
}
