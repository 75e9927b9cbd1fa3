//! Datagrams and streams.

use std::io;
use std::net::{TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::{Counters, Transport, answer, count};
use super::presence::Presence;
use super::zone::Zone;

/// The largest question that is read: no sensible one exceeds it, a longer datagram is cut off and then malformed.
const QUESTION_BYTES_MAX: usize = 4_096;
/// How long a connection may be silent between two questions (RFC 7766 § 6.2.3: "on the order of a few seconds").
const IDLE: Duration = Duration::from_secs(5);
/// How long one answer may take to be taken.
const WRITE: Duration = Duration::from_secs(5);
/// Connections at once on one listener; well below a process's usual 1,024 descriptors, so that datagrams are answered
/// whatever happens on TCP.
const CONNECTIONS_MAX: usize = 256;
/// The pause after an accept failed for want of descriptors: it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes over a socket that the supervisor bound.
pub fn udp(socket: StdUdpSocket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Takes over a listener that the supervisor bound.
pub fn tcp(listener: StdTcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Answers every datagram.
pub async fn datagrams(socket: UdpSocket, zone: Arc<Zone>, presence: Arc<Presence>, counters: Arc<Counters>) {
    let mut buffer = [0; QUESTION_BYTES_MAX];
    loop {
        // An error here is an ICMP answer to something sent earlier; it says nothing of this socket.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if from.port() == 0 {
            continue;
        }
        if let Some(bytes) = answer(&zone, &presence, &counters, &buffer[..length], Transport::Udp) {
            // A full send buffer loses the answer, as UDP may; the resolver asks again.
            let _ = socket.try_send_to(&bytes, from);
        }
    }
}

/// Serves every connection.
pub async fn streams(listener: TcpListener, zone: Arc<Zone>, presence: Arc<Presence>, counters: Arc<Counters>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            count(&counters.connections_refused);
            continue;
        };
        let (zone, presence, counters) = (zone.clone(), presence.clone(), counters.clone());
        tokio::spawn(async move {
            let _ = conversation(stream, &zone, &presence, &counters).await;
            drop(place);
        });
    }
}

/// Questions and answers, each behind its length (RFC 1035 § 4.2.2), until the asker leaves or falls silent.
async fn conversation(mut stream: TcpStream, zone: &Zone, presence: &Presence, counters: &Counters) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        timeout(IDLE, question(&mut stream, &mut buffer)).await??;
        let Some(bytes) = answer(zone, presence, counters, &buffer, Transport::Tcp) else { return Ok(()) };
        timeout(WRITE, stream.write_all(&framed(&bytes))).await??;
    }
}

async fn question(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    if length > QUESTION_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    buffer.resize(length, 0);
    stream.read_exact(buffer).await.map(drop)
}

/// Length and answer in one piece, so that they leave in one segment (RFC 7766 § 8).
fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), bytes].concat()
}
