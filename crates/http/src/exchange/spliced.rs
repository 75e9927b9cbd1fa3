//! What is left of a body whose length is known passes inside the kernel, where both ends are sockets and nobody listens.

use std::io::ErrorKind;

use super::silence::Silence;
use super::{Fetch, Trip};
use crate::splice::{Pipe, SPLICED_BYTES_MIN};
use crate::stream::Stream;
use crate::wire::{COPIED_BYTES_MAX, readable};

/// Read of an answer at once if the rest may be spliced: its head, and with it all of a small body.
pub(super) const HEAD_BYTES: usize = COPIED_BYTES_MAX;

/// Why not all of a body passed, or why not by splicing.
pub(super) enum Cut {
    /// Where it comes from fell silent.
    Late,
    /// Where it comes from closed, or broke.
    Short,
    /// Where it goes to takes no more.
    Refused,
    /// There is no pipe for the rest.
    Unspliced,
}

impl Trip<'_> {
    /// Whether `left` bytes of a body can be spliced, and are worth it.
    pub(super) fn splices(&self, left: u64, (from, to): (&Stream, &Stream)) -> bool {
        let heard = self.fetch.is_some_and(Fetch::listens);
        left >= SPLICED_BYTES_MIN && !heard && from.is_plain() && to.is_plain()
    }

    /// Passes on what `pipe` holds, and the `left` bytes that have not come yet, which it counts. Has no pipe while it waits for them.
    pub(super) async fn spliced(
        &self,
        mut pipe: Option<Pipe>,
        (from, to): (&Stream, &Stream),
        left: &mut u64,
        silence: &Silence,
    ) -> Result<(), Cut> {
        loop {
            if let Some(mut pipe) = pipe.take() {
                pipe.empty(to, silence.progress).await.map_err(|_| Cut::Refused)?;
                self.worker.pipes.give(pipe);
            }
            if *left == 0 {
                return Ok(());
            }
            match readable(from, silence.progress).await {
                Ok(()) => {}
                Err(error) if error.kind() != ErrorKind::TimedOut => return Err(Cut::Short),
                Err(_) if silence.is_excused() => continue,
                Err(_) => return Err(Cut::Late),
            }
            let mut next = self.worker.pipes.take().ok_or(Cut::Unspliced)?;
            match next.fill(from, *left) {
                Ok(0) => return Err(Cut::Short),
                Ok(count) => {
                    *left -= count as u64;
                    silence.heard();
                    pipe = Some(next);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.worker.pipes.give(next),
                Err(_) => return Err(Cut::Short),
            }
        }
    }
}
