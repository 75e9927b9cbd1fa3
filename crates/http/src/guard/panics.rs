//! A panic costs the connection in whose task it happens, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use crate::counters::{Counters, count};

/// Runs the task of the connection of `client`. A panic in it is counted and logged, and ends it.
///
/// What the task shares with others holds no promise half kept when a poll unwinds: tables are borrowed between two waits
/// and each time left whole, counts go back when their guards are dropped, locks ignore poison.
pub(crate) async fn survive(counters: &Counters, client: &str, mut task: Pin<&mut impl Future<Output = ()>>) {
    let survived = std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        polled.map_or(Poll::Ready(false), |polled| polled.map(|()| true))
    });
    if !survived.await {
        // What it said is in the log already, by the panic hook.
        count(&counters.panics);
        tracing::error!(client, "a connection was lost to a panic, which is a bug of Mainstay's");
    }
}
