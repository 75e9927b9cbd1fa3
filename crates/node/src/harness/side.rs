//! The thread beside the service: signals and the report socket.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use mainstay_site::wire::upkeep::Ask;
use mainstay_site::wire::vip::{View, Wish};
use mainstay_site::wire::{Purge, Refusal, Report};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::service::{Asks, Declined, Launch, Launches, Purges, Reporter, Yields};

/// Where the service is told and asked.
pub(super) struct Heard {
    pub(super) launches: Launches,
    pub(super) purges: Purges,
    pub(super) asks: Asks,
    pub(super) yields: Yields,
}

/// Bytes of a launch: one with two pools of a thousand servers has about half a megabyte.
const LAUNCH_BYTES: usize = 16 << 20;

/// Starts the thread once the socket listens and the signals are caught, so that nothing sent from then on is lost.
///
/// # Errors
/// If the socket cannot be bound or the thread not be started.
pub(super) fn start(path: &Path, reporter: Reporter, heard: Heard, shutdown: watch::Sender<bool>) -> io::Result<()> {
    let listener = bind(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (term, int) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("ms-side".into()).spawn(move || {
        runtime.block_on(async {
            tokio::join!(serve(listener, reporter, heard), relay(term, int, shutdown));
        });
    })?;
    Ok(())
}

/// A socket that a killed predecessor left behind is replaced.
fn bind(path: &Path) -> io::Result<StdListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = StdListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve(listener: StdListener, reporter: Reporter, heard: Heard) {
    let Heard { launches, purges, asks, yields } = heard;
    let follow = put(follow).layer(DefaultBodyLimit::max(LAUNCH_BYTES)).with_state(launches);
    let router = Router::new()
        .route("/v1/report", get(move || answer(reporter.clone())))
        .route("/v1/launch", follow)
        .route("/v1/database", post(database).with_state(asks))
        .route("/v1/vip", post(wish).with_state(yields))
        .route("/v1/purge", post(forget).with_state(purges));
    let served = match UnixListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!("the report socket is closed: {error}");
    }
}

async fn answer(reporter: Reporter) -> Json<Report> {
    Json(reporter.told())
}

async fn follow(State(launches): State<Launches>, launch: Result<Json<Launch>, JsonRejection>) -> Response {
    let told = match launch {
        Ok(Json(launch)) => launches.offer(launch).await,
        // Another version's: its own program understands it.
        Err(garbled) => Err(Declined::Restart(garbled.body_text())),
    };
    let (status, declined) = match told {
        Ok(()) => return StatusCode::NO_CONTENT.into_response(),
        Err(declined @ Declined::Restart(_)) => (StatusCode::CONFLICT, declined),
        Err(declined @ Declined::Unusable(_)) => (StatusCode::UNPROCESSABLE_ENTITY, declined),
    };
    (status, Json(Refusal { error: declined.to_string(), hint: None })).into_response()
}

/// 404 where nobody is asked such things.
async fn database(State(asks): State<Asks>, Json(ask): Json<Ask>) -> Response {
    match asks.ask(ask).await {
        Some(Ok(told)) => Json(told).into_response(),
        Some(Err(refusal)) => (StatusCode::CONFLICT, Json(refusal)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// 404 where nothing floats.
async fn wish(State(yields): State<Yields>, Json(wish): Json<Wish>) -> Result<Json<View>, StatusCode> {
    yields.tell(wish).await.map(Json).ok_or(StatusCode::NOT_FOUND)
}

/// How many addresses that were; 404 without a cache.
async fn forget(State(purges): State<Purges>, Json(purge): Json<Purge>) -> Result<Json<u64>, StatusCode> {
    purges.ask(&purge).map(Json).ok_or(StatusCode::NOT_FOUND)
}

/// Keeps the sender for good: a dropped one would end the service.
async fn relay(mut term: Signal, mut int: Signal, shutdown: watch::Sender<bool>) {
    loop {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: ending"),
            _ = int.recv() => tracing::info!("SIGINT: ending"),
        }
        // The service may have ended already; then nobody listens, and that is fine.
        let _ = shutdown.send(true);
    }
}
