//! From the bytes of a question to the bytes of its answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::DNSClass;

use super::presence::Presence;
use super::zone::Zone;

/// The largest answer by UDP, whatever the asker offers: it passes every path unfragmented (DNS flag day 2020).
pub const UDP_BYTES_MAX: u16 = 1_232;
/// The largest answer by UDP to an asker without EDNS (RFC 1035 § 4.2.1).
const UDP_BYTES_PLAIN: u16 = 512;
/// The header (RFC 1035 § 4.1.1); less than that is no message and gets no answer.
const HEADER_BYTES: usize = 12;

/// Totals since the start.
#[derive(Default)]
pub struct Counters {
    /// Questions that were answered.
    pub queries: AtomicU64,
    /// Of these, by TCP.
    pub tcp: AtomicU64,
    /// Answered "no such name".
    pub nonexistent: AtomicU64,
    /// Refused: another zone, a transfer.
    pub refused: AtomicU64,
    /// Not understood.
    pub malformed: AtomicU64,
    /// Cut off, to be asked again by TCP.
    pub truncated: AtomicU64,
    /// Connections closed unserved since there were too many.
    pub connections_refused: AtomicU64,
}

impl Counters {
    /// As the report carries them.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let rows = [
            ("queries_total", &self.queries),
            ("queries_tcp_total", &self.tcp),
            ("answers_nonexistent_total", &self.nonexistent),
            ("answers_refused_total", &self.refused),
            ("answers_malformed_total", &self.malformed),
            ("answers_truncated_total", &self.truncated),
            ("connections_refused_total", &self.connections_refused),
        ];
        rows.into_iter().map(|(name, count)| (name.to_owned(), count.load(Ordering::Relaxed))).collect()
    }
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// How the question came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram; a long answer is cut off.
    Udp,
    /// A stream; an answer has up to 65,535 bytes.
    Tcp,
}

/// The answer's bytes; `None` where answering would be wrong (no question, or itself an answer: two servers could
/// otherwise be set to talk to each other for ever).
pub fn answer(
    zone: &Zone,
    presence: &Presence,
    counters: &Counters,
    bytes: &[u8],
    transport: Transport,
) -> Option<Vec<u8>> {
    if bytes.len() < HEADER_BYTES || bytes[2] & 0x80 != 0 {
        return None;
    }
    count(&counters.queries);
    if transport == Transport::Tcp {
        count(&counters.tcp);
    }
    match Message::from_vec(bytes) {
        Ok(question) => encode(respond(zone, presence, counters, &question), limit(&question, transport), counters),
        Err(_) => {
            count(&counters.malformed);
            let id = u16::from_be_bytes([bytes[0], bytes[1]]);
            Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok()
        }
    }
}

fn respond(zone: &Zone, presence: &Presence, counters: &Counters, question: &Message) -> Message {
    let mut response = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
    response.metadata = Metadata::response_from_request(&question.metadata);
    response.queries.clone_from(&question.queries);
    response.edns = question.edns.as_ref().map(our_edns);
    response.metadata.response_code = match refusal(question) {
        Some(code) => code,
        None => fill(zone, presence, &question.queries[0], &mut response),
    };
    match response.metadata.response_code {
        ResponseCode::NXDomain => count(&counters.nonexistent),
        ResponseCode::Refused => count(&counters.refused),
        ResponseCode::NoError => {}
        _ => count(&counters.malformed),
    }
    response
}

/// Why a question is not looked up at all.
fn refusal(question: &Message) -> Option<ResponseCode> {
    if question.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Some(ResponseCode::BADVERS);
    }
    if question.metadata.op_code != OpCode::Query {
        return Some(ResponseCode::NotImp);
    }
    match question.queries.as_slice() {
        [query] if query.query_class() == DNSClass::IN => None,
        [_] => Some(ResponseCode::Refused),
        _ => Some(ResponseCode::FormErr),
    }
}

fn fill(zone: &Zone, presence: &Presence, query: &Query, response: &mut Message) -> ResponseCode {
    let mut answer = zone.answer(query.name(), query.query_type());
    presence.arrange(&mut answer.answers);
    response.metadata.authoritative = answer.authoritative;
    response.answers = answer.answers;
    response.authorities = answer.authorities;
    response.additionals = answer.additionals;
    answer.code
}

fn our_edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES_MAX);
    // RFC 3225 § 3: the bit is copied; without signatures it asks for nothing.
    edns.set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

fn limit(question: &Message, transport: Transport) -> usize {
    let offered = question.edns.as_ref().map_or(UDP_BYTES_PLAIN, Edns::max_payload);
    match transport {
        Transport::Udp => usize::from(offered.clamp(UDP_BYTES_PLAIN, UDP_BYTES_MAX)),
        Transport::Tcp => usize::from(u16::MAX),
    }
}

/// RFC 2181 § 9: additional records that do not fit are left out in silence, anything else sets TC.
fn encode(mut response: Message, limit: usize, counters: &Counters) -> Option<Vec<u8>> {
    let fits = |response: &Message| response.to_vec().ok().filter(|bytes| bytes.len() <= limit);
    if let Some(bytes) = fits(&response) {
        return Some(bytes);
    }
    response.additionals.clear();
    if let Some(bytes) = fits(&response) {
        return Some(bytes);
    }
    count(&counters.truncated);
    response.answers.clear();
    response.authorities.clear();
    response.metadata.truncation = true;
    fits(&response)
}
