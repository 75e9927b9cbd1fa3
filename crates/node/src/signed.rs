//! What is signed when servers of a site talk in datagrams.

use std::net::IpAddr;

/// A text for a keyed hash: for this `purpose` and no other, said by `from`.
pub(crate) fn signed(purpose: &[u8], from: IpAddr, text: &[u8]) -> Vec<u8> {
    let mut all = purpose.to_vec();
    match from.to_canonical() {
        IpAddr::V4(from) => all.extend(from.octets()),
        IpAddr::V6(from) => all.extend(from.octets()),
    }
    all.extend(text);
    all
}
