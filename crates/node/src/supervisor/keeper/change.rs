//! How a running service becomes what is wanted: it is told and follows, a successor takes over beside it, or it ends first.
//!
//! Balancer and web server lose nothing on the first two ways. A process that follows keeps its connections, and what it
//! knows of its backends. A successor accepts on the same sockets; only when it serves is the one before asked to end, which
//! then answers what it has. If no successor comes up, the one before goes on.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use mainstay_site::plan::{Config, Service};
use mainstay_site::wire::Refusal;
use rustix::net::sockopt::socket_peercred;
use tokio::time::sleep;

use super::super::health::{Health, Verdict};
use super::super::run::{self, PIDFD_KEPT_AS, Run};
use super::wait::{self, Wait};
use super::{Exit, Keeper, Phase, end};
use crate::service::Launch;
use crate::unix_http;

/// How long a service may take to follow: it opens folders and certificates, in milliseconds.
const FOLLOW_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks at a successor.
const LOOK: Duration = Duration::from_millis(20);

/// What becomes of a service that is wanted otherwise.
pub(super) enum Way {
    /// It is what is wanted, or goes on as it was, and why is known.
    Follows,
    /// A successor is to be started beside it.
    Beside,
    /// It is to end first.
    Anew,
}

/// Whether the service may be able to follow another launch, and shares its sockets with a successor in peace: it has
/// nothing that only one process may have.
pub(super) fn may_follow(service: &Service) -> bool {
    matches!(service.config, Config::Balancer(_) | Config::Web(_))
}

/// Whether a successor may stand beside it. An application's has workers of its own, and takes requests when one of them
/// is well: a release that does not work is never asked.
fn may_have_successor(service: &Service) -> bool {
    may_follow(service) || matches!(service.config, Config::App(_))
}

/// What became of a successor.
enum Ready {
    Yes,
    /// It runs and does not serve.
    No(String),
    Ended(Exit),
    /// The one before has ended meanwhile.
    Alone(Exit),
    /// Something else is wanted meanwhile.
    Unwanted,
}

/// What a service said to its new launch.
enum Answer {
    Follows,
    Restart(String),
    Unusable(String),
}

impl Keeper {
    /// Has the running process do what is wanted, if it can.
    pub(super) async fn change(&mut self, run: &mut Run) -> Way {
        let wanted = self.wanted.borrow_and_update().clone();
        let Some(service) = wanted.service.filter(|service| may_have_successor(service)) else { return Way::Anew };
        if matches!(service.config, Config::App(_)) {
            let again = wanted.restarts != self.restarts_asked;
            return if *service == run.record.service && !again { self.stays(service) } else { Way::Beside };
        }
        // What another program made of it could not be trusted: it passes over what it does not know.
        if wanted.restarts != self.restarts_asked || !may_follow(&run.record.service) || self.other_build {
            return Way::Beside;
        }
        self.generation = wanted.generation;
        let answer = match self
            .house
            .make_folders(&service)
            .and_then(|()| run::launch(&self.house, &service, wanted.generation))
        {
            Ok(launch) => self.offer(run, launch).await,
            Err(obstacle) => Answer::Unusable(obstacle.to_string()),
        };
        match answer {
            Answer::Follows => self.declined = None,
            Answer::Unusable(because) => self.decline(because),
            // Nothing but the generation's number, which is not worth a restart, or other secrets.
            Answer::Restart(_) if *service == run.record.service && !self.has_other_secrets(run) => {
                self.declined = None
            }
            Answer::Restart(because) => {
                tracing::info!("{} is replaced by a new process: {because}", service.name);
                return Way::Beside;
            }
        }
        self.service = service;
        Way::Follows
    }

    /// It is wanted as it is again, after something that could not be had.
    fn stays(&mut self, service: Arc<Service>) -> Way {
        (self.service, self.declined) = (service, None);
        Way::Follows
    }

    fn decline(&mut self, because: String) {
        tracing::error!("{} goes on as it was, since it cannot be changed: {because}", self.service.name);
        self.declined = Some(because);
    }

    async fn offer(&self, run: &mut Run, launch: Launch) -> Answer {
        let socket = self.house.report_socket(&launch.service);
        let Ok(text) = serde_json::to_vec(&launch) else {
            return Answer::Restart("its launch cannot be written".into());
        };
        match unix_http::ask(&socket, Method::PUT, "/v1/launch", text, FOLLOW_WITHIN).await {
            Ok((StatusCode::NO_CONTENT, _)) => {
                tracing::info!(generation = launch.generation.0, "{} follows without a restart", launch.service.name);
                run.follows(launch, &self.house.notify);
                Answer::Follows
            }
            Ok((status, body)) => {
                let because = serde_json::from_slice(&body).map_or_else(|_| status.to_string(), |it: Refusal| it.error);
                if status == StatusCode::UNPROCESSABLE_ENTITY {
                    Answer::Unusable(because)
                } else {
                    Answer::Restart(because)
                }
            }
            Err(error) => Answer::Restart(error.to_string()),
        }
    }

    /// ## Running => (Running | Start)
    pub(super) async fn hand_over(&mut self, before: Box<Run>) -> Phase {
        let wanted = self.wanted.borrow_and_update().clone();
        // Meanwhile it may be wanted no more.
        let Some(service) = wanted.service else { return self.stop(&before).await };
        (self.restarts_asked, self.generation, self.declined) = (wanted.restarts, wanted.generation, None);
        let aside = Aside::put(&self.house.report_socket(&self.service), &before);
        self.secrets = self.house.secrets_stamp();
        let next = Run::start_beside(&self.house, &service, wanted.generation, &self.post.journal, self.restarts);
        self.service = service;
        let because = match next {
            Err(obstacle) => Some(obstacle.to_string()),
            Ok(next) => {
                let ready = self.until_ready(&next, &before, &aside).await;
                self.post.preparing.store(None);
                match ready {
                    Ready::Yes => {
                        tracing::info!(pid = next.process.pid(), "{} is a new process", self.service.name);
                        self.let_go(*before);
                        return self.succeeded(next);
                    }
                    Ready::Alone(exit) => {
                        tracing::error!("{} {exit}, and its successor goes on alone", self.service.name);
                        return self.succeeded(next);
                    }
                    Ready::Ended(exit) => {
                        self.post.journal.pump();
                        let words = self.post.journal.last_words(next.log_mark).unwrap_or_default();
                        Some(format!("its successor {exit}: {words}"))
                    }
                    Ready::No(because) => {
                        self.end(&next.process).await;
                        Some(format!("its successor does not serve: {because}"))
                    }
                    Ready::Unwanted => {
                        self.end(&next.process).await;
                        None
                    }
                }
            }
        };
        before.keep(&self.house.notify);
        aside.put_back();
        if let Some(because) = because {
            self.decline(because);
        }
        Phase::Running(before)
    }

    fn succeeded(&mut self, next: Run) -> Phase {
        (self.adopted_since, self.other_build) = (None, false);
        self.backoff.forgive();
        self.backoff.started(self.house.now());
        Phase::Running(Box::new(next))
    }

    /// Waits until a successor serves, or was given time enough. Meanwhile the one before is looked at.
    async fn until_ready(&self, next: &Run, before: &Run, aside: &Aside) -> Ready {
        let socket = self.house.report_socket(&self.service);
        let health = Health::new(socket.clone(), self.house.now());
        let app = matches!(self.service.config, Config::App(_));
        tokio::select! {
            biased;
            exit = next.process.ended() => Ready::Ended(exit),
            exit = before.process.ended() => Ready::Alone(exit),
            // Others are there within seconds, and cost more to begin again.
            () = self.until_due(), if app => Ready::Unwanted,
            ready = self.asked(next, &socket, health) => ready,
            () = self.look_at(before, &aside.aside) => Ready::Unwanted,
        }
    }

    /// Publishes how the one before is, for ever.
    async fn look_at(&self, before: &Run, socket: &Path) {
        let mut health = Health::new(socket.to_owned(), self.house.now());
        loop {
            let answer = health.ask().await;
            let Verdict { state, because, report } = health.judge(self.house.now(), answer);
            let because = match self.post.preparing.load().as_deref() {
                Some(what) => format!("{because}; its successor: {what}"),
                None => because,
            };
            self.publish(state, &because, Some(before), report);
            sleep(super::LOOK).await;
        }
    }

    /// Asks a successor until it serves. An application's must have a worker; that nobody behind a proxy is well is no fault
    /// of its own.
    async fn asked(&self, next: &Run, socket: &Path, health: Health) -> Ready {
        let works = matches!(self.service.config, Config::App(_));
        let mut wait = Wait::new(works, self.house.now());
        loop {
            // The one before answers on the same path until the successor does.
            let said = if answers(socket, next.process.pid()) { health.ask().await.ok() } else { None };
            let preparing = said.as_ref().and_then(|report| report.preparing());
            self.post.preparing.store(preparing.map(|what| Arc::new(what.to_owned())));
            match wait.heard(self.house.now(), said.as_ref()) {
                wait::Verdict::Yes => return Ready::Yes,
                wait::Verdict::No(because) => return Ready::No(because),
                wait::Verdict::NotYet => sleep(LOOK).await,
            }
        }
    }

    /// Asks the process that was replaced to end, and sees to it.
    fn let_go(&self, before: Run) {
        let (house, service) = (Arc::clone(&self.house), Arc::clone(&self.service));
        // Kept, so that a supervisor that comes after this one finds it, and ends it.
        let kept_as = format!("{PIDFD_KEPT_AS}{}.{}", service.name, before.process.pid());
        house.notify.keep(&kept_as, before.process.as_fd());
        tokio::spawn(async move {
            end(&before.process, &service.name, service.role).await;
            house.notify.forget(&kept_as);
        });
    }
}

/// Whether it is the process `pid` that listens.
fn answers(socket: &Path, pid: u32) -> bool {
    let peer = UnixStream::connect(socket).ok().and_then(|stream| socket_peercred(stream).ok());
    peer.is_some_and(|peer| peer.pid.as_raw_nonzero().get().cast_unsigned() == pid)
}

/// The report socket of a process whose successor may take its place: under another name, for as long as both run.
struct Aside {
    place: PathBuf,
    aside: PathBuf,
}

impl Aside {
    fn put(place: &Path, run: &Run) -> Aside {
        let aside = place.with_added_extension(run.process.pid().to_string());
        // Should it fail, and the successor too, the one before goes on with nobody to ask it.
        let _ = std::fs::rename(place, &aside);
        Aside { place: place.to_owned(), aside }
    }

    fn put_back(self) {
        let _ = std::fs::rename(&self.aside, &self.place);
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.aside);
    }
}
