//! What matters of a request when a backend is chosen for it.

use std::net::IpAddr;

use mainstay_machines::balance::{Hashed, hash, source};

use super::Trip;
use crate::codec::Kind;
use crate::pool::{Pool, Wanted};

/// The same on every server, so that a client or a page is everywhere the same backend's. Not a secret: who chooses
/// addresses to meet one backend can as well send it requests from one.
const SEED: u64 = 0;

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
        Wanted { key, within: self.limits().hold_within, ..Wanted::default() }
    }

    /// Who asked the front door, which says so in the first place of `X-Forwarded-For`.
    fn visitor(&self) -> Option<IpAddr> {
        let said = if self.config.front { None } else { self.request.head.of_kind(Kind::ForwardedFor) };
        let first = said.and_then(|list| std::str::from_utf8(list).ok()?.split(',').next());
        first.unwrap_or(self.client).trim().parse().ok()
    }
}
