//! Looking at every server, again and again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mainstay_site::model::Site;
use mainstay_site::names::ServerName;
use mainstay_site::wire::{ServerStatus, State};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::rates::Rates;
use super::{Overview, Sight};
use crate::clock::unix_ms;
use crate::control::Client;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// How long a server may take to answer: it answers from memory, so one that takes longer hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A server to look at.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its name.
    pub server: ServerName,
    /// Its control socket.
    pub socket: PathBuf,
}

/// Looks at the servers of a site.
pub struct Observer {
    site: Arc<Site>,
    watched: Vec<Watched>,
    rates: Rates,
    /// When each server answered last.
    answered: BTreeMap<ServerName, u64>,
}

impl Observer {
    /// Nothing is asked yet.
    pub fn new(site: Arc<Site>, watched: Vec<Watched>) -> Observer {
        Observer { site, watched, rates: Rates::default(), answered: BTreeMap::new() }
    }

    /// Looks once a second and swaps what it sees into `latest`, until the future is dropped.
    pub async fn watch(mut self, latest: Arc<ArcSwap<Overview>>) {
        let mut clock = interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            latest.store(Arc::new(self.look().await));
        }
    }

    /// Asks every server at once.
    pub async fn look(&mut self) -> Overview {
        let mut asked = JoinSet::new();
        for Watched { server, socket } in self.watched.clone() {
            asked.spawn(async move { (server, ask(socket).await) });
        }
        let mut answers: BTreeMap<ServerName, Result<ServerStatus, String>> =
            asked.join_all().await.into_iter().collect();
        let (site, now) = (Arc::clone(&self.site), unix_ms());
        let sights = site.servers.iter().map(|server| {
            let answer = answers.remove(&server.name).unwrap_or_else(|| Err("is not watched".into()));
            self.sight(server, answer, now)
        });
        Overview::new(&site, now, sights.collect())
    }

    fn sight(
        &mut self,
        server: &mainstay_site::model::Server,
        answer: Result<ServerStatus, String>,
        now: u64,
    ) -> Sight {
        let mut sight = Sight {
            server: server.name.clone(),
            address: server.address,
            roles: server.roles.clone(),
            state: State::Starting,
            because: String::new(),
            requests_per_second: BTreeMap::new(),
            status: None,
        };
        match answer {
            Ok(status) => {
                self.answered.insert(server.name.clone(), now);
                (sight.state, sight.because) = Sight::judge(&status);
                sight.requests_per_second = self.rates.note(now, &status);
                sight.status = Some(status);
            }
            Err(error) if self.answered.contains_key(&server.name) => {
                (sight.state, sight.because) = (State::Failed, error);
            }
            Err(error) => sight.because = format!("has not answered yet: {error}"),
        }
        sight
    }
}

async fn ask(socket: PathBuf) -> Result<ServerStatus, String> {
    match timeout(ANSWER_WITHIN, Client::new(&socket).status()).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}
