//! A client of Redis, as far as Mainstay talks to it: one command at a time (RESP2, redis.io/docs/reference/protocol-spec).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Mainstay's own account on every Redis of a site.
pub const ADMIN: &str = "mainstay";

/// What an answer may take. Redis answers in microseconds; who takes a second keeps requests waiting.
pub const ANSWER: Duration = Duration::from_secs(1);

/// Bytes of an answer: `INFO` has some kilobytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing came in time.
    #[error("it does not answer within {} ms", ANSWER.as_millis())]
    Silent,
    /// It said no.
    #[error("it refuses {command}: {reason}")]
    Refused {
        /// The command's name.
        command: String,
        /// Redis' words.
        reason: String,
    },
    /// What came is not Redis' protocol.
    #[error("it answers in a way that Redis does not")]
    Garbled,
    /// The connection could not be made or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// Whether another password would do.
    pub fn is_password(&self) -> bool {
        matches!(self, Error::Refused { reason, .. } if reason.starts_with("WRONGPASS") || reason.starts_with("NOAUTH"))
    }
}

/// A connection that is let in.
pub struct Redis(BufReader<TcpStream>);

impl Redis {
    /// Connects and shows the password of [`ADMIN`].
    ///
    /// # Errors
    /// [`Error`]; within twice [`ANSWER`].
    pub async fn connect(at: SocketAddr, password: &str) -> Result<Redis, Error> {
        let stream = timeout(ANSWER, TcpStream::connect(at)).await.map_err(|_| Error::Silent)??;
        stream.set_nodelay(true)?;
        let mut redis = Redis(BufReader::new(stream));
        redis.ask(&["AUTH", ADMIN, password]).await?;
        Ok(redis)
    }

    /// Gives a command; its answer as text. After an error the connection is of no more use.
    ///
    /// # Errors
    /// [`Error`]; within [`ANSWER`].
    pub async fn ask(&mut self, command: &[&str]) -> Result<String, Error> {
        timeout(ANSWER, self.exchange(command)).await.map_err(|_| Error::Silent)?
    }

    /// What `INFO` says: name → value.
    ///
    /// # Errors
    /// As [`Redis::ask`].
    pub async fn info(&mut self) -> Result<BTreeMap<String, String>, Error> {
        let text = self.ask(&["INFO"]).await?;
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    async fn exchange(&mut self, command: &[&str]) -> Result<String, Error> {
        let mut bytes = format!("*{}\r\n", command.len());
        for word in command {
            bytes += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(bytes.as_bytes()).await?;
        let line = self.line().await?;
        match line.split_at_checked(1) {
            Some(("+" | ":", rest)) => Ok(rest.to_owned()),
            Some(("$", length)) => self.bulk(length).await,
            Some(("-", reason)) => Err(Error::Refused {
                command: command.first().copied().unwrap_or_default().into(),
                reason: reason.into(),
            }),
            _ => Err(Error::Garbled),
        }
    }

    async fn line(&mut self) -> Result<String, Error> {
        let mut line = Vec::new();
        (&mut self.0).take(ANSWER_BYTES_MAX as u64).read_until(b'\n', &mut line).await?;
        let line = line.strip_suffix(b"\r\n").ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        String::from_utf8(line.to_vec()).map_err(|_| Error::Garbled)
    }

    async fn bulk(&mut self, length: &str) -> Result<String, Error> {
        let length = length.parse().ok().filter(|length| *length <= ANSWER_BYTES_MAX).ok_or(Error::Garbled)?;
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        String::from_utf8(bytes).map_err(|_| Error::Garbled)
    }
}
