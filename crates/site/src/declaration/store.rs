//! `[store]`: an etcd that is there already.

use std::net::SocketAddr;

use super::Disk;
use super::diagnostic::Errors;
use super::reader::{At, Section};
use super::tls::file;
use crate::model::ForeignStore;

/// etcd's registered port for clients.
const EXAMPLE: &str = "an address with a port, for example \"192.0.2.10:2379\"";

/// `[store]` and where it stands.
pub(super) fn read(all: &Section<'_>, disk: &dyn Disk, errors: &mut Errors) -> Option<At<ForeignStore>> {
    let (section, span) = all.section("store", "[store]", errors)?;
    let endpoints = endpoints(&section, errors);
    let mut file = |key| file(&section, key, disk, errors);
    let (authority, certificate, key) = (file("authority"), file("certificate"), file("key"));
    let value = ForeignStore { endpoints: endpoints?, authority: authority?, certificate: certificate?, key: key? };
    Some(At { value, span })
}

fn endpoints(section: &Section<'_>, errors: &mut Errors) -> Option<Vec<SocketAddr>> {
    let texts = section.texts("endpoints", errors)?;
    if texts.value.is_empty() {
        errors.add(&texts.span, "`endpoints` is empty").label("nobody to ask").hint(EXAMPLE);
    }
    let mut known: Vec<SocketAddr> = Vec::new();
    for at in &texts.value {
        match at.value.parse() {
            Ok(address) if known.contains(&address) => {
                errors.add(&at.span, format!("the endpoint {address} is named twice")).label("for the second time");
            }
            Ok(address) => known.push(address),
            Err(_) => {
                errors.add(&at.span, format!("`{}` is no endpoint", at.value)).label("cannot be asked").hint(EXAMPLE);
            }
        }
    }
    Some(known)
}
