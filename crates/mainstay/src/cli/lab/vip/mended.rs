//! What becomes of connections that were there before the address moved.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mainstay_lab::scenario::Door;
use mainstay_lab::within;
use mainstay_site::wire::vip::Wish;
use tokio::net::TcpSocket;

use super::super::patience::{until, wait};
use super::super::stage::Stage;
use super::play::{LASTS, Scene, door, goes_on, moved, stayed, wish};

/// For an answer, or an end.
const PATIENCE: Duration = Duration::from_secs(2);
/// A reset comes at once: with the answer to the packet that nobody knows.
const AT_ONCE: Duration = Duration::from_millis(200);

/// A visitor's connection.
struct Held {
    stream: TcpStream,
    door: Door,
}

impl Held {
    fn open(stage: &Stage) -> anyhow::Result<Held> {
        let door = door(stage)?;
        let stream = within(&door.namespace, || stage.runtime.block_on(connect(door.address)))??;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Held { stream, door })
    }

    /// The first half of a request.
    fn begin(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"GET /index.html HTTP/1.1\r\n")
    }

    /// The other half, and the answer.
    fn finish(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(format!("Host: {}\r\n\r\n", self.door.host).as_bytes())?;
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains("somebody is here") {
            let mut piece = [0; 1024];
            let read = self.stream.read(&mut piece)?;
            ensure!(read > 0, "the connection ended after {} bytes", answer.len());
            answer.extend_from_slice(&piece[..read]);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "answered {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    fn ask(&mut self) -> anyhow::Result<()> {
        self.begin()?;
        self.finish()
    }

    /// Whether the other end closes it as it should, after what came before.
    fn is_closed(&mut self) -> anyhow::Result<()> {
        let mut piece = [0; 1024];
        let read = self.stream.read(&mut piece).context("it is not closed")?;
        ensure!(read == 0, "{read} bytes that nobody asked for");
        Ok(())
    }
}

/// From a port that nobody else gets. Those that the kernel gives come again within a minute when there are hundreds of connections a
/// second, and who has the address now may remember one of them as ended: he then answers it with an acknowledgement instead of a
/// reset, until he forgets it.
async fn connect(door: SocketAddr) -> std::io::Result<TcpStream> {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let socket = if door.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let any: IpAddr = if door.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    socket.bind((any, NEXT.fetch_add(1, Ordering::Relaxed)).into())?;
    socket.connect(door).await?.into_std()
}

/// Two connections from before the hand-over: one is in the middle of a request, one has nothing to ask.
struct Before {
    busy: Held,
    idle: Held,
}

impl Before {
    fn open(stage: &Stage) -> anyhow::Result<Before> {
        let mut before = Before { busy: Held::open(stage)?, idle: Held::open(stage)? };
        before.idle.ask()?;
        before.busy.begin()?;
        Ok(before)
    }

    /// What is wrong with how they end: one with its answer, the other one politely.
    fn end(mut self) -> Vec<String> {
        let answered = self.busy.finish().err().map(|error| format!("a request that was under way: {error:#}"));
        let closed = self.idle.is_closed().err().map(|error| format!("an idle connection: {error:#}"));
        answered.into_iter().chain(closed).collect()
    }
}

/// An operator has the address handed over.
pub fn hand_over(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    let before = Before::open(stage)?;
    wish(stage, &scene.master, Wish::Yield)?;
    until(PATIENCE, || Ok(moved(stage, scene).pop()))?;
    goes_on(scene)?;
    let mut wrong = before.end();
    wait(LASTS);
    wrong.extend(moved(stage, scene));
    wish(stage, &scene.master, Wish::Return)?;
    Ok(wrong)
}

/// The same, and back before the first connections have ended.
pub fn there_and_back(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    let mut first = Held::open(stage)?;
    first.begin()?;
    wish(stage, &scene.master, Wish::Yield)?;
    until(PATIENCE, || Ok(moved(stage, scene).pop()))?;
    let mut second = Held::open(stage)?;
    second.begin()?;
    wish(stage, &scene.master, Wish::Return)?;
    wish(stage, &scene.other, Wish::Yield)?;
    until(PATIENCE, || Ok(stayed(stage, scene).pop()))?;
    goes_on(scene)?;
    let ends = [("of the first time", first.finish()), ("of the second time", second.finish())];
    let wrong = ends.into_iter().filter_map(|(whose, end)| Some(format!("a request {whose}: {:#}", end.err()?)));
    let mut wrong: Vec<String> = wrong.collect();
    wait(LASTS);
    wrong.extend(stayed(stage, scene));
    wish(stage, &scene.other, Wish::Return)?;
    Ok(wrong)
}

/// Nobody answers for the connections of who is off; who has the address now says so.
pub fn strays(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    let mut held = Held::open(stage)?;
    held.ask()?;
    stage.lab()?.black_out(&scene.master)?;
    goes_on(scene)?;
    let begun = Instant::now();
    let ended = held.ask();
    let took = begun.elapsed();
    let kind = ended.as_ref().err().and_then(|error| error.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    let mut wrong = moved(stage, scene);
    if kind != Some(ErrorKind::ConnectionReset) || took > AT_ONCE {
        let ended = ended.err().map_or_else(|| "it was answered".to_owned(), |error| format!("{error:#}"));
        wrong.push(format!("a connection of before was not reset: {ended} after {} ms", took.as_millis()));
    }
    wait(LASTS);
    stage.lab()?.power_on_again(&scene.master)?;
    Ok(wrong)
}
