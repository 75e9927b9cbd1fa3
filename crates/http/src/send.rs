//! Answering a request from files.

use std::io;
use std::time::SystemTime;

use crate::codec::{Framing, Method};
use crate::config::{Route, below};
use crate::exchange::{Outcome, Trip};
use crate::files::{Conditions, Content, Found, Miss, answer};
use crate::page::{self, Page};
use crate::wire::Wire;

/// Bytes of a file read at once: a socket's send buffer takes about as much.
const PIECE_BYTES: u64 = 128 * 1024;

/// A folder is not for this method: somebody else's request, or nobody's.
pub(crate) const METHOD_NOT_ALLOWED: Page =
    Page { status: 405, says: "This address can only be read.", retry_after: None };

impl Trip<'_> {
    /// Answers from the first folder of `route` that has the path; `None` if the request is for the pool.
    pub(crate) async fn file(&self, route: &Route, wire: &mut Wire) -> Option<Outcome> {
        let (folder, rest) = route.folders.iter().find_map(|folder| {
            let rest = below(self.request.path(), &folder.prefix)?;
            Some((folder, rest))
        })?;
        if !matches!(self.request.method, Method::Get | Method::Head) {
            return if folder.fall_through { None } else { Some(self.page(METHOD_NOT_ALLOWED, wire, 0).await) };
        }
        match folder.find(rest) {
            Ok(found) => Some(self.send(found, wire).await),
            Err(Miss::FallThrough) => None,
            Err(Miss::Redirect(target)) => Some(self.redirect(&target, wire).await),
            Err(miss) => Some(self.miss(&miss, &folder.prefix, wire).await),
        }
    }

    /// Answers that there is no file, below `folder` of the site.
    pub(crate) async fn miss(&self, miss: &Miss, folder: &str, wire: &mut Wire) -> Outcome {
        if let Miss::Failed(error) = miss {
            tracing::warn!(folder, path = self.request.path(), %error, "a file cannot be opened");
        }
        let says = match miss {
            Miss::Forbidden => "This file is not for visitors.",
            Miss::Malformed => "The address is malformed.",
            Miss::Failed(_) => "The server cannot read this file.",
            _ => page::NOT_FOUND.says,
        };
        self.page(Page { status: miss.status(), says, retry_after: None }, wire, 0).await
    }

    /// Whether the connection may go on after an answer that did not look at the request's body.
    fn goes_on(&self) -> bool {
        self.request.persists && self.request.framing == Framing::None && !self.worker.is_stopping()
    }

    /// The target is relative, so that host and port stay as the visitor wrote them.
    pub(crate) async fn redirect(&self, target: &str, wire: &mut Wire) -> Outcome {
        let query = self.request.query();
        let mark = if query.is_empty() { "" } else { "?" };
        let head =
            format!("HTTP/1.1 301 Moved Permanently\r\nLocation: {target}{mark}{query}\r\nContent-Length: 0\r\n");
        let (written, persists) = self.head(head.into_bytes(), wire).await;
        Outcome { status: 301, bytes: 0, persists: persists && written, backend: None, tries: 0 }
    }

    /// Answers from a file.
    pub(crate) async fn send(&self, found: Found, wire: &mut Wire) -> Outcome {
        let now = SystemTime::now();
        let mut head = Vec::with_capacity(512);
        let content = answer(&found, self.request.method, &Conditions::of(self.request, now), &mut head);
        let status = std::str::from_utf8(&head[9..12]).ok().and_then(|code| code.parse().ok()).unwrap_or(200);
        let Content::Range { start, length: length @ 1.. } = content else {
            let (written, persists) = self.head(head, wire).await;
            return Outcome { status, bytes: 0, persists: persists && written, backend: None, tries: 0 };
        };
        let persists = self.close_head(&mut head);
        let sent = self.pieces(found, start, length, head, wire).await;
        // A body that ends early can only be told by closing.
        Outcome { status, bytes: sent, persists: persists && sent == length, backend: None, tries: 0 }
    }

    /// Adds the connection's own headers and writes; whether that worked, and whether the connection goes on.
    async fn head(&self, mut head: Vec<u8>, wire: &mut Wire) -> (bool, bool) {
        let persists = self.close_head(&mut head);
        let written = wire.stream.write(&head, self.config.limits.progress_within).await.is_ok();
        (written, persists)
    }

    /// Adds the connection's own headers; whether the connection goes on.
    fn close_head(&self, head: &mut Vec<u8>) -> bool {
        let persists = self.goes_on();
        head.extend_from_slice(format!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now())).as_bytes());
        match (persists, self.request.old) {
            (false, _) => head.extend_from_slice(b"Connection: close\r\n"),
            (true, true) => head.extend_from_slice(b"Connection: keep-alive\r\n"),
            (true, false) => {}
        }
        head.extend_from_slice(b"\r\n");
        persists
    }

    /// Sends `head` and `length` bytes from `start`; how many of these were sent. The head goes out together with the
    /// first piece: for a small file that is one packet and one system call.
    async fn pieces(&self, mut found: Found, start: u64, length: u64, head: Vec<u8>, wire: &mut Wire) -> u64 {
        let mut before = head.len();
        let (mut buffer, mut sent) = (head, 0);
        while sent < length {
            let room = (length - sent).min(PIECE_BYTES) as usize;
            buffer.resize(before + room, 0);
            let Some((back, mut piece, count)) = read(found, start + sent, buffer, before).await else { return sent };
            piece.truncate(before + count);
            if wire.stream.write(&piece, self.config.limits.progress_within).await.is_err() {
                return sent;
            }
            sent += count as u64;
            (found, buffer, before) = (back, piece, 0);
        }
        sent
    }
}

/// Reads a piece into `buffer` from `from` on: at once if it is in memory, else on a thread that may wait for the disk, so
/// that the core goes on. `None` at an early end or an error.
async fn read(found: Found, offset: u64, mut buffer: Vec<u8>, from: usize) -> Option<(Found, Vec<u8>, usize)> {
    let count = match found.read_at_nowait(offset, &mut buffer[from..]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let waiting = tokio::task::spawn_blocking(move || {
                let count = found.read_at(offset, &mut buffer[from..]);
                (found, buffer, count)
            });
            let (found, buffer, count) = waiting.await.ok()?;
            return count.ok().filter(|count| *count > 0).map(|count| (found, buffer, count));
        }
        count => count.ok()?,
    };
    (count > 0).then_some((found, buffer, count))
}
