//! What a client of HTTP/2 says that asks once.

/// RFC 9113 § 3.4.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first that a client of HTTP/2 sends: the preface, empty SETTINGS and one request as HEADERS (RFC 9113 § 4.1), whose fields are
/// literals (RFC 7541 § 6.2.2).
pub fn request() -> Vec<u8> {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const END_STREAM_AND_HEADERS: u8 = 5;
    let frame = |kind, flags, stream, contents: &[u8]| {
        let length = (contents.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], contents].concat()
    };
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", "www.foobar.com"),
        ("user-agent", "bench"),
        ("accept", "*/*"),
    ];
    let literal = |(name, value): (&str, &str)| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    let fields: Vec<u8> = fields.into_iter().flat_map(literal).collect();
    [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_STREAM_AND_HEADERS, 1, &fields)].concat()
}
