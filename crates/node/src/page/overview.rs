//! Everything that is known of a site at one moment.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mainstay_site::model::{FORMAT, Site};
use mainstay_site::names::{Domain, Role, ServerName, ServiceName};
use mainstay_site::wire::{ServerStatus, State};
use serde::{Deserialize, Serialize};

/// The site at one moment; what `status --json` and `/status.json` print.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// [`FORMAT`].
    pub format: u32,
    /// The site.
    pub site: Domain,
    /// When this was seen: Unix time in milliseconds.
    pub at_ms: u64,
    /// How the site is as a whole: serving if everything is; degraded if something is not but every tier has a server
    /// that serves; else what the best server of the worst tier is.
    pub state: State,
    /// Why.
    pub because: String,
    /// In the order of the declaration.
    pub servers: Vec<Sight>,
}

/// One server as it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// Its name.
    pub server: ServerName,
    /// Its address.
    pub address: IpAddr,
    /// What it is for.
    pub roles: Vec<Role>,
    /// Its worst service's state; if it does not answer: starting if it never has, else failed.
    pub state: State,
    /// Why.
    pub because: String,
    /// Requests a second over the last seconds, of each service that counts them.
    pub requests_per_second: BTreeMap<ServiceName, f64>,
    /// What it says of itself; `None` if it does not answer.
    pub status: Option<ServerStatus>,
}

impl Overview {
    /// Puts together what was seen.
    pub fn new(site: &Site, at_ms: u64, servers: Vec<Sight>) -> Overview {
        let (state, because) = whole(site, &servers);
        Overview { format: FORMAT, site: site.domain.clone(), at_ms, state, because, servers }
    }

    /// Nothing was seen yet.
    pub fn unseen(site: &Site, at_ms: u64) -> Overview {
        let servers = site.servers.iter().map(|server| Sight {
            server: server.name.clone(),
            address: server.address,
            roles: server.roles.clone(),
            state: State::Starting,
            because: "has not answered yet".into(),
            requests_per_second: BTreeMap::new(),
            status: None,
        });
        Overview::new(site, at_ms, servers.collect())
    }

    /// Requests a second at the front door.
    pub fn requests_per_second(&self, site: &Site) -> f64 {
        let front = ServiceName::from(site.front().as_str());
        self.servers.iter().filter_map(|sight| sight.requests_per_second.get(&front)).sum()
    }
}

impl Sight {
    /// Requests a second: of the service that got most, since one request passes several services of a server.
    pub fn busiest(&self) -> Option<f64> {
        self.requests_per_second.values().copied().reduce(f64::max)
    }

    /// What a server's answer says of its state: the worst of its services, and of several the first, for which the
    /// others may only wait.
    pub fn judge(status: &ServerStatus) -> (State, String) {
        let Some(worst) = status.services.iter().rev().max_by_key(|service| service.state) else {
            return (State::Serving, "has nothing to run".into());
        };
        match worst.state {
            State::Serving => (State::Serving, "every service serves".into()),
            state => (state, format!("{}: {}", worst.name, worst.because)),
        }
    }

    /// The best state among its services of `role`.
    fn best(&self, role: Role) -> State {
        let services = self.status.iter().flat_map(|status| &status.services);
        let best = services.filter(|service| service.role == role).map(|service| service.state).min();
        best.unwrap_or(if self.state == State::Serving { State::Failed } else { self.state })
    }
}

/// The roles whose services this build runs, from the visitor inwards; a site needs one server of each that it declares.
const TIERS: [Role; 5] = [Role::Dns, Role::Balancer, Role::Web, Role::App, Role::Database];

fn whole(site: &Site, servers: &[Sight]) -> (State, String) {
    let usable = |state: State| matches!(state, State::Serving | State::Degraded);
    let missing = TIERS.into_iter().filter(|role| site.count(*role) > 0).filter_map(|role| {
        let tier = servers.iter().filter(|sight| sight.roles.contains(&role));
        let best = tier.map(|sight| sight.best(role)).min()?;
        (!usable(best)).then_some((role, best))
    });
    // The worst, and of several the innermost, for which the others may only wait.
    if let Some((role, best)) = missing.max_by_key(|(_, best)| *best) {
        return (best, format!("no server serves {role}"));
    }
    match servers.iter().filter(|sight| sight.state != State::Serving).count() {
        0 => (State::Serving, "every service of every server serves".into()),
        _ => {
            let not = servers.iter().filter(|sight| sight.state != State::Serving);
            let names: Vec<String> = not.map(|sight| format!("{} is {}", sight.server, sight.state.as_str())).collect();
            (State::Degraded, names.join(", "))
        }
    }
}
