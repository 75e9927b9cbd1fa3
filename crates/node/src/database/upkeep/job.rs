//! One job at a time, and what it says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_site::wire::upkeep::Job;

use super::error::Error;
use super::{Scene, outcome};

/// The job that was begun last.
#[derive(Default)]
pub struct Jobs(Mutex<Option<Job>>);

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Option<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job that was begun last.
    pub fn last(&self) -> Option<Job> {
        self.lock().clone()
    }

    /// What is being done now.
    pub fn note(&self, now: impl Into<String>) {
        let now = now.into();
        tracing::info!("{now}");
        if let Some(job) = self.lock().as_mut() {
            job.now = now;
        }
    }

    /// Takes the one place there is.
    fn take(&self, what: &str) -> Result<Option<Job>, Error> {
        let mut last = self.lock();
        if let Some(running) = last.as_ref().filter(|job| job.outcome.is_none()) {
            return Err(Error::Busy(running.what.clone()));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        *last = Some(Job { what: what.into(), since_ms: since, now: "begun".into(), outcome: None });
        Ok(last.clone())
    }

    /// Begins `work`.
    ///
    /// # Errors
    /// [`Error::Busy`].
    pub fn begin<W, F>(&self, what: &str, scene: Arc<Scene>, work: W) -> Result<Option<Job>, Error>
    where
        W: FnOnce(Arc<Scene>) -> F,
        F: Future<Output = Result<Vec<(String, String)>, Error>> + Send + 'static,
    {
        let job = self.take(what)?;
        let (working, what) = (work(scene.clone()), what.to_owned());
        tokio::spawn(async move {
            let outcome = outcome(working.await);
            tracing::info!(what, ?outcome, "ended");
            if let Some(job) = scene.jobs.lock().as_mut() {
                job.outcome = Some(outcome);
            }
        });
        Ok(job)
    }
}
