//! The certificate that visitors are shown: the owner's own, or one that is made here.

use std::io;
use std::path::{Path, PathBuf};

use mainstay_http::tls::{self, Identity, ServerTls};
use mainstay_site::model::{Certificate, Site};
use mainstay_site::secrets::KeyPair;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose};
use time::{Duration, OffsetDateTime};

/// How long one that is made here is valid: no browser takes more than 825 days, even from an authority that its owner has
/// told it to trust.
const VALID: Duration = Duration::days(820);
/// Made anew when less than this is left.
const LEFT: Duration = Duration::days(120);
/// A server's clock may go behind ours.
const BEFORE: Duration = Duration::days(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the owner's.
    #[error("{}: {source}; [tls] certificate names it", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files are there and no use.
    #[error("{} and {}: {source}", certificate.display(), key.display())]
    Unusable {
        /// Which.
        certificate: PathBuf,
        /// Which.
        key: PathBuf,
        /// Why.
        source: tls::Error,
    },
    /// None could be made.
    #[error("a self-signed certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// The certificate that `site` asks for: `known` while it serves, else a new one; files of the owner are read below `folder`.
/// `None` without `[tls]`.
///
/// # Errors
/// See [`Error`].
pub fn of(site: &Site, folder: &Path, known: Option<&KeyPair>) -> Result<Option<KeyPair>, Error> {
    match site.tls.as_ref().map(|tls| &tls.certificate) {
        None => Ok(None),
        Some(Certificate::Files { certificate, key }) => owned(&folder.join(certificate), &folder.join(key)).map(Some),
        // Until one can be obtained, which `check` and `up` say.
        Some(Certificate::SelfSigned | Certificate::Acme) => {
            let names = names(site);
            match known {
                Some(known) if known.names == names && known.until > seconds(OffsetDateTime::now_utc() + LEFT) => {
                    Ok(Some(known.clone()))
                }
                _ => made(names).map(Some).map_err(Error::from),
            }
        }
    }
}

/// What the engine shows.
///
/// # Errors
/// If certificate and key do not fit, which [`of`] has looked at.
pub(crate) fn shown(pair: &KeyPair) -> Result<ServerTls, tls::Error> {
    tls::server(vec![Identity::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes())?], None)
}

fn owned(certificate: &Path, key: &Path) -> Result<KeyPair, Error> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source });
    let pair = KeyPair { certificate: read(certificate)?, key: read(key)?, names: Vec::new(), until: 0 };
    match shown(&pair) {
        Ok(_) => Ok(pair),
        Err(source) => Err(Error::Unusable { certificate: certificate.to_owned(), key: key.to_owned(), source }),
    }
}

/// The site's names, with those by which it is opened on the machine that it is tried on.
fn names(site: &Site) -> Vec<String> {
    let hosts = site.apps.iter().filter_map(|app| app.host.clone());
    let domain = site.domain.to_string();
    let stem = domain.split('.').next().unwrap_or_default();
    let local = [format!("{stem}.localhost"), format!("*.{stem}.localhost")];
    let mut names: Vec<String> =
        [domain.clone(), format!("*.{domain}")].into_iter().chain(hosts).chain(local).collect();
    names.sort();
    names.dedup();
    names
}

fn made(names: Vec<String>) -> Result<KeyPair, rcgen::Error> {
    let now = OffsetDateTime::now_utc();
    let key = rcgen::KeyPair::generate()?;
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("mainstay", String::as_str));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (now - BEFORE, now + VALID);
    let certificate = params.self_signed(&key)?.pem();
    Ok(KeyPair { certificate, key: key.serialize_pem(), names, until: seconds(now + VALID) })
}

fn seconds(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp()).unwrap_or(0)
}
