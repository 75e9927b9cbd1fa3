//! What goes from door to door.
//!
//! A datagram is `MSL1`, an octet that is 1 if the sender has begun anew and wants to hear of all bans, the rate's number (8), two
//! counts (2 octets each), so many pairs of key (8) and requests (4), so many of key and milliseconds (4), the sender's number (8) and
//! an HMAC-SHA-256 of all this with the sender's address. Numbers are the sender's clock in nanoseconds and rise, so that what was
//! heard once is not believed again. Everything is big-endian.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use mainstay_http::Message;

use crate::clock::unix_ms;
use crate::signed::signed;

/// What a sender's clock may be behind ours. Sites run with clocks that agree within a second (certificates want it too); what
/// was recorded longer ago is not believed even by one who was not there then.
const CLOCKS_APART: Duration = Duration::from_secs(30);

const MARK: &[u8; 4] = b"MSL1";
/// What is signed begins with it, so that the key can never sign anything else that means something.
const PURPOSE: &[u8] = b"mainstay limits";
const HEAD_BYTES: usize = 17;
const PAIR_BYTES: usize = 12;
const NUMBER_BYTES: usize = 8;
const HASH_BYTES: usize = 32;
/// What an Ethernet frame takes in one piece behind IPv6 and UDP, and tunnels a little less.
const DATAGRAM_BYTES_MAX: usize = 1400;
const PAIRS_MAX: usize = (DATAGRAM_BYTES_MAX - HEAD_BYTES - NUMBER_BYTES - HASH_BYTES) / PAIR_BYTES;

/// Parts that each go into a datagram; one at least.
pub(super) fn split(message: &Message) -> Vec<Message> {
    let admitted =
        message.admitted.chunks(PAIRS_MAX).map(|some| Message { admitted: some.to_vec(), banned: Vec::new() });
    let banned = message.banned.chunks(PAIRS_MAX).map(|some| Message { admitted: Vec::new(), banned: some.to_vec() });
    let all: Vec<Message> = admitted.chain(banned).collect();
    if all.is_empty() { vec![Message::default()] } else { all }
}

/// What is to be sealed.
pub(super) fn encode(number: u64, new: bool, message: &Message) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.push(new.into());
    bytes.extend(number.to_be_bytes());
    for count in [message.admitted.len(), message.banned.len()] {
        bytes.extend(u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
    }
    for (key, requests) in &message.admitted {
        bytes.extend(key.to_be_bytes());
        bytes.extend(requests.to_be_bytes());
    }
    for (key, wait) in &message.banned {
        bytes.extend(key.to_be_bytes());
        bytes.extend(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).to_be_bytes());
    }
    bytes
}

/// The rate's number, whether the sender has begun anew, and what it says; only of what was sealed by one who knows the secret.
pub(super) fn decode(bytes: &[u8]) -> Option<(u64, bool, Message)> {
    let (head, pairs) = bytes.split_at_checked(HEAD_BYTES)?;
    let number = u64::from_be_bytes(head.get(5..13)?.try_into().ok()?);
    let count = |at: usize| Some(usize::from(u16::from_be_bytes(head.get(at..at + 2)?.try_into().ok()?)));
    let (admitted, banned) = (count(13)?, count(15)?);
    if !head.starts_with(MARK) || pairs.len() != (admitted + banned) * PAIR_BYTES {
        return None;
    }
    let pair = |bytes: &[u8]| {
        let (key, value) = bytes.split_at_checked(8)?;
        Some((u64::from_be_bytes(key.try_into().ok()?), u32::from_be_bytes(value.try_into().ok()?)))
    };
    let pairs: Vec<(u64, u32)> = pairs.chunks(PAIR_BYTES).map(pair).collect::<Option<_>>()?;
    let (admitted, banned) = pairs.split_at_checked(admitted)?;
    let banned = banned.iter().map(|(key, ms)| (*key, Duration::from_millis((*ms).into()))).collect();
    Some((number, head.get(4) == Some(&1), Message { admitted: admitted.to_vec(), banned }))
}

/// Who has the site's secret signs, and is believed once.
pub(super) struct Seal {
    key: Key,
    own: IpAddr,
    sent: u64,
    heard: BTreeMap<IpAddr, u64>,
}

impl Seal {
    pub(super) fn new(secret: &str, own: IpAddr) -> Seal {
        Seal { key: Key::new(HMAC_SHA256, secret.as_bytes()), own, sent: 0, heard: BTreeMap::new() }
    }

    /// Whether anything was believed of the one at this address.
    pub(super) fn has_heard(&self, from: IpAddr) -> bool {
        self.heard.contains_key(&from)
    }

    /// Seals what is to be sent.
    pub(super) fn put(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        // A clock that was set back goes on from where it was.
        self.sent = nanos(unix_ms()).max(self.sent + 1);
        bytes.extend(self.sent.to_be_bytes());
        let hash = sign(&self.key, &signed(PURPOSE, self.own, &bytes));
        bytes.extend(hash.as_ref());
        bytes
    }

    /// What is in a datagram, if it is to be believed.
    pub(super) fn open<'d>(&mut self, from: IpAddr, datagram: &'d [u8]) -> Option<&'d [u8]> {
        let (text, hash) = datagram.split_at_checked(datagram.len().checked_sub(HASH_BYTES)?)?;
        verify(&self.key, &signed(PURPOSE, from, text), hash).ok()?;
        let (bytes, number) = text.split_at_checked(text.len().checked_sub(NUMBER_BYTES)?)?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        let last = self.heard.get(&from).copied();
        let oldest = nanos(unix_ms()).saturating_sub(CLOCKS_APART.as_nanos().try_into().unwrap_or(u64::MAX));
        if number <= last.unwrap_or(oldest) {
            return None;
        }
        // Only who has the secret comes here: as many as the site's front doors.
        self.heard.insert(from, number);
        Some(bytes)
    }
}

fn nanos(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> IpAddr {
        "10.80.0.11".parse().unwrap()
    }

    fn message(pairs: u64) -> Message {
        let banned = vec![(9, Duration::from_millis(1500))];
        Message { admitted: (0..pairs).map(|key| (key * 77, key as u32 + 1)).collect(), banned }
    }

    #[test]
    fn what_is_said_is_heard_in_as_many_datagrams_as_it_takes() {
        let (mut one, mut other) = (Seal::new("secret", own()), Seal::new("secret", own()));
        let said = message(300);
        let mut heard = Message::default();
        for part in split(&said) {
            let datagram = one.put(encode(7, true, &part));
            assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
            let (number, new, part) = decode(other.open(own(), &datagram).unwrap()).unwrap();
            assert_eq!((number, new), (7, true));
            heard.admitted.extend(part.admitted);
            heard.banned.extend(part.banned);
        }
        assert_eq!(heard, said);
        assert_eq!(split(&Message::default()).len(), 1, "a sign of life");
    }

    #[test]
    fn nothing_is_believed_twice_or_changed_or_of_somebody_else() {
        let mut one = Seal::new("secret", own());
        let datagram = one.put(encode(7, true, &message(2)));
        let opens =
            |secret: &str, from: IpAddr, datagram: &[u8]| Seal::new(secret, own()).open(from, datagram).is_some();
        assert!(opens("secret", own(), &datagram));
        assert!(!opens("other", own(), &datagram) && !opens("secret", "10.80.0.12".parse().unwrap(), &datagram));
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            assert!(!opens("secret", own(), &changed) && !opens("secret", own(), &datagram[..at]), "octet {at}");
        }
        let mut other = Seal::new("secret", own());
        assert!(other.open(own(), &datagram).is_some() && other.open(own(), &datagram).is_none());
        one.sent = 0;
        let mut text = encode(7, true, &message(2));
        text.extend(nanos(unix_ms() - 60_000).to_be_bytes());
        let hash = sign(&one.key, &signed(PURPOSE, own(), &text));
        text.extend(hash.as_ref());
        assert!(!opens("secret", own(), &text), "recorded a minute ago");
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let bytes = encode(7, true, &message(3));
        assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_none()));
        assert!(decode(&bytes).is_some());
    }
}
