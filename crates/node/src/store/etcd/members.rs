//! The members of an etcd, and whom of them to ask.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use mainstay_machines::Time;
use mainstay_site::names::ServerName;
use mainstay_site::secrets::KeyPair;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock::boot_time;
use crate::store::Error;

/// Until a call must be answered, whomever of the members it takes: a lease of three seconds leaves room for two of them.
const CALL: Duration = Duration::from_secs(1);
/// Until a second member is asked what the first has not answered yet. Well members answer in 2 ms, and an election among
/// them takes longer than this whomever one asks.
const HEDGE: Duration = Duration::from_millis(150);
/// Until a member has accepted a connection.
const CONNECT: Duration = Duration::from_millis(500);
/// Who answered within this is told a transaction without being asked first how he is.
const FRESH: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Members {
    all: Vec<Arc<Member>>,
    options: ConnectOptions,
    /// Who answered last.
    preferred: AtomicUsize,
    /// When, on [`boot_time`], in nanoseconds.
    answered: AtomicU64,
}

pub(super) struct Member {
    pub(super) name: ServerName,
    address: SocketAddr,
    client: OnceCell<Client>,
}

/// Why a member did not do it.
pub(super) struct Failure {
    pub(super) error: Error,
    /// It is certain that nothing was done, and another member may do it.
    undone: bool,
}

impl Failure {
    /// Whether every member would say so.
    fn everybody(&self) -> bool {
        matches!(self.error, Error::LeaseEnded | Error::Refused(_))
    }
}

impl Members {
    pub(super) fn new(
        endpoints: &[(ServerName, SocketAddr)],
        identity: &KeyPair,
        authority: &str,
        ping: Duration,
    ) -> Members {
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(authority))
            .identity(Identity::from_pem(&identity.certificate, &identity.key));
        let options = ConnectOptions::new()
            .with_tls(tls)
            .with_connect_timeout(CONNECT)
            .with_keep_alive(ping, ping)
            .with_keep_alive_while_idle(true)
            // A member that has lost the others says so instead of waiting for them.
            .with_require_leader(true);
        let member = |(name, address): &(ServerName, SocketAddr)| {
            Arc::new(Member { name: name.clone(), address: *address, client: OnceCell::new() })
        };
        Members {
            all: endpoints.iter().map(member).collect(),
            options,
            preferred: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn member(&self, place: usize) -> &Member {
        &self.all[place]
    }

    /// Everybody, beginning with who answered last.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = (usize, &Arc<Member>)> {
        let first = self.preferred.load(Ordering::Relaxed);
        (0..self.all.len()).map(move |step| (first + step) % self.all.len()).map(|place| (place, &self.all[place]))
    }

    /// `place` has answered.
    pub(super) fn prefer(&self, place: usize) {
        self.preferred.store(place, Ordering::Relaxed);
        self.answered.store(boot_time().as_nanos(), Ordering::Relaxed);
    }

    fn is_fresh(&self) -> bool {
        boot_time().since(Time::from_nanos(self.answered.load(Ordering::Relaxed))) < FRESH
    }

    /// Connects to `member` if need be; the connection itself is made by the first call.
    pub(super) async fn client(&self, member: &Member) -> Result<Client, Failure> {
        connect(member, &self.options).await
    }

    /// Asks what may be asked twice: one member, another if that takes long or fails, and so on; the first answer counts.
    pub(super) async fn ask<T, F, A>(&self, question: F) -> Result<T, Error>
    where
        F: Fn(Client) -> A + Clone + Send + 'static,
        A: Future<Output = Result<T, etcd_client::Error>> + Send + 'static,
        T: Send + 'static,
    {
        match timeout(CALL, self.race(question)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unreachable(format!("no member of {} answered within {CALL:?}", self.names()))),
        }
    }

    async fn race<T, F, A>(&self, question: F) -> Result<T, Error>
    where
        F: Fn(Client) -> A + Clone + Send + 'static,
        A: Future<Output = Result<T, etcd_client::Error>> + Send + 'static,
        T: Send + 'static,
    {
        let mut rest = self.in_turn();
        let mut running = JoinSet::new();
        let mut failures = Vec::new();
        loop {
            if let Some((place, member)) = rest.next() {
                let (member, options, question) = (Arc::clone(member), self.options.clone(), question.clone());
                running.spawn(async move { (place, attempt(&member, &options, question).await) });
            } else if running.is_empty() {
                return Err(worst(failures));
            }
            let more = rest.size_hint().1 != Some(0);
            let answered = tokio::select! {
                answered = running.join_next(), if !running.is_empty() => answered,
                () = sleep(HEDGE), if more => continue,
            };
            match answered {
                Some(Ok((place, Ok(answer)))) => {
                    self.prefer(place);
                    return Ok(answer);
                }
                Some(Ok((_, Err(failure)))) if failure.everybody() => return Err(failure.error),
                Some(Ok((_, Err(failure)))) => failures.push(failure.error),
                Some(Err(_)) | None => {}
            }
        }
    }

    /// Tells one member what must not be done twice; another one only if it is certain that nothing was done.
    pub(super) async fn tell<T, F, A>(&self, order: F) -> Result<T, Error>
    where
        F: Fn(Client) -> A,
        A: Future<Output = Result<T, etcd_client::Error>>,
    {
        if self.all.len() > 1 && !self.is_fresh() {
            // Whoever answers this is well.
            self.ask(|mut client| async move { client.get("mainstay", None).await }).await?;
        }
        let mut failures = Vec::new();
        for (place, member) in self.in_turn() {
            let done = timeout(CALL, attempt(member, &self.options, &order)).await;
            match done {
                Ok(Ok(done)) => {
                    self.prefer(place);
                    return Ok(done);
                }
                Ok(Err(failure)) if failure.everybody() => return Err(failure.error),
                Ok(Err(failure)) if failure.undone => failures.push(failure.error),
                Ok(Err(failure)) => {
                    self.distrust(place);
                    return Err(failure.error);
                }
                Err(_) => {
                    self.distrust(place);
                    return Err(Error::Unknown(format!("{} has not answered within {CALL:?}", member.name)));
                }
            }
        }
        Err(worst(failures))
    }

    /// The next one is asked first.
    fn distrust(&self, place: usize) {
        self.preferred.store((place + 1) % self.all.len(), Ordering::Relaxed);
        self.answered.store(0, Ordering::Relaxed);
    }

    pub(super) fn names(&self) -> String {
        let named: Vec<String> =
            self.all.iter().map(|member| format!("{} ({})", member.name, member.address)).collect();
        named.join(", ")
    }
}

/// What all of them said, or the one thing that an operator must mend.
fn worst(failures: Vec<Error>) -> Error {
    let all: Vec<String> = failures.iter().map(reason).collect();
    let certificates = failures.into_iter().find(|error| matches!(error, Error::Certificates(_)));
    certificates.unwrap_or_else(|| Error::Unreachable(all.join("; ")))
}

/// Without the judgement: what was asked may be asked again.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Unknown(reason) | Error::Unreachable(reason) => reason.clone(),
        other => other.to_string(),
    }
}

async fn connect(member: &Member, options: &ConnectOptions) -> Result<Client, Failure> {
    let url = format!("https://{}", member.address);
    let client = member.client.get_or_try_init(|| Client::connect([url], Some(options.clone())));
    let unusable = |error: etcd_client::Error| Failure { error: Error::Certificates(error.to_string()), undone: true };
    client.await.cloned().map_err(unusable)
}

async fn attempt<T, F, A>(member: &Member, options: &ConnectOptions, question: F) -> Result<T, Failure>
where
    F: FnOnce(Client) -> A,
    A: Future<Output = Result<T, etcd_client::Error>>,
{
    question(connect(member, options).await?).await.map_err(|error| failure(&member.name, &error))
}

/// What an error of the client means. etcd's own words: etcd/api/v3rpc/rpctypes/error.go; `tcp connect error` is
/// hyper-util's.
pub(super) fn failure(member: &ServerName, error: &etcd_client::Error) -> Failure {
    use etcd_client::Error as Of;
    let text = told(error);
    let said = format!("{member}: {text}");
    let (error, undone) = match error {
        Of::LeaseKeepAliveError(_) | Of::GRpcStatus(_) if text.contains("lease not found") => (Error::LeaseEnded, true),
        Of::GRpcStatus(_) if text == "etcdserver: no leader" || text.contains("tcp connect error") => {
            (Error::Unreachable(said), true)
        }
        // From the handshake, before anything was sent.
        Of::GRpcStatus(_) if text.contains("invalid peer certificate") => (Error::Certificates(said), true),
        Of::GRpcStatus(status) if REFUSALS.contains(&i32::from(status.code())) => (Error::Refused(said), true),
        _ => (Error::Unknown(said), false),
    };
    Failure { error, undone }
}

/// What every member would say (the gRPC status codes INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED,
/// RESOURCE_EXHAUSTED, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED, UNAUTHENTICATED).
const REFUSALS: [i32; 9] = [3, 5, 6, 7, 8, 9, 11, 12, 16];

/// The message, and the cause beneath it that says more: "transport error" alone helps nobody.
fn told(error: &etcd_client::Error) -> String {
    let etcd_client::Error::GRpcStatus(status) = error else { return error.to_string() };
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}
