//! Answers of our own: small, self-contained, in a visitor's words.

use crate::codec::{Method, Request};

/// An answer without a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) status: u16,
    /// What the visitor is told.
    pub(crate) says: &'static str,
    /// Seconds after which trying again makes sense.
    pub(crate) retry_after: Option<u32>,
}

/// No backend answered properly.
pub(crate) const BAD_GATEWAY: Page =
    Page { status: 502, says: "The server behind this page failed while answering.", retry_after: None };
/// Nobody is there to answer.
pub(crate) const UNAVAILABLE: Page =
    Page { status: 503, says: "The site is busy or restarting. Please try again in a moment.", retry_after: Some(2) };
/// A backend took too long.
pub(crate) const GATEWAY_TIMEOUT: Page =
    Page { status: 504, says: "The server behind this page took too long to answer.", retry_after: None };
/// No route.
pub(crate) const NOT_FOUND: Page = Page { status: 404, says: "There is no page at this address.", retry_after: None };

impl Page {
    /// For a refused request: the status tells what kind of mistake it was, the log which.
    pub(crate) const fn refusal(status: u16) -> Page {
        Page { status, says: "The request could not be understood.", retry_after: None }
    }

    /// Writes the whole answer behind `out`.
    pub(crate) fn write(&self, request: Option<&Request>, id: &str, persists: bool, out: &mut Vec<u8>) {
        let html = request.is_some_and(wants_html);
        let body =
            if html { self.html(id) } else { format!("{} {}\n{}\n", self.status, reason(self.status), self.says) };
        let kind = if html { "text/html" } else { "text/plain" };
        let connection = if persists { "" } else { "Connection: close\r\n" };
        let retry = self.retry_after.map(|after| format!("Retry-After: {after}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Request-Id: {id}\r\n{retry}{connection}\r\n",
            self.status,
            reason(self.status),
            body.len(),
        );
        out.extend_from_slice(head.as_bytes());
        if request.is_none_or(|request| request.method != Method::Head) {
            out.extend_from_slice(body.as_bytes());
        }
    }

    fn html(&self, id: &str) -> String {
        let (status, reason, says) = (self.status, reason(self.status), self.says);
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{status} {reason}</title><style>:root{{color-scheme:light dark}}body{{font:1.1rem/1.5 system-ui,sans-serif;\
             max-width:32rem;margin:18vh auto;padding:0 1.5rem}}h1{{font-size:1.6rem}}small{{opacity:.6}}</style>\
             <h1>{reason}</h1><p>{says}</p><small>{status} · {id}</small>\n"
        )
    }
}

/// Browsers ask for HTML by name; programs do not.
fn wants_html(request: &Request) -> bool {
    let accept = request.head.header("accept").unwrap_or_default();
    memchr::memmem::find(accept, b"text/html").is_some()
}

/// RFC 9110 § 15's phrase.
pub(crate) const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
