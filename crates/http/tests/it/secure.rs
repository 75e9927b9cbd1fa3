//! Visitors in clear are sent to HTTPS, and told to stay there.

use std::process::Command;
use std::sync::Arc;

use mainstay_http::files::Folder;
use mainstay_http::tls::{self, Identity};
use mainstay_http::{Cache, CacheSettings, Config, Doors, Route, hsts};
use rcgen::generate_simple_self_signed;

use crate::engine::{Engine, backend, echo, limits, pool, request, value};

/// Doors as they are declared, as they are published, and as this test finds them.
fn doors(engine: &Engine) -> Vec<Doors> {
    let found = Doors { http: engine.address.port(), https: engine.secure.port() };
    vec![Doors { http: 8080, https: 8443 }, found, Doors { http: 80, https: 443 }]
}

fn follow(engine: &Engine, change: impl FnOnce(&mut Config)) {
    let mut config = (**engine.config.load()).clone();
    change(&mut config);
    engine.config.store(Arc::new(config));
}

fn certificate() -> tls::ServerTls {
    let made = generate_simple_self_signed(["h.test".to_owned()]).unwrap();
    let identity = Identity::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes());
    tls::server(vec![identity.unwrap()], None).unwrap()
}

#[test]
fn who_comes_in_clear_is_sent_to_the_same_place() {
    let engine = Engine::new(&[echo("app")]);
    let doors = doors(&engine);
    follow(&engine, |config| config.doors = doors);
    for (head, status, location) in [
        ("GET /a?b=c HTTP/1.1\r\nHost: foobar.com", "301", Some("https://foobar.com/a?b=c")),
        ("GET //evil.test HTTP/1.1\r\nHost: foobar.com:80", "301", Some("https://foobar.com//evil.test")),
        ("HEAD / HTTP/1.1\r\nHost: foobar.com:", "301", Some("https://foobar.com/")),
        ("GET / HTTP/1.1\r\nHost: www.foobar.localhost:8080", "301", Some("https://www.foobar.localhost:8443/")),
        ("GET / HTTP/1.1\r\nHost: [::1]:8080", "301", Some("https://[::1]:8443/")),
        ("GET http://foobar.com?q HTTP/1.1\r\nHost: foobar.com", "301", Some("https://foobar.com/?q")),
        ("POST /form HTTP/1.1\r\nHost: foobar.com\r\nContent-Length: 0", "308", Some("https://foobar.com/form")),
        ("DELETE /x HTTP/1.0\r\nHost: foobar.com", "308", Some("https://foobar.com/x")),
        ("GET /.mainstay/health HTTP/1.1\r\nHost: foobar.com", "200", None),
        ("GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: foobar.com", "200", None),
        ("OPTIONS * HTTP/1.1\r\nHost: foobar.com", "200", None),
        ("GET / HTTP/1.1\r\nHost: foobar.com:2222", "200", None),
        ("GET / HTTP/1.0", "200", None),
    ] {
        let answer = engine.raw(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!((&answer[9..12], value(&answer, "location")), (status, location), "{head}: {answer}");
        assert_eq!(value(&answer, "strict-transport-security"), None);
    }
    let wait = "POST /form HTTP/1.1\r\nHost: foobar.com\r\nContent-Length: 5\r\n\r\n";
    let answer = engine.raw(wait.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 308") && answer.contains("Connection: close"),
        "no body is waited for: {answer}"
    );
}

/// By both versions of HTTP, through the redirect to the answer.
#[test]
fn curl_follows() {
    let engine = Engine::encrypted(&[echo("app")], certificate());
    let doors = doors(&engine);
    follow(&engine, |config| config.doors = doors);
    for version in ["--http1.1", "--http2", "--http2-prior-knowledge"] {
        let mut curl = Command::new("curl");
        for port in [engine.address.port(), engine.secure.port()] {
            curl.args(["--resolve", &format!("h.test:{port}:127.0.0.1")]);
        }
        curl.args(["-sSkL", version, "-w", " %{num_redirects} %{scheme} %{http_code}", "-d", "x=1"]);
        let said = curl.arg(format!("http://h.test:{}/form", engine.address.port())).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout).to_lowercase();
        assert!(text.ends_with(" 1 https 200"), "{version}: {text} {}", String::from_utf8_lossy(&said.stderr));
    }
}

/// Whatever answers: an application, the cache, a file, a page of our own.
#[test]
fn hsts_is_said_once_and_only_by_https() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.css"), "a{}").unwrap();
    let mut files = Folder::open(folder.path()).unwrap();
    files.prefix = "/static/".into();
    let own = backend(|mut client| {
        while let Some(head) = request(&mut client) {
            let more = if head.starts_with("GET /own") { "Strict-Transport-Security: max-age=7\r\n" } else { "" };
            let kept = "Cache-Control: max-age=60\r\n";
            client.send(format!("HTTP/1.1 200 OK\r\n{kept}{more}Content-Length: 2\r\n\r\nok").as_bytes());
        }
    });
    let config = Config {
        front: true,
        limits: limits(),
        tls: Some(certificate()),
        hsts: Some(hsts(31_536_000).into()),
        ..Config::default()
    };
    let pool = pool([mainstay_http::Address::Tcp(own)].into_iter(), 100);
    let route = Route { folders: vec![files], cache: Some(Cache::new(CacheSettings::default())), ..Route::to(pool) };
    let engine = Engine::following(config, route);
    let ask = |url: String| {
        let said = Command::new("curl").args(["-sSki", "--http1.1", &url]).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    let (clear, secure) = (engine.address.port(), engine.secure.port());
    for (path, says) in [
        ("/x", "max-age=31536000"),
        ("/x", "max-age=31536000"),
        ("/own", "max-age=7"),
        ("/own", "max-age=7"),
        ("/static/a.css", "max-age=31536000"),
        ("/static/none.css", "max-age=31536000"),
        ("/.mainstay/none", "max-age=31536000"),
    ] {
        let answer = ask(format!("https://127.0.0.1:{secure}{path}"));
        let lines: Vec<&str> =
            answer.lines().filter(|line| line.to_lowercase().starts_with("strict-transport-security:")).collect();
        assert_eq!(lines.len(), 1, "{path}: {answer}");
        assert!(lines[0].ends_with(says), "{path}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 "), "behind the status line: {answer}");
    }
    assert!(engine.config.load().routes[0].cache.as_ref().unwrap().totals()["cache_hits_total"] >= 2);
    let answer = ask(format!("http://127.0.0.1:{clear}/x"));
    assert!(!answer.to_lowercase().contains("strict-transport"), "{answer}");
}
