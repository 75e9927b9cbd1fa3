//! Answers of our own, and bodies.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use super::pool::Lease;

/// Why a body broke off.
pub(super) type Broken = Box<dyn std::error::Error + Send + Sync>;
/// The body of every answer.
pub(super) type Answer = http_body_util::combinators::UnsyncBoxBody<Bytes, Broken>;

/// A short text as a whole body.
pub(super) fn whole(text: impl Into<Bytes>) -> Answer {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A page for a visitor, saying what is wrong in a sentence; the reason in full is in the log.
pub(super) fn page(status: StatusCode, sentence: &str) -> Response<Answer> {
    let reason = status.canonical_reason().unwrap_or_default();
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{code} {reason}</title>\
         <body style=\"font:16px system-ui;max-width:36rem;margin:20vh auto;padding:0 1rem\">\
         <h1>{reason}</h1><p>{sentence}</p></html>\n",
        code = status.as_u16()
    );
    let mut answer = Response::new(whole(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    answer
}

/// A line of plain text.
pub(super) fn line(status: StatusCode, text: &'static str) -> Response<Answer> {
    let mut answer = Response::new(whole(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

/// A body that keeps its worker's place until it ends.
pub(super) struct Leased<B> {
    /// The worker's answer.
    pub body: B,
    /// The place.
    pub lease: Option<Lease>,
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Leased<B> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() {
            self.lease = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Broken::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that comes through a channel; an error in it breaks the answer off, so that nobody takes it for whole.
pub(super) struct Piped(pub mpsc::Receiver<Result<Bytes, Broken>>);

impl Body for Piped {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
