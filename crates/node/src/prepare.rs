//! What a server needs on its disk before its plan can be carried out: releases of the codebases, and the secrets.
//!
//! For whoever puts a plan in force (`mainstay serve --declaration`, `mainstay up`); it blocks, and may reach the
//! package index to build a release.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mainstay_site::model::{Codebase, FORMAT, Site};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::secrets::Secrets;
use rustix::process::geteuid;

use crate::release::{self, Release};
use crate::{authority, certificate};

/// Why a server cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A codebase cannot be made into a release.
    #[error(transparent)]
    Release(#[from] release::Error),
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// What the servers show each other.
    #[error(transparent)]
    Authority(#[from] authority::Error),
    /// The secrets cannot be read or written.
    #[error("{}: {source}", path.display())]
    Secrets {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are none, and this server may not make them up.
    #[error(
        "{} is not there, and {server} is not the only server: every server of a site needs the same secrets; copy the \
         file from another server",
        path.display()
    )]
    NoSecrets {
        /// The file.
        path: PathBuf,
        /// Which server.
        server: ServerName,
    },
}

/// Builds every application's release below `builds`; `folder` is what the declaration's paths are relative to.
///
/// # Errors
/// If a codebase cannot be read, or what it depends on cannot be had.
pub fn build(site: &Site, folder: &Path, builds: &Path, progress: &mut dyn FnMut(&str)) -> Result<Vec<Release>, Error> {
    let build = |app| release::build(app, &folder.join(&app.path), builds, progress).map_err(Error::from);
    site.apps.iter().map(build).collect()
}

/// What a plan is derived from beside the site.
pub fn codebases(releases: &[Release]) -> Vec<Codebase> {
    releases.iter().map(|release| Codebase::new(&release.app, &release.id)).collect()
}

/// Installs the releases that `server` serves from or runs below its state directory.
///
/// # Errors
/// If the disk refuses.
pub fn install(site: &Site, server: &ServerName, releases: &[Release], state: &Path) -> Result<(), Error> {
    let needs = |role| site.server(server).is_some_and(|server| server.has(role));
    if !needs(Role::App) && !needs(Role::Web) {
        return Ok(());
    }
    let owner = geteuid().is_root().then(|| Role::App.user());
    for release in releases {
        let shared = site.apps.iter().find(|app| app.name == release.app).map(|app| &*app.shared).unwrap_or_default();
        release::install(release, state, shared, owner)?;
    }
    Ok(())
}

/// The secrets in `state/secrets.json`, completed for the site and written back, with the certificate; the owner's own is read
/// below `declared_in`. Only a site of one server may begin
/// without any: several must have the same.
///
/// # Errors
/// If they are missing, unreadable, of a newer format, or cannot be written.
pub fn secrets(site: &Site, server: &ServerName, declared_in: &Path, state: &Path) -> Result<Secrets, Error> {
    let path = state.join("secrets.json");
    let failed = |source| Error::Secrets { path: path.clone(), source };
    let known = match fs::read(&path) {
        Ok(text) => Some(parse(&text).map_err(failed)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound && site.servers.len() == 1 => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoSecrets { path, server: server.clone() });
        }
        Err(error) => return Err(failed(error)),
    };
    let mut random = File::open("/dev/urandom").map_err(failed)?;
    let mut broken = None;
    let fill = |bytes: &mut [u8]| broken = random.read_exact(bytes).err().or(broken.take());
    let mut secrets = Secrets::complete(known.clone(), site.apps.iter().map(|app| &app.name), fill);
    if let Some(error) = broken {
        return Err(failed(error));
    }
    secrets.certificate = certificate::of(site, declared_in, secrets.certificate.as_ref())?;
    secrets.store = authority::store_access(site, declared_in)?;
    // Servers that each made an authority would not believe each other.
    if site.servers.len() == 1 || secrets.authority.is_some() {
        authority::complete(site, &mut secrets)?;
    }
    if known.as_ref() != Some(&secrets) {
        write(&path, &secrets).map_err(failed)?;
    }
    Ok(secrets)
}

fn parse(text: &[u8]) -> io::Result<Secrets> {
    let secrets: Secrets = serde_json::from_slice(text)?;
    if secrets.format > FORMAT {
        let newer = format!("it has format {}, this build knows up to {FORMAT}", secrets.format);
        return Err(io::Error::other(newer));
    }
    Ok(secrets)
}

/// Written beside and renamed, so that a crash leaves either the old ones or the new.
fn write(path: &Path, secrets: &Secrets) -> io::Result<()> {
    let unfinished = path.with_extension("json.new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&serde_json::to_vec_pretty(secrets)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
