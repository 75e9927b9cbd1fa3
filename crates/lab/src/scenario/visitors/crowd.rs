//! Visitors who come at a rate, however long those before them wait.
//!
//! Who waits for an answer keeps nobody else from asking: eight visitors who all asked a server that lost its power would notice
//! nothing more of the site than that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::browser::Browser;
use super::{Visit, What};
use crate::scenario::Door;
use crate::scenario::crew::Desk;

/// Who waits at once, whatever happens.
const WAITING_MAX: usize = 512;
/// Who waits at once while nobody is answered: at two hundred a second, those of the longest silence that is promised. When it
/// ends all of them are to be answered at once, and that is to be no longer test than the silence.
const SILENT_MAX: usize = 200;
/// Who waits at once while answers come: at two hundred a second, those of a sixth of a second. A site that is slower than that
/// is asked less, which the table says, or it would be its queue that is looked at.
const KEEPS_UP: usize = 32;
/// Nobody is answered for so long: something is broken, and visitors come all the same.
const SILENCE: Duration = Duration::from_millis(250);
/// Who has waited for so long, and for so many times as long as others have lately, may wait for somebody who has lost his power,
/// which no client is told; he is not counted among those for whom a site must find time.
const STUCK: Duration = Duration::from_secs(2);
const STUCK_TIMES: u32 = 3;

/// What a visitor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads the page.
    Page,
    /// Fetches its style sheet.
    File,
    /// Writes a message.
    Post,
}

struct Visitor {
    number: u64,
    browser: Browser,
    step: usize,
}

/// How a visit ended.
struct Ended {
    at: Duration,
    took: Duration,
    well: bool,
    of_application: bool,
}

/// Who waits, and since when.
#[derive(Default)]
struct Waiting {
    since: BTreeMap<u64, Duration>,
    answered: Duration,
    /// When somebody was answered again after a silence.
    again: Duration,
    /// How long the application has taken lately.
    pace: Duration,
}

impl Waiting {
    /// Somebody waits no longer.
    fn ended(&mut self, number: u64, ended: &Ended) {
        self.since.remove(&number);
        if ended.well {
            if ended.at.saturating_sub(self.answered) > SILENCE {
                self.again = ended.at;
            }
            self.answered = self.answered.max(ended.at);
        }
        if ended.of_application {
            // A quick answer among slow ones is soon forgotten, and so is a slow one among quick ones.
            self.pace = ended.took.max(self.pace * 7 / 8);
        }
    }

    /// Whether one more may come.
    fn has_room(&self, now: Duration) -> bool {
        let patience = STUCK.max(self.pace * STUCK_TIMES);
        // Who asked somebody who was gone learns of it when his own machine asks again, up to seconds after others are answered.
        let is_silent = now.saturating_sub(self.answered) > SILENCE;
        let stuck = |since: &&Duration| now.saturating_sub(**since) > patience || !is_silent && **since < self.again;
        let most = if is_silent { SILENT_MAX } else { KEEPS_UP };
        self.since.len() < WAITING_MAX && self.since.values().filter(|since| !stuck(since)).count() < most
    }
}

/// One request each `every`, by whoever has nothing to wait for; each visitor does what is in `round`, again and again.
pub(super) async fn come(desk: Arc<Desk<Vec<Visit>>>, door: Door, every: Duration, round: &[Step]) {
    let (mut idle, mut busy, mut waiting, mut came) = (VecDeque::new(), JoinSet::new(), Waiting::default(), 0);
    let mut clock = interval(every);
    // Who is late, since others had the processor, makes up for it.
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !desk.ends() {
        clock.tick().await;
        while let Some(Ok((visitor, ended))) = busy.try_join_next() {
            let visitor: Visitor = visitor;
            waiting.ended(visitor.number, &ended);
            idle.push_back(visitor);
        }
        if waiting.has_room(desk.now()) {
            let visitor = idle.pop_front().unwrap_or_else(|| {
                came += 1;
                // They do not all post at once.
                Visitor { number: came, browser: Browser::new(door.clone()), step: idle.len() + busy.len() }
            });
            waiting.since.insert(visitor.number, desk.now());
            let step = round.get(visitor.step % round.len().max(1)).copied().unwrap_or(Step::Page);
            busy.spawn(visit(Arc::clone(&desk), visitor, step));
        }
    }
    while busy.join_next().await.is_some() {}
}

async fn visit(desk: Arc<Desk<Vec<Visit>>>, mut visitor: Visitor, step: Step) -> (Visitor, Ended) {
    let what = match step {
        Step::Page => What::Read,
        Step::File => What::File,
        Step::Post => What::Post(desk.number()),
    };
    visitor.step += 1;
    let sent = desk.now();
    let failed = visitor.browser.visit(&what).await.err();
    let at = desk.now();
    let ended =
        Ended { at, took: at.saturating_sub(sent), well: failed.is_none(), of_application: what.is_of_application() };
    if ended.well && !what.is_read() {
        desk.count();
    }
    desk.notes().push(Visit { what, sent, ended: at, failed });
    (visitor, ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_site_is_asked_less_and_a_silent_one_all_the_same() {
        let ms = Duration::from_millis;
        let waiting = |count: u64, since: Duration, answered: Duration| Waiting {
            since: (0..count).map(|number| (number, since)).collect(),
            answered,
            pace: ms(50),
            again: Duration::ZERO,
        };
        assert!(waiting(31, ms(9_000), ms(9_900)).has_room(ms(10_000)));
        assert!(!waiting(32, ms(9_000), ms(9_900)).has_room(ms(10_000)), "it is slow");
        assert!(waiting(32, ms(9_000), ms(9_700)).has_room(ms(10_000)), "it is silent");
        assert!(waiting(300, ms(7_000), ms(9_900)).has_room(ms(10_000)), "they are stuck");
        let mut mended = waiting(100, ms(9_000), ms(8_990));
        assert!(mended.has_room(ms(9_700)));
        mended.ended(0, &Ended { at: ms(9_700), took: ms(5), well: true, of_application: true });
        assert!(mended.has_room(ms(9_710)), "others wait for who is gone, and that keeps nobody away");
        let slow = Waiting { pace: ms(1_500), ..waiting(32, ms(7_000), ms(9_900)) };
        assert!(!slow.has_room(ms(10_000)), "they are not, where everybody waits for so long");
        assert!(!waiting(200, ms(9_000), ms(9_000)).has_room(ms(10_000)), "silence has a bound");
        assert!(!waiting(512, ms(7_000), ms(7_000)).has_room(ms(10_000)), "so has everything");
    }
}
