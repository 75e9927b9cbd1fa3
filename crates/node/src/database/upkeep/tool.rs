//! MariaDB's own programs, run to their end. They end with us.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::error::Error;
use crate::database::find_program;
use crate::platform::program;
use crate::platform::tie;

/// A program and the Debian package that brings it.
#[derive(Clone, Copy)]
pub struct Tool(&'static str, &'static str);

/// Copies a running server's files.
pub const BACKUP: Tool = Tool("mariadb-backup", "mariadb-backup");
/// Writes a binary log as statements.
pub const BINLOG: Tool = Tool("mariadb-binlog", "mariadb-client");
/// Writes a schema as statements.
pub const DUMP: Tool = Tool("mariadb-dump", "mariadb-client");
/// Carries statements out.
pub const CLIENT: Tool = Tool("mariadb", "mariadb-client-core");
/// The server.
pub const SERVER: Tool = Tool("mariadbd", "mariadb-server-core");

/// What one program may take: a day reads or writes some terabytes, and then the next backup is due. What hangs must not keep
/// the only place for jobs for ever.
pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Lines that make a cause, and characters of each: a client repeats the statement that failed, with the visitors' data in it.
const LAST_WORDS: usize = 3;
const LINE_CHARS: usize = 300;
/// For servers and clients: a row as long as MariaDB takes any.
pub const ANY_ROW: &str = "--max-allowed-packet=1G";

impl Tool {
    /// A call of it, in UTC: it reads and writes times as its own zone has them.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn command(self) -> Result<Command, Error> {
        let Tool(program, package) = self;
        let path = find_program(program).map_err(|_| Error::Missing { program, package })?;
        Ok(command(&path))
    }
}

fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.current_dir("/").env_clear().env("PATH", program::PATH).env("TZ", "UTC").stdin(Stdio::null());
    command.kill_on_drop(true);
    tie::ends_with_us(&mut command);
    command
}

/// Runs it to its end.
///
/// # Errors
/// [`Error::Program`].
pub async fn run(mut command: Command, what: &'static str) -> Result<(), Error> {
    let output = within(what, command.output()).await?;
    if output.status.success() { Ok(()) } else { Err(Error::Program { what, why: last_words(&output.stderr) }) }
}

/// Runs two, the first's output being the second's input.
///
/// # Errors
/// [`Error::Program`], of the second if both failed: the first then only lost whom it wrote to.
pub async fn pipe(mut from: Command, mut to: Command, what: &'static str) -> Result<(), Error> {
    let failed = |why: std::io::Error| Error::Program { what, why: why.to_string() };
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let from_child = from.stdout(writer).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let to_child = to.stdin(reader).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    // They hold ends of the pipe too, and its end would never come.
    drop((from, to));
    let both = async { tokio::try_join!(from_child.wait_with_output(), to_child.wait_with_output()) };
    let (wrote, read) = within(what, both).await?;
    for output in [read, wrote] {
        if !output.status.success() {
            return Err(Error::Program { what, why: last_words(&output.stderr) });
        }
    }
    Ok(())
}

/// What is given up is killed, since nobody holds it any more.
async fn within<T>(what: &'static str, work: impl Future<Output = io::Result<T>>) -> Result<T, Error> {
    let slow = format!("it did not end within {} h and was killed", LONGEST.as_secs() / 3_600);
    let done = timeout(LONGEST, work).await.map_err(|_| Error::Program { what, why: slow })?;
    done.map_err(|why| Error::Program { what, why: why.to_string() })
}

/// Copies a folder, sharing its blocks where the file system can.
///
/// # Errors
/// [`Error::Program`].
pub async fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let mut copying = command(&PathBuf::from("/bin/cp"));
    copying.args(["-R", "--reflink=auto"]).arg(from).arg(to);
    run(copying, "copying the backup").await
}

/// Gives a folder and all in it to a user.
///
/// # Errors
/// [`Error::Program`].
pub async fn give(folder: &Path, user: u32) -> Result<(), Error> {
    let mut giving = command(&PathBuf::from("/bin/chown"));
    giving.arg("-R").arg(format!("{user}:{user}")).arg(folder);
    run(giving, "giving the copy to the database's user").await
}

fn last_words(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_WORDS)..].iter();
    last.map(|line| line.chars().take(LINE_CHARS).collect()).collect::<Vec<String>>().join(" | ")
}
