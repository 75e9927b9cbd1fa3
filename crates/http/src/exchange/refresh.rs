//! Asking an origin anew for what is stale, while it is still used (RFC 5861 § 3): an exchange without a client.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use mainstay_machines::health::Failure;

use super::fetch::{Course, Fetch, Purpose};
use super::http::INTERIM_MAX;
use super::{Stages, Trip};
use crate::cache::{Asked, Cache, Lead, Stored, Why};
use crate::codec::{Body, Refusal, Request, Response};
use crate::pool::{Lease, Pool, Reuse};
use crate::stream::Stream;
use crate::trace::Trace;
use crate::wire::read;
use crate::worker::Worker;

/// What is asked for; owned, since its request is answered already.
pub(super) struct Order {
    pub(super) cache: Arc<Cache>,
    pub(super) pool: Arc<Pool>,
    /// It is asked by HTTP/2.
    pub(super) streams: bool,
    pub(super) request: Request,
    pub(super) proto: &'static str,
    pub(super) client: String,
    pub(super) stale: Arc<Stored>,
    pub(super) lead: Lead,
}

/// Asks once. If nothing comes of it, the next request tries again.
pub(super) async fn refresh(worker: Rc<Worker>, order: Order) {
    let Order { cache, pool, streams, request, proto, client, stale, lead } = order;
    let config = worker.config.get();
    let id = worker.id();
    let trip = Trip {
        worker: &worker,
        config: &config,
        request: &request,
        client: &client,
        proto,
        id: id.as_str(),
        trace: &Trace::of(&request, &id, &worker.ids),
        began: Instant::now(),
        stages: &Stages::default(),
        fetch: None,
    };
    let asked = Asked::of(&request);
    let asking = cache.asking(trip.scheme(), request.authority(), request.target());
    let purpose = (Purpose::Get(Some(stale)), Why::Stale);
    let fetch = Fetch::new(&cache, &request, (&asking, &asked), purpose, Some(lead));
    if let Err(because) = (Trip { fetch: Some(&fetch), ..trip }).alone((&pool, streams), &fetch).await {
        tracing::debug!(%id, path = request.path(), "what is stale could not be asked for anew: {because}");
    }
}

impl Trip<'_> {
    /// Asks a backend of `pool`, and lets the cache alone hear the answer.
    async fn alone(&self, (pool, streams): (&Arc<Pool>, bool), fetch: &Fetch<'_>) -> Result<(), String> {
        let lease = pool.lease(&self.wanted(pool)).await.map_err(|refused| refused.to_string())?;
        let connected = match streams {
            true => self.stream(&lease).await,
            false => self.reach(&lease).await.map(|(stream, _)| stream),
        };
        let backend = connected.map_err(|_| "no connection".to_owned())?;
        let mut response = Response::default();
        match self.heard_alone(&lease, &backend, &mut response, fetch).await {
            Ok(through) => {
                lease.answered(response.status);
                if through && response.persists && lease.reuse() != Reuse::Never {
                    self.worker.idle.keep(&lease, backend);
                }
                Ok(())
            }
            Err(because) => {
                lease.failed(Failure::Closed);
                Err(because)
            }
        }
    }

    /// Whether nothing is left of the answer on the connection.
    async fn heard_alone(
        &self,
        lease: &Lease,
        backend: &Stream,
        response: &mut Response,
        fetch: &Fetch<'_>,
    ) -> Result<bool, String> {
        let mut head = Vec::with_capacity(1024);
        self.request_head(&mut head);
        backend.write(&head, self.limits().progress_within).await.map_err(|error| error.to_string())?;
        let (mut pending, progress) = (Vec::new(), self.progress(lease));
        progress.uploaded.set(Some(Instant::now()));
        for _ in 0..INTERIM_MAX {
            let came = self.response_head(backend, &mut pending, response, &progress).await;
            let head = came.map_err(|_| "no proper answer".to_owned())?;
            pending.drain(..head);
            if !response.is_interim() {
                break;
            }
        }
        match fetch.answered(response) {
            Course::Passes => self.body_alone(backend, pending, response, fetch).await,
            Course::Heard => Ok(pending.is_empty()),
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
        // What is not stored need not be heard to its end.
        let listens = fetch.listens();
        fetch.complete();
        Ok(listens && pending.is_empty())
    }
}
