//! Copying between two connections.
//!
//! One buffer for the whole thread: an idle connection, of which an application's pools hold many, costs none.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::SockRef;
use tokio::net::TcpStream;

/// Large enough that a big result set is not copied in crumbs.
const BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

/// Copies until `from` ends, then ends `to` in the same direction; the other direction goes on.
///
/// # Errors
/// Either end broke.
pub async fn copy(from: &TcpStream, to: &TcpStream, bytes: &AtomicU64) -> io::Result<()> {
    loop {
        from.readable().await?;
        match step(from, to) {
            Ok(None) => {
                // The other end may be gone already.
                let _ = SockRef::from(to).shutdown(Shutdown::Write);
                return Ok(());
            }
            Ok(Some((count, rest))) => {
                bytes.fetch_add(count, Ordering::Relaxed);
                write_all(to, &rest).await?;
            }
            Err(why) if why.kind() == ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
    }
}

/// Reads and writes what goes without waiting: how much was read, and what could not be written. `None` at the end.
fn step(from: &TcpStream, to: &TcpStream) -> io::Result<Option<(u64, Vec<u8>)>> {
    BUFFER.with_borrow_mut(|buffer| {
        let count = from.try_read(buffer)?;
        if count == 0 {
            return Ok(None);
        }
        let written = written(to.try_write(&buffer[..count]))?;
        Ok(Some((count as u64, buffer[written..count].to_vec())))
    })
}

async fn write_all(to: &TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        to.writable().await?;
        rest = &rest[written(to.try_write(rest))?..];
    }
    Ok(())
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(why) if why.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
