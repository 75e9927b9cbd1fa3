//! Hedging (Dean and Barroso, The Tail at Scale, 2013): where a backend is silent for longer than nearly all answers take,
//! another is asked the same, and whoever begins to answer first is listened to.
//!
//! It costs requests, and so is off unless declared, bounded by the retry budget, and only for what is safe and has no body
//! (RFC 9110 § 9.2.1): two backends carry it out.

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::{Attempt, Download, Given, Trip};
use crate::codec::{Framing, Method};
use crate::counters::count;
use crate::patience::within;
use crate::pool::{Lease, Wanted};
use crate::stream::Stream;
use crate::wire::Wire;

/// Who was heard first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    First,
    Second,
    ClientGone,
    Nobody,
}

impl Trip<'_> {
    /// How long a backend of `lease` may be silent before another is asked this too; `None`: no other is.
    pub(super) fn hedges_after(&self, lease: &Lease, given: &Given<'_>) -> Option<Duration> {
        let safe = matches!(self.request.method, Method::Get | Method::Head | Method::Options);
        let plain = self.request.framing == Framing::None && !self.request.upgrade;
        lease.hedge_after().filter(|_| safe && plain && matches!(given, Given::Request))
    }

    /// Whom to listen to, `asked` having been sent to `backend` at `since`: that one, or another which answers sooner. Then the
    /// lease is the other's, and the first loses its connection: nothing else tells it not to bother.
    pub(super) async fn hedged(
        &self,
        lease: &mut Lease,
        (backend, since): (Stream, Instant),
        (asked, after): (&[u8], Duration),
        wire: &mut Wire,
    ) -> Result<(Stream, Instant), Attempt> {
        match self.heard_first(&backend, None, after, wire).await {
            Heard::ClientGone => return Err(Attempt::ClientGone),
            Heard::First | Heard::Second => return Ok((backend, since)),
            Heard::Nobody => {}
        }
        let Some((other, second)) = self.other(lease, asked).await else { return Ok((backend, since)) };
        let began = Instant::now();
        let left = self.limits().answer_within.saturating_sub(since.elapsed());
        match self.heard_first(&backend, Some(&second), left, wire).await {
            Heard::First => Ok((backend, since)),
            Heard::Second => {
                count(&self.worker.counters.hedges_won);
                *lease = other;
                Ok((second, began))
            }
            Heard::ClientGone => Err(Attempt::ClientGone),
            Heard::Nobody => Err(self.settled(Ok(Download::Nothing { late: true }), lease, true)),
        }
    }

    /// Another backend that has been asked the same; `None` if there is none that is free now, or the budget is spent.
    async fn other(&self, lease: &Lease, asked: &[u8]) -> Option<(Lease, Stream)> {
        let (pool, tried) = (lease.pool(), [lease.backend]);
        let other = pool.free(&Wanted { tried: &tried, kept: None, ..self.wanted(pool) })?;
        if !pool.may_resend() {
            count(&self.worker.counters.retries_denied);
            return None;
        }
        let (stream, _) = self.reach(&other).await.ok()?;
        stream.write(asked, self.limits().progress_within).await.ok()?;
        count(&self.worker.counters.hedges);
        Some((other, stream))
    }

    async fn heard_first(&self, one: &Stream, two: Option<&Stream>, deadline: Duration, wire: &mut Wire) -> Heard {
        let mut client = pin!(self.watch(&wire.stream, &mut wire.pending));
        let heard = std::future::poll_fn(|context| {
            let heard = if client.as_mut().poll(context).is_ready() {
                Heard::ClientGone
            } else if one.poll_readable(context).is_ready() {
                Heard::First
            } else if two.is_some_and(|two| two.poll_readable(context).is_ready()) {
                Heard::Second
            } else {
                return std::task::Poll::Pending;
            };
            std::task::Poll::Ready(Ok::<_, io::Error>(heard))
        });
        within(deadline, heard).await.unwrap_or(Heard::Nobody)
    }
}
