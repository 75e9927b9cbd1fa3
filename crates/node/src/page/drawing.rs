//! The site's drawing with how it is right now. A drawing brings its style along; the page has it as a style sheet of
//! its own instead, since its policy allows nothing inline.

use mainstay_site::draw::{Live, Overlay, svg};
use mainstay_site::model::Site;

use super::Overview;

const OPEN: &str = "<style>";
const CLOSE: &str = "</style>";

/// The drawing, without its style.
pub fn picture(site: &Site, seen: &Overview) -> String {
    let drawn = svg(site, Some(&overlay(seen)));
    match parts(&drawn) {
        Some((before, _, after)) => format!("{before}{after}"),
        None => drawn,
    }
}

/// The style of every drawing of `site`.
pub fn style(site: &Site) -> String {
    let drawn = svg(site, Some(&Overlay::default()));
    parts(&drawn).map(|(_, style, _)| style.to_owned()).unwrap_or_default()
}

fn parts(drawn: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = drawn.split_once(OPEN)?;
    let (style, after) = rest.split_once(CLOSE)?;
    Some((before, style, after))
}

fn overlay(seen: &Overview) -> Overlay {
    let mut overlay = Overlay::default();
    for sight in &seen.servers {
        match &sight.status {
            Some(status) => overlay.add_status(status, |service| sight.requests_per_second.get(service).copied()),
            None => sight.roles.iter().for_each(|role| {
                let live = Live { state: sight.state, because: sight.because.clone(), per_second: None };
                overlay.add(&sight.server, *role, live);
            }),
        }
    }
    overlay
}
