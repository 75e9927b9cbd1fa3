//! What a supervisor makes of what a service says of itself, or does not say.

use std::path::PathBuf;
use std::time::Duration;

use hyper::{Method, StatusCode};
use mainstay_machines::Time;
use mainstay_site::wire::{Report, State};

use crate::clock::{Utc, unix_ms};
use crate::unix_http;

/// How long an answer may take. It comes from a thread that does nothing else, in well under a millisecond.
const ANSWER: Duration = Duration::from_secs(1);

/// Silence that is made nothing of: one lost answer on a busy machine.
const SILENCE: Duration = Duration::from_secs(3);

/// Silence of one that has never answered: its process must first be loaded.
const SILENCE_STARTING: Duration = Duration::from_secs(10);

/// How the service is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) because: String,
    pub(super) report: Option<Report>,
}

/// Asks one process of a service, and judges.
pub(super) struct Health {
    socket: PathBuf,
    /// When it last answered, or was started.
    heard: Time,
    heard_ms: u64,
    last: Option<Report>,
}

impl Health {
    pub(super) fn new(socket: PathBuf, now: Time) -> Health {
        Health { socket, heard: now, heard_ms: unix_ms(), last: None }
    }

    /// Asks the process; what is wrong, if there is no answer.
    pub(super) async fn ask(&self) -> Result<Report, String> {
        let answer = unix_http::ask(&self.socket, Method::GET, "/v1/report", Vec::new(), ANSWER).await;
        match answer.map_err(|error| error.to_string())? {
            (StatusCode::OK, body) => {
                serde_json::from_slice(&body).map_err(|error| format!("its report cannot be read: {error}"))
            }
            (status, _) => Err(format!("its report socket answers {status}")),
        }
    }

    /// What the answer means.
    pub(super) fn judge(&mut self, now: Time, answer: Result<Report, String>) -> Verdict {
        match answer {
            Ok(report) => {
                (self.heard, self.heard_ms) = (now, unix_ms());
                self.last = Some(report.clone());
                Verdict { state: report.state, because: report.because.clone(), report: Some(report) }
            }
            Err(error) => self.silent(now, error),
        }
    }

    fn silent(&mut self, now: Time, error: String) -> Verdict {
        let patience = if self.last.is_some() { SILENCE } else { SILENCE_STARTING };
        match &self.last {
            _ if now.since(self.heard) >= patience => {
                // What it said long ago is not how it is.
                let since = Utc(self.heard_ms);
                let because = format!(
                    "does not answer since {since} ({error}): stopped by a signal, or stuck; \
                     `POST /v1/restart` on the control socket starts it afresh"
                );
                Verdict { state: State::Degraded, because, report: None }
            }
            Some(last) => Verdict { state: last.state, because: last.because.clone(), report: Some(last.clone()) },
            None => Verdict { state: State::Starting, because: "just started".to_owned(), report: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(state: State) -> Report {
        let because = "says so".to_owned();
        Report { state, because, facts: Vec::new(), parts: Vec::new(), counters: Default::default() }
    }

    #[test]
    fn silence_is_borne_then_told() {
        let at = Time::from_millis;
        let mut health = Health::new(PathBuf::new(), at(0));
        let silent = || Err("no answer".to_owned());
        assert_eq!(health.judge(at(9_999), silent()).state, State::Starting);
        assert_eq!(health.judge(at(10_000), silent()).state, State::Degraded);
        assert_eq!(health.judge(at(11_000), Ok(report(State::Serving))).state, State::Serving);
        assert_eq!(health.judge(at(13_999), silent()).state, State::Serving);
        let frozen = health.judge(at(14_000), silent());
        assert_eq!((frozen.state, frozen.report), (State::Degraded, None));
        assert!(frozen.because.starts_with("does not answer since "), "{}", frozen.because);
        assert_eq!(health.judge(at(15_000), Ok(report(State::Failed))).state, State::Failed);
    }
}
