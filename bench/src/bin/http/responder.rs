//! The floor of those who answer by themselves: one answer for whatever comes, which it does not look at.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

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
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(0), EventFlags::IN)?;
    let (mut visitors, mut buffer) = (HashMap::<u64, Visitor>::new(), vec![0; BUFFER_BYTES]);
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == 0 {
                let Ok((stream, _)) = listener.accept() else { continue };
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let key = stream.as_raw_fd() as u64;
                epoll::add(
                    &epoll,
                    &stream,
                    EventData::new_u64(key),
                    EventFlags::IN | EventFlags::OUT | EventFlags::ET,
                )?;
                visitors.insert(key, Visitor { stream, sent: answer.len() });
            } else if visitors.get_mut(&key).is_some_and(|visitor| serve(visitor, &answer, &mut buffer).is_none()) {
                visitors.remove(&key);
            }
        }
    }
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
