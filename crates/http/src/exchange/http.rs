//! A request to a backend that speaks HTTP/1.1.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::fetch::Fetch;
use super::spliced::{Cut, HEAD_BYTES};
use super::{Attempt, Download, Given, Progress, Trip, Upload, both_ways};
use crate::codec::{Body, Chunks, Forwarding, Framing, Refusal, Response, ResponseContext};
use crate::connection::boxed;
use crate::encoding::pages::Coding;
use crate::pool::{Lease, Reuse};
use crate::spares::{JOINED_BYTES_MAX, LARGE_BYTES};
use crate::splice::Pipe;
use crate::stream::Stream;
use crate::tls::distrust;
use crate::wire::{Wire, fill, receive};

/// A body of so many bytes fits into any receive buffer beside its head (tcp(7), `tcp_rmem`: 64 KiB and more to begin with).
const SMALL_BYTES: u64 = 32 << 10;

/// An answer that takes no longer than this, and somewhat more (`patience`), is waited for without a look at whether its client is
/// still there.
const SHORT: Duration = Duration::from_millis(100);

/// An answer of so many bytes is waited for before the client hears of it, where its request can be sent again: if its backend
/// dies within it, another one answers. Most pages are smaller; the bytes are in the next machine's memory, and come within
/// the time of a round trip.
const WHOLE_BYTES_MAX: u64 = 64 << 10;

/// Interim responses that one request may get: a few 103s are usual, more are a loop.
pub(super) const INTERIM_MAX: u32 = 16;

impl Trip<'_> {
    pub(super) async fn by_http(&self, lease: &mut Lease, given: &Given<'_>, wire: &mut Wire) -> Attempt {
        let reached = match given {
            Given::Stream => self.stream(lease).await.map(|stream| (stream, true)),
            _ => self.reach_for(wire, lease).await,
        };
        let (mut backend, fresh) = match reached {
            Ok(reached) => reached,
            Err(failed) => return failed,
        };
        let small = self.is_small();
        if fresh || !small {
            backend.wants_acknowledgement(small);
        }
        let mut head = self.worker.buffers.empty();
        self.request_head(&mut head);
        let body = self.body_at_hand(wire).await;
        // What fails here is seen by the download, which may still find an answer (RFC 9112 § 9.5).
        let within = self.limits().progress_within;
        let sent = backend.write_behind(&mut head, &wire.pending[..body], false, within).await;
        let mut asked = None;
        if let Some(after) = self.hedges_after(lease, given) {
            match Box::pin(self.hedged(lease, (backend, Instant::now()), (&head, after), wire)).await {
                Ok((answers, since)) => (backend, asked) = (answers, Some(since)),
                Err(failed) => return failed,
            }
        }
        self.worker.buffers.give(head);
        let (mut back, mut progress) = (Wire::new(backend), self.progress(lease));
        if self.fetch.is_none() && wire.stream.is_plain() && back.stream.is_plain() {
            progress.head_bytes = HEAD_BYTES;
        }
        progress.uploaded.set(asked);
        if body > 0 {
            self.worker.buffers.used(&mut wire.pending, body);
            progress.sent(sent.is_ok());
        }
        let ended = both_ways(
            pin!(self.upload(&wire.stream, &mut wire.pending, &back.stream, &progress)),
            pin!(self.download((&back.stream, &mut back.pending), &wire.stream, &progress)),
            &progress,
        )
        .await;
        if let Ok(Download::Switched { status }) = ended {
            lease.answered(status);
            let bytes = self.tunnel(wire, &mut back).await;
            return Attempt::Answered { status, bytes, persists: false };
        }
        let through = matches!(ended, Ok(Download::Complete { .. })) && progress.uploaded.get().is_some();
        if through && progress.persists.get() && back.pending.is_empty() && lease.reuse() != Reuse::Never {
            if !small {
                // Whoever is next on it is, or says that he is not.
                back.stream.wants_acknowledgement(true);
            }
            lease.heard(self.began + Duration::from_micros(self.stages.first.get()));
            self.worker.idle.keep(lease, back.stream);
        }
        self.worker.buffers.give(back.pending);
        if let (Err(Upload::ClientWrong(refusal)), Some(status)) = (&ended, progress.told.get()) {
            // Of an answer that has begun nothing else can be said than that it ends here (RFC 9112 § 8).
            self.worker.counters.refused(*refusal);
            return Attempt::Answered { status, bytes: 0, persists: false };
        }
        self.settled(ended, lease, !progress.body_begun.get())
    }

    /// Bytes that are pending and the whole of a small body, which goes out with its head then; zero if it has not come yet.
    async fn body_at_hand(&self, wire: &mut Wire) -> usize {
        let Framing::Length(bytes) = self.request.framing else { return 0 };
        if bytes > SMALL_BYTES.min(self.limits().body_bytes_max) {
            return 0;
        }
        if (wire.pending.len() as u64) < bytes {
            // It may have come with its head all the same: HTTP/2 and TLS have read ahead. What fails now fails again.
            let mut come =
                pin!(fill(&wire.stream, &mut wire.pending, &self.worker.scratch, self.limits().progress_within));
            poll_fn(|context| Poll::Ready(come.as_mut().poll(context).is_ready())).await;
        }
        if (wire.pending.len() as u64) < bytes { 0 } else { bytes as usize }
    }

    /// Whether the whole request fits into the backend's receive buffer.
    fn is_small(&self) -> bool {
        match self.request.framing {
            Framing::None => true,
            Framing::Length(bytes) => bytes <= SMALL_BYTES,
            Framing::Chunked | Framing::Close => false,
        }
    }

    /// Writes the head that the backend gets.
    pub(super) fn request_head(&self, head: &mut Vec<u8>) {
        self.request.forward(&self.forwarding(), head);
        if let Some(fetch) = self.fetch {
            fetch.ask(head);
        }
    }

    fn forwarding(&self) -> Forwarding<'_> {
        Forwarding {
            front: self.config.front,
            client: self.client,
            proto: self.proto,
            via: &self.config.via,
            id: self.id,
            whole: self.fetch.is_some_and(Fetch::asks_for_itself),
            traceparent: self.trace.as_bytes(),
            tracestate: self.trace.continued,
            host: "localhost",
        }
    }

    /// Sends the body on, then watches whether the client stays. Returns only if something went wrong.
    async fn upload(
        &self,
        client: &Stream,
        pending: &mut Vec<u8>,
        backend: &Stream,
        progress: &Progress<'_>,
    ) -> Upload {
        // In a box of its own: most requests have no body, and need not hold what sending one takes.
        if self.request.framing != Framing::None
            && progress.uploaded.get().is_none()
            && let Err(wrong) = boxed(|| self.send_body(client, pending, backend, progress)).await
        {
            return wrong;
        }
        // Who was waited for before got the whole of it then.
        progress.uploaded.set(progress.uploaded.get().or_else(|| Some(Instant::now())));
        // Nearly every answer is there before a client could be missed, and to watch him costs what a wait does. Who finds that it
        // takes longer is polled just before.
        let is_long = |_: &mut Context<'_>| if progress.is_long.get() { Poll::Ready(()) } else { Poll::Pending };
        poll_fn(is_long).await;
        self.watch(client, pending).await
    }

    async fn send_body(
        &self,
        client: &Stream,
        pending: &mut Vec<u8>,
        backend: &Stream,
        progress: &Progress<'_>,
    ) -> Result<(), Upload> {
        let mut body = Body::new(self.request.framing);
        let mut left = self.limits().body_bytes_max;
        while !body.is_done() {
            progress.body_begun.set(true);
            if let Body::Length(rest) = &mut body
                && pending.is_empty()
                && *rest <= left
                && self.splices(*rest, (client, backend))
            {
                match self.spliced(None, (client, backend), rest, &progress.silence).await {
                    Ok(()) => return Ok(()),
                    Err(Cut::Late) => return Err(Upload::ClientWrong(Refusal::BodyTimeout)),
                    Err(Cut::Short) => return Err(Upload::ClientGone),
                    Err(Cut::Refused) => return Err(Upload::BackendGone),
                    Err(Cut::Unspliced) => {}
                }
            }
            match self.more_body(client, pending, progress.silence.progress).await {
                Err(Upload::ClientWrong(Refusal::BodyTimeout)) if progress.silence.is_excused() => continue,
                came => came?,
            }
            progress.silence.heard();
            let taken = body.advance(pending).map_err(Upload::ClientWrong)?;
            left = left.checked_sub(taken as u64).ok_or(Upload::ClientWrong(Refusal::BodyTooLarge))?;
            let sent = backend.write(&pending[..taken], progress.silence.progress).await;
            pending.drain(..taken);
            sent.map_err(|_| Upload::BackendGone)?;
        }
        Ok(())
    }

    /// Reads the answer and passes it on. What that needs is taken when the answer begins: it may be long until then.
    async fn download(
        &self,
        (backend, pending): (&Stream, &mut Vec<u8>),
        client: &Stream,
        progress: &Progress<'_>,
    ) -> Download {
        if let Err(ended) = self.more_head(backend, pending, progress).await {
            return ended;
        }
        let (mut response, mut out) = (self.worker.responses.take(), self.worker.buffers.empty());
        let ended = self.answered((backend, pending), client, (&mut response, &mut out), progress).await;
        progress.persists.set(response.persists);
        self.worker.responses.give(response);
        self.worker.buffers.give(out);
        ended
    }

    /// Passes the answer on that has begun in `pending`, by way of `out`.
    async fn answered(
        &self,
        (backend, pending): (&Stream, &mut Vec<u8>),
        client: &Stream,
        (response, out): (&mut Response, &mut Vec<u8>),
        progress: &Progress<'_>,
    ) -> Download {
        for _ in 0..INTERIM_MAX {
            let head = match self.response_head(backend, pending, response, progress).await {
                Ok(head) => head,
                Err(ended) => return ended,
            };
            if !response.is_interim() {
                let pipe = match self.missing((backend, pending, head), client, response, progress).await {
                    Ok(pipe) => pipe,
                    Err(ended) => return ended,
                };
                if let Some(ended) = self.heard(response) {
                    // Of a 304 nothing is left: the connection goes on.
                    self.worker.buffers.used(pending, head);
                    return ended;
                }
                self.begins();
                progress.heard();
                return self.final_answer((backend, pending, head), client, (response, out, pipe), progress).await;
            }
            pending.drain(..head);
            // An HTTP/1.0 client knows no interim responses (RFC 9110 § 15.2).
            if !self.request.old {
                out.clear();
                response.forward(out, Chunks::AsTheyAre, None);
                if client.write(out, self.limits().progress_within).await.is_err() {
                    return Download::ClientGone;
                }
            }
        }
        self.wrong(Refusal::StatusLineInvalid)
    }

    fn wrong(&self, refusal: Refusal) -> Download {
        self.worker.counters.refused(refusal);
        Download::Wrong(format!("it sent an answer that is refused: {refusal}"))
    }

    /// Reads until a head is there; how many of the `pending` bytes it takes, which stay there.
    pub(super) async fn response_head(
        &self,
        backend: &Stream,
        pending: &mut Vec<u8>,
        response: &mut Response,
        progress: &Progress<'_>,
    ) -> Result<usize, Download> {
        let context =
            ResponseContext { head: self.request.method == crate::codec::Method::Head, upgrade: self.request.upgrade };
        loop {
            if !pending.is_empty() {
                match response.read(pending, &self.limits().head, context) {
                    Ok(Some(length)) => return Ok(length),
                    Ok(None) => {}
                    Err(refusal) => return Err(self.wrong(refusal)),
                }
            }
            self.more_head(backend, pending, progress).await?;
        }
    }

    /// Waits for a piece of the answer's head.
    async fn more_head(
        &self,
        backend: &Stream,
        pending: &mut Vec<u8>,
        progress: &Progress<'_>,
    ) -> Result<(), Download> {
        loop {
            let room = (&self.worker.scratch, &self.worker.buffers);
            let answer = progress.silence.answer;
            let within = if progress.is_long.get() { answer } else { answer.min(SHORT) };
            match receive(backend, pending, room, progress.head_bytes, within).await {
                Ok(0) if pending.is_empty() => return Err(Download::Nothing { late: false }),
                Ok(0) => return Err(self.wrong(Refusal::StatusLineInvalid)),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::TimedOut && !progress.is_long.replace(true) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut && self.has_time(progress) => {}
                Err(error) => {
                    // With TLS 1.3 a backend that wants a certificate says so only now.
                    let because = distrust(&error).map(|because| Download::Wrong(format!("it {because} ({error})")));
                    return Err(because.unwrap_or(Download::Nothing { late: error.kind() == io::ErrorKind::TimedOut }));
                }
            }
        }
    }

    /// Waits until an answer is whole of which the client is to hear only then. Much of what has come already is in a pipe then.
    ///
    /// # Errors
    /// How the download ends if it never is.
    async fn missing(
        &self,
        (backend, pending, head): (&Stream, &mut Vec<u8>, usize),
        client: &Stream,
        response: &Response,
        progress: &Progress<'_>,
    ) -> Result<Option<Pipe>, Download> {
        let Framing::Length(length) = response.framing else { return Ok(None) };
        let is_held = length <= WHOLE_BYTES_MAX && self.is_repeatable();
        let left = length.saturating_sub((pending.len() - head) as u64);
        // Whether the cache will listen is not known yet.
        let splices = self.fetch.is_none() && self.splices(left, (backend, client)) && !self.is_coded(response);
        if let Some(mut pipe) = splices.then(|| self.worker.pipes.take()).flatten() {
            // If it fails, so does the next read.
            let _ = pipe.fill(backend, left);
            if !is_held || pipe.held() == left {
                return Ok(Some(pipe));
            }
            pipe.pour(pending).map_err(|_| Download::Short)?;
            self.worker.pipes.give(pipe);
        }
        while is_held && ((pending.len() - head) as u64) < length {
            progress.is_long.set(true);
            match fill(backend, pending, &self.worker.scratch, progress.silence.progress).await {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(Download::Nothing { late: true }),
                Ok(0) | Err(_) => return Err(Download::Short),
            }
        }
        Ok(None)
    }

    /// Passes the answer on whose head took the first `begun` of the `pending` bytes.
    async fn final_answer(
        &self,
        (backend, pending, begun): (&Stream, &mut Vec<u8>, usize),
        client: &Stream,
        (response, out, pipe): (&Response, &mut Vec<u8>, Option<Pipe>),
        progress: &Progress<'_>,
    ) -> Download {
        let coding = self.coding_of(response, &pending[begun..]);
        if let Some(coding @ (Coding::Whole(_) | Coding::Piecemeal(_) | Coding::Head)) = coding {
            let (from, told) = ((backend, pending, begun), (response, out, coding));
            return boxed(|| self.coded_answer(from, client, told, progress)).await;
        }
        let uploaded = progress.uploaded.get().is_some();
        let chunks = Chunks::between(response.framing, self.request.old);
        let persists = self.request.persists && uploaded && chunks.delimit(response) && !self.worker.is_stopping();
        out.clear();
        response.forward(out, chunks, self.connection(persists));
        self.stay(progress.lease, &response.head, out);
        if let Some(fetch) = self.fetch {
            fetch.tell(out);
        }
        self.secured(out);
        if let Some(coding) = coding {
            coding.tell(out);
        }
        let (status, mut body) = (response.status, Body::new(response.framing));
        let (head, within) = (out.len(), progress.silence.progress);
        progress.told.set(Some(status));
        // What came together with the head goes out together with it, and is not copied if it is large.
        let apart = chunks == Chunks::AsTheyAre && pending.len() - begun > JOINED_BYTES_MAX && pipe.is_none();
        let Ok(passed) = self.pass(&mut body, &pending[begun..], chunks, (!apart).then_some(&mut *out)) else {
            return self.wrong(Refusal::ChunkSizeInvalid);
        };
        let behind = begun + passed;
        let written = match &pipe {
            Some(pipe) if pipe.held() > 0 => client.begin(out, within).await,
            _ if apart => client.write_both(out, &pending[begun..behind], within).await,
            _ => client.write_piece(out, body.is_done() && self.request.is_last(), within).await,
        };
        if written.is_err() {
            return Download::ClientGone;
        }
        self.worker.buffers.used(pending, behind);
        progress.silence.heard();
        if response.switches() {
            return Download::Switched { status };
        }
        let mut bytes = if apart { passed } else { out.len() - head } as u64;
        match self.rest((backend, pending), client, (body, chunks, pipe), (out, &mut bytes), progress).await {
            Ok(()) => Download::Complete { status, bytes, persists },
            Err(Cut::Refused) => Download::ClientGone,
            Err(cut) => Download::Truncated { status, bytes, late: matches!(cut, Cut::Late) },
        }
    }

    /// Passes on what is left of `body`, of which `pipe` may hold some, and adds what that was to `bytes`: spliced as far as there is a
    /// pipe for it, else by way of `pending`, or of `out` if its framing changes.
    async fn rest(
        &self,
        (backend, pending): (&Stream, &mut Vec<u8>),
        client: &Stream,
        (mut body, chunks, pipe): (Body, Chunks, Option<Pipe>),
        (out, bytes): (&mut Vec<u8>, &mut u64),
        progress: &Progress<'_>,
    ) -> Result<(), Cut> {
        let held = pipe.as_ref().map_or(0, Pipe::held);
        if !body.is_done() && body != Body::Length(held) {
            progress.is_long.set(true);
        }
        if let Body::Length(left) = &mut body
            && (held > 0 || self.splices(*left, (backend, client)))
        {
            let before = *left;
            *left -= held;
            let ended = self.spliced(pipe, (backend, client), left, &progress.silence).await;
            *bytes += before - *left;
            match ended {
                Err(Cut::Unspliced) => {}
                Err(cut) => return Err(cut),
                Ok(()) => {
                    self.whole();
                    return Ok(());
                }
            }
        }
        let within = progress.silence.progress;
        while !body.is_done() {
            if !self.more_answer(backend, pending, &body, progress).await? {
                self.whole();
                let end: &[u8] = if chunks == Chunks::Added { b"0\r\n\r\n" } else { b"" };
                return client.write(end, within).await.map_err(|_| Cut::Refused);
            }
            out.clear();
            let as_it_is = chunks == Chunks::AsTheyAre;
            let taken =
                self.pass(&mut body, pending, chunks, (!as_it_is).then_some(&mut *out)).map_err(|_| Cut::Short)?;
            let sent = if as_it_is { &pending[..taken] } else { &out[..] };
            client.write(sent, within).await.map_err(|_| Cut::Refused)?;
            *bytes += sent.len() as u64;
            self.worker.buffers.used(pending, taken);
        }
        Ok(())
    }

    /// Waits for a piece of the answer's `body`; whether there is one, as it may end with the connection.
    pub(super) async fn more_answer(
        &self,
        backend: &Stream,
        pending: &mut Vec<u8>,
        body: &Body,
        progress: &Progress<'_>,
    ) -> Result<bool, Cut> {
        loop {
            let room = (&self.worker.scratch, &self.worker.buffers);
            match receive(backend, pending, room, LARGE_BYTES, progress.silence.progress).await {
                Ok(0) if *body == Body::Close => return Ok(false),
                Ok(1..) => {
                    progress.silence.heard();
                    return Ok(true);
                }
                Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(Cut::Short),
                Err(_) if progress.silence.is_excused() => {}
                Err(_) => return Err(Cut::Late),
                Ok(0) => return Err(Cut::Short),
            }
        }
    }

    /// The answer is there to its end.
    fn whole(&self) {
        if let Some(fetch) = self.fetch {
            fetch.complete();
        }
    }

    /// Passes what belongs to the body from `input` to `out`, if that is wanted, and to the cache; how much of `input` that was.
    /// What is whole is stored before the client has it: who asks again finds it.
    fn pass(&self, body: &mut Body, input: &[u8], chunks: Chunks, out: Option<&mut Vec<u8>>) -> Result<usize, Refusal> {
        let Some(fetch) = self.fetch else { return pass(body, input, chunks, out, |_| ()) };
        let taken = pass(body, input, chunks, out, |data| fetch.data(data))?;
        if body.is_done() {
            fetch.complete();
        }
        Ok(taken)
    }
}

/// Passes what belongs to the body from `input` to `out`, and without its framing to `hear`.
fn pass(
    body: &mut Body,
    input: &[u8],
    chunks: Chunks,
    out: Option<&mut Vec<u8>>,
    hear: impl Fn(&[u8]),
) -> Result<usize, Refusal> {
    let Some(out) = out else { return body.decode(input, hear) };
    match chunks {
        Chunks::AsTheyAre => {
            let taken = body.decode(input, hear)?;
            out.extend_from_slice(&input[..taken]);
            Ok(taken)
        }
        Chunks::Removed => body.decode(input, |data| {
            hear(data);
            out.extend_from_slice(data);
        }),
        Chunks::Added => body.decode(input, |data| {
            hear(data);
            if !data.is_empty() {
                out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
        }),
    }
}
