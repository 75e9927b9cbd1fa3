//! A service's log stream: from its pipe into `log/SERVICE.log`, and into memory for those who ask for the last words.
//!
//! A line that is a JSON object becomes `{"time":…,"service":…,"record":{…}}`, any other `{…,"line":"…"}`. Access records
//! ([`ACCESS`], [`AS_IT_IS`]) have a time of their own and go into the file as they are: there is one for every request. The file is
//! bounded by rotation ([`rotation`](super::rotation)). A full disk costs log lines and nothing else: they stay in
//! memory while they last, the loss is counted, recorded once there is room, and said in the status meanwhile.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_site::names::ServiceName;
use rustix::io::Errno;
use serde::de::IgnoredAny;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::rotation::RotatingFile;
use crate::clock::{Utc, unix_ms};

/// Bytes of a line; what is longer is cut into lines. Far above any sensible record, far below what would hurt in memory.
const LINE_BYTES: usize = 16 << 10;

/// Bytes and lines that are remembered per service: some screens full.
const MEMORY_BYTES: usize = 128 << 10;
/// See [`MEMORY_BYTES`].
const MEMORY_LINES: usize = 500;

/// Bytes read from the pipe before other work has its turn: a service that floods its log must not delay the restart of
/// another.
const TURN_BYTES: usize = 256 << 10;

/// How an access record of `mainstay-http` begins.
const ACCESS: &[u8] = b"{\"access\":true,";

/// Before an access record in a format that is not ours: it goes into the file without this byte.
const AS_IT_IS: u8 = 0x1f;

/// Room in the pipe: what four cores that do nothing but answer write between two looks.
const PIPE_BYTES: usize = 4 << 20;
/// What the kernel gives whoever may not have more (`/proc/sys/fs/pipe-max-size`).
const PIPE_BYTES_UNASKED: usize = 1 << 20;

/// The longest pause after a look into the pipe, so that a busy service costs twenty looks a second and not one for each of its lines.
/// The pipe is not watched meanwhile: epoll would wake this process for every write (2,000 a second beside a busy balancer), for
/// nothing.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// After the first line in a while, which may be the first of very many: a core that does nothing but answer fills a third of the
/// smaller pipe meanwhile.
const PAUSE_FIRST: Duration = Duration::from_millis(8);
/// See [`paced`].
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// How far back an error is looked for among the last lines of a dead process: behind it come at most the farewells of
/// its workers.
const ERROR_WITHIN: usize = 10;

/// The stream of one service. Its pipe outlives the processes that write into it.
pub(super) struct Journal {
    service: ServiceName,
    pipe: OwnedFd,
    writer: OwnedFd,
    inner: Mutex<Inner>,
}

struct Inner {
    partial: Vec<u8>,
    /// The raw last lines.
    memory: VecDeque<String>,
    memory_bytes: usize,
    /// Lines ever seen.
    seen: u64,
    file: RotatingFile,
    /// Records that found no room, and why.
    lost: u64,
    trouble: Option<String>,
}

impl Journal {
    /// A stream over the pipe `ends` (reading, writing), or over a new pipe.
    ///
    /// # Errors
    /// If the machine gives no pipe. That the file cannot be opened is no error but a [`Journal::trouble`].
    pub(super) fn open(
        service: &ServiceName,
        folder: &Path,
        ends: Option<(OwnedFd, OwnedFd)>,
    ) -> io::Result<Arc<Journal>> {
        let (reader, writer) = match ends {
            Some(ends) => ends,
            None => rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?,
        };
        rustix::io::ioctl_fionbio(&reader, true)?;
        // A machine that is short of memory for pipes gives what it has; lines are lost sooner then, and counted.
        let _ = rustix::pipe::fcntl_setpipe_size(&reader, PIPE_BYTES)
            .or_else(|_| rustix::pipe::fcntl_setpipe_size(&reader, PIPE_BYTES_UNASKED));
        let file = RotatingFile::new(folder.join(format!("{service}.log")));
        Ok(Arc::new(Journal {
            service: service.clone(),
            pipe: reader,
            writer,
            inner: Mutex::new(Inner {
                partial: Vec::new(),
                memory: VecDeque::new(),
                memory_bytes: 0,
                seen: 0,
                file,
                lost: 0,
                trouble: None,
            }),
        }))
    }

    /// Where the service writes.
    pub(super) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// The end that is read.
    pub(super) fn reader(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Reads for ever. The pipe does not end, since we hold its writing end too. Needs a tokio runtime.
    pub(super) async fn run(self: Arc<Self>) {
        let room = rustix::pipe::fcntl_getpipe_size(&self.pipe).unwrap_or(PIPE_BYTES_UNASKED);
        let mut pause = PAUSE_MAX;
        loop {
            let empty = Instant::now();
            // A machine that cannot watch one more descriptor is looked at without.
            let _ = self.filled().await;
            let first = empty.elapsed() >= PAUSE_MAX;
            let mut taken = 0;
            while !self.look(&mut taken) {
                tokio::task::yield_now().await;
            }
            pause = if first { PAUSE_FIRST } else { paced(pause, taken, room) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until there is something in the pipe.
    async fn filled(&self) -> io::Result<()> {
        // SAFETY: a `BorrowedFd` answers with the same open descriptor for as long as it lives, and nobody replaces what is behind
        // it.
        let watched = unsafe { AsyncFd::register_with_interest(self.pipe.as_fd(), Interest::READABLE)? };
        watched.readable().await?.retain_ready();
        Ok(())
    }

    /// Takes what is in the pipe now, but not more than is fair.
    pub(super) fn pump(&self) {
        self.look(&mut 0);
    }

    /// The same, and adds to `bytes` how much it took; returns whether that was all.
    fn look(&self, bytes: &mut usize) -> bool {
        let mut buffer = [0; 64 << 10];
        let mut records = Vec::new();
        let mut taken = 0;
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let drained = loop {
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(count @ 1..) => {
                    taken += count;
                    inner.split(&self.service, &buffer[..count], &mut records);
                }
                Err(Errno::INTR) => {}
                // Nothing now, or nothing ever.
                Ok(_) | Err(_) => break true,
            }
            if taken >= TURN_BYTES {
                break false;
            }
        };
        inner.write(&self.service, &records);
        *bytes += taken;
        drained
    }

    /// How many lines there were until now: a mark for [`Journal::last_words`].
    pub(super) fn seen(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).seen
    }

    /// Why the file is not written, if it is not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }

    /// What the service said last since `mark`: its last error if that was not long before the end, else the last line.
    pub(super) fn last_words(&self, mark: u64) -> Option<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let since = usize::try_from(inner.seen.saturating_sub(mark)).unwrap_or(usize::MAX);
        let mut recent = inner.memory.iter().rev().take(since).filter_map(|line| message(line));
        let last = recent.next()?;
        if last.1 {
            return Some(last.0);
        }
        let error = recent.take(ERROR_WITHIN).find(|(_, error)| *error);
        Some(error.unwrap_or(last).0)
    }

    /// The last `count` lines as they came.
    pub(super) fn last_lines(&self, count: usize) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // While the file cannot be written, memory has what it lacks.
        let from_file = if inner.trouble.is_none() { inner.file.tail(count) } else { None };
        from_file.unwrap_or_else(|| {
            let skip = inner.memory.len().saturating_sub(count);
            inner.memory.iter().skip(skip).flat_map(|line| [line.as_str(), "\n"]).collect()
        })
    }
}

/// The pause after a look that found `taken` bytes after `pause`: as long as fills a quarter of the pipe at that rate. One that was
/// full may have come much faster; then the pauses shrink from look to look.
fn paced(pause: Duration, taken: usize, room: usize) -> Duration {
    let quarters = (4 * taken).max(1) as f64 / room as f64;
    Duration::try_from_secs_f64(pause.as_secs_f64() / quarters).unwrap_or(PAUSE_MAX).clamp(PAUSE_MIN, PAUSE_MAX)
}

impl Inner {
    /// Makes records of whole lines, and keeps the beginning of the next.
    fn split(&mut self, service: &ServiceName, mut bytes: &[u8], records: &mut Vec<u8>) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.partial.is_empty() {
                let accesses = self.accesses(bytes, records);
                if accesses > 0 {
                    bytes = &bytes[accesses..];
                    continue;
                }
                self.line(service, &bytes[..end], records);
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(&bytes[..end]);
                self.line(service, &line, records);
            }
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() >= LINE_BYTES {
            let line = std::mem::take(&mut self.partial);
            self.line(service, &line, records);
        }
    }

    /// Takes the access records of ours that `bytes` begins with, in one piece; how many bytes that is. Beside a busy service
    /// nearly everything is such.
    fn accesses(&mut self, bytes: &[u8], records: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        while bytes[taken..].starts_with(ACCESS)
            && let Some(end) = memchr::memchr(b'\n', &bytes[taken..])
        {
            taken += end + 1;
            self.seen += 1;
        }
        records.extend_from_slice(&bytes[..taken]);
        taken
    }

    fn line(&mut self, service: &ServiceName, line: &[u8], records: &mut Vec<u8>) {
        if let Some(access) = access(line) {
            self.seen += 1;
            records.extend_from_slice(access);
            return records.push(b'\n');
        }
        let line = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
        if line.is_empty() {
            return;
        }
        record(records, service, &line);
        self.seen += 1;
        self.memory_bytes += line.len();
        self.memory.push_back(line);
        while self.memory.len() > MEMORY_LINES || self.memory_bytes > MEMORY_BYTES {
            let gone = self.memory.pop_front().map_or(0, |line| line.len());
            self.memory_bytes -= gone;
        }
    }

    fn write(&mut self, service: &ServiceName, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        let result = match self.lost {
            0 => self.file.append(records),
            lost => {
                let mut text = Vec::new();
                record(
                    &mut text,
                    service,
                    &format!(r#"{{"level":"WARN","message":"{lost} log lines lost: the file could not be written"}}"#),
                );
                text.extend_from_slice(records);
                self.file.append(&text)
            }
        };
        match result {
            Ok(()) => (self.lost, self.trouble) = (0, None),
            Err(error) => {
                self.lost += memchr::memchr_iter(b'\n', records).count() as u64;
                self.trouble = Some(format!("{}: {error}", self.file.path().display()));
            }
        }
    }
}

/// What an access record says; `None` for other lines.
fn access(line: &[u8]) -> Option<&[u8]> {
    if line.starts_with(ACCESS) {
        return Some(line);
    }
    line.split_first().filter(|(first, _)| **first == AS_IT_IS).map(|(_, rest)| rest)
}

/// Appends the record of a line.
fn record(out: &mut Vec<u8>, service: &ServiceName, line: &str) {
    let object = line.starts_with('{') && serde_json::from_str::<IgnoredAny>(line).is_ok();
    // Text always has a JSON form.
    let said = if object { line.to_owned() } else { serde_json::to_string(line).unwrap_or_default() };
    let kind = if object { "record" } else { "line" };
    let time = Utc(unix_ms());
    out.extend_from_slice(format!("{{\"time\":\"{time}\",\"service\":\"{service}\",\"{kind}\":{said}}}\n").as_bytes());
}

/// What a line says, and whether that is an error; `None` for records that are no message, such as those of accesses.
fn message(line: &str) -> Option<(String, bool)> {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(line) else {
        return Some((line.to_owned(), false));
    };
    let message = object.get("message")?.as_str()?.to_owned();
    Some((message, object.get("level").and_then(|level| level.as_str()) == Some("ERROR")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(folder: &Path) -> Arc<Journal> {
        Journal::open(&"web".into(), folder, None).unwrap()
    }

    fn say(journal: &Journal, text: &str) {
        rustix::io::write(journal.writer(), text.as_bytes()).unwrap();
        journal.pump();
    }

    /// Whatever the rate, the pipe is never full again once the pauses follow it, and nobody looks oftener than is of use.
    #[test]
    fn pauses_follow_what_comes() {
        for bytes_a_second in [0, 2_000_000, 20_000_000, 200_000_000, 1_000_000_000] {
            let (mut pause, mut looks, mut seconds) = (PAUSE_MAX, 0, 0.0);
            while seconds < 1.0 {
                let came = (bytes_a_second as f64 * pause.as_secs_f64()) as usize;
                assert!(came < PIPE_BYTES || looks < 5, "{came} bytes at once after {looks} looks");
                pause = paced(pause, came.min(PIPE_BYTES), PIPE_BYTES);
                (looks, seconds) = (looks + 1, seconds + pause.as_secs_f64());
            }
            let of_use = 20.max(bytes_a_second / (PIPE_BYTES / 4)) + 10;
            assert!(looks <= of_use, "{looks} looks at {bytes_a_second} bytes a second");
        }
    }

    #[tokio::test]
    async fn records_objects_and_text() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path());
        say(&journal, "{\"level\":\"INFO\"}\nplain \"text\"\nhalf");
        let file = std::fs::read_to_string(folder.path().join("web.log")).unwrap();
        let records: Vec<serde_json::Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0]["record"]["level"], "INFO");
        assert_eq!(records[1]["line"], "plain \"text\"");
        assert_eq!(records[1]["service"], "web");
        assert_eq!(journal.last_lines(1), file.lines().last().unwrap().to_owned() + "\n");
    }

    #[tokio::test]
    async fn accesses_go_into_the_file_as_they_are_and_are_no_words() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path());
        say(&journal, "{\"access\":true,\"n\":1}\nword\n{\"access\":true,");
        say(&journal, "\"n\":2}\n\u{1f}::1 - - [");
        say(&journal, "] 200\n");
        let file = std::fs::read_to_string(folder.path().join("web.log")).unwrap();
        let lines: Vec<&str> = file.lines().collect();
        assert_eq!((lines[0], lines[2]), (r#"{"access":true,"n":1}"#, r#"{"access":true,"n":2}"#));
        assert_eq!(lines[3], "::1 - - [] 200");
        assert_eq!(journal.last_words(0).as_deref(), Some("word"));
    }

    #[tokio::test]
    async fn last_words_prefer_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path());
        say(&journal, "old\n");
        let mark = journal.seen();
        assert_eq!(journal.last_words(mark), None);
        say(&journal, "{\"level\":\"ERROR\",\"message\":\"no disk\"}\nbye\n{\"access\":true}\n");
        assert_eq!(journal.last_words(mark).as_deref(), Some("no disk"));
        assert_eq!(journal.last_words(0).as_deref(), Some("no disk"));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_costs_lines_only() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let journal = journal(&gone);
        say(&journal, "one\ntwo\n");
        assert!(journal.trouble().unwrap().contains("gone/web.log"));
        assert_eq!(journal.last_lines(5), "one\ntwo\n");
        std::fs::create_dir(&gone).unwrap();
        say(&journal, "three\n");
        assert_eq!(journal.trouble(), None);
        let file = std::fs::read_to_string(gone.join("web.log")).unwrap();
        assert!(file.contains("2 log lines lost") && file.contains("three"), "{file}");
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path());
        let mut inner = journal.inner.lock().unwrap();
        let (service, mut records) = ("web".into(), Vec::new());
        inner.split(&service, &vec![b'x'; 1 << 20], &mut records);
        for _ in 0..2000 {
            inner.split(&service, b"0123456789\n", &mut records);
        }
        assert!(inner.memory.len() <= MEMORY_LINES && inner.memory_bytes <= MEMORY_BYTES);
        assert!(inner.partial.len() < LINE_BYTES);
    }
}
