//! The packet, also as an enemy writes it.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use crate::vrrp::packet::{Advert, GROUP_V4, GROUP_V6, Malformed};

const V4: (&str, IpAddr) = ("10.80.0.11", IpAddr::V4(GROUP_V4));
const V6: (&str, IpAddr) = ("fe80::1", IpAddr::V6(GROUP_V6));

fn advert(addresses: &[&str]) -> Advert {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Advert { router: 51, priority: 100, interval: Duration::from_millis(250), addresses }
}

fn both() -> [(Advert, IpAddr, IpAddr); 2] {
    let four = (advert(&["10.80.0.100", "10.80.0.101"]), V4.0.parse().unwrap(), V4.1);
    [four, (advert(&["fe80::100", "2001:db8::100"]), V6.0.parse().unwrap(), V6.1)]
}

#[test]
fn what_is_sent_is_what_arrives_and_what_follows_it_is_kept_apart() {
    for (advert, from, to) in both() {
        let mut bytes = advert.encode(from, to);
        assert_eq!(Advert::decode(&bytes, from, to), Ok((advert.clone(), &[][..])));
        bytes.extend(b"signed");
        assert_eq!(Advert::decode(&bytes, from, to), Ok((advert, &b"signed"[..])));
    }
}

/// From 10.80.0.12 to the group: router 51, priority 150, 0.2 s, 10.80.0.100.
#[test]
fn the_checksum_is_the_one_that_is_computed_by_hand() {
    let (from, to): (IpAddr, IpAddr) = ("10.80.0.12".parse().unwrap(), V4.1);
    let advert = Advert { priority: 150, interval: Duration::from_millis(200), ..advert(&["10.80.0.100"]) };
    let bytes = advert.encode(from, to);
    // Pseudo-header and packet, word by word.
    let words: Vec<u32> = vec![0x0a50, 0x000c, 0xe000, 0x0012, 0x0070, 0x000c, 0x3133, 0x9601, 0x0014, 0x0a50, 0x0064];
    let sum: u32 = words.iter().sum();
    let folded = !((sum & 0xffff) + (sum >> 16)) & 0xffff;
    assert_eq!(bytes[..6], [0x31, 51, 150, 1, 0, 20]);
    assert_eq!(u32::from(u16::from_be_bytes([bytes[6], bytes[7]])), folded);
}

#[test]
fn for_ipv4_a_checksum_of_the_packet_alone_will_do() {
    let (advert, from, to) = both()[0].clone();
    let mut bytes = advert.encode(from, to);
    bytes[6..8].fill(0);
    let sum = crate::vrrp::packet::checksum(&[&bytes]);
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(Advert::decode(&bytes, from, to).map(|it| it.0), Ok(advert));
}

#[test]
fn every_refusal_has_its_name() {
    let (advert, from, to) = both()[0].clone();
    let refused = |change: &dyn Fn(&mut Advert)| {
        let mut advert = advert.clone();
        change(&mut advert);
        Advert::decode(&advert.encode(from, to), from, to).unwrap_err()
    };
    assert_eq!(refused(&|it| it.router = 0), Malformed::Router);
    assert_eq!(refused(&|it| it.addresses.clear()), Malformed::Empty);
    let good = advert.encode(from, to);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Advert::decode(&bytes, from, to).unwrap_err()
    };
    assert_eq!(changed(0, 0x21), Malformed::Version(2));
    assert_eq!(changed(0, 0x32), Malformed::Type(2));
    assert_eq!(changed(2, 255), Malformed::Checksum);
    assert_eq!(changed(3, 200), Malformed::Short);
    assert_eq!(Advert::decode(&[], from, to), Err(Malformed::Short));
    assert_eq!(Advert::decode(&good[..good.len() - 1], from, to), Err(Malformed::Short));
    // Sent by somebody else, or to somebody else.
    assert_eq!(Advert::decode(&good, "10.80.0.66".parse().unwrap(), to), Err(Malformed::Checksum));
}

#[test]
fn an_interval_has_twelve_bits_and_is_never_zero() {
    let (mut advert, from, to) = both()[0].clone();
    for (given, sent) in [(0, 10), (5, 10), (10, 10), (259, 250), (40_950, 40_950), (3_600_000, 40_950)] {
        advert.interval = Duration::from_millis(given);
        let (read, _) = Advert::decode(&advert.encode(from, to), from, to).map(|(it, rest)| (it, rest.len())).unwrap();
        assert_eq!(read.interval, Duration::from_millis(sent));
    }
}

proptest! {
    /// Nothing that arrives does harm, and what is understood is what was sent but for the reserved bits.
    #[test]
    fn whatever_arrives_is_refused_or_right(bytes in prop::collection::vec(any::<u8>(), 0..80), six in any::<bool>()) {
        let (from, to) = if six { (V6.0.parse().unwrap(), V6.1) } else { (V4.0.parse().unwrap(), V4.1) };
        if let Ok((advert, rest)) = Advert::decode(&bytes, from, to) {
            let again = advert.encode(from, to);
            prop_assert_eq!(again.len() + rest.len(), bytes.len());
            prop_assert_eq!(&again[8..], &bytes[8..again.len()]);
        }
    }

    #[test]
    fn one_wrong_bit_is_noticed(at in 0_usize..16, bit in 0_u8..8) {
        let (advert, from, to) = both()[0].clone();
        let good = advert.encode(from, to);
        let mut bytes = good.clone();
        bytes[at] ^= 1 << bit;
        prop_assert!(Advert::decode(&bytes, from, to).is_err());
    }
}
