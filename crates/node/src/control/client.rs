//! The other end: what the command line, the status page and the lab ask with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use mainstay_site::names::{Generation, ServiceName};
use mainstay_site::plan::Plan;
use mainstay_site::wire::rollout::{self, Proposal, Record, Summary};
use mainstay_site::wire::upkeep::{Ask, Told};
use mainstay_site::wire::vip::{self, Wish};
use mainstay_site::wire::{Purge, Purged, Refusal, ServerStatus};

use serde::de::DeserializeOwned;

use crate::unix_http;

/// How long an answer may take: the supervisor answers from memory; more means that it hangs.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a plan may take: it waits for services that it no longer has to end, a database among them (60 s).
const ANSWER_PLAN: Duration = Duration::from_secs(90);

/// How long what asks the store several times may take: each question has a second.
const ANSWER_STORE: Duration = Duration::from_secs(30);

/// How long an upgrade may take to begin: the new program is tried first.
const ANSWER_UPGRADE: Duration = Duration::from_secs(10);

/// Why there is no answer, or not the one asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no supervisor, or we may not reach it.
    #[error("no supervisor answers on {}: {source}", path.display())]
    Unreachable {
        /// The control socket.
        path: PathBuf,
        /// Why.
        source: unix_http::Error,
    },
    /// It refuses, and says why.
    #[error("{}{}", .0.error, .0.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    Refused(Refusal),
    /// It answers something else than this version expects.
    #[error("the supervisor on {} answers {status} {what}: it is of another version", path.display())]
    Foreign {
        /// The control socket.
        path: PathBuf,
        /// The HTTP status.
        status: u16,
        /// What cannot be read.
        what: String,
    },
}

/// Asks the supervisor behind a control socket. Every call is a connection of its own, within a deadline.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// For the supervisor of the state directory `state`, or behind the socket itself.
    pub fn new(path: impl AsRef<Path>) -> Client {
        let path = path.as_ref();
        Client { path: if path.is_dir() { path.join("control.sock") } else { path.to_owned() } }
    }

    /// How the server and its services are.
    ///
    /// # Errors
    /// If there is no supervisor.
    pub async fn status(&self) -> Result<ServerStatus, Error> {
        let body = self.ask(Method::GET, "/v1/status", Vec::new(), ANSWER).await?;
        serde_json::from_slice(&body).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))
    }

    /// The last lines of a service's log.
    ///
    /// # Errors
    /// If there is no supervisor, or no such service.
    pub async fn logs(&self, service: &ServiceName, lines: usize) -> Result<String, Error> {
        let path = format!("/v1/logs/{service}?lines={lines}");
        let body = self.ask(Method::GET, &path, Vec::new(), ANSWER).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Puts another plan in force.
    ///
    /// # Errors
    /// If there is no supervisor, or it refuses the plan; the one before is then still in force.
    pub async fn put_plan(&self, plan: &Plan) -> Result<(), Error> {
        let text = serde_json::to_vec(plan).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))?;
        self.ask(Method::PUT, "/v1/plan", text, ANSWER_PLAN).await.map(drop)
    }

    /// How far the site's servers follow its generations, as far as this one knows.
    ///
    /// # Errors
    /// If there is no supervisor.
    pub async fn rollout(&self) -> Result<rollout::View, Error> {
        self.json(Method::GET, "/v1/rollout", Vec::new(), ANSWER).await
    }

    /// The last generations, newest first.
    ///
    /// # Errors
    /// If there is no supervisor, or it cannot ask the store.
    pub async fn generations(&self) -> Result<Vec<Summary>, Error> {
        self.json(Method::GET, "/v1/generations", Vec::new(), ANSWER_STORE).await
    }

    /// A generation.
    ///
    /// # Errors
    /// If there is no supervisor, it cannot ask the store, or the store does not keep it.
    pub async fn generation(&self, generation: Generation) -> Result<Record, Error> {
        self.json(Method::GET, &format!("/v1/generations/{generation}"), Vec::new(), ANSWER).await
    }

    /// Makes a generation the one that is to be followed.
    ///
    /// # Errors
    /// If there is no supervisor, it cannot ask the store, or another generation came first.
    pub async fn propose(&self, proposal: &Proposal) -> Result<(), Error> {
        let text = serde_json::to_vec(proposal).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))?;
        self.ask(Method::PUT, "/v1/generation", text, ANSWER_STORE).await.map(drop)
    }

    /// Has this server follow a generation now: where servers have no common store.
    ///
    /// # Errors
    /// If there is no supervisor.
    pub async fn turn(&self, generation: Generation) -> Result<(), Error> {
        self.ask(Method::POST, &format!("/v1/turn/{generation}"), Vec::new(), ANSWER).await.map(drop)
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<T, Error> {
        let body = self.ask(method, path, body, deadline).await?;
        serde_json::from_slice(&body).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))
    }

    /// Starts a service again.
    ///
    /// # Errors
    /// If there is no supervisor, or no such service.
    pub async fn restart(&self, service: &ServiceName) -> Result<(), Error> {
        self.ask(Method::POST, &format!("/v1/restart/{service}"), Vec::new(), ANSWER).await.map(drop)
    }

    /// Has the server run the program that its file holds now; it has when another supervisor answers.
    ///
    /// # Errors
    /// If there is no supervisor, or it refuses: the program does not run, or nobody would keep the sockets meanwhile.
    pub async fn upgrade(&self) -> Result<(), Error> {
        self.ask(Method::POST, "/v1/upgrade", Vec::new(), ANSWER_UPGRADE).await.map(drop)
    }

    /// Takes answers out of the caches of the server's services; what each took out.
    ///
    /// # Errors
    /// If there is no supervisor, or a service with a cache does not answer.
    pub async fn purge(&self, purge: &Purge) -> Result<Vec<Purged>, Error> {
        let text = serde_json::to_vec(purge).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))?;
        let body = self.ask(Method::POST, "/v1/purge", text, ANSWER).await?;
        serde_json::from_slice(&body).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))
    }

    /// Asks the server's database, or gives it an order.
    ///
    /// # Errors
    /// If there is no supervisor, no database, or it refuses.
    pub async fn ask_database(&self, ask: &Ask) -> Result<Told, Error> {
        let text = serde_json::to_vec(ask).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))?;
        let body = self.ask(Method::POST, "/v1/database", text, ANSWER).await?;
        serde_json::from_slice(&body).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))
    }

    /// Wishes something of who speaks for the floating addresses there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn wish_of_vip(&self, wish: Wish) -> Result<vip::View, Error> {
        let text = serde_json::to_vec(&wish).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))?;
        let body = self.ask(Method::POST, "/v1/vip", text, ANSWER).await?;
        serde_json::from_slice(&body).map_err(|error| self.foreign(StatusCode::OK, &error.to_string()))
    }

    /// Asks the server to stop; it has stopped when nobody answers any more.
    ///
    /// # Errors
    /// If there is no supervisor, or it is stopping already.
    pub async fn stop(&self) -> Result<(), Error> {
        self.ask(Method::POST, "/v1/stop", Vec::new(), ANSWER).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>, deadline: Duration) -> Result<Bytes, Error> {
        let answer = unix_http::ask(&self.path, method, path, body, deadline).await;
        let (status, body) = answer.map_err(|source| Error::Unreachable { path: self.path.clone(), source })?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice(&body) {
            Ok(refusal) => Err(Error::Refused(refusal)),
            Err(_) => Err(self.foreign(status, &String::from_utf8_lossy(&body))),
        }
    }

    fn foreign(&self, status: StatusCode, what: &str) -> Error {
        Error::Foreign { path: self.path.clone(), status: status.as_u16(), what: what.to_owned() }
    }
}
