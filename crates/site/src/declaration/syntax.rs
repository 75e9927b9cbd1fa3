//! What a name, a path, a network or a duration may look like.

use std::net::IpAddr;
use std::time::Duration;

/// A DNS label in its canonical, lower-case form (RFC 1123 § 2.1): what is wrong with `text`, if anything.
pub(super) fn label_fault(text: &str) -> Option<&'static str> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 63 {
        Some("a name has 1 to 63 characters")
    } else if !text.bytes().all(inner) {
        Some("only a–z, 0–9 and - are allowed")
    } else if text.starts_with('-') || text.ends_with('-') {
        Some("a name neither starts nor ends with -")
    } else {
        None
    }
}

/// A domain of at least two labels.
pub(super) fn domain_fault(text: &str) -> Option<&'static str> {
    if text.ends_with('.') {
        return Some("leave the final dot out");
    }
    // RFC 1035 § 2.3.4 bounds a name by 255 octets; `www.` must fit in front.
    if text.len() > 249 {
        return Some("a domain has at most 249 characters, so that www. fits in front");
    }
    if !text.contains('.') {
        return Some("a domain has at least two parts, such as foobar.com");
    }
    text.split('.').find_map(label_fault)
}

/// A path below a folder: relative, never out of it, and written in one way only, so that paths can be compared.
pub(super) fn below_fault(text: &str) -> Option<&'static str> {
    let parts = || text.strip_suffix('/').unwrap_or(text).split('/');
    if text.starts_with('/') {
        Some("must be relative to the codebase")
    } else if parts().any(|part| part == "..") {
        Some("must not leave the codebase by ..")
    } else if text.is_empty() || text == "." {
        Some("is the codebase itself; name something below it")
    } else if parts().any(|part| part.is_empty() || part == ".") {
        Some("must be written without . and //")
    } else if text.contains('\0') {
        Some("must not hold a NUL")
    } else {
        None
    }
}

/// A file below a folder, under a name that visitors may ask for.
pub(super) fn file_fault(text: &str) -> Option<&'static str> {
    let hidden = |part: &str| part.starts_with('.') && !matches!(part, ".." | "." | ".well-known");
    if text.split('/').any(|part| part == "..") {
        Some("must not leave the folder by ..")
    } else if text.split('/').any(hidden) {
        Some("is hidden, and hidden files are not for visitors")
    } else if text.ends_with('/') {
        Some("is a folder")
    } else if text.contains(['%', '\\']) {
        Some("must be written without % and \\")
    } else {
        below_fault(text)
    }
}

/// The directives of an answer without an argument (RFC 9111 § 5.2.2, RFC 8246).
const ALONE: [&str; 9] = [
    "no-cache",
    "no-store",
    "no-transform",
    "must-revalidate",
    "must-understand",
    "proxy-revalidate",
    "private",
    "public",
    "immutable",
];
/// Those with seconds (RFC 9111 § 5.2.2, RFC 5861).
const SECONDS: [&str; 4] = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"];

/// A Cache-Control of known directives: one that nobody knows is ignored, and a slip of the pen would go unnoticed.
pub(super) fn cache_control_fault(text: &str) -> Option<String> {
    // RFC 9111 § 1.2.2: caches need to count up to 2^31.
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok();
    let fault = |directive: &str| {
        let name = directive.split('=').next().unwrap_or_default();
        let (alone, seconds) = (ALONE.contains(&name), SECONDS.contains(&name));
        match directive.split_once('=') {
            None if alone => None,
            None if seconds => Some(format!("`{name}` needs seconds: {name}=60")),
            Some((_, value)) if seconds && number(value) => None,
            Some(_) if seconds => Some(format!("`{name}` takes a number of seconds: {name}=60")),
            Some(_) if alone => Some(format!("`{name}` stands alone")),
            _ => Some(format!("`{}` is no directive", directive.escape_debug())),
        }
    };
    text.split(',').map(|part| part.trim_matches(' ')).find_map(fault)
}

/// A URL path prefix: `/` or `/something/`.
pub(super) fn prefix_fault(text: &str) -> Option<&'static str> {
    if !text.starts_with('/') || !text.ends_with('/') {
        Some("must start and end with /")
    } else if text.contains("//") || text.split('/').any(|part| part == ".." || part == ".") {
        Some("must not hold //, . or ..")
    } else if text.bytes().any(|byte| byte <= b' ' || byte >= 0x7f || b"?#%".contains(&byte)) {
        Some("must be plain ASCII without ?, # and %")
    } else if text.starts_with("/.mainstay/") {
        Some("/.mainstay/ belongs to the health checks")
    } else {
        None
    }
}

/// An address that a server can have.
pub(super) fn address_fault(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("stands for every address"),
        _ if address.is_multicast() => Some("is a multicast address"),
        _ if address.is_loopback() => Some("is every machine's own: no other machine reaches it"),
        IpAddr::V4(four) if four.is_broadcast() => Some("is the broadcast address"),
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => Some("is an IPv4 address; write it as one"),
        IpAddr::V6(six) if six.is_unicast_link_local() => Some("is valid on one network only, and does not say which"),
        _ => None,
    }
}

/// A network as `192.0.2.0/24`; a single address stands for itself.
pub(super) fn network_fault(text: &str) -> Option<String> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else {
        return Some("a network looks like 192.0.2.0/24 or 2001:db8::/32".into());
    };
    let most: u32 = if address.is_ipv4() { 32 } else { 128 };
    let length = length?;
    match length.parse::<u32>() {
        Ok(length) if length <= most => {
            let bits = match address {
                IpAddr::V4(four) => u128::from(four.to_bits()) << 96,
                IpAddr::V6(six) => six.to_bits(),
            };
            let host = bits.checked_shl(length).unwrap_or(0);
            (host != 0).then(|| format!("has bits set behind the first {length}"))
        }
        _ => Some(format!("the length of the prefix is from 0 to {most}")),
    }
}

/// A duration as `12h`, `30d`, `2y`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const HOUR: u64 = 3600;
    let unit = match text.chars().last()? {
        'h' => HOUR,
        'd' => 24 * HOUR,
        'y' => 365 * 24 * HOUR,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    (number > 0).then(|| number.checked_mul(unit).map(Duration::from_secs)).flatten()
}

/// A moment as `300ms` or `2s`, in milliseconds.
pub(super) fn moment(text: &str) -> Option<u32> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s')?, 1000),
    };
    let number: u32 = number.parse().ok()?;
    number.checked_mul(unit)
}

/// A short duration as `5s`, `2m`, `1h`.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(unit).map(Duration::from_secs)
}

/// `20/s`, `100/m`, `1000/h`: requests, and the seconds in which they may come.
pub(super) fn rate(text: &str) -> Option<(u32, u32)> {
    /// More in a second is no limit, and its interval would be less than a clock can tell.
    const REQUESTS_MAX: u32 = 1_000_000;
    let (requests, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let plain = requests.bytes().all(|byte| byte.is_ascii_digit());
    let requests = requests.parse().ok().filter(|requests| plain && (1..=REQUESTS_MAX).contains(requests))?;
    Some((requests, seconds))
}

/// A size as `512 KiB`, `64 MiB`, `2 GiB`; in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit())?);
    let unit: u64 = match unit.trim_start() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Whether `text` is `module:callable`, both dotted Python names.
pub(super) fn is_python_entry(text: &str) -> bool {
    let name = |text: &str| {
        text.split('.').all(|part| {
            part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    };
    text.split_once(':').is_some_and(|(module, callable)| name(module) && name(callable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(domain_fault("foobar.com"), None);
        for wrong in ["foobar", "foobar.com.", "Foo.com", "-a.com", "a..com", ""] {
            assert!(domain_fault(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn networks() {
        for right in ["192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "2001:db8::/32", "10.0.0.1/32"] {
            assert_eq!(network_fault(right), None, "{right}");
        }
        for wrong in ["192.0.2.1/24", "192.0.2.0/33", "home", "2001:db8::1/32", "1.2.3.4/"] {
            assert!(network_fault(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!([rate("20/s"), rate("1/m"), rate("1000/h")], [Some((20, 1)), Some((1, 60)), Some((1000, 3600))]);
        for wrong in ["", "20", "/s", "0/s", "20/d", "+2/s", "-2/s", "2.5/s", "20 /s", "1000001/s", "20/s/s"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn files_for_visitors() {
        assert!(["index.html", "app/index.html", ".well-known/x"].iter().all(|text| file_fault(text).is_none()));
        for wrong in
            ["", ".", "..", "/index.html", "../index.html", "a//b", "app/", ".env", "a/.git/b", "a%2fb", "a\\b"]
        {
            assert!(file_fault(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn cache_controls() {
        for right in ["no-cache", "public, max-age=31536000, immutable", "max-age=0,must-revalidate"] {
            assert_eq!(cache_control_fault(right), None, "{right}");
        }
        for wrong in [
            "",
            ",",
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1 d",
            "max-age: 60",
            "maxage=60",
            "public=1",
            "no-store\r\nSet-Cookie: a=b",
            "max-age=99999999999",
            "public;max-age=1",
            "é",
            "\u{7f}",
        ] {
            assert!(cache_control_fault(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn durations_sizes_and_entries() {
        assert_eq!(duration("12h"), Some(Duration::from_secs(43_200)));
        assert!(["", "0d", "d", "5", "-1d", "99999999999999999y", "1é"].iter().all(|text| duration(text).is_none()));
        assert_eq!((size("512 KiB"), size("64MiB"), size("2 GiB")), (Some(1 << 19), Some(1 << 26), Some(1 << 31)));
        let odd = ["", "64", "MiB", "-1 MiB", "1.5 MiB", "64 MB", "99999999999999 GiB", "1é"];
        assert!(odd.iter().all(|text| size(text).is_none()));
        assert!(is_python_entry("guestbook:app") && is_python_entry("a.b_c:d.e"));
        assert!(!is_python_entry("guestbook") && !is_python_entry("a b:c") && !is_python_entry("1a:b"));
    }
}
