//! The leader's lease, kept alive on a thread of its own with a connection of its own: a slow statement, a full disk or a
//! large file must not cost the office. A role whose own loop stands still loses it all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::election::Input;
use mainstay_site::plan;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::clock::boot_time;
use crate::fence::{Answer, Fence};
use crate::service::Launch;
use crate::store::{self, LeaseId, Store};

/// After one that was not answered.
const AGAIN: Duration = Duration::from_millis(200);
/// What waits to be done; the loop asks for one thing at a time.
const ORDERS_MAX: usize = 4;

/// A lease that was granted.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    /// Its number.
    pub id: LeaseId,
    /// Until when it is held.
    pub until: Time,
}

enum Order {
    Hold(oneshot::Sender<Result<Granted, store::Error>>),
    End(oneshot::Sender<()>),
}

/// What the thread and the loop tell each other without waiting.
#[derive(Default)]
struct Signs {
    /// When the loop last went round, on CLOCK_BOOTTIME in nanoseconds.
    round: AtomicU64,
    /// Whether clients may be let in.
    open: AtomicBool,
}

/// The loop's end.
pub struct Holder {
    orders: mpsc::Sender<Order>,
    signs: Arc<Signs>,
    held: bool,
}

impl Holder {
    /// Starts the thread; what becomes of the lease comes as inputs. `margin` before the lease's end the fence falls.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start(
        launch: &Launch,
        config: &plan::Database,
        margin: Duration,
        fence: Arc<Fence>,
        inputs: mpsc::Sender<Input>,
    ) -> std::io::Result<Holder> {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let signs = Arc::new(Signs::default());
        let ttl = Duration::from_millis(config.lease_ms);
        let keeper = Keeper {
            ttl,
            margin,
            fence,
            inputs,
            signs: Arc::clone(&signs),
            lease: None,
            next: Instant::now(),
            fencing: None,
        };
        let (launch, endpoints) = (launch.clone(), config.store.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = async move {
            match Store::of(&launch.site, &launch.server, &endpoints, &launch.secrets) {
                Ok(Some(store)) => keeper.keep(store, received).await,
                Ok(None) => {}
                Err(error) => tracing::error!("{error}"),
            }
        };
        thread::Builder::new().name("lease".into()).spawn(move || runtime.block_on(run))?;
        Ok(Holder { orders, signs, held: false })
    }

    /// Says that the loop lives, and whether clients may be let in for as long as the lease is held.
    pub fn sign(&self, now: Time, open: bool) {
        self.signs.round.store(now.as_nanos(), Ordering::Relaxed);
        self.signs.open.store(open, Ordering::Relaxed);
    }

    /// Has one granted before it is needed.
    pub fn expect(&mut self) {
        let (answer, _) = oneshot::channel();
        if !self.held && self.orders.try_send(Order::Hold(answer)).is_ok() {
            self.held = true;
        }
    }

    /// The lease, granted first if there is none.
    pub fn hold(&mut self) -> impl Future<Output = Result<Granted, store::Error>> + use<> {
        self.held = true;
        let (answer, answered) = oneshot::channel();
        let orders = self.orders.clone();
        async move {
            let gone = || store::Error::Unreachable("the lease's thread has ended".into());
            orders.send(Order::Hold(answer)).await.map_err(|_| gone())?;
            answered.await.unwrap_or_else(|_| Err(gone()))
        }
    }

    /// Ends it, if there is one.
    pub fn end(&mut self) {
        let (ended, _) = oneshot::channel();
        if self.held && self.orders.try_send(Order::End(ended)).is_ok() {
            self.held = false;
        }
    }

    /// Ends it, and waits until the store knows or does not answer.
    pub async fn ended(self) {
        let (ended, told) = oneshot::channel();
        if self.held && self.orders.send(Order::End(ended)).await.is_ok() {
            let _ = told.await;
        }
    }
}

struct Keeper {
    ttl: Duration,
    margin: Duration,
    fence: Arc<Fence>,
    inputs: mpsc::Sender<Input>,
    signs: Arc<Signs>,
    lease: Option<store::Lease>,
    next: Instant,
    /// The fence's last order.
    fencing: Option<JoinHandle<()>>,
}

impl Keeper {
    async fn keep(mut self, store: Store, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Hold(answer)) => {
                        let _ = answer.send(self.hold(&store).await);
                    }
                    Some(Order::End(ended)) => {
                        self.end().await;
                        let _ = ended.send(());
                    }
                    None => return,
                },
                () = sleep_until(self.next), if self.lease.is_some() => self.beat().await,
            }
        }
    }

    async fn hold(&mut self, store: &Store) -> Result<Granted, store::Error> {
        let lease = match self.lease.take() {
            Some(lease) if lease.deadline() > boot_time() => lease,
            _ => store.grant(self.ttl).await?,
        };
        let granted = Granted { id: lease.id(), until: lease.deadline() };
        self.next = Instant::now() + lease.beat();
        self.lease = Some(lease);
        Ok(granted)
    }

    async fn end(&mut self) {
        if let Some(lease) = self.lease.take()
            && let Err(error) = lease.revoke().await
        {
            tracing::warn!("the lease ends by itself: {error}");
        }
    }

    async fn beat(&mut self) {
        let Some(mut lease) = self.lease.take() else { return };
        let silent = boot_time().since(Time::from_nanos(self.signs.round.load(Ordering::Relaxed)));
        self.next = Instant::now() + lease.beat();
        if silent > lease.ttl() {
            tracing::error!("the role has stood still for {} ms: the lease is not kept alive", silent.as_millis());
            self.lease = Some(lease);
            return;
        }
        match lease.keep_alive().await {
            Ok(until) => {
                self.fence_until(until);
                // Without room for it the loop knows an earlier end of the lease than is true; the next beat mends that.
                let _ = self.inputs.try_send(Input::Lease { until });
            }
            Err(store::Error::LeaseEnded) => {
                tracing::warn!("the lease has ended");
                let _ = self.inputs.send(Input::LeaseEnded).await;
                return;
            }
            Err(error) => {
                tracing::warn!("the lease could not be kept alive: {error}");
                self.next = Instant::now() + AGAIN;
            }
        }
        self.lease = Some(lease);
    }

    /// Not waited for: a supervisor that does not answer must not cost the office.
    fn fence_until(&mut self, until: Time) {
        let busy = self.fencing.as_ref().is_some_and(|before| !before.is_finished());
        if busy || !self.signs.open.load(Ordering::Relaxed) {
            return;
        }
        let until = Time::from_nanos(until.as_nanos().saturating_sub(self.margin.as_nanos() as u64));
        let (fence, signs) = (Arc::clone(&self.fence), Arc::clone(&self.signs));
        self.fencing = Some(spawn_blocking(move || hold(&fence, &signs, until)));
    }
}

fn hold(fence: &Fence, signs: &Signs, until: Time) {
    // It may have been closed, and freed, since.
    if !signs.open.load(Ordering::Relaxed) {
        return;
    }
    match fence.hold(until) {
        Ok(Answer::Late) => tracing::warn!("the fence was told too late that the lease goes on"),
        Ok(_) => {}
        Err(error) => tracing::debug!("the fence cannot be told that the lease goes on: {error}"),
    }
}
