use std::net::SocketAddr;

use mainstay_lab::{Cable, Mode};

use crate::bench::{MOMENT, SOON, root, site, start};

/// Addresses of unrelated networks, one of them the internet client's first choice.
#[test]
fn servers_and_the_internet_reach_each_other_whatever_their_addresses() {
    if !root() {
        return;
    }
    for addresses in [["10.80.0.11", "192.168.7.2", "203.0.113.254"], ["fd00:80::11", "2001:db8::2", "fc01::3"]] {
        let bench = start(site("reach", &addresses), Mode::Namespaces);
        let names = ["web1", "web2", "web3"];
        for target in names {
            let listener = bench.listen(target, 80);
            let to = listener.local_addr().unwrap();
            let inside = names.map(|name| bench.namespace(name));
            for from in inside.iter().map(String::as_str).chain(bench.lab.internet()) {
                let stream = bench.connect(from, to, SOON).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
                let (_, seen) = listener.accept().unwrap();
                assert_eq!(seen, stream.local_addr().unwrap(), "no address is translated");
            }
        }
    }
}

#[test]
fn a_pulled_cable_cuts_one_server_off_until_it_is_plugged_in() {
    if !root() {
        return;
    }
    let bench = start(site("cable", &["10.80.0.11", "10.80.0.12", "10.80.0.13"]), Mode::Namespaces);
    let wires = bench.lab.record().wires.clone().unwrap();
    let (cut, other) = (bench.listen("web1", 80), bench.listen("web3", 80));
    let reach = |to: SocketAddr| bench.connect(&bench.namespace("web2"), to, MOMENT);
    reach(cut.local_addr().unwrap()).unwrap();
    wires.cable(&"web1".into(), Cable::Pulled).unwrap();
    reach(cut.local_addr().unwrap()).unwrap_err();
    reach(other.local_addr().unwrap()).unwrap();
    wires.cable(&"web1".into(), Cable::Plugged).unwrap();
    bench.connect(&bench.namespace("web2"), cut.local_addr().unwrap(), SOON).unwrap();
    assert!(wires.cable(&"web9".into(), Cable::Pulled).unwrap_err().to_string().contains("web9"));
}

#[test]
fn packets_are_lost_one_way_and_healed() {
    if !root() {
        return;
    }
    let bench = start(site("oneway", &["10.80.0.11", "10.80.0.12"]), Mode::Namespaces);
    let wires = bench.lab.record().wires.clone().unwrap();
    let (one, two) = (bench.datagrams("web1", 5000), bench.datagrams("web2", 5000));
    for socket in [&one, &two] {
        socket.set_read_timeout(Some(MOMENT)).unwrap();
    }
    let passes = |from: &std::net::UdpSocket, to: &std::net::UdpSocket| {
        from.send_to(b"?", to.local_addr().unwrap()).unwrap();
        to.recv(&mut [0; 8]).is_ok()
    };
    assert!(passes(&one, &two) && passes(&two, &one));
    wires.drop_one_way(&"web1".into(), &"web2".into()).unwrap();
    assert!(!passes(&one, &two) && passes(&two, &one));
    wires.heal().unwrap();
    assert!(passes(&one, &two) && passes(&two, &one));
    wires.part(&["web1".into()], &["web2".into()]).unwrap();
    assert!(!passes(&one, &two) && !passes(&two, &one));
    wires.heal().unwrap();
    wires.heal().unwrap();
    assert!(passes(&one, &two));
}

#[test]
fn two_sites_with_the_same_addresses_do_not_meet() {
    if !root() {
        return;
    }
    let addresses = ["10.80.0.11", "10.80.0.12"];
    let (one, two) =
        (start(site("one", &addresses), Mode::Namespaces), start(site("two", &addresses), Mode::Namespaces));
    let listener = one.listen("web1", 80);
    let to = listener.local_addr().unwrap();
    one.connect(&one.namespace("web2"), to, SOON).unwrap();
    let refused = two.connect(&two.namespace("web2"), to, SOON).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "its own web1 answers, and has no listener");
}
