//! What a balancer says of its floating addresses, and what may be wished of it (`POST /v1/vip`).

use std::net::IpAddr;

use mainstay_machines::vrrp::{Fitness, Reason, State};
use serde::{Deserialize, Serialize};

/// What is wished. Each is answered by a [`View`]; what was begun may take some intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Nothing: how is it?
    Look,
    /// Hand every address over to whoever takes it, and take none.
    Yield,
    /// Take part again.
    Return,
}

/// How a balancer stands to the floating addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// How fit it is; `None`: not known yet.
    pub fitness: Option<Fitness>,
    /// It was asked to hand over, and to keep out.
    pub away: bool,
    /// Every floating address.
    pub routers: Vec<Router>,
}

/// One floating address, as one balancer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// The address.
    pub address: IpAddr,
    /// What the balancer is to it.
    pub state: State,
    /// Who holds it, by his own address, as far as is known.
    pub master: Option<IpAddr>,
    /// What the balancer's adverts say, or would.
    pub priority: u8,
    /// Why it is in this state.
    pub because: Reason,
}
