//! Frames that cost more to receive than to send, counted beneath the `h2` crate, which hides them.
//!
//! PING, SETTINGS, PRIORITY, RST_STREAM and frames without contents are each answered or kept account of, and none brings
//! the sender anything (CVE-2019-9512, -9513, -9514, -9515, -9518; CVE-2023-44487; CVE-2024-27316 for CONTINUATION).
//! Honest clients send a few; windows are opened in step with what they were sent.

use mainstay_machines::Time;

/// Such frames that a connection may send at once: a page that is left cancels a hundred streams, some clients ping with
/// every burst of data.
const BURST: f64 = 1000.0;
/// And so many a second in the long run.
const PER_SECOND: f64 = 100.0;
/// A WINDOW_UPDATE for so many bytes sent is in step: half of the smallest frame that clients acknowledge one by one.
const BYTES_PER_WINDOW: f64 = 512.0;
/// And for each DATA frame sent, however small, one for its stream and one for the connection: gRPC's library in C opens
/// windows again for every message of a few bytes.
const WINDOWS_PER_DATA: f64 = 2.0;

/// What each connection begins with (RFC 9113 § 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 § 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// Finds the frames in one direction of a connection, however its bytes are split.
#[derive(Debug)]
struct Frames {
    /// Bytes that belong to no frame head.
    skip: usize,
    head: [u8; 9],
    got: usize,
}

impl Frames {
    fn after(skip: usize) -> Frames {
        Frames { skip, head: [0; 9], got: 0 }
    }

    /// Tells `frame` the type and length of each frame that begins in `bytes`.
    fn follow(&mut self, mut bytes: &[u8], mut frame: impl FnMut(u8, usize)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (self.head.len() - self.got).min(bytes.len());
            self.head[self.got..self.got + taken].copy_from_slice(&bytes[..taken]);
            self.got += taken;
            bytes = &bytes[taken..];
            if self.got == self.head.len() {
                let [a, b, c, kind, ..] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                (self.skip, self.got) = (length, 0);
                frame(kind, length);
            }
        }
    }
}

/// Follows a connection.
#[derive(Debug)]
pub(crate) struct Flood {
    inward: Frames,
    outward: Frames,
    allowed: f64,
    since: Time,
}

impl Flood {
    pub(crate) fn new(now: Time) -> Flood {
        Flood { inward: Frames::after(PREFACE.len()), outward: Frames::after(0), allowed: BURST, since: now }
    }

    /// Takes in what was received; whether it is still in bounds.
    pub(crate) fn received(&mut self, bytes: &[u8], now: Time) -> bool {
        let passed = now.since(self.since).as_secs_f64();
        self.allowed = (self.allowed + passed * PER_SECOND).min(BURST);
        self.since = now;
        let allowed = &mut self.allowed;
        self.inward.follow(bytes, |kind, length| {
            // A request has headers, and its body has bytes.
            if !(matches!(kind, DATA | HEADERS) && length > 0) {
                *allowed -= 1.0;
            }
        });
        self.allowed >= 0.0
    }

    /// Takes in what was sent, for which windows will be opened again.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let mut windows = bytes.len() as f64 / BYTES_PER_WINDOW;
        self.outward.follow(bytes, |kind, length| {
            if kind == DATA && length > 0 {
                windows += WINDOWS_PER_DATA;
            }
        });
        self.allowed = (self.allowed + windows).min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.resize(9 + length, 7);
        frame
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    fn begun() -> Flood {
        let mut flood = Flood::new(at(0));
        assert!(flood.received(PREFACE, at(0)));
        flood
    }

    #[test]
    fn a_burst_of_any_kind_is_a_flood_however_it_is_split() {
        for (kind, length) in [(6, 8), (4, 6), (3, 4), (2, 5), (8, 4), (9, 100), (0, 0), (1, 0)] {
            for piece in [1, 7, 4096] {
                let (mut flood, bytes) = (begun(), frame(kind, length).repeat(1001));
                let fine = bytes.chunks(piece).all(|piece| flood.received(piece, at(0)));
                assert!(!fine, "{kind}");
            }
            assert!(begun().received(&frame(kind, length).repeat(1000), at(0)), "{kind}");
        }
    }

    #[test]
    fn requests_and_their_bodies_are_no_flood() {
        let mut flood = begun();
        assert!((0..100_000).all(|_| flood.received(&[frame(1, 50), frame(0, 10)].concat(), at(0))));
    }

    #[test]
    fn a_hundred_a_second_and_windows_in_step_go_on_for_ever() {
        let mut flood = begun();
        assert!((0..100_000).all(|beat| flood.received(&frame(6, 8), at(beat * 10))));
        let mut flood = begun();
        let data = frame(0, 16 * 1024);
        for _ in 0..10_000 {
            flood.sent(&data);
            assert!(flood.received(&frame(8, 4).repeat(2), at(0)));
        }
        assert!(!(0..100_000).all(|beat| flood.received(&frame(6, 8), at(beat))), "a thousand a second");
        let mut flood = begun();
        for _ in 0..100_000 {
            flood.sent(&[frame(1, 20), frame(0, 5), frame(1, 20)].concat());
            assert!(flood.received(&frame(8, 4).repeat(2), at(0)), "a short message");
        }
        let mut flood = begun();
        flood.sent(&frame(1, 20).repeat(1000));
        assert!(!flood.received(&frame(8, 4).repeat(2000), at(0)), "heads open no windows");
    }
}
