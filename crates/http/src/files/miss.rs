//! Why there is no file, and what is answered then.

use std::io;

use rustix::io::Errno;

/// Why there is no file to answer with.
#[derive(Debug, thiserror::Error)]
pub enum Miss {
    /// 404.
    #[error("there is no such file")]
    NotFound,
    /// No file here, and the folder says to ask the next one: the application.
    #[error("there is no such file here; the application may have an answer")]
    FallThrough,
    /// 403: hidden, unreadable, or outside of the root. Says nothing of whether it exists.
    #[error("the file is not for visitors")]
    Forbidden,
    /// 400: the path is malformed.
    #[error("the path is malformed")]
    Malformed,
    /// 301: a folder that was asked for without its final slash. A relative reference for Location (RFC 9110
    /// § 10.2.2), already encoded; the driver adds the query.
    #[error("the folder is at {0}")]
    Redirect(String),
    /// 500: the system failed, out of descriptors or of luck with the disk.
    #[error("the file cannot be opened: {0}")]
    Failed(#[source] io::Error),
}

impl Miss {
    /// Why a file could not be opened; `absent` if it is not there.
    pub(super) fn of(error: Errno, absent: Miss) -> Miss {
        match error {
            // No such file; a file where a folder should be; links in a circle; a socket.
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::NXIO => absent,
            // Unreadable; out of the root.
            Errno::ACCESS | Errno::PERM | Errno::XDEV => Miss::Forbidden,
            error => Miss::Failed(error.into()),
        }
    }

    /// The status to answer with; 404 for [`Miss::FallThrough`] if nobody else has an answer.
    pub fn status(&self) -> u16 {
        match self {
            Miss::NotFound | Miss::FallThrough => 404,
            Miss::Forbidden => 403,
            Miss::Malformed => 400,
            Miss::Redirect(_) => 301,
            Miss::Failed(_) => 500,
        }
    }

    /// Appends the status line and the headers of an answer without a body to `head`, without Date, Connection and the
    /// empty line. `query` is the request's, without its `?`, and goes along with a redirect.
    pub fn answer(&self, query: &str, head: &mut Vec<u8>) {
        let line = match self.status() {
            301 => "301 Moved Permanently",
            400 => "400 Bad Request",
            403 => "403 Forbidden",
            404 => "404 Not Found",
            _ => "500 Internal Server Error",
        };
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
        put(&["HTTP/1.1 ", line, "\r\nContent-Length: 0\r\nCache-Control: no-cache\r\n"]);
        if let Miss::Redirect(location) = self {
            put(&["Location: ", location, if query.is_empty() { "" } else { "?" }, query, "\r\n"]);
        }
    }
}
