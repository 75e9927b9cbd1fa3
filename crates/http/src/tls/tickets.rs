//! Session tickets (RFC 8446 § 4.6.1, RFC 5077) that every server of a site reads: a visitor whose balancer is another one now
//! goes on with the session that he has, without a full handshake.
//!
//! Their keys come from a secret that all servers have and from the clock, so that nothing is exchanged for them: each lasts
//! six hours, and what was sealed by the one before is read too; so is the next one's, since clocks differ. Whoever steals the
//! secret can read recorded tickets of TLS 1.2; in TLS 1.3 a resumed session has a key exchange of its own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use rustls::server::ProducesTickets;

use super::ServerTls;

/// Seconds for which a key seals. A ticket is read for as long again, so it lasts between six and twelve hours; a key seals
/// far fewer than the 2^32 tickets that a random nonce allows (NIST SP 800-38D § 8.3).
const TURN: u64 = 6 * 3600;
/// What is signed to derive a key begins with it.
const PURPOSE: &[u8] = b"mainstay tickets 1\0";
/// In front of a ticket: by which key it was sealed.
const TURN_BYTES: usize = 8;

/// `tls` with tickets that whoever has `secret` can read.
pub fn with_shared_tickets(tls: &ServerTls, secret: &[u8]) -> ServerTls {
    let mut config = (**tls).clone();
    config.ticketer = Arc::new(Tickets { secret: Key::new(HMAC_SHA256, secret), clock });
    Arc::new(config)
}

fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

struct Tickets {
    secret: Key,
    clock: fn() -> u64,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets(…)")
    }
}

impl Tickets {
    fn turn(&self) -> u64 {
        (self.clock)() / TURN
    }

    fn key(&self, turn: u64) -> Option<RandomizedNonceKey> {
        let key = sign(&self.secret, &[PURPOSE, &turn.to_be_bytes()].concat());
        RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).ok()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TURN as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let turn = self.turn();
        let name = turn.to_be_bytes();
        let mut text = plain.to_vec();
        let nonce = self.key(turn)?.seal_in_place_append_tag(Aad::from(name), &mut text).ok()?;
        Some([&name[..], nonce.as_ref(), &text].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(TURN_BYTES)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        let turn = u64::from_be_bytes(name.try_into().ok()?);
        if turn.abs_diff(self.turn()) > 1 {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let length = self.key(turn)?.open_in_place(nonce, Aad::from(name), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secret: &str, clock: fn() -> u64) -> Tickets {
        Tickets { secret: Key::new(HMAC_SHA256, secret.as_bytes()), clock }
    }

    const NOW: u64 = 1_000_000 * TURN;

    #[test]
    fn whoever_has_the_secret_reads_it_for_two_turns() {
        let ticket = tickets("s", || NOW).encrypt(b"session").unwrap();
        let read = |secret, clock| tickets(secret, clock).decrypt(&ticket);
        assert_eq!(read("s", || NOW).as_deref(), Some(&b"session"[..]));
        assert_eq!(read("s", || NOW + 2 * TURN - 1).as_deref(), Some(&b"session"[..]));
        assert_eq!(read("s", || NOW - 1).as_deref(), Some(&b"session"[..]), "a clock that is a little behind");
        assert_eq!(read("s", || NOW + 2 * TURN), None);
        assert_eq!(read("another", || NOW), None);
    }

    #[test]
    fn whatever_is_changed_is_no_ticket() {
        let ticket = tickets("s", || NOW).encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets("s", || NOW).decrypt(&changed), None, "byte {at}");
            assert_eq!(tickets("s", || NOW).decrypt(&ticket[..at]), None);
        }
    }
}
