//! Where a request's time goes.

use std::cell::Cell;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Microseconds of one request, over all its tries.
#[derive(Default)]
pub(crate) struct Stages {
    /// Waited for a backend to be free.
    pub(crate) queue: Cell<u64>,
    /// Connecting; nothing on a connection that was kept.
    pub(crate) connect: Cell<u64>,
    /// From the request's head to the head of the answer that was passed on; nothing for an answer of our own.
    pub(crate) first: Cell<u64>,
}

impl Stages {
    /// Awaits `wait` and adds what it took to `stage`. What is there at once takes nothing, and no clock is read.
    pub(super) async fn timed<T>(stage: &Cell<u64>, mut wait: impl Future<Output = T> + Unpin) -> T {
        let looked = std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut wait).poll(context)));
        if let Poll::Ready(done) = looked.await {
            return done;
        }
        let began = Instant::now();
        let done = wait.await;
        stage.set(stage.get() + micros(began.elapsed()));
        done
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::event_loop::{run, sleep};

    #[test]
    fn only_waiting_takes_time() {
        run(async {
            let stages = Stages::default();
            assert_eq!(Stages::timed(&stages.queue, std::future::ready(7)).await, 7);
            assert_eq!(stages.queue.get(), 0);
            let nap = Duration::from_millis(2);
            Stages::timed(&stages.queue, pin!(sleep(nap))).await;
            let once = stages.queue.get();
            // The first look comes before the clock is read.
            assert!(once >= 1_000, "{once}");
            Stages::timed(&stages.queue, pin!(sleep(nap))).await;
            assert!(stages.queue.get() >= once + 1_000);
        })
        .unwrap();
    }
}
