//! `[limits]`: how much of the site one visitor may take.

use super::diagnostic::Errors;
use super::reader::{At, Section, Span};
use super::syntax::{domain_fault, prefix_fault, rate, seconds};
use crate::model::{Ban, Limits, Per, Rate};

pub(super) fn read(file: &Section<'_>, errors: &mut Errors) -> Limits {
    let Some((section, _)) = file.section("limits", "[limits]", errors) else { return Limits::default() };
    let connections = section.count("connections-per-address", errors).and_then(|at| at.value.try_into().ok());
    let rates = section.list("rates", "a rate of [limits]", errors);
    let rates = rates.iter().filter_map(|(section, span)| one(section, span, errors)).collect();
    Limits { address_connections_max: connections, rates }
}

fn one(section: &Section<'_>, span: &Span, errors: &mut Errors) -> Option<Rate> {
    let per = per(section, span, errors);
    let written = section.text("rate", errors);
    let parsed = written.as_ref().and_then(|at| rate(&at.value));
    if let Some(at) = written.as_ref().filter(|_| parsed.is_none()) {
        errors
            .add(&at.span, format!("`{}` is no rate", at.value))
            .label("a number, a slash, and s, m or h")
            .hint("for example rate = \"20/s\"");
    }
    let burst = section.count("burst", errors).and_then(|at| at.value.try_into().ok());
    let prefix = section.text("route", errors);
    if let Some((at, fault)) = prefix.as_ref().and_then(|at| Some((at, prefix_fault(&at.value)?))) {
        errors
            .add(&at.span, format!("`{}` is no path prefix", at.value))
            .label(fault)
            .hint(format!("for example route = \"/{}/\", which is for /{0} too", at.value.trim_matches('/')));
    }
    let host = section.text("host", errors);
    if let Some((host, fault)) = host.as_ref().and_then(|host| Some((host, domain_fault(&host.value)?))) {
        errors.add(&host.span, format!("`{}` is no host name", host.value)).label(fault);
    }
    let ban = ban(section, errors);
    let (requests, seconds) = parsed?;
    let prefix = prefix.map_or_else(|| "/".into(), |at| at.value);
    let (host, burst) = (host.map(|at| at.value), burst.unwrap_or(requests));
    Some(Rate { per: per?, host, prefix, requests, seconds, burst, ban })
}

fn ban(section: &Section<'_>, errors: &mut Errors) -> Option<Ban> {
    let after = section.count("ban-after", errors);
    let Some(at) = section.text("ban", errors) else {
        if let Some(after) = after {
            errors
                .add(&after.span, "`ban-after` has no meaning without `ban`")
                .label("bans nobody")
                .hint("for example ban = \"10m\"");
        }
        return None;
    };
    let lasts = seconds(&at.value).filter(|lasts| Ban::LASTS.contains(lasts));
    if lasts.is_none() {
        errors
            .add(&at.span, format!("`{}` is no time for a ban", at.value))
            .label("from 1s to 24h")
            .hint("for example ban = \"10m\"");
    }
    let refusals = after.and_then(|at| at.value.try_into().ok()).unwrap_or(Ban::REFUSALS);
    Some(Ban { refusals, lasts: lasts? })
}

/// Who is counted as one.
fn per(section: &Section<'_>, span: &Span, errors: &mut Errors) -> Option<Per> {
    let per = section.word("per", errors)?;
    let header = section.text("header", errors);
    match (per.value, header) {
        ("key", Some(header)) => named(&header, errors).then(|| Per::Key { header: header.value.to_ascii_lowercase() }),
        ("key", None) => {
            errors
                .add(span, "a rate per key needs the header that holds it")
                .label("`header` is missing")
                .hint("for example header = \"X-Api-Key\"");
            None
        }
        (word, Some(header)) => {
            errors
                .add(&header.span, format!("`header` does not go with per = \"{word}\""))
                .label("has no meaning here")
                .also(&per.span, "because of this");
            None
        }
        ("address", None) => Some(Per::Address),
        _ => Some(Per::Route),
    }
}

/// Whether it can be a header's name (RFC 9110 § 5.6.2: a token).
fn named(header: &At<String>, errors: &mut Errors) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is = header.value.bytes().all(token);
    if !is {
        errors
            .add(&header.span, format!("`{}` is no name of a header", header.value))
            .label("letters, digits and dashes");
    }
    is
}
