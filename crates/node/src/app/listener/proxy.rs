//! Passes a request to a worker that speaks HTTP.
//!
//! Each request has a connection of its own: on a Unix socket that costs some tens of microseconds, and none is ever
//! broken by a worker that was replaced in between.

use http_body_util::{BodyExt, Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::http::request::Parts;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::super::command::Address;
use super::answer::{Answer, Leased};
use super::pool::Lease;
use super::{ANSWER_MAX, Failed, connected};

/// Sends the request to the worker of `lease`. `body` is taken once anything was sent.
pub(super) async fn ask(lease: Lease, parts: &Parts, body: &mut Option<Incoming>) -> Result<Response<Answer>, Failed> {
    match lease.address.clone() {
        Address::Unix(path) => over(connected(UnixStream::connect(path)).await?, lease, parts, body).await,
        Address::Tcp(address) => over(connected(TcpStream::connect(address)).await?, lease, parts, body).await,
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    lease: Lease,
    parts: &Parts,
    body: &mut Option<Incoming>,
) -> Result<Response<Answer>, Failed> {
    let broken = |error: hyper::Error| Failed::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    let body = body.take().map_or(Either::Right(Empty::<Bytes>::new()), Either::Left);
    let request = Request::from_parts(parts.clone(), body);
    let answer = timeout(ANSWER_MAX, sender.send_request(request)).await.map_err(|_| Failed::Late)?;
    Ok(answer.map_err(broken)?.map(|body| Leased { body, lease: Some(lease) }.boxed_unsync()))
}
