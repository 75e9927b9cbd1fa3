//! The control channel of a server: HTTP and JSON on a Unix socket, as [`mainstay_site::wire`] has it.
//!
//! The socket's mode (0660, root's) is all the access control there is: who may connect may do everything.

mod client;
mod server;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::UnixListener;

pub use client::{Client, Error};
pub(crate) use server::serve;

/// Bytes of `sun_path` without the final zero (unix(7)).
const PATH_BYTES: usize = 107;

/// Opens the control socket, in place of one that a killed supervisor left behind. Only the holder of the state
/// directory's lock may do this.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// What to do if the socket cannot be opened, as far as its path tells.
pub(crate) fn hint(path: &Path) -> String {
    match path.as_os_str().len() {
        ..=PATH_BYTES => String::new(),
        bytes => {
            format!(
                "; its path has {bytes} bytes and a Unix socket's has at most {PATH_BYTES}: choose a shorter --state"
            )
        }
    }
}
