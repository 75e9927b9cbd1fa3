//! One run: visitors come, something happens, all is mended, and what they were told is compared with what is there.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use mainstay_lab::scenario::{Door, Moment, Step, Visit, Visitors, tally};

use super::super::patience::wait;
use super::super::site::{differ, empty, goes_on, open, posts};
use super::super::stage::Stage;
use super::super::table::Played;
use super::{Marks, orders};

/// Visitors come for so long before anything happens, and after all goes on.
const WARM: Duration = Duration::from_secs(2);

/// What each visitor does, again and again: a page has more files than one, and a dozen servers need room on two cores beside the
/// application, which opens a connection to the database and fills a template with fifty messages for each page.
pub const ROUND: &[Step] = &[
    Step::Page,
    Step::File,
    Step::File,
    Step::File,
    Step::File,
    Step::Post,
    Step::Page,
    Step::File,
    Step::File,
    Step::File,
];

/// What was done.
#[derive(Debug, Default)]
pub struct Happened {
    /// When something was broken, if it was.
    pub broke: Option<Broke>,
    /// How long the orders took that were given.
    pub orders: Vec<Duration>,
    /// What is wrong besides what visitors noticed.
    pub wrong: Vec<String>,
}

/// When something was broken.
#[derive(Clone, Copy, Debug)]
pub enum Broke {
    /// Others were there at once.
    During(Moment),
    /// From then on nobody was there until somebody was answered again who had asked after it.
    From(Moment),
}

/// What a run showed.
#[derive(Debug)]
pub struct Outcome {
    pub sent: u64,
    pub failed: u64,
    pub reads_failed: u64,
    /// Of the failed ones, those that were under way when something was broken.
    pub in_flight: u64,
    /// From the first request to the last.
    pub lasted: Duration,
    /// The longest time in which nobody was answered, by the application or by who has its files.
    pub gap: Duration,
    /// The same of files alone.
    pub files_gap: Duration,
    /// The longest wait for an answer.
    pub slowest: Duration,
    pub acknowledged: u64,
    pub lost: u64,
    /// The longest order.
    pub order: Option<Duration>,
    pub wrong: Vec<String>,
}

/// Plays `act` between two quiet times.
pub fn run(
    stage: &mut Stage,
    act: fn(&mut Stage, &Visitors) -> anyhow::Result<Happened>,
    marks: &Marks,
    rate: u32,
) -> anyhow::Result<Outcome> {
    open(stage).context("before the scenario")?;
    empty(stage)?;
    let visitors = Visitors::crowd(door(stage)?, every(rate), ROUND);
    goes_on(&visitors)?;
    wait(WARM);
    let happened = act(stage, &visitors);
    wait(WARM);
    // Whatever went wrong: the visitors go first.
    let visits = visitors.end()?;
    let mut happened = happened?;
    let settled = open(stage).and_then(|()| orders::converged(stage));
    match settled {
        Ok(()) => happened.wrong.extend(differ(stage)?),
        Err(error) => happened.wrong.push(format!("{error:#}")),
    }
    Ok(judge(&visits, &posts(stage)?, happened, marks))
}

/// The time between two requests, of so many a second.
pub fn every(rate: u32) -> Duration {
    Duration::from_secs(1) / rate.max(1)
}

/// Visitors come by the address that floats.
fn door(stage: &Stage) -> anyhow::Result<Door> {
    let floats = stage.site.public_addresses().first().copied().context("the site has no address")?;
    let address = SocketAddr::new(floats, stage.site.ports.http);
    Ok(Door { namespace: stage.internet()?, address, host: format!("www.{}", stage.site.domain) })
}

pub fn judge(visits: &[Visit], there: &[u64], happened: Happened, marks: &Marks) -> Outcome {
    let moment = happened.broke.map(|broke| match broke {
        Broke::During(moment) => moment,
        Broke::From(moment) => Moment { from: moment.from, to: answered_after(visits, moment.to) },
    });
    let told = tally(visits, there, moment);
    let mut wrong = happened.wrong;
    wrong.extend(told.wrong);
    let failed_reads = || visits.iter().filter(|visit| visit.what.is_read() && visit.failed.is_some());
    let (gap, order) = (gap(visits), happened.orders.iter().max().copied());
    if !marks.reads_fail {
        wrong.extend(failed_reads().filter_map(|visit| {
            Some(format!(
                "a page that was asked for at {} ms failed: {}",
                visit.sent.as_millis(),
                visit.failed.as_ref()?
            ))
        }));
    }
    if let Some(most) = marks.gap_max.filter(|most| gap > *most) {
        wrong.push(format!("nobody was answered for {} ms, and it may be {}", gap.as_millis(), most.as_millis()));
    }
    if let Some((took, most)) = order.zip(marks.order_max).filter(|(took, most)| took > most) {
        wrong.push(format!("an order took {} ms, and it may be {}", took.as_millis(), most.as_millis()));
    }
    Outcome {
        sent: told.sent,
        failed: told.failed,
        reads_failed: failed_reads().count() as u64,
        in_flight: told.in_flight,
        lasted: lasted(visits),
        gap,
        files_gap: gap_of(visits, false),
        slowest: told.slowest,
        acknowledged: told.acknowledged,
        lost: told.lost,
        order,
        wrong,
    }
}

/// When the first good answer came to a request that was sent after `from`.
fn answered_after(visits: &[Visit], from: Duration) -> Duration {
    let good = visits.iter().filter(|visit| visit.failed.is_none() && visit.sent >= from);
    good.map(|visit| visit.ended).min().unwrap_or(Duration::MAX)
}

/// The longest time between two good answers, of the application or of files, whichever is longer: files that are answered
/// must not hide an application that is not.
pub fn gap(visits: &[Visit]) -> Duration {
    gap_of(visits, true).max(gap_of(visits, false))
}

fn gap_of(visits: &[Visit], application: bool) -> Duration {
    let good = visits.iter().filter(|visit| visit.failed.is_none());
    let ended = good.filter(|visit| visit.what.is_of_application() == application).map(|visit| visit.ended);
    let mut ended: Vec<Duration> = ended.collect();
    ended.sort_unstable();
    ended.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

fn lasted(visits: &[Visit]) -> Duration {
    let sent = || visits.iter().map(|visit| visit.sent);
    sent().max().unwrap_or_default().saturating_sub(sent().min().unwrap_or_default())
}

/// So many a second.
pub fn reached(requests: u64, lasted: Duration) -> f64 {
    if lasted.is_zero() { 0.0 } else { requests as f64 / lasted.as_secs_f64() }
}

impl Played for Outcome {
    fn complaints(&self) -> impl Iterator<Item = &String> {
        self.wrong.iter()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { sent, failed, reads_failed, in_flight, acknowledged, lost, .. } = self;
        write!(
            f,
            "{sent} requests ({:.0} a second), {failed} failed ({reads_failed} that read, {in_flight} under way), gap {} ms ({} of files), \
             slowest {} ms, {acknowledged} posts, {lost} lost",
            reached(*sent, self.lasted),
            self.gap.as_millis(),
            self.files_gap.as_millis(),
            self.slowest.as_millis()
        )?;
        self.order.map_or(Ok(()), |took| write!(f, ", longest order {} ms", took.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use mainstay_lab::scenario::What;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn visit(what: What, sent: u64, ended: u64, failed: bool) -> Visit {
        Visit { what, sent: MS(sent), ended: MS(ended), failed: failed.then(|| "reset".to_owned()) }
    }

    fn judged(visits: &[Visit], broke: Option<Broke>, marks: Marks) -> Outcome {
        judge(visits, &[1], Happened { broke, orders: vec![MS(30)], wrong: Vec::new() }, &marks)
    }

    #[test]
    fn who_asks_while_nobody_is_there_is_under_way() {
        let visits = [
            visit(What::Read, 0, 10, false),
            visit(What::Post(1), 5, 12, false),
            visit(What::Read, 100, 130, true),
            visit(What::Read, 200, 700, true),
            visit(What::Read, 710, 720, false),
            visit(What::Read, 740, 750, true),
        ];
        let marks = Marks { reads_fail: true, gap_max: Some(MS(700)), order_max: None };
        let told = judged(&visits, Some(Broke::From(Moment { from: MS(8), to: MS(20) })), marks);
        assert_eq!((told.sent, told.failed, told.reads_failed, told.in_flight), (6, 3, 3, 2));
        assert_eq!((told.gap, told.order), (MS(708), Some(MS(30))));
        assert_eq!(told.wrong.len(), 2, "the one at 740 ms, and the gap: {:?}", told.wrong);
    }

    #[test]
    fn marks_are_kept_or_complained_of() {
        let visits = [visit(What::Post(1), 0, 10, false), visit(What::Read, 20, 30, true)];
        let moment = Moment { from: MS(15), to: MS(25) };
        assert!(judged(&visits, Some(Broke::During(moment)), READS).wrong.is_empty());
        assert_eq!(judged(&visits, Some(Broke::During(moment)), super::super::READS_NEVER_FAIL).wrong.len(), 1);
        assert_eq!(judged(&visits, None, READS).wrong.len(), 1, "nothing was broken");
        let slow = Marks { order_max: Some(MS(29)), ..READS };
        assert_eq!(judged(&visits, Some(Broke::During(moment)), slow).wrong.len(), 1);
    }

    const READS: Marks = Marks { reads_fail: true, gap_max: None, order_max: None };
}
