//! A worker that speaks HTTP/2 in clear, as gRPC servers do.

use h2::RecvStream;
use h2::client::SendRequest;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, TE, USER_AGENT};
use hyper::{HeaderMap, Method, Request};
use mainstay_site::model::GRPC_HEALTH;
use tokio::io::{AsyncRead, AsyncWrite};

/// A message without content, as gRPC frames it (gRPC over HTTP2, § Length-Prefixed-Message): the question for the server as
/// a whole (gRPC Health Checking Protocol).
const EMPTY: [u8; 5] = [0; 5];
/// `HealthCheckResponse { status: SERVING }` in the same frame.
const SERVING: [u8; 7] = [0, 0, 0, 0, 2, 0x08, 1];
/// An answer is as long as that; whatever else comes is looked at no further.
const ANSWER_BYTES_MAX: usize = 64;
/// UNIMPLEMENTED: so answers a server without that service, and it answers (gRPC status codes).
const UNIMPLEMENTED: &[u8] = b"12";

/// Asks over `stream`.
pub(super) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    host: &str,
) -> Result<(), String> {
    let broken = |error: h2::Error| format!("{path}: {error}");
    let (sender, connection) = h2::client::handshake(stream).await.map_err(broken)?;
    let connection = tokio::spawn(connection);
    let sender = sender.ready().await.map_err(broken);
    let answer = match sender {
        Ok(sender) if path == GRPC_HEALTH => call(sender, host).await,
        Ok(sender) => get(sender, path, host).await,
        Err(error) => Err(error),
    };
    connection.abort();
    answer
}

async fn get(mut sender: SendRequest<Bytes>, path: &str, host: &str) -> Result<(), String> {
    let broken = |error: h2::Error| format!("GET {path}: {error}");
    let (response, _) = sender.send_request(request(Method::GET, path, host)?, true).map_err(broken)?;
    let status = response.await.map_err(broken)?.status();
    if status.is_server_error() { Err(format!("GET {path} answered {status}")) } else { Ok(()) }
}

async fn call(mut sender: SendRequest<Bytes>, host: &str) -> Result<(), String> {
    let broken = |error: h2::Error| format!("{GRPC_HEALTH}: {error}");
    let mut question = request(Method::POST, GRPC_HEALTH, host)?;
    let headers = question.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/grpc"));
    headers.insert(TE, hyper::header::HeaderValue::from_static("trailers"));
    let (response, mut send) = sender.send_request(question, false).map_err(broken)?;
    send.send_data(Bytes::from_static(&EMPTY), true).map_err(broken)?;
    let (head, body) = response.await.map_err(broken)?.into_parts();
    if !head.status.is_success() {
        return Err(format!("{GRPC_HEALTH} answered {}", head.status));
    }
    let (message, trailers) = rest(body).await.map_err(broken)?;
    // Without a message the status stands in the only head.
    judge(&message, if trailers.is_empty() { &head.headers } else { &trailers })
}

fn request(method: Method, path: &str, host: &str) -> Result<Request<()>, String> {
    let request = Request::builder().method(method).uri(format!("http://{host}{path}"));
    let request = request.header(USER_AGENT, "mainstay-health").header("x-forwarded-host", host);
    request.body(()).map_err(|error| format!("the health path {path:?} is no path: {error}"))
}

async fn rest(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut message = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        message.extend_from_slice(&piece[..piece.len().min(ANSWER_BYTES_MAX.saturating_sub(message.len()))]);
    }
    Ok((message, body.trailers().await?.unwrap_or_default()))
}

fn judge(message: &[u8], end: &HeaderMap) -> Result<(), String> {
    let status = end.get("grpc-status").map(hyper::header::HeaderValue::as_bytes);
    match status {
        None => Err(format!("{GRPC_HEALTH} was not answered by gRPC")),
        Some(b"0") if message != SERVING => Err(format!("{GRPC_HEALTH} answered that it does not serve")),
        Some(b"0" | UNIMPLEMENTED) => Ok(()),
        Some(status) => Err(format!("{GRPC_HEALTH} answered with status {}", String::from_utf8_lossy(status))),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn verdicts() {
        let said = |message: &[u8], status: Option<&'static str>| {
            let end = status.map(|status| ("grpc-status".parse().unwrap(), HeaderValue::from_static(status)));
            judge(message, &end.into_iter().collect())
        };
        assert!(said(&SERVING, Some("0")).is_ok());
        assert!(said(b"", Some("12")).is_ok(), "a server that has no such service");
        assert!(said(&[0, 0, 0, 0, 2, 8, 2], Some("0")).unwrap_err().contains("does not serve"));
        assert!(said(b"", Some("0")).unwrap_err().contains("does not serve"));
        assert!(said(b"", Some("14")).unwrap_err().contains("status 14"));
        assert!(said(b"", None).unwrap_err().contains("not answered by gRPC"));
    }
}
