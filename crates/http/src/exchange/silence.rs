//! How long the ends of an exchange may be silent.
//!
//! A call of gRPC may be open for hours and say something now and then, in one direction or the other: what WebSockets are
//! allowed, it is allowed where the engine was told that such calls come ([`Limits::call_within`]).

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::codec::Request;
use crate::config::Limits;

/// The patience of one exchange.
pub(super) struct Silence {
    /// For a body to move.
    pub(super) progress: Duration,
    /// For the answer to begin.
    pub(super) answer: Duration,
    /// When something was last heard from either end; of calls only.
    heard: Option<Cell<Instant>>,
}

impl Silence {
    pub(super) fn of(request: &Request, limits: &Limits) -> Silence {
        match limits.call_within.filter(|_| is_call(request)) {
            Some(within) => Silence { progress: within, answer: within, heard: Some(Cell::new(Instant::now())) },
            None => Silence { progress: limits.progress_within, answer: limits.answer_within, heard: None },
        }
    }

    /// One end has said something.
    pub(super) fn heard(&self) {
        if let Some(heard) = &self.heard {
            heard.set(Instant::now());
        }
    }

    /// Whether an end that was silent for too long is excused: the other one was not.
    pub(super) fn is_excused(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.get().elapsed() < self.progress)
    }
}

/// `application/grpc`, also with what follows the `+` (gRPC over HTTP2, § Requests).
fn is_call(request: &Request) -> bool {
    request.head.header("content-type").is_some_and(|value| value.starts_with(b"application/grpc"))
}
