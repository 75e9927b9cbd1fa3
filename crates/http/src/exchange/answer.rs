//! The answer of an application that speaks FastCGI, as it comes in.

use std::io::ErrorKind;
use std::time::Duration;

use crate::fastcgi::{Decoder, Event, Fault, Protocol};
use crate::pool::Lease;
use crate::stream::Stream;
use crate::wire::{Scratch, read};

/// Of what an application complains of, in one line of the log.
const COMPLAINT_BYTES_MAX: usize = 8 * 1024;

/// An answer as it comes in.
pub(super) struct Answer {
    decoder: Decoder,
    /// What came of it and was not passed on yet.
    pub(super) stdout: Vec<u8>,
    stderr: Vec<u8>,
    pub(super) state: State,
    /// Something came behind its end, unasked.
    surplus: bool,
    /// Whom its complaints are of.
    pub(super) backend: String,
    pub(super) id: String,
}

/// Where an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// More will come.
    Going,
    /// All of it is there.
    Over,
    /// Nothing more will come on this connection.
    Broken,
}

/// Why nothing more came.
pub(super) enum Cut {
    Late,
    Closed,
    Fault(Fault),
    Refused(Protocol),
}

impl Answer {
    pub(super) fn new(lease: &Lease, id: &str) -> Answer {
        Answer {
            decoder: Decoder::default(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            state: State::Going,
            surplus: false,
            backend: lease.name().to_owned(),
            id: id.to_owned(),
        }
    }

    /// Reads once. What the application complains of goes to the log.
    pub(super) async fn more(&mut self, backend: &Stream, scratch: &Scratch, within: Duration) -> Result<(), Cut> {
        let fed = match read(backend, scratch, within, |input| self.feed(input)).await {
            Ok(fed) => fed,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(Cut::Late),
            Err(_) => Err(Cut::Closed),
        };
        if fed.is_err() {
            self.state = State::Broken;
        }
        self.complain();
        fed
    }

    fn feed(&mut self, input: &[u8]) -> Result<(), Cut> {
        if input.is_empty() {
            return Err(Cut::Closed);
        }
        let Answer { decoder, stdout, stderr, .. } = self;
        let mut ended = None;
        let taken = decoder.feed(input, |event| match event {
            Event::Stdout(range) => stdout.extend_from_slice(&input[range]),
            Event::Stderr(range) => stderr.extend_from_slice(&input[range]),
            Event::End { protocol, .. } => ended = Some(protocol),
        });
        match (taken.map_err(Cut::Fault)?, ended) {
            (_, None) => Ok(()),
            (taken, Some(Protocol::Complete)) => {
                (self.state, self.surplus) = (State::Over, taken < input.len());
                Ok(())
            }
            (_, Some(refused)) => Err(Cut::Refused(refused)),
        }
    }

    /// Leaves the connection of an answer that is over to the backend's next request.
    pub(super) fn leave(&self, backend: Stream, lease: &Lease) {
        if !self.surplus {
            lease.park(backend);
        }
    }

    /// Logs whole messages: an application ends each with a line end.
    fn complain(&mut self) {
        let whole = self.stderr.ends_with(b"\n") || self.state != State::Going;
        if self.stderr.is_empty() || !whole && self.stderr.len() < COMPLAINT_BYTES_MAX {
            return;
        }
        for piece in self.stderr.chunks(COMPLAINT_BYTES_MAX) {
            tracing::warn!(backend = self.backend, id = self.id, "{}", String::from_utf8_lossy(piece).trim());
        }
        self.stderr.clear();
    }
}
