//! By source: a client keeps its member as long as the membership is the same.
//!
//! Rendezvous hashing with weights (Thaler and Ravishankar, 1998; Schindelhauer and Schomaker, 2005): a member's score
//! for a client is `weight / -ln(u)`, where `u` in (0, 1) is the hash of both, and the highest wins. When a member leaves,
//! its clients alone move, each to its own second choice; when one comes, it takes its share and nothing else moves. It
//! costs a hash for every member and keeps nothing.

use std::net::IpAddr;

use super::hash;

/// The key of a client. IPv6 counts by its /64: a host changes the rest at will (RFC 8981), and that is what one customer
/// is given at least (RFC 6177). IPv4 within IPv6 counts as IPv4.
pub fn key(seed: u64, client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => hash::bytes(seed, &address.octets()),
        IpAddr::V6(address) => hash::bytes(seed, &address.octets()[..8]),
    }
}

/// The identity of a member: its name's hash, worked out once, so that it is the same wherever it is in the list.
pub fn identity(name: &str) -> u64 {
    hash::bytes(0, name.as_bytes())
}

/// Chooses among members, each an [`identity`] and a weight, the client's first choice that is free.
pub fn pick(members: &[(u64, u16)], key: u64, free: impl Fn(usize) -> bool) -> Option<usize> {
    let score = |place: usize| {
        let (identity, weight) = members[place];
        // 52 bits and a half: never 0 or 1.
        let unit = ((hash::mix(identity ^ key) >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
        f64::from(weight.max(1)) / -unit.ln()
    };
    let scored = (0..members.len()).filter(|place| free(*place)).map(|place| (place, score(place)));
    scored.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(weights: &[u16]) -> Vec<(u64, u16)> {
        weights.iter().enumerate().map(|(place, weight)| (identity(&format!("server{place}")), *weight)).collect()
    }

    #[test]
    fn a_client_is_known_by_its_network() {
        let key = |text: &str| key(1, text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.2"), key("192.0.2.1"));
    }

    #[test]
    fn clients_are_spread_by_weight() {
        let weights = [1, 2, 3, 4];
        let members = members(&weights);
        let mut served = [0u16; 4];
        for client in 0..10_000u32 {
            served[pick(&members, key(1, IpAddr::from(client.to_be_bytes())), |_| true).unwrap()] += 1;
        }
        for (place, weight) in weights.iter().enumerate() {
            assert!(served[place].abs_diff(weight * 1_000) < 150, "{served:?}");
        }
        assert_eq!(pick(&[], 1, |_| true), None);
    }

    proptest! {
        /// The same client has the same member each time, in a list of any order; when a member leaves, its clients
        /// alone move; one that is not free is as one that left.
        #[test]
        fn a_client_keeps_its_member(
            weights in prop::collection::vec(0u16..20, 1..8),
            key in any::<u64>(),
            leaver in any::<prop::sample::Index>(),
        ) {
            let members = members(&weights);
            let chosen = pick(&members, key, |_| true).unwrap();
            let mut turned = members.clone();
            turned.reverse();
            prop_assert_eq!(turned[pick(&turned, key, |_| true).unwrap()], members[chosen]);
            let leaver = leaver.index(members.len());
            let mut rest = members.clone();
            rest.remove(leaver);
            let then = pick(&rest, key, |_| true).map(|place| rest[place]);
            prop_assert!(leaver == chosen || then == Some(members[chosen]));
            prop_assert_eq!(pick(&members, key, |place| place != leaver).map(|place| members[place]), then);
        }
    }
}
