//! nginx's `combined` format, which is Apache's too, so that every program that reads access logs reads ours.
//!
//! ```text
//! $remote_addr - - [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"
//! ```
//! The user's name, which nginx takes from `Authorization`, is left out: what was sent there is not for a log.

use std::time::SystemTime;

use super::{Entry, number};
use crate::codec::{Kind, append};

/// Before a line: the record is to stand in the file as it is, without this byte.
pub(super) const AS_IT_IS: u8 = 0x1f;

/// Writes one line.
pub(super) fn write(entry: &Entry<'_>, now: SystemTime, line: &mut Vec<u8>) {
    line.push(AS_IT_IS);
    line.extend_from_slice(entry.client.as_bytes());
    line.extend_from_slice(b" - - [");
    time(now, line);
    line.extend_from_slice(b"] \"");
    escaped(entry.request.method_name().as_bytes(), line);
    line.push(b' ');
    escaped(entry.request.target().as_bytes(), line);
    append(line, [b" HTTP/", entry.version.as_bytes()]);
    number(line, "\" ", u64::from(entry.status));
    number(line, " ", entry.bytes);
    for kind in [Kind::Referer, Kind::UserAgent] {
        line.extend_from_slice(b" \"");
        escaped(entry.request.head.only_of_kind(kind).unwrap_or(b"-"), line);
        line.push(b'"');
    }
    line.push(b'\n');
}

/// `10/Oct/2000:13:55:36 +0000`, in UTC.
fn time(now: SystemTime, line: &mut Vec<u8>) {
    // `Tue, 10 Oct 2000 13:55:36 GMT` (RFC 9110 § 5.6.7): each part has its place.
    let date = httpdate::fmt_http_date(now);
    let [day, month, year, clock] = [5..7, 8..11, 12..16, 17..25].map(|range| date.get(range).unwrap_or_default());
    for part in [day, "/", month, "/", year, ":", clock, " +0000"] {
        line.extend_from_slice(part.as_bytes());
    }
}

/// As nginx escapes by default: quotes, backslashes and what is not printable as `\xHH`.
fn escaped(text: &[u8], line: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' | ..b' ' | 0x7f.. => line.extend_from_slice(format!("\\x{byte:02X}").as_bytes()),
            plain => line.push(*plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_and_escapes() {
        let mut line = Vec::new();
        time(UNIX_EPOCH + Duration::from_secs(971_186_136), &mut line);
        line.push(b' ');
        escaped(b"a\"b\\c\n\x7f\xe9 ", &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), r"10/Oct/2000:13:55:36 +0000 a\x22b\x5Cc\x0A\x7F\xE9 ");
    }
}
