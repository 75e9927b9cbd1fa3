//! Visitors who keep coming while something happens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client;

/// Between two requests of one visitor: two visitors make about fifty requests a second, which a debug build bears.
const PAUSE: Duration = Duration::from_millis(40);
const VISITORS: usize = 2;

/// Visitors, each asking on a new connection every time.
pub struct Load {
    stop: Arc<AtomicBool>,
    visitors: Vec<JoinHandle<Tally>>,
}

/// What they saw.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: usize,
    /// The longest wait for an answer.
    pub slowest: Duration,
    /// Whatever was not an answer of 200, in words.
    pub failed: Vec<String>,
}

impl Load {
    pub fn start(at: SocketAddr, host: String, path: &'static str) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let visitors = (0..VISITORS).map(|_| {
            let (stop, host) = (stop.clone(), host.clone());
            std::thread::spawn(move || visit(at, &host, path, &stop))
        });
        Load { visitors: visitors.collect(), stop }
    }

    /// Lets the visitors finish.
    pub fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.visitors.into_iter().map(|visitor| visitor.join().unwrap()).fold(Tally::default(), |mut sum, one| {
            sum.answered += one.answered;
            sum.slowest = sum.slowest.max(one.slowest);
            sum.failed.extend(one.failed);
            sum
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the pause between two requests is the load, nothing waits for it")]
fn visit(at: SocketAddr, host: &str, path: &str, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        match client::get(at, host, path) {
            Ok(answer) if answer.status == 200 => tally.answered += 1,
            Ok(answer) => tally.failed.push(format!("{}: {}", answer.status, answer.body)),
            Err(error) => tally.failed.push(error.to_string()),
        }
        tally.slowest = tally.slowest.max(start.elapsed());
        std::thread::sleep(PAUSE);
    }
    tally
}
