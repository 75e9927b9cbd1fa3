//! The access log: a JSON object a request, written off the path of requests.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::codec::Request;
use crate::counters::{Counters, count};

/// Lines that may wait for the writer: a second of 4,000 requests. What does not fit is dropped and counted, since a
/// slow log must not slow the site.
const WAITING_MAX: usize = 4096;

/// Where lines go.
#[derive(Clone)]
pub(crate) struct AccessLog(SyncSender<String>);

/// One request's line.
pub(crate) struct Entry<'a> {
    pub(crate) client: &'a str,
    pub(crate) id: &'a str,
    pub(crate) request: &'a Request,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// Who answered; empty for an answer of our own.
    pub(crate) backend: &'a str,
    pub(crate) tries: u32,
}

impl AccessLog {
    /// Starts the writer; it ends when the last clone is dropped.
    pub(crate) fn start() -> std::io::Result<AccessLog> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        std::thread::Builder::new().name("access-log".into()).spawn(move || write_lines(&receiver))?;
        Ok(AccessLog(sender))
    }

    pub(crate) fn log(&self, entry: &Entry<'_>, counters: &Counters) {
        if self.0.try_send(entry.line()).is_err() {
            count(&counters.log_drops);
        }
    }
}

/// Waits for one line, then writes all that are there in one piece.
fn write_lines(lines: &Receiver<String>) {
    while let Ok(mut text) = lines.recv() {
        text.extend(lines.try_iter().take(WAITING_MAX));
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

impl Entry<'_> {
    fn line(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = format!("{{\"access\":true,\"time_ms\":{},\"client\":", now.as_millis());
        quoted(&mut line, self.client);
        for (name, value) in [
            ("id", self.id),
            ("method", self.request.method_name()),
            ("host", self.request.authority()),
            ("target", self.request.target()),
            ("backend", self.backend),
        ] {
            let _ = write!(line, ",\"{name}\":");
            quoted(&mut line, value);
        }
        let (status, bytes, took, tries) = (self.status, self.bytes, self.took.as_micros(), self.tries);
        let _ = writeln!(line, ",\"status\":{status},\"bytes\":{bytes},\"took_us\":{took},\"tries\":{tries}}}");
        line
    }
}

/// Appends a JSON string (RFC 8259 § 7).
fn quoted(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(line, "\\u{:04x}", control as u32);
            }
            other => line.push(other),
        }
    }
    line.push('"');
}
