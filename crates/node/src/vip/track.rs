//! How fit this server is: its proxy is asked at its own door, as a visitor would.

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_machines::vrrp::Fitness;
use mainstay_machines::vrrp::track::{Seen, Track};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Between two questions.
const EVERY: Duration = Duration::from_millis(200);
/// For an answer. A proxy that was killed is started again at once and its connections wait: that takes a tenth of a second,
/// and must not move the address.
const WITHIN: Duration = Duration::from_millis(400);
const QUESTION: &[u8] = b"GET /.mainstay/health HTTP/1.1\r\nHost: health.mainstay\r\nConnection: close\r\n\r\n";

/// Asks for ever, and says what it comes to. `None`: it is not known yet.
pub(super) async fn track(door: SocketAddr, maintained: bool, fitness: watch::Sender<Option<Fitness>>) {
    let mut track = Track::new(maintained);
    loop {
        if let Some(changed) = track.see(ask(door).await) {
            fitness.send_replace(Some(changed));
        }
        sleep(EVERY).await;
    }
}

async fn ask(door: SocketAddr) -> Seen {
    let answer = timeout(WITHIN, async {
        let mut stream = TcpStream::connect(door).await?;
        stream.write_all(QUESTION).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        Ok::<_, std::io::Error>(head)
    });
    match answer.await {
        Ok(Ok(head)) if head.starts_with(b"HTTP/1.1 2") => Seen::Well,
        Ok(Ok(head)) if head.starts_with(b"HTTP/1.1 5") => Seen::Empty,
        _ => Seen::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_answer_is_silent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = listener.local_addr().unwrap();
        // The kernel accepts; nobody answers.
        assert_eq!(ask(door).await, Seen::Silent);
        drop(listener);
        assert_eq!(ask(door).await, Seen::Silent);
    }
}
