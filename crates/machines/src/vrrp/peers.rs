//! Who was heard lately, and how fit he is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Fitness;
use crate::Time;

/// Balancers of a cluster are few; without signatures anybody on the wire can pretend to be many.
const PEERS_MAX: usize = 32;

#[derive(Clone, Debug, Default)]
pub(super) struct Peers(BTreeMap<IpAddr, (Time, Fitness)>);

impl Peers {
    pub(super) fn heard(&mut self, now: Time, from: IpAddr, fitness: Fitness) {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&from) {
            let oldest = self.0.iter().min_by_key(|(_, (at, _))| *at).map(|(from, _)| *from);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        self.0.insert(from, (now, fitness));
    }

    /// Whether somebody other than `one` was heard within `within`.
    pub(super) fn any_but(&self, now: Time, within: Duration, one: IpAddr) -> bool {
        self.0.iter().any(|(from, (at, _))| *from != one && now.since(*at) < within)
    }

    /// Whether somebody heard within `within` is fitter than `fitness`.
    pub(super) fn any_fitter(&self, now: Time, within: Duration, fitness: Fitness) -> bool {
        self.0.values().any(|(at, is)| *is > fitness && now.since(*at) < within)
    }
}
