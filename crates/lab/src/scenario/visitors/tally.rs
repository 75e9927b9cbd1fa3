//! What visitors were told, compared with what is there. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a visitor asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The page, which the application makes.
    Read,
    /// The page's style sheet, a file.
    File,
    /// A message that nobody else writes.
    Post(u64),
}

impl What {
    /// The text of a post.
    pub fn text(number: u64) -> String {
        format!("post-{number}")
    }

    /// The number of a post with this text.
    pub fn number(text: &str) -> Option<u64> {
        text.strip_prefix("post-")?.parse().ok()
    }

    /// The status that a visitor is content with: a form is answered by a redirect (RFC 9110 § 15.4.4).
    pub(super) fn expects(&self) -> u16 {
        match self {
            What::Read | What::File => 200,
            What::Post(_) => 303,
        }
    }

    /// Whether it changes nothing, so that it may be asked again.
    pub fn is_read(&self) -> bool {
        !matches!(self, What::Post(_))
    }

    /// Whether the application answers it, and not only who keeps its files.
    pub fn is_of_application(&self) -> bool {
        *self != What::File
    }
}

/// One request of a visitor; times since the first came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// What was asked for.
    pub what: What,
    /// When it was sent.
    pub sent: Duration,
    /// When it was answered, or failed.
    pub ended: Duration,
    /// Why it failed.
    pub failed: Option<String>,
}

/// When something was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// It still was whole before.
    pub from: Duration,
    /// It was broken.
    pub to: Duration,
}

impl Moment {
    fn meets(&self, visit: &Visit) -> bool {
        visit.sent <= self.to && visit.ended >= self.from
    }
}

/// What came of the visits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests.
    pub sent: u64,
    /// Those that failed.
    pub failed: u64,
    /// Of those, the ones that were under way at the moment of the fault.
    pub in_flight: u64,
    /// The longest time without an acknowledged post.
    pub gap: Duration,
    /// The longest wait for an answer.
    pub slowest: Duration,
    /// Posts that were acknowledged.
    pub acknowledged: u64,
    /// Of those, the ones that are not there.
    pub lost: u64,
    /// What must not be, in words.
    pub wrong: Vec<String>,
}

/// Compares `visits` with the numbers of all posts that are `there` in the end. `moment`: when something was broken, so that
/// what was under way may have failed; `None` if nothing may.
pub fn tally(visits: &[Visit], there: &[u64], moment: Option<Moment>) -> Tally {
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    there.iter().for_each(|number| *found.entry(*number).or_default() += 1);
    let mut tally = Tally { sent: visits.len() as u64, gap: gap(visits), ..Tally::default() };
    for visit in visits {
        tally.slowest = tally.slowest.max(visit.ended.saturating_sub(visit.sent));
        if let Some(why) = &visit.failed {
            tally.failed += 1;
            if moment.is_some_and(|moment| moment.meets(visit)) {
                tally.in_flight += 1;
            } else {
                let (what, at) = (&visit.what, visit.sent.as_millis());
                tally.wrong.push(format!("{what:?}, sent at {at} ms, failed after {} ms: {why}", visit.took_ms()));
            }
        }
        if let What::Post(number) = visit.what {
            let times = found.get(&number).copied().unwrap_or_default();
            if visit.failed.is_none() {
                tally.acknowledged += 1;
                tally.lost += u64::from(times == 0);
            }
            if times > 1 {
                tally.wrong.push(format!("post {number} is there {times} times"));
            }
        }
    }
    if tally.lost > 0 {
        tally.wrong.push(format!("{} posts were acknowledged and are lost", tally.lost));
    }
    tally
}

impl Visit {
    fn took_ms(&self) -> u128 {
        self.ended.saturating_sub(self.sent).as_millis()
    }
}

/// Between the first visit and the last.
fn gap(visits: &[Visit]) -> Duration {
    let posted = visits.iter().filter(|visit| visit.failed.is_none() && !visit.what.is_read());
    let edges = [visits.iter().map(|visit| visit.sent).min(), visits.iter().map(|visit| visit.ended).max()];
    let mut times: Vec<Duration> = posted.map(|visit| visit.ended).chain(edges.into_iter().flatten()).collect();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(what: What, sent_ms: u64, ended_ms: u64, failed: bool) -> Visit {
        let ms = Duration::from_millis;
        Visit { what, sent: ms(sent_ms), ended: ms(ended_ms), failed: failed.then(|| "reset".to_owned()) }
    }

    const BROKEN: Option<Moment> = Some(Moment { from: Duration::from_millis(100), to: Duration::from_millis(110) });

    #[test]
    fn only_what_was_under_way_may_fail() {
        let visits = [
            visit(What::Post(1), 0, 10, false),
            visit(What::Post(2), 90, 400, true),
            visit(What::Read, 105, 120, true),
            visit(What::Post(3), 300, 500, false),
        ];
        let told = tally(&visits, &[1, 3], BROKEN);
        assert_eq!((told.sent, told.failed, told.in_flight, told.acknowledged, told.lost), (4, 2, 2, 2, 0));
        assert_eq!((told.gap, told.slowest), (Duration::from_millis(490), Duration::from_millis(310)));
        assert!(told.wrong.is_empty(), "{:?}", told.wrong);
        assert_eq!(tally(&visits, &[1, 3], None).wrong.len(), 2, "nothing was broken: nothing may fail");
        let late = [visit(What::Read, 111, 120, true), visit(What::Read, 10, 99, true)];
        assert_eq!(tally(&late, &[], BROKEN).wrong.len(), 2);
    }

    #[test]
    fn what_is_acknowledged_is_there_once() {
        let visits = [visit(What::Post(1), 0, 1, false), visit(What::Post(2), 1, 2, false)];
        let told = tally(&visits, &[1, 1], BROKEN);
        assert_eq!((told.acknowledged, told.lost), (2, 1));
        assert_eq!(told.wrong.len(), 2, "{:?}", told.wrong);
        let failed = [visit(What::Post(1), 105, 110, true)];
        assert!(tally(&failed, &[1], BROKEN).wrong.is_empty(), "nobody was told: either way is true");
        assert_eq!(What::number(&What::text(7)), Some(7));
    }
}
