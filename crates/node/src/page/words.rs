//! Figures as people read them.

/// How long ago `since_ms` was: `12 s`, `3 min`, `5 h`, `2 d`.
pub fn ago(since_ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(since_ms) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Memory in megabytes (10⁶ bytes), as the limits of the project are given; empty if unknown.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        1..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.0} MB", bytes as f64 / 1e6),
    }
}

/// A rate: `0`, `0.4`, `12`, `3,400`.
pub fn rate(rate: f64) -> String {
    if rate < 0.05 {
        return "0".into();
    }
    if rate < 10.0 {
        return format!("{rate:.1}");
    }
    let whole = format!("{rate:.0}");
    let grouped = whole.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    grouped.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0, 119_999, 120_000, 7_200_000, 172_800_000].map(|ms| ago(0, ms)),
            ["0 s", "119 s", "2 min", "2 h", "2 d"]
        );
        assert_eq!(ago(5_000, 0), "0 s");
        assert_eq!([0, 2_340_000, 23_400_000].map(bytes), ["", "2.3 MB", "23 MB"]);
        assert_eq!(
            [0.0, 0.42, 9.96, 12.4, 3_400.2, 1_234_567.0].map(rate),
            ["0", "0.4", "10.0", "12", "3,400", "1,234,567"]
        );
    }
}
