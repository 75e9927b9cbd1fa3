//! What a killed player of scenarios leaves behind, and how it is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mainstay_lab::{Held, Place, Record, sweep};
use mainstay_site::names::Domain;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::cli::up::say;

/// Before the number of who plays; between them is what is played.
const ROOT: &str = "ms-lab-";
/// Between two looks whether somebody has let a site go.
const LOOK: Duration = Duration::from_millis(20);

/// Where a player with this number keeps what `name` needs. Not below `/var`: what is left there is only in the way of nobody.
pub fn root(name: &str, player: u32) -> PathBuf {
    std::env::temp_dir().join(format!("{ROOT}{name}-{player}"))
}

/// What is there because of a player.
#[derive(Debug)]
pub struct Left {
    sites: Vec<Domain>,
    mounts: Vec<PathBuf>,
    roots: Vec<PathBuf>,
}

impl Left {
    /// Looks around.
    pub fn by(player: u32) -> Left {
        let roots = roots(player);
        let within = |path: &Path| roots.iter().any(|root| path.starts_with(root));
        let recorded = |site: &Domain| Place::usual(site).read().ok().flatten().is_some_and(|it| within(&it.state));
        let sites = Place::sites().into_iter().filter(recorded).collect();
        let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut mounts: Vec<PathBuf> = mount_points(&mounted).filter(|path| within(path)).collect();
        // What was mounted last goes first.
        mounts.reverse();
        Left { sites, mounts, roots }
    }

    pub fn is_nothing(&self) -> bool {
        self.sites.is_empty() && self.mounts.is_empty() && self.roots.is_empty()
    }

    /// Removes it all; what could not be removed stays in what is returned, and why is said. It blocks, on a thread of a runtime's that
    /// may be blocked.
    pub fn take_down(self, deadline: Instant) -> Left {
        let told = |outcome: anyhow::Result<()>| match outcome {
            Ok(()) => false,
            Err(error) => {
                say(&format!("error: {error:#}"));
                true
            }
        };
        let mut left = self;
        left.sites.retain(|site| told(remove_site(site, deadline)));
        left.mounts.retain(|mount| {
            let removed = unmount(mount, UnmountFlags::DETACH);
            told(removed.with_context(|| format!("{} stays mounted", mount.display())))
        });
        let frees = left.mounts.is_empty() && left.sites.is_empty();
        left.roots.retain(|root| !frees || told(remove_root(root)));
        left
    }

    /// A line for each, which removes it.
    pub fn ways_out(&self) -> Vec<String> {
        let sites = self.sites.iter().map(|site| format!("{site} is still up: `mainstay down {site} --purge --yes`"));
        let mounts = self.mounts.iter().map(|it| format!("{0} is still mounted: `umount -l {0}`", it.display()));
        let roots = self.roots.iter().map(|it| format!("{0} is still there: then `rm -r {0}`", it.display()));
        sites.chain(mounts).chain(roots).collect()
    }
}

/// Whatever is on record of it. Nobody needs its data any more: the power is cut.
fn remove_site(site: &Domain, deadline: Instant) -> anyhow::Result<()> {
    let place = Place::usual(site);
    let Some(record) = place.read()? else { return Ok(()) };
    let _held = let_go(&place, &record, deadline)?;
    sweep(&record, Duration::ZERO)?;
    place.forget()?;
    fs::remove_dir_all(place.folder()).with_context(|| format!("{} cannot be removed", place.folder().display()))
}

/// A `mainstay up` that a scenario started goes as its player did.
fn let_go(place: &Place, record: &Record, deadline: Instant) -> anyhow::Result<Held> {
    loop {
        if let Some(held) = place.hold()? {
            return Ok(held);
        }
        ensure!(Instant::now() < deadline, "somebody else takes {} down, or brings it up", record.site);
        record.up.signal(Signal::KILL);
        Handle::current().block_on(sleep(LOOK));
    }
}

fn remove_root(root: &Path) -> anyhow::Result<()> {
    fs::remove_dir_all(root).with_context(|| format!("{} cannot be removed", root.display()))
}

fn roots(player: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return Vec::new() };
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| is_root_of(name, player)) && path.is_dir()
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect()
}

/// Logs that were kept on purpose have a dot behind the number.
fn is_root_of(name: &str, player: u32) -> bool {
    name.strip_prefix(ROOT).and_then(|rest| rest.rsplit_once('-')).is_some_and(|(_, it)| it == player.to_string())
}

/// The fifth field of each line (proc_pid_mountinfo(5)), in the order in which they were mounted.
fn mount_points(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_s_folders_are_its_own() {
        assert!(is_root_of("ms-lab-vip-123", 123));
        assert!(is_root_of("ms-lab-growth-123", 123));
        for others in ["ms-lab-vip-1234", "ms-lab-vip-12", "ms-lab-vip-123.logs", "ms-lab-123", "vip-123"] {
            assert!(!is_root_of(others, 123), "{others}");
        }
        assert_eq!(root("vip", 123).file_name().unwrap(), "ms-lab-vip-123");
    }

    #[test]
    fn mounts_are_where_they_are() {
        let text =
            "22 1 0:21 / /proc rw shared:5 - proc proc rw\n37 22 0:31 / /tmp/ms-lab-a-1/disk rw - tmpfs tmpfs rw\n";
        let points: Vec<PathBuf> = mount_points(text).collect();
        assert_eq!(points, [PathBuf::from("/proc"), PathBuf::from("/tmp/ms-lab-a-1/disk")]);
    }
}
