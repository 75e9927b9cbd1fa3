//! Switching a server on: its process 1, in namespaces of its own.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use mainstay_site::names::{Domain, ServerName};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::setsid;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::resolver::Names;
use crate::{VARIABLE, namespace};

/// A console log that is longer when a server is switched on is put aside as `….1`: two of them hold days of a
/// supervisor's own lines, and no disk is filled by a crash loop of process 1.
const CONSOLE_BYTES_MAX: u64 = 4 << 20;

/// What a server runs when it is switched on.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Process 1 with its arguments.
    pub argv: Vec<OsString>,
    /// Where its standard output and error go.
    pub console: PathBuf,
}

impl Boot {
    fn command(&self, site: &Domain) -> anyhow::Result<Command> {
        let (program, arguments) = self.argv.split_first().context("a server needs a command to boot")?;
        let console = console(&self.console)
            .with_context(|| format!("the console log {} cannot be written", self.console.display()))?;
        let mut command = Command::new(program);
        command.args(arguments).env(VARIABLE, site.as_str());
        command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        // In a session of its own. A Ctrl-C on the terminal is for `up`, which then stops the servers in order; and where the
        // kernel shares the processor among sessions (sched(7), autogroup), a dozen servers are not to have one share together.
        // SAFETY: setsid(2) is async-signal-safe (signal-safety(7)), and nothing else is done between fork and exec.
        unsafe { command.pre_exec(|| Ok(setsid().map(drop)?)) };
        Ok(command)
    }

    /// Starts process 1 of `server` in its network namespace and in process, mount and host name namespaces of its own.
    pub(crate) fn in_namespaces(
        &self,
        site: &Domain,
        server: &ServerName,
        network: &str,
        names: &Names,
    ) -> anyhow::Result<Child> {
        let mut command = self.command(site)?;
        let spawned = namespace::within(network, || {
            isolate(server, names).with_context(|| format!("namespaces for {server} could not be made"))?;
            command.spawn().with_context(|| format!("{server}: {} could not be started", self.argv[0].display()))
        });
        spawned?
    }

    /// Starts it as a plain process tree.
    pub fn plainly(&self, site: &Domain, server: &ServerName) -> anyhow::Result<Child> {
        let mut command = self.command(site)?;
        command.spawn().with_context(|| format!("{server}: {} could not be started", self.argv[0].display()))
    }
}

/// Gives the calling thread namespaces of its own; its next child is process 1 in them (pid_namespaces(7)).
fn isolate(server: &ServerName, names: &Names) -> io::Result<()> {
    // SAFETY: unsharing is unsafe only for the descriptor table (`UnshareFlags::FILES`), which stays shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID | UnshareFlags::NEWNS | UnshareFlags::NEWUTS)? };
    // The server's own mounts (its /proc, its names) stay inside; what the host unmounts goes away here too.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    names.mount()?;
    rustix::system::sethostname(server.as_str().as_bytes())?;
    Ok(())
}

fn console(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if fs::metadata(path).is_ok_and(|known| known.len() > CONSOLE_BYTES_MAX) {
        fs::rename(path, path.with_added_extension("1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}
