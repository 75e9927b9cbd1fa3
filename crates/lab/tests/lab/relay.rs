use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

use mainstay_lab::{Bound, Mode, Publication, Relays};
use mainstay_site::plan::Transport;

use crate::bench::{SOON, root, site, start};

/// Where nobody listens: no test is given a port below 1024, so none comes to listen there.
const DEAD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

fn publish(transport: Transport, targets: Vec<SocketAddr>, inside: Option<&str>) -> (SocketAddr, Relays) {
    let listen = ([127, 0, 0, 1], 0).into();
    let publication = Publication { what: "test".into(), transport, listen, targets: targets.into() };
    let bound = Bound::bind(vec![publication]).unwrap();
    let address = bound.addresses()[0].2;
    (address, bound.serve(inside).unwrap())
}

/// Reads to the end before it answers, as only a half-closed connection allows.
fn answer_after_end(listener: &TcpListener) -> SocketAddr {
    let (mut stream, peer) = listener.accept().unwrap();
    let mut question = Vec::new();
    stream.read_to_end(&mut question).unwrap();
    stream.write_all(&question).unwrap();
    peer
}

fn ask(address: SocketAddr, question: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(question).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn streams_go_through_the_internet_half_closed_and_whole() {
    if !root() {
        return;
    }
    let bench = start(site("tcp", &["10.80.0.11"]), Mode::Namespaces);
    let listener = bench.listen("web1", 80);
    let (address, _relays) = publish(Transport::Tcp, vec![listener.local_addr().unwrap()], bench.lab.internet());
    // More than all buffers on the way together, so that neither end can be done before the other begins.
    let question: Vec<u8> = (0_u32..8 << 20).map(|index| index.wrapping_mul(31) as u8).collect();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| answer_after_end(&listener));
        assert!(ask(address, &question) == question);
        assert_eq!(server.join().unwrap().ip().to_string(), "203.0.113.254", "the site sees a client from outside");
    });
}

#[test]
fn a_front_server_that_refuses_is_passed_over() {
    let alive = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, _relays) = publish(Transport::Tcp, vec![DEAD, alive.local_addr().unwrap()], None);
    for _ in 0..4 {
        std::thread::scope(|scope| {
            scope.spawn(|| answer_after_end(&alive));
            assert_eq!(ask(address, b"hello"), b"hello");
        });
    }
}

#[test]
fn a_broken_connection_is_broken_on_the_other_side_too() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, _relays) = publish(Transport::Tcp, vec![server.local_addr().unwrap()], None);
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let (stream, _) = server.accept().unwrap();
    // Closing with unread bytes resets a connection (RFC 1122 § 4.2.2.13).
    client.write_all(b"unread").unwrap();
    stream.peek(&mut [0; 1]).unwrap();
    drop(stream);
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn nobody_behind_means_refused_not_empty() {
    let (address, _relays) = publish(Transport::Tcp, vec![DEAD], None);
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn datagrams_find_their_way_back_and_past_a_silent_server() {
    if !root() {
        return;
    }
    let bench = start(site("udp", &["10.80.0.11", "10.80.0.12"]), Mode::Namespaces);
    // web1 is there and has nothing on its port.
    let silent = SocketAddr::new(bench.address("web1"), 53);
    let server = bench.datagrams("web2", 53);
    server.set_read_timeout(Some(SOON)).unwrap();
    let targets = vec![silent, server.local_addr().unwrap()];
    let (address, _relays) = publish(Transport::Udp, targets, bench.lab.internet());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let mut buffer = [0; 64];
                let (bytes, from) = server.recv_from(&mut buffer).unwrap();
                server.send_to(&buffer[..bytes], from).unwrap();
            }
        });
        for name in [b"one", b"two"] {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(crate::bench::MOMENT)).unwrap();
            let mut buffer = [0; 64];
            let answered = (0..4).find_map(|_| {
                client.send_to(name, address).unwrap();
                client.recv(&mut buffer).ok()
            });
            assert_eq!(&buffer[..answered.expect("an answer after asking again")], name);
        }
    });
}

#[test]
fn a_taken_port_is_named_with_its_holder() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = holder.local_addr().unwrap();
    let wanted = Publication { what: "http".into(), transport: Transport::Tcp, listen, targets: Vec::new().into() };
    let Err(taken) = Bound::bind(vec![wanted]) else { panic!("it is taken") };
    let said = taken.to_string();
    assert!(said.starts_with(&format!("{listen} for http is taken by ")), "{said}");
    assert!(said.ends_with(&format!("(process {})", std::process::id())), "{said}");
}
