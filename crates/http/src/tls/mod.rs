//! TLS 1.2 and 1.3 by rustls: who we are, whom we believe, and the connection itself.

mod backend;
mod identities;
mod session;
mod tickets;

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub(crate) use backend::distrust;
pub use backend::{ClientTls, Encrypted};
pub use identities::Identity;
pub(crate) use session::Session;
pub use tickets::with_shared_tickets;

use identities::Identities;

/// What TLS connections are made with: certificates, keys and whom to believe. Immutable; a new one is swapped in with the
/// engine's configuration, and connections that are open keep theirs.
pub type ServerTls = Arc<ServerConfig>;

/// What ALPN (RFC 7301) calls HTTP/2.
pub(crate) const H2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// TLS 1.3 tickets for each new connection: one, since a browser goes on with one HTTP/2 connection, and each costs an
/// encryption and a packet. (OpenSSL sends two.)
const TICKETS: usize = 1;

/// Why TLS cannot be had like this.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate chain is not there or not one.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// The private key is not there or not one.
    #[error("the private key cannot be read: {0}")]
    Key(String),
    /// They do not belong together, or are of a kind that nobody uses any more.
    #[error("the certificate and the private key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The certificates of those who are believed.
    #[error("the certificates of the authority cannot be read: {0}")]
    Roots(String),
    /// Nobody can be called so.
    #[error("`{0}` is neither a DNS name nor an IP address")]
    Name(String),
    /// No certificate at all.
    #[error("no certificate was given")]
    Nobody,
}

/// How visitors are met. The identity is chosen by the name that they ask for (SNI, RFC 6066 § 3), else it is the first.
/// `clients`: certificates in PEM of those whose clients alone are let in.
///
/// # Errors
/// [`Error`].
pub fn server(identities: Vec<Identity>, clients: Option<&[u8]>) -> Result<ServerTls, Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(rustls::DEFAULT_VERSIONS)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem)?), provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| Error::Roots(error.to_string()))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Identities::new(identities)?));
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1.to_vec()];
    // Tickets (RFC 8446 § 4.6.1, RFC 5077) hold the session themselves: no table, any core reads them.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = TICKETS;
    Ok(Arc::new(config))
}

/// How backends are met: only those whose certificate one of `roots` (PEM) has signed; we show them `identity` if they ask.
///
/// # Errors
/// [`Error`].
pub fn client(roots_pem: &[u8], identity: Option<Identity>) -> Result<ClientTls, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?
        .with_root_certificates(roots(roots_pem)?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key)?,
    };
    let mut http2 = config.clone();
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    http2.alpn_protocols = vec![H2.to_vec()];
    Ok(ClientTls { http1: Arc::new(config), http2: Arc::new(http2) })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| Error::Roots(error.to_string()))?;
        roots.add(certificate).map_err(|error| Error::Roots(error.to_string()))?;
    }
    if roots.is_empty() { Err(Error::Roots("there is none".into())) } else { Ok(roots) }
}
