//! What a client may send of its bodies before we have taken it (RFC 9113 § 5.2).
//!
//! Usually [`STREAM_WINDOW_BYTES`], the RFC's own default: a body waits in the client, not here. But no more than that goes in a round
//! trip, and who is 0.1 s away would upload 640 KiB a second. So who sends a large body may send [`WIDE_BYTES`], as long as not too many
//! do.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::Connection;

use super::io::Io;
use super::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, length};

/// As Go's server, and so Caddy: 10 MiB a second from 0.1 s away.
const WIDE_BYTES: u32 = 1 << 20;
/// Connections of a thread that may send so much; others stay as they are. What they all have sent, and nobody takes, is 80 MiB.
const WIDE_MAX: usize = 64;
/// How soon it is tried again to change what the client has not confirmed yet: its first request comes before that.
const SOON: Duration = Duration::from_millis(100);
/// How often else it is looked whether the client is done.
const SELDOM: Duration = Duration::from_secs(1);

/// Of a thread: every connection that is wide has a share of it.
#[derive(Default)]
pub(crate) struct Wide(Rc<()>);

/// Of a connection.
#[derive(Default)]
pub(super) struct Windows {
    /// A large body comes.
    wanted: bool,
    wide: Option<Rc<()>>,
}

impl Windows {
    /// The client asks this.
    pub(super) fn asked(&mut self, request: &http::Request<RecvStream>) {
        let is_large = || length(request.headers()).is_none_or(|bytes| bytes > u64::from(STREAM_WINDOW_BYTES));
        self.wanted |= !request.body().is_end_stream() && is_large();
    }

    /// Makes them as they should be, if that is possible now.
    pub(super) fn set(&mut self, connection: &mut Connection<Io, Bytes>, all: &Wide) {
        self.wanted &= connection.has_streams();
        let bytes = match (self.wanted, &self.wide) {
            (true, None) if Rc::strong_count(&all.0) <= WIDE_MAX => WIDE_BYTES,
            (false, Some(_)) => STREAM_WINDOW_BYTES,
            _ => return,
        };
        if connection.set_initial_window_size(bytes).is_ok() {
            // One body that is not taken leaves room for the others.
            connection.set_target_window_size(bytes - STREAM_WINDOW_BYTES + CONNECTION_WINDOW_BYTES);
            self.wide = self.wanted.then(|| all.0.clone());
        }
    }

    /// When to look at them again.
    pub(super) fn within(&self) -> Duration {
        if self.wanted && self.wide.is_none() { SOON } else { SELDOM }
    }
}
