//! One call of the program.

use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::platform::{program, tie};
use crate::service::Launch;

/// What a call may take. Clouds move an address within ten seconds; who takes thrice as long is tried again.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of what it says that are passed on to the log; the rest is read and dropped, so that it is not held up.
const SAID_BYTES_MAX: u64 = 64 * 1024;

/// Why a call did not do what it is for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("{program} cannot be run: {source}; it must be executable for user {user}")]
    Start { program: String, source: std::io::Error, user: u32 },
    #[error("{program} {how}{last}")]
    Ended { program: String, how: String, last: String },
    #[error("it was not called to the end: {0}")]
    Broken(String),
    #[error("{program} was killed after {} s", DEADLINE.as_secs())]
    Late { program: String },
}

/// Runs `program take ADDRESS` to its end. Dropped half-way, it kills what it started.
pub(super) async fn call(launch: &Launch, program: &str, address: IpAddr) -> Result<(), Failed> {
    let mut command = Command::new(program);
    command
        .args(["take", &address.to_string()])
        .env_clear()
        .env("PATH", program::PATH)
        .env("HOME", launch.run_folder())
        .env("MAINSTAY_SITE", launch.site.as_str())
        .env("MAINSTAY_SERVER", launch.server.as_str())
        .env("MAINSTAY_ADDRESS", address.to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    tie::ends_with_us(&mut command);
    let start = |source| Failed::Start { program: program.to_owned(), source, user: launch.service.user };
    let mut child = Group(command.spawn().map_err(start)?);
    let (out, error) = (child.0.stdout.take(), child.0.stderr.take());
    let ended = async {
        let (last, other, status) = tokio::join!(said(error), said(out), child.0.wait());
        (last.or(other), status)
    };
    let Ok((last, status)) = timeout(DEADLINE, ended).await else {
        return Err(Failed::Late { program: program.to_owned() });
    };
    let how = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => format!("ended with {status}"),
        Err(error) => format!("cannot be waited for: {error}"),
    };
    let last = last.map(|last| format!(": {last}")).unwrap_or_default();
    Err(Failed::Ended { program: program.to_owned(), how, last })
}

/// Passes on what it says, a line each; the last one.
async fn said(stream: Option<impl AsyncRead + Unpin>) -> Option<String> {
    let mut stream = stream?;
    let mut last = None;
    let mut lines = BufReader::new((&mut stream).take(SAID_BYTES_MAX)).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !line.is_empty() {
            tracing::info!("the hook says: {line}");
            last = Some(line);
        }
    }
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    last
}

/// A child with all that it has started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Not yet reaped: the number is still its own.
        if let Some(pid) = self.0.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
