//! What the web tier and the front door do beside passing requests on: keeping answers, and holding visitors to limits.

use super::super::Scene;
use super::super::sentence::{names, verb};
use super::{Component, Here, absent};
use crate::model::{Ban, Limits, Per, Rate};
use crate::names::Role;

pub(super) const PAGE_CACHE: Component = Component {
    word: "page-cache",
    aliases: &["cache", "caching", "httpcache", "webcache", "purge"],
    title: "page cache",
    what: "A page cache keeps answers of the applications and gives them again, so that the same page is not made for each \
           visitor.",
    here: page_cache,
};

fn page_cache(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let count = site.count(Role::Web);
    let Some(cache) = site.web.cache.filter(|_| count > 0) else {
        return absent(
            "Every page is made anew for each visitor: [web] cache = false says so, or nobody has the role `web`.",
        );
    };
    let who = names(site.with_role(Role::Web));
    let each = if count == 1 { "" } else { ", each for itself" };
    let text = format!(
        "{who} {} up to {} MiB in memory{each}. On by default, since nothing is kept that an application has not marked as \
         fresh, by Cache-Control or Expires. Of what only names its last change, visitors without cookies get the same for a \
         tenth of its age, five minutes at most; what is private or sets a cookie is never kept. What a visitor changes is taken \
         out by itself, what changed otherwise by `mainstay purge`. Cache-Status in an answer says where it came from.",
        verb(count, "keep"),
        cache.memory_bytes >> 20
    );
    let fails = "It is memory: a server that starts again begins with none, and the applications make every page once more. \
                 When they fail, what it has goes on being given for ten minutes, unless they forbid it.";
    Here { who: Some(who), text, fails: fails.into(), ..Here::default() }
}

pub(super) const LIMITS: Component = Component {
    word: "limits",
    aliases: &["limit", "ratelimit", "ratelimits", "rates", "protection", "flood", "ddos"],
    title: "limits",
    what: "Limits bound how much of the site one visitor may take, so that it is left for the others.",
    here: limits,
};

fn limits(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    let (front, count) = (site.front(), site.count(site.front()));
    if count == 0 {
        return absent("Nobody takes visitors' connections here: a server with the role `web` or `balancer` would.");
    }
    let who = names(site.with_role(front));
    let alone = if count == 1 {
        ""
    } else {
        " They tell each other what they have admitted, ten times a second: who comes to all of them in turn gets the burst of each \
             once, and then no more than the rate. Connections are counted by each alone."
    };
    let text = format!(
        "{who} {} to them. {} {}{alone} Always on are bounds for what comes too slowly or is too large, and requests that can be \
         understood in two ways are refused.",
        verb(count, "hold"),
        connections(&site.limits),
        rates(&site.limits.rates)
    );
    let fails = "They are part of the front door, and stand and fall with it.";
    Here { who: Some(who), text, fails: fails.into(), ..Here::default() }
}

fn connections(limits: &Limits) -> String {
    match limits.address_connections_max {
        Some(most) => format!("An address may have {most} connections, by connections-per-address in [limits]."),
        None => "An address may have 1024 connections, enough for a company behind one; connections-per-address in [limits] \
                 says otherwise."
            .into(),
    }
}

fn rates(rates: &[Rate]) -> String {
    if rates.is_empty() {
        return "How often somebody asks is not bounded, since many may share an address: rates in [limits] would, for a \
                login above all."
            .into();
    }
    rates.iter().map(rate).collect::<Vec<_>>().join(" ")
}

fn ban(ban: Ban) -> String {
    let seconds = ban.lasts.as_secs();
    let lasts = match (seconds % 3600, seconds % 60) {
        (0, _) => format!("{} h", seconds / 3600),
        (_, 0) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    };
    format!(" Who is refused {} times within a minute gets nothing for {lasts}.", ban.refusals)
}

fn rate(rate: &Rate) -> String {
    let who = match &rate.per {
        Per::Address => "an address".into(),
        Per::Key { header } => format!("a value of `{header}`"),
        Per::Route => "everybody together".into(),
    };
    let length = match rate.seconds {
        1 => "second".into(),
        60 => "minute".into(),
        3600 => "hour".into(),
        seconds => format!("{seconds} seconds"),
    };
    let host = rate.host.as_deref().unwrap_or_default();
    format!(
        "Below {host}{} {who} may ask {} times a {length}, {} at once after a pause; then the answer is 429 and says when to \
         come again.{}",
        rate.prefix,
        rate.requests,
        rate.burst,
        rate.ban.map(ban).unwrap_or_default()
    )
}
