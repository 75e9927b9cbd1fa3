//! Visitors with browsers: each keeps its connection and its cookies, reads a page, posts a form, follows the redirect.

mod browser;
mod crowd;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use self::browser::Browser;
pub use self::crowd::Step;
pub use self::tally::{Moment, Tally, Visit, What, tally};
use super::crew::{Crew, Desk};
use super::door::Door;

/// Between two requests of one visitor.
const PAUSE: Duration = Duration::from_millis(40);
/// At once. With the pause they make up to two hundred requests a second, which two cores bear beside a whole site.
const VISITORS: u64 = 8;

/// Visitors at work.
pub struct Visitors(Crew<Vec<Visit>>);

impl Visitors {
    /// Has them come.
    pub fn start(door: Door) -> Visitors {
        Visitors(Crew::start(&door.namespace.clone(), |desk| come(desk, door)))
    }

    /// Has one ask each `every`, by whoever of them has nothing to wait for; each does what is in `round`, again and again.
    pub fn crowd(door: Door, every: Duration, round: &'static [Step]) -> Visitors {
        Visitors(Crew::start(&door.namespace.clone(), move |desk| crowd::come(desk, door, every, round)))
    }

    /// How long they have been coming: the clock of [`Visit`]s.
    pub fn now(&self) -> Duration {
        self.0.desk.now()
    }

    /// How many posts were acknowledged until now.
    pub fn acknowledged(&self) -> u64 {
        self.0.desk.counted()
    }

    /// Lets them finish what they are at, and returns what they saw.
    ///
    /// # Errors
    /// If their namespace was gone.
    pub fn end(self) -> anyhow::Result<Vec<Visit>> {
        self.0.end()
    }
}

async fn come(desk: Arc<Desk<Vec<Visit>>>, door: Door) {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..VISITORS {
        all.spawn(visitor(Arc::clone(&desk), Browser::new(door.clone())));
    }
    while all.join_next().await.is_some() {}
}

async fn visitor(desk: Arc<Desk<Vec<Visit>>>, mut browser: Browser) {
    let mut clock = interval(PAUSE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !desk.ends() {
        // The last one is the page that the redirect leads to.
        for what in [What::Read, What::Post(desk.number()), What::Read] {
            clock.tick().await;
            let sent = desk.now();
            let failed = browser.visit(&what).await.err();
            if failed.is_none() && matches!(what, What::Post(_)) {
                desk.count();
            }
            desk.notes().push(Visit { what, sent, ended: desk.now(), failed });
        }
    }
}
