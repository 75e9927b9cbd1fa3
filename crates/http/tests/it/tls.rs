//! TLS, as curl and OpenSSL see it.

use std::process::{Command, Output};

use mainstay_http::tls::{self, Identity};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::engine::{Engine, echo};

/// An authority and what it signs, in a folder for the clients.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    /// Certificate and key in PEM.
    fn signs(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub fn identity(&self, names: &[&str]) -> Identity {
        let (certificate, key) = self.signs(names);
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn curl(&self, engine: &Engine, host: &str, more: &[&str]) -> Output {
        let port = engine.secure.port();
        let resolve = format!("{host}:{port}:127.0.0.1");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--cacert", &self.path("ca.pem"), "--resolve", &resolve]).args(more);
        curl.arg(format!("https://{host}:{port}/")).output().unwrap()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn curl_trusts_each_name_by_its_own_certificate() {
    let authority = Authority::new();
    let identities = vec![authority.identity(&["www.a.test"]), authority.identity(&["*.b.test", "b.test"])];
    let engine = Engine::encrypted(&[echo("app")], tls::server(identities, None).unwrap());
    for host in ["www.a.test", "b.test", "x.b.test"] {
        for version in ["--tlsv1.3", "--tls-max=1.2"] {
            let version: Vec<&str> = version.split('=').collect();
            let answer = authority.curl(&engine, host, &[&["--http1.1"], &*version].concat());
            assert!(answer.status.success() && text(&answer).contains("app"), "{host}: {}", text(&answer));
        }
    }
    let wrong = authority.curl(&engine, "c.test", &["--http1.1"]);
    assert_eq!(wrong.status.code(), Some(60), "{}", text(&wrong));
    assert!(engine.total("tls_full_handshakes_total") >= 6);
}

#[test]
fn old_versions_and_what_is_not_tls_are_turned_away() {
    let authority = Authority::new();
    let engine = Engine::encrypted(&[echo("app")], tls::server(vec![authority.identity(&["a.test"])], None).unwrap());
    let old = authority.curl(&engine, "a.test", &["--tls-max", "1.1"]);
    assert!(!old.status.success());
    let clear = Command::new("curl").args(["-sS", &format!("http://{}/", engine.secure)]).output().unwrap();
    assert!(!clear.status.success());
    crate::engine::until("both are counted", || engine.total("tls_failed_handshakes_total") >= 1);
    assert!(authority.curl(&engine, "a.test", &[]).status.success(), "others are served all the same");
}

#[test]
fn sessions_are_gone_on_with() {
    let authority = Authority::new();
    let engine = Engine::encrypted(&[echo("app")], tls::server(vec![authority.identity(&["a.test"])], None).unwrap());
    for version in ["-tls1_3", "-tls1_2"] {
        let session = authority.path("session.pem");
        let first = openssl(&engine, &[version, "-sess_out", &session]);
        assert!(first.contains("New, TLSv1."), "{first}");
        let again = openssl(&engine, &[version, "-sess_in", &session]);
        assert!(again.contains("Reused, TLSv1."), "{again}");
    }
    assert_eq!(engine.total("tls_resumed_handshakes_total"), 2);
}

/// What OpenSSL's client says of a connection on which it sends one request.
fn openssl(engine: &Engine, more: &[&str]) -> String {
    use std::io::Write;
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &engine.secure.to_string(), "-ign_eof"])
        .args(more)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    text(&client.wait_with_output().unwrap())
}

#[test]
fn only_clients_with_a_certificate_where_that_is_asked_for() {
    let (authority, others) = (Authority::new(), Authority::new());
    let clients = std::fs::read(authority.path("ca.pem")).unwrap();
    let tls = tls::server(vec![authority.identity(&["a.test"])], Some(&clients)).unwrap();
    let engine = Engine::encrypted(&[echo("app")], tls);
    for (from, lets_in) in [(None, false), (Some(&others), false), (Some(&authority), true)] {
        let shown: Vec<String> = from.map_or_else(Vec::new, |from| {
            let (certificate, key) = from.signs(&["client"]);
            std::fs::write(authority.path("client.pem"), certificate).unwrap();
            std::fs::write(authority.path("client.key"), key).unwrap();
            vec!["--cert".into(), authority.path("client.pem"), "--key".into(), authority.path("client.key")]
        });
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        let answer = authority.curl(&engine, "a.test", &shown);
        assert_eq!(answer.status.success(), lets_in, "{}", text(&answer));
    }
}

#[test]
fn a_new_certificate_needs_no_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let engine = Engine::encrypted(&[echo("app")], tls::server(vec![old.identity(&["a.test"])], None).unwrap());
    assert!(old.curl(&engine, "a.test", &[]).status.success());
    let tls = Some(tls::server(vec![new.identity(&["a.test"])], None).unwrap());
    let config = mainstay_http::Config { tls, ..(**engine.config.load()).clone() };
    engine.config.store(std::sync::Arc::new(config));
    assert!(new.curl(&engine, "a.test", &[]).status.success());
    assert!(!old.curl(&engine, "a.test", &[]).status.success(), "the old authority has nothing to do with it any more");
}

#[test]
fn what_cannot_be_used_is_named() {
    let authority = Authority::new();
    let (certificate, _) = authority.signs(&["a.test"]);
    let (_, key) = authority.signs(&["a.test"]);
    let said = |certificate: &str, key: &str| {
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes());
        identity.and_then(|identity| tls::server(vec![identity], None)).unwrap_err().to_string()
    };
    assert!(said("", &key).starts_with("the certificate cannot be read"));
    assert!(said(&certificate, "").starts_with("the private key cannot be read"));
    assert!(said(&certificate, &key).starts_with("the certificate and the private key cannot be used"));
}
