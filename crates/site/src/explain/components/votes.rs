//! The store by which the servers agree.

use super::super::Scene;
use super::super::sentence::{list, names};
use super::{Component, Here, absent};
use crate::names::Role;
use crate::votes::{survives_one, votes};

pub(super) const STORE: Component = Component {
    word: "store",
    aliases: &["etcd", "vote", "votes", "quorum", "coordination", "consensus", "lease"],
    title: "coordination store",
    what: "A few small records that all servers agree on, above all which server has the primary database. Its members (etcd) \
           vote on every change, and a majority decides: a server that is cut off cannot believe that it is alone.",
    here: store,
};

fn store(scene: &Scene<'_>) -> Here {
    let site = scene.site;
    if let Some(foreign) = &site.store {
        let at: Vec<String> = foreign.endpoints.iter().map(ToString::to_string).collect();
        return Here {
            who: Some(list(&at)),
            text: "Mainstay does not run it: it is declared in [store], and shown the certificate that is named there.".into(),
            fails: "While no majority of it answers, nobody can be made the primary, and the primary stops taking writes when \
                    its lease ends."
                .into(),
            ..Here::default()
        };
    }
    let votes = votes(site);
    let Some(first) = votes.first() else {
        return absent("There is one database server or none, so there is nothing to agree on.");
    };
    let who = names(votes.iter().copied());
    let (text, fails) = if survives_one(site) {
        let apart = votes.iter().filter(|server| !server.has(Role::Database)).count();
        (
            format!(
                "{who} have a vote each; {apart} of them {} no database. They speak TLS and believe only certificates of the \
                 site's own authority.",
                if apart == 1 { "has" } else { "have" }
            ),
            "When one fails, the others go on, a second or two later if it led them. When two fail, nobody can be made the \
             primary, and the primary stops taking writes when its lease ends: a server that cannot ask must not go on alone."
                .to_owned(),
        )
    } else {
        (
            format!(
                "{first} has the only vote: of two servers neither can outvote the other. A third server, however small, \
                 would make failover automatic.",
                first = first.name
            ),
            format!("When {} fails, an operator decides who is the primary.", first.name),
        )
    };
    let talks = scene.arrows.sentences("store", None);
    Here { who: Some(who), text, talks, fails, notices: Vec::new() }
}
