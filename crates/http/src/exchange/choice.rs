//! What matters of a request when a backend is chosen for it, and waiting for one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use mainstay_machines::balance::{Hashed, hash, source};

use super::{Given, Trip, micros};
use crate::codec::{Head, Kind};
use crate::connection::boxed;
use crate::pool::{Lease, Pool, Refused, Wanted};
use crate::wire::Wire;

/// The same on every server, so that a client or a page is everywhere the same backend's. Not a secret: who chooses
/// addresses to meet one backend can as well send it requests from one.
const SEED: u64 = 0;

/// Of a head.
const END: &[u8] = b"\r\n";

impl Trip<'_> {
    /// What `pool` is to look at, but for who was tried.
    pub(super) fn wanted(&self, pool: &Pool) -> Wanted<'static> {
        let key = match pool.hashes() {
            None => 0,
            Some(Hashed::Client) => self.visitor().map_or(0, |visitor| source::key(SEED, visitor)),
            Some(Hashed::Page) => {
                hash::bytes(hash::bytes(SEED, self.request.host().as_bytes()), self.request.path().as_bytes())
            }
        };
        let kept = pool.cookies.as_ref().and_then(|cookies| cookies.backend(&self.request.head));
        Wanted { key, kept, within: self.limits().hold_within, ..Wanted::default() }
    }

    /// A backend of `pool`; `None` if the client went away while it waited: nobody is to work for it then.
    pub(super) async fn leased(
        &self,
        pool: &Arc<Pool>,
        wanted: &Wanted<'_>,
        given: &Given<'_>,
        wire: &mut Wire,
    ) -> Option<Result<Lease, Refused>> {
        if let Some(lease) = pool.lease_now(wanted) {
            return Some(Ok(lease));
        }
        let gathered = matches!(given, Given::Script(_));
        // In a box of its own: nearly every request finds somebody at once.
        let waited = boxed(|| async move {
            let began = Instant::now();
            let leased = self.unless_gone(pool.wait(wanted), gathered, wire).await;
            self.stages.queue.set(self.stages.queue.get() + micros(began.elapsed()));
            leased
        });
        waited.await
    }

    /// Tells a visitor who is new at the backend, in an answer's head, to stay with it. Not in what a shared cache may keep
    /// (RFC 9111 § 7.3): it would send everybody there; pictures and style sheets have no session anyway.
    pub(super) fn stay(&self, lease: &Lease, response: &Head, head: &mut Vec<u8>) {
        let Some(cookies) = lease.cookies().filter(|_| !is_shared(response)) else { return };
        head.truncate(head.len() - END.len());
        cookies.set(lease.backend, self.is_encrypted(), head);
        head.extend_from_slice(END);
    }

    /// Whether the visitor came by https, which the front door says to the tiers behind it.
    fn is_encrypted(&self) -> bool {
        self.scheme() == "https"
    }

    /// Who asked the front door, which says so in the first place of `X-Forwarded-For`.
    fn visitor(&self) -> Option<IpAddr> {
        let said = if self.config.front { None } else { self.request.head.of_kind(Kind::ForwardedFor) };
        let first = said.and_then(|list| std::str::from_utf8(list).ok()?.split(',').next());
        first.unwrap_or(self.client).trim().parse().ok()
    }
}

/// Whether its `Cache-Control` lets a shared cache keep an answer (RFC 9111 § 5.2.2).
fn is_shared(response: &Head) -> bool {
    let lines = response.all_of_kind(Kind::CacheControl);
    let directives = lines.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let (mut may, mut must_not) = (false, false);
    for directive in directives {
        let is = |name: &[u8]| directive.len() >= name.len() && directive[..name.len()].eq_ignore_ascii_case(name);
        may |= is(b"public") || is(b"max-age") || is(b"s-maxage");
        must_not |= is(b"private") || is(b"no-store") || is(b"no-cache");
    }
    may && !must_not
}
