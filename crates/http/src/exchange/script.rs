//! A request for an application that runs scripts: what answers it is found first.

use std::path::Path;
use std::sync::Arc;

use super::fastcgi::Job;
use super::gathered::{Gathered, Ungathered};
use super::{Given, Outcome, Trip, Upload};
use crate::codec::{Framing, Method};
use crate::config::FastCgi;
use crate::fastcgi::{Gateway, Params, Script, Target};
use crate::files::{Found, Item};
use crate::page::{self, Page};
use crate::pool::Pool;
use crate::send::METHOD_NOT_ALLOWED;
use crate::wire::Wire;

/// The disk did not take the request's body.
const NO_ROOM: Page = Page { status: 500, says: "The server could not take what was sent.", retry_after: None };

impl Trip<'_> {
    pub(super) async fn script(&self, pool: &Arc<Pool>, gateway: &FastCgi, wire: &mut Wire) -> Outcome {
        match gateway.scripts.target(self.request.path()) {
            Target::Script(script) => self.run_script(pool, gateway, &script, wire).await,
            Target::File(path) => self.chosen(&path, wire).await,
            Target::Redirect(to) => self.redirect(&to, wire).await,
            Target::Refused => self.page(page::NOT_FOUND, wire, 0).await,
        }
    }

    async fn chosen(&self, path: &Path, wire: &mut Wire) -> Outcome {
        if !matches!(self.request.method, Method::Get | Method::Head) {
            return self.page(METHOD_NOT_ALLOWED, wire, 0).await;
        }
        match Found::open(path) {
            Ok(found) => self.send(&Item::new(found), wire).await,
            Err(miss) => self.miss(&miss, "/", wire).await,
        }
    }

    async fn run_script(&self, pool: &Arc<Pool>, gateway: &FastCgi, script: &Script, wire: &mut Wire) -> Outcome {
        let body = match self.gather(&gateway.spool, wire).await {
            Ok(body) => body,
            Err(why) => return self.ungathered(why, wire).await,
        };
        let Some(params) = self.params(script, &body, wire) else { return self.client_gone() };
        let job = Job { params, body, unheard_within: gateway.unheard_within };
        self.run(pool, &Given::Script(&job), wire).await
    }

    async fn ungathered(&self, why: Ungathered, wire: &mut Wire) -> Outcome {
        match why {
            Ungathered::Client(Upload::ClientWrong(refusal)) => self.refused(refusal, wire, 0).await,
            Ungathered::Client(_) => self.client_gone(),
            Ungathered::Full => {
                tracing::warn!(id = self.id, "no room for a request's body: too many large ones wait");
                self.page(page::UNAVAILABLE, wire, 0).await
            }
            Ungathered::Failed(error) => {
                tracing::error!(id = self.id, %error, "cannot keep a request's body: is the disk full?");
                self.page(NO_ROOM, wire, 0).await
            }
        }
    }

    /// `None` if the client's connection is gone.
    fn params(&self, script: &Script, body: &Gathered, wire: &Wire) -> Option<Params> {
        let (peer, local) = **wire.ends()?;
        let gateway = Gateway {
            peer,
            local,
            trusted: !self.config.front,
            encrypted: self.proto == "https",
            via: &self.config.via,
            traceparent: self.trace.as_bytes(),
            tracestate: self.trace.continued,
            body_bytes: (self.request.framing != Framing::None).then_some(body.length),
        };
        Some(Params::of(self.request, script, &gateway))
    }
}
