//! What MariaDB writes to its standard error: passed on to our log stream, the last of it kept as the reason of a crash.
//!
//! It is a file and not our own standard error, so that the lines of a server that dies at its start can be named; how
//! far it was read is noted beside it, so that what was written while no role lived is passed on by the next.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};

use super::places::Places;
use crate::platform::process::Exit;

/// Lines that are kept for a reason.
const KEPT: usize = 40;
/// Lines that make a cause.
const CAUSE_LINES: usize = 3;
/// The file is emptied above this size, once read. A line written in that very moment is lost.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Read at once; the rest comes with the next turn.
const READ_BYTES_MAX: u64 = 256 << 10;

/// The reader.
pub struct Errors {
    places: Places,
    read: u64,
    partial: Vec<u8>,
    kept: VecDeque<String>,
}

impl Errors {
    /// Goes on where the reader before stopped.
    pub fn new(places: &Places) -> Errors {
        let read = fs::read_to_string(&places.errors_read).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Errors { places: places.clone(), read, partial: Vec::new(), kept: VecDeque::new() }
    }

    /// Passes on what is new.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn forward(&mut self) -> io::Result<()> {
        let mut file = match File::open(&self.places.errors) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let length = file.metadata()?.len();
        // Shorter than what was read: somebody emptied it.
        self.read = if length < self.read { 0 } else { self.read };
        if length == self.read {
            return self.empty_if_large(length);
        }
        file.seek(SeekFrom::Start(self.read))?;
        let count = file.take(READ_BYTES_MAX).read_to_end(&mut self.partial)?;
        self.read += count as u64;
        self.pass_on_lines();
        // The beginning of a line is read again by the next reader, which does not have it.
        fs::write(&self.places.errors_read, (self.read - self.partial.len() as u64).to_string())
    }

    /// Forgets the lines of an earlier process.
    pub fn begin(&mut self) {
        self.kept.clear();
    }

    /// How it ended, and what its last lines say went wrong.
    pub fn cause(&self, exit: Exit) -> String {
        let last_words = cause(self.kept.iter().map(String::as_str));
        if last_words.is_empty() {
            format!("mariadbd {exit}")
        } else {
            format!("mariadbd {exit}; its last words: {last_words}")
        }
    }

    fn pass_on_lines(&mut self) {
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = message(&String::from_utf8_lossy(&line)).to_owned();
            log(&line);
            self.kept.push_back(line);
            self.kept.drain(..self.kept.len().saturating_sub(KEPT));
        }
    }

    fn empty_if_large(&mut self, length: u64) -> io::Result<()> {
        if length <= FILE_BYTES_MAX {
            return Ok(());
        }
        OpenOptions::new().write(true).open(&self.places.errors)?.set_len(0)?;
        self.read = 0;
        fs::write(&self.places.errors_read, "0")
    }
}

/// Of MariaDB's lines those that are marked as errors, or else bear no mark, without what it says at every end. The first
/// errors name the cause, the last one what it came to.
pub fn cause<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut lines: Vec<&str> =
        lines.map(message).filter(|line| !line.is_empty() && *line != "[ERROR] Aborting").collect();
    lines.dedup();
    let plain = |line: &str| !line.starts_with('[') && !line.starts_with("Version:");
    let marked = lines.iter().any(|line| line.contains("[ERROR]"));
    lines.retain(|line| if marked { line.contains("[ERROR]") } else { plain(line) });
    if lines.len() > CAUSE_LINES {
        lines.drain(CAUSE_LINES - 1..lines.len() - 1);
    }
    lines.join(" | ")
}

/// MariaDB rings the bell before its first lines.
const BELL_AND_SPACE: [char; 4] = ['\x07', ' ', '\r', '\n'];

/// Without the time and the thread that MariaDB puts in front: `2026-11-21  2:10:26 0 [Note] …`.
fn message(line: &str) -> &str {
    let line = line.trim_matches(BELL_AND_SPACE);
    line.find(" [").map_or(line, |at| if line.starts_with("20") { &line[at + 1..] } else { line })
}

fn log(line: &str) {
    if line.starts_with("[ERROR]") {
        tracing::error!(target: "mariadbd", "{line}");
    } else if line.starts_with("[Warning]") {
        tracing::warn!(target: "mariadbd", "{line}");
    } else if !line.is_empty() {
        tracing::info!(target: "mariadbd", "{line}");
    }
}

/// What to do about a cause that is known.
pub fn remedy(cause: &str) -> &'static str {
    const KNOWN: [(&str, &str); 9] = [
        ("already in use", "another process listens there: find it with `ss -ltnp` and stop it, or change the port"),
        ("No space left", "the disk is full: free space on the file system of the data directory"),
        ("Errcode: 28", "the disk is full: free space on the file system of the data directory"),
        ("error 28", "the disk is full: free space on the file system of the data directory"),
        ("Permission denied", "the data directory must belong to the database's user"),
        ("Errcode: 13", "the data directory must belong to the database's user"),
        ("Cannot assign requested address", "this server does not have the address that its plan gives it"),
        ("Unable to lock", "another mariadbd uses the same data directory: stop that one"),
        ("upgrade after a crash", "the data directory is of another version of MariaDB: start that version once"),
    ];
    let known = KNOWN.iter().find(|(mark, _)| cause.contains(mark));
    known.map_or("the log of this service has more", |(_, remedy)| remedy)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn time_and_thread_are_left_out() {
        let line = "2026-11-21  2:10:26 0 [ERROR] Can't start server: Bind on TCP/IP port: Address already in use";
        assert!(message(line).starts_with("[ERROR] Can't start"));
        assert_eq!(message("Version: '10.11' [x]"), "Version: '10.11' [x]");
        assert!(remedy(line).contains("ss -ltnp"));
        assert!(remedy("whatever").contains("log of this service"));
    }

    #[test]
    fn the_cause_is_what_went_wrong_and_not_what_is_always_said() {
        let cause = |lines: &[&str]| cause(lines.iter().copied());
        assert_eq!(
            cause(&["[Note] x", "mariadbd: Can't change dir", "[ERROR] Aborting"]),
            "mariadbd: Can't change dir"
        );
        assert_eq!(cause(&["[ERROR] Can't lock", "plain", "[ERROR] Aborting"]), "[ERROR] Can't lock");
        assert_eq!(cause(&["2026-11-21  3:06:15 13 [ERROR] full", "[ERROR] full"]), "[ERROR] full");
        assert_eq!(cause(&["[ERROR] 1", "[ERROR] 2", "[ERROR] 3", "[ERROR] 4"]), "[ERROR] 1 | [ERROR] 2 | [ERROR] 4");
        assert_eq!(cause(&["[Warning] Aborted connection", "Version: '10.11'"]), "", "a kill has no last words");
    }

    #[test]
    fn goes_on_where_the_reader_before_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::in_folder(folder.path());
        fs::write(&places.errors, "one\n[ERROR] two\nthr").unwrap();
        let mut errors = Errors::new(&places);
        errors.forward().unwrap();
        assert_eq!(errors.cause(Exit::Code(1)), "mariadbd ended with exit code 1; its last words: [ERROR] two");
        fs::write(&places.errors, "one\n[ERROR] two\nthree\nfour\n").unwrap();
        errors.forward().unwrap();
        assert_eq!(errors.kept.back().unwrap(), "four");
        let mut next = Errors::new(&places);
        next.forward().unwrap();
        assert!(next.kept.is_empty(), "all was passed on before");
        fs::write(&places.errors, "anew\n").unwrap();
        next.forward().unwrap();
        assert_eq!(next.cause(Exit::Signal(9)), "mariadbd was killed by SIGKILL; its last words: anew");
    }
}
