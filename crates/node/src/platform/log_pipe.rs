//! Standard error as a log stream that never blocks its writer.
//!
//! The other end is the supervisor. While there is none (it was killed; the pipe is kept open by its parent) or it is
//! stopped, a full pipe must cost log lines and not requests. The pipe itself stays blocking, since foreign programs
//! that inherit it do not expect `EAGAIN` there.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Lines that found the pipe full since the last that got through.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Writes whole lines to standard error, or drops them when it is full.
///
/// Another writer of the same pipe can fill it between the question and the write; the write then waits for it to be
/// read. That is rare (a pipe counts as writable only with a page free) and ends with the next supervisor.
pub struct Writer;

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !writable() {
            LOST.fetch_add(1, Ordering::Relaxed);
            return Ok(line.len());
        }
        let lost = LOST.swap(0, Ordering::Relaxed);
        let mut stderr = io::stderr().lock();
        if lost > 0 {
            writeln!(stderr, r#"{{"level":"WARN","message":"{lost} log lines lost: nobody read them"}}"#)?;
        }
        stderr.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn writable() -> bool {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}
