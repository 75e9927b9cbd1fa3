//! The site's own certificate authority, by which its servers know each other: made once, with the site's secrets.
//!
//! Every server has one certificate for all that it says to others, as who connects and as who is connected to (RFC 5280
//! § 4.2.1.12), for its name and its address. The authority's key stays where the site is put together.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use mainstay_site::model::{Server, Site};
use mainstay_site::secrets::{KeyPair, Secrets, StoreAccess};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

/// How long the authority is trusted: to replace it, every server must be told at once. Longer than machines live.
const AUTHORITY_VALID: Duration = Duration::days(20 * 365);
/// How long a server's certificate is valid.
const VALID: Duration = Duration::days(820);
/// Made anew when less than this is left.
const LEFT: Duration = Duration::days(120);
/// A server's clock may go behind ours.
const BEFORE: Duration = Duration::days(1);

/// Why a server has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One cannot be made.
    #[error("a certificate for the site's servers cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// A file of the owner's.
    #[error("{}: {source}; [store] names it", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the declared etcd is shown, read below `folder`; `None` if none is declared.
///
/// # Errors
/// [`Error::File`].
pub fn store_access(site: &Site, folder: &Path) -> Result<Option<StoreAccess>, Error> {
    let Some(store) = &site.store else { return Ok(None) };
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })
    };
    let identity =
        KeyPair { certificate: read(&store.certificate)?, key: read(&store.key)?, names: Vec::new(), until: 0 };
    Ok(Some(StoreAccess { authority: read(&store.authority)?, identity }))
}

/// Makes what is missing or about to end, for every server of `site`, and forgets the servers that are no more. Without the
/// authority's key, which not every server has, what is there stays as it is.
///
/// # Errors
/// [`Error`].
pub fn complete(site: &Site, secrets: &mut Secrets) -> Result<(), Error> {
    let now = OffsetDateTime::now_utc();
    let authority = match secrets.authority.take() {
        Some(known) => known,
        None => made(site, now)?,
    };
    let authority = secrets.authority.insert(authority);
    if authority.key.is_empty() {
        return Ok(());
    }
    secrets.identities.retain(|name, _| site.server(name).is_some());
    let key = rcgen::KeyPair::from_pem(&authority.key)?;
    let issuer = Issuer::new(params_of(authority.names.first().map_or("", String::as_str)), key);
    for server in &site.servers {
        let names = names(site, server);
        let known = secrets.identities.get(&server.name);
        if known.is_none_or(|known| known.names != names || known.until < seconds(now + LEFT)) {
            secrets.identities.insert(server.name.clone(), identity(server, names, &issuer, now)?);
        }
    }
    Ok(())
}

fn made(site: &Site, now: OffsetDateTime) -> Result<KeyPair, Error> {
    let key = rcgen::KeyPair::generate()?;
    // Told apart by its key: who starts anew does not look like the one before.
    let name = format!("Mainstay's authority of {} {}", site.domain, mark(&key));
    let mut params = params_of(&name);
    (params.not_before, params.not_after) = (now - BEFORE, now + AUTHORITY_VALID);
    let certificate = params.self_signed(&key)?.pem();
    Ok(KeyPair { certificate, key: key.serialize_pem(), names: vec![name], until: seconds(now + AUTHORITY_VALID) })
}

/// Eight hexadecimal digits of the public key.
fn mark(key: &rcgen::KeyPair) -> String {
    let end = key.public_key_raw().iter().rev().take(4);
    end.map(|byte| format!("{byte:02x}")).collect()
}

/// What an issuer is to those whom it signs: its name and what it may do. It can be said again without its certificate.
fn params_of(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn identity(
    server: &Server,
    names: Vec<String>,
    issuer: &Issuer<'_, rcgen::KeyPair>,
    now: OffsetDateTime,
) -> Result<KeyPair, Error> {
    let key = rcgen::KeyPair::generate()?;
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, server.name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (now - BEFORE, now + VALID);
    let certificate = params.signed_by(&key, issuer)?.pem();
    Ok(KeyPair { certificate, key: key.serialize_pem(), names, until: seconds(now + VALID) })
}

/// By what a server is called: its name, alone and in the site's zone, and its address. Its loopback too, since what is on the
/// same server comes from there, and etcd looks at where a client comes from.
fn names(site: &Site, server: &Server) -> Vec<String> {
    let own = [server.address, Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let called = [server.name.to_string(), format!("{}.{}", server.name, site.domain)];
    called.into_iter().chain(own.map(|address| address.to_string())).collect()
}

fn seconds(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use mainstay_site::declaration::{Anywhere, parse};

    use super::*;

    fn site(first: &str) -> Site {
        let head = "format = 1\n[site]\ndomain = \"a.com\"\n[app]\npath = \".\"\nkind = \"wsgi\"\nentry = \"a:b\"\n";
        let one = format!("[servers.one]\naddress = \"{first}\"\nroles = [\"dns\", \"web\", \"app\"]\n");
        let two = "[servers.two]\naddress = \"10.0.0.2\"\nroles = [\"web\"]\n";
        parse(&format!("{head}{one}{two}"), &Anywhere).unwrap()
    }

    fn none() -> Secrets {
        Secrets::complete(None, [], |bytes| bytes.fill(1))
    }

    fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What OpenSSL says of a certificate.
    fn verified(pair: &KeyPair, authority: &KeyPair, more: &[&str]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let authority = file(folder.path(), "ca.pem", &authority.certificate);
        let certificate = file(folder.path(), "one.pem", &pair.certificate);
        let mut openssl = Command::new("openssl");
        openssl.args(["verify", "-x509_strict"]).args(more).arg("-CAfile").arg(authority).arg(certificate);
        openssl.output().unwrap().status.success()
    }

    #[test]
    fn openssl_believes_them() {
        let mut secrets = none();
        complete(&site("10.0.0.1"), &mut secrets).unwrap();
        let authority = secrets.authority.clone().unwrap();
        let one = &secrets.identities[&"one".into()];
        for purpose in ["sslserver", "sslclient"] {
            let more = ["-purpose", purpose, "-verify_ip", "10.0.0.1", "-verify_hostname", "one.a.com"];
            assert!(verified(one, &authority, &more), "{purpose}");
        }
        assert!(!verified(one, &authority, &["-verify_ip", "10.0.0.2"]));
        let mut other = none();
        complete(&site("10.0.0.1"), &mut other).unwrap();
        assert!(!verified(one, &other.authority.unwrap(), &[]));
    }

    #[test]
    fn what_serves_is_kept() {
        let mut secrets = none();
        complete(&site("10.0.0.1"), &mut secrets).unwrap();
        let before = secrets.clone();
        complete(&site("10.0.0.1"), &mut secrets).unwrap();
        assert!(secrets == before);
        complete(&site("10.0.0.9"), &mut secrets).unwrap();
        assert!(secrets.authority == before.authority);
        assert!(secrets.identities[&"two".into()] == before.identities[&"two".into()]);
        let one = &secrets.identities[&"one".into()];
        assert!(verified(one, before.authority.as_ref().unwrap(), &["-verify_ip", "10.0.0.9"]));
    }

    #[test]
    fn without_the_key_nothing_is_made() {
        let mut secrets = none();
        complete(&site("10.0.0.1"), &mut secrets).unwrap();
        let mut given = secrets.of(&"one".into());
        assert_eq!(given.identities.len(), 1);
        assert_eq!(given.authority.as_ref().unwrap().key, "");
        let before = given.clone();
        complete(&site("10.0.0.9"), &mut given).unwrap();
        assert!(given == before);
    }
}
