//! Elements of nftables' sets, by netlink. Beside two busy cores the program `nft` needs 50 to 100 ms to say this: it is started,
//! links its libraries and reads all tables first. The kernel needs a tenth of a millisecond.
//!
//! `<linux/netfilter/nf_tables.h>`, `<linux/netfilter/nfnetlink.h>`. Tables, chains and rules are nft(8)'s.

use std::io::{self, Read};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::link::{ACKNOWLEDGE, AF_NETLINK, CREATE, ERROR, REQUEST, attribute, kernel, message, messages, number};

const NETLINK_NETFILTER: i32 = 12;
/// NFNL_SUBSYS_NFTABLES.
const TABLES: u16 = 10;
/// NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END: all between them comes into force at once, or nothing.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM.
const ADD: u16 = (TABLES << 8) | 12;
const DELETE: u16 = (TABLES << 8) | 14;

const NESTED: u16 = 0x8000;
/// NFTA_SET_ELEM_LIST_*, NFTA_LIST_ELEM, NFTA_SET_ELEM_*, NFTA_DATA_VALUE.
const TABLE: u16 = 1;
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
const ELEMENT: u16 = 1;
const KEY: u16 = 1;
const DATA: u16 = 2;
const TIMEOUT: u16 = 4;
const VALUE: u16 = 1;

/// The kernel answers at once; only something very wrong makes it silent.
const ANSWER: Duration = Duration::from_millis(50);
const ANSWER_BYTES: usize = 32 * 1024;
/// Of one message: an attribute has sixteen bits for its length, and an element has less than a hundred bytes.
const ELEMENTS_MAX: usize = 256;

/// What a table is about: NFPROTO_INET, NFPROTO_NETDEV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// What is for this machine or passes it, of IPv4 and IPv6.
    Inet = 1,
    /// What an interface brings, before anything else sees it.
    Netdev = 5,
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its key, every part of it filled up to four bytes.
    pub key: Vec<u8>,
    /// In a map, what it stands for.
    pub value: Option<Vec<u8>>,
    /// It leaves by itself after so long; `None`: as the set has it.
    pub lasts: Option<Duration>,
}

/// Changes that come into force together.
#[derive(Debug)]
pub struct Batch {
    family: Family,
    messages: Vec<(u16, Vec<u8>)>,
}

impl Batch {
    /// No change yet, of tables of a family.
    pub fn new(family: Family) -> Batch {
        Batch { family, messages: Vec::new() }
    }

    /// Puts elements into a set. One that is there already stays as it is.
    pub fn add(&mut self, table: &str, set: &str, elements: &[Element]) {
        self.push(ADD, table, set, elements);
    }

    /// Puts elements into a set; one that is there already begins anew.
    pub fn renew(&mut self, table: &str, set: &str, elements: &[Element]) {
        for kind in [ADD, DELETE, ADD] {
            self.push(kind, table, set, elements);
        }
    }

    /// Takes all elements out of a set.
    pub fn clear(&mut self, table: &str, set: &str) {
        let body = self.of(table, set);
        self.messages.push((DELETE, body));
    }

    /// Takes elements away, whether they are there or not.
    pub fn remove(&mut self, table: &str, set: &str, elements: &[Element]) {
        for kind in [ADD, DELETE] {
            self.push(kind, table, set, elements);
        }
    }

    fn push(&mut self, kind: u16, table: &str, set: &str, elements: &[Element]) {
        for some in elements.chunks(ELEMENTS_MAX) {
            let mut body = self.of(table, set);
            let mut list = Vec::new();
            some.iter().for_each(|element| attribute(&mut list, ELEMENT | NESTED, &element.attributes()));
            attribute(&mut body, ELEMENTS | NESTED, &list);
            self.messages.push((kind, body));
        }
    }

    fn of(&self, table: &str, set: &str) -> Vec<u8> {
        let mut body = head(self.family as u8, 0);
        attribute(&mut body, TABLE, &[table.as_bytes(), b"\0"].concat());
        attribute(&mut body, SET, &[set.as_bytes(), b"\0"].concat());
        body
    }

    /// Has it done.
    ///
    /// # Errors
    /// The kernel refuses, and nothing has changed: there is no such set (ENOENT), or we lack CAP_NET_ADMIN; or it does not answer.
    pub fn commit(self) -> io::Result<()> {
        let socket = Socket::new(Domain::from(AF_NETLINK), Type::RAW, Some(Protocol::from(NETLINK_NETFILTER)))?;
        socket.bind(&kernel(0))?;
        socket.set_read_timeout(Some(ANSWER))?;
        let mut bytes = message(BEGIN, REQUEST, 0, &head(0, TABLES));
        let mut sequence = 0;
        for (kind, body) in &self.messages {
            sequence += 1;
            let create = if *kind == ADD { CREATE } else { 0 };
            bytes.extend(message(*kind, REQUEST | ACKNOWLEDGE | create, sequence, body));
        }
        bytes.extend(message(END, REQUEST, sequence + 1, &head(0, TABLES)));
        socket.send(&bytes)?;
        acknowledged(&socket, sequence)
    }
}

impl Element {
    fn attributes(&self) -> Vec<u8> {
        let value = |bytes: &[u8]| {
            let mut nested = Vec::new();
            attribute(&mut nested, VALUE, bytes);
            nested
        };
        let mut attributes = Vec::new();
        attribute(&mut attributes, KEY | NESTED, &value(&self.key));
        if let Some(data) = &self.value {
            attribute(&mut attributes, DATA | NESTED, &value(data));
        }
        if let Some(lasts) = self.lasts {
            let milliseconds = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
            attribute(&mut attributes, TIMEOUT, &milliseconds.to_be_bytes());
        }
        attributes
    }
}

/// `struct nfgenmsg`.
fn head(family: u8, resource: u16) -> Vec<u8> {
    let [high, low] = resource.to_be_bytes();
    vec![family, 0, high, low]
}

/// Waits until every message up to `last` is acknowledged.
fn acknowledged(socket: &Socket, last: u32) -> io::Result<()> {
    let (mut answer, mut done) = (vec![0; ANSWER_BYTES], 0);
    while done < last {
        let mut socket = socket;
        let length = socket.read(&mut answer)?;
        for (kind, _, body) in messages(&answer[..length]) {
            match number(body, 0).map(u32::cast_signed) {
                Some(0) if kind == ERROR => done += 1,
                Some(error) if kind == ERROR => return Err(io::Error::from_raw_os_error(-error)),
                _ => {}
            }
        }
    }
    Ok(())
}
