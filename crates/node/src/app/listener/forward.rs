//! What changes in the head of a request on its way to a worker, and of an answer on its way back.

use hyper::HeaderMap;
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::http::request::Parts;

/// Who took part in an answer: `balancer=lb1, web=server1, app=server1`.
pub(super) const VIA: HeaderName = HeaderName::from_static("x-mainstay-via");

/// Headers that are about one connection only (RFC 9110 § 7.6.1), beyond those that `Connection` names.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Removes what was for us, and adds that `server` took part.
pub(super) fn prepare(parts: &mut Parts, server: &str) {
    remove_hop_by_hop(&mut parts.headers);
    let before = parts.headers.get(&VIA).and_then(|via| via.to_str().ok()).filter(|via| !via.is_empty());
    let via = before.map_or_else(|| format!("app={server}"), |before| format!("{before}, app={server}"));
    if let Ok(via) = HeaderValue::from_str(&via) {
        parts.headers.insert(VIA, via);
    }
}

/// Removes what was between the sender and us.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut request = hyper::Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        prepare(&mut parts, "server1");
        parts.headers
    }

    #[test]
    fn our_server_is_added_to_those_before() {
        assert_eq!(prepared(&[])[VIA], "app=server1");
        let before = [("x-mainstay-via", "balancer=lb1, web=server2")];
        assert_eq!(prepared(&before)[VIA], "balancer=lb1, web=server2, app=server1");
    }

    #[test]
    fn what_was_for_us_is_not_passed_on() {
        let headers = prepared(&[
            ("connection", "keep-alive, x-secret"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("accept", "text/html"),
        ]);
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "x-mainstay-via"]);
    }
}
