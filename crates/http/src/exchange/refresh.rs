//! Asking an origin anew for what is stale, while it is still used (RFC 5861 § 3): an exchange without a client.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::cached::scheme_of;
use super::fetch::{Course, Fetch, Purpose};
use super::http::INTERIM_MAX;
use super::{Progress, Stages, Trip};
use crate::cache::{Asked, Cache, Lead, Stored, Why};
use crate::codec::{Body, Refusal, Request, Response};
use crate::pool::{Pool, Reuse};
use crate::stream::Stream;
use crate::trace::Trace;
use crate::wire::read;
use crate::worker::Worker;

/// What is asked for; owned, since its request is answered already.
pub(super) struct Order {
    pub(super) cache: Arc<Cache>,
    pub(super) pool: Arc<Pool>,
    pub(super) request: Request,
    pub(super) encrypted: bool,
    pub(super) client: String,
    pub(super) stale: Arc<Stored>,
    pub(super) lead: Lead,
}

/// Asks once. If nothing comes of it, the next request tries again.
pub(super) async fn refresh(worker: Rc<Worker>, order: Order) {
    let Order { cache, pool, request, encrypted, client, stale, lead } = order;
    let config = worker.config.load_full();
    let asked = Asked::of(&request);
    let scheme = scheme_of(&config, &request, encrypted);
    let asking = cache.asking(scheme, request.authority(), request.target());
    let purpose = (Purpose::Get(Some(stale)), Why::Stale);
    let fetch = Fetch::new(&cache, &request, (&asking, &asked), purpose, Some(lead));
    let id = worker.id();
    let trip = Trip {
        worker: &worker,
        config: &config,
        request: &request,
        client: &client,
        id: id.as_str(),
        trace: &Trace::of(&request, &id, &worker.ids),
        began: Instant::now(),
        stages: &Stages::default(),
        fetch: Some(&fetch),
    };
    if let Err(because) = trip.alone(&pool, encrypted, &fetch).await {
        tracing::debug!(%id, path = request.path(), "what is stale could not be asked for anew: {because}");
    }
}

impl Trip<'_> {
    /// Asks a backend of `pool`, and lets the cache alone hear the answer.
    async fn alone(&self, pool: &Arc<Pool>, encrypted: bool, fetch: &Fetch<'_>) -> Result<(), String> {
        let lease = pool.lease(&[], self.limits().hold_within).await.map_err(|refused| refused.to_string())?;
        let kept = self.worker.idle.take(&lease, false);
        let backend = self.connected(&lease, kept).await.map_err(|_| "no connection".to_owned())?;
        let ended = self.heard_alone(&backend, encrypted, fetch).await;
        match &ended {
            Ok(true) if lease.reuse() != Reuse::Never => self.worker.idle.keep(&lease, backend),
            Err(_) => lease.failed(),
            Ok(_) => {}
        }
        ended.map(|_| ())
    }

    /// Whether the connection can carry another request.
    async fn heard_alone(&self, backend: &Stream, encrypted: bool, fetch: &Fetch<'_>) -> Result<bool, String> {
        let mut head = Vec::with_capacity(1024);
        self.request_head(encrypted, &mut head);
        backend.write(&head, self.limits().progress_within).await.map_err(|error| error.to_string())?;
        let (mut response, mut pending, progress) = (Response::default(), Vec::new(), Progress::default());
        progress.uploaded.set(Some(Instant::now()));
        for _ in 0..INTERIM_MAX {
            let came = self.response_head(backend, &mut pending, &mut response, &progress).await;
            came.map_err(|_| "no proper answer".to_owned())?;
            if !response.is_interim() {
                break;
            }
        }
        match fetch.answered(&response) {
            Course::Passes => self.body_alone(backend, pending, &response, fetch).await,
            Course::Heard => Ok(response.persists && pending.is_empty()),
            Course::Failed => Ok(false),
        }
    }

    async fn body_alone(
        &self,
        backend: &Stream,
        mut pending: Vec<u8>,
        response: &Response,
        fetch: &Fetch<'_>,
    ) -> Result<bool, String> {
        let wrong = |refusal: Refusal| refusal.to_string();
        let mut body = Body::new(response.framing);
        let taken = body.decode(&pending, |data| fetch.data(data)).map_err(wrong)?;
        pending.drain(..taken);
        while !body.is_done() && fetch.listens() {
            let piece = read(backend, &self.worker.scratch, self.limits().progress_within, |input| {
                let taken = body.decode(input, |data| fetch.data(data))?;
                pending.extend_from_slice(&input[taken..]);
                Ok::<bool, Refusal>(input.is_empty())
            });
            let ended = piece.await.map_err(|error| error.to_string())?.map_err(wrong)?;
            if ended && body == Body::Close {
                break;
            }
            if ended {
                return Err("it broke off".to_owned());
            }
        }
        if !fetch.listens() {
            return Ok(false);
        }
        fetch.complete();
        Ok(response.persists && pending.is_empty())
    }
}
