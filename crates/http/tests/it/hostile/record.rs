//! A backend that writes down what it receives. It reads with rules of its own, not with the codec that is tested.

use std::io::{BufRead, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::engine::{Client, backend, value};

/// A request as it arrived.
#[derive(Debug)]
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
    /// Its body came to its end.
    pub whole: bool,
}

/// What the backend says to the next request that is not the probe, and whether it stays then.
type Says = Option<(Vec<u8>, bool)>;

/// What was received so far, and what is to be said.
#[derive(Clone, Default)]
pub struct Record {
    pub received: Arc<Mutex<Vec<Received>>>,
    pub says: Arc<Mutex<Says>>,
}

impl Record {
    /// A backend that keeps this record.
    pub fn backend(&self) -> SocketAddr {
        let record = self.clone();
        backend(move |mut client| {
            while let Some(head) = read_head(&mut client) {
                let mut body = Vec::new();
                let whole = read_body(&mut client, &head, &mut body).is_some();
                let probe = head.starts_with("GET /probe ");
                record.received.lock().unwrap().push(Received { head, body, whole });
                let says = record.says.lock().unwrap().clone().filter(|_| !probe);
                let (bytes, stays) = says.unwrap_or((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), true));
                // The engine may be gone already, since it refused the rest.
                if !whole || std::io::Write::write_all(client.reader().get_mut(), &bytes).is_err() || !stays {
                    return;
                }
            }
        })
    }
}

/// The next head; `None` at the end. What is not UTF-8 in it is replaced.
fn read_head(client: &mut Client) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if client.reader().read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// `None` if it broke off, or is not what its head says.
fn read_body(client: &mut Client, head: &str, body: &mut Vec<u8>) -> Option<()> {
    if value(head, "transfer-encoding").is_none() {
        let length: u64 = value(head, "content-length").map_or(Some(0), |length| length.parse().ok())?;
        client.reader().take(length).read_to_end(body).ok()?;
        return (body.len() as u64 == length).then_some(());
    }
    loop {
        let line = line(client)?;
        let size = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        if size == 0 {
            while !self::line(client)?.is_empty() {}
            return Some(());
        }
        let mut chunk = vec![0; size + 2];
        client.reader().read_exact(&mut chunk).ok()?;
        body.extend_from_slice(chunk.strip_suffix(b"\r\n")?);
    }
}

fn line(client: &mut Client) -> Option<String> {
    let mut line = Vec::new();
    client.reader().read_until(b'\n', &mut line).ok()?;
    String::from_utf8(line.strip_suffix(b"\r\n")?.to_vec()).ok()
}
