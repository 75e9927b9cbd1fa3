//! Machines that are wrong in one place each: does anybody notice?

use super::plots::{self, PLOTS};
use super::seeded::{Tally, play};
use crate::election::Mode;
use crate::election::flaw::Flaw;

/// Seeds tried with each, in both modes that promise something; what is noticed last takes 450.
const SEEDS: u64 = 600;

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

fn each_is_noticed(flaws: &[Flaw]) {
    let mut unnoticed = Vec::new();
    for flaw in flaws {
        match histories_to_notice(*flaw) {
            Some((histories, wrong)) => println!("{flaw:?}: noticed in history {}: {wrong}", histories),
            None => unnoticed.push(flaw),
        }
    }
    println!("{} of {} noticed", flaws.len() - unnoticed.len(), flaws.len());
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}

// In parts, since each takes some seconds.

#[test]
fn flaws_of_elections_are_noticed() {
    each_is_noticed(&Flaw::ALL[..8]);
}

#[test]
fn flaws_of_a_shrinking_s_are_noticed() {
    each_is_noticed(&Flaw::ALL[8..11]);
}

#[test]
fn flaws_of_a_growing_s_are_noticed() {
    each_is_noticed(&Flaw::ALL[11..14]);
}

#[test]
fn flaws_of_handovers_are_noticed() {
    each_is_noticed(&Flaw::ALL[14..20]);
}

#[test]
fn flaws_of_endurance_are_noticed() {
    each_is_noticed(&Flaw::ALL[20..22]);
}

#[test]
fn flaws_of_what_comes_late_are_noticed() {
    each_is_noticed(&Flaw::ALL[22..23]);
}

#[test]
fn flaws_of_return_are_noticed() {
    each_is_noticed(&Flaw::ALL[23..]);
}
