//! Where a member keeps what: below the server's state directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mainstay_site::names::{Domain, ServerName};
use mainstay_site::plan::{self, Member};
use mainstay_site::secrets::KeyPair;

use super::Error;
use crate::service::Launch;
use crate::store::Etcd;

/// The file that says that nobody has a store yet, beside etcd's data directory.
pub const FIRST: &str = "first";

/// What one member is and has.
pub struct Places {
    pub site: Domain,
    pub server: ServerName,
    pub own: Member,
    /// etcd's data directory.
    pub data: PathBuf,
    /// Stays when the data is lost: this server has been a member, and may have voted.
    pub marker: PathBuf,
    /// Lies beside the data of a site whose servers have never run, until this one begins its store with the others.
    pub first: PathBuf,
    /// etcd reads them at every handshake, so a new certificate needs no restart.
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
    /// What the files hold.
    pub identity: KeyPair,
    pub trusted: KeyPair,
}

impl Places {
    pub fn new(launch: &Launch, config: &plan::Store) -> Result<Places, Error> {
        let server = launch.server.clone();
        let own = config.member(&server).cloned().ok_or_else(|| Error::NoMember(server.to_string()))?;
        let identity = launch.secrets.identities.get(&server).cloned();
        let (identity, trusted) =
            identity.zip(launch.secrets.authority.clone()).ok_or_else(|| Error::NoCertificate(server.to_string()))?;
        let (run, data) = (launch.run_folder(), launch.state.join(&config.data));
        Ok(Places {
            site: launch.site.clone(),
            server,
            own,
            marker: data.with_file_name("member"),
            first: data.with_file_name(FIRST),
            data,
            certificate: run.join("server.pem"),
            key: run.join("server.key"),
            authority: run.join("authority.pem"),
            identity,
            trusted,
        })
    }

    /// Writes what etcd reads.
    pub fn prepare(&self) -> io::Result<()> {
        for folder in [&self.data, &self.key].into_iter().filter_map(|path| path.parent()) {
            fs::create_dir_all(folder)?;
        }
        for (path, text) in [
            (&self.certificate, &self.identity.certificate),
            (&self.key, &self.identity.key),
            (&self.authority, &self.trusted.certificate),
        ] {
            replace(path, text)?;
        }
        Ok(())
    }

    /// The store whose members listen at `endpoints`.
    pub fn store(&self, endpoints: &[(ServerName, SocketAddr)]) -> Etcd {
        Etcd::new(&self.site, endpoints, &self.identity, &self.trusted)
    }

    /// Whether there is data to start with. etcd makes other folders before it asks the others whether it may come in, and this
    /// one, by renaming it, only when it may: without it, it was refused or killed before it had voted for anything.
    pub fn has_data(&self) -> bool {
        self.data.join("member/wal").is_dir()
    }

    pub fn was_member(&self) -> bool {
        self.marker.exists()
    }

    /// Whether whoever made this server knew that no server of its site had ever run, and it has not since.
    pub fn is_first(&self) -> bool {
        self.first.exists() && !self.was_member()
    }

    /// Notes, for good, that this server is a member from now on.
    pub fn mark(&self) -> io::Result<()> {
        fs::remove_file(&self.first)
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
        let mut file = File::create(&self.marker)?;
        file.write_all(
            b"This server has a vote in the site's store. Without its data it comes back only through the others.\n",
        )?;
        file.sync_all()
    }

    /// Keeps data that is no use any more beside its place, at most once.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        let kept = self.data.with_extension("removed");
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        fs::rename(&self.data, &kept)?;
        Ok(kept)
    }
}

/// Written beside and renamed: etcd may read it at any moment.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&unfinished, path)
}
