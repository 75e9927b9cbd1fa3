//! A connection that has become another protocol's: WebSocket (RFC 6455), after `101 Switching Protocols`.
//!
//! Bytes pass both ways and are not looked at. An end that says that it sends no more is told to the other, which may
//! still finish what it says; an end that is gone ends both.

use std::cell::Cell;
use std::io;
use std::time::Instant;

use super::Trip;
use crate::counters::count;
use crate::patience::within;
use crate::stream::Stream;
use crate::wire::{Wire, read};

impl Trip<'_> {
    /// Passes on what comes until both ends are done; how many bytes the client got.
    pub(super) async fn tunnel(&self, wire: &mut Wire, back: &mut Wire) -> u64 {
        count(&self.worker.counters.tunnels);
        // What came with the heads.
        let (up, down) = (std::mem::take(&mut wire.pending), std::mem::take(&mut back.pending));
        let (heard, told) = (Cell::new(Instant::now()), Cell::new(0));
        let upward = self.one_way(&wire.stream, &back.stream, up, &heard, |_| {});
        let downward = self.one_way(&back.stream, &wire.stream, down, &heard, |bytes| told.set(told.get() + bytes));
        tokio::pin!(upward, downward);
        let rest = self.limits().progress_within;
        // Either error ends both; what is left of the other direction has so long to come.
        let _ = tokio::select! {
            ended = &mut upward => match ended {
                Ok(()) => within(rest, downward).await,
                gone => gone,
            },
            ended = &mut downward => match ended {
                Ok(()) => within(rest, upward).await,
                gone => gone,
            },
        };
        told.get()
    }

    async fn one_way(
        &self,
        from: &Stream,
        to: &Stream,
        mut piece: Vec<u8>,
        heard: &Cell<Instant>,
        passed: impl Fn(u64),
    ) -> io::Result<()> {
        loop {
            to.write(&piece, self.limits().progress_within).await?;
            passed(piece.len() as u64);
            piece.clear();
            let came = read(from, &self.worker.scratch, self.limits().tunnel_idle_within, |bytes| {
                piece.extend_from_slice(bytes);
                bytes.len()
            });
            match came.await {
                Ok(0) => {
                    to.finish();
                    return Ok(());
                }
                Ok(_) => heard.set(Instant::now()),
                // Silence in one direction is no silence of the connection.
                Err(error)
                    if error.kind() == io::ErrorKind::TimedOut
                        && heard.get().elapsed() < self.limits().tunnel_idle_within => {}
                Err(error) => return Err(error),
            }
        }
    }
}
