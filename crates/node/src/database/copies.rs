//! Giving a copy of the data to a server that has none, and taking one: the wire between two roles.
//!
//! TLS between the servers' own certificates, and then a word that only database roles know. Answered by `+` and a line that
//! says where the copy's owner stands, or `-` and why not; then the stream of `mariadb-backup` in pieces, each behind its
//! length in four bytes, the last one empty, and a `+` or `-` again: a stream that just ends is no copy.

use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use mainstay_site::names::ServerName;
use mainstay_site::secrets::Secrets;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::admin::{ADMIN, Admin};
use super::engine::Engine;
use super::find_program;
use super::places::Places;
use crate::platform::program;

/// Connecting, shaking hands and saying who one is.
const GREETING: Duration = Duration::from_secs(5);
/// Between two pieces: a backup takes a lock for a moment, and a disk may be slow.
const PIECE: Duration = Duration::from_secs(60);
/// Read and sent at once.
const PIECE_BYTES: usize = 256 << 10;
/// Copies at once: each reads the whole data directory.
const COPIES_MAX: usize = 2;
/// A greeting or an answer has some hundred bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Why a copy was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The certificates cannot be used.
    #[error("the servers' certificates cannot be used: {0}")]
    Certificates(String),
    /// The other side said why.
    #[error("{0} gives no copy: {1}")]
    Refused(ServerName, String),
    /// The connection.
    #[error("{0} cannot be copied from: {1}")]
    Connection(ServerName, io::Error),
}

fn unusable(error: impl std::fmt::Display) -> Failure {
    Failure::Certificates(error.to_string())
}

type Chain = Vec<CertificateDer<'static>>;

fn identity(secrets: &Secrets, own: &ServerName) -> Result<(Chain, PrivateKeyDer<'static>, RootCertStore), Failure> {
    let pair = secrets.identities.get(own).ok_or_else(|| unusable(format!("there is none for {own}")))?;
    let authority = secrets.authority.as_ref().ok_or_else(|| unusable("there is no authority"))?;
    let chain =
        CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect::<Result<Chain, _>>().map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(unusable)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.certificate.as_bytes()) {
        roots.add(certificate.map_err(unusable)?).map_err(unusable)?;
    }
    Ok((chain, key, roots))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Gives copies to whoever may have one, until it is dropped.
pub struct Giver {
    places: Places,
    secrets: Secrets,
    own: ServerName,
}

impl Giver {
    /// Of the server whose files these are.
    pub fn new(places: Places, secrets: Secrets, own: ServerName) -> Giver {
        Giver { places, secrets, own }
    }

    /// Answers on `listener` for ever.
    pub async fn give(self, listener: TcpListener) {
        let acceptor = match self.acceptor() {
            Ok(acceptor) => acceptor,
            Err(failure) => return tracing::error!("no copies are given: {failure}"),
        };
        let (giver, places_left) = (Arc::new(self), Arc::new(Semaphore::new(COPIES_MAX)));
        loop {
            let Ok((stream, from)) = listener.accept().await else { continue };
            let (giver, acceptor, places_left) = (Arc::clone(&giver), acceptor.clone(), Arc::clone(&places_left));
            tokio::spawn(async move {
                let Ok(_place) = places_left.try_acquire() else { return };
                match giver.answer(acceptor, stream).await {
                    Ok(()) => tracing::info!(%from, "gave a copy of the data"),
                    Err(error) => tracing::warn!(%from, "a copy of the data was not given: {error}"),
                }
            });
        }
    }

    fn acceptor(&self) -> Result<TlsAcceptor, Failure> {
        let (chain, key, roots) = identity(&self.secrets, &self.own)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(unusable)?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    async fn answer(&self, acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<()> {
        let greeting = async {
            let mut stream = BufReader::new(acceptor.accept(stream).await?);
            let word = line(&mut stream).await?;
            io::Result::Ok((stream, word))
        };
        let (mut stream, word) = timeout(GREETING, greeting).await??;
        let stands =
            if word == self.secrets.replication { self.stands().await } else { Err("who asks is no database".into()) };
        match stands {
            Ok(stands) => stream.write_all(format!("+{stands}\n").as_bytes()).await?,
            Err(why) => return refuse(stream.get_mut(), &why).await,
        }
        self.stream(stream.get_mut()).await
    }

    /// Everything that this server has, by who wrote it.
    async fn stands(&self) -> Result<String, String> {
        let mut admin =
            Admin::connect(&self.places, &self.secrets.database_admin).await.map_err(|fault| fault.to_string())?;
        let seen = admin.observe().await.map_err(|fault| fault.to_string())?;
        admin.quit().await;
        Ok(format!("{},{}", seen.variables.binlog_state, seen.variables.slave_position))
    }

    async fn stream(&self, to: &mut server::TlsStream<TcpStream>) -> io::Result<()> {
        let program = find_program("mariadb-backup").map_err(io::Error::other)?;
        let mut child = Command::new(program)
            .args(["--no-defaults", "--backup", "--stream=mbstream"])
            .arg(format!("--datadir={}", self.places.data.display()))
            .arg(format!("--socket={}", self.places.socket.display()))
            .arg(format!("--user={ADMIN}"))
            .arg(format!("--target-dir={}", self.places.data_parent().join("mariadb.backup").display()))
            .env_clear()
            .env("PATH", program::PATH)
            .env("MYSQL_PWD", &self.secrets.database_admin)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (mut pieces, mut errors) = (child.stdout.take(), child.stderr.take());
        let said = tokio::spawn(async move { last_words(errors.as_mut()).await });
        if let Some(pieces) = pieces.as_mut() {
            send(pieces, to).await?;
        }
        let whole = timeout(PIECE, child.wait()).await??.success();
        let said = said.await.unwrap_or_default();
        to.write_u32(0).await?;
        if !whole {
            refuse(to, &said).await?;
            return Err(io::Error::other(said));
        }
        to.write_all(b"+\n").await?;
        to.shutdown().await
    }
}

async fn refuse(stream: &mut server::TlsStream<TcpStream>, why: &str) -> io::Result<()> {
    stream.write_all(format!("-{}\n", why.replace('\n', " ")).as_bytes()).await?;
    stream.shutdown().await?;
    Err(io::Error::other(why.to_owned()))
}

/// The end of what a program says; it must be read, or the program waits.
async fn last_words(errors: Option<&mut tokio::process::ChildStderr>) -> String {
    let Some(errors) = errors else { return String::new() };
    let (mut lines, mut last) = (BufReader::new(errors).lines(), Vec::new());
    while let Ok(Some(line)) = lines.next_line().await {
        last.push(line);
        if last.len() > 3 {
            last.remove(0);
        }
    }
    last.join(" | ")
}

async fn send(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = timeout(PIECE, from.read(&mut piece)).await??;
        if length == 0 {
            return Ok(());
        }
        let send = async {
            to.write_u32(length as u32).await?;
            to.write_all(&piece[..length]).await?;
            to.flush().await
        };
        timeout(PIECE, send).await??;
    }
}

async fn line(from: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    from.take(LINE_BYTES_MAX).read_line(&mut text).await?;
    Ok(text.trim_end().to_owned())
}

/// A copy that is being taken.
pub struct Copy {
    from: ServerName,
    stream: BufReader<client::TlsStream<TcpStream>>,
    /// Everything that its owner has, by who wrote it: GTIDs between commas.
    pub stands: String,
}

/// Asks `from` at `address` for a copy.
///
/// # Errors
/// It cannot be reached, is not whom its certificate must name, or refuses.
pub async fn ask(secrets: &Secrets, own: &ServerName, from: &ServerName, address: SocketAddr) -> Result<Copy, Failure> {
    let (chain, key, roots) = identity(secrets, own)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(unusable)?;
    let name = rustls::pki_types::ServerName::try_from(from.to_string()).map_err(unusable)?;
    let greeting = async {
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(format!("{}\n", secrets.replication).as_bytes()).await?;
        let mut stream = BufReader::new(stream);
        let answer = line(&mut stream).await?;
        io::Result::Ok((stream, answer))
    };
    let failed = |error| Failure::Connection(from.clone(), error);
    let (stream, answer) = timeout(GREETING, greeting).await.map_err(|late| failed(late.into()))?.map_err(failed)?;
    let stands = verdict(from, &answer)?.to_owned();
    Ok(Copy { from: from.clone(), stream, stands })
}

fn verdict<'a>(from: &ServerName, answer: &'a str) -> Result<&'a str, Failure> {
    let ended = || Failure::Connection(from.clone(), io::ErrorKind::UnexpectedEof.into());
    match answer.split_at_checked(1).ok_or_else(ended)? {
        ("+", rest) => Ok(rest),
        (_, why) => Err(Failure::Refused(from.clone(), why.to_owned())),
    }
}

impl Copy {
    /// Passes the stream on to `to`; done only if all of it came.
    ///
    /// # Errors
    /// It broke off, or what makes it failed.
    pub async fn receive(mut self, to: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Failure> {
        let from = self.from.clone();
        let received = self.pieces(to).await.map_err(|error| Failure::Connection(from, error))?;
        let answer = line(&mut self.stream).await.map_err(|error| Failure::Connection(self.from.clone(), error))?;
        verdict(&self.from, &answer)?;
        Ok(received)
    }

    async fn pieces(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<u64> {
        let (mut piece, mut received) = (vec![0; PIECE_BYTES], 0);
        loop {
            let length = timeout(PIECE, self.stream.read_u32()).await?? as usize;
            let Some(piece) = piece.get_mut(..length) else { return Err(io::ErrorKind::InvalidData.into()) };
            if length == 0 {
                to.shutdown().await?;
                return Ok(received);
            }
            timeout(PIECE, self.stream.read_exact(piece)).await??;
            to.write_all(piece).await?;
            received += length as u64;
        }
    }
}
