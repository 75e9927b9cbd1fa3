//! What servers stand on, where a scenario wants it worse than the machine's own: small disks, clocks that can be set.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::ProcessId;

/// What fills a disk.
const BALLAST: &str = "ballast";
/// Debian's libfaketime.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
const LIBRARIES: [&str; 3] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];

/// A disk of its own for a folder: in memory, so small as it was made. Dropped, it is gone with what was on it.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Puts it in the folder's place. To be done before the server is switched on, which else does not see it.
    ///
    /// # Errors
    /// As mkdir(2) and mount(2).
    pub fn mount(folder: &Path, bytes: u64) -> anyhow::Result<SmallDisk> {
        let what = || format!("no small disk can be made at {}", folder.display());
        fs::create_dir_all(folder).with_context(what)?;
        let options = std::ffi::CString::new(format!("size={bytes},mode=0755"))?;
        mount("tmpfs", folder, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).with_context(what)?;
        Ok(SmallDisk { folder: folder.to_owned() })
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// As write(2), but for the one that it is after.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::create(self.folder.join(BALLAST))?;
        for size in [1 << 20, 4 << 10, 1] {
            let piece = vec![0; size];
            loop {
                match ballast.write(&piece) {
                    Ok(_) => {}
                    Err(full) if full.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => {
                        return Err(error).with_context(|| format!("{} cannot be filled", self.folder.display()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn free(&self) -> io::Result<()> {
        match fs::remove_file(self.folder.join(BALLAST)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still has a file open on it keeps it until it ends.
        if let Err(error) = unmount(&self.folder, UnmountFlags::DETACH) {
            tracing::warn!("{} stays mounted: {error}", self.folder.display());
        }
    }
}

/// A program that is shown another time of day than there is.
#[derive(Debug)]
pub struct FakedClock {
    offset: PathBuf,
}

impl FakedClock {
    /// From now on, who starts `program` on the server whose process 1 is `server` gets it with a clock that can be set. Files for
    /// that are made in `folder`.
    ///
    /// # Errors
    /// Without libfaketime; if the server's file system cannot be entered.
    pub fn give(server: ProcessId, program: &Path, folder: &Path) -> anyhow::Result<FakedClock> {
        let libraries = LIBRARIES.map(|place| Path::new(place).join(LIBRARY));
        let library = libraries.iter().find(|library| library.exists());
        let library = library.context("libfaketime is not here; install the Debian package libfaketime")?;
        let name = program.file_name().context("a program has a name")?;
        fs::create_dir_all(folder)?;
        let (copy, wrapper, offset) = (folder.join(name), folder.join("start"), folder.join("offset"));
        fs::copy(program, &copy).with_context(|| format!("{} cannot be copied", program.display()))?;
        let clock = FakedClock { offset };
        clock.set("+0")?;
        let text = format!(
            "#!/bin/sh\nexport LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_CACHE_DURATION=1 DONT_FAKE_MONOTONIC=1\n\
             exec {} \"$@\"\n",
            library.display(),
            clock.offset.display(),
            copy.display()
        );
        fs::write(&wrapper, text)?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        let mut bind = Command::new("nsenter");
        bind.args(["--mount", "--target", &server.pid.to_string(), "mount", "--bind"]).arg(&wrapper).arg(program);
        let output = bind.output().context("`nsenter` could not be run; the Debian package util-linux has it")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(clock)
    }

    /// Lets the clock show that much more or less than the machine's: `+1d`, `-2h`, `+0`. Seen within a second.
    ///
    /// # Errors
    /// As write(2).
    pub fn set(&self, offset: &str) -> anyhow::Result<()> {
        if !offset.starts_with(['+', '-']) {
            bail!("\"{offset}\" is no offset");
        }
        fs::write(&self.offset, format!("{offset}\n"))
            .with_context(|| format!("{} cannot be written", self.offset.display()))
    }
}
