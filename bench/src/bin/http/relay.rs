//! The floor: a proxy that reads and writes and looks at nothing. Every client connection has one to a backend.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::Result;

use crate::arena::backends;
use crate::gate::{Gate, Happens};

const BUFFER_BYTES: usize = 256 * 1024;

struct End {
    stream: TcpStream,
    other: u64,
    unsent: Vec<u8>,
}

/// Relays for ever.
pub fn run(address: &str) -> Result<()> {
    let (mut ends, mut turn, mut buffer) = (HashMap::<u64, End>::new(), 0, vec![0; BUFFER_BYTES]);
    Gate::open(address)?.serve(|gate, happens| {
        match happens {
            Happens::Comes(client) => {
                turn += 1;
                let at = backends(2).nth(turn % 2).unwrap_or(Ipv4Addr::LOCALHOST);
                let backend = TcpStream::connect((at, 8080))?;
                let (a, b) = (gate.watch(&client)?, gate.watch(&backend)?);
                for (stream, key, other) in [(client, a, b), (backend, b, a)] {
                    ends.insert(key, End { stream, other, unsent: Vec::new() });
                }
            }
            Happens::To(key) => {
                if pass(&mut ends, key, &mut buffer).is_none() {
                    let other = ends.remove(&key).map(|end| end.other);
                    other.and_then(|other| ends.remove(&other));
                }
            }
        }
        Ok(())
    })
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
