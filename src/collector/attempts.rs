//! Requests to collect a window, which may take longer than a request may wait: one attempt at a time for each window,
//! which later requests join, and whose end somebody hears of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arras_protocol::messages::TaskId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::collector::errors::CollectError;
use crate::collector::release::Published;
use crate::collector::span::Span;
use crate::collector::{Collector, WindowKey, window_key};

/// For how long the failure of an attempt that nobody waited for is kept for the next request. Longer than the pause
/// between two requests of one caller, and not so long that somebody hears of trouble that is over.
const OUTCOME_KEPT: Duration = Duration::from_secs(60);

/// Attempts that run and failures that are kept, together; a failure is a few hundred bytes. Years of daily windows can be
/// asked for at once; beyond them a request is told to come back.
const ATTEMPTS_MAX: usize = 1024;

type Outcome = Arc<Result<Published, CollectError>>;

/// How far an attempt is.
#[derive(Clone, Debug, Default)]
struct Progress {
    trouble: Option<String>,
    ended: Option<(Instant, Outcome)>,
}

/// The attempts that run, and those that failed a moment ago. Locked for moments only.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<WindowKey, watch::Receiver<Progress>>>);

impl Attempts {
    fn lock(&self) -> MutexGuard<'_, HashMap<WindowKey, watch::Receiver<Progress>>> {
        // Entries are put in and taken out whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self, key: WindowKey) -> Option<String> {
        self.lock().get(&key).and_then(|progress| progress.borrow().trouble.clone())
    }

    /// Takes away an attempt that has ended, if it is still there.
    fn forget(&self, key: WindowKey) {
        let mut attempts = self.lock();
        // A sender that is gone without an outcome was that of an attempt that panicked.
        if attempts.get(&key).is_some_and(|progress| has_ended(progress) || progress.has_changed().is_err()) {
            attempts.remove(&key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

fn has_ended(progress: &watch::Receiver<Progress>) -> bool {
    progress.borrow().ended.is_some()
}

/// What a request that waits for a while hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// The attempt's end.
    Ended(Outcome),
    /// It goes on; what is in its way, if anything.
    UnderWay { trouble: Option<String> },
    /// It broke off by a fault of ours.
    Broke,
    /// There is none: too many others run.
    Busy,
}

/// What the interface answers while an attempt goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnderWay {
    state: String,
    /// Why the leader could not be asked the last time, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
}

impl UnderWay {
    pub(super) fn new(trouble: Option<String>) -> Self {
        Self { state: "under way".to_owned(), trouble }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Two strings are always JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an answer; one that says nothing is one without trouble.
    pub(crate) fn from_json(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

impl Heard {
    #[cfg(test)]
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::UnderWay { .. })
    }
}

impl Collector {
    /// Collects a window as [`Collector::collect`] does and waits for it for at most `limit`; the attempt goes on in any
    /// case, and the next request for the window joins it.
    pub(super) async fn collect_within(&self, limit: Duration, task: TaskId, window: Span) -> Heard {
        let Some(mut progress) = self.attempt(task, window) else { return Heard::Busy };
        let ended = timeout(limit, progress.wait_for(|progress| progress.ended.is_some())).await;
        let ended = match ended {
            Ok(Ok(progress)) => progress.ended.as_ref().map(|(_, outcome)| Arc::clone(outcome)),
            Ok(Err(_)) => None,
            Err(_) => return Heard::UnderWay { trouble: self.attempts().trouble(window_key(task, window)) },
        };
        self.attempts().forget(window_key(task, window));
        ended.map_or(Heard::Broke, Heard::Ended)
    }

    /// The attempt at a window that runs, or failed a moment ago without being heard of, or else a new one; none if
    /// too many others run.
    fn attempt(&self, task: TaskId, window: Span) -> Option<watch::Receiver<Progress>> {
        let key = window_key(task, window);
        let mut attempts = self.attempts().lock();
        if let Some(progress) = attempts.get(&key) {
            let joins = match &progress.borrow().ended {
                Some((at, _)) => at.elapsed() <= OUTCOME_KEPT,
                None => progress.has_changed().is_ok(),
            };
            if joins {
                return Some(progress.clone());
            }
        }
        if attempts.len() >= ATTEMPTS_MAX {
            attempts.retain(|_, progress| !has_ended(progress) && progress.has_changed().is_ok());
            if attempts.len() >= ATTEMPTS_MAX {
                return None;
            }
        }
        let (tell, progress) = watch::channel(Progress::default());
        attempts.insert(key, progress.clone());
        drop(attempts);
        let collector = self.clone();
        tokio::spawn(async move {
            let trouble = |cause: String| tell.send_modify(|progress| progress.trouble = Some(cause));
            let outcome = Arc::new(collector.collect_telling(task, window, &trouble).await);
            let released = outcome.is_ok();
            tell.send_modify(|progress| progress.ended = Some((Instant::now(), outcome)));
            if released {
                // The store has it; whoever waits has heard.
                collector.attempts().forget(key);
            }
        });
        Some(progress)
    }
}
