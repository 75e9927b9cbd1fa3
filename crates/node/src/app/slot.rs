//! One worker's life, decided: when to start it, ask it, trust it with requests, end it, and try again.
//!
//! Pure: the driver (`worker.rs`) owns the process and the clock. Every start is a new *life*; what is said of an
//! earlier life is not believed.

use std::time::Duration;

use mainstay_machines::Time;
use mainstay_machines::backoff::{Backoff, Policy};

/// Between questions to a worker that has not answered yet: a start is noticed within 50 ms.
const ASK_STARTING_EVERY: Duration = Duration::from_millis(50);
/// Between questions to one that serves: its death is noticed at once, so this is only for one that hangs.
const ASK_SERVING_EVERY: Duration = Duration::from_secs(5);
/// Import of a large framework on a busy small machine.
const START_MAX: Duration = Duration::from_secs(60);
/// Unanswered questions in a row that take it out of service: a single slow garbage collection is none.
const SILENCES_MAX: u32 = 3;
/// Silent for that long, it is ended and started anew: longer than any request may take (the engine's 60 s), so
/// that a worker that is only busy is not hung.
const HUNG_AFTER: Duration = Duration::from_secs(90);
/// From the polite signal to the one that cannot be caught. Less than the 10 s that the whole service has.
const STOP_MAX: Duration = Duration::from_secs(3);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Nothing but time.
    Tick,
    /// The process of this life was started.
    Spawned(u32),
    /// It could not be started.
    NotSpawned(String),
    /// The worker of that life answered.
    Answered(u32),
    /// The worker of that life did not answer, or wrongly.
    Silent(u32, String),
    /// The process ended.
    Exited(String),
    /// It is still at a request that was given up long ago.
    Stuck,
    /// The service ends.
    Stop,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Start the process.
    Spawn,
    /// Ask the worker of that life, and say what it answered.
    Ask(u32),
    /// Ask the process to end.
    Terminate,
    /// End the process.
    Kill,
}

/// How the worker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its process is about to be started, now or at that time.
    Waiting(Time),
    /// The process runs and has not answered yet.
    Starting,
    /// It gets requests.
    Serving,
    /// It runs and does not answer: it gets no requests.
    Quiet,
    /// It was asked to end.
    Stopping,
    /// It has ended and stays so.
    Stopped,
}

/// The state machine of one worker.
#[derive(Debug)]
pub(super) struct Slot {
    phase: Phase,
    because: String,
    entered: Time,
    life: u32,
    backoff: Backoff,
    /// How the life before ended.
    fell: Option<String>,
    silences: u32,
    last_answer: Time,
    next_ask: Time,
    asking: bool,
    kill_at: Time,
    killed_for: Option<String>,
    asks_serving: bool,
    starts: u64,
    out: std::collections::VecDeque<Output>,
}

impl Slot {
    /// A worker to be started at `now`. `asks_serving`: whether it can answer questions while it works on a request.
    pub fn new(asks_serving: bool, now: Time) -> Slot {
        Slot {
            phase: Phase::Waiting(now),
            because: "about to start".into(),
            entered: now,
            life: 0,
            backoff: Backoff::new(Policy::PROCESS),
            fell: None,
            silences: 0,
            last_answer: now,
            next_ask: Time::NEVER,
            asking: false,
            kill_at: Time::NEVER,
            killed_for: None,
            asks_serving,
            starts: 0,
            out: std::collections::VecDeque::new(),
        }
    }

    /// How it is.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Why it is so.
    pub fn because(&self) -> &str {
        &self.because
    }

    /// Since when it is so.
    pub fn entered(&self) -> Time {
        self.entered
    }

    /// How often its process was started.
    pub fn starts(&self) -> u64 {
        self.starts
    }

    /// What to do next, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to say [`Input::Tick`] at the latest.
    pub fn deadline(&self) -> Time {
        let start = if let Phase::Waiting(until) = self.phase { until } else { Time::NEVER };
        let ask = if self.asking { Time::NEVER } else { self.next_ask };
        start.min(ask).min(self.kill_at)
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Tick => {}
            Input::Spawned(pid) => self.spawned(now, pid),
            // The next life begins at the next tick at the earliest: until then the end can be seen.
            Input::NotSpawned(because) | Input::Exited(because) => return self.ended(now, because),
            Input::Stuck => self.stuck(),
            Input::Answered(life) => self.answered(now, life),
            Input::Silent(life, because) => self.silent(now, life, because),
            Input::Stop => self.stop(now),
        }
        self.act(now);
    }

    /// What the time brings.
    fn act(&mut self, now: Time) {
        if matches!(self.phase, Phase::Waiting(until) if until <= now) {
            self.phase = Phase::Starting;
            self.life += 1;
            self.starts += 1;
            self.out.push_back(Output::Spawn);
        }
        if self.next_ask <= now && !self.asking {
            self.asking = true;
            self.out.push_back(Output::Ask(self.life));
        }
        if self.kill_at <= now {
            self.kill_at = Time::NEVER;
            self.killed_for = self.runs().then(|| format!("was ended for not answering: it {}", self.because));
            self.out.push_back(Output::Kill);
        }
    }

    // ## Waiting => Starting
    fn spawned(&mut self, now: Time, pid: u32) {
        let before = self.fell.as_ref().map_or(String::new(), |fell| format!("; the one before {fell}"));
        self.enter(now, Phase::Starting, format!("process {pid} was started and has not answered yet{before}"));
        self.silences = 0;
        self.asking = false;
        self.next_ask = now;
        self.last_answer = now;
        self.kill_at = now + START_MAX;
    }

    // ## Starting | Serving | Quiet => Serving
    fn answered(&mut self, now: Time, life: u32) {
        if life != self.life || !self.runs() {
            return;
        }
        if self.phase == Phase::Starting {
            // Counted from here: what takes long to start and then falls is not well.
            self.backoff.started(now);
        }
        self.enter_once(now, Phase::Serving, "answers its health check".into());
        self.asking = false;
        self.silences = 0;
        self.last_answer = now;
        self.kill_at = Time::NEVER;
        self.next_ask = if self.asks_serving { now + ASK_SERVING_EVERY } else { Time::NEVER };
    }

    // ## Starting => Starting; Serving => (Serving | Quiet); Quiet => Quiet
    fn silent(&mut self, now: Time, life: u32, because: String) {
        if life != self.life || !self.runs() {
            return;
        }
        self.asking = false;
        self.silences += 1;
        let starting = self.phase == Phase::Starting;
        self.next_ask = now + if starting { ASK_STARTING_EVERY } else { ASK_SERVING_EVERY };
        if starting {
            let before = self.fell.as_ref().map_or(String::new(), |fell| format!("; the one before {fell}"));
            self.because = format!("has not passed its health check yet: {because}{before}");
        } else if self.silences >= SILENCES_MAX {
            self.kill_at = self.last_answer + HUNG_AFTER;
            self.enter_once(now, Phase::Quiet, format!("gets no requests: {because}"));
        }
    }

    // ## Starting | Serving | Quiet => Waiting; Stopping => Stopped
    fn ended(&mut self, now: Time, because: String) {
        self.asking = false;
        self.next_ask = Time::NEVER;
        self.kill_at = Time::NEVER;
        if matches!(self.phase, Phase::Stopping | Phase::Stopped) {
            self.enter(now, Phase::Stopped, "ended as asked".into());
            return;
        }
        let again = self.backoff.ended(now);
        let because = self.killed_for.take().unwrap_or(because);
        self.enter(now, Phase::Waiting(again), format!("{because}; started again {}", after(again.since(now))));
        self.fell = Some(because);
    }

    fn stuck(&mut self) {
        if self.runs() {
            self.killed_for = Some("was ended: it was stuck with a request that was given up long ago".into());
            self.out.push_back(Output::Kill);
        }
    }

    // ## Waiting => Stopped; Starting | Serving | Quiet => Stopping
    fn stop(&mut self, now: Time) {
        self.next_ask = Time::NEVER;
        if self.runs() {
            self.enter(now, Phase::Stopping, "asked to end".into());
            self.kill_at = now + STOP_MAX;
            self.out.push_back(Output::Terminate);
        } else if matches!(self.phase, Phase::Waiting(_)) {
            self.enter(now, Phase::Stopped, "ended as asked".into());
        }
    }

    fn runs(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Serving | Phase::Quiet)
    }

    fn enter(&mut self, now: Time, phase: Phase, because: String) {
        self.phase = phase;
        self.because = because;
        self.entered = now;
    }

    fn enter_once(&mut self, now: Time, phase: Phase, because: String) {
        if self.phase != phase {
            self.enter(now, phase, because);
        }
    }
}

fn after(pause: Duration) -> String {
    if pause < Duration::from_secs(1) { "at once".into() } else { format!("after {} s", pause.as_secs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn drain(slot: &mut Slot) -> Vec<Output> {
        std::iter::from_fn(|| slot.poll()).collect()
    }

    /// A worker that answered at 100 ms.
    fn serving() -> Slot {
        let mut slot = Slot::new(true, at(0));
        slot.handle(at(0), Input::Tick);
        slot.handle(at(0), Input::Spawned(7));
        slot.handle(at(100), Input::Answered(1));
        drain(&mut slot);
        slot
    }

    #[test]
    fn gets_requests_only_after_an_answer() {
        let mut slot = Slot::new(true, at(0));
        slot.handle(at(0), Input::Tick);
        assert_eq!(drain(&mut slot), [Output::Spawn]);
        slot.handle(at(1), Input::Spawned(7));
        assert_eq!(drain(&mut slot), [Output::Ask(1)]);
        slot.handle(at(5), Input::Silent(1, "connection refused".into()));
        assert_eq!((slot.phase(), slot.deadline()), (&Phase::Starting, at(55)));
        slot.handle(at(55), Input::Tick);
        assert_eq!(drain(&mut slot), [Output::Ask(1)]);
        slot.handle(at(60), Input::Answered(1));
        assert_eq!(slot.phase(), &Phase::Serving);
    }

    #[test]
    fn a_crash_at_start_is_tried_again_ever_more_slowly() {
        let mut slot = Slot::new(true, at(0));
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            slot.handle(at(now), Input::Tick);
            assert_eq!(drain(&mut slot), [Output::Spawn]);
            slot.handle(at(now), Input::Spawned(7));
            slot.handle(at(now), Input::Exited("exited with status 1: no module".into()));
            assert!(!drain(&mut slot).contains(&Output::Spawn), "not before it was seen");
            pauses.push(slot.deadline().as_nanos() / 1_000_000 - now);
            now = slot.deadline().as_nanos() / 1_000_000;
            assert!(slot.because().starts_with("exited with status 1: no module; started again"));
        }
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn one_that_served_long_enough_comes_back_at_once_and_a_long_start_does_not_count() {
        let mut slot = Slot::new(true, at(0));
        let mut fall = |answered: Option<u64>, ended: u64| {
            slot.handle(slot.deadline(), Input::Tick);
            let born = slot.deadline();
            slot.handle(born, Input::Spawned(7));
            if let Some(answered) = answered {
                slot.handle(at(answered), Input::Answered(slot.life));
            }
            slot.handle(at(ended), Input::Exited("was killed by signal 9".into()));
            slot.deadline().since(at(ended)).as_millis()
        };
        assert_eq!(fall(Some(100), 20_000), 0);
        assert_eq!(fall(Some(70_000), 70_001), 100, "fifty seconds of starting are none of serving");
        assert_eq!(fall(Some(71_000), 76_000), 0);
    }

    #[test]
    fn one_that_is_stuck_is_ended_and_says_so() {
        let mut slot = serving();
        slot.handle(at(1000), Input::Stuck);
        assert_eq!(drain(&mut slot), [Output::Kill]);
        slot.handle(at(1001), Input::Exited("was killed by signal 9".into()));
        assert!(slot.because().starts_with("was ended: it was stuck"), "{}", slot.because());
        slot.handle(at(1002), Input::Stuck);
        assert_eq!(drain(&mut slot), [Output::Spawn], "there is nobody to end");
    }

    #[test]
    fn an_answer_of_an_earlier_life_is_not_believed() {
        let mut slot = serving();
        slot.handle(at(200), Input::Exited("gone".into()));
        slot.handle(at(300), Input::Tick);
        slot.handle(at(300), Input::Spawned(8));
        slot.handle(at(301), Input::Answered(1));
        assert_eq!(slot.phase(), &Phase::Starting);
        slot.handle(at(302), Input::Answered(2));
        assert_eq!(slot.phase(), &Phase::Serving);
    }

    #[test]
    fn three_silences_take_it_out_an_answer_brings_it_back_and_a_long_silence_ends_it() {
        let mut slot = serving();
        for round in 0..3 {
            assert_eq!(slot.phase(), &Phase::Serving);
            slot.handle(at(5100 + round * 5000), Input::Tick);
            slot.handle(at(5100 + round * 5000), Input::Silent(1, "no answer in 5 s".into()));
        }
        assert_eq!(slot.phase(), &Phase::Quiet);
        slot.handle(at(21_000), Input::Answered(1));
        assert_eq!((slot.phase(), slot.kill_at), (&Phase::Serving, Time::NEVER));
        for round in 0..30 {
            slot.handle(at(26_000 + round * 5000), Input::Silent(1, "no answer in 5 s".into()));
        }
        assert!(drain(&mut slot).contains(&Output::Kill));
    }

    #[test]
    fn one_that_never_answers_is_ended() {
        let mut slot = Slot::new(true, at(0));
        slot.handle(at(0), Input::Tick);
        slot.handle(at(0), Input::Spawned(7));
        slot.handle(at(60_000), Input::Silent(1, "connection refused".into()));
        assert!(drain(&mut slot).contains(&Output::Kill));
        slot.handle(at(60_001), Input::Exited("was killed by signal 9".into()));
        let because = "was ended for not answering: it has not passed its health check yet: connection refused";
        assert!(slot.because().starts_with(because), "{}", slot.because());
    }

    #[test]
    fn stopping_is_polite_first_and_ends_in_every_phase() {
        let mut slot = serving();
        slot.handle(at(1000), Input::Stop);
        assert_eq!(drain(&mut slot), [Output::Terminate]);
        slot.handle(at(1000 + 3000), Input::Tick);
        assert_eq!(drain(&mut slot), [Output::Kill]);
        slot.handle(at(4001), Input::Exited("killed".into()));
        assert_eq!((slot.phase(), slot.deadline()), (&Phase::Stopped, Time::NEVER));

        let mut slot = Slot::new(true, at(0));
        slot.handle(at(0), Input::Stop);
        assert_eq!((drain(&mut slot).len(), slot.phase()), (0, &Phase::Stopped));
    }

    #[test]
    fn one_that_works_on_one_request_at_a_time_is_not_asked_while_it_serves() {
        let mut slot = Slot::new(false, at(0));
        slot.handle(at(0), Input::Tick);
        slot.handle(at(0), Input::Spawned(7));
        slot.handle(at(10), Input::Answered(1));
        assert_eq!(slot.deadline(), Time::NEVER);
    }
}
