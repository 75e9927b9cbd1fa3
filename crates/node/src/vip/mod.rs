//! Who speaks for the floating addresses of a balancer: the driver of [`mainstay_machines::vrrp`].
//!
//! It reads what anybody on the wire may send and has no privilege: sockets and addresses are the supervisor's
//! ([`crate::floating`]). One loop on one thread. What has arrived is heard before any time is found to be over, so that a
//! process that was stopped does not take for silence what lies in its socket.

mod announce;
mod ear;
mod notes;
mod report;
mod role;
mod seal;
mod track;

use std::io;

use mainstay_site::plan;
use tokio::runtime;

use crate::service::Context;

/// Why nobody speaks for the addresses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Adverts could be forged.
    #[error("adverts are to be signed, and secrets.json has no key for it; restart the supervisor, which makes it")]
    NoKey,
    /// The event loop failed.
    #[error("the event loop failed: {0}")]
    Io(#[from] io::Error),
}

/// Speaks until asked to end; then hands over what is here.
///
/// # Errors
/// [`Error`].
pub fn run(context: Context, config: &plan::Vip) -> Result<(), Error> {
    let role = role::Role::new(&context.launch, config)?;
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(role.work(context))
}
