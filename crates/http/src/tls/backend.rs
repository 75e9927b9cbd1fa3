//! Backends that are met over TLS, and why one is not believed.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_machines::health::Distrust;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};

use super::Error;

/// What TLS connections to backends are made with.
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub(super) http1: Arc<ClientConfig>,
    pub(super) http2: Arc<ClientConfig>,
}

/// Where a backend listens for TLS, and who it must be. There is no way from here to a connection in clear.
#[derive(Clone)]
pub struct Encrypted {
    pub(crate) address: SocketAddr,
    pub(crate) name: ServerName<'static>,
    tls: ClientTls,
}

impl Encrypted {
    /// The backend at `address`, whose certificate must be for `name`: a DNS name or an IP address (RFC 9525).
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn new(address: SocketAddr, name: &str, tls: ClientTls) -> Result<Encrypted, Error> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| Error::Name(name.to_owned()))?;
        Ok(Encrypted { address, name, tls })
    }

    /// What a connection is made with; `two`: for HTTP/2.
    pub(crate) fn config(&self, two: bool) -> Arc<ClientConfig> {
        if two { self.tls.http2.clone() } else { self.tls.http1.clone() }
    }
}

impl PartialEq for Encrypted {
    /// Connections that were made with other keys, or believing others, are other connections.
    fn eq(&self, other: &Encrypted) -> bool {
        self.address == other.address && self.name == other.name && Arc::ptr_eq(&self.tls.http1, &other.tls.http1)
    }
}

impl Eq for Encrypted {}

impl Hash for Encrypted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.address, &self.name).hash(state);
    }
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encrypted({self})")
    }
}

impl fmt::Display for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.address, self.name.to_str())
    }
}

/// Why `error` ended a connection over TLS; `None` if TLS has nothing to do with it.
pub(crate) fn distrust(error: &io::Error) -> Option<Distrust> {
    use CertificateError as Certificate;
    let error: &rustls::Error = error.get_ref()?.downcast_ref()?;
    Some(match error {
        rustls::Error::InvalidCertificate(because) => match because {
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => Distrust::OtherName,
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => Distrust::OutOfDate,
            // The second: by somebody who has the name of one of ours.
            Certificate::UnknownIssuer | Certificate::BadSignature => Distrust::Stranger,
            _ => Distrust::Certificate,
        },
        rustls::Error::AlertReceived(_) => Distrust::Refused,
        _ => Distrust::Protocol,
    })
}
