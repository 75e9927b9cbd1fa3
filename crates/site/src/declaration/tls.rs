//! `[tls]`: HTTPS.

use toml::Spanned;
use toml::de::DeValue;

use super::Disk;
use super::diagnostic::Errors;
use super::keys::OWN_CERTIFICATE;
use super::reader::{At, Section};
use super::syntax::duration;
use crate::model::{Certificate, Inside, Tls};

pub(super) fn read(file: &Section<'_>, disk: &dyn Disk, errors: &mut Errors) -> Option<Tls> {
    let (section, _) = file.section("tls", "[tls]", errors)?;
    let inside = match section.word("inside", errors).map(|at| at.value) {
        Some("mutual") => Inside::Mutual,
        _ => Inside::Off,
    };
    let redirect = section.flag("redirect", errors).map(|at| at.value);
    let hsts = hsts(&section, errors);
    let certificate = certificate(&section, section.value("certificate")?, disk, errors)?;
    if let Some(at) = hsts.as_ref().filter(|_| certificate == Certificate::SelfSigned) {
        errors
            .add(&at.span, "`hsts` does not go with a self-signed certificate")
            .label("browsers heed it only where they trust the certificate")
            .hint("leave it out until the certificate is your own or certificate = \"acme\"");
    }
    Some(Tls { certificate, inside, redirect, hsts_seconds: hsts.map(|at| at.value) })
}

fn certificate(
    section: &Section<'_>,
    value: &Spanned<DeValue<'_>>,
    disk: &dyn Disk,
    errors: &mut Errors,
) -> Option<Certificate> {
    let DeValue::Table(table) = value.get_ref() else {
        return Some(match section.word("certificate", errors)?.value {
            "acme" => Certificate::Acme,
            _ => Certificate::SelfSigned,
        });
    };
    let own = Section::open(table, &value.span(), "`certificate`", OWN_CERTIFICATE, errors);
    let mut file = |key| file(&own, key, disk, errors);
    let (certificate, key) = (file("certificate"), file("key"));
    Some(Certificate::Files { certificate: certificate?, key: key? })
}

/// The path of a file that must be there.
pub(super) fn file(section: &Section<'_>, key: &str, disk: &dyn Disk, errors: &mut Errors) -> Option<String> {
    let at = section.text(key, errors)?;
    if !disk.is_file(&at.value) {
        errors
            .add(&at.span, format!("there is no file `{}`", at.value))
            .label("no such file")
            .hint("the path is relative to the folder of the declaration");
    }
    Some(at.value)
}

/// In seconds.
fn hsts(section: &Section<'_>, errors: &mut Errors) -> Option<At<u32>> {
    let at = section.text("hsts", errors)?;
    let seconds = duration(&at.value).and_then(|duration| u32::try_from(duration.as_secs()).ok());
    if seconds.is_none() {
        errors
            .add(&at.span, format!("`{}` is no length of time", at.value))
            .label("a number with h, d or y, at most 136 years")
            .hint("for example hsts = \"1y\"");
    }
    seconds.map(|value| At { value, span: at.span })
}
