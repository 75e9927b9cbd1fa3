//! The supervisor's end.

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use mainstay_site::names::{Generation, ServiceName};
use mainstay_site::plan::Plan;
use mainstay_site::wire::rollout::{self, Proposal, Record, Summary};
use mainstay_site::wire::upkeep::{Ask, Told};
use mainstay_site::wire::vip::{self, Wish};
use mainstay_site::wire::{Purge, Purged, Refusal, ServerStatus};
use serde::Deserialize;
use tokio::net::UnixListener;

use crate::supervisor::{Handle, Refused};

/// Bytes of a plan: one for a thousand servers, each in two pools, has about half a megabyte.
const PLAN_BYTES: usize = 16 << 20;

/// Bytes of a generation: the plans of all servers.
const PROPOSAL_BYTES: usize = 64 << 20;

/// Lines of a log if nobody says how many: a screen.
const LINES: usize = 50;

/// Answers until it is dropped, or `end` comes and what was asked is answered.
pub(crate) async fn serve(listener: UnixListener, handle: Handle, end: impl Future<Output = ()> + Send + 'static) {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/logs/{service}", get(logs))
        .route("/v1/plan", put(plan).layer(DefaultBodyLimit::max(PLAN_BYTES)))
        .route("/v1/rollout", get(rollout))
        .route("/v1/generations", get(generations))
        .route("/v1/generations/{number}", get(generation))
        .route("/v1/generation", put(propose).layer(DefaultBodyLimit::max(PROPOSAL_BYTES)))
        .route("/v1/turn/{number}", post(turn))
        .route("/v1/restart/{service}", post(restart))
        .route("/v1/purge", post(purge))
        .route("/v1/database", post(database))
        .route("/v1/vip", post(vip))
        .route("/v1/upgrade", post(upgrade))
        .route("/v1/stop", post(stop))
        .fallback(nothing)
        .with_state(handle);
    // It ends with an error only if the socket does.
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(end).await {
        tracing::error!("the control socket is closed: {error}");
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, refusal) = match self {
            Refused::Stale(refusal) | Refused::Busy(refusal) => (StatusCode::CONFLICT, refusal),
            Refused::Invalid(refusal) => (StatusCode::UNPROCESSABLE_ENTITY, refusal),
            Refused::Unknown(refusal) => (StatusCode::NOT_FOUND, refusal),
        };
        (status, Json(refusal)).into_response()
    }
}

async fn status(State(handle): State<Handle>) -> Json<ServerStatus> {
    Json(handle.status())
}

#[derive(Deserialize)]
struct Lines {
    lines: Option<usize>,
}

async fn logs(
    State(handle): State<Handle>,
    Path(service): Path<String>,
    Query(Lines { lines }): Query<Lines>,
) -> Result<String, Refused> {
    handle.logs(&ServiceName(service), lines.unwrap_or(LINES))
}

async fn plan(State(handle): State<Handle>, plan: Result<Json<Plan>, JsonRejection>) -> Result<StatusCode, Refused> {
    let garbled = |error: JsonRejection| {
        let error = format!("the plan cannot be read: {}", error.body_text());
        Refused::Invalid(Refusal { error, hint: Some("`mainstay plan --json` prints one".to_owned()) })
    };
    let Json(plan) = plan.map_err(garbled)?;
    handle.put_plan(plan).await.map(|()| StatusCode::NO_CONTENT)
}

async fn rollout(State(handle): State<Handle>) -> Json<rollout::View> {
    Json(handle.rollout().await)
}

async fn generations(State(handle): State<Handle>) -> Result<Json<Vec<Summary>>, Refused> {
    handle.generations().await.map(Json)
}

async fn generation(State(handle): State<Handle>, Path(number): Path<u64>) -> Result<Json<Record>, Refused> {
    handle.generation(Generation(number)).await.map(Json)
}

async fn propose(State(handle): State<Handle>, Json(proposal): Json<Proposal>) -> Result<StatusCode, Refused> {
    handle.propose(&proposal).await.map(|()| StatusCode::NO_CONTENT)
}

async fn turn(State(handle): State<Handle>, Path(number): Path<u64>) -> Result<StatusCode, Refused> {
    handle.turn(Generation(number)).await.map(|()| StatusCode::ACCEPTED)
}

async fn restart(State(handle): State<Handle>, Path(service): Path<String>) -> Result<StatusCode, Refused> {
    handle.restart(ServiceName(service)).await.map(|()| StatusCode::ACCEPTED)
}

async fn purge(State(handle): State<Handle>, Json(purge): Json<Purge>) -> Result<Json<Vec<Purged>>, Refused> {
    handle.purge(&purge).await.map(Json)
}

async fn database(State(handle): State<Handle>, Json(ask): Json<Ask>) -> Result<Json<Told>, Refused> {
    handle.ask_database(&ask).await.map(Json)
}

async fn vip(State(handle): State<Handle>, Json(wish): Json<Wish>) -> Result<Json<vip::View>, Refused> {
    handle.wish_of_vip(wish).await.map(Json)
}

async fn upgrade(State(handle): State<Handle>) -> Result<StatusCode, Refused> {
    handle.upgrade().await.map(|()| StatusCode::ACCEPTED)
}

async fn stop(State(handle): State<Handle>) -> Result<StatusCode, Refused> {
    handle.stop().await.map(|()| StatusCode::ACCEPTED)
}

async fn nothing() -> Refused {
    let hint = "this supervisor speaks version 1: /v1/status, /v1/logs/SERVICE, /v1/plan, /v1/rollout, /v1/generations, /v1/generation, /v1/turn/N, /v1/restart/SERVICE, /v1/purge, /v1/database, /v1/vip, /v1/upgrade, /v1/stop";
    Refused::Unknown(Refusal { error: "there is nothing at this path".to_owned(), hint: Some(hint.to_owned()) })
}
