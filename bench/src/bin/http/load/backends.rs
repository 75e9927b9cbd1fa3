//! The machines behind the contenders.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::{find, watch};
use crate::cases::{Case, From};

/// All of them: they answer the same.
#[derive(Default)]
pub struct Backends {
    listeners: Vec<(u64, TcpListener)>,
    served: HashMap<u64, Served>,
    answer: Vec<u8>,
    /// Bytes of the body of a request that is posted.
    posted: usize,
    /// How long an answer takes.
    takes: Duration,
    /// Who answers when, if that takes a while.
    later: VecDeque<(Instant, u64)>,
}

/// A connection to one of them.
struct Served {
    stream: TcpStream,
    tail: Vec<u8>,
    /// Bytes of a request's body that are still to come.
    missing: usize,
    /// Bytes still to be sent.
    owed: usize,
    closes: bool,
}

impl Backends {
    /// What they are asked and answer from now on, if there are any.
    pub fn stand(&mut self, case: &Case, epoll: &OwnedFd) -> Result<()> {
        self.listeners.clear();
        let ports: &[u16] = if matches!(case.from, From::Application(_)) { &[] } else { &[8080, 8000] };
        for port in ports {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port))?;
            listener.set_nonblocking(true)?;
            let key = listener.as_raw_fd() as u64;
            epoll::add(epoll, &listener, EventData::new_u64(key), EventFlags::IN)?;
            self.listeners.push((key, listener));
        }
        let body = case.body;
        (self.posted, self.takes) = (case.posted, case.takes);
        let kept = if case.from == From::Cache { "Cache-Control: max-age=3600\r\n" } else { "" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {body}\r\n{kept}\r\n");
        self.answer = head.into_bytes();
        self.answer.resize(self.answer.len() + body, b'x');
        Ok(())
    }

    /// The body of an answer.
    pub fn body(&self, bytes: usize) -> &[u8] {
        &self.answer[self.answer.len() - bytes..]
    }

    /// When somebody has to answer next, if that takes a while.
    pub fn due(&self) -> Option<Instant> {
        self.later.front().map(|(due, _)| *due)
    }

    /// Answers what is due.
    pub fn answer_due(&mut self) {
        while self.due().is_some_and(|due| due <= Instant::now())
            && let Some((_, key)) = self.later.pop_front()
        {
            self.answer(key);
        }
    }

    /// Something happened to one of their descriptors.
    pub fn happened(&mut self, key: u64, epoll: &OwnedFd, buffer: &mut [u8]) -> Result<()> {
        if self.served.contains_key(&key) {
            self.serve(key, buffer);
        } else if let Some((_, listener)) = self.listeners.iter().find(|(is, _)| *is == key) {
            while let Ok((stream, _)) = listener.accept() {
                let key = watch(epoll, &stream)?;
                self.served.insert(key, Served { stream, tail: Vec::new(), missing: 0, owed: 0, closes: false });
            }
        }
        Ok(())
    }

    /// A backend hears, and answers if that takes no time.
    fn serve(&mut self, key: u64, buffer: &mut [u8]) {
        let Some(served) = self.served.get_mut(&key) else { return };
        let mut gone = false;
        loop {
            match served.stream.read(buffer) {
                Ok(0) => gone = true,
                Ok(count) => {
                    let body = count.min(served.missing);
                    served.missing -= body;
                    if body > 0 && served.missing == 0 {
                        served.owed += self.answer.len();
                    }
                    served.tail.extend_from_slice(&buffer[body..count]);
                    while served.missing == 0
                        && let Some(end) = find(&served.tail, b"\r\n\r\n")
                    {
                        let body = if served.tail.starts_with(b"POST ") { self.posted } else { 0 };
                        served.closes |= find(&served.tail[..end], b"onnection: close").is_some();
                        let come = body.min(served.tail.len() - end - 4);
                        served.tail.drain(..end + 4 + come);
                        served.missing = body - come;
                        if served.missing == 0 {
                            served.owed += self.answer.len();
                        }
                    }
                    if count == buffer.len() {
                        continue;
                    }
                }
                Err(error) => gone = error.kind() != ErrorKind::WouldBlock,
            }
            break;
        }
        if gone {
            self.served.remove(&key);
        } else if served.owed > 0 && !self.takes.is_zero() {
            self.later.push_back((Instant::now() + self.takes, key));
        } else {
            self.answer(key);
        }
    }

    /// A backend answers.
    fn answer(&mut self, key: u64) {
        let Some(served) = self.served.get_mut(&key) else { return };
        let mut gone = false;
        while served.owed > 0 && !gone {
            let from = (self.answer.len() - served.owed % self.answer.len()) % self.answer.len();
            match served.stream.write(&self.answer[from..]) {
                Ok(count) => served.owed -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => gone = true,
            }
        }
        if gone || (served.closes && served.missing == 0) {
            self.served.remove(&key);
        }
    }
}
