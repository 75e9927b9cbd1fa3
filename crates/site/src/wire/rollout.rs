//! The generations of a site's configuration, and how its servers follow them: keys of the store, and what the control
//! channel says.
//!
//! | key | value | lives |
//! |---|---|---|
//! | `generations/last` | a number | for ever; written with the record that it names |
//! | `generations/N/record` | [`Record`] | while it is among the last [`KEPT`] |
//! | `generations/N/plans/SERVER` | [`crate::plan::Plan`] | as long |
//! | `rollout/target` | the generation to follow | for ever |
//! | `rollout/turns/SERVER` | the generation that the server may follow now | for ever; written by the leader |
//! | `rollout/servers/SERVER` | [`Standing`] | for ever; written by that server |
//! | `rollout/present/SERVER` | nothing | by that server's lease |
//! | `rollout/leader` | a server's name | by its lease; the revision at which it was made is compared by what it writes |
//! | `rollout/outcome` | [`Outcome`] | for ever; written by the leader |
//!
//! They are in the store by which the servers agree, and where there is none, in each server's own: then the command that
//! applies gives the turns.

use serde::{Deserialize, Serialize};

use crate::model::{Codebase, Site};
use crate::names::{Generation, ServerName};
use crate::plan::Plan;

/// Everything that a rollout watches begins with this.
pub const PREFIX: &str = "rollout/";
/// The newest generation.
pub const LAST: &str = "generations/last";
/// The generation that the servers are to follow.
pub const TARGET: &str = "rollout/target";
/// Who gives the turns.
pub const LEADER: &str = "rollout/leader";
/// How far it is.
pub const OUTCOME: &str = "rollout/outcome";
/// Before the name of a server: what it says of itself.
pub const SERVERS: &str = "rollout/servers/";
/// Before the name of a server: it is there.
pub const PRESENT: &str = "rollout/present/";
/// Before the name of a server: what it may follow.
pub const TURNS: &str = "rollout/turns/";

/// Generations that are kept to go back to.
pub const KEPT: u64 = 20;

/// Where a generation's record is.
pub fn record_key(generation: Generation) -> String {
    format!("generations/{:010}/record", generation.0)
}

/// Where a server's plan of a generation is.
pub fn plan_key(generation: Generation, server: &ServerName) -> String {
    format!("generations/{:010}/plans/{server}", generation.0)
}

/// A generation of a site's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`crate::model::FORMAT`].
    pub format: u32,
    /// Its number.
    pub generation: Generation,
    /// When it was applied: Unix time in milliseconds.
    pub at_ms: u64,
    /// What it came from: `site.toml`, `back to generation 3`.
    pub what: String,
    /// The declaration.
    pub site: Site,
    /// The releases of its codebases.
    pub codebases: Vec<Codebase>,
    /// The generation before it.
    pub before: Option<Generation>,
    /// Where it cannot be followed, the one before is gone back to.
    #[serde(default)]
    pub retreats: bool,
}

/// A generation that is to be followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// What it is.
    pub record: Record,
    /// A plan for every server of it.
    pub plans: Vec<Plan>,
}

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its name.
    pub server: ServerName,
    /// The generation that it follows.
    pub at: Generation,
    /// The generation that it was last told to follow.
    pub turn: Generation,
    /// How it is with it.
    pub state: Following,
    /// Why.
    pub because: String,
    /// Whether the target has other services for it than it runs; `None` until it has looked.
    pub changes: Option<(Generation, bool)>,
    /// A service of it is [preparing](super::PREPARING).
    #[serde(default)]
    pub preparing: bool,
}

/// How a server is with the generation that it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Following {
    /// It does what its plan says.
    Well,
    /// Not yet, or not any more.
    Unwell,
    /// It cannot.
    Refuses,
    /// It is not heard of.
    Away,
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Of which generation.
    pub generation: Generation,
    /// How far.
    pub state: Progress,
    /// Why.
    pub because: String,
}

/// How far a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Servers are changing.
    Converging,
    /// Everybody who is there follows it.
    Converged,
    /// A server has not become well with it; nobody else is told to follow it.
    Stopped,
}

/// What the control channel says of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The generation that is to be followed, if one was ever applied.
    pub target: Option<Generation>,
    /// The newest; another one than the target only for a moment.
    pub last: Option<Generation>,
    /// How far it is, as whoever leads said last.
    pub outcome: Option<Outcome>,
    /// Every server that ever was there.
    pub servers: Vec<Standing>,
    /// The servers share a store and give each other their turns. Else whoever applies does.
    pub led: bool,
    /// Why the store cannot be asked; the rest is empty then.
    pub unreachable: Option<String>,
}

/// A generation in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its number.
    pub generation: Generation,
    /// When it was applied: Unix time in milliseconds.
    pub at_ms: u64,
    /// What it came from.
    pub what: String,
    /// How many servers it has.
    pub servers: usize,
    /// The releases of its codebases.
    pub codebases: Vec<Codebase>,
}

impl Record {
    /// What a list says of it.
    pub fn summary(&self) -> Summary {
        Summary {
            generation: self.generation,
            at_ms: self.at_ms,
            what: self.what.clone(),
            servers: self.site.servers.len(),
            codebases: self.codebases.clone(),
        }
    }
}
