//! The floor: a proxy that reads and writes and looks at nothing. Every client connection has one to a backend.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::arena::backends;

const BUFFER_BYTES: usize = 256 * 1024;

struct End {
    stream: TcpStream,
    other: u64,
    unsent: Vec<u8>,
}

/// Relays for ever.
pub fn run(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(0), EventFlags::IN)?;
    let (mut ends, mut turn) = (HashMap::<u64, End>::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == 0 {
                let Ok((client, _)) = listener.accept() else { continue };
                turn += 1;
                let at = backends(2).nth(turn % 2).unwrap_or(Ipv4Addr::LOCALHOST);
                let backend = TcpStream::connect((at, 8080))?;
                let (a, b) = (client.as_raw_fd() as u64, backend.as_raw_fd() as u64);
                for (stream, key, other) in [(client, a, b), (backend, b, a)] {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
                    epoll::add(&epoll, &stream, EventData::new_u64(key), flags)?;
                    ends.insert(key, End { stream, other, unsent: Vec::new() });
                }
            } else if pass(&mut ends, key, &mut buffer).is_none() {
                let other = ends.remove(&key).map(|end| end.other);
                other.and_then(|other| ends.remove(&other));
            }
        }
    }
}

/// Moves what there is in both directions; `None` at the end of either.
fn pass(ends: &mut HashMap<u64, End>, key: u64, buffer: &mut [u8]) -> Option<()> {
    let end = ends.get_mut(&key)?;
    let other = end.other;
    let unsent = std::mem::take(&mut end.unsent);
    end.unsent = send(&mut end.stream, &unsent)?;
    if !end.unsent.is_empty() || !ends.get(&other)?.unsent.is_empty() {
        return Some(());
    }
    read_on(ends, key, other, buffer)?;
    // What was held back while this end could not take it.
    if unsent.is_empty() { Some(()) } else { read_on(ends, other, key, buffer) }
}

fn read_on(ends: &mut HashMap<u64, End>, from: u64, to: u64, buffer: &mut [u8]) -> Option<()> {
    loop {
        match ends.get_mut(&from)?.stream.read(buffer) {
            Ok(0) => return None,
            Ok(count) => {
                let target = ends.get_mut(&to)?;
                target.unsent = send(&mut target.stream, &buffer[..count])?;
                if !target.unsent.is_empty() || count < buffer.len() {
                    return Some(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
            Err(_) => return None,
        }
    }
}

/// What could not be sent yet.
fn send(stream: &mut TcpStream, mut bytes: &[u8]) -> Option<Vec<u8>> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return None,
        }
    }
    Some(bytes.to_vec())
}
