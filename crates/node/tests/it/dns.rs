//! The name server as `dig` sees it.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use mainstay_node::dns;
use mainstay_site::model::{Record, Www};
use mainstay_site::names::{Domain, Role};
use mainstay_site::plan::{self, Config};

use crate::support::{self, Running, launch, output};

fn zone(www: Www) -> plan::Dns {
    let record = |name: &str, kind: &str, value: &str| Record {
        name: name.into(),
        kind: kind.into(),
        value: value.into(),
        ttl: 60,
    };
    let long = format!("\"{}\"", "x".repeat(250));
    plan::Dns {
        zone: Domain::from("foobar.com"),
        www,
        serial: 42,
        addresses: vec!["10.80.0.10".parse().unwrap(), "fd00::10".parse().unwrap()],
        name_servers: vec![
            ("ns1.foobar.com".into(), "10.80.0.10".parse().unwrap()),
            ("ns2.foobar.com".into(), "10.80.0.11".parse().unwrap()),
        ],
        hosts: vec![("server1.foobar.com".into(), "10.80.0.11".parse().unwrap())],
        records: vec![
            record("@", "MX", "10 mail.example.com."),
            record("@", "TXT", "\"v=spf1 mx -all\""),
            record("big", "TXT", &[long.as_str(); 8].join(" ")),
            record("mid", "TXT", &[long.as_str(); 3].join(" ")),
        ],
        ttl: 3600,
        watched: Vec::new(),
    }
}

struct Server {
    running: Running,
    port: u16,
}

impl Server {
    fn start(www: Www) -> Server {
        let config = zone(www);
        let (sockets, port) = support::sockets("dns");
        let launch = launch("dns", Role::Dns, Config::Dns(config.clone()), Path::new("/nonexistent"));
        let running = Running::start(launch, sockets, move |context| dns::run(context, &config).unwrap());
        Server { running, port }
    }

    fn dig(&self, question: &[&str]) -> String {
        let port = self.port.to_string();
        let fixed = ["@127.0.0.1", "-p", &port, "+tries=1", "+time=5", "+nocookie"];
        output("dig", &[fixed.as_slice(), question].concat())
    }

    fn short(&self, question: &[&str]) -> Vec<String> {
        let mut lines: Vec<_> = self.dig(&[&["+short"], question].concat()).lines().map(String::from).collect();
        lines.sort();
        lines
    }
}

#[test]
fn www_as_an_alias_or_as_addresses() {
    let alias = Server::start(Www::Cname);
    assert_eq!(alias.short(&["www.foobar.com", "A"]), ["10.80.0.10", "foobar.com."]);
    assert_eq!(alias.short(&["+tcp", "www.foobar.com", "AAAA"]), ["fd00::10", "foobar.com."]);
    let own = Server::start(Www::Address);
    assert_eq!(own.short(&["www.foobar.com", "A"]), ["10.80.0.10"]);
    assert_eq!(own.short(&["www.foobar.com", "CNAME"]), [""; 0]);
}

#[test]
fn the_rest_of_the_zone() {
    let server = Server::start(Www::Cname);
    assert_eq!(
        server.short(&["foobar.com", "SOA"]),
        ["ns1.foobar.com. hostmaster.foobar.com. 42 86400 7200 3600000 300"]
    );
    assert_eq!(server.short(&["foobar.com", "MX"]), ["10 mail.example.com."]);
    assert_eq!(server.short(&["foobar.com", "TXT"]), ["\"v=spf1 mx -all\""]);
    assert_eq!(server.short(&["server1.foobar.com", "A"]), ["10.80.0.11"]);
    let servers = server.dig(&["foobar.com", "NS"]);
    assert!(servers.contains("ADDITIONAL: 3"), "two name servers' glue and OPT: {servers}");
    assert!(servers.contains("ns2.foobar.com.\t\t3600\tIN\tA\t10.80.0.11"), "{servers}");
}

#[test]
fn what_is_not_there_and_what_is_not_ours() {
    let server = Server::start(Www::Cname);
    let nothing = server.dig(&["nope.foobar.com", "A"]);
    assert!(nothing.contains("status: NXDOMAIN") && nothing.contains("flags: qr aa rd;"), "{nothing}");
    assert!(nothing.contains("foobar.com.\t\t300\tIN\tSOA"), "kept for five minutes: {nothing}");
    let no_data = server.dig(&["server1.foobar.com", "AAAA"]);
    assert!(no_data.contains("status: NOERROR") && no_data.contains("AUTHORITY: 1"), "{no_data}");
    let foreign = server.dig(&["example.org", "A"]);
    assert!(foreign.contains("status: REFUSED") && foreign.contains("recursion requested but not"), "{foreign}");
    assert!(server.dig(&["foobar.com", "AXFR"]).contains("Transfer failed"));
    assert!(server.dig(&["foobar.com", "CH", "TXT"]).contains("status: REFUSED"));
    assert!(server.dig(&["+edns=1", "+noednsneg", "foobar.com"]).contains("status: BADVERS"));
    server.running.until("four refusals and a missing name are counted", |report| {
        report.counters["answers_nonexistent_total"] == 1 && report.counters["answers_refused_total"] >= 3
    });
}

#[test]
fn letter_case_is_ignored_and_given_back() {
    let server = Server::start(Www::Cname);
    let answer = server.dig(&["wWw.FooBar.Com", "A"]);
    assert!(answer.contains(";wWw.FooBar.Com."), "{answer}");
    assert!(answer.contains("wWw.FooBar.Com.\t\t3600\tIN\tCNAME"), "{answer}");
    assert!(answer.contains("10.80.0.10"), "{answer}");
}

#[test]
fn a_long_answer_is_cut_off_and_asked_again_by_tcp() {
    let server = Server::start(Www::Cname);
    let cut = server.dig(&["+ignore", "+bufsize=4096", "big.foobar.com", "TXT"]);
    assert!(cut.contains("flags: qr aa tc") && cut.contains("ANSWER: 0"), "{cut}");
    assert_eq!(server.short(&["big.foobar.com", "TXT"])[0].len(), 8 * 253 - 1);
    let plain = server.dig(&["+ignore", "+noedns", "mid.foobar.com", "TXT"]);
    assert!(plain.contains(" tc "), "512 bytes without EDNS: {plain}");
    let extended = server.dig(&["+ignore", "+bufsize=1232", "mid.foobar.com", "TXT"]);
    assert!(!extended.contains(" tc ") && extended.contains("ANSWER: 1"), "{extended}");
}

#[test]
fn several_questions_on_one_connection_and_rubbish_between() {
    let server = Server::start(Www::Cname);
    let rubbish = UdpSocket::bind("127.0.0.1:0").unwrap();
    for bytes in [&b"x"[..], &[0xff; 40], &[0; 11], &[0; 4096]] {
        rubbish.send_to(bytes, ("127.0.0.1", server.port)).unwrap();
    }
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for _ in 0..2 {
        stream.write_all(b"\0\x1c\x12\x34\0\0\0\x01\0\0\0\0\0\0\x06foobar\x03com\0\0\x01\0\x01").unwrap();
        let mut head = [0; 14];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[2..4], [0x12, 0x34]);
        assert_eq!(head[4..6], [0x84, 0], "an authoritative answer, no recursion, no error");
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[0], head[1]])) - 12];
        stream.read_exact(&mut rest).unwrap();
    }
}
