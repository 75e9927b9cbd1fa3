//! Of `[database]`: how replicas are read from, and scheduled backups.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::diagnostic::Errors;
use super::reader::Section;
use super::syntax::{duration, seconds};
use crate::model::{Backup, BinlogKeep, Lease, Reads};

/// MariaDB counts lag in whole seconds (`Seconds_Behind_Master`); an hour is no longer a replica to read from.
const MAX_LAG: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

pub(super) fn reads(section: &Section<'_>, errors: &mut Errors) -> Reads {
    let Some(at) = section.text("max-lag", errors) else { return Reads::default() };
    match seconds(&at.value).filter(|lag| MAX_LAG.contains(lag)) {
        Some(max_lag) => Reads { max_lag },
        None => {
            errors
                .add(&at.span, format!("`{}` is no lag to allow", at.value))
                .label("from 1s to 1h")
                .hint("for example max-lag = \"5s\"");
            Reads::default()
        }
    }
}

pub(super) fn lease(section: &Section<'_>, errors: &mut Errors) -> Lease {
    let Some(at) = section.text("lease", errors) else { return Lease::default() };
    match seconds(&at.value).filter(|lease| (Lease::LEAST..=Lease::MOST).contains(lease)) {
        Some(lease) => Lease(lease),
        None => {
            errors
                .add(&at.span, format!("`{}` is no lease", at.value))
                .label("from 3s to 60s")
                .hint("the store's leases are whole seconds, and it needs about one to replace its own leader: lease = \"3s\"");
            Lease::default()
        }
    }
}

pub(super) fn binlog_keep(section: &Section<'_>, errors: &mut Errors) -> BinlogKeep {
    let Some(at) = section.text("binlog-keep", errors) else { return BinlogKeep::default() };
    match duration(&at.value).filter(|keep| *keep >= BinlogKeep::LEAST) {
        Some(keep) => BinlogKeep(keep),
        None => {
            errors
                .add(&at.span, format!("`{}` is no length of time", at.value))
                .label("a number with h, d or y")
                .hint("for example binlog-keep = \"10d\", which is what is kept if nothing is declared");
            BinlogKeep::default()
        }
    }
}

pub(super) fn backup(section: &Section<'_>, errors: &mut Errors) -> Option<Backup> {
    let (section, _) = section.section("backup", "`backup`", errors)?;
    scheduled(&section, errors)
}

fn scheduled(section: &Section<'_>, errors: &mut Errors) -> Option<Backup> {
    let every = section.text("every", errors);
    if let Some(at) = every.as_ref().filter(|at| duration(&at.value).is_none()) {
        errors
            .add(&at.span, format!("`{}` is no length of time", at.value))
            .label("a number with h, d or y")
            .hint("for example every = \"1d\"");
    }
    let keep = section.count("keep", errors).and_then(|at| u32::try_from(at.value).ok());
    let to = section.text("to", errors)?;
    let parts = to.value.trim_end_matches('/');
    let plain = parts.starts_with('/') && parts.split('/').skip(1).all(|part| !["", ".", ".."].contains(&part));
    if !plain {
        errors
            .add(&to.span, format!("`{}` is no folder of a server", to.value))
            .label("an absolute path without . and ..")
            .hint("for example to = \"/var/backups/site\"");
        return None;
    }
    let every = every.and_then(|at| duration(&at.value)).unwrap_or(Backup::EVERY);
    Some(Backup { to: parts.to_owned(), every, keep: keep.unwrap_or(Backup::KEEP) })
}
