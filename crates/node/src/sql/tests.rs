//! Endpoints in front of servers that greet and echo, while who leads changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_site::names::ServerName;
use mainstay_site::plan;
use mainstay_site::wire::database::{LEADER, Leader, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};

use super::choice::{Check, Leadership, Replication, Seen, Source};
use super::endpoint::{Endpoint, Kind, Places};
use super::ferry::Ferry;
use super::leadership;
use super::servers::Servers;
use crate::store::{Embedded, Store, Swap, Write};

/// The first bytes of a client without encryption.
const HELLO: [u8; 12] = [8, 0, 0, 1, 0x85, 0xa6, 0, 0, 0, 0, 0, 1];
/// Far above what anything here takes.
const DEADLINE: Duration = Duration::from_secs(10);

/// A server that greets with its one letter and says again what it is told.
async fn echo(letter: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = client.write_all(&[letter]).await;
                let (mut from, mut to) = split(client);
                let _ = copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

struct Scene {
    servers: Arc<Servers>,
    writer: SocketAddr,
    reader: SocketAddr,
    counted: Arc<Endpoint>,
}

impl Scene {
    /// Two servers `a` and `b`, of which the first leads in epoch 3.
    async fn new() -> Scene {
        let (first, second) = (echo(b'a').await, echo(b'b').await);
        let config = plan::Sql {
            primary: (ServerName::from("db1"), first),
            replicas: vec![(ServerName::from("db2"), second)],
            max_lag_ms: 5_000,
            store: Vec::new(),
        };
        let servers = Arc::new(Servers::new(&config, Leadership::UNKNOWN, ""));
        let (writer, counted) = open(&servers, Kind::Writer).await;
        let (reader, _) = open(&servers, Kind::Reader).await;
        let scene = Scene { servers, writer, reader, counted };
        scene.note(0, false);
        scene.note(1, true);
        scene.lead(Some(0), 3);
        scene
    }

    fn lead(&self, leader: Option<usize>, epoch: u64) {
        self.servers.follow(Leadership { leader, epoch, source: Source::Store });
    }

    fn note(&self, index: usize, read_only: bool) {
        let replication = Replication { source: "127.0.0.1".into(), applying: true, lag_s: Some(0) };
        self.servers.note(index, Check::Well(Seen { read_only, replication: read_only.then_some(replication) }));
    }
}

async fn open(servers: &Arc<Servers>, kind: Kind) -> (SocketAddr, Arc<Endpoint>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, endpoint) = (
        listener.local_addr().unwrap(),
        Arc::new(Endpoint::new(kind, servers.clone(), Places::default(), Arc::new(Ferry::start().unwrap()))),
    );
    tokio::spawn(endpoint.clone().accept(listener));
    (address, endpoint)
}

/// A client that was greeted, said hello and made a statement.
async fn client(at: SocketAddr) -> (u8, TcpStream) {
    let mut client = TcpStream::connect(at).await.unwrap();
    let letter = client.read_u8().await.unwrap();
    say(&mut client, &HELLO).await;
    say(&mut client, b"SELECT").await;
    (letter, client)
}

async fn say(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).await.unwrap();
    let mut answer = vec![0; bytes.len()];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, bytes);
}

async fn within<T>(what: &str, it: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, it).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

#[tokio::test]
async fn a_new_leader_cuts_the_writers_of_the_old_and_gets_the_next() {
    let scene = Scene::new().await;
    let (letter, mut old) = within("the first leader", client(scene.writer)).await;
    let (read_from, mut reading) = within("a replica", client(scene.reader)).await;
    assert_eq!((letter, read_from), (b'a', b'b'));

    scene.lead(Some(1), 9);
    let mut error = Vec::new();
    within("the old one is told", old.read_to_end(&mut error)).await.unwrap();
    let text = String::from_utf8_lossy(&error);
    assert!(error[4..7] == [0xff, 0xbf, 0x0f] && text.contains("db2 is the primary now"), "{text}");
    assert!(old.write_all(b"SELECT").await.is_ok(), "it is heard to its end, or the error would be lost");
    drop(old);

    let held = tokio::spawn(client(scene.writer));
    let is_held = || scene.counted.counters.held.load(std::sync::atomic::Ordering::Relaxed) == 1;
    within("the next one is held", async {
        while !is_held() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    scene.note(1, false);
    assert_eq!(within("it reaches the new leader", held).await.unwrap().0, b'b');
    within("who reads from a server that was no leader stays", say(&mut reading, b"SELECT")).await;
}

#[tokio::test]
async fn the_same_leader_in_a_later_epoch_is_another() {
    let scene = Scene::new().await;
    let (_, mut old) = within("the leader", client(scene.writer)).await;
    scene.lead(Some(0), 5);
    let mut error = Vec::new();
    within("the old epoch ends", old.read_to_end(&mut error)).await.unwrap();
    assert!(String::from_utf8_lossy(&error).contains("db1 is the primary now"));
    assert_eq!(within("the new one", client(scene.writer)).await.0, b'a');
}

#[tokio::test]
async fn while_nobody_leads_nobody_writes_and_replicas_are_read() {
    let scene = Scene::new().await;
    let (_, mut old) = within("the leader", client(scene.writer)).await;
    scene.lead(None, 3);
    within("it is cut", old.read_to_end(&mut Vec::new())).await.unwrap();
    assert_eq!(within("the replica", client(scene.reader)).await.0, b'b');
    assert_eq!(scene.counted.counters.cut_within.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_stores_word_is_followed() {
    let scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(Arc::new(Embedded::open(&folder.path().join("store")).unwrap()));
    tokio::spawn(leadership::follow(store.clone(), scene.servers.clone()));
    within("nobody leads yet", scene.servers.changes().wait_for(|world| world.leadership.leader.is_none()))
        .await
        .unwrap();
    let leader = Leader { server: "db2".into(), address: "127.0.0.1:1".parse().unwrap() };
    let put = Write::Put { key: LEADER.into(), value: encode(&leader), lease: None };
    let Swap::Done(revision) = store.transact(&[], &[put]).await.unwrap() else { panic!() };
    scene.note(1, false);
    let (letter, mut writing) = within("the leader", client(scene.writer)).await;
    assert_eq!((letter, scene.servers.leadership().epoch), (b'b', revision.0));
    store.transact(&[], &[Write::Delete(LEADER.into())]).await.unwrap();
    within("it is cut", writing.read_to_end(&mut Vec::new())).await.unwrap();
    assert_eq!(scene.servers.leadership().leader, None);
}
