//! What a plan says of an HTTP tier as a door, for the engine.

use std::sync::Arc;
use std::time::Duration;

use mainstay_http::tls::{ServerTls, with_shared_tickets};
use mainstay_http::{Ban, By, Config, Doors, LogFormat, Rate, RateSettings, hsts};
use mainstay_site::model::{self, Per};
use mainstay_site::plan::Door;
use mainstay_site::secrets::KeyPair;

use crate::certificate::shown;
use crate::engine::{Error, Made};
use crate::fellows;
use crate::service::Launch;

/// `config` as `door` has it. What of `before` is the same is kept: who has asked how often, and the tickets of TLS sessions.
pub(crate) fn with(door: &Door, launch: &Launch, mut config: Config, before: Option<&Made>) -> Result<Config, Error> {
    if let Some(connections) = door.limits.address_connections_max {
        // What was declared is held to, also by those who try it out on one machine.
        (config.limits.address_connections_max, config.limits.spares_loopback) = (connections, false);
    }
    let seed = Some(&launch.secrets.limits).filter(|secret| !secret.is_empty()).map(|secret| fellows::seed(secret));
    config.rates = door.limits.rates.iter().map(|rate| known_or_new(settings(rate), seed, before)).collect();
    config.log = match door.log {
        model::LogFormat::Json => LogFormat::Json,
        model::LogFormat::Combined => LogFormat::Combined,
    };
    config.limits.call_within = door.calls.then_some(config.limits.tunnel_idle_within);
    config.observers.clone_from(&door.observers);
    if door.https {
        let pair = launch.secrets.certificate.as_ref().ok_or(Error::NoCertificate)?;
        let tickets = &launch.secrets.tickets;
        let same = |made: &&Made| {
            let secrets = &made.launch.secrets;
            secrets.certificate.as_ref() == Some(pair) && secrets.tickets == *tickets
        };
        let known = before.filter(same).and_then(|made| made.config.tls.clone());
        config.tls = Some(known.map_or_else(|| shown_with(pair, tickets), Ok)?);
    }
    config.doors = door.redirects.iter().map(|one| Doors { http: one.http, https: one.https }).collect();
    config.hsts = door.hsts_seconds.map(|seconds| hsts(seconds).into());
    Ok(config)
}

/// With tickets that every server of the site reads. Plans of before there was a secret for them have their own.
fn shown_with(pair: &KeyPair, tickets: &str) -> Result<ServerTls, Error> {
    let tls = shown(pair)?;
    Ok(if tickets.is_empty() { tls } else { with_shared_tickets(&tls, tickets.as_bytes()) })
}

/// With `seed` it is one of several that tell each other.
fn known_or_new(settings: RateSettings, seed: Option<u64>, before: Option<&Made>) -> Arc<Rate> {
    let mut known = before.into_iter().flat_map(|made| &made.config.rates);
    let known = known.find(|rate| *rate.settings() == settings && seed.is_none_or(|seed| rate.has_seed(seed))).cloned();
    known.unwrap_or_else(|| {
        Arc::new(match seed {
            Some(seed) => Rate::seeded(settings, seed),
            None => Rate::new(settings),
        })
    })
}

fn settings(rate: &model::Rate) -> RateSettings {
    let (per, by) = match &rate.per {
        Per::Address => ("address".to_owned(), By::Address),
        Per::Key { header } => (header.clone(), By::Header(header.clone())),
        Per::Route => ("route".to_owned(), By::Everyone),
    };
    let host = rate.host.as_deref().unwrap_or_default();
    RateSettings {
        name: format!("{per} {host}{}", rate.prefix),
        host: rate.host.clone(),
        prefix: rate.prefix.clone(),
        by,
        requests: rate.requests,
        per: Duration::from_secs(rate.seconds.into()),
        burst: rate.burst,
        ban: rate.ban.map(|ban| Ban { refusals: ban.refusals, within: model::Ban::WITHIN, lasts: ban.lasts }),
    }
}
