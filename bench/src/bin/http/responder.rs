//! The floor of those who answer by themselves: one answer for whatever comes, which it does not look at.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::Result;

use crate::gate::{Gate, Happens};

/// A request of the load is smaller.
const BUFFER_BYTES: usize = 16 * 1024;

struct Visitor {
    stream: TcpStream,
    /// Of the answer, bytes that are sent already; all of it while nothing is asked.
    sent: usize,
}

/// Answers with so many bytes for ever.
pub fn run(address: &str, body: usize) -> Result<()> {
    let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n").into_bytes(), vec![b'x'; body]].concat();
    let (mut visitors, mut buffer) = (HashMap::<u64, Visitor>::new(), vec![0; BUFFER_BYTES]);
    Gate::open(address)?.serve(|gate, happens| {
        match happens {
            Happens::Comes(stream) => {
                visitors.insert(gate.watch(&stream)?, Visitor { stream, sent: answer.len() });
            }
            Happens::To(key) => {
                if visitors.get_mut(&key).is_some_and(|visitor| serve(visitor, &answer, &mut buffer).is_none()) {
                    visitors.remove(&key);
                }
            }
        }
        Ok(())
    })
}

/// `None` at the end.
fn serve(visitor: &mut Visitor, answer: &[u8], buffer: &mut [u8]) -> Option<()> {
    if visitor.sent == answer.len() {
        match visitor.stream.read(buffer) {
            Ok(0) => return None,
            Ok(_) => visitor.sent = 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            Err(_) => return None,
        }
    }
    while visitor.sent < answer.len() {
        match visitor.stream.write(&answer[visitor.sent..]) {
            Ok(count) => visitor.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            Err(_) => return None,
        }
    }
    Some(())
}
