//! What keeps one visitor, or one mistake of ours, from harming the others.
//!
//! Limits are the front door's: behind it every connection comes from a tier of ours. Connections are counted by this process
//! alone; of rates, several doors tell each other ([`Rate::tell`], [`Rate::hear`]), as far off as `machines::limiter` says.

mod connections;
mod panics;
mod rates;
mod scope;
mod source;

use std::net::IpAddr;
use std::time::Instant;

pub(crate) use connections::{Addresses, Place};
pub use mainstay_machines::limiter::{Ban, Message};
pub(crate) use panics::survive;
pub use rates::{By, Rate, RateSettings};
pub(crate) use source::Source;

use crate::codec::Request;
use crate::config::Config;
use crate::counters::{Counters, count};
use crate::page::Page;

/// What a visitor is told who asked too often.
const TOO_MANY: &str = "Too many requests at once. Please try again in a moment.";

/// Decides whether `request`, of the address `client`, is too much; the answer if it is.
///
/// Every rate that it falls under is asked, in order, until one refuses. Costs nothing where there is none.
pub(crate) fn refusal(
    config: &Config,
    counters: &Counters,
    request: &Request,
    client: &str,
    now: Instant,
) -> Option<Page> {
    if config.rates.is_empty() || !config.front {
        return None;
    }
    let source = client.parse::<IpAddr>().map(Source::from).unwrap_or_default();
    let path = scope::plain(request.path());
    let wait = config
        .rates
        .iter()
        .filter(|rate| rate.covers(request.host(), &path))
        .find_map(|rate| rate.ask(request, source, now).err())?;
    count(&counters.rate_limited);
    // Retry-After counts whole seconds (RFC 9110 § 10.2.3), and who comes back too early is refused again.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Some(Page { status: 429, says: TOO_MANY, retry_after: u32::try_from(seconds).ok() })
}

/// The answer to a connection too many of one address.
pub(crate) const CROWDED: Page = Page {
    status: 429,
    says: "Too many connections from one address. Please try again in a moment.",
    retry_after: Some(2),
};
