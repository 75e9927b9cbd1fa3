//! What the fuzzers call with any bytes at all: a function for each decoder, which fails by a panic.
//!
//! `fuzz/` gives them to libFuzzer; `smoke` plays the seeds there, and mutations of them, with every run of the tests.

mod bodies;
mod files;
mod heads;
#[cfg(test)]
mod smoke;

pub use bodies::{chunked, fastcgi};
pub use files::{conditions, range};
pub use heads::{request_head, response_head};

/// Panics if what is decoded from the bytes is not as it must be.
pub type Target = fn(&[u8]);

/// A function for each decoder, by the name of its seeds' folder.
pub const TARGETS: [(&str, Target); 6] = [
    ("request_head", request_head),
    ("response_head", response_head),
    ("chunked", chunked),
    ("fastcgi", fastcgi),
    ("range", range),
    ("conditions", conditions),
];

/// Places at which `length` bytes are split: all, or of many some that differ from one length to the next.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    const ALL: usize = 48;
    let step = if length <= ALL { 1 } else { length / 12 + length % 7 };
    (0..=length).step_by(step.max(1))
}
