//! HTTPS with a certificate that was made at the first start.

use std::process::{Command, Output};

use crate::lab::{Lab, design, said};

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
