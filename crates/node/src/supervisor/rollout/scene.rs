//! A rollout as the store has it at one moment.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_site::names::{Generation, ServerName};
use mainstay_site::wire::rollout::{LEADER, OUTCOME, Outcome, PRESENT, SERVERS, Standing, TARGET, TURNS};

use crate::store::{Entry, LeaseId, Revision};

/// See the module. What cannot be read is as if it were not there: whoever wrote it is newer, and leads.
#[derive(Debug, Default)]
pub(super) struct Scene {
    pub(super) target: Option<Generation>,
    pub(super) outcome: Option<Outcome>,
    pub(super) standings: Vec<Standing>,
    pub(super) present: BTreeSet<ServerName>,
    /// By whose lease somebody leads, and since when.
    pub(super) leader: Option<(Option<LeaseId>, Revision)>,
    turns: BTreeMap<ServerName, Generation>,
}

impl Scene {
    pub(super) fn read<'e>(entries: impl IntoIterator<Item = (&'e String, &'e Entry)>) -> Scene {
        let mut scene = Scene::default();
        for (key, entry) in entries {
            let value = &entry.value;
            if key == TARGET {
                scene.target = serde_json::from_slice(value).ok();
            } else if key == OUTCOME {
                scene.outcome = serde_json::from_slice(value).ok();
            } else if key == LEADER {
                scene.leader = Some((entry.lease, entry.created));
            } else if key.starts_with(SERVERS) {
                scene.standings.extend(serde_json::from_slice::<Standing>(value));
            } else if let Some(name) = key.strip_prefix(PRESENT) {
                scene.present.insert(ServerName::from(name));
            } else if let Some(name) = key.strip_prefix(TURNS)
                && let Ok(turn) = serde_json::from_slice(value)
            {
                scene.turns.insert(ServerName::from(name), turn);
            }
        }
        scene
    }

    /// What a server was last told to follow.
    pub(super) fn turn(&self, server: &ServerName) -> Generation {
        self.turns.get(server).copied().unwrap_or_default()
    }

    /// What a server said of itself.
    pub(super) fn standing(&self, server: &ServerName) -> Option<&Standing> {
        self.standings.iter().find(|standing| standing.server == *server)
    }
}
