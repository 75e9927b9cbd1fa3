//! The packets of the MySQL protocol that the endpoints speak by themselves.

/// "Too many connections" (ER_CON_COUNT_ERROR).
pub const TOO_MANY: u16 = 1040;
/// "Server shutdown in progress" (ER_SERVER_SHUTDOWN): none is there now, come back later. Codes from 2000 on, such as MySQL
/// Router's 2003, are the client's own: MariaDB's library takes one that comes over the wire for a malformed packet.
pub const NO_SERVER: u16 = 1053;
/// "The client was disconnected by the server" (MySQL's ER_CLIENT_INTERACTION_TIMEOUT): what MySQL itself puts into the
/// connection of an idle client before it closes it. The pools of SQLAlchemy, Doctrine and Laravel know by this number
/// that the connection is gone and nothing else is wrong, and connect again; 1053 they hand to the application.
pub const DISCONNECTED: u16 = 4031;

/// The client encrypts from its next packet on (CLIENT_SSL), or compresses (CLIENT_COMPRESS): there is no speaking in
/// between any more.
const VEILED: u32 = 0x0800 | 0x0020;
/// Client libraries keep 512 bytes (MYSQL_ERRMSG_SIZE).
const MESSAGE_BYTES_MAX: usize = 511;

/// An error in place of the server's greeting, so that a client shows the text.
///
/// Three bytes of length, sequence number 0, 0xff, the code, the text; no SQL state, since no capabilities were agreed
/// upon yet (MariaDB's documentation of the client/server protocol, "ERR_Packet").
pub fn error(code: u16, message: &str) -> Vec<u8> {
    packet(0, code, "", message)
}

/// An error as the answer to a statement, with a SQL state. Sequence number 1: the client's command had 0.
pub fn answer(code: u16, message: &str) -> Vec<u8> {
    // Class 08 is a connection's (ISO 9075-2, "connection exception").
    packet(1, code, "#08S01", message)
}

fn packet(sequence: u8, code: u16, state: &str, message: &str) -> Vec<u8> {
    let message = &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
    let length = u32::try_from(3 + state.len() + message.len()).unwrap_or(0).to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], sequence, 0xff];
    packet.extend(code.to_le_bytes());
    packet.extend([state, message].map(str::as_bytes).concat());
    packet
}

/// Whether whoever sent this as his first bytes can be spoken to in plain text later on.
///
/// "Handshake Response Packet": length, sequence number 1, and the capabilities in four bytes, the lowest first.
pub fn is_plain(first: &[u8]) -> bool {
    let capabilities = first.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    first.get(3) == Some(&1) && capabilities.is_some_and(|capabilities| capabilities & VEILED == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_packets() {
        assert_eq!(error(TOO_MANY, "no"), [5, 0, 0, 0, 0xff, 0x10, 0x04, b'n', b'o']);
        assert_eq!(error(TOO_MANY, &"x".repeat(1_000)).len(), 4 + 3 + 511);
        assert_eq!(error(TOO_MANY, &"ü".repeat(1_000)).len(), 4 + 3 + 510, "no half character");
        assert_eq!(answer(DISCONNECTED, "no"), b"\x0b\0\0\x01\xff\xbf\x0f#08S01no");
    }

    #[test]
    fn who_encrypts_or_compresses_is_not_spoken_to() {
        let response = |capabilities: u32| [&[32, 0, 0, 1][..], &capabilities.to_le_bytes(), &[0; 28]].concat();
        assert!(is_plain(&response(0x0000_a685)));
        assert!(!is_plain(&response(0x0000_ae85)), "CLIENT_SSL");
        assert!(!is_plain(&response(0x0000_a6a5)), "CLIENT_COMPRESS");
        assert!(!is_plain(b"GET / HTTP/1.1") && !is_plain(b""));
    }
}
