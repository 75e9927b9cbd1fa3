//! Where the database keeps what: all below the server's state directory.

use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use mainstay_site::plan;

use super::Error;
use crate::service::Launch;

/// The longest path of a Unix socket (unix(7): 108 bytes with the final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The files of one database server.
#[derive(Clone, Debug)]
pub struct Places {
    /// MariaDB's data directory.
    pub data: PathBuf,
    /// Its configuration, written before every start.
    pub configuration: PathBuf,
    /// The Unix socket of the administration; the listener of the plan serves everybody else.
    pub socket: PathBuf,
    /// What MariaDB writes to its standard error.
    pub errors: PathBuf,
    /// How far `errors` was read.
    pub errors_read: PathBuf,
    /// The numeric user that `mariadbd` is started as: only as root, which it refuses to run as.
    pub user: Option<u32>,
}

impl Places {
    /// The places of a launch.
    ///
    /// # Errors
    /// The path of the socket is too long for the kernel.
    pub fn new(launch: &Launch, config: &plan::Database) -> Result<Places, Error> {
        let run = launch.run_folder();
        let socket = run.join("mariadb.sock");
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(Error::SocketPath { socket, most: SOCKET_PATH_BYTES_MAX });
        }
        Ok(Places {
            data: launch.state.join(&config.data),
            configuration: run.join("my.cnf"),
            socket,
            errors: run.join("mariadbd.err"),
            errors_read: run.join("mariadbd.err.read"),
            user: rustix::process::geteuid().is_root().then_some(launch.service.user),
        })
    }

    /// For tables that a statement needs on disk. Not /tmp, which is not this server's alone in the lab: MariaDB names such
    /// files by its process number, which is the same one in several namespaces, and deletes what it takes for its own.
    pub fn temporary(&self) -> &Path {
        self.configuration.parent().unwrap_or(Path::new("/tmp"))
    }

    /// The folder that holds the data directory: half-made ones are made beside it.
    pub fn data_parent(&self) -> &Path {
        self.data.parent().unwrap_or(Path::new("/"))
    }

    /// The logs that MariaDB lists in `index` of its data directory, in their order; none if it never began one.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn logs(&self, index: &str) -> io::Result<Vec<PathBuf>> {
        match std::fs::read_to_string(self.data.join(index)) {
            Ok(index) => Ok(index.lines().filter(|line| !line.is_empty()).map(|line| self.data.join(line)).collect()),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(why) => Err(why),
        }
    }

    /// Makes the folders, owned by `mariadbd`'s user.
    ///
    /// # Errors
    /// A folder that cannot be made or given away.
    pub fn prepare(&self) -> io::Result<()> {
        for folder in [self.data_parent(), self.configuration.parent().unwrap_or(Path::new("/"))] {
            std::fs::create_dir_all(folder)?;
            self.give(folder)?;
        }
        Ok(())
    }

    /// Gives a file to `mariadbd`'s user, where that is not our own.
    ///
    /// # Errors
    /// As chown(2).
    pub fn give(&self, path: &Path) -> io::Result<()> {
        self.user.map_or(Ok(()), |user| chown(path, Some(user), Some(user)))
    }

    /// All in one folder.
    #[cfg(test)]
    pub fn in_folder(folder: &Path) -> Places {
        Places {
            data: folder.join("mariadb"),
            configuration: folder.join("my.cnf"),
            socket: folder.join("socket"),
            errors: folder.join("err"),
            errors_read: folder.join("err.read"),
            user: None,
        }
    }
}
