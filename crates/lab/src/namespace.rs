//! Being inside a network namespace. A namespace belongs to a thread, so whoever enters one does it on a thread of its
//! own that ends afterwards: no other code ever runs in the wrong place.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where iproute2 keeps the names of network namespaces (ip-netns(8)).
const FOLDER: &str = "/run/netns";

/// The file that stands for the network namespace `name`.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(name)
}

/// Whether there is a network namespace of this name.
pub fn exists(name: &str) -> bool {
    path(name).exists()
}

/// Moves the calling thread into the network namespace `name`; there is no way back.
pub fn enter(name: &str) -> anyhow::Result<()> {
    let file = File::open(path(name)).with_context(|| format!("network namespace {name} cannot be opened"))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("network namespace {name} cannot be entered"))
}

/// Runs `work` on a thread of its own inside the network namespace `name`, or where we are if it is empty. Sockets made there
/// stay there.
pub fn within<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            if !name.is_empty() {
                enter(name)?;
            }
            Ok(work())
        });
        inside.join().map_err(|_| anyhow!("the thread inside namespace {name} panicked"))?
    })
}
