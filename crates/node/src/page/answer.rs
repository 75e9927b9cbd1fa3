//! The page's addresses, and who may read them.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Page, drawing, view};

/// Nothing from elsewhere, nothing inline, no frames, no forms (Content Security Policy Level 3).
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const CSS: &str = include_str!("page.css");
const JS: &str = include_str!("page.js");

pub fn router(page: Page) -> Router {
    let style = drawing::style(&page.site);
    let html = |text: String| ([(CONTENT_TYPE, "text/html; charset=utf-8")], text);
    Router::new()
        .route("/", get(async move |State(page): State<Page>| html(view::document(&page).into_string())))
        .route("/live", get(async move |State(page): State<Page>| html(view::live(&page).into_string())))
        .route("/status.json", get(async |State(page): State<Page>| axum::Json(page.latest.load().as_ref().clone())))
        .route("/page.css", get(async || ([(CONTENT_TYPE, "text/css; charset=utf-8")], CSS)))
        .route("/drawing.css", get(async move || ([(CONTENT_TYPE, "text/css; charset=utf-8")], style)))
        .route("/page.js", get(async || ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], JS)))
        .with_state(page)
        .layer(from_fn(guard))
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = if meant_for_us(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "This is the status page; ask for it by its address or as localhost.\n")
            .into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Whether the request names us by an address or as localhost. A page elsewhere whose name was made to lead here (DNS
/// rebinding) names itself, and must not read how the site is.
fn meant_for_us(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    name.parse::<std::net::IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_not_read_through_a_foreign_name() {
        let named = |host: &'static str| meant_for_us(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]));
        for ours in ["127.0.0.1:9080", "localhost:9080", "[::1]:9080", "Status.foobar.localhost"] {
            assert!(named(ours), "{ours}");
        }
        for foreign in ["evil.example:9080", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"] {
            assert!(!named(foreign), "{foreign}");
        }
        assert!(!meant_for_us(&HeaderMap::new()));
    }
}
