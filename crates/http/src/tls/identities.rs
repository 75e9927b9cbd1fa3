//! Certificates and their keys, and which one is shown to whom.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::Error;

/// A certificate chain with its private key.
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From PEM: the site's certificate first, those that signed it after it, and the key as PKCS #8, PKCS #1 or SEC1.
    ///
    /// # Errors
    /// [`Error::Certificate`], [`Error::Key`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Identity, Error> {
        let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| Error::Certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(Error::Certificate("there is none".into()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| Error::Key(error.to_string()))?;
        Ok(Identity { chain, key })
    }

    /// The names that it is for (RFC 5280 § 4.2.1.6), lower case.
    fn names(&self) -> Result<Vec<String>, Error> {
        let leaf = EndEntityCert::try_from(&self.chain[0]).map_err(|error| Error::Certificate(error.to_string()))?;
        Ok(leaf.valid_dns_names().map(str::to_ascii_lowercase).collect())
    }
}

/// All identities, by name.
#[derive(Debug)]
pub(super) struct Identities {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl Identities {
    pub(super) fn new(identities: Vec<Identity>) -> Result<Identities, Error> {
        let (mut by_name, mut first) = (HashMap::new(), None);
        for identity in identities {
            let names = identity.names()?;
            let key = Arc::new(CertifiedKey::from_der(identity.chain, identity.key, &super::provider())?);
            first.get_or_insert_with(|| key.clone());
            for name in names {
                by_name.entry(name).or_insert_with(|| key.clone());
            }
        }
        Ok(Identities { by_name, first: first.ok_or(Error::Nobody)? })
    }

    /// The name itself, or a wildcard for its first label (RFC 9525 § 6.3).
    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let wild = || Some(format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(name).or_else(|| self.by_name.get(&wild()?))
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.named(&name.to_ascii_lowercase()));
        Some(named.unwrap_or(&self.first).clone())
    }
}
