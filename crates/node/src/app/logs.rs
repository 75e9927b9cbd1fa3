//! What workers print: passed on line by line, the last lines kept for the report.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// A longer line is cut into pieces: nobody can make the log's reader hold more.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Lines kept for the report: the end of a traceback.
const TAIL_LINES: usize = 6;
/// Of each kept line: the report is read by people and asked for every second.
const TAIL_LINE_BYTES_MAX: usize = 300;

/// The last lines of a process's output.
#[derive(Clone, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        let end = (0..=line.len().min(TAIL_LINE_BYTES_MAX)).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line[..end].to_owned());
    }

    /// The kept lines in one, for a table's cell.
    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// Copies `stream` to our own standard error until it ends, each line marked with `who`; a JSON object is left as it
/// is, so that structured logs of the codebase stay structured.
pub(super) async fn pass_on(stream: impl AsyncRead + Unpin, who: String, tail: Tail) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                tail.push(&text);
                // Nobody reads the log any more: the worker must go on all the same.
                let _ = std::io::stderr().lock().write_all(marked(&who, &text).as_bytes());
            }
        }
    }
}

fn marked(who: &str, line: &str) -> String {
    let line = line.trim_end();
    if line.starts_with('{') && line.ends_with('}') { format!("{line}\n") } else { format!("{who}: {line}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_marked_and_objects_kept() {
        assert_eq!(marked("worker 0", "GET / 200\n"), "worker 0: GET / 200\n");
        assert_eq!(marked("worker 0", "{\"a\":1}\r\n"), "{\"a\":1}\n");
        assert_eq!(marked("worker 0", "{broken"), "worker 0: {broken\n");
    }

    #[test]
    fn the_tail_is_bounded_in_both_directions() {
        let tail = Tail::default();
        for number in 0..100 {
            tail.push(&format!("{number} {}", "ä".repeat(1000)));
            tail.push("  ");
        }
        let text = tail.text();
        assert!(text.len() <= TAIL_LINES * (TAIL_LINE_BYTES_MAX + 3));
        assert!(text.starts_with("94 ") && text.contains(" | 99 "));
    }
}
