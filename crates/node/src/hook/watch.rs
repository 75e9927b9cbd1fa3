//! Looks which addresses are here, and has the program called for those that came.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::backoff::{Backoff, Policy};
use mainstay_site::plan;
use mainstay_site::wire::{Part, Report, State};
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::Error;
use super::call::{Failed, call};
use crate::clock::{boot_time, unix_ms};
use crate::platform::link::Links;
use crate::service::{Context, Launch, Reporter};

/// Between two looks: short against what a cloud takes, and a look costs two short questions to the kernel.
const LOOK: Duration = Duration::from_millis(100);

/// After a call that failed: at once, after 1, 2, 4 … then every 30 s, since clouds bound how often they are asked. One that failed
/// after a long time has not been well.
const AGAIN: Policy = Policy {
    pause_first: Duration::from_secs(1),
    pause_max: Duration::from_secs(30),
    well_after: Duration::from_secs(24 * 3600),
};

/// Watches until asked to end.
pub(super) async fn serve(context: Context, config: &plan::Hook) -> Result<(), Error> {
    let Context { launch, reporter, mut shutdown, .. } = context;
    let mut links = Links::open()?;
    let mut watch = Watch::new(&launch, config);
    let mut looks = interval(LOOK);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = shutdown.requested() => return Ok(()),
        }
        for address in &config.addresses {
            let is_here = links.with_address(*address)?.is_some();
            watch.look(*address, is_here).await;
        }
        watch.publish(&reporter);
    }
}

struct Watch<'w> {
    launch: &'w Launch,
    program: &'w str,
    addresses: BTreeMap<IpAddr, Address>,
    calls: u64,
    failures: u64,
}

/// How it stands with one address.
struct Address {
    stand: Stand,
    since_ms: u64,
    backoff: Backoff,
}

enum Stand {
    /// Not here: somebody else's business.
    Elsewhere,
    Calling(JoinHandle<Result<(), Failed>>),
    /// Somebody outside knows.
    Told,
    /// Nobody does yet.
    Failed {
        because: String,
        again_at: Time,
    },
}

impl Drop for Address {
    fn drop(&mut self) {
        if let Stand::Calling(task) = &self.stand {
            task.abort();
        }
    }
}

impl<'w> Watch<'w> {
    fn new(launch: &'w Launch, config: &'w plan::Hook) -> Watch<'w> {
        let fresh = || Address { stand: Stand::Elsewhere, since_ms: unix_ms(), backoff: Backoff::new(AGAIN) };
        let addresses = config.addresses.iter().map(|address| (*address, fresh())).collect();
        Watch { launch, program: &config.program, addresses, calls: 0, failures: 0 }
    }

    /// ## Elsewhere => Calling => (Told | Failed => Calling); from everywhere to Elsewhere
    async fn look(&mut self, address: IpAddr, is_here: bool) {
        let Some(known) = self.addresses.get_mut(&address) else { return };
        let next = match &mut known.stand {
            Stand::Elsewhere if !is_here => return,
            stand if !is_here => {
                // A call that is under way would take it back.
                if let Stand::Calling(task) = stand {
                    task.abort();
                }
                tracing::info!("{address} has left");
                Stand::Elsewhere
            }
            Stand::Elsewhere => {
                known.backoff.forgive();
                self.begin(address)
            }
            Stand::Calling(task) if task.is_finished() => {
                let ended = task.await.unwrap_or_else(|error| Err(Failed::Broken(error.to_string())));
                self.ended(address, ended)
            }
            Stand::Failed { again_at, .. } if *again_at <= boot_time() => self.begin(address),
            Stand::Calling(_) | Stand::Told | Stand::Failed { .. } => return,
        };
        if let Some(known) = self.addresses.get_mut(&address) {
            (known.stand, known.since_ms) = (next, unix_ms());
        }
    }

    fn begin(&mut self, address: IpAddr) -> Stand {
        tracing::info!("{address} is here: {} take {address}", self.program);
        self.calls += 1;
        if let Some(known) = self.addresses.get_mut(&address) {
            known.backoff.started(boot_time());
        }
        let (launch, program) = (self.launch.clone(), self.program.to_owned());
        Stand::Calling(tokio::spawn(async move { call(&launch, &program, address).await }))
    }

    fn ended(&mut self, address: IpAddr, ended: Result<(), Failed>) -> Stand {
        match ended {
            Ok(()) => {
                tracing::info!("{} has moved {address} here", self.program);
                Stand::Told
            }
            Err(error) => {
                self.failures += 1;
                let now = boot_time();
                let again_at = self.addresses.get_mut(&address).map_or(now, |known| known.backoff.ended(now));
                tracing::error!("{address} is here, and nobody outside may know: {error}");
                Stand::Failed { because: error.to_string(), again_at }
            }
        }
    }

    fn publish(&self, reporter: &Reporter) {
        let parts: Vec<Part> = self.addresses.iter().map(|(address, known)| part(*address, known)).collect();
        let worst = parts.iter().map(|part| part.state).max().unwrap_or(State::Serving);
        let because = parts.iter().map(|part| format!("{} {}", part.name, part.because)).collect::<Vec<_>>().join("; ");
        let facts = vec![("program".to_owned(), self.program.to_owned())];
        let counters = [("hook_calls_total", self.calls), ("hook_failures_total", self.failures)];
        let counters = counters.map(|(name, count)| (name.to_owned(), count)).into();
        reporter.publish(Report { state: worst, because, facts, parts, counters });
    }
}

fn part(address: IpAddr, known: &Address) -> Part {
    let (state, because) = match &known.stand {
        Stand::Elsewhere => (State::Serving, "is not here".to_owned()),
        Stand::Calling(_) => (State::Serving, "is here, and is being moved".to_owned()),
        Stand::Told => (State::Serving, "was moved here".to_owned()),
        Stand::Failed { because, again_at } => {
            let wait = again_at.since(boot_time()).as_secs() + 1;
            (State::Degraded, format!("is here, and was not moved: {because}; tried again in {wait} s"))
        }
    };
    Part { name: address.to_string(), state, since_ms: known.since_ms, because, pid: None }
}
