//! The headers that a CGI program answers with (RFC 3875 § 6), made into the head of an HTTP/1.1 response.

use crate::codec::{HeadLimits, is_token};

/// Why a head of CGI is refused: answered with a 502, and never repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// Larger than its limit.
    #[error("the script sent more than {0} bytes of headers")]
    TooLarge(u16),
    /// More lines than the limit.
    #[error("the script sent more than {0} headers")]
    TooMany(usize),
    /// RFC 3875 § 6.2 asks for one at least.
    #[error("the script sent no headers; it most likely failed before it printed anything, see its log")]
    Empty,
    /// Neither CRLF nor LF, a NUL or another control character.
    #[error("the script sent a control character in its headers")]
    ControlCharacter,
    /// No `name: value`: output in front of the headers, a folded line, or `HTTP/1.1 200 OK` from a script that takes
    /// itself for a server.
    #[error("the script sent a line that is no header")]
    NoHeader,
    /// Neither three digits from 200 to 599 nor a reason behind them.
    #[error("the script sent a Status that is none")]
    Status,
    /// RFC 3875 § 6.3: each at most once.
    #[error("the script sent Status or Content-Length twice")]
    Repeated,
    /// Not a decimal number.
    #[error("the script sent a Content-Length that is no number")]
    Length,
    /// Framing is the server's part (RFC 3875 § 6.3.4).
    #[error("the script sent Transfer-Encoding, which is the server's part")]
    Encoding,
}

/// The head of a CGI response, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgiHead {
    /// 200 to 599: as `Status` says, else 302 with a `Location`, else 200.
    pub status: u16,
    /// Content-Length, if it was given. If more or fewer bytes follow, the client's connection must be closed.
    pub length: Option<u64>,
    /// 204 and 304: no body follows, whatever the script prints.
    pub bodiless: bool,
    /// The script gave a Date of its own.
    pub dated: bool,
    /// Bytes of the input that it took, the empty line included.
    pub taken: usize,
}

/// What is gathered while the lines are read.
#[derive(Default)]
struct Gathered<'a> {
    status: Option<(u16, &'a [u8])>,
    length: Option<u64>,
    located: bool,
    dated: bool,
}

/// Digits of the longest length taken, as in a request.
const LENGTH_DIGITS_MAX: usize = 18;

impl CgiHead {
    /// Reads the head at the start of `input`, which is everything that stdout gave so far; `None` if more must come.
    /// Appends to `out` the status line and the headers, each ended by CRLF, without Connection, Transfer-Encoding and
    /// the empty line, which are the connection's part. Content-Length is there if it was given (and allowed).
    ///
    /// Lines may end in LF alone: here only, since scripts print `\n` (RFC 3875 § 6.2 leaves the ending to the system).
    /// A Location with a path is sent on to the client, as nginx does; RFC 3875 § 6.2.2 would have the server ask
    /// again by itself.
    pub fn read(input: &[u8], limits: &HeadLimits, out: &mut Vec<u8>) -> Result<Option<CgiHead>, BadHead> {
        let within = &input[..input.len().min(usize::from(limits.size_bytes_max))];
        let Some(taken) = end(within) else {
            return if within.len() < input.len() { Err(BadHead::TooLarge(limits.size_bytes_max)) } else { Ok(None) };
        };
        let lines = || fields(&input[..taken]);
        match lines().count() {
            0 => return Err(BadHead::Empty),
            count if count > limits.headers_max => return Err(BadHead::TooMany(limits.headers_max)),
            _ => {}
        }
        let mut gathered = Gathered::default();
        lines().try_for_each(|line| gathered.take(split(line)?))?;
        let (status, reason) = gathered.status.unwrap_or(if gathered.located { (302, b"Found") } else { (200, b"OK") });
        let bodiless = matches!(status, 204 | 304);
        out.extend_from_slice(format!("HTTP/1.1 {status} ").as_bytes());
        put(out, &[reason]);
        for (name, value) in lines().filter_map(|line| split(line).ok()) {
            if passes(name, status) {
                put(out, &[name, b": ", value]);
            }
        }
        let length = gathered.length.filter(|_| !bodiless);
        Ok(Some(CgiHead { status, length, bodiless, dated: gathered.dated, taken }))
    }
}

impl<'a> Gathered<'a> {
    fn take(&mut self, (name, value): (&[u8], &'a [u8])) -> Result<(), BadHead> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("Status") {
            once(&mut self.status, status(value)?)
        } else if is("Content-Length") {
            once(&mut self.length, length(value)?)
        } else if is("Transfer-Encoding") {
            Err(BadHead::Encoding)
        } else {
            self.located |= is("Location");
            self.dated |= is("Date");
            Ok(())
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), BadHead> {
    if slot.replace(value).is_some() { Err(BadHead::Repeated) } else { Ok(()) }
}

/// Where the head ends, behind the empty line; `None` if it does not yet.
fn end(input: &[u8]) -> Option<usize> {
    let mut start = 0;
    for feed in memchr::memchr_iter(b'\n', input) {
        if matches!(&input[start..feed], b"" | b"\r") {
            return Some(feed + 1);
        }
        start = feed + 1;
    }
    None
}

/// The lines of a complete head without their ends.
fn fields(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.take_while(|line| !line.is_empty())
}

/// Name and value of a line.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), BadHead> {
    if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(BadHead::ControlCharacter);
    }
    let colon = memchr::memchr(b':', line).ok_or(BadHead::NoHeader)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let token = !name.is_empty() && name.iter().all(|byte| is_token(*byte));
    token.then_some((name, value)).ok_or(BadHead::NoHeader)
}

/// `404 Not Found`, or the number alone. Interim statuses are the server's.
fn status(value: &[u8]) -> Result<(u16, &[u8]), BadHead> {
    let (digits, reason) = value.split_at_checked(3).ok_or(BadHead::Status)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(reason, [] | [b' ', ..]) {
        return Err(BadHead::Status);
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    let valid = (200..600).contains(&number);
    valid.then_some((number, reason.trim_ascii())).ok_or(BadHead::Status)
}

fn length(value: &[u8]) -> Result<u64, BadHead> {
    let fits = (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let number = || value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    fits.then(number).ok_or(BadHead::Length)
}

/// Whether a header goes to the client: not `Status`, nor what is of the connection (RFC 9110 § 7.6.1). A 204 has no
/// Content-Length (RFC 9110 § 8.6).
fn passes(name: &[u8], status: u16) -> bool {
    const HOP: [&[u8]; 7] =
        [b"status", b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"];
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    !(HOP.iter().any(|known| is(known)) || status == 204 && is(b"content-length"))
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The head for the client, its status, length and the bytes taken.
    fn read(input: &[u8]) -> Result<Option<(String, CgiHead)>, BadHead> {
        let mut out = Vec::new();
        let head = CgiHead::read(input, &HeadLimits::default(), &mut out)?;
        Ok(head.map(|head| (String::from_utf8_lossy(&out).into_owned(), head)))
    }

    fn text(input: &str) -> String {
        read(input.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn heads() {
        for (input, expected) in [
            ("Content-type: a/b\r\n\r\nbody", "HTTP/1.1 200 OK\r\nContent-type: a/b\r\n"),
            ("Content-type:a/b\n\nbody\n\n", "HTTP/1.1 200 OK\r\nContent-type: a/b\r\n"),
            ("A: b\r\nC: d\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n"),
            ("Status: 404 Not Found\r\nA:\r\n\r\n", "HTTP/1.1 404 Not Found\r\nA: \r\n"),
            ("A: b\r\nSTATUS: 500\r\n\r\n", "HTTP/1.1 500 \r\nA: b\r\n"),
            ("Location: /x\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /x\r\n"),
            ("Status: 301 Moved\r\nLocation: /x\r\n\r\n", "HTTP/1.1 301 Moved\r\nLocation: /x\r\n"),
            ("Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n", "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"),
            ("Connection: close\r\nUpgrade: x\r\nA: b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n"),
            ("Status: 204\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 204 \r\n"),
        ] {
            assert_eq!(text(input), expected, "{input:?}");
        }
    }

    #[test]
    fn what_is_known_of_the_body() {
        let (_, head) = read(b"Content-Length: 12\nDate: x\n\nbody").unwrap().unwrap();
        assert_eq!(head, CgiHead { status: 200, length: Some(12), bodiless: false, dated: true, taken: 28 });
        let (out, head) = read(b"Status: 304\nContent-Length: 12\n\n").unwrap().unwrap();
        assert!(head.bodiless && head.length.is_none() && out.contains("Content-Length: 12\r\n"));
    }

    #[test]
    fn bad_heads_by_name() {
        use BadHead::*;
        let cases: &[(&[u8], BadHead)] = &[
            (b"\r\n", Empty),
            (b"\n", Empty),
            (b"HTTP/1.1 200 OK\r\n\r\n", NoHeader),
            (b"Warning in line 3\nA: b\n\n", NoHeader),
            (b"A : b\n\n", NoHeader),
            (b": b\n\n", NoHeader),
            (b"A: b\n folded: c\n\n", NoHeader),
            (b"A: b\0\n\n", ControlCharacter),
            (b"A: b\rSet-Cookie: c\n\n", ControlCharacter),
            (b"A: b\r\r\n\n", ControlCharacter),
            (b"Status: 99\n\n", Status),
            (b"Status: 101 Switching\n\n", Status),
            (b"Status: 600\n\n", Status),
            (b"Status: +20\n\n", Status),
            (b"Status: 200OK\n\n", Status),
            (b"Status:\n\n", Status),
            (b"Status: 200\nStatus: 200\n\n", Repeated),
            (b"Content-Length: 1\nContent-Length: 1\n\n", Repeated),
            (b"Content-Length: -1\n\n", Length),
            (b"Content-Length: 1, 1\n\n", Length),
            (b"Content-Length:\n\n", Length),
            (b"Content-Length: a number of many letters\n\n", Length),
            (b"Content-Length: 9999999999999999999\n\n", Length),
            (b"Transfer-Encoding: chunked\n\n", Encoding),
        ];
        for (input, bad) in cases {
            assert_eq!(read(input), Err(*bad), "{}", input.escape_ascii());
        }
        assert_eq!(read("A: b\n".repeat(101).as_bytes()), Ok(None));
        assert_eq!(read(("A: b\n".repeat(101) + "\n").as_bytes()), Err(TooMany(100)));
        assert_eq!(read(&[b'a'; 16 * 1024]), Ok(None));
        assert_eq!(read(&[b'a'; 16 * 1024 + 1]), Err(TooLarge(16 * 1024)));
    }

    proptest! {
        /// Whatever a script prints, what goes out has no line that it did not print as one.
        #[test]
        fn nothing_is_smuggled(input in "(Status|A|Content-Length|:|: |[0-9]|\r|\n|\r\n|\0|x| ){0,40}") {
            if let Ok(Some((out, head))) = read(input.as_bytes()) {
                prop_assert!(head.taken <= input.len());
                let lines: Vec<_> = out.strip_suffix("\r\n").unwrap().split("\r\n").collect();
                prop_assert!(lines.iter().all(|line| !line.is_empty() && !line.contains(['\r', '\n', '\0'])));
            }
        }

        /// A head is seen only when it is complete, so that how it came cannot matter.
        #[test]
        fn a_longer_input_says_the_same(input in "(A: b|Status: 404|\r\n|\n){1,12}", more in "[a\n]{0,8}") {
            if let Ok(Some(read_early)) = read(input.as_bytes()) {
                prop_assert_eq!(read((input + &more).as_bytes()), Ok(Some(read_early)));
            }
        }
    }
}
