//! The connection of a backend that serves one after the other (php-cgi): while it waits on one, it accepts no second.
//!
//! So there is one for the whole process and not one for each thread, and it changes hands without a thread's event loop.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use crate::event_loop::Descriptor;
use crate::stream::Stream;

/// A connection between two requests.
#[derive(Default)]
pub(crate) struct Parked(Mutex<Option<UnixStream>>);

impl Parked {
    /// Takes the connection over, if it is there and its other end too.
    pub(crate) fn take(&self) -> Option<Stream> {
        let parked = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // Asked of the kernel: an event loop that was just told of it knows nothing yet.
        let quiet = matches!((&parked).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        quiet.then(|| Descriptor::watch_unix(parked.into()).ok().map(Stream::Unix))?
    }

    /// Closes the connection, if there is one.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Keeps a connection. One over TCP is closed: nobody listens there for one request at a time.
    pub(crate) fn put(&self, stream: Stream) {
        let Stream::Unix(stream) = stream else { return };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream.unwatched().into());
    }
}
