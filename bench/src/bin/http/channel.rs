//! A client's connection: in clear, or over TLS with new keys.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

pub enum Channel {
    Clear(TcpStream),
    Tls(TcpStream, Box<ClientConnection>),
}

impl Channel {
    pub fn open(to: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Channel> {
        let stream = TcpStream::connect(to).context("the contender does not accept")?;
        let Some(tls) = tls else { return Ok(Channel::Clear(stream)) };
        let session = ClientConnection::new(tls.clone(), ServerName::try_from("www.foobar.com")?)?;
        Ok(Channel::Tls(stream, Box::new(session)))
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Channel::Clear(stream) | Channel::Tls(stream, _) => stream,
        }
    }

    /// Sends what the socket takes; over TLS all of it, which must be far smaller than its buffer, once hands are shaken.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Channel::Clear(stream) => stream.write(bytes),
            Channel::Tls(stream, session) => {
                session.writer().write_all(bytes)?;
                push(stream, session)?;
                Ok(bytes.len())
            }
        }
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (stream, session) = match self {
            Channel::Clear(stream) => return stream.read(buffer),
            Channel::Tls(stream, session) => (stream, session),
        };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            session.read_tls(stream)?;
            session.process_new_packets().map_err(io::Error::other)?;
            push(stream, session)?;
        }
    }
}

fn push(stream: &mut TcpStream, session: &mut ClientConnection) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            done => done?,
        };
    }
    Ok(())
}

/// Believes everybody, and never goes on with an old session; `protocols`: what it says that it speaks (RFC 7301).
pub fn config(protocols: &[&str]) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// The certificates of the bench are signed by nobody.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
