//! Runs a command to its end: line by line to whoever watches, with a deadline, keeping the last lines.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::error::Error;

/// What an error shows of a command's output: enough for a Python traceback's end, little enough for a terminal.
pub(super) const TAIL_LINES: usize = 20;
/// Lines that wait for a slow watcher; the command then waits too.
const LINES_WAITING_MAX: usize = 256;

/// How a command ended.
pub(super) struct Ended {
    /// Whether it succeeded.
    pub success: bool,
    /// Its last lines.
    pub tail: String,
}

/// Runs `command` with at most `limit` time; `line` sees each line of its output and errors.
pub(super) fn run(mut command: Command, limit: Duration, line: &mut dyn FnMut(&str)) -> Result<Ended, Error> {
    let shown = show(&command);
    let failed = |tail: String| Error::Command { command: shown.clone(), tail };
    let (output, input) = pipe().map_err(|error| failed(error.to_string()))?;
    let errors = input.try_clone().map_err(|error| failed(error.to_string()))?;
    command.stdin(Stdio::null()).stdout(input).stderr(errors);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    // It holds the pipe's writing end too: the lines would never end.
    drop(command);
    let lines = lines(output);
    let mut tail = VecDeque::new();
    if !drain(&lines, Instant::now() + limit, &mut tail, line) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::TimedOut { command: shown, limit, tail: join(tail) });
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    Ok(Ended { success: status.success(), tail: join(tail) })
}

/// Passes lines on until both streams end (`true`) or the deadline comes (`false`).
fn drain(lines: &Receiver<String>, until: Instant, tail: &mut VecDeque<String>, line: &mut dyn FnMut(&str)) -> bool {
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                line(&text);
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(text);
            }
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

/// One pipe for output and errors, so that they stay in order.
fn lines(stream: PipeReader) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_WAITING_MAX);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}

fn join(tail: VecDeque<String>) -> String {
    Vec::from(tail).join("\n")
}

/// The command as one would type it.
fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Result<Ended, Error>, Vec<String>) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let mut seen = Vec::new();
        let ended = run(command, limit, &mut |line| seen.push(line.to_owned()));
        (ended, seen)
    }

    #[test]
    fn lines_are_seen_and_the_last_ones_kept() {
        let (ended, seen) = shell("seq 100; echo wrong >&2; exit 3", Duration::from_secs(10));
        let ended = ended.unwrap();
        assert!(!ended.success);
        assert_eq!(seen.len(), 101);
        assert_eq!(ended.tail.lines().count(), TAIL_LINES);
        assert!(ended.tail.contains("wrong"));
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let (ended, _) = shell("echo begun; exec sleep 60", Duration::from_millis(300));
        assert!(matches!(ended, Err(Error::TimedOut { tail, .. }) if tail == "begun"));
    }
}
