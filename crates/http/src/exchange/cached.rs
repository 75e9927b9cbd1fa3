//! A request that may be answered from the cache, and what is done for the cache with one that is not (RFC 9111).

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fetch::{Course, Ended, Fetch, Purpose};
use super::refresh::{Order, refresh};
use super::{Download, Given, Outcome, Trip};
use crate::cache::{Asked, Asking, Cache, Found, Lead, Manner, Reply, Stored, Told, Turn, Use, Why};
use crate::codec::{Framing, Kind, Method, Response};
use crate::connection::boxed;
use crate::counters::count;
use crate::event_loop::spawn;
use crate::page;
use crate::pool::Pool;
use crate::wire::Wire;

/// How long a request waits for another's answer before it asks by itself: longer than a page takes to make, shorter than a
/// visitor's patience, so that one fetch that hangs does not hang all.
const COLLAPSED_WITHIN: Duration = Duration::from_secs(5);
/// How often it does: a client that goes away takes the fetch with it that others have waited for.
const WAITS_MAX: u32 = 2;

/// What is looked for, and where it is asked for.
struct Wanted<'a> {
    cache: &'a Arc<Cache>,
    pool: &'a Arc<Pool>,
    given: &'a Given<'a>,
    asking: Asking<'a>,
    asked: Asked<'a>,
}

/// What is to be done with a request.
enum Step {
    /// It is answered with this.
    Answer(Arc<Stored>),
    /// With this, which is asked for anew.
    AnswerAndRefresh(Arc<Stored>),
    /// It goes to the origin: why, and with what is stale.
    Ask(Why, Option<Arc<Stored>>),
    /// It is between client and origin.
    Bypass,
}

impl Trip<'_> {
    /// Answers from the cache, or has the origin answer and the cache listen.
    pub(super) async fn cached(
        &self,
        cache: &Arc<Cache>,
        (pool, given): (&Arc<Pool>, &Given<'_>),
        wire: &mut Wire,
    ) -> Outcome {
        let request = self.request;
        let asking = cache.asking(self.scheme(), request.authority(), request.target());
        let wanted = Wanted { cache, pool, given, asking, asked: Asked::of(request) };
        let bare = request.framing == Framing::None && !request.upgrade;
        match request.method {
            // Without a host nobody knows whose page it is.
            _ if request.authority().is_empty() => self.run(pool, given, wire).await,
            Method::Get | Method::Head if bare && !wanted.asked.for_origin && !wanted.asked.no_store => {
                self.looked_up(&wanted, wire).await
            }
            Method::Idempotent | Method::Other => {
                boxed(|| self.fetched(&wanted, (Purpose::Write, Why::Bypass), None, wire)).await
            }
            _ => self.run(pool, given, wire).await,
        }
    }

    /// How the visitor came: an application may answer by it. An inner tier has to be told.
    pub(super) fn scheme(&self) -> &str {
        let said = if self.config.front { None } else { self.request.head.of_kind(Kind::ForwardedProto) };
        said.and_then(|said| std::str::from_utf8(said).ok()).unwrap_or(self.proto)
    }

    async fn looked_up(&self, wanted: &Wanted<'_>, wire: &mut Wire) -> Outcome {
        let counts = &wanted.cache.counts;
        let (mut now, mut waited, mut told) = (self.began, 0, Told::Hit);
        loop {
            let (why, stale) = match self.step(wanted, now) {
                Step::Answer(stored) => {
                    count(&counts.hits);
                    return self.reply(wanted, &stored, (told, now), &[], wire).await;
                }
                Step::AnswerAndRefresh(stored) => {
                    count(&counts.stale);
                    self.refresh(wanted, &stored, now);
                    return self.reply(wanted, &stored, (told, now), &[], wire).await;
                }
                Step::Ask(why, stale) => (why, stale),
                Step::Bypass => return self.run(wanted.pool, wanted.given, wire).await,
            };
            if wanted.asked.only_if_cached {
                // RFC 9111 § 5.2.1.7.
                return self.page(page::GATEWAY_TIMEOUT, wire, 0).await;
            }
            if self.request.method == Method::Head {
                return boxed(|| self.fetched(wanted, (Purpose::Head(stale), why), None, wire)).await;
            }
            let lead = match self.turn(wanted, stale.as_deref(), waited, now) {
                Turn::Wait(wait) => {
                    count(&counts.collapsed);
                    wait.landed(COLLAPSED_WITHIN).await;
                    (now, waited, told) = (Instant::now(), waited + 1, Told::Collapsed(why));
                    continue;
                }
                Turn::Lead(lead) => Some(lead),
                Turn::Apart => None,
            };
            count(&counts.misses);
            return boxed(|| self.fetched(wanted, (Purpose::Get(stale), why), lead, wire)).await;
        }
    }

    fn step(&self, wanted: &Wanted<'_>, now: Instant) -> Step {
        let stored = match wanted.cache.find(&wanted.asking, self.request) {
            Found::This(stored) => stored,
            Found::Others => return Step::Ask(Why::VaryMiss, None),
            Found::Nothing => return Step::Ask(Why::UriMiss, None),
        };
        match stored.terms.allow(&wanted.asked, stored.age(now)) {
            Use::Fresh => Step::Answer(stored),
            Use::WhileRevalidate => Step::AnswerAndRefresh(stored),
            Use::Validate if wanted.asked.is_demanding() => Step::Ask(Why::Request, Some(stored)),
            Use::Validate => Step::Ask(Why::Stale, Some(stored)),
            Use::Apart => Step::Bypass,
        }
    }

    /// Whether a request waits for another, or others for it: only where the same answer can serve all.
    fn turn(&self, wanted: &Wanted<'_>, stale: Option<&Stored>, waited: u32, now: Instant) -> Turn {
        let shareable = match stale {
            Some(stale) => stale.terms.is_ever_fresh(),
            // What the client has, or wants a part of, is asked for as it is; the answer is of no use to others. To somebody
            // with a cookie it is likely to be his own, and may be long in coming (a poll).
            None => !wanted.asked.is_partial() && !wanted.asked.is_personal(),
        };
        if !shareable || waited >= WAITS_MAX || wanted.asked.is_demanding() {
            return Turn::Apart;
        }
        wanted.cache.turn(&wanted.asking, now)
    }

    /// Has the origin answer.
    async fn fetched(
        &self,
        wanted: &Wanted<'_>,
        purpose: (Purpose, Why),
        lead: Option<Lead>,
        wire: &mut Wire,
    ) -> Outcome {
        let why = purpose.1;
        let fetch = Fetch::new(wanted.cache, self.request, (&wanted.asking, &wanted.asked), purpose, lead);
        let trip = Trip { fetch: Some(&fetch), ..*self };
        let outcome = trip.run(wanted.pool, wanted.given, wire).await;
        let (stored, told, more) = match fetch.ended() {
            Ended::Passed => return outcome,
            Ended::Freshened { stored, more } => (stored, Told::Validated(why), more),
            Ended::Spared(stored) => {
                count(&wanted.cache.counts.stale);
                (stored, Told::Spared, Vec::new())
            }
        };
        let answered = self.reply(wanted, &stored, (told, Instant::now()), &more, wire).await;
        Outcome { backend: outcome.backend, tries: outcome.tries, ..answered }
    }

    /// Answers with what is stored.
    async fn reply(
        &self,
        wanted: &Wanted<'_>,
        stored: &Stored,
        (told, now): (Told, Instant),
        more: &[u8],
        wire: &mut Wire,
    ) -> Outcome {
        let persists = self.request.persists && !self.worker.is_stopping();
        let manner = Manner { told, connection: self.connection(persists), more, now };
        let Reply { status, mut head, body } = stored.reply(self.request, &wanted.asked, &manner);
        self.secured(&mut head);
        let (last, within) = (self.request.is_last(), self.limits().progress_within);
        let written = wire.stream.write_behind(&mut head, body, last, within).await.is_ok();
        let bytes = if written { body.len() as u64 } else { 0 };
        Outcome { status, bytes, persists: persists && written, backend: None, tries: 0 }
    }

    /// Asks for it anew, unless somebody does already; nobody waits for that.
    fn refresh(&self, wanted: &Wanted<'_>, stored: &Arc<Stored>, now: Instant) {
        let Turn::Lead(lead) = wanted.cache.turn(&wanted.asking, now) else { return };
        let order = Order {
            cache: wanted.cache.clone(),
            pool: wanted.pool.clone(),
            streams: matches!(wanted.given, Given::Stream),
            request: self.request.clone(),
            proto: self.proto,
            client: self.client.to_owned(),
            stale: stored.clone(),
            lead,
        };
        spawn(refresh(Rc::clone(self.worker), order));
    }

    /// Lets the cache hear a final answer; how the download ends if it is not for the client.
    pub(super) fn heard(&self, response: &mut Response) -> Option<Download> {
        let course = self.fetch?.answered(response);
        if course == Course::Passes {
            return None;
        }
        // A failure's body is left unread on the connection.
        response.persists &= course != Course::Failed;
        Some(Download::Complete { status: response.status, bytes: 0, persists: true })
    }

    /// Where the cache has an answer in place of one that did not come: it is sent when this returns.
    pub(super) fn is_spared(&self, tries: usize) -> Option<Outcome> {
        let spared = self.fetch?.spared(None);
        spared.then_some(Outcome { status: 0, bytes: 0, persists: true, backend: None, tries: tries as u32 })
    }
}
