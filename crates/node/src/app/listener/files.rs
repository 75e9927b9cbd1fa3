//! A file of a PHP codebase that came this far: usually the web tier has served it already.

use std::path::Path;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::answer::{Answer, Broken, Piped, page, whole};

/// What is read and sent at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for a slow visitor.
const PIECES_MAX: usize = 2;

/// The types that browsers must be told (WHATWG MIME Sniffing); anything else is a download.
const TYPES: [(&str, &str); 20] = [
    ("avif", "image/avif"),
    ("css", "text/css; charset=utf-8"),
    ("gif", "image/gif"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xml", "text/xml; charset=utf-8"),
];

/// The file at `path`, whose modification time stands for its version. `head`: without the body.
pub(super) async fn serve(path: &Path, head: bool) -> Response<Answer> {
    match open(path).await {
        Ok((file, length, modified)) => {
            let mut answer = Response::builder()
                .header(CONTENT_TYPE, kind(path))
                .header(CONTENT_LENGTH, length)
                .header(X_CONTENT_TYPE_OPTIONS, "nosniff");
            if let Some(modified) = modified {
                answer = answer.header(LAST_MODIFIED, httpdate::fmt_http_date(modified));
            }
            let body = if head { whole("") } else { stream(file) };
            answer.body(body).unwrap_or_else(|_| page(StatusCode::INTERNAL_SERVER_ERROR, "This file cannot be sent."))
        }
        Err(_) => page(StatusCode::NOT_FOUND, "There is no such page."),
    }
}

async fn open(path: &Path) -> std::io::Result<(File, u64, Option<std::time::SystemTime>)> {
    let file = File::open(path).await?;
    let found = file.metadata().await?;
    if !found.is_file() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    Ok((file, found.len(), found.modified().ok()))
}

fn stream(mut file: File) -> Answer {
    let (pieces, piped) = mpsc::channel::<Result<Bytes, Broken>>(PIECES_MAX);
    tokio::spawn(async move {
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let read = file.read_buf(&mut piece).await;
            let sent = match read {
                Ok(0) => return,
                Ok(_) => pieces.send(Ok(piece.into())).await,
                Err(error) => pieces.send(Err(error.into())).await,
            };
            if sent.is_err() {
                return;
            }
        }
    });
    Piped(piped).boxed_unsync()
}

fn kind(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let known = TYPES.iter().find(|(is, _)| extension.eq_ignore_ascii_case(is));
    known.map_or("application/octet-stream", |(_, kind)| kind)
}
