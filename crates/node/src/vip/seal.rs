//! What Mainstay's balancers put behind a VRRP packet: how fit the sender is, a number that never comes again, and a keyed
//! hash over all of it.
//!
//! ```text
//! the packet | "MSv1" | fitness | 3 × 0 | number, 8 bytes | HMAC-SHA-256, 32 bytes
//! ```
//!
//! Others' implementations do not know it, so it is there only where all are ours. What was heard before is not believed a
//! second time: the number rises with every packet of a sender, and starts from the clock, but never below what this server
//! has noted; the highest of each sender is noted too, so that a restart forgets at most the last second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use mainstay_machines::vrrp::Fitness;
use serde::{Deserialize, Serialize};

use super::notes::Notes;
use crate::clock::unix_ms;
use crate::signed::signed;

const MARK: &[u8; 4] = b"MSv1";
const NUMBER_AT: usize = 8;
const HASH_AT: usize = 16;
/// What stands behind a packet.
pub(super) const SEAL_BYTES: usize = HASH_AT + 32;
/// What is signed begins with it, so that the key can never sign anything else that means something.
const PURPOSE: &[u8] = b"mainstay vrrp 1\0";
/// A restart goes on above what was noted by more than can have been sent since: a second's worth, at a packet a microsecond.
const SKIPPED: u64 = 1_000_000;

/// Why a packet is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disbelief {
    /// It has no seal.
    Unsigned,
    /// Its seal is not by the site's key.
    Forged,
    /// It, or a later one, was heard before.
    Replayed,
}

/// What must survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    sent: u64,
    heard: BTreeMap<IpAddr, u64>,
}

/// The key, and what was sent and heard.
pub(super) struct Seal {
    key: Key,
    own: IpAddr,
    noted: Noted,
    notes: Option<Notes<Noted>>,
    /// What was given to be written down last.
    given: Noted,
}

impl Seal {
    /// A seal by `key` for what `own` says, which notes in `file` what must survive.
    pub(super) fn new(key: &[u8], own: IpAddr, file: Option<PathBuf>) -> Seal {
        let noted: Noted =
            file.as_ref().and_then(|file| std::fs::read(file).ok()).map_or_else(Noted::default, |text| {
                serde_json::from_slice(&text).unwrap_or_else(|error| {
                    tracing::warn!("what was heard before the restart is not known: {error}");
                    Noted::default()
                })
            });
        let clock = unix_ms().saturating_mul(1_000_000);
        let noted = Noted { sent: clock.max(noted.sent.saturating_add(SKIPPED)), heard: noted.heard };
        let notes = file.and_then(|file| {
            let begun = Notes::begin(file);
            begun.inspect_err(|error| tracing::warn!("a restart will forget what was heard: {error}")).ok()
        });
        Seal { key: Key::new(HMAC_SHA256, key), own, given: noted.clone(), noted, notes }
    }

    /// Puts the seal behind a packet.
    pub(super) fn put(&mut self, packet: &mut Vec<u8>, fitness: Fitness) {
        self.noted.sent += 1;
        let place = Fitness::ALL.iter().position(|it| *it == fitness).unwrap_or(0);
        packet.extend(MARK);
        packet.extend([place as u8, 0, 0, 0]);
        packet.extend(self.noted.sent.to_be_bytes());
        let hash = sign(&self.key, &signed(PURPOSE, self.own, packet));
        packet.extend(hash.as_ref());
    }

    /// How fit `from` is, by the seal at the end of `packet`.
    pub(super) fn open(&mut self, from: IpAddr, packet: &[u8]) -> Result<Fitness, Disbelief> {
        let length = packet.len().checked_sub(SEAL_BYTES).ok_or(Disbelief::Unsigned)?;
        let seal = &packet[length..];
        if !seal.starts_with(MARK) {
            return Err(Disbelief::Unsigned);
        }
        let (text, hash) = packet.split_at(length + HASH_AT);
        verify(&self.key, &signed(PURPOSE, from, text), hash).map_err(|_| Disbelief::Forged)?;
        let number = u64::from_be_bytes(seal[NUMBER_AT..HASH_AT].try_into().map_err(|_| Disbelief::Forged)?);
        let fitness = Fitness::ALL.get(usize::from(seal[MARK.len()])).ok_or(Disbelief::Forged)?;
        if self.noted.heard.get(&from).is_some_and(|last| number <= *last) {
            return Err(Disbelief::Replayed);
        }
        // Only who has the key comes here: they are as many as the site's balancers.
        self.noted.heard.insert(from, number);
        Ok(*fitness)
    }

    /// Has written down what must survive. A disk that stands still is not waited for: then a restart forgets what was
    /// heard since.
    pub(super) fn note(&mut self) {
        if let Some(notes) = self.notes.as_ref().filter(|_| self.noted != self.given)
            && notes.note(self.noted.clone())
        {
            self.given = self.noted.clone();
        }
    }

    /// The last thing that is done with it.
    pub(super) fn end(mut self) {
        self.note();
        if let Some(notes) = self.notes {
            notes.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> IpAddr {
        "10.80.0.11".parse().unwrap()
    }

    fn seal(key: &str) -> Seal {
        Seal::new(key.as_bytes(), own(), None)
    }

    #[test]
    fn what_one_signs_the_other_believes_once() {
        let (mut one, mut other) = (seal("key"), seal("key"));
        let mut first = b"packet".to_vec();
        one.put(&mut first, Fitness::Empty);
        let mut second = b"packet".to_vec();
        one.put(&mut second, Fitness::Fit);
        assert_eq!(other.open(own(), &first), Ok(Fitness::Empty));
        assert_eq!(other.open(own(), &first), Err(Disbelief::Replayed));
        assert_eq!(other.open(own(), &second), Ok(Fitness::Fit));
        assert_eq!(other.open(own(), &first), Err(Disbelief::Replayed));
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let mut packet = b"packet".to_vec();
        seal("key").put(&mut packet, Fitness::Fit);
        for at in 0..packet.len() {
            let mut changed = packet.clone();
            changed[at] ^= 1;
            let told = seal("key").open(own(), &changed);
            assert!(matches!(told, Err(Disbelief::Forged | Disbelief::Unsigned)), "byte {at}: {told:?}");
        }
        assert_eq!(seal("other").open(own(), &packet), Err(Disbelief::Forged));
        assert_eq!(seal("key").open("10.80.0.12".parse().unwrap(), &packet), Err(Disbelief::Forged));
        for end in 0..packet.len() {
            assert_eq!(seal("key").open(own(), &packet[..end]), Err(Disbelief::Unsigned));
        }
    }

    #[test]
    fn a_restart_does_not_forget() {
        let folder = tempfile::tempdir().unwrap();
        let kept = |name: &str| Seal::new(b"key", own(), Some(folder.path().join(name)));
        let (mut one, mut other) = (kept("one"), kept("other"));
        // A clock that was ahead.
        one.noted.sent = u64::MAX / 2;
        let mut packet = Vec::new();
        one.put(&mut packet, Fitness::Fit);
        assert_eq!(other.open(own(), &packet), Ok(Fitness::Fit));
        one.end();
        other.end();
        assert_eq!(kept("other").open(own(), &packet), Err(Disbelief::Replayed));
        let mut later = Vec::new();
        kept("one").put(&mut later, Fitness::Fit);
        assert_eq!(kept("other").open(own(), &later), Ok(Fitness::Fit));
    }
}
