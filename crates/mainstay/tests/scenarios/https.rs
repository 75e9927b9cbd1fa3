//! HTTPS with a certificate that was made at the first start, and with the owner's.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::time::Duration;

use crate::lab::{Lab, design, eventually, said};

/// curl over HTTPS, trusting whoever is there; the status, the protocol's version and what came back.
fn curl(lab: &Lab, path: &str, more: &[&str]) -> Output {
    let url = format!("https://{}{path}", lab.https());
    Command::new("curl").args(["-sSk", "-w", "\n%{http_code} %{http_version}"]).args(more).arg(url).output().unwrap()
}

#[test]
fn a_site_is_served_over_https_by_both_versions() {
    let secured = format!("{}\n[tls]\ncertificate = \"self-signed\"\n", design("0-simple"));
    let lab = Lab::start(&secured, "secured.test");
    for (version, number) in [("--http2", "200 2"), ("--http1.1", "200 1.1")] {
        let page = curl(&lab, "/", &[version]);
        let text = String::from_utf8_lossy(&page.stdout).into_owned();
        assert!(text.ends_with(number), "{text} {}", said(&page));
    }
    let style = curl(&lab, "/static/style.css", &["--http2", "--compressed"]);
    assert!(String::from_utf8_lossy(&style.stdout).ends_with("200 2"), "{}", said(&style));
    assert_eq!(lab.get("/").status, 200, "and in clear");
    let shown = certificate(&lab);
    assert!(shown.contains("DNS:secured.test") && shown.contains("DNS:*.secured.test"), "{shown}");

    let down = lab.down();
    assert!(down.status.success(), "{}", said(&down));
    let up = lab.up();
    assert!(up.status.success(), "{}", said(&up));
    assert_eq!(certificate(&lab), shown, "the certificate stays");
}

/// The names and dates of the certificate that visitors are shown.
fn certificate(lab: &Lab) -> String {
    let ask = "openssl s_client -connect $0 </dev/null 2>/dev/null | openssl x509 -noout -text -dates";
    let output = Command::new("sh").args(["-c", ask, &lab.https().to_string()]).output().unwrap();
    said(&output)
}

/// The owner's, renewed where it is: the same declaration is applied again.
#[test]
fn a_renewed_certificate_is_shown_once_its_declaration_is_applied_again() {
    let declaration = "format = 1\n[site]\ndomain = \"foobar.com\"\n[app]\npath = \"code\"\nkind = \"http\"\n\
        command = \"exec /usr/bin/python3 -m http.server $PORT\"\n\
        [tls]\ncertificate = { certificate = \"cert.pem\", key = \"key.pem\" }\n\
        [servers.server1]\naddress = \"10.80.0.11\"\nroles = [\"web\", \"app\"]\n";
    let lab = Lab::prepare(declaration, "d-renewed.test");
    std::fs::create_dir_all(lab.folder().join("code")).unwrap();
    let make = |name: &str, key: &str| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9"])
            .args([
                "-addext",
                &format!("subjectAltName=DNS:{name}"),
                "-subj",
                "/CN=own",
                "-keyout",
                key,
                "-out",
                "cert.pem",
            ])
            .current_dir(lab.folder())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", said(&made));
    };
    make("first.test", "key.pem");
    let up = lab.up();
    assert!(up.status.success() && certificate(&lab).contains("DNS:first.test"), "{}", said(&up));
    let file = lab.folder().join("site.toml").display().to_string();
    let apply = || lab.mainstay(&["apply", "--yes", &file]);

    make("second.test", "key.pem");
    let told = said(&apply());
    assert!(told.contains("nothing changes") && told.contains("the certificate is another one"), "{told}");
    eventually("visitors are shown it", Duration::from_secs(30), || {
        certificate(&lab).contains("DNS:second.test").then_some(())
    });
    let told = said(&apply());
    assert!(!told.contains("certificate"), "{told}");

    make("third.test", "other.pem");
    let refused = apply();
    assert!(!refused.status.success() && said(&refused).contains("cert.pem and"), "{}", said(&refused));
    assert!(certificate(&lab).contains("DNS:second.test"), "what does not fit its key is not shown");
}

/// Whichever balancer a visitor meets, before a take-over or after it: one certificate, and a session that goes on.
#[test]
fn both_balancers_show_one_certificate_and_know_each_others_sessions() {
    let second =
        "\n[tls]\ncertificate = \"self-signed\"\n[servers.lb2]\naddress = \"10.80.0.9\"\nroles = [\"balancer\"]\n";
    let lab = Lab::start(&(design("1-distributed") + second), "d-shown.test");
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for _ in 0..12 {
        let url = format!("https://{}/messages.json", lab.https());
        let output = Command::new("curl").args(["-sSk", "-w", "\n%{certs}", &url]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, certificates) = text.split_once('\n').unwrap_or_else(|| panic!("{}", said(&output)));
        let told: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
        let steps = told["journey"].as_array().unwrap();
        let balancer = steps.iter().find(|step| step["tier"] == "balancer").unwrap()["server"].as_str().unwrap();
        let pem = certificates.split("-----BEGIN CERTIFICATE-----").nth(1).expect("curl tells the certificate");
        shown.entry(balancer.to_owned()).or_default().insert(pem.to_owned());
    }
    let all: BTreeSet<&String> = shown.values().flatten().collect();
    assert_eq!((shown.len(), all.len()), (2, 1), "{shown:?}");

    let file = lab.folder().join("session").display().to_string();
    let connect = |more: &str| {
        let ask = format!(
            "printf 'GET /health HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | \
                           openssl s_client -connect {} -ign_eof {more} 2>&1",
            lab.https()
        );
        said(&Command::new("sh").args(["-c", &ask]).output().unwrap())
    };
    let first = connect(&format!("-sess_out {file}"));
    assert!(first.contains("New, TLSv1.3"), "{first}");
    for _ in 0..6 {
        let again = connect(&format!("-sess_in {file}"));
        assert!(again.contains("Reused, TLSv1.3"), "{again}");
    }
}
