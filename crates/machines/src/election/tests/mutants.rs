//! Machines that are wrong in one place each: does anybody notice?

use super::plots::{self, PLOTS};
use super::seeded::{Tally, play};
use crate::election::Mode;
use crate::election::flaw::Flaw;

/// Seeds tried with each, in both modes that promise something.
const SEEDS: u64 = 150;

/// How many histories it took to notice; `None`: nobody did.
fn histories_to_notice(flaw: Flaw) -> Option<(u64, String)> {
    let mut tally = Tally::default();
    for (seed, plot) in (0..12).flat_map(|seed| PLOTS.map(|plot| (seed, plot))) {
        for mode in [Mode::Available, Mode::Strict] {
            if let Err(wrong) = plots::play(plot, seed, mode, Some(flaw), &mut tally) {
                return Some((tally.histories, wrong.lines().next().unwrap_or_default().to_owned()));
            }
        }
    }
    for seed in 0..SEEDS {
        for mode in [Mode::Available, Mode::Strict] {
            if let Err(wrong) = play(seed, mode, true, Some(flaw), &mut tally) {
                return Some((tally.histories, wrong.lines().next().unwrap_or_default().to_owned()));
            }
        }
    }
    None
}

#[test]
fn every_flaw_is_noticed() {
    let mut unnoticed = Vec::new();
    for flaw in Flaw::ALL {
        match histories_to_notice(flaw) {
            Some((histories, wrong)) => println!("{flaw:?}: after {histories} histories: {wrong}"),
            None => {
                println!("{flaw:?}: NOT NOTICED");
                unnoticed.push(flaw);
            }
        }
    }
    println!("{} of {} noticed", Flaw::ALL.len() - unnoticed.len(), Flaw::ALL.len());
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
