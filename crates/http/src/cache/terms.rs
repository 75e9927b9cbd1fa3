//! Whether an answer may be stored, and on which terms it may be used (RFC 9111 § 3, § 4.2). Pure: time is an argument.
//!
//! Stricter than the RFC in what concerns visitors, since "public unless said otherwise" is not what applications mean:
//! - an answer that sets a cookie is not stored;
//! - what the origin has not declared fresh for everybody passes only between visitors without cookies or passwords.

use std::time::{Duration, SystemTime};

use super::asked::Asked;
use super::said::{Age, Expires, Said};

/// The longest that an answer is fresh without the origin saying so: short enough that nobody has to be told where the old
/// page comes from. RFC 9111 § 4.2.2 leaves it to the cache.
const HEURISTIC_MAX: Duration = Duration::from_secs(300);
/// RFC 9111 § 4.2.2: a tenth of the time since its last change.
const HEURISTIC_PART: u32 = 10;
/// How long a stale answer stands in for an origin that cannot be reached (§ 4.2.4 allows it to a cache that is
/// disconnected), if the origin says nothing: longer than the restart of a tier or the promotion of a database, and not so
/// long that yesterday's page is taken for today's.
const UNREACHABLE_MAX: Duration = Duration::from_secs(600);

/// On which terms a stored answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How long it is fresh, from its birth on.
    pub(super) lifetime: Duration,
    /// Only between visitors that do not say who they are.
    pub(super) anonymous: bool,
    /// Never without asking the origin.
    pub(super) no_cache: bool,
    /// So long after its freshness it may be used while it is asked for anew.
    pub(super) while_revalidate: Duration,
    /// So long it may be used if the origin answers 500, 502, 503 or 504.
    pub(super) if_error: Duration,
    /// So long if the origin does not answer.
    pub(super) if_unreachable: Duration,
    /// Not even a client may ask for it stale (§ 5.2.2.2, § 5.2.2.8, § 5.2.2.10).
    pub(super) never_stale: bool,
}

/// Why an answer is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstored {
    /// The request says `no-store`.
    RequestNoStore,
    /// The answer says `no-store`.
    NoStore,
    /// `private`
    Private,
    /// It is part of something (206), no answer (304), or its status is not understood where that is asked for.
    Status,
    /// It sets a cookie.
    SetCookie,
    /// The request had `Authorization`, and the answer does not say that this does not matter (§ 3.5).
    Authorized,
    /// `Vary: *`
    VariesByAnything,
    /// It goes stale at once and cannot be validated, or says nothing and must not be guessed about.
    Useless,
}

/// What may be done with a stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Answer with it.
    Fresh,
    /// Answer with it, and ask for it anew.
    WhileRevalidate,
    /// Ask the origin first.
    Validate,
    /// It is not for this client.
    Apart,
}

/// Decides over an answer with `status` that came at `now`.
pub(super) fn decide(asked: &Asked<'_>, status: u16, said: &Said, now: SystemTime) -> Result<Terms, Unstored> {
    refusal(asked, status, said).map_or(Ok(()), Err)?;
    let directives = &said.directives;
    let explicit = explicit_lifetime(said, now);
    let lifetime = explicit.or_else(|| heuristic_lifetime(asked, status, said, now)).unwrap_or_default();
    let lifetime = if said.age == Age::Unreadable { Duration::ZERO } else { lifetime };
    let validator = said.etag || said.last_modified.is_some();
    // Without a word of the origin's about caching, only what is guessed to be fresh.
    let worth = !lifetime.is_zero() || validator && (explicit.is_some() || directives.no_cache || directives.public);
    let for_all = directives.public || explicit.is_some_and(|lifetime| !lifetime.is_zero()) && !directives.no_cache;
    if !worth || !for_all && asked.is_personal() {
        return Err(Unstored::Useless);
    }
    let revalidate = directives.must_revalidate || directives.proxy_revalidate || directives.no_cache;
    let stale = |seconds: Option<u64>| match seconds {
        Some(seconds) if !revalidate => Duration::from_secs(seconds),
        _ => Duration::ZERO,
    };
    // § 5.2.2.10: s-maxage means proxy-revalidate too, unless staleness is allowed by name.
    let never_stale = revalidate || directives.s_maxage.is_some();
    let if_error = stale(directives.stale_if_error);
    Ok(Terms {
        lifetime,
        anonymous: !for_all,
        no_cache: directives.no_cache,
        while_revalidate: stale(directives.stale_while_revalidate),
        if_error,
        if_unreachable: if never_stale { if_error } else { if_error.max(UNREACHABLE_MAX) },
        never_stale,
    })
}

/// What forbids to store it, however fresh it is.
fn refusal(asked: &Asked<'_>, status: u16, said: &Said) -> Option<Unstored> {
    let directives = &said.directives;
    let vouched = directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    let left_out = |name: &[u8]| directives.left_out.iter().any(|left_out| left_out == name);
    Some(match () {
        () if asked.no_store => Unstored::RequestNoStore,
        () if status < 200 || matches!(status, 206 | 304) => Unstored::Status,
        () if directives.must_understand && !understood(status) => Unstored::Status,
        // § 5.2.2.3: must-understand is for those who understand it, no-store beside it for those who do not.
        () if directives.no_store && !directives.must_understand => Unstored::NoStore,
        () if directives.private => Unstored::Private,
        () if said.set_cookie && !left_out(b"set-cookie") => Unstored::SetCookie,
        () if asked.authorization && !vouched => Unstored::Authorized,
        () if said.vary_star => Unstored::VariesByAnything,
        () => return None,
    })
}

/// Statuses whose caching requirements we know: those of RFC 9110 § 15 and RFC 6585.
fn understood(status: u16) -> bool {
    matches!(status, 200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 428 | 429 | 431 | 451)
        || matches!(status, 500..=505 | 511)
}

/// Statuses that may be cached unasked (RFC 9110 § 15.1).
fn by_default(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// RFC 9111 § 4.2.1.
fn explicit_lifetime(said: &Said, now: SystemTime) -> Option<Duration> {
    let seconds = said.directives.s_maxage.or(said.directives.max_age);
    if seconds.is_some() || said.targeted {
        return seconds.map(Duration::from_secs);
    }
    match said.expires {
        Expires::None => None,
        Expires::Past => Some(Duration::ZERO),
        Expires::At(at) => Some(at.duration_since(said.date.unwrap_or(now)).unwrap_or_default()),
    }
}

/// RFC 9111 § 4.2.2, between visitors that do not say who they are.
fn heuristic_lifetime(asked: &Asked<'_>, status: u16, said: &Said, now: SystemTime) -> Option<Duration> {
    if asked.is_personal() || !(by_default(status) || said.directives.public) {
        return None;
    }
    let since = said.date.unwrap_or(now).duration_since(said.last_modified?).ok()?;
    Some((since / HEURISTIC_PART).min(HEURISTIC_MAX))
}

impl Terms {
    /// Of an answer that is used once.
    pub(super) const NONE: Terms = Terms {
        lifetime: Duration::ZERO,
        anonymous: true,
        no_cache: true,
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        if_unreachable: Duration::ZERO,
        never_stale: true,
    };

    /// What may be done for a request with an answer that is `age` old.
    pub(crate) fn allow(&self, asked: &Asked<'_>, age: Duration) -> Use {
        if self.anonymous && asked.is_personal() {
            return Use::Apart;
        }
        let seconds = |seconds: Option<u64>, absent: u64| Duration::from_secs(seconds.unwrap_or(absent));
        if asked.no_cache || self.no_cache || age > seconds(asked.max_age, u64::MAX) {
            return Use::Validate;
        }
        let fresh_until = age.saturating_add(seconds(asked.min_fresh, 0));
        if self.lifetime > fresh_until {
            return Use::Fresh;
        }
        if asked.min_fresh.is_some() {
            return Use::Validate;
        }
        let stale = age.saturating_sub(self.lifetime);
        if asked.max_stale.is_some_and(|bound| !self.never_stale && stale <= Duration::from_secs(bound)) {
            return Use::Fresh;
        }
        if stale < self.while_revalidate { Use::WhileRevalidate } else { Use::Validate }
    }

    /// Whether an answer that is `age` old may stand in for one that failed: by that status of the origin's, or without any.
    pub(crate) fn spares(&self, status: Option<u16>, age: Duration) -> bool {
        let stale = age.saturating_sub(self.lifetime);
        match status {
            None => stale < self.if_unreachable,
            Some(500 | 502 | 503 | 504) => stale < self.if_error,
            Some(_) => false,
        }
    }

    /// How long it is still fresh; in seconds, negative since it is stale (RFC 9211 § 2.6).
    pub(crate) fn ttl(&self, age: Duration) -> i64 {
        let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        whole(self.lifetime).saturating_sub(whole(age))
    }

    /// Whether it can be used without asking each time.
    pub(crate) fn is_ever_fresh(&self) -> bool {
        !self.no_cache && !self.lifetime.is_zero()
    }
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;
