//! What is left of a body whose length is known passes inside the kernel, where both ends are sockets and nobody listens.

use std::io::ErrorKind;

use super::silence::Silence;
use super::{Download, Fetch, Progress, Trip};
use crate::splice::{Pipe, SPLICED_BYTES_MIN};
use crate::stream::Stream;

/// Read of an answer at once if the rest may be spliced: its head, and with it all of a small body.
pub(super) const HEAD_BYTES: usize = 4 * 1024;

/// Why not all of a body passed.
pub(super) enum Cut {
    /// Where it comes from fell silent.
    Late,
    /// Where it comes from closed, or broke.
    Short,
    /// Where it goes to takes no more.
    Refused,
}

impl Trip<'_> {
    /// A pipe for `left` bytes of a body, if there is one and it is worth it.
    pub(super) fn pipe(&self, left: u64, (from, to): (&Stream, &Stream)) -> Option<Pipe> {
        let heard = self.fetch.is_some_and(Fetch::listens);
        let pays = left >= SPLICED_BYTES_MIN && !heard && from.is_plain() && to.is_plain();
        pays.then(|| self.worker.pipes.take()).flatten()
    }

    /// Passes on what `pipe` holds, and the `left` bytes that have not come yet, which it counts.
    pub(super) async fn spliced(
        &self,
        mut pipe: Pipe,
        (from, to): (&Stream, &Stream),
        left: &mut u64,
        silence: &Silence,
    ) -> Result<(), Cut> {
        loop {
            pipe.empty(to, silence.progress).await.map_err(|_| Cut::Refused)?;
            if *left == 0 {
                self.worker.pipes.give(pipe);
                return Ok(());
            }
            match pipe.fill(from, *left, silence.progress).await {
                Ok(0) => return Err(Cut::Short),
                Ok(count) => *left -= count as u64,
                Err(error) if error.kind() != ErrorKind::TimedOut => return Err(Cut::Short),
                Err(_) if silence.is_excused() => continue,
                Err(_) => return Err(Cut::Late),
            }
            silence.heard();
        }
    }

    /// Passes on the last `left` bytes of an answer of which `bytes` have passed; some are in `pipe`.
    pub(super) async fn spliced_answer(
        &self,
        (pipe, left): (Pipe, u64),
        (backend, client): (&Stream, &Stream),
        (status, bytes, persists): (u16, u64, bool),
        progress: &Progress<'_>,
    ) -> Download {
        let (bytes, mut left) = (bytes + left, left - pipe.held());
        if left > 0 {
            progress.is_long.set(true);
        }
        match self.spliced(pipe, (backend, client), &mut left, &progress.silence).await {
            Ok(()) => {
                if let Some(fetch) = self.fetch {
                    fetch.complete();
                }
                Download::Complete { status, bytes, persists }
            }
            Err(Cut::Refused) => Download::ClientGone,
            Err(Cut::Late | Cut::Short) => Download::Truncated { status, bytes: bytes - left },
        }
    }
}
