//! What an exchange with an origin is for, if the cache sent for it: it is told of the answer as it passes.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use crate::cache::{
    Answer, Asked, Asking, CAPABILITY, Cache, Draft, Epoch, Gathering, Lead, Moment, Stored, Unstored, Why,
};
use crate::codec::{Framing, Request, Response};
use crate::counters::count;

/// An exchange for the cache.
pub(crate) struct Fetch<'a> {
    pub(super) cache: &'a Arc<Cache>,
    pub(super) request: &'a Request,
    pub(super) asking: &'a Asking<'a>,
    pub(super) asked: &'a Asked<'a>,
    pub(super) purpose: Purpose,
    pub(super) why: Why,
    /// Before it began.
    epoch: Epoch,
    /// The place of the one whom others wait for.
    lead: RefCell<Option<Lead>>,
    coming: RefCell<Option<(Draft, Gathering)>>,
    ended: RefCell<Ended>,
}

/// What is wanted.
pub(super) enum Purpose {
    /// An answer that may be stored. If something stale is there, the origin is asked whether it is still good.
    Get(Option<Arc<Stored>>),
    /// Whether what is stored is still the same.
    Head(Option<Arc<Stored>>),
    /// The client writes: what is stored at this address is no longer true.
    Write,
}

/// How it ended for the client.
#[derive(Default)]
pub(super) enum Ended {
    /// The origin's answer is the client's.
    #[default]
    Passed,
    /// What was stored is still good; `more` are lines for this client alone.
    Freshened { stored: Arc<Stored>, more: Vec<u8> },
    /// The origin has failed, and what is stored stands in.
    Spared(Arc<Stored>),
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// To the client.
    Passes,
    /// It said all it had to say.
    Heard,
    /// It is a failure.
    Failed,
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        cache: &'a Arc<Cache>,
        request: &'a Request,
        (asking, asked): (&'a Asking<'a>, &'a Asked<'a>),
        (purpose, why): (Purpose, Why),
        lead: Option<Lead>,
    ) -> Fetch<'a> {
        Fetch {
            cache,
            request,
            asking,
            asked,
            purpose,
            why,
            epoch: cache.epoch(asking),
            lead: RefCell::new(lead),
            coming: RefCell::default(),
            ended: RefCell::default(),
        }
    }

    fn stale(&self) -> Option<&Arc<Stored>> {
        match &self.purpose {
            Purpose::Get(stale) => stale.as_ref(),
            Purpose::Head(_) | Purpose::Write => None,
        }
    }

    /// Whether the origin is asked about what is stored, instead of about what the client has.
    pub(super) fn asks_for_itself(&self) -> bool {
        self.stale().is_some()
    }

    /// Adds our own lines to a request head that is otherwise whole.
    pub(super) fn ask(&self, head: &mut Vec<u8>) {
        if matches!(self.purpose, Purpose::Write) {
            return;
        }
        head.truncate(head.len() - 2);
        head.extend_from_slice(CAPABILITY);
        if let Some(stale) = self.stale() {
            stale.validation(head);
        }
        head.extend_from_slice(b"\r\n");
    }

    /// Hears the head of the answer.
    pub(super) fn answered(&self, response: &Response) -> Course {
        *self.coming.borrow_mut() = None;
        let headers: Vec<(&str, &[u8])> = response.head.passed().map(|(_, name, value)| (name, value)).collect();
        let answer = Answer { status: response.status, line: response.line(), headers: &headers };
        match &self.purpose {
            Purpose::Get(stale) => self.got(stale.as_ref(), response, answer),
            Purpose::Head(Some(stored)) if response.status == 200 && !stored.agrees_with(&headers) => {
                self.cache.forget(self.asking);
                Course::Passes
            }
            Purpose::Head(_) => Course::Passes,
            Purpose::Write => {
                if (200..400).contains(&response.status) {
                    let is =
                        |name: &str| ["location", "content-location"].iter().any(|is| name.eq_ignore_ascii_case(is));
                    let named = headers.iter().filter(|(name, _)| is(name)).map(|(_, value)| *value);
                    self.cache.written(self.request.authority(), self.request.target(), named);
                }
                Course::Passes
            }
        }
    }

    fn got(&self, stale: Option<&Arc<Stored>>, response: &Response, answer: Answer<'_>) -> Course {
        match stale {
            Some(stale) if answer.status == 304 => {
                self.freshened(stale, answer);
                return Course::Heard;
            }
            Some(_) if self.spared(Some(answer.status)) => return Course::Failed,
            _ => {}
        }
        let length = match response.framing {
            Framing::Length(length) => length,
            _ => 0,
        };
        match Draft::new(self.request, self.asked, answer, Moment::now()) {
            Ok(draft) if self.cache.takes(length) => {
                *self.coming.borrow_mut() = Some((draft, Gathering::new(self.cache)));
            }
            Ok(_) => self.apart(),
            Err(unstored) => self.not_stored(unstored, stale.is_some() && answer.status < 500),
        }
        Course::Passes
    }

    /// The answer is not stored. `replaces`: it says that what is stored is no longer true.
    fn not_stored(&self, unstored: Unstored, replaces: bool) {
        if replaces {
            self.cache.forget(self.asking);
        }
        match unstored {
            // The next request may fare otherwise.
            Unstored::RequestNoStore | Unstored::Status | Unstored::Authorized => drop(self.lead.take()),
            Unstored::NoStore
            | Unstored::Private
            | Unstored::SetCookie
            | Unstored::VariesByAnything
            | Unstored::Useless => self.apart(),
        }
    }

    fn apart(&self) {
        if let Some(lead) = self.lead.take() {
            lead.apart(Instant::now());
        }
    }

    fn freshened(&self, stale: &Stored, answer: Answer<'_>) {
        count(&self.cache.counts.revalidated);
        let fresh = stale.freshened(self.request, self.asked, answer, Moment::now());
        // A cookie is for whoever asked.
        let cookies = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        let more = cookies.flat_map(|(_, value)| [b"Set-Cookie: ", *value, b"\r\n"].concat()).collect();
        let stored = Arc::new(fresh.stored);
        if fresh.keep {
            self.cache.put(self.asking, self.epoch, stored.clone());
        } else {
            self.cache.forget(self.asking);
        }
        self.lead.take();
        *self.ended.borrow_mut() = Ended::Freshened { stored, more };
    }

    /// Whether what is stored stands in for an origin that answered so, or not at all.
    pub(super) fn spared(&self, status: Option<u16>) -> bool {
        let Some(stale) = self.stale() else { return false };
        let spares = stale.terms.spares(status, stale.age(Instant::now()));
        if spares {
            *self.ended.borrow_mut() = Ended::Spared(stale.clone());
        }
        spares
    }

    /// Adds our line to the head of an answer that passes.
    pub(super) fn tell(&self, head: &mut Vec<u8>) {
        if matches!(self.purpose, Purpose::Write) {
            return;
        }
        head.truncate(head.len() - 2);
        head.extend_from_slice(b"Cache-Status: mainstay; fwd=");
        head.extend_from_slice(self.why.word().as_bytes());
        if self.coming.borrow().is_some() {
            head.extend_from_slice(b"; stored");
        }
        head.extend_from_slice(b"\r\n\r\n");
    }

    /// Hears a piece of the body.
    pub(super) fn data(&self, piece: &[u8]) {
        let fits = match &mut *self.coming.borrow_mut() {
            Some((_, gathering)) => gathering.push(piece),
            None => return,
        };
        if !fits {
            *self.coming.borrow_mut() = None;
            self.apart();
        }
    }

    /// Whether the body is of any use.
    pub(super) fn listens(&self) -> bool {
        self.coming.borrow().is_some()
    }

    /// The answer is whole.
    pub(super) fn complete(&self) {
        if let Some((draft, mut gathering)) = self.coming.take() {
            self.cache.put(self.asking, self.epoch, Arc::new(draft.with(gathering.take())));
        }
        self.lead.take();
    }

    pub(super) fn ended(&self) -> Ended {
        self.ended.take()
    }
}
