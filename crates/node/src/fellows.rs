//! What the front doors of a site tell each other, so that they hold to declared rates together: datagrams, ten times a second,
//! in which each says what it has admitted and whom it has banned (`machines::limiter` says how far off that is).
//!
//! A datagram is `MSL1`, an octet that is 1 if the sender has begun anew and wants to hear of all bans, the rate's number (8), two
//! counts (2 octets each), so many pairs of key (8) and requests (4), so many of key and milliseconds (4), the sender's number (8) and
//! an HMAC-SHA-256 of all this with the sender's address. Numbers are the sender's clock in nanoseconds and rise, so that what was
//! heard once is not believed again. Everything is big-endian.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use mainstay_http::{Live, Message, Rate};
use mainstay_site::names::ServerName;
use mainstay_site::plan::Door;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::unix_ms;
use crate::signed::signed;

/// Between two times that the others are told: what is admitted twice is what comes in within it, and ten small datagrams a second
/// cost nothing. Rates are of seconds at least.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);

/// After so many periods something is said even if there is nothing to say, so that a door that is not heard can be named.
const SIGN_OF_LIFE: u32 = 10;

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

/// How sharing goes, for the report.
#[derive(Default)]
pub(crate) struct Shared {
    fellows: ArcSwap<Vec<(ServerName, SocketAddr)>>,
    /// When each was heard last.
    heard: ArcSwap<BTreeMap<IpAddr, Instant>>,
    disbelieved: AtomicU64,
}

impl Shared {
    /// Whom to tell from now on.
    pub(crate) fn follow(&self, door: &Door) {
        self.fellows.store(Arc::new(door.fellows.clone()));
    }

    /// `rates shared with`: `lb2 (heard 0.1 s ago)`; nothing where nobody is to be told.
    pub(crate) fn fact(&self) -> Option<(String, String)> {
        let (fellows, heard) = (self.fellows.load(), self.heard.load());
        let told = |(name, at): &(ServerName, SocketAddr)| match heard.get(&at.ip()) {
            Some(when) => format!("{name} (heard {:.1} s ago)", when.elapsed().as_secs_f64()),
            None => format!("{name} (not heard yet)"),
        };
        let all: Vec<String> = fellows.iter().map(told).collect();
        (!all.is_empty()).then(|| ("rates shared with".to_owned(), all.join(", ")))
    }

    /// Datagrams that were not believed: forged, replayed, or of somebody whose clock is far behind.
    pub(crate) fn disbelieved(&self) -> u64 {
        self.disbelieved.load(Ordering::Relaxed)
    }
}

/// The seed by which all doors number visitors alike.
pub(crate) fn seed(secret: &str) -> u64 {
    let hash = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), b"numbers of visitors");
    let mut seed = [0; 8];
    seed.copy_from_slice(&hash.as_ref()[..8]);
    u64::from_be_bytes(seed)
}

/// Tells and hears on a thread of its own until asked to end.
///
/// # Errors
/// The socket cannot be used, or the thread not be started.
pub(crate) fn spawn(
    socket: UdpSocket,
    secret: &str,
    live: Live,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let own = socket.local_addr()?.ip();
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut exchange = Exchange { seal: Seal::new(secret, own), live, shared, silent: 0 };
    std::thread::Builder::new().name("limits".into()).spawn(move || {
        runtime.block_on(async {
            let socket = match tokio::net::UdpSocket::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => return tracing::error!("rates are not shared with the other doors: {error}"),
            };
            tokio::select! {
                () = exchange.run(&socket) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            exchange.leave(&socket);
        });
    })
}

struct Exchange {
    seal: Seal,
    live: Live,
    shared: Arc<Shared>,
    /// Periods in which nothing was said.
    silent: u32,
}

impl Exchange {
    async fn run(&mut self, socket: &tokio::net::UdpSocket) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut datagram = [0; 2048];
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tell(socket),
                got = socket.recv_from(&mut datagram) => match got {
                    Ok((length, from)) => self.hear(from.ip(), &datagram[..length]),
                    // What an earlier datagram came to: nobody listens there.
                    Err(error) => tracing::debug!("a fellow door cannot be told: {error}"),
                },
            }
        }
    }

    /// The last words have all bans: whoever takes this process's place, and that of a fellow who begins anew at the same time, asks
    /// the others.
    fn leave(&mut self, socket: &tokio::net::UdpSocket) {
        self.live.config().rates.iter().for_each(|rate| rate.repeat());
        self.tell(socket);
    }

    fn tell(&mut self, socket: &tokio::net::UdpSocket) {
        let (config, fellows) = (self.live.config(), self.shared.fellows.load_full());
        let now = Instant::now();
        // Who has not heard everybody yet goes on asking.
        let complete = fellows.iter().all(|(_, at)| self.seal.heard.contains_key(&at.ip()));
        let due = !complete || self.silent + 1 >= SIGN_OF_LIFE;
        self.silent = if due { 0 } else { self.silent + 1 };
        for rate in &config.rates {
            rate.share(!fellows.is_empty());
            let message = rate.tell(now);
            if message.is_empty() && !due {
                continue;
            }
            for part in split(&message) {
                for (_, at) in fellows.iter() {
                    let new = !self.seal.heard.contains_key(&at.ip());
                    let datagram = self.seal.put(encode(rate.number(), new, &part));
                    // A full buffer loses it, as the network may.
                    let _ = socket.try_send_to(&datagram, *at);
                }
            }
        }
    }

    fn hear(&mut self, from: IpAddr, datagram: &[u8]) {
        let fellow = self.shared.fellows.load().iter().any(|(_, at)| at.ip() == from);
        let opened = self.seal.open(from, datagram).filter(|_| fellow).and_then(decode);
        let Some((number, new, message)) = opened else {
            self.shared.disbelieved.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut heard = BTreeMap::clone(&self.shared.heard.load());
        heard.insert(from, Instant::now());
        self.shared.heard.store(Arc::new(heard));
        if new {
            self.live.config().rates.iter().for_each(|rate| rate.repeat());
        }
        // A rate that only one of us knows yet: the other follows another generation.
        let config = self.live.config();
        if let Some(rate) = config.rates.iter().find(|rate: &&Arc<Rate>| rate.number() == number) {
            rate.hear(Instant::now(), &message);
        }
    }
}

/// Parts that each go into a datagram; one at least.
fn split(message: &Message) -> Vec<Message> {
    let admitted =
        message.admitted.chunks(PAIRS_MAX).map(|some| Message { admitted: some.to_vec(), banned: Vec::new() });
    let banned = message.banned.chunks(PAIRS_MAX).map(|some| Message { admitted: Vec::new(), banned: some.to_vec() });
    let all: Vec<Message> = admitted.chain(banned).collect();
    if all.is_empty() { vec![Message::default()] } else { all }
}

fn encode(number: u64, new: bool, message: &Message) -> Vec<u8> {
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
fn decode(bytes: &[u8]) -> Option<(u64, bool, Message)> {
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
struct Seal {
    key: Key,
    own: IpAddr,
    sent: u64,
    heard: BTreeMap<IpAddr, u64>,
}

impl Seal {
    fn new(secret: &str, own: IpAddr) -> Seal {
        Seal { key: Key::new(HMAC_SHA256, secret.as_bytes()), own, sent: 0, heard: BTreeMap::new() }
    }

    fn put(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        // A clock that was set back goes on from where it was.
        self.sent = nanos(unix_ms()).max(self.sent + 1);
        bytes.extend(self.sent.to_be_bytes());
        let hash = sign(&self.key, &signed(PURPOSE, self.own, &bytes));
        bytes.extend(hash.as_ref());
        bytes
    }

    fn open<'d>(&mut self, from: IpAddr, datagram: &'d [u8]) -> Option<&'d [u8]> {
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
