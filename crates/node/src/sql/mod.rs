//! The SQL endpoints of an application server: one address that takes writes, one that serves reads, one whose reads see
//! what was written before.
//!
//! A proxy of connections, not of statements: it chooses a server when a client connects, and then only copies. New
//! connections wait while no server is fit, so that an application sees a restart of the database as a pause; those to a
//! server that leads no longer are cut.
//!
//! Two threads: one decides and waits, one copies (`ferry`). Connections are bounded at a few hundred, and a core copies more
//! statements than a MariaDB answers.

mod check;
mod choice;
mod endpoint;
mod ferry;
mod fresh;
mod hold;
mod leadership;
mod packet;
mod pair;
mod report;
mod servers;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mainstay_site::plan;
use mainstay_site::wire::hold::SOCKET;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::{runtime, time};

use self::choice::Leadership;
use self::endpoint::{Endpoint, Kind, Places};
use self::ferry::Ferry;
use self::servers::Servers;
use crate::service::Context;
use crate::store::{self, Store};

/// How often the report is renewed.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// What open connections get to end by themselves: the applications were asked to end before us, and no statement can be
/// told from the next without reading along.
const DRAIN: Duration = Duration::from_secs(3);

/// Why the endpoints ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket is missing.
    #[error("the SQL endpoints were given no socket called \"{0}\"; their plan must list one")]
    NoSocket(&'static str),
    /// Who leads cannot be asked for.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The runtime or a socket failed.
    #[error("the SQL endpoints cannot use their sockets")]
    Io(#[from] io::Error),
}

/// Serves all endpoints until asked to end.
///
/// # Errors
/// [`Error`]: a socket that is missing or cannot be used.
pub fn run(context: Context, config: &plan::Sql) -> Result<(), Error> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(context, config))
}

async fn serve(mut context: Context, config: &plan::Sql) -> Result<(), Error> {
    let launch = &context.launch;
    let store = Store::of(&launch.site, &launch.server, &config.store, &launch.secrets)?;
    let leadership = if store.is_some() { Leadership::UNKNOWN } else { Leadership::PLANNED };
    let servers = Arc::new(Servers::new(config, leadership, &launch.secrets.database_check));
    let (mut endpoints, mut accepting) = (Vec::new(), Vec::new());
    let ferry = Arc::new(Ferry::start()?);
    let (writing, reading) = (Places::default(), Places::default());
    for (kind, places) in [(Kind::Writer, &writing), (Kind::Reader, &reading), (Kind::Fresh, &reading)] {
        let endpoint = Arc::new(Endpoint::new(kind, servers.clone(), places.clone(), ferry.clone()));
        let listeners = context.sockets.take_tcp(kind.name());
        // A plan of before there was one has no such listener.
        if listeners.is_empty() && kind != Kind::Fresh {
            return Err(Error::NoSocket(kind.name()));
        }
        for listener in listeners {
            listener.set_nonblocking(true)?;
            accepting.push(tokio::spawn(endpoint.clone().accept(TcpListener::from_std(listener)?)));
        }
        endpoints.push(endpoint);
    }
    for index in 0..servers.count() {
        tokio::spawn(check::check(servers.clone(), index));
    }
    if let Some(store) = store {
        hold::start(store.clone(), launch.server.clone(), &launch.state.join(SOCKET))?;
        tokio::spawn(leadership::follow(store, servers.clone()));
    }
    let mut shutdown = context.shutdown.clone();
    tokio::select! {
        () = publish(&context, &servers, &endpoints) => {}
        () = shutdown.requested() => {}
    }
    // Those who come now wait in the kernel's queue for the next process.
    accepting.iter().for_each(JoinHandle::abort);
    drain(&[writing, reading]).await;
    Ok(())
}

async fn publish(context: &Context, servers: &Servers, endpoints: &[Arc<Endpoint>]) {
    let mut changes = servers.changes();
    loop {
        context.reporter.publish(report::report(servers, endpoints));
        let _ = time::timeout(REPORT_EVERY, changes.changed()).await;
    }
}

async fn drain(all: &[Places]) {
    let all = async {
        for places in all {
            places.empty().await;
        }
    };
    if time::timeout(DRAIN, all).await.is_err() {
        tracing::warn!(seconds = DRAIN.as_secs(), "cut the connections that were still open");
    }
}
