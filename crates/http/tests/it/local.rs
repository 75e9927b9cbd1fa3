//! A tier that runs on the same server.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_http::{Address, Local, Reuse, Settings, Speaks};

use crate::engine::{Engine, backend, filled, limits, pass, pool_of, request, value};

/// A tier whose backend says in its answer how long the body was that it got.
fn tier() -> Engine {
    let address = backend(|mut client| {
        while let Some(head) = request(&mut client) {
            let length = value(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            client.reader().read_exact(&mut vec![0; length]).unwrap();
            let says = length.to_string();
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{says}", says.len()).as_bytes());
        }
    });
    Engine::new(&[address])
}

/// One that asks it.
fn before(path: &Path, address: SocketAddr) -> Engine {
    let local = Address::Local(Local { paths: vec![path.to_owned()], address });
    let settings = Settings { reuse: Reuse::Lively, ..Settings::default() };
    Engine::start(Vec::new(), pool_of([local].into_iter(), settings), Speaks::Http, limits())
}

/// Where nobody listens.
fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn it_is_asked_through_its_unix_socket_and_every_request_on_the_same_connection() {
    let tier = tier();
    let engine = before(&tier.local, nowhere());
    let mut client = engine.connect();
    for length in [0, 1, 10_000, 1_000_000] {
        // One that was silent for so long may be off, were it elsewhere.
        pass(Duration::from_millis(5));
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        client.send(&[head.as_bytes(), &vec![b'x'; length]].concat());
        assert_eq!(client.answer().body, length.to_string().as_bytes());
        assert_eq!(client.get("/").body, b"0");
    }
    assert_eq!(tier.total("connections_total"), 1);
}

#[test]
fn its_cores_are_asked_in_turn() {
    let tiers = [tier(), tier()];
    let paths = tiers.iter().map(|tier| tier.local.clone()).collect();
    let local = Address::Local(Local { paths, address: nowhere() });
    let settings = Settings { reuse: Reuse::Never, ..Settings::default() };
    let engine = Engine::start(Vec::new(), pool_of([local].into_iter(), settings), Speaks::Http, limits());
    let mut client = engine.connect();
    (0..20).for_each(|_| assert_eq!(client.get("/").status, 200));
    // Other tests of this process take turns too.
    assert!(tiers.iter().all(|tier| tier.total("connections_total") > 0));
}

#[test]
fn who_comes_through_it_is_of_this_server() {
    let tier = tier();
    let asked = |path: &str| {
        let mut stream = UnixStream::connect(&tier.local).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(asked("/").starts_with("HTTP/1.1 200 "));
    assert!(asked("/stub_status").contains("Active connections"));
}

#[test]
fn without_the_socket_it_is_asked_over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let (none, left, full) = (place("none"), place("left"), place("full"));
    drop(UnixListener::bind(&left).unwrap());
    let _full = filled(&full);
    for path in [none, left, full, PathBuf::from("/x".repeat(100))] {
        let tier = tier();
        let engine = before(&path, tier.address);
        assert_eq!(engine.connect().get("/").status, 200, "{}", path.display());
        assert_eq!(tier.total("connections_total"), 1);
    }
}
