//! How fit this server is: its proxy is asked at its own door, as a visitor would.

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_machines::vrrp::Fitness;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Between two questions.
const EVERY: Duration = Duration::from_millis(200);
/// For an answer. A proxy that was killed is started again at once and its connections wait: that takes a tenth of a second,
/// and must not move the address.
const WITHIN: Duration = Duration::from_millis(400);
/// Silences in a row that count, and answers of 503: a proxy that has just begun does not know its servers yet.
const SILENT_AFTER: u32 = 2;
const EMPTY_AFTER: u32 = 6;
/// Good answers in a row after anything else: one that comes and goes is no place to go to.
const FIT_AFTER: u32 = 3;

const QUESTION: &[u8] = b"GET /.mainstay/health HTTP/1.1\r\nHost: health.mainstay\r\nConnection: close\r\n\r\n";

/// What a question brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Well,
    Empty,
    Silent,
}

/// What was seen, weighed.
#[derive(Debug)]
struct Track {
    fitness: Option<Fitness>,
    last: Seen,
    in_a_row: u32,
}

impl Track {
    fn new() -> Track {
        Track { fitness: None, last: Seen::Silent, in_a_row: 0 }
    }

    /// Weighs what was seen; gives the fitness if it is another one now.
    fn see(&mut self, seen: Seen) -> Option<Fitness> {
        self.in_a_row = if self.last == seen { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = seen;
        let (fitness, after) = match seen {
            // At its beginning one is enough.
            Seen::Well if self.fitness.is_none() => (Fitness::Fit, 1),
            Seen::Well => (Fitness::Fit, FIT_AFTER),
            Seen::Empty => (Fitness::Empty, EMPTY_AFTER),
            Seen::Silent => (Fitness::Silent, SILENT_AFTER),
        };
        let changed = self.in_a_row >= after && self.fitness != Some(fitness);
        changed.then(|| *self.fitness.insert(fitness))
    }
}

/// Asks for ever, and says what it comes to. `None`: it is not known yet.
pub(super) async fn track(door: SocketAddr, fitness: watch::Sender<Option<Fitness>>) {
    let mut track = Track::new();
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

    #[test]
    fn a_single_slip_moves_nothing() {
        use Seen::{Empty, Silent, Well};
        let told = |seen: &[Seen]| {
            let mut track = Track::new();
            let told: Vec<Fitness> = seen.iter().filter_map(|seen| track.see(*seen)).collect();
            told
        };
        assert_eq!(told(&[Well, Silent, Well, Empty, Well]), [Fitness::Fit]);
        assert_eq!(told(&[Well, Silent, Silent, Well, Well]), [Fitness::Fit, Fitness::Silent]);
        assert_eq!(told(&[Silent, Silent, Well, Well, Well]), [Fitness::Silent, Fitness::Fit]);
        assert_eq!(told(&[Well, Empty, Empty, Empty, Empty, Empty]), [Fitness::Fit]);
        assert_eq!(told(&[Well, Empty, Empty, Empty, Empty, Empty, Empty]), [Fitness::Fit, Fitness::Empty]);
    }

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
