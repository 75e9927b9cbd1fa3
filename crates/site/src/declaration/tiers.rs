//! `[site]`, `[balancer]`, `[database]`, `[firewall]`, `[monitor]`: what belongs to the site as a whole.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::database;
use super::diagnostic::Errors;
use super::keys::CACHE;
use super::reader::{At, Section, Span};
use super::servers::parse_address;
use super::syntax::{domain_fault, duration, moment, network_fault, size};
use crate::model::{
    Algorithm, Backup, Balancer, BinlogKeep, Cache, Cluster, ClusterMode, Durability, Failover, Firewall, Lease,
    LogFormat, Monitor, Reads, SemiSync, Web, Www,
};
use crate::names::Domain;

/// Less holds no page, more no server.
const MEMORY_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 40;
/// A month: enough to compare this week with the last ones.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn site(file: &Section<'_>, errors: &mut Errors) -> Option<(At<Domain>, Www)> {
    let (section, _) = file.section("site", "[site]", errors)?;
    let www = match section.word("www", errors).map(|at| at.value) {
        Some("address") => Www::Address,
        _ => Www::Cname,
    };
    let domain = section.text("domain", errors)?;
    if let Some(fault) = domain_fault(&domain.value) {
        let diagnostic = errors.add(&domain.span, format!("`{}` is no domain", domain.value)).label(fault);
        let better = domain.value.to_lowercase().trim_matches('.').trim_start_matches("www.").to_owned();
        if better != domain.value && domain_fault(&better).is_none() {
            diagnostic.hint(format!("write domain = \"{better}\""));
        }
    } else if domain.value.starts_with("www.") {
        let bare = domain.value.trim_start_matches("www.").to_owned();
        errors
            .add(&domain.span, "the domain is written without www")
            .label("www is added by Mainstay")
            .hint(format!("write domain = \"{bare}\""));
    }
    Some((At { value: Domain(domain.value), span: domain.span }, www))
}

pub(super) fn algorithm(section: &Section<'_>, errors: &mut Errors) -> Algorithm {
    let word = section.word("algorithm", errors);
    word.and_then(|at| Algorithm::ALL.into_iter().find(|(is, _)| *is == at.value))
        .map_or(Algorithm::default(), |(_, algorithm)| algorithm)
}

/// Whether visitors stay with a server.
fn sticky(section: &Section<'_>, errors: &mut Errors) -> bool {
    section.flag("sticky", errors).is_some_and(|at| at.value)
}

/// Sooner than a tenth of a second (the clock's grain is that) nearly every answer would be asked for twice; later than ten
/// seconds no visitor waits.
const HEDGE_MS: RangeInclusive<u32> = 100..=10_000;

/// `hedge = "300ms"`; never, if nothing is said.
fn hedge(section: &Section<'_>, errors: &mut Errors) -> Option<u32> {
    let at = section.text("hedge", errors)?;
    let after = moment(&at.value).filter(|after| HEDGE_MS.contains(after));
    if after.is_none() {
        errors
            .add(&at.span, format!("`{}` is no time after which to ask another server", at.value))
            .label("from 100ms to 10s")
            .hint("take a time in which 19 of 20 answers come, for example hedge = \"500ms\"");
    }
    after
}

fn log(section: &Section<'_>, errors: &mut Errors) -> LogFormat {
    match section.word("log", errors).map(|at| at.value) {
        Some("combined") => LogFormat::Combined,
        _ => LogFormat::Json,
    }
}

pub(super) fn web(file: &Section<'_>, errors: &mut Errors) -> Web {
    let Some((section, _)) = file.section("web", "[web]", errors) else { return Web::default() };
    Web {
        algorithm: algorithm(&section, errors),
        sticky: sticky(&section, errors),
        log: log(&section, errors),
        cache: cache(&section, Some(Cache::default()), errors),
        hedge_ms: hedge(&section, errors),
    }
}

/// `cache = true`, `false` or `{ memory = "64 MiB" }`. Unasked the web servers have one, since nothing is kept that the
/// application does not allow; the balancer has none: it would keep the same once more, and is to stay small.
fn cache(tier: &Section<'_>, unasked: Option<Cache>, errors: &mut Errors) -> Option<Cache> {
    let Some(value) = tier.value("cache") else { return unasked };
    let table = match value.get_ref() {
        DeValue::Boolean(on) => return on.then(Cache::default),
        DeValue::Table(table) => table,
        _ => {
            errors
                .add(&value.span(), "`cache` is neither true nor false nor a table")
                .label("not a cache")
                .hint("for example cache = false, or cache = { memory = \"256 MiB\" }");
            return None;
        }
    };
    let section = Section::open(table, &value.span(), "`cache`", CACHE, errors);
    let Some(at) = section.text("memory", errors) else { return Some(Cache::default()) };
    match size(&at.value) {
        Some(memory_bytes) if MEMORY_BYTES.contains(&memory_bytes) => Some(Cache { memory_bytes }),
        Some(_) => {
            errors
                .add(&at.span, format!("`{}` is no size for a cache", at.value))
                .label("from 1 MiB to 1 TiB")
                .hint("write cache = false to keep nothing");
            None
        }
        None => {
            errors
                .add(&at.span, format!("`{}` is no size", at.value))
                .label("a number with KiB, MiB or GiB")
                .hint("for example memory = \"64 MiB\"");
            None
        }
    }
}

/// `cluster` as written.
pub(super) struct ClusterDraft {
    pub(super) span: Span,
    pub(super) addresses: Vec<At<IpAddr>>,
    pub(super) mode: ClusterMode,
    pub(super) interval: Duration,
    pub(super) hook: Option<String>,
    pub(super) preempt: Option<bool>,
    pub(super) multicast: bool,
    pub(super) signed: bool,
}

/// `[balancer]` as written.
pub(super) struct BalancerDraft {
    pub(super) span: Span,
    pub(super) algorithm: Algorithm,
    pub(super) sticky: bool,
    pub(super) log: LogFormat,
    pub(super) cache: Option<Cache>,
    pub(super) hedge_ms: Option<u32>,
    pub(super) cluster: Option<ClusterDraft>,
}

impl ClusterDraft {
    fn settled(self) -> Cluster {
        Cluster {
            addresses: self.addresses.into_iter().map(|at| at.value).collect(),
            mode: self.mode,
            interval: self.interval,
            hook: self.hook,
            preempt: self.preempt,
            multicast: self.multicast,
            signed: self.signed,
        }
    }
}

impl BalancerDraft {
    /// What was written, found to be right.
    pub(super) fn settled(self) -> Balancer {
        Balancer {
            algorithm: self.algorithm,
            sticky: self.sticky,
            log: self.log,
            cache: self.cache,
            hedge_ms: self.hedge_ms,
            cluster: self.cluster.map(ClusterDraft::settled),
        }
    }
}

pub(super) fn balancer(file: &Section<'_>, errors: &mut Errors) -> Option<BalancerDraft> {
    let (section, span) = file.section("balancer", "[balancer]", errors)?;
    let (algorithm, sticky) = (algorithm(&section, errors), sticky(&section, errors));
    let (log, cache) = (log(&section, errors), cache(&section, None, errors));
    let hedge_ms = hedge(&section, errors);
    let cluster =
        section.section("cluster", "`cluster`", errors).map(|(section, span)| cluster(&section, span, errors));
    Some(BalancerDraft { span, algorithm, sticky, log, cache, hedge_ms, cluster })
}

fn cluster(section: &Section<'_>, span: Span, errors: &mut Errors) -> ClusterDraft {
    let one = section.text("address", errors);
    let several = section.texts("addresses", errors);
    match (&one, &several) {
        (Some(one), Some(several)) => {
            errors
                .add(&several.span, "`cluster` has both `address` and `addresses`")
                .label("several")
                .also(&one.span, "one")
                .hint("keep `addresses` and write the other into it");
        }
        (None, None) if section.value("address").is_none() && section.value("addresses").is_none() => {
            errors
                .add(&span, "`cluster` has no floating address")
                .label("`address` is missing")
                .hint("a free address of the servers' network, such as address = \"10.80.0.100\"");
        }
        _ => {}
    }
    let written = several.map(|at| at.value).unwrap_or_default();
    let addresses = one.iter().chain(&written).filter_map(|at| parse_address(at, errors)).collect();
    let mode = match section.word("mode", errors).map(|at| at.value) {
        Some("active-active") => ClusterMode::ActiveActive,
        _ => ClusterMode::ActivePassive,
    };
    let flag = |name, errors: &mut Errors| section.flag(name, errors).map(|at| at.value);
    ClusterDraft {
        interval: cluster_interval(section, errors),
        hook: hook(section, errors),
        preempt: flag("preempt", errors),
        multicast: flag("multicast", errors).unwrap_or(false),
        signed: flag("signed", errors).unwrap_or(true),
        span,
        addresses,
        mode,
    }
}

/// Nothing is passed on to a shell: a path and no arguments.
fn hook(section: &Section<'_>, errors: &mut Errors) -> Option<String> {
    let at = section.text("hook", errors)?;
    let plain = at.value.starts_with('/') && !at.value.ends_with('/') && !at.value.contains(char::is_whitespace);
    if !plain {
        errors
            .add(&at.span, format!("`{}` is no program of a server", at.value))
            .label("an absolute path, without arguments")
            .hint("for example hook = \"/usr/local/lib/move-address\", which is called with `take` and the address");
    }
    plain.then_some(at.value)
}

fn cluster_interval(section: &Section<'_>, errors: &mut Errors) -> Duration {
    let Some(at) = section.text("interval", errors) else { return Cluster::INTERVAL };
    let declared = moment(&at.value).filter(|it| Cluster::INTERVAL_MS.contains(it));
    if declared.is_none() {
        errors
            .add(&at.span, format!("`{}` is no time between two adverts", at.value))
            .label("from 20ms to 40s")
            .hint("for example interval = \"250ms\"");
    }
    declared.map_or(Cluster::INTERVAL, |ms| Duration::from_millis(ms.into()))
}

/// `[database]` as written: what was not written has no span.
#[derive(Default)]
pub(super) struct DatabaseDraft {
    pub(super) span: Option<Span>,
    pub(super) failover: Option<At<Failover>>,
    pub(super) durability: Option<At<Durability>>,
    pub(super) semi_sync: Option<At<SemiSync>>,
    pub(super) lease: Lease,
    pub(super) reads: Reads,
    pub(super) backup: Option<Backup>,
    pub(super) binlog_keep: BinlogKeep,
}

pub(super) fn database(file: &Section<'_>, errors: &mut Errors) -> DatabaseDraft {
    let Some((section, span)) = file.section("database", "[database]", errors) else {
        return DatabaseDraft::default();
    };
    let failover = section.word("failover", errors).map(|at| At {
        value: if at.value == "automatic" { Failover::Automatic } else { Failover::Manual },
        span: at.span,
    });
    let durability = section.word("durability", errors).map(|at| At {
        value: match at.value {
            "async" => Durability::Async,
            "galera" => Durability::Galera,
            _ => Durability::SemiSync,
        },
        span: at.span,
    });
    let semi_sync = section.word("semi-sync", errors).map(|at| At {
        value: if at.value == "strict" { SemiSync::Strict } else { SemiSync::Available },
        span: at.span,
    });
    let lease = database::lease(&section, errors);
    let (reads, backup) = (database::reads(&section, errors), database::backup(&section, errors));
    let binlog_keep = database::binlog_keep(&section, errors);
    DatabaseDraft { span: Some(span), failover, durability, semi_sync, lease, reads, backup, binlog_keep }
}

pub(super) fn firewall(file: &Section<'_>, errors: &mut Errors) -> Option<Firewall> {
    let (section, _) = file.section("firewall", "[firewall]", errors)?;
    let networks = section.texts("ssh-from", errors).map(|at| at.value).unwrap_or_default();
    for at in &networks {
        if let Some(fault) = network_fault(&at.value) {
            errors.add(&at.span, format!("`{}` is no network", at.value)).label(fault);
        }
    }
    Some(Firewall { ssh_from: networks.into_iter().map(|at| at.value).collect() })
}

/// `[monitor]` and where it stands.
pub(super) fn monitor(file: &Section<'_>, errors: &mut Errors) -> Option<At<Monitor>> {
    let (section, span) = file.section("monitor", "[monitor]", errors)?;
    let alerts = section.texts("alerts-to", errors).map(|at| at.value).unwrap_or_default();
    for at in &alerts {
        let rest = at.value.strip_prefix("https://").or_else(|| {
            at.value.strip_prefix("mailto:").filter(|mail| mail.split_once('@').is_some_and(|(_, at)| !at.is_empty()))
        });
        if rest.is_none_or(str::is_empty) {
            errors
                .add(&at.span, format!("`{}` is no destination for alerts", at.value))
                .label("neither mailto: nor https:")
                .hint("for example \"mailto:ops@foobar.com\"");
        }
    }
    let retention = section.text("retention", errors);
    if let Some(at) = retention.as_ref().filter(|at| duration(&at.value).is_none()) {
        errors
            .add(&at.span, format!("`{}` is no length of time", at.value))
            .label("a number with h, d or y")
            .hint("for example retention = \"30d\"");
    }
    let retention = retention.and_then(|at| duration(&at.value)).unwrap_or(RETENTION);
    let monitor = Monitor { alerts_to: alerts.into_iter().map(|at| at.value).collect(), retention };
    Some(At { value: monitor, span })
}

/// The retention of a monitor role without `[monitor]`.
pub(super) fn default_monitor() -> Monitor {
    Monitor { alerts_to: Vec::new(), retention: RETENTION }
}
