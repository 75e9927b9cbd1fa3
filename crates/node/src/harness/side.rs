//! The thread beside the service: signals and the report socket.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use axum::routing::get;
use axum::{Json, Router};
use mainstay_site::wire::Report;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::service::Reporter;

/// Starts the thread once the socket listens and the signals are caught, so that nothing sent from then on is lost.
///
/// # Errors
/// If the socket cannot be bound or the thread not be started.
pub(super) fn start(path: &Path, reporter: Reporter, shutdown: watch::Sender<bool>) -> io::Result<()> {
    let listener = bind(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (term, int) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("ms-side".into()).spawn(move || {
        runtime.block_on(async {
            tokio::join!(serve(listener, reporter), relay(term, int, shutdown));
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

async fn serve(listener: StdListener, reporter: Reporter) {
    let router = Router::new().route("/v1/report", get(move || answer(reporter.clone())));
    let served = match UnixListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!("the report socket is closed: {error}");
    }
}

async fn answer(reporter: Reporter) -> Json<Report> {
    Json(Report::clone(&reporter.current()))
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
