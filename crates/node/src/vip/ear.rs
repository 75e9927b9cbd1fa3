//! What is heard: which of it is believed, and what it says.

use std::net::{IpAddr, Ipv4Addr};

use mainstay_machines::vrrp::Input;
use mainstay_machines::vrrp::packet::{Advert, GROUP_V6, HOPS};
use mainstay_site::plan::Vip;

use super::seal::{Disbelief, SEAL_BYTES, Seal};

/// VRRP version 3, and a type that is ours: somebody is there who does not hold the address. Others pass over it.
const HELLO: u8 = 0x32;
const HELLO_BYTES: usize = 8;

/// Why something is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is no packet of VRRP's, or none that was sent on this wire.
    Malformed,
    /// Its sender is none of the balancers.
    Stranger,
    /// It is about another address.
    Foreign,
    /// It is not signed as it should be.
    Unbelieved(Disbelief),
}

/// The packet by which one that does not hold the address says that it is there.
pub(super) fn hello(router: u8) -> Vec<u8> {
    vec![HELLO, router, 0, 0, 0, 0, 0, 0]
}

/// What a datagram says, and of which virtual router.
pub(super) fn hear(plan: &Vip, seal: Option<&mut Seal>, datagram: &[u8], from: IpAddr) -> Result<(u8, Input), Refused> {
    let (packet, to) = payload(plan, datagram).ok_or(Refused::Malformed)?;
    // Whoever joined the group hears himself.
    let known = plan.multicast || plan.peers.iter().any(|(_, peer)| *peer == from);
    if !known || from == plan.address {
        return Err(Refused::Stranger);
    }
    let fitness = seal.map(|seal| seal.open(from, packet)).transpose().map_err(Refused::Unbelieved)?;
    match (fitness, packet.first()) {
        (Some(fitness), Some(&HELLO)) if packet.len() == HELLO_BYTES + SEAL_BYTES => {
            Ok((packet[1], Input::Hello { from, fitness }))
        }
        (fitness, _) => {
            let (advert, _) = Advert::decode(packet, from, to).map_err(|_| Refused::Malformed)?;
            let router = plan.routers.iter().find(|router| router.number == advert.router);
            if !router.is_some_and(|router| advert.addresses.contains(&router.address)) {
                return Err(Refused::Foreign);
            }
            let (priority, interval) = (advert.priority, advert.interval);
            Ok((advert.router, Input::Advert { from, priority, interval, fitness }))
        }
    }
}

/// What is behind the head of IPv4, which a raw socket gives too (raw(7)), and to whom it was sent.
fn payload<'d>(plan: &Vip, datagram: &'d [u8]) -> Option<(&'d [u8], IpAddr)> {
    if plan.address.is_ipv6() {
        // The kernel has looked at the hop limit.
        return Some((datagram, if plan.multicast { GROUP_V6.into() } else { plan.address }));
    }
    let head = usize::from(datagram.first()? & 0xf) * 4;
    let to: [u8; 4] = datagram.get(16..20)?.try_into().ok()?;
    (*datagram.get(8)? == HOPS && head >= 20).then_some(())?;
    Some((datagram.get(head..)?, Ipv4Addr::from(to).into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mainstay_machines::vrrp::Fitness;
    use mainstay_site::plan::VirtualRouter;
    use proptest::prelude::*;

    use super::*;

    const KEY: &[u8] = b"key";

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 80, 0, last).into()
    }

    fn plan(signed: bool) -> Vip {
        Vip {
            address: address(11),
            routers: vec![VirtualRouter { number: 100, address: address(100), priority: 254 }],
            peers: vec![("lb2".into(), address(12))],
            interval_ms: 250,
            preempt: false,
            multicast: false,
            signed,
            door: "10.80.0.11:80".parse().unwrap(),
            maintained: false,
        }
    }

    fn advert(holds: u8) -> Vec<u8> {
        let interval = Duration::from_millis(250);
        let advert = Advert { router: 100, priority: 204, interval, addresses: vec![address(holds)] };
        advert.encode(address(12), address(11))
    }

    fn datagram(packet: &[u8], hops: u8) -> Vec<u8> {
        let mut head = vec![0; 20];
        (head[0], head[8]) = (0x45, hops);
        head[12..16].copy_from_slice(&[10, 80, 0, 12]);
        head[16..20].copy_from_slice(&[10, 80, 0, 11]);
        head.extend(packet);
        head
    }

    fn signed(mut packet: Vec<u8>, by: &mut Seal) -> Vec<u8> {
        by.put(&mut packet, Fitness::Empty);
        packet
    }

    #[test]
    fn among_kin_only_what_is_signed_is_believed() {
        let (plan, mut seal) = (plan(true), Seal::new(KEY, address(11), None));
        let mut heard = |packet: &[u8]| hear(&plan, Some(&mut seal), &datagram(packet, 255), address(12));
        // One sender goes on with one seal: two that were made within a millisecond begin with the same number.
        let mut them = Seal::new(KEY, address(12), None);
        let mut forger = Seal::new(b"other", address(12), None);
        let good = signed(advert(100), &mut them);
        let interval = Duration::from_millis(250);
        let fitness = Some(Fitness::Empty);
        assert_eq!(heard(&good), Ok((100, Input::Advert { from: address(12), priority: 204, interval, fitness })));
        assert_eq!(heard(&good), Err(Refused::Unbelieved(Disbelief::Replayed)));
        assert_eq!(heard(&advert(100)), Err(Refused::Unbelieved(Disbelief::Unsigned)));
        assert_eq!(heard(&signed(advert(100), &mut forger)), Err(Refused::Unbelieved(Disbelief::Forged)));
        let told = heard(&signed(hello(100), &mut them)).unwrap();
        assert_eq!(told, (100, Input::Hello { from: address(12), fitness: Fitness::Empty }));
    }

    #[test]
    fn among_strangers_what_is_right_is_believed() {
        let plan = plan(false);
        let heard = |packet: &[u8], hops, from| hear(&plan, None, &datagram(packet, hops), from);
        assert!(heard(&advert(100), 255, address(12)).is_ok());
        assert_eq!(heard(&advert(100), 254, address(12)), Err(Refused::Malformed));
        assert_eq!(heard(&advert(100), 255, address(13)), Err(Refused::Stranger));
        assert_eq!(heard(&advert(101), 255, address(12)), Err(Refused::Foreign));
        assert_eq!(heard(&hello(100), 255, address(12)), Err(Refused::Malformed));
    }

    proptest! {
        #[test]
        fn whatever_arrives_does_no_harm(datagram in prop::collection::vec(any::<u8>(), 0..160), six in any::<bool>()) {
            let mut plan = plan(false);
            if six {
                plan.address = "fd00::1".parse().unwrap();
            }
            let _ = hear(&plan, None, &datagram, address(12));
            let mut seal = Seal::new(KEY, plan.address, None);
            prop_assert!(hear(&plan, Some(&mut seal), &datagram, address(12)).is_err());
        }
    }
}
