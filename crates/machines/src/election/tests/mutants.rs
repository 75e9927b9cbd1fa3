//! Machines that are wrong in one place each: does anybody notice?

use super::plots::{self, PLOTS};
use super::seeded::{Tally, play};
use crate::election::Mode;
use crate::election::flaw::Flaw;

/// Seeds tried with each, in both modes that promise something; what is noticed last takes 450.
const SEEDS: u64 = 600;
/// And with those of which it is known that nobody notices them.
const SEEDS_IN_VAIN: u64 = 100;

/// What no history here shows for certain: a transaction that comes late, just where it does harm. Whoever finds one takes it out.
const UNNOTICED: [Flaw; 1] = [Flaw::NeverSettle];

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
    let seeds = if UNNOTICED.contains(&flaw) { SEEDS_IN_VAIN } else { SEEDS };
    for seed in 0..seeds {
        for mode in [Mode::Available, Mode::Strict] {
            if let Err(wrong) = play(seed, mode, true, Some(flaw), &mut tally) {
                return Some((tally.histories, wrong.lines().next().unwrap_or_default().to_owned()));
            }
        }
    }
    None
}

fn each_is_noticed(flaws: &[Flaw]) {
    let mut unnoticed = Vec::new();
    for flaw in flaws {
        match histories_to_notice(*flaw) {
            Some((histories, wrong)) => println!("{flaw:?}: noticed in history {}: {wrong}", histories),
            None => unnoticed.push(flaw),
        }
    }
    println!("{} of {} noticed", flaws.len() - unnoticed.len(), flaws.len());
    let missed: Vec<&Flaw> = unnoticed.into_iter().filter(|flaw| !UNNOTICED.contains(flaw)).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}

// In parts, since each takes some seconds.

#[test]
fn flaws_of_elections_are_noticed() {
    each_is_noticed(&Flaw::ALL[..8]);
}

#[test]
fn flaws_of_s_are_noticed() {
    each_is_noticed(&Flaw::ALL[8..14]);
}

#[test]
fn flaws_of_handovers_are_noticed() {
    each_is_noticed(&Flaw::ALL[14..20]);
}

#[test]
fn flaws_of_endurance_are_noticed() {
    each_is_noticed(&Flaw::ALL[20..]);
}
