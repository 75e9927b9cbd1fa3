//! Waiting.

use std::time::{Duration, Instant};

use anyhow::ensure;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Looks again and again until nothing is `amiss` any more.
pub fn until(patience: Duration, mut amiss: impl FnMut() -> anyhow::Result<Option<String>>) -> anyhow::Result<()> {
    let begun = Instant::now();
    while let Some(what) = amiss()? {
        ensure!(begun.elapsed() <= patience, "after {} s: {what}", patience.as_secs());
        wait(LOOK);
    }
    Ok(())
}

/// Lets time pass.
pub fn wait(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
