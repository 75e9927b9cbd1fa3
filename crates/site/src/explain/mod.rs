//! Each component of a site in plain sentences: what it is, why it is in this design, what it talks to, and what happens
//! when it fails here.
//!
//! What it talks to comes from the plan, so that it cannot say other than what runs.

mod arrows;
mod components;
mod failure;
mod sentence;
mod servers;
#[cfg(test)]
mod tests;

use crate::model::Site;
use crate::names::Generation;
use crate::plan::{Notice, Plan, derive};
use arrows::Arrows;

/// One component, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The word to ask for it by: `balancer`.
    pub word: String,
    /// `load balancer`
    pub title: String,
    /// Who plays it here: `lb1 and lb2`; `None` for a component that this design does not have.
    pub who: Option<String>,
    /// What such a thing is.
    pub what: String,
    /// Why it is in this design and how it is set up; or what having it would mend.
    pub here: String,
    /// Whom it talks to and who talks to it, a sentence each.
    pub talks: Vec<String>,
    /// What happens when it fails in this design.
    pub fails: String,
    /// What of it is declared and not enforced by this version.
    pub notices: Vec<Notice>,
}

/// A word that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no component or server `{word}`; {}", self.hint())]
pub struct Unknown {
    /// What was asked for.
    pub word: String,
    /// The nearest known word.
    pub near: Option<String>,
    /// Every word that is known.
    pub known: Vec<String>,
}

impl Unknown {
    fn hint(&self) -> String {
        match &self.near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", self.known.join(", ")),
        }
    }
}

/// Every component that this design has, from the visitor downwards.
pub fn explain_all(site: &Site) -> Vec<Topic> {
    let plans = plans(site);
    let scene = Scene::new(site, &plans);
    components::ALL.iter().map(|component| component.topic(&scene)).filter(|topic| topic.who.is_some()).collect()
}

/// What `word` names: a component (also one that this design lacks), a role, or a server.
///
/// # Errors
/// Nothing has that name.
pub fn explain(site: &Site, word: &str) -> Result<Vec<Topic>, Unknown> {
    let plans = plans(site);
    let scene = Scene::new(site, &plans);
    if let Some(server) = site.servers.iter().find(|server| server.name.as_str() == word) {
        return Ok(vec![servers::topic(&scene, server)]);
    }
    let asked = plain(word);
    let named: Vec<Topic> =
        components::ALL.iter().filter(|it| it.answers_to(&asked)).map(|component| component.topic(&scene)).collect();
    if named.is_empty() { Err(unknown(site, word)) } else { Ok(named) }
}

fn plans(site: &Site) -> Vec<Plan> {
    // Neither releases nor the generation matter to who talks to whom.
    derive(site, &[], Generation(1))
}

/// `Name-Server` and `name server` are the same question.
fn plain(word: &str) -> String {
    word.to_lowercase().chars().filter(|char| char.is_alphanumeric()).collect()
}

fn unknown(site: &Site, word: &str) -> Unknown {
    /// Below this likeness (Jaro-Winkler) a guess confuses more than it helps.
    const LIKE: f64 = 0.8;
    let components = components::ALL.iter().map(|it| it.word.to_owned());
    let servers = site.servers.iter().map(|server| server.name.to_string());
    let likeness = |known: &String| strsim::jaro_winkler(&plain(known), &plain(word));
    let near = components.clone().chain(servers).max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    Unknown {
        word: word.to_owned(),
        near: near.filter(|near| likeness(near) >= LIKE),
        known: components.chain(std::iter::once("or a server's name".to_owned())).collect(),
    }
}

/// What explanations are made from.
struct Scene<'s> {
    site: &'s Site,
    plans: &'s [Plan],
    arrows: Arrows<'s>,
    notices: &'s [Notice],
}

impl<'s> Scene<'s> {
    fn new(site: &'s Site, plans: &'s [Plan]) -> Scene<'s> {
        let notices = plans.first().map(|plan| plan.notices.as_slice()).unwrap_or_default();
        Scene { site, plans, arrows: Arrows::new(plans), notices }
    }

    /// The notices whose declaration begins with one of `starts`.
    fn notices(&self, starts: &[&str]) -> Vec<Notice> {
        let about = |notice: &&Notice| starts.iter().any(|start| notice.declared.starts_with(start));
        self.notices.iter().filter(about).cloned().collect()
    }
}
