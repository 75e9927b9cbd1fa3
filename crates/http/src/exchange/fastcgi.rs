//! A request to a backend that speaks FastCGI.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::answer::{Answer, Cut, State};
use super::gathered::Gathered;
use super::unheard::unheard;
use super::{Attempt, Download, Progress, Trip, Upload, both_ways};
use crate::clock;
use crate::codec::Method;
use crate::encoding::pages::{Coding, Squeezer, headers};
use crate::event_loop::spawn;
use crate::fastcgi::{BadHead, CgiHead, Params, begin, body, end};
use crate::pool::Lease;
use crate::stream::Stream;
use crate::wire::Wire;

/// A script with everything that it is given.
pub(super) struct Job {
    pub(super) params: Params,
    pub(super) body: Gathered,
    /// See [`crate::FastCgi::unheard_within`].
    pub(super) unheard_within: Duration,
}

impl Trip<'_> {
    pub(super) async fn by_fastcgi(&self, lease: Lease, job: &Job, wire: &mut Wire) -> Attempt {
        let backend = match lease.parked() {
            Some(parked) => parked,
            None => match self.connected(&lease).await {
                Ok(backend) => backend,
                Err(failed) => return failed,
            },
        };
        let mut answer = Answer::new(&lease, self.id);
        let progress = self.progress(&lease);
        let upload = async {
            if let Err(gone) = self.send_job(job, &backend).await {
                return gone;
            }
            progress.uploaded.set(Some(Instant::now()));
            self.watch(&wire.stream, &mut wire.pending).await
        };
        let download = self.pass_on(&backend, &mut answer, &wire.stream, &progress);
        let ended = both_ways(pin!(upload), pin!(download), &progress).await;
        // It can be sent again, body and all.
        let attempt = self.settled(ended, &lease, true);
        match answer.state {
            // What was not read of the request would be taken for the beginning of the next.
            _ if progress.uploaded.get().is_none() => {}
            State::Over => answer.leave(backend, &lease),
            State::Going => {
                let worker = self.worker.clone();
                spawn(unheard(worker, lease, backend, answer, job.unheard_within));
            }
            State::Broken => {}
        }
        attempt
    }

    /// Sends the request; a small one in one piece.
    async fn send_job(&self, job: &Job, backend: &Stream) -> Result<(), Upload> {
        let mut out = Vec::new();
        begin(&job.params, true, &mut out);
        let mut sent = 0;
        while sent < job.body.length {
            let piece = job.body.piece(sent).await.map_err(|error| {
                tracing::error!(id = self.id, %error, "cannot read a request's body back");
                Upload::BackendGone
            })?;
            sent += piece.len() as u64;
            body(&piece, &mut out);
            if sent < job.body.length {
                self.send_piece(&mut out, backend).await?;
            }
        }
        end(&mut out);
        self.send_piece(&mut out, backend).await
    }

    async fn send_piece(&self, out: &mut Vec<u8>, backend: &Stream) -> Result<(), Upload> {
        backend.write(out, self.limits().progress_within).await.map_err(|_| Upload::BackendGone)?;
        out.clear();
        Ok(())
    }

    /// Reads the answer and passes it on.
    async fn pass_on(
        &self,
        backend: &Stream,
        answer: &mut Answer,
        client: &Stream,
        progress: &Progress<'_>,
    ) -> Download {
        let mut out = Vec::with_capacity(1024);
        let head = match self.cgi_head(backend, answer, progress, &mut out).await {
            Ok(head) => head,
            Err(ended) => return ended,
        };
        progress.heard();
        let status = head.status;
        let mut framed = self.framed(&head, answer);
        let persists = self.request.persists && !matches!(framed, Framed::Close) && !self.worker.is_stopping();
        self.finish_head(&head, &framed, persists, &mut out);
        if self.varies(status, headers(&out)) {
            framed = self.coded(framed, answer, &mut out);
        }
        let (mut bytes, mut fits) = (0, true);
        let mut head = out.len();
        loop {
            fits &= framed.put(&answer.stdout, &mut out);
            answer.stdout.clear();
            let whole = answer.state == State::Over && framed.end(&mut out);
            let (last, within) = (whole && self.request.is_last(), self.limits().progress_within);
            if !out.is_empty() && client.write_piece(&out, last, within).await.is_err() {
                return Download::ClientGone;
            }
            bytes += (out.len() - std::mem::take(&mut head)) as u64;
            out.clear();
            if whole {
                return Download::Complete { status, bytes, persists: persists && fits };
            }
            let more = match answer.state {
                State::Over => Err(Cut::Closed),
                _ => answer.more(backend, &self.worker.scratch, within).await,
            };
            if let Err(cut) = more {
                return Download::Truncated { status, bytes, late: matches!(cut, Cut::Late) };
            }
        }
    }

    /// Reads until the head is there, and writes the first of it to `out`.
    async fn cgi_head(
        &self,
        backend: &Stream,
        answer: &mut Answer,
        progress: &Progress<'_>,
        out: &mut Vec<u8>,
    ) -> Result<CgiHead, Download> {
        loop {
            match CgiHead::read(&answer.stdout, &self.limits().head, out) {
                Ok(Some(head)) => {
                    self.begins();
                    answer.stdout.drain(..head.taken);
                    return Ok(head);
                }
                Ok(None) if answer.state == State::Over => return Err(Download::Wrong(BadHead::Empty.to_string())),
                Ok(None) => {}
                Err(bad) => return Err(Download::Wrong(bad.to_string())),
            }
            match answer.more(backend, &self.worker.scratch, self.limits().answer_within).await {
                Ok(()) => {}
                Err(Cut::Late) if self.has_time(progress) => {}
                Err(Cut::Late) => return Err(Download::Nothing { late: true }),
                Err(Cut::Closed) => return Err(Download::Nothing { late: false }),
                Err(Cut::Fault(fault)) => return Err(Download::Wrong(fault.to_string())),
                Err(Cut::Refused(protocol)) => {
                    return Err(Download::Wrong(format!("it refused the request: {protocol:?}")));
                }
            }
        }
    }

    fn framed(&self, head: &CgiHead, answer: &Answer) -> Framed {
        let whole = (answer.state == State::Over).then_some(answer.stdout.len() as u64);
        match head.length.or(whole) {
            _ if head.bodiless || self.request.method == Method::Head => Framed::Nothing,
            Some(length) => Framed::Length(length),
            None if self.request.old => Framed::Close,
            None => Framed::Chunked,
        }
    }

    /// How the body goes out if it is compressed, which the head in `out` then says.
    fn coded(&self, framed: Framed, answer: &mut Answer, out: &mut Vec<u8>) -> Framed {
        let length = match framed {
            Framed::Length(length) => Some(length),
            _ => None,
        };
        let body = (answer.state == State::Over).then_some(&answer.stdout[..]);
        if body.is_some_and(|body| length.is_some_and(|length| length != body.len() as u64)) {
            // The script has lied about it, and the client is to see that.
            return framed;
        }
        let coding = self.coding(body);
        coding.tell(out);
        match coding {
            Coding::Whole(smaller) => {
                answer.stdout = smaller;
                Framed::Length(answer.stdout.len() as u64)
            }
            Coding::Piecemeal(squeezer) => Framed::Squeezed(squeezer, length),
            Coding::Identity | Coding::Head => framed,
        }
    }

    /// Adds what is the server's part of a head.
    fn finish_head(&self, head: &CgiHead, framed: &Framed, persists: bool, out: &mut Vec<u8>) {
        match framed {
            Framed::Length(length) if head.length.is_none() => {
                out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
            }
            Framed::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            _ => {}
        }
        if !head.dated {
            self.worker.dates.put(clock::now(), out);
        }
        if let Some(connection) = self.connection(persists) {
            out.extend_from_slice(format!("Connection: {connection}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// How the body of an answer is delimited for the client.
enum Framed {
    /// There is none, whatever the script prints.
    Nothing,
    /// So many bytes to come.
    Length(u64),
    Chunked,
    /// The same, compressed; as many bytes to come as the script promised, if it did.
    Squeezed(Box<Squeezer>, Option<u64>),
    /// By the end of the connection.
    Close,
}

impl Framed {
    /// Appends a piece; whether it fits into the length that the script promised.
    fn put(&mut self, piece: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            Framed::Nothing => true,
            Framed::Length(left) => {
                let taken = (*left).min(piece.len() as u64);
                *left -= taken;
                out.extend_from_slice(&piece[..taken as usize]);
                taken == piece.len() as u64
            }
            Framed::Chunked if piece.is_empty() => true,
            Framed::Chunked => {
                out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
                true
            }
            Framed::Squeezed(squeezer, left) => {
                let taken = left.map_or(piece.len(), |left| left.min(piece.len() as u64) as usize);
                *left = left.map(|left| left - taken as u64);
                squeezer.put(&piece[..taken], out);
                taken == piece.len()
            }
            Framed::Close => {
                out.extend_from_slice(piece);
                true
            }
        }
    }

    /// Appends the end; whether the body is whole.
    fn end(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Framed::Length(1..) | Framed::Squeezed(_, Some(1..)) => return false,
            Framed::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
            Framed::Squeezed(squeezer, _) => squeezer.end(out),
            Framed::Nothing | Framed::Length(0) | Framed::Close => {}
        }
        true
    }
}
