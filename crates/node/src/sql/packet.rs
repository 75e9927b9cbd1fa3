//! The one packet of the MySQL protocol that the endpoints speak by themselves.

/// "Too many connections" (ER_CON_COUNT_ERROR).
pub const TOO_MANY: u16 = 1040;
/// "Server shutdown in progress" (ER_SERVER_SHUTDOWN): none is there now, come back later. Codes from 2000 on, such as MySQL
/// Router's 2003, are the client's own: MariaDB's library takes one that comes over the wire for a malformed packet.
pub const NO_SERVER: u16 = 1053;

/// An error in place of the server's greeting, so that a client shows the text.
///
/// Three bytes of length, sequence number 0, 0xff, the code, the text; no SQL state, since no capabilities were agreed
/// upon yet (MariaDB's documentation of the client/server protocol, "ERR_Packet").
pub fn error(code: u16, message: &str) -> Vec<u8> {
    let message = &message.as_bytes()[..message.len().min(MESSAGE_BYTES_MAX)];
    let length = u32::try_from(3 + message.len()).unwrap_or(0).to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], 0, 0xff];
    packet.extend(code.to_le_bytes());
    packet.extend(message);
    packet
}

/// Client libraries keep 512 bytes (MYSQL_ERRMSG_SIZE).
const MESSAGE_BYTES_MAX: usize = 511;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_packet() {
        assert_eq!(error(TOO_MANY, "no"), [5, 0, 0, 0, 0xff, 0x10, 0x04, b'n', b'o']);
        assert_eq!(error(TOO_MANY, &"x".repeat(1_000)).len(), 4 + 3 + 511);
    }
}
