//! The files of `tests/hostile`: one exchange after the other, a keyword at the start of each line, text from column 7.
//!
//! ```text
//! --- title
//! why    the reason, with its section
//! differ where HAProxy or nginx do otherwise
//! send   what the client sends: \r \n \t \0 \s (space) \\ \xHH, and \{9*ab} for nine times ab
//! says   what the backend answers, instead of 200; it closes then, unless a line says
//! stays
//! get    the statuses that come back, then `kept` or `closed`, then the name of the refusal if there is one
//! seen   `nothing`, or the request line that a backend receives with all of its body; repeated for each request
//! cut    a request line that a backend receives with less than its body
//! has    a header line that the backend receives, `lacks` a header that it does not, `body` the body, without framing
//! ```

use std::path::{Path, PathBuf};

/// One exchange of a file.
#[derive(Default)]
pub struct Exchange {
    /// `FILE:LINE: TITLE`
    pub place: String,
    why: bool,
    pub sent: Vec<u8>,
    pub says: Option<Vec<u8>>,
    pub stays: bool,
    pub gets: Vec<u16>,
    pub kept: Option<bool>,
    pub refusal: Option<String>,
    pub seen: Option<Vec<Seen>>,
}

/// What a backend receives.
#[derive(Default)]
pub struct Seen {
    pub line: String,
    pub cut: bool,
    pub has: Vec<String>,
    pub lacks: Vec<String>,
    pub body: Option<Vec<u8>>,
}

/// Every exchange of every file. A file that cannot be read as described is a failure, never skipped.
pub fn all() -> Vec<Exchange> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| exchanges(file)).collect()
}

fn exchanges(file: &Path) -> Vec<Exchange> {
    let text = std::fs::read_to_string(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy();
    let mut all: Vec<Exchange> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if let Some(title) = line.strip_prefix("--- ") {
            all.push(Exchange { place: format!("{name}:{number}: {title}"), ..Exchange::default() });
        } else if !line.is_empty() && !line.starts_with('#') {
            let exchange = all.last_mut().unwrap_or_else(|| panic!("{name}:{number}: before the first ---"));
            exchange.take(line).unwrap_or_else(|| panic!("{name}:{number}: what is this? {line}"));
        }
    }
    all.iter().for_each(Exchange::check);
    all
}

impl Exchange {
    /// Takes one line; `None` if it has no meaning.
    fn take(&mut self, line: &str) -> Option<()> {
        let (keyword, text) = line.split_at_checked(7).unwrap_or((line, ""));
        match keyword.trim_end() {
            "why" => self.why = text.contains('§') || text.contains("CVE"),
            "differ" => {}
            "send" => self.sent.extend(unescaped(text)?),
            "says" => self.says.get_or_insert_default().extend(unescaped(text)?),
            "stays" => self.stays = true,
            "get" => text.split(' ').for_each(|word| self.gets(word)),
            "seen" if text == "nothing" => self.seen = Some(Vec::new()),
            "seen" | "cut" => self.seen.get_or_insert_default().push(Seen {
                line: String::from_utf8(unescaped(text)?).ok()?,
                cut: keyword.starts_with("cut"),
                ..Seen::default()
            }),
            "has" => self.seen.as_mut()?.last_mut()?.has.push(text.into()),
            "lacks" => self.seen.as_mut()?.last_mut()?.lacks.push(text.into()),
            "body" => self.seen.as_mut()?.last_mut()?.body = Some(unescaped(text)?),
            _ => return None,
        }
        Some(())
    }

    fn gets(&mut self, word: &str) {
        match word {
            "kept" | "closed" => self.kept = Some(word == "kept"),
            _ => match word.parse() {
                Ok(status) => self.gets.push(status),
                Err(_) => self.refusal = Some(word.into()),
            },
        }
    }

    fn check(&self) {
        let place = &self.place;
        assert!(self.why, "{place}: no reason with its section");
        assert!(!self.sent.is_empty() && self.kept.is_some() && self.seen.is_some(), "{place}: incomplete");
    }
}

/// The bytes that `text` stands for.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        if next != '\\' {
            bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        match escape {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '0' => bytes.push(0),
            's' => bytes.push(b' '),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                rest = &rest[2..];
            }
            '{' => {
                let (inner, behind) = rest.split_once('}')?;
                let (count, what) = inner.split_once('*')?;
                bytes.extend(unescaped(what)?.repeat(count.parse().ok()?));
                rest = behind;
            }
            _ => return None,
        }
    }
    Some(bytes)
}

#[test]
fn escapes() {
    assert_eq!(unescaped(r"a\r\n\0\x16\s\\\{3*b\t}c").unwrap(), b"a\r\n\0\x16 \\b\tb\tb\tc");
    for wrong in [r"\q", r"\", r"\x1", r"\{3*a", r"\{a}"] {
        assert_eq!(unescaped(wrong), None, "{wrong}");
    }
}
