//! Connections to backends that wait for their next request; each thread has its own.
//!
//! As many are kept as the backend had requests at a time lately. Fewer would be closed and made anew all the time, and each that
//! is closed keeps its port for a minute (TIME_WAIT, RFC 9293 § 3.6.1): when those of an address run out, the kernel looks for a free
//! one for longer than the request takes. More would hold what nobody needs. For the same reason what is let go of is reset, as
//! HAProxy does: nothing is under way on it that could be lost.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::pool::Lease;
use crate::stream::{Address, Stream};

/// Idle connections kept per backend and thread at the most: each is a descriptor here and there. Where one core has more requests at
/// a backend at a time, it makes some connections anew.
const KEPT_MAX: usize = 1024;
/// An idle connection that saw as many sweeps, which come every ten seconds, is closed: granian and nginx close theirs after
/// 60 s and more, and asking one that is just being closed costs a retry.
const SWEEPS_MAX: u32 = 3;

/// The idle connections of a thread, by where they lead.
#[derive(Default)]
pub(crate) struct Idle {
    kept: RefCell<HashMap<Arc<Address>, Waiting, BuildHasherDefault<Fold>>>,
    sweeps: Cell<u32>,
}

/// Those that lead to one backend.
struct Waiting {
    /// Each with the sweep since which it waits; the youngest last.
    streams: VecDeque<(Stream, u32)>,
    /// The most requests that the backend had at a time since the last sweep, and between that and the one before.
    busiest: [u32; 2],
    /// Somebody connects to find out whether the backend is there, and tells the others.
    knocked: Option<Rc<Notify>>,
}

impl Waiting {
    fn room(&self) -> usize {
        (self.busiest[0].max(self.busiest[1]) as usize).min(KEPT_MAX)
    }
}

/// Who wants to know whether a backend is there.
pub(crate) enum Knock<'i> {
    /// The first, who connects.
    First(Knocking<'i>),
    /// Those behind him, who are told once he is through.
    Behind(Rc<Notify>),
}

/// Somebody connects, and whoever waits for that goes on when this is dropped.
pub(crate) struct Knocking<'i> {
    idle: &'i Idle,
    address: Arc<Address>,
}

impl Drop for Knocking<'_> {
    fn drop(&mut self) {
        let knocked = self.idle.kept.borrow_mut().get_mut(&self.address).and_then(|waiting| waiting.knocked.take());
        knocked.into_iter().for_each(|answer| answer.notify_waiters());
    }
}

/// A hash of a few instructions. The addresses are the site's own: nobody chooses them so that they collide.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..eight.len()].copy_from_slice(eight);
            self.write_u64(u64::from_le_bytes(padded));
        }
    }

    fn write_u64(&mut self, eight: u64) {
        // Of the golden ratio: spreads into the high bits, which are then folded down (Knuth, TAOCP 3, § 6.4).
        self.0 = (self.0 ^ eight).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }

    fn write_u16(&mut self, two: u16) {
        self.write_u64(two.into());
    }

    fn write_usize(&mut self, many: usize) {
        self.write_u64(many as u64);
    }

    fn write_isize(&mut self, many: isize) {
        self.write_u64(many as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Idle {
    /// A connection that may be used again, the youngest first. `once`: the request must not be sent twice.
    pub(crate) fn take(&self, lease: &Lease, once: bool) -> Option<Stream> {
        let mut all = self.kept.borrow_mut();
        let waiting = all.get_mut(&lease.address)?;
        while let Some((stream, _)) = waiting.streams.pop_back() {
            let quiet = if once { stream.is_quiet() } else { stream.seems_quiet() };
            if quiet {
                return Some(stream);
            }
        }
        None
    }

    /// Of many requests that must know at a time whether a backend is there, one finds out. `None` if no connection waits for the others.
    pub(crate) fn knock(&self, lease: &Lease) -> Option<Knock<'_>> {
        let mut all = self.kept.borrow_mut();
        let waiting = all.get_mut(&lease.address).filter(|waiting| !waiting.streams.is_empty())?;
        if let Some(answer) = &waiting.knocked {
            return Some(Knock::Behind(answer.clone()));
        }
        waiting.knocked = Some(Rc::default());
        Some(Knock::First(Knocking { idle: self, address: lease.address.clone() }))
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, lease: &Lease, stream: Stream) {
        if !stream.is_reusable() {
            return;
        }
        let mut all = self.kept.borrow_mut();
        let waiting = match all.get_mut(&lease.address) {
            Some(waiting) => waiting,
            None => {
                let none_yet = Waiting { streams: VecDeque::new(), busiest: [0; 2], knocked: None };
                all.entry(lease.address.clone()).or_insert(none_yet)
            }
        };
        waiting.busiest[0] = waiting.busiest[0].max(lease.outstanding());
        waiting.streams.push_back((stream, self.sweeps.get()));
        while waiting.streams.len() > waiting.room() {
            waiting.streams.pop_front().into_iter().for_each(|(stream, _)| stream.reset());
        }
    }

    /// Closes what has waited too long.
    pub(crate) fn sweep(&self) {
        let now = self.sweeps.get().wrapping_add(1);
        self.sweeps.set(now);
        self.kept.borrow_mut().retain(|_, waiting| {
            waiting.busiest = [0, waiting.busiest[0]];
            let old = waiting.streams.iter().take_while(|(_, since)| now.wrapping_sub(*since) >= SWEEPS_MAX).count();
            waiting.streams.drain(..old).for_each(|(stream, _)| stream.reset());
            !waiting.streams.is_empty() || waiting.knocked.is_some()
        });
    }
}
