//! Machines that are wrong in one place each: does anybody notice?

use super::exhaustive;
use super::plots::PLOTS;
use super::seeded::{Tally, play};
use crate::vrrp::flaw::Flaw;

/// Seeds tried with each.
const SEEDS: u64 = 400;

fn notice(flaw: Flaw) -> Option<String> {
    let plots = PLOTS.iter().find_map(|(name, plot)| Some(format!("{name}: {}", plot(Some(flaw)).err()?)));
    let mut tally = Tally::default();
    plots
        .or_else(|| (1..=2).find_map(|length| exhaustive::play_all(length, Some(flaw)).err()))
        .or_else(|| (0..SEEDS).find_map(|seed| play(seed, Some(flaw), &mut tally).err()))
}

#[test]
fn every_flaw_is_noticed() {
    let told = Flaw::ALL.map(|flaw| (flaw, notice(flaw)));
    for (flaw, wrong) in &told {
        println!("{flaw:?}: {}", wrong.as_deref().unwrap_or("NOT NOTICED"));
    }
    assert!(told.iter().all(|(_, wrong)| wrong.is_some()));
}
