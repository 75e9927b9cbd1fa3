//! Where a site is kept on this machine: a folder with one state directory per server, and `.site` for what belongs to
//! all of them. No server can be called `.site`: their names are DNS labels.
//!
//! | path | what |
//! |---|---|
//! | `SERVER/` | a server's state directory |
//! | `.site/site.json` | the site as it was last brought up |
//! | `.site/plans.json` | its plans |
//! | `.site/secrets.json` | its keys and passwords; root alone reads it |
//! | `.site/builds/` | releases of its codebases, built on this machine |

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mainstay_node::page::Watched;
use mainstay_node::supervisor::default_state;
use mainstay_site::model::Site;
use mainstay_site::names::{Domain, ServerName};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A site's folder.
#[derive(Clone, Debug)]
pub struct SiteFolder(pub PathBuf);

impl SiteFolder {
    /// Where it is if nobody says otherwise.
    pub fn usual(site: &Domain) -> SiteFolder {
        let server = default_state(site, &ServerName::from("any"));
        SiteFolder(server.parent().map_or(server.clone(), Path::to_owned))
    }

    /// The folder that was asked for, or the usual one.
    pub fn choose(asked: Option<&Path>, site: &Domain) -> anyhow::Result<SiteFolder> {
        let Some(asked) = asked else { return Ok(SiteFolder::usual(site)) };
        let absolute = std::path::absolute(asked);
        Ok(SiteFolder(absolute.with_context(|| format!("--state {} is no path", asked.display()))?))
    }

    /// A server's state directory.
    pub fn server(&self, name: &ServerName) -> PathBuf {
        self.0.join(name.as_str())
    }

    /// What belongs to all servers.
    pub fn common(&self) -> PathBuf {
        self.0.join(".site")
    }

    /// Every server of `site`, to look at.
    pub fn watched(&self, site: &Site) -> Vec<Watched> {
        let server =
            |name: &ServerName| Watched { server: name.clone(), socket: self.server(name).join("control.sock") };
        site.servers.iter().map(|one| server(&one.name)).collect()
    }

    /// Makes the folders, open to the services' users, who must reach what is theirs below.
    pub fn make(&self) -> anyhow::Result<()> {
        let make = |path: &Path| {
            DirBuilder::new().recursive(true).mode(0o755).create(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o755))
        };
        let made = make(&self.0).and_then(|()| make(&self.common()));
        made.with_context(|| {
            format!("the site cannot be kept in {}; choose another folder with --state", self.0.display())
        })?;
        if rustix::process::geteuid().is_root() { self.reachable() } else { Ok(()) }
    }

    /// Services run as users of their own; a closed folder above would keep them from everything.
    fn reachable(&self) -> anyhow::Result<()> {
        for above in self.0.ancestors().skip(1) {
            let mode = fs::metadata(above)?.permissions().mode();
            if mode & 0o001 == 0 {
                let (closed, mode) = (above.display(), mode & 0o777);
                bail!(
                    "the services' users cannot reach {}: {closed} has mode {mode:03o}; choose another folder with \
                     --state, or open it with `chmod o+x {closed}`",
                    self.0.display()
                );
            }
        }
        Ok(())
    }

    /// Reads `.site/NAME`, if it is there.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let path = self.common().join(name);
        match fs::read(&path) {
            Ok(text) => {
                let value = serde_json::from_slice(&text);
                value
                    .map(Some)
                    .with_context(|| format!("{} was written by another version of mainstay", path.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    /// Writes `.site/NAME`.
    pub fn write(&self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        write(&self.common().join(name), value)
    }
}

/// Writes JSON so that a reader, or a machine that lost its power, sees the old or the new text. For this user alone: plans and
/// declarations hold the applications' settings, which may be secrets.
pub fn write(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let next = path.with_added_extension("new");
    let text = serde_json::to_vec_pretty(value)?;
    let written = || {
        // A leftover of a crash may have another mode.
        let _ = fs::remove_file(&next);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&next, path)
    };
    written().with_context(|| format!("{} cannot be written", path.display()))
}
