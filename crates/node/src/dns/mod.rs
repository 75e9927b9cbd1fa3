//! The name server: authoritative for the zone that the site implies, and for nothing else.
//!
//! The wire format is `hickory-proto`'s. Look-up and transport are our own: hickory's in-memory zone lets a wildcard
//! answer below names that exist (RFC 4592 § 2.2.1 forbids it) and sets AA on referrals, and its server bounds neither
//! connections nor the loop that follows a failed accept.

mod answer;
mod presence;
mod records;
mod transport;
mod zone;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mainstay_site::plan;
use mainstay_site::wire::{Report, State};
use tokio::runtime;

use self::answer::Counters;
use self::presence::Presence;
use self::zone::Zone;
use crate::service::{Context, Reporter};

/// How often the counters are published.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The name of its [`plan::Listen`]s.
const LISTEN: &str = "dns";

/// Why the name server ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record that cannot be served.
    #[error(transparent)]
    Record(#[from] records::Error),
    /// Nothing was handed over to listen on.
    #[error("the name server was given no socket called \"{LISTEN}\"; its plan must list one for UDP and one for TCP")]
    NoSocket,
    /// The runtime or a socket failed.
    #[error("the name server cannot use its sockets")]
    Io(#[from] io::Error),
}

/// Answers for the zone until asked to end.
///
/// # Errors
/// [`Error`]: a record that cannot be served, no socket, or a socket that cannot be used.
pub fn run(context: Context, config: &plan::Dns) -> Result<(), Error> {
    let zone = Arc::new(Zone::new(config)?);
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(context, config, zone))
}

async fn serve(mut context: Context, config: &plan::Dns, zone: Arc<Zone>) -> Result<(), Error> {
    let (counters, presence) = (Arc::new(Counters::default()), Arc::new(Presence::default()));
    config.watched.iter().for_each(|door| drop(tokio::spawn(presence::watch(presence.clone(), *door))));
    let (udp, tcp) = (context.sockets.take_udp(LISTEN), context.sockets.take_tcp(LISTEN));
    if udp.is_empty() && tcp.is_empty() {
        return Err(Error::NoSocket);
    }
    for socket in udp {
        tokio::spawn(transport::datagrams(transport::udp(socket)?, zone.clone(), presence.clone(), counters.clone()));
    }
    for listener in tcp {
        tokio::spawn(transport::streams(transport::tcp(listener)?, zone.clone(), presence.clone(), counters.clone()));
    }
    tracing::info!(zone = %config.zone, serial = config.serial, records = zone.records(), "answering");
    tokio::select! {
        () = publish(&context.reporter, config, &zone, &presence, &counters) => {}
        () = context.shutdown.requested() => {}
    }
    Ok(())
}

async fn publish(reporter: &Reporter, config: &plan::Dns, zone: &Zone, presence: &Presence, counters: &Counters) {
    let mut tick = tokio::time::interval(REPORT_EVERY);
    loop {
        tick.tick().await;
        reporter.publish(report(config, zone, presence, counters));
    }
}

fn report(config: &plan::Dns, zone: &Zone, presence: &Presence, counters: &Counters) -> Report {
    let absent = presence.absent();
    let (state, because) = match absent.as_str() {
        "" => (State::Serving, format!("answering for {}", config.zone)),
        absent => (State::Degraded, format!("nobody holds {absent}: visitors are not sent there")),
    };
    Report {
        state,
        because,
        facts: vec![
            ("zone".into(), config.zone.to_string()),
            ("serial".into(), config.serial.to_string()),
            ("records".into(), zone.records().to_string()),
        ],
        parts: Vec::new(),
        counters: counters.totals(),
    }
}
