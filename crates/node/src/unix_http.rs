//! One HTTP request over a Unix socket, from first byte to last within a deadline.

use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Bytes of an answer: the status of a server with a thousand backends is well below a megabyte, and no service may
/// make its supervisor hold more than this.
const ANSWER_MAX: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or may be reached.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// What came is no proper answer.
    #[error("no proper answer: {0}")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Asks `method path` of whoever listens on `socket`.
///
/// # Errors
/// If there is no whole answer within `deadline`; any status is an answer.
pub async fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: Vec<u8>,
    deadline: Duration,
) -> Result<(StatusCode, Bytes), Error> {
    timeout(deadline, exchange(socket, method, path, body)).await.unwrap_or(Err(Error::Deadline(deadline)))
}

async fn exchange(socket: &Path, method: Method, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), Error> {
    let stream = UnixStream::connect(socket).await.map_err(Error::Connect)?;
    let broken = |error: hyper::Error| Error::Exchange(error.into());
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::builder().method(method).uri(path).header("host", "mainstay");
    let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| Error::Exchange(error.into()))?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(Error::Exchange)?;
        Ok((status, body.to_bytes()))
    };
    // The connection ends once the sender, which `answer` owns, is gone.
    tokio::join!(answer, connection).0
}
