//! Whether what clients were told can be true of one database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::history::{Action, Answer, Found, History, Op, Probe};
use super::registers;

/// Two servers that acknowledge within this time count as writable at once: they are asked this often.
const AT_ONCE: Duration = Duration::from_millis(10);

/// What a history shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Writes that clients were told are done.
    pub acknowledged: u64,
    /// Those of them that are not there.
    pub lost: u64,
    /// The longest time without an acknowledged INSERT.
    pub gap: Duration,
    /// The longest time without an answered read.
    pub read_gap: Duration,
    /// How many servers acknowledged at once, at most.
    pub writable_primaries_max: usize,
    /// Everything that cannot be, in words; what was lost too.
    pub anomalies: Vec<String>,
}

/// Compares what clients were told with what is found in the end.
pub fn check(history: &History, found: &Found) -> Verdict {
    let mut verdict = Verdict {
        gap: gap(&history.ops),
        read_gap: longest(history.reads.clone()),
        writable_primaries_max: writable_at_once(&history.probes),
        ..Verdict::default()
    };
    inserts(&history.ops, found, &mut verdict);
    lists(&history.ops, found, &mut verdict);
    let registers: BTreeSet<u64> = history.ops.iter().filter_map(register_of).collect();
    verdict.acknowledged +=
        history.ops.iter().filter(|op| register_of(op).is_some() && op.answer == Answer::Done).count() as u64;
    for register in registers {
        let wrong = registers::check(&history.ops, register, found);
        verdict.lost += wrong.iter().filter(|wrong| wrong.ends_with("is lost")).count() as u64;
        verdict.anomalies.extend(wrong);
    }
    verdict
}

fn register_of(op: &Op) -> Option<u64> {
    match op.action {
        Action::Read { register } | Action::CompareAndSet { register, .. } => Some(register),
        _ => None,
    }
}

fn inserts(ops: &[Op], found: &Found, verdict: &mut Verdict) {
    let inserts = ops.iter().filter_map(|op| match op.action {
        Action::Insert { id } => Some((id, op.answer)),
        _ => None,
    });
    let sent: BTreeMap<u64, Answer> = inserts.collect();
    for (id, answer) in &sent {
        let there = found.inserted.contains(id);
        verdict.acknowledged += u64::from(*answer == Answer::Done);
        match answer {
            Answer::Done if !there => verdict.lose(format!("row {id} was acknowledged and is lost")),
            Answer::Refused if there => verdict.anomalies.push(format!("row {id} was refused and is there")),
            _ => {}
        }
    }
    let invented = found.inserted.iter().filter(|id| !sent.contains_key(id));
    verdict.anomalies.extend(invented.map(|id| format!("row {id} was inserted by nobody")));
}

impl Verdict {
    fn lose(&mut self, what: String) {
        self.lost += 1;
        self.anomalies.push(what);
    }
}

fn lists(ops: &[Op], found: &Found, verdict: &mut Verdict) {
    let mut appends: BTreeMap<u64, BTreeMap<u64, &Op>> = BTreeMap::new();
    for op in ops {
        if let Action::Append { list, value } = op.action {
            appends.entry(list).or_default().insert(value, op);
        }
    }
    for (list, sent) in &appends {
        let nothing = Vec::new();
        let values = found.lists.get(list).unwrap_or(&nothing);
        elements(*list, sent, values, verdict);
        order(*list, sent, values, verdict);
    }
}

fn elements(list: u64, sent: &BTreeMap<u64, &Op>, values: &[u64], verdict: &mut Verdict) {
    let mut there = BTreeSet::new();
    for value in values {
        if !there.insert(value) {
            verdict.anomalies.push(format!("list {list} has {value} twice"));
        }
        match sent.get(value).map(|op| op.answer) {
            None => verdict.anomalies.push(format!("list {list} has {value}, which nobody appended")),
            Some(Answer::Refused) => verdict.anomalies.push(format!("list {list} has {value}, which was refused")),
            Some(_) => {}
        }
    }
    for (value, op) in sent {
        verdict.acknowledged += u64::from(op.answer == Answer::Done);
        if op.answer == Answer::Done && !there.contains(value) {
            verdict.lose(format!("{value} was appended to list {list} and is lost"));
        }
    }
}

/// What was appended after something else was acknowledged stands after it.
fn order(list: u64, sent: &BTreeMap<u64, &Op>, values: &[u64], verdict: &mut Verdict) {
    let mut earliest_end_behind = Duration::MAX;
    for value in values.iter().rev() {
        let Some(op) = sent.get(value) else { continue };
        // Something that stands behind this one had ended before this one was sent.
        if earliest_end_behind < op.sent {
            verdict.anomalies.push(format!("list {list} has {value} before what was acknowledged when it was sent"));
        }
        if op.answer == Answer::Done {
            earliest_end_behind = earliest_end_behind.min(op.ended);
        }
    }
}

/// The longest time between two acknowledged INSERTs.
fn gap(ops: &[Op]) -> Duration {
    let done = |op: &&Op| matches!(op.action, Action::Insert { .. }) && op.answer == Answer::Done;
    longest(ops.iter().filter(done).map(|op| op.ended).collect())
}

fn longest(mut ends: Vec<Duration>) -> Duration {
    ends.sort_unstable();
    ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// How many servers were writable at once: acknowledged within [`AT_ONCE`].
fn writable_at_once(probes: &[Probe]) -> usize {
    let mut probes: Vec<&Probe> = probes.iter().collect();
    probes.sort_by_key(|probe| probe.ended);
    let mut most = 0;
    for (first, probe) in probes.iter().enumerate() {
        let within = probes[first..].iter().take_while(|other| other.ended <= probe.ended + AT_ONCE);
        let servers: BTreeSet<&str> = within.map(|other| other.server.as_str()).collect();
        most = most.max(servers.len());
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(action: Action, sent: u64, ended: u64, answer: Answer) -> Op {
        Op { action, sent: Duration::from_millis(sent), ended: Duration::from_millis(ended), answer }
    }

    fn insert(id: u64, sent: u64, ended: u64, answer: Answer) -> Op {
        op(Action::Insert { id }, sent, ended, answer)
    }

    fn append(value: u64, sent: u64, ended: u64, answer: Answer) -> Op {
        op(Action::Append { list: 1, value }, sent, ended, answer)
    }

    fn put(from: u64, to: u64, sent: u64, ended: u64, answer: Answer) -> Op {
        op(Action::CompareAndSet { register: 1, from, to }, sent, ended, answer)
    }

    fn read(value: u64, sent: u64, ended: u64) -> Op {
        op(Action::Read { register: 1 }, sent, ended, Answer::Value(value))
    }

    fn found(inserted: &[u64], list: &[u64], register: u64) -> Found {
        Found {
            inserted: inserted.iter().copied().collect(),
            lists: [(1, list.to_vec())].into(),
            registers: [(1, register)].into(),
        }
    }

    fn anomalies(ops: Vec<Op>, found: &Found) -> Vec<String> {
        check(&History { ops, ..History::default() }, found).anomalies
    }

    #[test]
    fn histories_of_one_database_are_accepted() {
        let ops = vec![
            insert(1, 0, 5, Answer::Done),
            insert(2, 5, 9, Answer::Unknown),
            insert(3, 5, 9, Answer::Unknown),
            insert(4, 6, 9, Answer::Refused),
            append(1, 0, 5, Answer::Done),
            append(2, 1, 4, Answer::Done),
            append(3, 6, 9, Answer::Unknown),
            put(0, 7, 0, 5, Answer::Done),
            put(0, 8, 1, 5, Answer::Missed),
            put(7, 9, 6, 12, Answer::Unknown),
            read(7, 7, 8),
            read(9, 9, 11),
            read(9, 13, 14),
        ];
        let verdict = check(&History { ops, ..History::default() }, &found(&[1, 3], &[2, 1, 3], 9));
        assert_eq!(verdict.anomalies, Vec::<String>::new());
        assert_eq!((verdict.acknowledged, verdict.lost), (4, 0));
    }

    /// One history for each way in which a database that is really two, or forgets, shows itself.
    #[test]
    fn known_bad_histories_are_refused() {
        let done = Answer::Done;
        let rows: [(&str, Vec<Op>, Found, &str); 12] = [
            ("a lost insert", vec![insert(1, 0, 5, done)], found(&[], &[], 0), "acknowledged and is lost"),
            ("a refused insert", vec![insert(1, 0, 5, Answer::Refused)], found(&[1], &[], 0), "refused and is there"),
            ("an invented insert", vec![], found(&[1], &[], 0), "inserted by nobody"),
            (
                "a lost append",
                vec![append(1, 0, 5, done), append(2, 6, 7, done)],
                found(&[], &[2], 0),
                "appended to list 1 and is lost",
            ),
            ("a doubled append", vec![append(1, 0, 5, done)], found(&[], &[1, 1], 0), "twice"),
            ("an invented append", vec![append(1, 0, 5, done)], found(&[], &[1, 2], 0), "nobody appended"),
            (
                "appends turned round",
                vec![append(1, 0, 5, done), append(2, 6, 7, done)],
                found(&[], &[2, 1], 0),
                "before what was acknowledged",
            ),
            ("a lost put", vec![put(0, 7, 0, 5, done)], found(&[], &[], 0), "is lost"),
            (
                "two puts in one place",
                vec![put(0, 7, 0, 5, done), put(0, 8, 0, 5, done)],
                found(&[], &[], 8),
                "is lost",
            ),
            ("a stale read", vec![put(0, 7, 0, 5, done), read(0, 6, 7)], found(&[], &[], 7), "went back"),
            (
                "reads that go back",
                vec![put(0, 7, 0, 50, Answer::Unknown), read(7, 6, 7), read(0, 8, 9)],
                found(&[], &[], 7),
                "went back",
            ),
            ("a value of nobody", vec![put(0, 7, 0, 5, done)], found(&[], &[], 9), "nobody put there"),
        ];
        for (what, ops, found, complaint) in rows {
            let wrong = anomalies(ops, &found);
            assert!(wrong.iter().any(|wrong| wrong.contains(complaint)), "{what}: {wrong:?}");
        }
    }

    #[test]
    fn the_gap_is_the_longest_time_without_an_acknowledged_insert() {
        let ops =
            vec![insert(1, 0, 5, Answer::Done), insert(2, 6, 90, Answer::Unknown), insert(3, 100, 125, Answer::Done)];
        assert_eq!(gap(&ops), Duration::from_millis(120));
    }

    #[test]
    fn servers_that_acknowledge_at_once_are_counted() {
        let probe = |server: &str, ended: u64| Probe {
            server: server.into(),
            sent: Duration::from_millis(ended - 2),
            ended: Duration::from_millis(ended),
        };
        let handed_over = [probe("db1", 10), probe("db1", 20), probe("db2", 120), probe("db2", 130), probe("db1", 300)];
        assert_eq!(writable_at_once(&handed_over), 1);
        let split = [probe("db1", 10), probe("db2", 14), probe("db1", 20)];
        assert_eq!(writable_at_once(&split), 2);
        assert_eq!(writable_at_once(&[]), 0);
    }
}
