//! Whether a backend is well: the active health check.
//!
//! A backend is asked a question each interval. It takes `rise` good answers in a row to bring it back and `fall` bad ones
//! in a row to take it out (HAProxy's `rise` and `fall`). Before its first good answer ever it is only not up yet: it is
//! asked more often ([`EAGER`]), and that answer alone brings it in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Time;

/// How to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Between the beginnings of two checks.
    pub interval: Duration,
    /// After which an unanswered check counts as failed.
    pub timeout: Duration,
    /// Good answers in a row that bring it back; at least one.
    pub rise: u32,
    /// Bad answers in a row that take it out; at least one.
    pub fall: u32,
}

/// How many times as often a backend is asked that was never well: its start is what a newcomer waits for, and a question
/// to a port that nobody listens on yet costs nothing.
pub const EAGER: u32 = 4;

/// The id of a check, so that a late answer is never taken for a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Question(pub u64);

/// Why a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "kebab-case")]
pub enum Failure {
    /// No connection.
    Unreachable,
    /// Somebody answers, and we do not believe who it is, or it does not believe us.
    Distrusted {
        /// Why.
        because: Distrust,
    },
    /// No answer in time.
    NoAnswer,
    /// The connection was closed before an answer.
    Closed,
    /// The connection was closed in the middle of an answer.
    BrokeOff,
    /// What came was no HTTP response.
    Malformed,
    /// A status that is neither 2xx nor 3xx.
    Status {
        /// The status.
        code: u16,
    },
}

/// Why a connection over TLS was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distrust {
    /// Nobody whom we believe has signed its certificate.
    Stranger,
    /// Its certificate is for somebody else.
    OtherName,
    /// Its certificate is not valid now.
    OutOfDate,
    /// Its certificate is wrong otherwise.
    Certificate,
    /// It does not believe us.
    Refused,
    /// What it says is no TLS, or none that we speak.
    Protocol,
}

impl std::fmt::Display for Distrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Distrust::Stranger => "shows a certificate that no authority of ours has signed",
            Distrust::OtherName => "shows a certificate for another name",
            Distrust::OutOfDate => "shows a certificate that is not valid now: it has expired, or a clock is wrong",
            Distrust::Certificate => "shows a certificate that cannot be verified",
            Distrust::Refused => "refused us, or the certificate that we show",
            Distrust::Protocol => "does not speak TLS as it should",
        })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Unreachable => f.write_str("cannot be connected to"),
            Failure::Distrusted { because } => because.fmt(f),
            Failure::NoAnswer => f.write_str("did not answer in time"),
            Failure::Closed => f.write_str("closed the connection without an answer"),
            Failure::BrokeOff => f.write_str("broke off in the middle of its answer"),
            Failure::Malformed => f.write_str("answered with something that is not HTTP"),
            Failure::Status { code } => write!(f, "answered {code}"),
        }
    }
}

/// What is known of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not up yet: gets no requests.
    Unknown,
    /// Gets requests.
    Well,
    /// Gets none.
    Ill,
}

/// Why the state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// Its first good answer ever.
    FirstAnswer,
    /// No good answer yet.
    NotYet {
        /// How.
        failure: Failure,
    },
    /// So many good answers in a row.
    Rose {
        /// Answers.
        successes: u32,
    },
    /// So many bad ones in a row.
    Fell {
        /// Checks.
        failures: u32,
        /// How the last one failed.
        last: Failure,
    },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::FirstAnswer => f.write_str("answers its checks"),
            Reason::NotYet { failure } => write!(f, "not up yet: it {failure}"),
            Reason::Rose { successes } => write!(f, "{successes} checks in a row were answered well"),
            Reason::Fell { failures, last } => write!(f, "{failures} checks in a row failed: it {last}"),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// A check came back.
    Answer {
        /// Which.
        question: Question,
        /// How.
        verdict: Result<(), Failure>,
    },
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Begin a check; an answer after `until` is ignored.
    Ask {
        /// Its id.
        question: Question,
        /// When it is too late.
        until: Time,
    },
    /// The state is another one, or its reason while it is [`State::Unknown`].
    Changed {
        /// Which.
        state: State,
        /// Why.
        because: Reason,
    },
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Health {
    config: Config,
    state: State,
    /// Answers in a row that speak against `state`.
    against: u32,
    asked: Option<(Question, Time)>,
    next_question: u64,
    next_ask: Time,
    ask: Option<Output>,
    changed: Option<Output>,
}

impl Health {
    /// A backend of which nothing is known; the first check is due now.
    pub fn new(config: Config, now: Time) -> Self {
        Health::known(config, State::Unknown, now)
    }

    /// A backend that was found to be in `state`, perhaps by another machine; the first check is due now.
    pub fn known(config: Config, state: State, now: Time) -> Self {
        let mut health = Health {
            config,
            state,
            against: 0,
            asked: None,
            next_question: 0,
            next_ask: now,
            ask: None,
            changed: None,
        };
        health.handle(now, Input::Tick);
        health
    }

    /// What is known.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes note of `input`; drain [`Health::poll`] after each.
    pub fn handle(&mut self, now: Time, input: Input) {
        if self.asked.is_some_and(|(_, until)| until <= now) {
            self.asked = None;
            self.judge(Err(Failure::NoAnswer));
        }
        if let Input::Answer { question, verdict } = input
            && self.asked.is_some_and(|(asked, _)| asked == question)
        {
            self.asked = None;
            self.judge(verdict);
        }
        if self.asked.is_none() && self.next_ask <= now {
            self.begin(now);
        }
    }

    /// What to do next; `None`: sleep until [`Health::deadline`].
    pub fn poll(&mut self) -> Option<Output> {
        self.changed.take().or_else(|| self.ask.take())
    }

    /// When to say [`Input::Tick`].
    pub fn deadline(&self) -> Time {
        self.asked.map_or(self.next_ask, |(_, until)| until)
    }

    fn begin(&mut self, now: Time) {
        let question = Question(self.next_question);
        let until = now + self.config.timeout;
        self.next_question += 1;
        self.next_ask = now
            + match self.state {
                State::Unknown => self.config.interval / EAGER,
                State::Well | State::Ill => self.config.interval,
            };
        self.asked = Some((question, until));
        self.ask = Some(Output::Ask { question, until });
    }

    fn judge(&mut self, verdict: Result<(), Failure>) {
        let speaks_for = matches!((self.state, verdict), (State::Well, Ok(())) | (State::Ill, Err(_)));
        self.against = if speaks_for { 0 } else { self.against + 1 };
        match (self.state, verdict) {
            // ## Unknown => Well
            (State::Unknown, Ok(())) => self.change(State::Well, Reason::FirstAnswer),
            (State::Unknown, Err(failure)) => {
                self.changed = Some(Output::Changed { state: State::Unknown, because: Reason::NotYet { failure } });
            }
            // ## Well => Ill
            (State::Well, Err(last)) if self.against >= self.config.fall => {
                self.change(State::Ill, Reason::Fell { failures: self.against, last });
            }
            // ## Ill => Well
            (State::Ill, Ok(())) if self.against >= self.config.rise => {
                self.change(State::Well, Reason::Rose { successes: self.against });
            }
            _ => {}
        }
    }

    fn change(&mut self, state: State, because: Reason) {
        self.state = state;
        self.against = 0;
        self.changed = Some(Output::Changed { state, because });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 40;
    const TIMEOUT: u64 = 4;

    fn config(rise: u32, fall: u32) -> Config {
        Config { interval: Duration::from_millis(INTERVAL), timeout: Duration::from_millis(TIMEOUT), rise, fall }
    }

    /// What an operator would say of a history of answers: not up before the first good one, well from then on; ill after
    /// `fall` bad ones at its end, well again after `rise` good ones, otherwise as before.
    fn model(history: &[bool], rise: u32, fall: u32) -> State {
        let Some((last, before)) = history.split_last() else { return State::Unknown };
        let in_a_row = history.iter().rev().take_while(|answer| *answer == last).count() as u32;
        match (model(before, rise, fall), last) {
            (State::Unknown, true) => State::Well,
            (State::Ill, true) if in_a_row >= rise => State::Well,
            (State::Well, false) if in_a_row >= fall => State::Ill,
            (state, _) => state,
        }
    }

    /// How one check ends.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Ending {
        Good,
        Bad,
        Silence,
        /// The answer to the check before comes now, then the good one.
        StaleThenGood,
        /// No answer in time, and a good one after it.
        TooLate,
    }

    const ENDINGS: [Ending; 5] = [Ending::Good, Ending::Bad, Ending::Silence, Ending::StaleThenGood, Ending::TooLate];

    fn drain(health: &mut Health) -> (Option<Question>, Vec<State>) {
        let (mut asked, mut states) = (None, Vec::new());
        while let Some(output) = health.poll() {
            match output {
                Output::Ask { question, .. } => assert!(asked.replace(question).is_none(), "asked twice"),
                Output::Changed { state, .. } => states.push(state),
            }
        }
        (asked, states)
    }

    fn play(history: &[Ending], rise: u32, fall: u32) {
        let mut now = 0;
        let mut health = Health::new(config(rise, fall), Time::ZERO);
        let mut seen = Vec::new();
        let (mut question, _) = drain(&mut health);
        for ending in history {
            let asked = question.take().expect("a question in each interval");
            let before = health.state();
            let good = Input::Answer { question: asked, verdict: Ok(()) };
            let stale = Question(asked.0.wrapping_sub(1));
            match ending {
                Ending::Good => health.handle(Time::from_millis(now + 1), good),
                Ending::Bad => {
                    let verdict = Err(Failure::Status { code: 500 });
                    health.handle(Time::from_millis(now + 1), Input::Answer { question: asked, verdict });
                }
                Ending::Silence => health.handle(Time::from_millis(now + TIMEOUT), Input::Tick),
                Ending::StaleThenGood => {
                    let answer = Input::Answer { question: stale, verdict: Err(Failure::Closed) };
                    health.handle(Time::from_millis(now + 1), answer);
                    assert_eq!(drain(&mut health), (None, vec![]), "a stale answer moved it");
                    health.handle(Time::from_millis(now + 1), good);
                }
                Ending::TooLate => health.handle(Time::from_millis(now + TIMEOUT), good),
            }
            seen.push(matches!(ending, Ending::Good | Ending::StaleThenGood));
            let expected = model(&seen, rise, fall);
            let told = expected != before || expected == State::Unknown;
            let changes = if told { vec![expected] } else { vec![] };
            assert_eq!(drain(&mut health), (None, changes), "{history:?} rise {rise} fall {fall}");
            assert_eq!(health.state(), expected);
            let met = seen[..seen.len() - 1].contains(&true);
            now += if met { INTERVAL } else { INTERVAL / u64::from(EAGER) };
            assert_eq!(health.deadline(), Time::from_millis(now), "asks again after one interval");
            health.handle(Time::from_millis(now - 1), Input::Tick);
            assert_eq!(drain(&mut health), (None, vec![]), "not before its time");
            health.handle(Time::from_millis(now), Input::Tick);
            question = drain(&mut health).0;
        }
    }

    /// Every history of up to six checks that end in any of five ways, under several thresholds.
    #[test]
    fn agrees_with_the_model_over_all_short_histories() {
        for (rise, fall) in [(1, 1), (2, 3), (3, 2), (1, 3)] {
            for length in 0..=6u32 {
                for number in 0..5usize.pow(length) {
                    let history: Vec<_> = (0..length).map(|place| ENDINGS[number / 5usize.pow(place) % 5]).collect();
                    play(&history, rise, fall);
                }
            }
        }
    }

    #[test]
    fn what_was_known_stands_until_enough_speaks_against_it() {
        for (known, ending, answers, then) in
            [(State::Well, Err(Failure::Closed), 3, State::Ill), (State::Ill, Ok(()), 2, State::Well)]
        {
            let mut health = Health::known(config(2, 3), known, Time::ZERO);
            for number in 1..=answers {
                assert_eq!(health.state(), known);
                let question = drain(&mut health).0.expect("asked at once, then each interval");
                let now = Time::from_millis((number - 1) * INTERVAL + 1);
                health.handle(now, Input::Answer { question, verdict: ending });
                health.handle(Time::from_millis(number * INTERVAL), Input::Tick);
            }
            assert_eq!(health.state(), then);
        }
    }

    #[test]
    fn an_answer_that_outlasts_the_interval_delays_the_next_question() {
        let slow = Config { timeout: Duration::from_millis(25), ..config(1, 1) };
        let mut health = Health::new(slow, Time::ZERO);
        let (question, _) = drain(&mut health);
        health.handle(Time::from_millis(20), Input::Tick);
        assert_eq!(drain(&mut health), (None, vec![]), "one question at a time");
        let answer = Input::Answer { question: question.expect("asked"), verdict: Ok(()) };
        health.handle(Time::from_millis(22), answer);
        assert_eq!(drain(&mut health), (Some(Question(1)), vec![State::Well]));
    }
}
