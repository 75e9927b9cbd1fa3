//! What the control channel sees of the services, and how it gives orders: snapshots that are swapped whole, and one
//! queue to the desk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use mainstay_site::model::FORMAT;
use mainstay_site::names::{Domain, Generation, Role, ServerName, ServiceName};
use mainstay_site::plan::{Notice, Plan, Service};
use mainstay_site::wire::{Refusal, ServerStatus, ServiceStatus, rollout};
use tokio::sync::{mpsc, oneshot};

use super::journal::Journal;
use super::rollout::Books;

/// Orders that wait for the desk. Each is carried out in milliseconds; more than these at once means that somebody
/// runs wild, and they are told so.
const ORDERS_MAX: usize = 16;

/// Where a keeper publishes how its service is.
pub(super) struct Post {
    pub(super) name: ServiceName,
    pub(super) status: ArcSwap<ServiceStatus>,
    pub(super) journal: Arc<Journal>,
    /// What its process runs, as of the status or earlier; `None` while there is none.
    pub(super) runs: ArcSwapOption<Service>,
    /// What it was to be and cannot become.
    pub(super) declined: ArcSwapOption<Service>,
    /// What its successor is at, which may take long (`wire::PREPARING`).
    pub(super) preparing: ArcSwapOption<String>,
}

/// What changes with the plan.
pub(super) struct InForce {
    pub(super) plan: Arc<Plan>,
    /// What of it cannot be had here.
    pub(super) lacking: Option<Notice>,
    pub(super) posts: Vec<Arc<Post>>,
}

/// What stays for the life of a supervisor.
pub(super) struct View {
    pub(super) site: Domain,
    pub(super) server: ServerName,
    /// The state directory.
    pub(super) state: PathBuf,
    pub(super) since_ms: u64,
    pub(super) in_force: ArcSwap<InForce>,
    pub(super) stopping: AtomicBool,
    pub(super) upgrading: AtomicBool,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A newer plan is in force.
    Stale(Refusal),
    /// It cannot be done.
    Invalid(Refusal),
    /// There is no such service.
    Unknown(Refusal),
    /// Not now.
    Busy(Refusal),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Refused::Stale(it) | Refused::Invalid(it) | Refused::Unknown(it) | Refused::Busy(it)) = self;
        f.write_str(&it.error)?;
        it.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// Where the answer to an order goes.
pub(super) type Reply = oneshot::Sender<Result<(), Refused>>;

/// What the desk is asked to do.
pub(super) enum Order {
    Plan(Box<Plan>, Reply),
    Restart(ServiceName, Reply),
    Upgrade(Reply),
    Stop(Reply),
}

/// A way to look at a supervisor and to give it orders, for the control channel.
#[derive(Clone)]
pub struct Handle {
    view: Arc<View>,
    orders: mpsc::Sender<Order>,
    books: Arc<Books>,
}

impl Handle {
    pub(super) fn new(view: Arc<View>, books: Arc<Books>) -> (Handle, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(ORDERS_MAX);
        (Handle { view, orders, books }, receiver)
    }

    /// What is in force.
    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.view.in_force.load_full()
    }

    /// The plan in force.
    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.view.in_force.load().plan)
    }

    /// How far the site's servers follow its generations.
    pub async fn rollout(&self) -> rollout::View {
        self.books.view().await
    }

    /// The last generations, newest first.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub async fn generations(&self) -> Result<Vec<rollout::Summary>, Refused> {
        self.books.history().await
    }

    /// A generation.
    ///
    /// # Errors
    /// If the store cannot be asked, or does not keep it.
    pub async fn generation(&self, generation: Generation) -> Result<rollout::Record, Refused> {
        self.books.record(generation).await
    }

    /// Makes a generation the one that is to be followed.
    ///
    /// # Errors
    /// If the store cannot be asked, or another generation came first.
    pub async fn propose(&self, proposal: &rollout::Proposal) -> Result<(), Refused> {
        self.books.propose(proposal).await
    }

    /// Has this server follow a generation now.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub async fn turn(&self, generation: Generation) -> Result<(), Refused> {
        self.books.turn(generation).await
    }

    /// How the server and its services are.
    pub fn status(&self) -> ServerStatus {
        let in_force = self.view.in_force.load();
        ServerStatus {
            format: FORMAT,
            site: self.view.site.clone(),
            server: self.view.server.clone(),
            generation: in_force.plan.generation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since_ms: self.view.since_ms,
            upgrading: self.view.upgrading.load(Ordering::SeqCst),
            services: in_force.posts.iter().map(|post| ServiceStatus::clone(&post.status.load())).collect(),
            notices: in_force.plan.notices.iter().chain(&in_force.lacking).cloned().collect(),
        }
    }

    /// The last lines of a service's log.
    ///
    /// # Errors
    /// If there is no such service.
    pub fn logs(&self, service: &ServiceName, lines: usize) -> Result<String, Refused> {
        let in_force = self.view.in_force.load();
        let post = in_force.posts.iter().find(|post| post.name == *service);
        let post = post.ok_or_else(|| unknown(service, in_force.posts.iter().map(|post| &post.name)))?;
        Ok(post.journal.last_lines(lines))
    }

    /// The services whose role is one of these.
    pub(super) fn services(&self, is: impl Fn(Role) -> bool) -> Vec<ServiceName> {
        let in_force = self.view.in_force.load();
        let posts = in_force.posts.iter().filter(|post| is(post.status.load().role));
        posts.map(|post| post.name.clone()).collect()
    }

    /// Where a service answers.
    pub(super) fn report_socket(&self, service: &ServiceName) -> PathBuf {
        super::house::report_socket(&self.view.state, service)
    }

    /// Puts another plan in force.
    ///
    /// # Errors
    /// If it is stale, for somebody else, or its sockets cannot be bound; the old plan is then still in force.
    pub async fn put_plan(&self, plan: Plan) -> Result<(), Refused> {
        self.order(|reply| Order::Plan(Box::new(plan), reply)).await
    }

    /// Starts a service again, also one that waits to be started after a crash.
    ///
    /// # Errors
    /// If there is no such service.
    pub async fn restart(&self, service: ServiceName) -> Result<(), Refused> {
        self.order(|reply| Order::Restart(service, reply)).await
    }

    /// Replaces the supervisor and then its services by the program that its file holds now. Returns when that has begun.
    ///
    /// # Errors
    /// If that program does not run, or nobody would keep the sockets meanwhile.
    pub async fn upgrade(&self) -> Result<(), Refused> {
        self.order(Order::Upgrade).await
    }

    /// Stops every service in reverse order, then the supervisor. Returns when that has begun.
    ///
    /// # Errors
    /// If it is under way already.
    pub async fn stop(&self) -> Result<(), Refused> {
        self.order(Order::Stop).await
    }

    async fn order(&self, order: impl FnOnce(Reply) -> Order) -> Result<(), Refused> {
        if self.view.stopping.load(Ordering::SeqCst) {
            return Err(Refused::Busy(refusal("the server is stopping", Some("start it again first"))));
        }
        let (reply, answer) = oneshot::channel();
        let full = |_| Refused::Busy(refusal("too many orders are waiting", Some("ask again in a moment")));
        self.orders.try_send(order(reply)).map_err(full)?;
        // The desk drops what it has not answered only when it ends.
        answer.await.unwrap_or_else(|_| Err(Refused::Busy(refusal("the server is stopping", None))))
    }
}

/// An unknown service, and those that there are.
pub(super) fn unknown<'a>(service: &ServiceName, known: impl Iterator<Item = &'a ServiceName>) -> Refused {
    let known: Vec<&str> = known.map(ServiceName::as_str).collect();
    let hint = format!("it has {}", known.join(", "));
    Refused::Unknown(refusal(
        &format!("this server has no service {service:?}", service = service.as_str()),
        Some(&hint),
    ))
}

pub(super) fn refusal(error: &str, hint: Option<&str>) -> Refusal {
    Refusal { error: error.to_owned(), hint: hint.map(str::to_owned) }
}
