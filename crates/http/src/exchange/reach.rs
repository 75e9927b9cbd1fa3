//! A connection to the backend of a request: one that is kept, or a new one.

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use mainstay_machines::health::Failure;

use super::{Again, Attempt, Stages, Trip};
use crate::codec::Framing;
use crate::connection::boxed;
use crate::http2;
use crate::idle::Knock;
use crate::page;
use crate::patience::within;
use crate::pool::{Lease, Reuse};
use crate::stream::Stream;
use crate::tls::distrust;
use crate::wire::Wire;

/// How long a request waits for what another finds out, which takes a round trip: then it looks itself, since packets get lost.
const BEHIND: Duration = Duration::from_millis(100);

impl Trip<'_> {
    /// A connection to the backend of `lease`, and whether it is new.
    pub(super) async fn reach(&self, lease: &Lease) -> Result<(Stream, bool), Attempt> {
        match self.kept(lease) {
            Some(kept) => Ok((kept, false)),
            None => self.knock(lease).await,
        }
    }

    /// The same, unless the client goes away meanwhile: whoever is behind with accepting has work enough.
    pub(super) async fn reach_for(&self, wire: &mut Wire, lease: &Lease) -> Result<(Stream, bool), Attempt> {
        match self.kept(lease) {
            Some(kept) => Ok((kept, false)),
            // In a box of its own: nearly every request finds one that is kept.
            None => {
                boxed(|| self.unless_gone(self.knock(lease), false, wire)).await.unwrap_or(Err(Attempt::ClientGone))
            }
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

    /// A new connection; or one that is kept, if another request has found out meanwhile that the backend is there.
    async fn knock(&self, lease: &Lease) -> Result<(Stream, bool), Attempt> {
        let asks = lease.reuse() == Reuse::Lively && !self.is_repeatable();
        let knock = if asks { self.worker.idle.knock(lease) } else { None };
        let knocking = match knock {
            Some(Knock::Behind(through)) => {
                let through = pin!(async {
                    through.notified().await;
                    Ok(())
                });
                let _ = Stages::timed(&self.stages.connect, within(BEHIND, through)).await;
                if let Some(kept) = self.kept(lease) {
                    return Ok((kept, false));
                }
                None
            }
            Some(Knock::First(knocking)) => Some(knocking),
            None => None,
        };
        let stream = self.connected(lease).await?;
        lease.heard(Instant::now());
        // Whoever waits for it finds that the backend is there.
        drop(knocking);
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
