//! A request as PHP wants it: the meta-variables of CGI/1.1 (RFC 3875 § 4.1), which FastCGI carries as parameters.

use std::path::Path;

/// What is known of a request.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    /// `GET`.
    pub method: &'a str,
    /// The request target: `/path?query`.
    pub target: &'a str,
    /// Names in any case, in the order in which they came.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl Asked<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(is, _)| is.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Scheme and host as the visitor has them: only Mainstay's own tiers reach this service, and the front door
    /// removes what a visitor sends under these names.
    fn https(&self) -> bool {
        self.header("x-forwarded-proto") == Some("https")
    }

    fn host(&self) -> &str {
        self.header("x-forwarded-host").or_else(|| self.header("host")).unwrap_or("localhost")
    }

    fn visitor(&self) -> &str {
        self.header("x-forwarded-for").and_then(|all| all.split(',').next()).map_or("", str::trim)
    }
}

/// The script that answers.
#[derive(Clone, Debug)]
pub(super) struct Script<'a> {
    /// The document root.
    pub root: &'a Path,
    /// Absolute.
    pub file: &'a Path,
    /// Its own path below the root.
    pub name: &'a str,
    /// What follows it.
    pub info: &'a str,
}

/// Names and values for the script.
pub(super) fn parameters(asked: &Asked<'_>, script: &Script<'_>) -> Vec<(String, Vec<u8>)> {
    let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
    let (name, port) = split_host(asked.host(), asked.https());
    let (root, file) = (script.root.to_string_lossy(), script.file.to_string_lossy());
    let mut known: Vec<(String, Vec<u8>)> = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_SOFTWARE", "Mainstay"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_METHOD", asked.method),
        ("REQUEST_URI", asked.target),
        ("DOCUMENT_URI", path),
        ("QUERY_STRING", query),
        ("DOCUMENT_ROOT", &root),
        ("SCRIPT_FILENAME", &file),
        ("SCRIPT_NAME", script.name),
        ("PATH_INFO", script.info),
        ("SERVER_NAME", name),
        ("SERVER_PORT", port),
        ("REMOTE_ADDR", asked.visitor()),
        // PHP's own safety catch against being called around the web server.
        ("REDIRECT_STATUS", "200"),
    ]
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    .into();
    if asked.https() {
        known.push(("HTTPS".into(), b"on".to_vec()));
    }
    known.extend(headers(asked));
    known
}

fn headers(asked: &Asked<'_>) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, value) in asked.headers {
        let Some(variable) = variable(name) else { continue };
        let separator: &[u8] = if variable == "HTTP_COOKIE" { b"; " } else { b", " };
        match all.iter_mut().find(|(is, _)| *is == variable) {
            Some((_, joined)) => joined.extend([separator, value].concat()),
            None => all.push((variable, value.to_vec())),
        }
    }
    if let Some((_, host)) = all.iter_mut().find(|(name, _)| name == "HTTP_HOST") {
        *host = asked.host().as_bytes().to_vec();
    }
    all
}

/// The variable of a header; `None` for one that must not have any.
///
/// - `Proxy` would become `HTTP_PROXY`, by which libraries are told where to send their own requests
///   (CVE-2016-5385, "httpoxy").
/// - A name with an underscore would pass for the one with a hyphen, and so past whoever removed that.
fn variable(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    match upper.as_str() {
        _ if name.contains('_') => None,
        "PROXY" => None,
        "CONTENT_TYPE" | "CONTENT_LENGTH" => Some(upper),
        _ => Some(format!("HTTP_{upper}")),
    }
}

fn split_host(host: &str, https: bool) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (host, if https { "443" } else { "80" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &[u8])]) -> Vec<(String, String)> {
        let asked = Asked { method: "POST", target: "/blog/index.php/2026?p=1&q=%20", headers };
        let script = Script {
            root: Path::new("/code"),
            file: Path::new("/code/blog/index.php"),
            name: "/blog/index.php",
            info: "/2026",
        };
        let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
        parameters(&asked, &script).into_iter().map(|(name, value)| (name, text(value))).collect()
    }

    fn value<'a>(all: &'a [(String, String)], name: &str) -> Option<&'a str> {
        let mut found = all.iter().filter(|(is, _)| is == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        first
    }

    #[test]
    fn a_script_sees_where_it_was_called() {
        let all = of(&[("Host", b"10.80.0.11:8000"), ("Content-Length", b"5"), ("content-type", b"text/plain")]);
        for (name, expected) in [
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/blog/index.php/2026?p=1&q=%20"),
            ("QUERY_STRING", "p=1&q=%20"),
            ("SCRIPT_NAME", "/blog/index.php"),
            ("SCRIPT_FILENAME", "/code/blog/index.php"),
            ("PATH_INFO", "/2026"),
            ("DOCUMENT_ROOT", "/code"),
            ("CONTENT_LENGTH", "5"),
            ("CONTENT_TYPE", "text/plain"),
            ("SERVER_NAME", "10.80.0.11"),
            ("SERVER_PORT", "8000"),
        ] {
            assert_eq!(value(&all, name), Some(expected), "{name}");
        }
        assert_eq!(value(&all, "HTTPS"), None);
    }

    #[test]
    fn a_script_sees_the_visitor_as_the_front_door_does() {
        let all = of(&[
            ("Host", b"10.80.0.11:8000"),
            ("X-Forwarded-Host", b"www.foobar.com"),
            ("X-Forwarded-Proto", b"https"),
            ("X-Forwarded-For", b"192.0.2.7, 10.80.0.10"),
        ]);
        for (name, expected) in [
            ("HTTPS", "on"),
            ("HTTP_HOST", "www.foobar.com"),
            ("SERVER_NAME", "www.foobar.com"),
            ("SERVER_PORT", "443"),
            ("REMOTE_ADDR", "192.0.2.7"),
        ] {
            assert_eq!(value(&all, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn headers_that_would_pass_for_something_else_are_left_out() {
        let all =
            of(&[("Proxy", b"http://evil"), ("X_Forwarded_For", b"evil"), ("Cookie", b"a=1"), ("cookie", b"b=2")]);
        assert_eq!(value(&all, "HTTP_PROXY"), None);
        assert_eq!(value(&all, "HTTP_X_FORWARDED_FOR"), None);
        assert_eq!(value(&all, "HTTP_COOKIE"), Some("a=1; b=2"));
    }
}
