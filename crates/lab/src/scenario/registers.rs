//! Whether a register was one register (linearizable: Herlihy and Wing 1990).
//!
//! Every value is put only once, each where another one was: the puts that took effect are a chain from 0 to what is found in
//! the end, and there is only one chain. So an order need not be searched for: each put has its place, and so has each read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::{Action, Answer, Found, Op};

/// An operation with its place in the chain: after so many puts.
struct Placed<'a> {
    op: &'a Op,
    place: usize,
}

/// What is wrong with register `register`.
pub(super) fn check(ops: &[Op], register: u64, found: &Found) -> Vec<String> {
    let ours = |op: &&Op| match op.action {
        Action::Read { register: number } | Action::CompareAndSet { register: number, .. } => number == register,
        _ => false,
    };
    let ops: Vec<&Op> = ops.iter().filter(ours).collect();
    match chain(&ops, register, found) {
        Ok(chain) => order(&ops, &chain, register),
        Err(wrong) => vec![wrong],
    }
}

/// The place of every value that the register ever held.
fn chain(ops: &[&Op], register: u64, found: &Found) -> Result<BTreeMap<u64, usize>, String> {
    let puts = ops.iter().filter_map(|op| match op.action {
        Action::CompareAndSet { from, to, .. } if op.answer != Answer::Missed && op.answer != Answer::Refused => {
            Some((to, from))
        }
        _ => None,
    });
    let before: BTreeMap<u64, u64> = puts.collect();
    let mut values = vec![found.registers.get(&register).copied().unwrap_or_default()];
    while let Some(last) = values.last().filter(|last| **last != 0) {
        match before.get(last) {
            Some(from) if values.len() <= before.len() => values.push(*from),
            _ => return Err(format!("register {register} held {last}, which nobody put there")),
        }
    }
    Ok(values.into_iter().rev().enumerate().map(|(place, value)| (value, place)).collect())
}

/// Acknowledged puts are in the chain, and nothing that began after something else had ended comes before it.
fn order(ops: &[&Op], chain: &BTreeMap<u64, usize>, register: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut placed = Vec::new();
    for op in ops {
        let value = match (&op.action, op.answer) {
            (Action::CompareAndSet { to, .. }, Answer::Done) => *to,
            (Action::Read { .. }, Answer::Value(value)) => value,
            _ => continue,
        };
        match chain.get(&value) {
            Some(place) => placed.push(Placed { op, place: *place }),
            None => wrong.push(format!("register {register} was said to hold {value}, and that is lost")),
        }
    }
    placed.sort_by_key(|placed| placed.op.ended);
    wrong.extend(stale(&placed, register));
    wrong
}

/// Somebody saw what was there before something that had ended when he began.
fn stale(placed: &[Placed], register: u64) -> Vec<String> {
    // The furthest place that anything had reached when it ended.
    let mut reached: Vec<(Duration, usize)> = Vec::new();
    for placed in placed {
        let far = reached.last().map_or(0, |(_, far)| *far);
        reached.push((placed.op.ended, far.max(placed.place)));
    }
    let seen_before = |sent: Duration| {
        let ended = reached.partition_point(|(ended, _)| *ended < sent);
        ended.checked_sub(1).map_or(0, |last| reached[last].1)
    };
    let behind = placed.iter().filter(|placed| placed.place < seen_before(placed.op.sent));
    behind
        .map(|placed| {
            format!(
                "register {register} went back: {:?} at {:?} was told {:?}",
                placed.op.action, placed.op.sent, placed.op.answer
            )
        })
        .collect()
}
