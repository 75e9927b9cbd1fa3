//! `[dns]`: what the owner adds to the zone. Only what a name server can serve is let through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::diagnostic::Errors;
use super::reader::{At, Section};
use crate::model::Record;

/// Five minutes: a change is everywhere soon, and a busy resolver asks twelve times an hour.
const TTL: u32 = 300;

/// RFC 1035 § 3.3.14: a character string has its length in one byte.
const STRING_BYTES_MAX: usize = 255;

/// The records with the place of their tables.
pub(super) fn read(file: &Section<'_>, errors: &mut Errors) -> Vec<At<Record>> {
    let Some((dns, _)) = file.section("dns", "[dns]", errors) else { return Vec::new() };
    let mut records = Vec::new();
    for (section, span) in dns.list("records", "a record of [dns]", errors) {
        let (name, kind, value) =
            (section.text("name", errors), section.word("type", errors), section.text("value", errors));
        let ttl = section.count("ttl", errors).and_then(|at| at.value.try_into().ok()).unwrap_or(TTL);
        if let Some((at, fault)) = name.as_ref().and_then(|at| Some((at, name_fault(&at.value)?))) {
            errors
                .add(&at.span, format!("`{}` is no name for a record", at.value))
                .label(fault)
                .hint("for example \"mail\", \"*\" or \"_dmarc\"; \"@\" is the domain itself");
        }
        if let (Some(name), Some(kind), Some(value)) = (name, kind, value) {
            if !is_value(kind.value, &value.value) {
                errors
                    .add(&value.span, format!("`{}` is no value of a record of type {}", value.value, kind.value))
                    .label(wanted(kind.value));
            }
            let record = Record { name: name.value, kind: kind.value.to_owned(), value: value.value, ttl };
            records.push(At { value: record, span });
        }
    }
    records
}

/// A name below the domain, in lower case, since names are compared as they are written.
fn name_fault(text: &str) -> Option<&'static str> {
    let relative = text.strip_prefix("*.").unwrap_or(text);
    match relative {
        "@" if text == "@" => None,
        "*" if text == "*" => None,
        _ if text.ends_with('.') => Some("is relative to the domain, without a final dot"),
        _ if text.bytes().any(|byte| byte.is_ascii_uppercase()) => Some("names are written in lower case"),
        _ => labels_fault(relative),
    }
}

/// RFC 1123 § 2.1, with `_` at the beginning of a label for services (RFC 8552).
fn labels_fault(text: &str) -> Option<&'static str> {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let host =
        |label: &str| !label.is_empty() && label.bytes().all(right) && !label.starts_with('-') && !label.ends_with('-');
    let label = |label: &str| label.len() <= 63 && host(label.strip_prefix('_').unwrap_or(label));
    let wrong = "has parts of 1 to 63 of a–z, 0–9 and -, perhaps behind a _, with dots between them";
    (!text.split('.').all(label)).then_some(wrong)
}

/// What the data of a record of type `kind` looks like.
fn wanted(kind: &str) -> &'static str {
    match kind {
        "A" => "an A record holds an IPv4 address",
        "AAAA" => "an AAAA record holds an IPv6 address",
        "CAA" => "a CAA record holds flags, tag and value: 0 issue \"ca.example.net\"",
        "MX" => "an MX record holds a preference and a name: 10 mail.example.com.",
        "SRV" => "an SRV record holds priority, weight, port and name: 0 5 5060 sip.example.com.",
        "TXT" => "a TXT record holds strings in quotes: '\"v=spf1 -all\"'",
        _ => "holds one name: example.com. with a final dot, or one below the domain without",
    }
}

/// Whether `text` is the data of a record of type `kind` (RFC 1035 § 3.3, RFC 2782, RFC 8659).
fn is_value(kind: &str, text: &str) -> bool {
    let number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit()) && word.parse::<u16>().is_ok();
    let name = |word: &str| word.parse::<IpAddr>().is_err() && labels_fault(word).is_none();
    let host = |word: &str| word == "@" || name(word.strip_suffix('.').unwrap_or(word));
    // A single dot says that there is no such service (RFC 7505, RFC 2782).
    let target = |word: &str| word == "." || host(word);
    let words: Vec<&str> = text.split(' ').collect();
    match (kind, words.as_slice()) {
        ("A", _) => text.parse::<Ipv4Addr>().is_ok(),
        ("AAAA", _) => text.parse::<Ipv6Addr>().is_ok(),
        ("CAA", _) => is_caa(text),
        ("TXT", _) => is_strings(text),
        ("MX", [preference, to]) => number(preference) && target(to),
        ("SRV", [priority, weight, port, to]) => {
            [priority, weight, port].into_iter().all(|it| number(it)) && target(to)
        }
        ("CNAME" | "NS", [to]) => host(to),
        _ => false,
    }
}

fn is_caa(text: &str) -> bool {
    let mut parts = text.splitn(3, ' ');
    let flags = parts.next().is_some_and(|flags| matches!(flags, "0" | "128"));
    let tag = parts.next().is_some_and(|tag| matches!(tag, "issue" | "issuewild" | "iodef"));
    flags && tag && parts.next().is_some_and(|value| value.starts_with('"') && is_strings(value))
}

/// One word, or strings in quotes: of words alone a zone file makes strings that are joined without what stood between
/// them, which is never what was meant.
fn is_strings(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\;()$@".contains(&byte);
    if text.len() <= STRING_BYTES_MAX && text.bytes().all(plain) {
        return true;
    }
    let mut pieces = text.split('"');
    let before = pieces.next() == Some("");
    let pieces: Vec<&str> = pieces.collect();
    // string, between, string, …, what is behind the last quote
    let inside = |piece: &&str| {
        piece.len() <= STRING_BYTES_MAX && piece.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\')
    };
    let between = |piece: &&str| *piece == " ";
    before
        && pieces.len().is_multiple_of(2)
        && pieces.iter().step_by(2).all(inside)
        && pieces[..pieces.len() - 1].iter().skip(1).step_by(2).all(between)
        && pieces.last() == Some(&"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (kind, right) in [
            ("MX", "10 mail.example.com."),
            ("MX", "0 ."),
            ("SRV", "0 5 5060 sip"),
            ("CAA", "0 issue \"ca.example.net; validationmethods=dns-01\""),
            ("TXT", "\"v=spf1 -all\""),
            ("TXT", "\"a\" \"b;c\""),
            ("TXT", "google-site-verification=x"),
            ("CNAME", "@"),
            ("NS", "ns.example.org."),
        ] {
            assert!(is_value(kind, right), "{kind} {right}");
        }
        for (kind, wrong) in [
            ("MX", "mail.example.com."),
            ("MX", "+1 mail"),
            ("MX", "70000 mail"),
            ("SRV", "0 5 x sip"),
            ("CAA", "0 issue ca.example.net"),
            ("TXT", "v=spf1 -all"),
            ("TXT", "\"open"),
            ("TXT", "\"a\"\"b\""),
            ("TXT", "\"a\nb\""),
            ("CNAME", "a..b"),
            ("CNAME", "."),
            ("CNAME", "192.0.2.1"),
        ] {
            assert!(!is_value(kind, wrong), "{kind} {wrong}");
        }
        assert!(["@", "*", "*.a", "_dmarc", "a.b"].iter().all(|name| name_fault(name).is_none()));
        assert!(["", ".", "a.", "A", "a b", "*a", "a.*", "@.a", "$x"].iter().all(|name| name_fault(name).is_some()));
    }
}
