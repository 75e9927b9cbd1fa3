//! Answering a request from files.

use std::io;

use crate::clock;
use crate::codec::{Framing, Method};
use crate::config::{Route, below};
use crate::encoding::Accepted;
use crate::exchange::{Outcome, Trip};
use crate::files::{Conditions, Content, Item, Miss, Part, answer};
use crate::page::{self, Page};
use crate::wire::Wire;

/// Bytes of a file copied at once: a socket's send buffer takes about as much.
const PIECE_BYTES: u64 = 128 * 1024;
/// Bytes of a file that the kernel passes on at a time (pipe(7), capacity).
const PASSED_BYTES: u64 = 64 * 1024;
/// Bytes of a file that the kernel is told to send at once. Whether they are in memory is asked before.
const WARM_BYTES: u64 = 512 * 1024;

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
        let conditions = Conditions::of(self.request, clock::now());
        let accepted = Accepted::read(conditions.accept_encoding);
        match self.worker.shelf.find(folder, rest, accepted, self.began).await {
            Ok(item) => Some(self.conditionally(&item, &conditions, wire).await),
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
    pub(crate) fn goes_on(&self) -> bool {
        self.request.persists && self.request.framing == Framing::None && !self.worker.is_stopping()
    }

    /// The target is relative, so that host and port stay as the visitor wrote them.
    pub(crate) async fn redirect(&self, target: &str, wire: &mut Wire) -> Outcome {
        let query = self.request.query();
        let mark = if query.is_empty() { "" } else { "?" };
        let head =
            format!("HTTP/1.1 301 Moved Permanently\r\nLocation: {target}{mark}{query}\r\nContent-Length: 0\r\n");
        self.told(301, head.into_bytes(), wire).await
    }

    /// Answers with a head of our own alone, without Date, Connection and the empty line.
    pub(crate) async fn told(&self, status: u16, head: Vec<u8>, wire: &mut Wire) -> Outcome {
        let (written, persists) = self.head(head, wire).await;
        Outcome { status, bytes: 0, persists: persists && written, backend: None, tries: 0 }
    }

    /// Answers from a file.
    pub(crate) async fn send(&self, item: &Item, wire: &mut Wire) -> Outcome {
        self.conditionally(item, &Conditions::of(self.request, clock::now()), wire).await
    }

    async fn conditionally(&self, item: &Item, conditions: &Conditions<'_>, wire: &mut Wire) -> Outcome {
        let mut head = self.worker.buffers.empty();
        let content = if conditions.are_none() && self.request.method == Method::Get {
            head.extend_from_slice(&item.head);
            Content::Part(Part { start: 0, length: item.found.length })
        } else {
            answer(&item.found, self.request.method, conditions, &mut head)
        };
        let status = std::str::from_utf8(&head[9..12]).ok().and_then(|code| code.parse().ok()).unwrap_or(200);
        let persists = self.close_head(&mut head);
        let sent = match content {
            Content::Nothing => self.piece(&head, wire).await.map(|()| 0),
            Content::Part(part) => self.part(item, &mut head, part, wire).await,
            Content::Parts(parts, end) => self.parts(item, &mut head, &parts, &end, wire).await,
        };
        self.worker.buffers.give(head);
        // A body that ends early can only be told by closing.
        Outcome {
            status,
            bytes: *sent.as_ref().unwrap_or(&0),
            persists: persists && sent.is_ok(),
            backend: None,
            tries: 0,
        }
    }

    async fn piece(&self, bytes: &[u8], wire: &Wire) -> io::Result<()> {
        wire.stream.write(bytes, self.config.limits.progress_within).await
    }

    /// Sends `head` and a part of the file; how many bytes the part had.
    async fn part(&self, item: &Item, head: &mut Vec<u8>, part: Part, wire: &Wire) -> io::Result<u64> {
        let within = self.config.limits.progress_within;
        if let Some(body) = item.body() {
            let (start, end) = (part.start as usize, (part.start + part.length) as usize);
            wire.stream.write_behind(head, &body[start..end], self.request.is_last(), within).await?;
            return Ok(part.length);
        }
        let _whole_segments = (part.length > PASSED_BYTES).then(|| wire.stream.corked());
        wire.stream.begin(head, within).await?;
        let mut sent = 0;
        let was_warm = item.was_warm(self.began);
        let mut is_warm = part.length == item.found.length;
        while sent < part.length {
            let (offset, left) = (part.start + sent, part.length - sent);
            let count = match item.found.file() {
                Some(file)
                    if wire.stream.takes_files() && (was_warm || item.found.is_warm(offset, left.min(WARM_BYTES))) =>
                {
                    wire.stream.send_file(file, offset, left.min(WARM_BYTES) as usize, within).await? as u64
                }
                _ => {
                    is_warm = false;
                    self.copied(item, offset, left.min(PIECE_BYTES) as usize, wire).await?
                }
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            sent += count;
        }
        if is_warm && !was_warm {
            item.note_warm(self.began);
        }
        Ok(part.length)
    }

    /// Several parts, each behind its own head (RFC 9110 § 14.6).
    async fn parts(
        &self,
        item: &Item,
        head: &mut Vec<u8>,
        parts: &[(String, Part)],
        end: &str,
        wire: &Wire,
    ) -> io::Result<u64> {
        let mut sent = 0;
        for (part_head, part) in parts {
            head.extend_from_slice(part_head.as_bytes());
            sent += part_head.len() as u64 + self.part(item, head, *part, wire).await?;
            head.clear();
        }
        self.piece(end.as_bytes(), wire).await?;
        Ok(sent + end.len() as u64)
    }

    /// Reads a piece and sends it: at once if it is in memory, else on a thread that may wait for the disk, so that the
    /// core goes on. Of a small file all is read, once: there are file systems that cannot tell what is in memory.
    async fn copied(&self, item: &Item, offset: u64, room: usize, wire: &Wire) -> io::Result<u64> {
        if item.is_small() {
            let body = item.fetched().await?.get(offset as usize..).unwrap_or_default();
            let piece = &body[..body.len().min(room)];
            self.piece(piece, wire).await?;
            return Ok(piece.len() as u64);
        }
        let mut buffer = vec![0; room];
        let (count, buffer) = match item.found.read_at_nowait(offset, &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => item.found.waited_for(offset, buffer).await?,
            read => (read?, buffer),
        };
        self.piece(&buffer[..count], wire).await?;
        Ok(count as u64)
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
        self.worker.dates.put(clock::now(), head);
        self.secured(head);
        match (persists, self.request.old) {
            (false, _) => head.extend_from_slice(b"Connection: close\r\n"),
            (true, true) => head.extend_from_slice(b"Connection: keep-alive\r\n"),
            (true, false) => {}
        }
        head.extend_from_slice(b"\r\n");
        persists
    }
}
