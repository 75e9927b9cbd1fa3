//! The access log: a line a request, as a JSON object or in nginx's `combined` format.
//!
//! Lines are gathered per core and written in pieces that a pipe takes whole (pipe(7): up to `PIPE_BUF` bytes), so that
//! cores do not tear each other's lines. A line costs a copy; a write comes once in a dozen of them, or after
//! [`FLUSH_AFTER`]. What the reader does not take is dropped and counted: a slow log must not slow the site.

mod combined;

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;

use crate::clock;
use crate::codec::{Kind, Request, append};
use crate::counters::Counters;
use crate::exchange::{Stages, micros};

/// What a pipe takes whole (`PIPE_BUF` on Linux).
const PIECE_BYTES: usize = 4096;
/// How long a line may wait for others, or a little longer (`patience`).
pub(crate) const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// How a request's line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object with all that is known.
    #[default]
    Json,
    /// nginx's and Apache's `combined`.
    Combined,
}

/// The lines of a core that are not written yet.
pub(crate) struct AccessLog {
    gathered: RefCell<Gathered>,
    /// There is something to flush.
    pub(crate) begun: Notify,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    lines: u64,
}

/// One request's line. What is empty or nothing is left out of JSON, the trace's id where it is the request's, and that there was one
/// try: every byte of a line is copied four times on its way to the disk.
pub(crate) struct Entry<'a> {
    pub(crate) client: &'a str,
    pub(crate) id: &'a str,
    pub(crate) trace: &'a [u8],
    pub(crate) request: &'a Request,
    /// Of HTTP, as the client speaks it.
    pub(crate) version: &'static str,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) stages: &'a Stages,
    pub(crate) took: Duration,
    /// Who answered; empty for an answer of our own.
    pub(crate) backend: &'a str,
    pub(crate) tries: u32,
}

impl AccessLog {
    pub(crate) fn new(counters: Arc<Counters>) -> AccessLog {
        AccessLog { gathered: RefCell::default(), begun: Notify::new(), counters }
    }

    pub(crate) fn log(&self, entry: &Entry<'_>, format: LogFormat) {
        let mut gathered = self.gathered.borrow_mut();
        let (before, now) = (gathered.bytes.len(), clock::now());
        match format {
            LogFormat::Json => entry.write(now, &mut gathered.bytes),
            LogFormat::Combined => combined::write(entry, now, &mut gathered.bytes),
        }
        if gathered.bytes.len() > PIECE_BYTES {
            let line = gathered.bytes.split_off(before);
            self.write(&mut gathered);
            gathered.bytes.extend_from_slice(&line);
        }
        gathered.lines += 1;
        if gathered.lines == 1 {
            self.begun.notify_one();
        }
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&self) {
        self.write(&mut self.gathered.borrow_mut());
    }

    fn write(&self, gathered: &mut Gathered) {
        let stderr = std::io::stderr();
        let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let room = poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0);
        if !room || stderr.lock().write_all(&gathered.bytes).is_err() {
            self.counters.log_drops.fetch_add(gathered.lines, Ordering::Relaxed);
        }
        gathered.bytes.clear();
        gathered.lines = 0;
    }
}

impl Entry<'_> {
    fn write(&self, now: SystemTime, line: &mut Vec<u8>) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        number(line, "{\"access\":true,\"time_ms\":", now.as_millis() as u64);
        plain(line, ",\"client\":\"", self.client.as_bytes());
        text(line, ",\"id\":\"", self.id.as_bytes());
        if self.trace != self.id.as_bytes() {
            plain(line, ",\"trace\":\"", self.trace);
        }
        // Method, host and target have only characters that JSON takes as they are: others are refused.
        plain(line, ",\"method\":\"", self.request.method_name().as_bytes());
        if !self.request.authority().is_empty() {
            plain(line, ",\"host\":\"", self.request.authority().as_bytes());
        }
        plain(line, ",\"target\":\"", self.request.target().as_bytes());
        plain(line, ",\"http\":\"", self.version.as_bytes());
        if !self.backend.is_empty() {
            text(line, ",\"backend\":\"", self.backend.as_bytes());
        }
        for (key, kind) in [(",\"referer\":\"", Kind::Referer), (",\"agent\":\"", Kind::UserAgent)] {
            if let Some(value) = self.request.head.only_of_kind(kind) {
                text(line, key, value);
            }
        }
        for (key, value) in [
            (",\"queue_us\":", self.stages.queue.get()),
            (",\"connect_us\":", self.stages.connect.get()),
            (",\"first_us\":", self.stages.first.get()),
            (",\"tries\":", if self.tries > 1 { u64::from(self.tries) } else { 0 }),
        ] {
            if value > 0 {
                number(line, key, value);
            }
        }
        for (key, value) in [
            (",\"status\":", u64::from(self.status)),
            (",\"bytes\":", self.bytes),
            (",\"took_us\":", micros(self.took)),
        ] {
            number(line, key, value);
        }
        line.extend_from_slice(b"}\n");
    }
}

/// Appends what stands before a number, and the number; `format!` costs some ten times as much.
fn number(line: &mut Vec<u8>, before: &str, value: u64) {
    append(line, [before.as_bytes(), itoa::Buffer::new().format(value).as_bytes()]);
}

/// Appends what stands before a JSON string, its opening quote included, and the string, which needs no escapes.
fn plain(line: &mut Vec<u8>, before: &str, value: &[u8]) {
    debug_assert!(is_plain(value), "{value:?}");
    append(line, [before.as_bytes(), value, b"\""]);
}

fn is_plain(value: &[u8]) -> bool {
    let plain = |byte: u8| !byte.is_ascii_control() & byte.is_ascii() & (byte != b'"') & (byte != b'\\');
    value.iter().fold(true, |all, byte| all & plain(*byte))
}

/// Appends what stands before a JSON string, its opening quote included, and the string (RFC 8259 § 7). Nearly every one goes
/// as it stands, which takes one look at all of its bytes at once.
fn text(line: &mut Vec<u8>, before: &str, value: &[u8]) {
    if is_plain(value) {
        return plain(line, before, value);
    }
    line.extend_from_slice(before.as_bytes());
    // A header's value may hold bytes that are no UTF-8 (RFC 9110 § 5.5), and JSON may not.
    escaped(line, &String::from_utf8_lossy(value));
    line.push(b'"');
}

fn escaped(line: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => line.extend([b'\\', byte]),
            control @ ..b' ' => line.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
            byte => line.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_strings_are_json() {
        for value in [0, 7, 10, 65_535, u64::MAX] {
            let mut line = Vec::new();
            number(&mut line, "", value);
            assert_eq!(String::from_utf8(line).unwrap(), value.to_string());
        }
        for (text, json) in [("a", r#""a""#), ("é\"\\\n\u{1}z", r#""é\"\\\u000a\u0001z""#), ("", r#""""#)] {
            let mut line = Vec::new();
            super::text(&mut line, "\"", text.as_bytes());
            assert_eq!(String::from_utf8(line).unwrap(), json);
        }
    }

    fn line(write: impl FnOnce(&Entry<'_>, SystemTime, &mut Vec<u8>)) -> String {
        let mut request = Request::default();
        let head = b"GET /a?b=c HTTP/1.1\r\nHost: h.test\r\nUser-Agent: \"x\"\xff\r\nReferer: /r\r\n\r\n";
        request.read(head, &crate::codec::HeadLimits::default()).unwrap().unwrap();
        let stages = Stages::default();
        stages.first.set(41);
        let (client, id, trace, backend, took) = ("::1", "i", b"t", "web1", Duration::from_micros(42));
        let entry = Entry {
            client,
            id,
            trace,
            request: &request,
            version: "2.0",
            status: 200,
            bytes: 7,
            stages: &stages,
            took,
            backend,
            tries: 2,
        };
        let mut line = Vec::new();
        write(&entry, UNIX_EPOCH + Duration::from_millis(971_186_136_007), &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_says_everything_in_json() {
        let json = r#"{"access":true,"time_ms":971186136007,"client":"::1","id":"i","trace":"t","method":"GET","host":"h.test","target":"/a?b=c","http":"2.0","backend":"web1","referer":"/r","agent":"\"x\"�","first_us":41,"tries":2,"status":200,"bytes":7,"took_us":42}"#;
        assert_eq!(line(|entry, now, line| entry.write(now, line)), format!("{json}\n"));
    }

    #[test]
    fn a_line_is_what_readers_of_nginx_logs_know() {
        let combined = r#"::1 - - [10/Oct/2000:13:55:36 +0000] "GET /a?b=c HTTP/2.0" 200 7 "/r" "\x22x\x22\xFF""#;
        assert_eq!(line(combined::write), format!("\u{1f}{combined}\n"));
    }
}
