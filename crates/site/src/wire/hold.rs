//! How visitors' requests are held while the primary's place is handed over.
//!
//! Who hands it over writes [`HOLD`], by a lease that ends whatever happens. The SQL endpoints of every application server see
//! it and tell the applications beside them, on a Unix socket ([`SOCKET`]); those hold new requests, finish what they have,
//! and say so; [`quiet_key`] then says it for the whole server. Lines on the socket: `hold N` and `release` to the
//! application, `quiet N` from it, N being the revision that made the key. Applications themselves have no part in the store.

use std::time::Duration;

use crate::names::ServerName;

/// Every key below is about holding.
pub const PREFIX: &str = "hold/";
/// While it exists, requests are held.
pub const HOLD: &str = "hold/database";
/// Below the server's state directory: where the SQL endpoints tell applications.
pub const SOCKET: &str = "run/sql/hold.sock";

/// How soon applications look for endpoints again that have gone: others take their place within some hundredths of a second, and who
/// has not found them cannot be told to hold. To look costs a system call.
pub const RETURN: Duration = Duration::from_millis(50);

/// Where `server` says for which hold it is quiet: the revision of [`HOLD`] in decimal digits.
pub fn quiet_key(server: &ServerName) -> String {
    format!("hold/quiet/{server}")
}
