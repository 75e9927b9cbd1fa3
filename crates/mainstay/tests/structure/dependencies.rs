//! `dependencies.toml` against what is linked.

use std::collections::BTreeSet;

use toml::de::DeTable;

use crate::{linked, metadata, read};

fn told(text: &str) -> DeTable<'_> {
    DeTable::parse(text).unwrap().into_inner()
}

#[test]
fn no_more_is_linked_than_was_justified() {
    let text = read("dependencies.toml");
    let table = told(&text);
    let most: usize = table["linked"].get_ref().as_integer().unwrap().as_str().parse().unwrap();
    let now = linked("mainstay").len();
    assert!(
        now <= most,
        "{now} third-party crates are linked into `mainstay`, {most} were justified.\n\
         Can it be done with what is there, or with fewer features? If not, raise `linked` in dependencies.toml in the \
         commit that needs it,\nand say in its message what came along: cargo tree -p mainstay -e normal,no-proc-macro"
    );
    assert!(now * 2 > most, "cargo tree told of {now} crates only");
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let text = read("dependencies.toml");
    let table = told(&text);
    let reasons = table["why"].get_ref().as_table().unwrap();
    let told: BTreeSet<String> = reasons.keys().map(|name| name.get_ref().to_string()).collect();
    let metadata = metadata();
    let edges = metadata["packages"].as_array().unwrap().iter().flat_map(|one| one["dependencies"].as_array().unwrap());
    let third = edges.filter(|edge| edge["source"].is_string());
    let used: BTreeSet<String> = third.map(|edge| edge["name"].as_str().unwrap().to_owned()).collect();
    let (without, stale): (Vec<_>, Vec<_>) = (used.difference(&told).collect(), told.difference(&used).collect());
    assert!(without.is_empty(), "no reason in dependencies.toml for {without:?}");
    assert!(stale.is_empty(), "dependencies.toml has a reason for {stale:?}, which nothing uses");
}
