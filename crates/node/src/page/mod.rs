//! The status page: how the site is, at a glance. Made on the server, without a build step and without anything from
//! elsewhere; `up` hosts it, and later the role `monitor`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /live` | the part of it that changes; the page fetches it every two seconds |
//! | `GET /status.json` | [`Overview`] |
//! | `GET /page.css`, `GET /drawing.css`, `GET /page.js` | what the page needs |

mod answer;
mod drawing;
mod overview;
mod rates;
mod view;
mod watch;
mod words;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mainstay_site::findings::Finding;
use mainstay_site::model::Site;

pub use overview::{Overview, Sight};
pub use watch::{Observer, Watched};
pub use words::{ago, bytes, rate};

/// What the page is about.
#[derive(Clone)]
pub struct Page {
    /// The site as it is declared; its drawing is the middle of the page.
    pub site: Arc<Site>,
    /// What is wrong with its design.
    pub findings: Arc<[Finding]>,
    /// Addresses that a browser opens as they stand, with what is there.
    pub links: Arc<[(String, String)]>,
    /// How it is, swapped by an [`Observer`].
    pub latest: Arc<ArcSwap<Overview>>,
}

impl Page {
    /// Serves the page on `listener` until the future is dropped.
    ///
    /// # Errors
    /// If the listener is broken.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        axum::serve(tokio::net::TcpListener::from_std(listener)?, answer::router(self)).await
    }
}

#[cfg(test)]
mod sample;

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_site::names::Role;
    use mainstay_site::wire::State;

    #[test]
    fn shows_every_server_and_lets_no_text_become_markup() {
        let text = view::document(&sample::page()).into_string();
        // For looking at it.
        if let Some(path) = std::env::var_os("MAINSTAY_PAGE") {
            std::fs::write(path, &text).unwrap();
        }
        for shown in ["lb1", "server1", "worker 1", "0.0 s behind server1", "HTTPS is not served", "dig @127.0.0.1"] {
            assert!(text.contains(shown), "{shown}");
        }
        assert!(text.contains("&lt;script&gt;alert(1)") && !text.contains("<script>alert"));
    }

    #[test]
    fn the_site_is_degraded_while_every_tier_has_a_server_and_else_what_the_tier_is() {
        let page = sample::page();
        let seen = page.latest.load();
        assert_eq!(seen.state, State::Degraded);
        assert_eq!(seen.because, "server2 is degraded, server3 is failed");
        let without = |lost: &str| {
            let mut servers = seen.servers.clone();
            for sight in servers.iter_mut().filter(|sight| sight.server.as_str() == lost) {
                (sight.state, sight.status) = (State::Failed, None);
            }
            Overview::new(&page.site, 0, servers)
        };
        assert_eq!(without("server1").state, State::Degraded);
        let down = without("lb1");
        assert_eq!((down.state, down.because.as_str()), (State::Failed, "no server serves balancer"));
        let mut servers = seen.servers.clone();
        for service in servers.iter_mut().flat_map(|sight| &mut sight.status).flat_map(|status| &mut status.services) {
            match service.role {
                Role::App => service.state = State::Failed,
                Role::Web | Role::Balancer => service.state = State::Starting,
                _ => {}
            }
        }
        let waiting = Overview::new(&page.site, 0, servers);
        let culprit = (waiting.state, waiting.because.as_str());
        assert_eq!(culprit, (State::Failed, "no server serves app"), "not those that wait for it");
        assert_eq!(Overview::unseen(&page.site, 0).state, State::Starting);
    }
}
