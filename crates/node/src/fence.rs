//! The kernel's dead-man rule, as the database role orders it from its supervisor.
//!
//! The role of a primary may be frozen while `mariadbd` goes on. So the kernel of the server drops what comes to the clients'
//! port unless it was told within the lease that the port is open. Only root may change that rule: the supervisor does, on
//! orders that come through a Unix socket of the role's user. Replication has a port of its own, administration a Unix socket;
//! the rule touches neither.
//!
//! Safety does not rest on it (a suspended machine stops the rule's clock too), it makes a take-over quick and quiet.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use mainstay_machines::Time;
use serde::{Deserialize, Serialize};

/// An order is carried out in well under a millisecond, the first one in some; one that takes longer than this comes too late to be of use.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is ordered: a line of JSON, answered by an [`Answer`] in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// The clients' port is open until then and not a moment longer.
    Hold {
        /// CLOCK_BOOTTIME in nanoseconds.
        until_ns: u64,
    },
    /// The clients' port is open without an end: who has no office has nothing to lose.
    Free,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is so.
    Done,
    /// It came too late.
    Late,
    /// There is no fence here.
    None {
        /// Why.
        because: String,
    },
}

/// The socket in a service's run folder.
pub fn socket(run: &Path) -> PathBuf {
    run.join("fence.sock")
}

/// The role's end.
pub struct Fence {
    socket: PathBuf,
    connection: Mutex<Option<BufReader<UnixStream>>>,
}

impl Fence {
    /// The fence of the service whose run folder this is.
    pub fn new(run: &Path) -> Fence {
        Fence { socket: socket(run), connection: Mutex::new(None) }
    }

    /// Keeps the port open until then; blocks for some milliseconds.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub fn hold(&self, until: Time) -> io::Result<Answer> {
        self.order(Order::Hold { until_ns: until.as_nanos() })
    }

    /// Opens the port without an end.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub fn free(&self) -> io::Result<Answer> {
        self.order(Order::Free)
    }

    fn order(&self, order: Order) -> io::Result<Answer> {
        let mut held = self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(connection) = held.as_mut()
            && let Ok(answer) = ask(connection, order)
        {
            return Ok(answer);
        }
        // The supervisor was replaced meanwhile.
        let fresh = UnixStream::connect(&self.socket)?;
        fresh.set_read_timeout(Some(PATIENCE))?;
        fresh.set_write_timeout(Some(PATIENCE))?;
        let mut fresh = BufReader::new(fresh);
        let answer = ask(&mut fresh, order)?;
        *held = Some(fresh);
        Ok(answer)
    }
}

fn ask(connection: &mut BufReader<UnixStream>, order: Order) -> io::Result<Answer> {
    let mut line = serde_json::to_vec(&order)?;
    line.push(b'\n');
    connection.get_mut().write_all(&line)?;
    let mut answer = String::new();
    if connection.read_line(&mut answer)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&answer)?)
}
