//! Answers of backends, compressed on their way to who takes that.

use super::spliced::Cut;
use super::{Download, Progress, Trip};
use crate::codec::{Body, Chunks, Kind, Method, Refusal, Response};
use crate::encoding::pages::{self, Coding, Squeezer, varies};
use crate::encoding::{Accepted, Encoding};
use crate::stream::Stream;

impl Trip<'_> {
    /// Whether answers with this status and these headers differ with the codings that clients take. Those of HTTP/1.0 get all as it
    /// is: they could not tell where what comes in pieces ends. What the cache stores was compressed before.
    pub(super) fn varies<'h>(&self, status: u16, headers: impl Iterator<Item = (&'h [u8], &'h [u8])>) -> bool {
        self.config.compresses && self.fetch.is_none() && !self.request.old && varies(status, headers)
    }

    /// The same, of an answer by HTTP.
    fn differs(&self, response: &Response) -> bool {
        let headers = response.head.headers().map(|(_, name, value)| (name.as_bytes(), value));
        self.varies(response.status, headers)
    }

    fn takes_gzip(&self) -> bool {
        Accepted::read(self.request.head.of_kind(Kind::AcceptEncoding)).takes(Encoding::Gzip)
    }

    /// How an answer that varies goes out; `whole`: its body, if that is all there.
    pub(super) fn coding(&self, whole: Option<&[u8]>) -> Coding {
        let (worker, draw) = (self.worker, self.worker.ids.draw());
        let coded = match whole {
            _ if !self.takes_gzip() => None,
            _ if self.request.method == Method::Head => Some(Coding::Head),
            Some(body) => pages::whole(body, draw).map(Coding::Whole),
            None => worker.squeezers.begin(draw).map(Coding::Piecemeal),
        };
        coded.unwrap_or(Coding::Identity)
    }

    /// How an answer by HTTP goes out whose body begins with `come`; `None` if it is the same for all.
    pub(super) fn coding_of(&self, response: &Response, come: &[u8]) -> Option<Coding> {
        self.differs(response).then(|| {
            if !self.takes_gzip() {
                return Coding::Identity;
            }
            let (mut body, mut data) = (Body::new(response.framing), Vec::new());
            let is_whole = body.decode(come, |piece| data.extend_from_slice(piece)).is_ok() && body.is_done();
            self.coding(is_whole.then_some(&data))
        })
    }

    /// Whether it will be compressed: then it has to be read.
    pub(super) fn is_coded(&self, response: &Response) -> bool {
        self.config.compresses && self.takes_gzip() && self.differs(response)
    }

    /// Passes the answer on whose head took the first `begun` of the `pending` bytes.
    pub(super) async fn coded_answer(
        &self,
        (backend, pending, begun): (&Stream, &mut Vec<u8>, usize),
        client: &Stream,
        (response, out, coding): (&Response, &mut Vec<u8>, Coding),
        progress: &Progress<'_>,
    ) -> Download {
        let uploaded = progress.uploaded.get().is_some();
        let persists = self.request.persists && uploaded && !self.worker.is_stopping();
        let (status, within) = (response.status, progress.silence.progress);
        out.clear();
        response.forward(out, Chunks::AsTheyAre, self.connection(persists));
        self.stay(progress.lease, &response.head, out);
        self.secured(out);
        coding.tell(out);
        let (head, mut bytes) = (out.len(), 0);
        progress.told.set(Some(status));
        self.worker.buffers.used(pending, begun);
        let mut body = Body::new(response.framing);
        let ended = match coding {
            Coding::Piecemeal(squeezer) => {
                self.piecemeal((backend, pending, body), client, (out, &mut bytes, squeezer), progress).await
            }
            Coding::Whole(_) | Coding::Head | Coding::Identity => {
                // All of it is there, and was read before.
                let taken = body.advance(pending).unwrap_or(pending.len());
                self.worker.buffers.used(pending, taken);
                if let Coding::Whole(smaller) = coding {
                    out.extend_from_slice(&smaller);
                }
                bytes = (out.len() - head) as u64;
                client.write_piece(out, self.request.is_last(), within).await.map_err(|_| Cut::Refused)
            }
        };
        progress.silence.heard();
        match ended {
            Ok(()) => Download::Complete { status, bytes, persists },
            Err(Cut::Refused) => Download::ClientGone,
            Err(cut) => Download::Truncated { status, bytes, late: matches!(cut, Cut::Late) },
        }
    }

    /// Passes `body` on, of which `pending` has the beginning, behind the head in `out`.
    async fn piecemeal(
        &self,
        (backend, pending, mut body): (&Stream, &mut Vec<u8>, Body),
        client: &Stream,
        (out, bytes, mut squeezer): (&mut Vec<u8>, &mut u64, Box<Squeezer>),
        progress: &Progress<'_>,
    ) -> Result<(), Cut> {
        let (mut head, within) = (out.len(), progress.silence.progress);
        loop {
            let taken = body.decode(pending, |data| squeezer.put(data, out)).map_err(|_: Refusal| Cut::Short)?;
            self.worker.buffers.used(pending, taken);
            if body.is_done() {
                squeezer.end(out);
            }
            client
                .write_piece(out, body.is_done() && self.request.is_last(), within)
                .await
                .map_err(|_| Cut::Refused)?;
            *bytes += (out.len() - std::mem::take(&mut head)) as u64;
            out.clear();
            if body.is_done() {
                return Ok(());
            }
            progress.is_long.set(true);
            if !self.more_answer(backend, pending, &body, progress).await? {
                body = Body::Done;
            }
        }
    }
}
