//! One of several database servers: the loop that feeds [`Election`] and has its steps carried out.
//!
//! Three things go on beside each other, so that none holds up another: this loop, which only decides; the hands, which act on
//! the local server; the lease's thread. What the machine asks of the store is asked from here, one transaction at a time.

mod hands;
mod keys;
mod lease;
mod look;
mod report;

pub use report::{REFUSED, REPLICAS};

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::election::{
    Change, Election, Input, Mirror, Mode, Output, Revision, Server, Settings, StepId, Swap, Timing, Transaction,
};
use mainstay_site::model::{Durability, Failover, SemiSync};
use mainstay_site::plan;
use mainstay_site::wire::State;
use mainstay_site::wire::database::PREFIX;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::hands::{Act, Body, Glance, Hands};
use self::lease::Holder;
use super::places::Places;
use super::{Error, copies};
use crate::clock::boot_time;
use crate::fence::Fence;
use crate::service::{Context, Reporter};
use crate::store::{self, Event, Store, Watch};

/// The loop goes round at least as often, so that the lease's thread sees that it lives.
const ROUND: Duration = Duration::from_millis(250);
/// Between two tries to hear what the store holds.
const LIST_AGAIN: Duration = Duration::from_millis(200);
/// What the last words to the store may take when the role ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// Changes of the store that wait to be taken note of; the watch waits meanwhile.
const HEARD_MAX: usize = 64;
/// The machine asks for one step at a time.
const ACTS_MAX: usize = 1;
/// What the hands and the lease's thread have said and the loop has not taken yet. It takes one in well under a millisecond, and
/// they say some tens a second; who finds no room waits, and a sign of life of the lease is followed by the next.
const INPUTS_MAX: usize = 64;

/// Looks after the server until asked to end.
///
/// # Errors
/// Only what no waiting mends: certificates that cannot be used, a thread that cannot be made, a task that ended by itself.
pub async fn serve(context: Context, config: &plan::Database, places: Places) -> Result<(), Error> {
    let Context { launch, mut sockets, reporter, mut shutdown, .. } = context;
    let no_store = || Error::Store(store::Error::Refused("the plan names none".into()));
    let store = Store::of(&launch.site, &launch.server, &config.store, &launch.secrets)?.ok_or_else(no_store)?;
    for listener in sockets.take_tcp("copies") {
        listener.set_nonblocking(true)?;
        let giver = copies::Giver::new(places.clone(), launch.secrets.clone(), launch.server.clone());
        tokio::spawn(giver.give(TcpListener::from_std(listener)?));
    }
    let settings = settings(config, &Server::from(&launch.server));
    let fence = Arc::new(Fence::new(&launch.run_folder()));
    let (inputs, received) = mpsc::channel(INPUTS_MAX);
    let holder = Holder::start(&launch, config, settings.timing.margin, Arc::clone(&fence), inputs.clone())?;
    let (open_until, may_open) = watch::channel(None);
    let (pace, paced) = watch::channel(ROUND);
    let (glance, glanced) = watch::channel(Glance::default());
    let (acts, asked) = mpsc::channel(ACTS_MAX);
    let hands = Hands {
        config: config.clone(),
        places: places.clone(),
        secrets: launch.secrets.clone(),
        fence,
        open_until: may_open,
        pace: paced,
        inputs,
        glance,
        state: Body::default(),
    };
    let mut working = tokio::spawn(hands.work(asked));
    // A task of its own: what it waits for must not begin anew whenever something else happens.
    let (tell, told) = mpsc::channel(HEARD_MAX);
    let following = tokio::spawn(Following::new(store.clone()).tell(tell));
    let mut role = Role {
        election: Election::new(settings, boot_time()),
        view: report::View::new(places),
        store,
        holder,
        acts,
        open_until,
        pace,
        glanced,
        reporter,
        pending: None,
        claimed: None,
        obstacle: None,
    };
    tokio::select! {
        () = role.run(received, told) => {}
        () = shutdown.requested() => {}
        // Without them the role would be deaf or lame and seem to live.
        _ = &mut working => return Err(Error::Ended("acts on MariaDB")),
        _ = following => return Err(Error::Ended("hears what the store says")),
    }
    role.end(working).await;
    Ok(())
}

fn settings(config: &plan::Database, me: &Server) -> Settings {
    let mode = match (config.durability, config.semi_sync) {
        (Durability::Async, _) => Mode::Async,
        (_, SemiSync::Available) => Mode::Available,
        (_, SemiSync::Strict) => Mode::Strict,
    };
    Settings {
        me: me.clone(),
        members: config.members.iter().map(|member| (Server::from(&member.server), member.address)).collect(),
        automatic: config.failover == Failover::Automatic && mode != Mode::Async,
        mode,
        timing: Timing::default(),
    }
}

/// What is being asked of the store.
type Asked = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// What came of it.
struct Answered {
    id: StepId,
    swap: Swap,
    /// The lease that it was done with.
    until: Option<Time>,
}

struct Role {
    election: Election,
    view: report::View,
    store: Store,
    holder: Holder,
    acts: mpsc::Sender<Act>,
    open_until: watch::Sender<Option<Time>>,
    pace: watch::Sender<Duration>,
    glanced: watch::Receiver<Glance>,
    reporter: Reporter,
    pending: Option<Asked>,
    /// The change by which the leader's key was written last.
    claimed: Option<Revision>,
    /// What keeps the store from being read.
    obstacle: Option<String>,
}

impl Role {
    /// For ever.
    async fn run(&mut self, mut received: mpsc::Receiver<Input>, mut told: mpsc::Receiver<Heard>) {
        loop {
            let until = self.election.deadline().since(boot_time()).min(ROUND);
            let input = tokio::select! {
                biased;
                Some(input) = received.recv() => Some(input),
                answered = answer(&mut self.pending) => Some(self.answered(answered)),
                Some(heard) = told.recv() => self.heard(heard, &mut told),
                () = sleep_until(Instant::now() + until) => Some(Input::Tick),
            };
            if let Some(input) = input {
                self.handle(input);
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.election.handle(boot_time(), input);
        while let Some(output) = self.election.poll() {
            self.follow(output);
        }
        let open_until = self.election.open_until();
        self.open_until.send_replace(open_until);
        let pace = self.election.pace();
        self.pace.send_if_modified(|known| std::mem::replace(known, pace) != pace);
        self.holder.sign(boot_time(), open_until.is_some());
        self.mind_lease();
        let report = self.view.report(&self.election, &self.glanced.borrow(), self.obstacle.as_deref());
        self.reporter.publish(report);
    }

    /// Who does not lead, and is not about to ask for it, has no use for a lease. Who was told that the leader's key is its own leads, though the watch may say
    /// so only later: a lease that is ended meanwhile would take the key along.
    fn mind_lease(&mut self) {
        if self.election.expects_lead() {
            self.holder.expect();
            return;
        }
        let heard = self.claimed.is_none_or(|claimed| self.election.mirror().at >= claimed);
        if heard && self.election.leads().is_none() && self.pending.is_none() {
            self.claimed = None;
            self.holder.end();
        }
    }

    fn follow(&mut self, output: Output) {
        match output {
            Output::Act { id, until, step } => {
                // There is room: the one before has come to an end, or to its deadline.
                if self.acts.try_send(Act { id, until, step }).is_err() {
                    tracing::error!(id = id.0, "the step before is still being carried out");
                }
            }
            Output::Transact { id, until, transaction } => self.pending = Some(self.transact(id, until, transaction)),
            Output::Changed { state, because } => {
                tracing::info!(state = state.as_str(), reason = ?because, "{because}");
                self.view.note(state, &because);
            }
        }
    }

    fn transact(&mut self, id: StepId, until: Time, transaction: Transaction) -> Asked {
        let granted = keys::needs_lease(&transaction).then(|| self.holder.hold());
        let store = self.store.clone();
        Box::pin(async move {
            let mut held = None;
            let asked = async {
                if let Some(granted) = granted {
                    held = Some(granted.await?);
                }
                let writes = keys::writes(&transaction, held.map(|granted| granted.id));
                store.transact(&keys::compares(&transaction), &writes).await
            };
            let answer = timeout(until.since(boot_time()), asked).await;
            let late = |_| Err(store::Error::Unknown("no answer in time".into()));
            let swap = keys::swap(answer.unwrap_or_else(late));
            Answered { id, swap, until: held.map(|granted| granted.until) }
        })
    }

    /// The lease is told before what was done with it.
    fn answered(&mut self, answered: Answered) -> Input {
        if let Some(until) = answered.until {
            // Of one whose answer is missing, whatever comes next tells.
            self.claimed = match answered.swap {
                Swap::Done(at) => Some(at),
                Swap::Unknown => Some(Revision(self.election.mirror().at.0 + 1)),
                Swap::Conflict => self.claimed,
            };
            self.handle(Input::Lease { until });
        }
        Input::Transacted { id: answered.id, swap: answered.swap }
    }

    /// What came with it is told with it: of a transaction one hears at once.
    fn heard(&mut self, heard: Heard, told: &mut mpsc::Receiver<Heard>) -> Option<Input> {
        match heard {
            Heard::Mirror(mirror) => {
                self.obstacle = None;
                self.handle(Input::Listed(Box::new(mirror)));
                Some(Input::Connected(true))
            }
            Heard::Change(change) => {
                let mut changes = vec![change];
                while let Ok(next) = told.try_recv() {
                    match next {
                        Heard::Change(change) => changes.push(change),
                        other => {
                            self.handle(Input::Changed(changes));
                            return self.heard(other, told);
                        }
                    }
                }
                Some(Input::Changed(changes))
            }
            Heard::Nothing => None,
            Heard::Lost(because) => {
                if self.obstacle.as_deref() != Some(&because) {
                    tracing::warn!("{because}");
                }
                self.obstacle = Some(because);
                Some(Input::Connected(false))
            }
        }
    }

    /// Ends the server, then says so to the others: who leads gives the office up at once.
    async fn end(self, working: tokio::task::JoinHandle<()>) {
        self.reporter.publish(report::ending(State::Stopping, "mariadbd is ending as asked"));
        drop(self.acts);
        let _ = working.await;
        let _ = timeout(FAREWELL, self.holder.ended()).await;
        self.reporter.publish(report::ending(State::Stopped, "ended as asked"));
    }
}

/// The answer to what is being asked, if anything is.
async fn answer(pending_question: &mut Option<Asked>) -> Answered {
    match pending_question {
        Some(asked) => {
            let answered = asked.await;
            *pending_question = None;
            answered
        }
        None => pending().await,
    }
}

/// What was heard of the store.
enum Heard {
    Mirror(Mirror),
    Change(Change),
    Nothing,
    Lost(String),
}

/// What the store holds, and then what happens to it. After it could not be reached everything is listed anew: that is short.
struct Following {
    store: Store,
    watch: Option<Watch>,
    tried: bool,
}

impl Following {
    fn new(store: Store) -> Following {
        Following { store, watch: None, tried: false }
    }

    /// Says what is heard for as long as somebody listens.
    async fn tell(mut self, to: mpsc::Sender<Heard>) {
        loop {
            let heard = self.next().await;
            if to.send(heard).await.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self) -> Heard {
        let heard = match self.watch.as_mut() {
            None => return self.list().await,
            Some(watch) => watch.next().await,
        };
        let understood = match heard {
            Event::Put { key, entry } => keys::change(&key, Some(&entry), entry.changed),
            Event::Delete { key, at } => keys::change(&key, None, at),
            Event::Relisted { entries, at } => {
                return self.mirror(keys::mirror(&entries, at));
            }
            Event::Lost { because } => return Heard::Lost(because),
            Event::Resumed => {
                self.watch = None;
                return Heard::Nothing;
            }
        };
        match understood {
            Ok(change) => change.map_or(Heard::Nothing, Heard::Change),
            Err(unreadable) => self.unreadable(&unreadable),
        }
    }

    async fn list(&mut self) -> Heard {
        if std::mem::replace(&mut self.tried, true) {
            sleep(LIST_AGAIN).await;
        }
        match self.store.list(PREFIX).await {
            Ok((entries, at)) => {
                self.watch = Some(self.store.watch(PREFIX, at));
                self.tried = false;
                self.mirror(keys::mirror(&entries, at))
            }
            Err(error) => Heard::Lost(error.to_string()),
        }
    }

    fn mirror(&mut self, read: Result<Mirror, mainstay_site::wire::database::Unreadable>) -> Heard {
        match read {
            Ok(mirror) => Heard::Mirror(mirror),
            Err(unreadable) => self.unreadable(&unreadable),
        }
    }

    /// Nothing may be decided by what is not understood.
    fn unreadable(&mut self, why: &mainstay_site::wire::database::Unreadable) -> Heard {
        (self.watch, self.tried) = (None, true);
        Heard::Lost(why.to_string())
    }
}
