//! Has a PHP worker run a script.
//!
//! The exchange is a task of its own that keeps the worker's place until the worker is done, even if the visitor is
//! gone: until then the worker could not begin another request.

use std::path::PathBuf;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::http::response::Builder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::super::command::Address;
use super::answer::{Answer, Piped};
use super::pool::Lease;
use super::records::{Header, Kind, begin, head, put};
use super::{ANSWER_MAX, Failed, connected};

/// Pieces of the answer that wait for a slow visitor, each at most 64 KiB; then the script waits.
const PIECES_MAX: usize = 4;

type Pieces = mpsc::Sender<Result<Bytes, super::answer::Broken>>;
type Head = oneshot::Sender<Result<Builder, Failed>>;

/// Runs a script with `parameters` on the worker of `lease`. `body` is taken once anything was sent.
pub(super) async fn ask(
    lease: Lease,
    parameters: &[(String, Vec<u8>)],
    body: &mut Option<Incoming>,
) -> Result<Response<Answer>, Failed> {
    let stream = connected(UnixStream::connect(socket(&lease)?)).await?;
    let (head, headed) = oneshot::channel();
    let (pieces, piped) = mpsc::channel(PIECES_MAX);
    let (out, body) = (begin(parameters), body.take());
    tokio::spawn(async move {
        exchange(stream, out, body, (head, pieces)).await;
        drop(lease);
    });
    let answer = match timeout(ANSWER_MAX, headed).await {
        Ok(Ok(answer)) => answer?,
        Ok(Err(_)) => return Err(Failed::Broken("the worker's answer was lost".into())),
        Err(_) => return Err(Failed::Late),
    };
    answer.body(Piped(piped).boxed_unsync()).map_err(|error| Failed::Broken(format!("the script's head: {error}")))
}

fn socket(lease: &Lease) -> Result<PathBuf, Failed> {
    match &lease.address {
        Address::Unix(path) => Ok(path.clone()),
        Address::Tcp(address) => Err(Failed::Broken(format!("{address} is no Unix socket"))),
    }
}

/// Sends and receives at once: a script may answer before it has read everything.
async fn exchange(stream: UnixStream, out: Vec<u8>, body: Option<Incoming>, to: (Head, Pieces)) {
    // Both halves live until the end: closing one early would look as if the visitor were gone.
    let (mut reader, mut writer) = stream.into_split();
    let receiving = receive(&mut reader, to.0, to.1);
    tokio::pin!(receiving);
    tokio::select! {
        () = &mut receiving => {}
        whole = send(&mut writer, out, body) => if whole { receiving.await },
    }
}

/// Sends the request; `false` if its body broke off, which must not pass for its end. Failing to write shows on the
/// reading side, where the worker may still say why.
async fn send(writer: &mut OwnedWriteHalf, mut out: Vec<u8>, body: Option<Incoming>) -> bool {
    if let Some(mut body) = body {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let Ok(data) = frame.into_data() else { continue };
            if !data.is_empty() {
                put(&mut out, Kind::Input, &data);
            }
            if writer.write_all(&out).await.is_err() {
                return true;
            }
            out.clear();
        }
    }
    put(&mut out, Kind::Input, &[]);
    let _ = writer.write_all(&out).await;
    true
}

/// Receives the answer to its end, whoever listens.
async fn receive(reader: &mut OwnedReadHalf, to: Head, pieces: Pieces) {
    let mut state = Receiving::Head { to, bytes: Vec::new() };
    loop {
        let failed = match timeout(ANSWER_MAX, record(reader)).await {
            Ok(Ok((Some(Kind::Output), contents))) => state.output(contents, &pieces).await,
            Ok(Ok((Some(Kind::Errors), contents))) => log(&contents),
            Ok(Ok((Some(Kind::End), _))) => return state.end(),
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(Failed::Broken(error.to_string())),
            Err(_) => Some(Failed::Late),
        };
        if let Some(failed) = failed {
            return state.fail(failed, &pieces).await;
        }
    }
}

fn log(contents: &[u8]) -> Option<Failed> {
    tracing::warn!("php: {}", String::from_utf8_lossy(contents).trim());
    None
}

async fn record(reader: &mut OwnedReadHalf) -> std::io::Result<(Option<Kind>, Bytes)> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes).await?;
    let header = Header::parse(bytes).ok_or_else(|| std::io::Error::other("this is not FastCGI"))?;
    let mut contents = vec![0; header.length + header.padding];
    reader.read_exact(&mut contents).await?;
    contents.truncate(header.length);
    Ok((header.kind, contents.into()))
}

/// How far the answer has come.
enum Receiving {
    Head {
        to: Head,
        bytes: Vec<u8>,
    },
    Body,
    /// Nobody listens any more; the worker is let finish.
    Unheard,
}

impl Receiving {
    // ## Head => (Head | Body | Unheard); Body => (Body | Unheard)
    async fn output(&mut self, contents: Bytes, pieces: &Pieces) -> Option<Failed> {
        match std::mem::replace(self, Receiving::Unheard) {
            Receiving::Head { to, mut bytes } => {
                bytes.extend(&contents);
                match head(&bytes) {
                    Err(because) => return Some(self.refuse(to, because)),
                    Ok(None) => *self = Receiving::Head { to, bytes },
                    Ok(Some((answer, rest))) => {
                        if to.send(Ok(answer)).is_ok() && (rest.is_empty() || pieces.send(Ok(rest)).await.is_ok()) {
                            *self = Receiving::Body;
                        }
                    }
                }
            }
            Receiving::Body => {
                if contents.is_empty() || pieces.send(Ok(contents)).await.is_ok() {
                    *self = Receiving::Body;
                }
            }
            Receiving::Unheard => {}
        }
        None
    }

    fn refuse(&mut self, to: Head, because: String) -> Failed {
        let _ = to.send(Err(Failed::Broken(because.clone())));
        Failed::Broken(because)
    }

    fn end(self) {
        if let Receiving::Head { to, .. } = self {
            let _ = to.send(Err(Failed::Broken("the script answered nothing".into())));
        }
    }

    async fn fail(self, failed: Failed, pieces: &Pieces) {
        match self {
            Receiving::Head { to, .. } => {
                let _ = to.send(Err(failed));
            }
            Receiving::Body => {
                let _ = pieces.send(Err(failed.into())).await;
            }
            Receiving::Unheard => {}
        }
    }
}
