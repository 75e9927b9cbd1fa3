//! Which crate links which: the arrows of ARCHITECTURE.md.

use std::collections::BTreeSet;

use crate::{members, read};

/// The arrows of "`machines ← site ← node`": (what is linked, by whom).
fn arrows() -> BTreeSet<(String, String)> {
    let text = read("ARCHITECTURE.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Crates")).expect("a section on crates");
    let chains = section.split('`').skip(1).step_by(2).filter(|code| code.contains('←'));
    let chains: Vec<Vec<&str>> = chains.map(|chain| chain.split('←').map(str::trim).collect()).collect();
    chains.iter().flat_map(|chain| chain.windows(2)).map(|pair| (pair[0].into(), pair[1].into())).collect()
}

/// Whether the arrows lead from `low` to `high`.
fn leads(arrows: &BTreeSet<(String, String)>, low: &str, high: &str) -> bool {
    arrows.iter().filter(|(from, _)| from == low).any(|(_, to)| to == high || leads(arrows, to, high))
}

#[test]
fn crates_link_what_the_arrows_allow() {
    let arrows = arrows();
    for member in members() {
        for linked in &member.ours {
            assert!(
                leads(&arrows, linked, &member.name),
                "`{}` links `{linked}`, and no arrow of ARCHITECTURE.md leads there",
                member.name
            );
        }
    }
}

#[test]
fn every_arrow_and_every_crate_is_there() {
    let (arrows, members) = (arrows(), members());
    for (low, high) in &arrows {
        let member = members.iter().find(|member| member.name == *high);
        let linked = member.is_some_and(|member| member.ours.contains(low));
        assert!(linked, "ARCHITECTURE.md has `{low} ← {high}`, but `{high}` does not link `{low}`");
    }
    for member in &members {
        let told = arrows.iter().any(|(low, high)| *low == member.name || *high == member.name);
        assert!(told, "ARCHITECTURE.md has no arrow for `{}`", member.name);
    }
}
