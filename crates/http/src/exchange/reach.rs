//! A connection to the backend of a request: one that is kept, or a new one.

use std::io;
use std::pin::pin;
use std::time::Instant;

use mainstay_machines::health::Failure;

use super::{Again, Attempt, Stages, Trip};
use crate::codec::Framing;
use crate::connection::boxed;
use crate::http2;
use crate::idle::Knock;
use crate::page;
use crate::pool::{Lease, Reuse};
use crate::stream::Stream;
use crate::tls::distrust;

impl Trip<'_> {
    /// A connection to the backend of `lease`, and whether it is new.
    pub(super) async fn reach(&self, lease: &Lease) -> Result<(Stream, bool), Attempt> {
        match self.kept(lease) {
            Some(kept) => Ok((kept, false)),
            // In a box of its own: nearly every request finds one that is kept.
            None => boxed(|| self.connect(lease)).await,
        }
    }

    /// A stream of a connection to the backend of `lease` by HTTP/2.
    pub(super) async fn stream(&self, lease: &Lease) -> Result<Stream, Attempt> {
        let connecting = pin!(http2::connect(self.worker, &lease.address, self.limits().connect_within));
        self.reached(lease, Stages::timed(&self.stages.connect, connecting).await)
    }

    /// Whether it can be sent again, to another backend, without harm (RFC 9110 § 9.2.2).
    pub(super) fn is_repeatable(&self) -> bool {
        self.request.method.is_idempotent() && self.request.framing == Framing::None
    }

    /// A connection that waits for its next request, if this one may go on it.
    fn kept(&self, lease: &Lease) -> Option<Stream> {
        let once = !self.is_repeatable();
        let may = !once
            || match lease.reuse() {
                Reuse::Always => true,
                Reuse::Lively => lease.is_lively(),
                Reuse::Repeatable | Reuse::Never => false,
            };
        if may { self.worker.idle.take(lease, once) } else { None }
    }

    async fn connect(&self, lease: &Lease) -> Result<(Stream, bool), Attempt> {
        let asks = lease.reuse() == Reuse::Lively && !self.is_repeatable();
        let asking = match if asks { self.worker.idle.knock(lease) } else { None } {
            Some(Knock::Behind(answer)) => {
                Stages::timed(&self.stages.connect, pin!(answer.notified())).await;
                if let Some(kept) = self.kept(lease) {
                    return Ok((kept, false));
                }
                None
            }
            Some(Knock::First(asking)) => Some(asking),
            None => None,
        };
        let stream = self.connected(lease).await?;
        lease.heard(Instant::now());
        // Whoever waits for it finds that the backend is there.
        drop(asking);
        Ok((stream, true))
    }

    /// A new connection to the backend of `lease`.
    pub(super) async fn connected(&self, lease: &Lease) -> Result<Stream, Attempt> {
        let connecting = pin!(Stream::connect(&lease.address, self.limits().connect_within));
        self.reached(lease, Stages::timed(&self.stages.connect, connecting).await)
    }

    fn reached(&self, lease: &Lease, connected: io::Result<Stream>) -> Result<Stream, Attempt> {
        connected.map_err(|error| {
            let because = distrust(&error);
            lease.failed(because.map_or(Failure::Unreachable, |because| Failure::Distrusted { because }));
            let because = match because {
                Some(because) => format!("it {because} ({error})"),
                None => format!("it cannot be connected to: {error}"),
            };
            Attempt::Failed { page: page::BAD_GATEWAY, again: Again::Unsent, because }
        })
    }
}
