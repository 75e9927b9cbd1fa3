//! Records: the frames of FastCGI 1.0 (§ 3.3).

/// The version that every record begins with.
pub(super) const VERSION: u8 = 1;

/// The id of our requests. One at a time on a connection: no application in use multiplexes (php-cgi and PHP-FPM answer
/// `FCGI_MPXS_CONNS` with 0).
pub(super) const REQUEST_ID: u16 = 1;

/// Bytes in front of a record's content.
pub(super) const HEAD_BYTES: usize = 8;

/// The most content of one record, in whole multiples of eight, so that no padding is needed (§ 3.3 recommends records
/// aligned to eight bytes).
pub(super) const CONTENT_BYTES_MAX: usize = 65_528;

pub(super) const BEGIN_REQUEST: u8 = 1;
pub(super) const END_REQUEST: u8 = 3;
pub(super) const PARAMS: u8 = 4;
pub(super) const STDIN: u8 = 5;
pub(super) const STDOUT: u8 = 6;
pub(super) const STDERR: u8 = 7;

/// The head of a record of ours, without padding.
pub(super) fn head(kind: u8, length: u16) -> [u8; HEAD_BYTES] {
    let [id_high, id_low] = REQUEST_ID.to_be_bytes();
    let [high, low] = length.to_be_bytes();
    [VERSION, kind, id_high, id_low, high, low, 0, 0]
}
