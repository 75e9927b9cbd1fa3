//! Drives one worker: carries out what its [`Slot`] decides.

use std::future::{Future, pending};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Instant;

use mainstay_http::Address;
use mainstay_machines::Time;
use mainstay_site::model::{AppKind, Speaks};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::board::{Board, Seen};
use super::command::{Places, Start, start};
use super::environment::{self, Environment};
use super::health::{Protocol, Question};
use super::process::{Running, not_started};
use super::slot::{Input, Output, Phase, Slot};

/// What every worker of the service has in common.
pub(super) struct Crew {
    /// How the codebase is run.
    pub kind: AppKind,
    /// The release's code: the working directory.
    pub code: PathBuf,
    /// The release's Python environment.
    pub venv: Option<PathBuf>,
    /// The service's folder for sockets.
    pub run: PathBuf,
    /// The common environment.
    pub environment: Environment,
    /// The declared health path.
    pub health: String,
    /// The site's domain.
    pub host: String,
}

impl Crew {
    /// The socket of worker `number`.
    pub fn socket(&self, number: usize) -> PathBuf {
        self.run.join(format!("w{number}.sock"))
    }

    fn protocol(&self) -> Protocol {
        match self.kind {
            AppKind::Php { .. } => Protocol::FastCgi,
            AppKind::Http { speaks: Speaks::Http2, .. } => {
                Protocol::Http2 { path: self.health.clone(), host: self.host.clone() }
            }
            _ => Protocol::Http { path: self.health.clone(), host: self.host.clone() },
        }
    }

    /// Whether a worker can answer a question while it works on a request.
    fn answers_while_working(&self) -> bool {
        !matches!(self.kind, AppKind::Php { .. })
    }
}

type Answer = Pin<Box<dyn Future<Output = (u32, Result<Address, String>)>>>;

/// One worker with its process.
pub(super) struct Worker<'a> {
    number: usize,
    crew: &'a Crew,
    board: &'a Board,
    origin: Instant,
    slot: Slot,
    running: Option<Running>,
    question: Option<Question>,
    answer: Option<Answer>,
}

impl<'a> Worker<'a> {
    /// Worker `number`, to be started at once.
    pub fn new(number: usize, crew: &'a Crew, board: &'a Board) -> Worker<'a> {
        let slot = Slot::new(crew.answers_while_working(), Time::ZERO);
        Worker { number, crew, board, origin: Instant::now(), slot, running: None, question: None, answer: None }
    }

    /// Keeps the worker running until `stop` is `true` and its process has ended.
    pub async fn drive(mut self, mut stop: watch::Receiver<bool>) {
        let mut input = Input::Tick;
        loop {
            self.take(input);
            if *self.slot.phase() == Phase::Stopped {
                return;
            }
            input = self.next(&mut stop).await;
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    fn take(&mut self, input: Input) {
        self.slot.handle(self.now(), input);
        while let Some(output) = self.slot.poll() {
            if let Some(input) = self.act(output) {
                self.slot.handle(self.now(), input);
            }
        }
        self.show();
    }

    async fn next(&mut self, stop: &mut watch::Receiver<bool>) -> Input {
        let stopping = self.slot.phase() == &Phase::Stopping;
        let deadline = wake_at(self.origin, self.slot.deadline());
        tokio::select! {
            (because, ()) = ended(&mut self.running) => {
                self.running = None;
                self.answer = None;
                Input::Exited(because)
            }
            (life, answer) = answered(&mut self.answer) => {
                self.answer = None;
                self.heard(life, answer)
            }
            () = self.board.stuck(self.number) => Input::Stuck,
            Ok(_) = stop.wait_for(|stop| *stop), if !stopping => Input::Stop,
            () = deadline => Input::Tick,
        }
    }

    fn heard(&mut self, life: u32, answer: Result<Address, String>) -> Input {
        match answer {
            Ok(address) => {
                self.board.answered_at(self.number, address);
                Input::Answered(life)
            }
            Err(because) => Input::Silent(life, because),
        }
    }

    fn act(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Spawn => return Some(self.spawn()),
            Output::Ask(life) => self.ask(life),
            Output::Terminate => self.signal(Signal::TERM),
            Output::Kill => self.signal(Signal::KILL),
        }
        None
    }

    fn spawn(&mut self) -> Input {
        let socket = self.crew.socket(self.number);
        // A killed worker leaves its socket file, and a second bind(2) would fail.
        let _ = std::fs::remove_file(&socket);
        let tcp = matches!(self.crew.kind, AppKind::Http { .. }).then(free_port).flatten();
        let (start, environment) = self.command(&socket, tcp);
        self.question = Some(Question {
            addresses: std::iter::once(Address::Unix(socket)).chain(tcp.map(Address::Tcp)).collect(),
            protocol: self.crew.protocol(),
        });
        match Running::start(&start, &self.crew.code, &environment, format!("worker {}", self.number)) {
            Ok(running) => {
                let pid = running.pid();
                self.running = Some(running);
                Input::Spawned(pid)
            }
            Err(error) => Input::NotSpawned(not_started(&start, &self.crew.code, &error)),
        }
    }

    fn command(&self, socket: &std::path::Path, tcp: Option<SocketAddr>) -> (Start, Environment) {
        let places = Places { venv: self.crew.venv.as_deref(), run: &self.crew.run, socket };
        let name = self.crew.run.join(format!("w{}", self.number));
        let environment = environment::worker(&self.crew.environment, socket, tcp, &name);
        (start(&self.crew.kind, &places), environment)
    }

    fn ask(&mut self, life: u32) {
        if let Some(question) = self.question.clone() {
            self.answer = Some(Box::pin(async move { (life, question.ask().await) }));
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            running.signal(signal);
        }
    }

    fn show(&self) {
        self.board.show(
            self.number,
            Seen {
                phase: self.slot.phase().clone(),
                because: self.slot.because().to_owned(),
                age: self.now().since(self.slot.entered()),
                pid: self.running.as_ref().map(Running::pid),
                starts: self.slot.starts(),
            },
        );
    }
}

async fn ended(running: &mut Option<Running>) -> (String, ()) {
    match running {
        Some(running) => (running.ended().await.1, ()),
        None => pending().await,
    }
}

async fn answered(answer: &mut Option<Answer>) -> (u32, Result<Address, String>) {
    match answer {
        Some(answer) => answer.await,
        None => pending().await,
    }
}

async fn wake_at(origin: Instant, deadline: Time) {
    match deadline {
        Time::NEVER => pending().await,
        deadline => sleep_until((origin + deadline.since(Time::ZERO)).into()).await,
    }
}

/// A port on the loopback that is free now. Another process may take it first; the worker then fails to bind, and the
/// next start tries another.
fn free_port() -> Option<SocketAddr> {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    socket.local_addr().ok()
}
