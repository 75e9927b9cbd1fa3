//! Asks a worker whether it is well.

mod http2;

use std::io;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use mainstay_http::Address;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// A healthy worker answers its health path in milliseconds; a busy one within this.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How a worker is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Where it may listen; the first that answers is where.
    pub addresses: Vec<Address>,
    /// What it speaks.
    pub protocol: Protocol,
}

/// What a worker speaks.
#[derive(Clone, Debug)]
pub(super) enum Protocol {
    /// `GET path` for `host`; any answer below 500 is well: a page that wants a login is no illness.
    Http {
        /// The declared health path.
        path: String,
        /// The site's domain: frameworks refuse hosts that they do not know.
        host: String,
    },
    /// The same by HTTP/2; of [`GRPC_HEALTH`](mainstay_site::model::GRPC_HEALTH) a call of gRPC.
    Http2 {
        /// The declared health path.
        path: String,
        /// The site's domain.
        host: String,
    },
    /// A FastCGI management record.
    FastCgi,
}

impl Question {
    /// The address at which the worker answered, or why none did.
    pub async fn ask(&self) -> Result<Address, String> {
        let mut because = Vec::new();
        for address in &self.addresses {
            match timeout(ANSWER_MAX, self.ask_at(address)).await {
                Ok(Ok(())) => return Ok(address.clone()),
                Ok(Err(error)) => because.push(format!("{address}: {error}")),
                Err(_) => because.push(format!("{address}: no answer in {} s", ANSWER_MAX.as_secs())),
            }
        }
        Err(because.join("; "))
    }

    async fn ask_at(&self, address: &Address) -> Result<(), String> {
        match address {
            Address::Unix(path) => self.ask_stream(UnixStream::connect(path).await.map_err(words)?).await,
            Address::Tls(_) | Address::Local(_) => {
                Err("workers are no tier: they are met in clear, in one place".into())
            }
            Address::Tcp(address) => self.ask_stream(TcpStream::connect(address).await.map_err(words)?).await,
        }
    }

    async fn ask_stream(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), String> {
        match &self.protocol {
            Protocol::Http { path, host } => http(stream, path, host).await,
            Protocol::Http2 { path, host } => http2::ask(stream, path, host).await,
            Protocol::FastCgi => fastcgi(stream).await.map_err(words),
        }
    }
}

fn words(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "not listening yet".into(),
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => error.to_string(),
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    host: &str,
) -> Result<(), String> {
    let broken = |error: hyper::Error| format!("GET {path}: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "mainstay-health")
        .header("x-forwarded-host", host)
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the health path {path:?} is no path: {error}"))?;
    let answer = sender.send_request(request).await.map_err(broken);
    connection.abort();
    let status = answer?.status();
    if status.is_server_error() { Err(format!("GET {path} answered {status}")) } else { Ok(()) }
}

/// FCGI_GET_VALUES and its answer FCGI_GET_VALUES_RESULT (FastCGI Specification 1.0 § 4.1): the process takes part
/// without running a script. The question names FCGI_MPXS_CONNS.
const GET_VALUES: [u8; 32] = *b"\x01\x09\0\0\0\x11\x07\0\x0f\0FCGI_MPXS_CONNS\0\0\0\0\0\0\0";
const GET_VALUES_RESULT: u8 = 10;

async fn fastcgi(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.write_all(&GET_VALUES).await?;
    let mut header = [0; 8];
    stream.read_exact(&mut header).await?;
    match header {
        [1, GET_VALUES_RESULT, ..] => Ok(()),
        other => Err(io::Error::other(format!("no FastCGI answer: {other:02x?}"))),
    }
}
