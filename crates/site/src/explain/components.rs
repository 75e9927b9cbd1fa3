//! The components, from the visitor downwards: what each is anywhere, and what it is here.

mod engine;
mod front;
mod inner;
mod tiers;
mod votes;

use super::{Scene, Topic};
use crate::plan::Notice;

/// A component of some designs.
pub(super) struct Component {
    /// The word to ask for it by.
    pub word: &'static str,
    /// Other words for it, without spaces and hyphens.
    pub aliases: &'static [&'static str],
    pub title: &'static str,
    /// What such a thing is, anywhere.
    pub what: &'static str,
    /// What it is in a site.
    pub here: fn(&Scene<'_>) -> Here,
}

/// What a component is in a site.
#[derive(Default)]
pub(super) struct Here {
    /// Who plays it; `None` if the design does not have it.
    pub who: Option<String>,
    /// How it is set up, or what having it would mend.
    pub text: String,
    pub talks: Vec<String>,
    pub fails: String,
    pub notices: Vec<Notice>,
}

/// Every component, from the visitor downwards.
pub(super) const ALL: [Component; 16] = [
    front::DNS,
    front::FIREWALL,
    front::CERTIFICATE,
    engine::LIMITS,
    front::FLOATING,
    tiers::BALANCER,
    tiers::WEB,
    engine::PAGE_CACHE,
    tiers::APP,
    inner::SQL,
    tiers::CACHE,
    inner::PRIMARY,
    inner::REPLICA,
    inner::SEMI_SYNC,
    votes::STORE,
    tiers::MONITOR,
];

impl Component {
    /// Whether `asked` (small letters and digits only) means this component.
    pub fn answers_to(&self, asked: &str) -> bool {
        super::plain(self.word) == asked || super::plain(self.title) == asked || self.aliases.contains(&asked)
    }

    pub fn topic(&self, scene: &Scene<'_>) -> Topic {
        let Here { who, text, talks, fails, notices } = (self.here)(scene);
        Topic {
            word: self.word.into(),
            title: self.title.into(),
            who,
            what: self.what.into(),
            here: text,
            talks,
            fails,
            notices,
        }
    }
}

/// A component that the design lacks.
fn absent(text: impl Into<String>) -> Here {
    Here { text: text.into(), fails: "It cannot fail here: this design does not have it.".into(), ..Here::default() }
}
