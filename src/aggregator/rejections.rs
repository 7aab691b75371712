//! Telling the operator that reports are rejected during aggregation: whoever sent them was answered with a success, so
//! a client that seals to another configuration, a wrong key or a wrong secret would look like no traffic at all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arras_protocol::messages::{ReportError, TaskId};

/// How often one reason is told of one task: forged reports must not fill the log.
const PAUSE: Duration = Duration::from_secs(60);

/// What was rejected, by task and reason: bounded by the tasks of the folder. Locked for moments, after a job.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<HashMap<(TaskId, ReportError), Untold>>);

#[derive(Debug)]
struct Untold {
    reports: u64,
    told: Option<Instant>,
}

impl Rejections {
    /// Takes note of the reports that a job rejected and tells what is due.
    pub(crate) fn note(&self, task: TaskId, errors: impl IntoIterator<Item = ReportError>) {
        for (error, reports) in self.due(task, errors, Instant::now()) {
            tracing::warn!(%task, reports, reason = %error, advice = advice(error), "reports are rejected");
        }
    }

    fn due(
        &self,
        task: TaskId,
        errors: impl IntoIterator<Item = ReportError>,
        now: Instant,
    ) -> Vec<(ReportError, u64)> {
        let mut counts: HashMap<ReportError, u64> = HashMap::new();
        for error in errors {
            *counts.entry(error).or_default() += 1;
        }
        if counts.is_empty() {
            return Vec::new();
        }
        // Each entry is changed whole.
        let mut untold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for (error, count) in counts {
            let entry = untold.entry((task, error)).or_insert(Untold { reports: 0, told: None });
            entry.reports += count;
            if entry.told.is_none_or(|told| now.saturating_duration_since(told) >= PAUSE) {
                due.push((error, entry.reports));
                *entry = Untold { reports: 0, told: Some(now) };
            }
        }
        due
    }
}

/// What to look at first.
const fn advice(error: ReportError) -> &'static str {
    match error {
        ReportError::HpkeDecryptError => {
            "if it is all of them: compare the task's configuration and the HPKE keys with those that clients use"
        }
        ReportError::VdafVerifyError => {
            "if it is all of them: compare verify_secret and its id with the other aggregator's; else clients forge"
        }
        ReportError::OutdatedConfig | ReportError::HpkeUnknownConfigId => {
            "clients seal to a key that is not configured: keep a replaced key for longer than clients cache it"
        }
        ReportError::ReportTooEarly | ReportError::TaskNotStarted => "compare the clocks",
        ReportError::ReportReplayed => "the same reports came before; nothing is wrong with those",
        ReportError::BatchCollected => "they came too late for their window",
        _ => "see docs/metrics.md for what is counted by reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_at_once_and_then_once_a_pause() {
        let rejections = Rejections::default();
        let (start, task) = (Instant::now(), TaskId::new([7; 32]));
        let (opening, proof) = (ReportError::HpkeDecryptError, ReportError::VdafVerifyError);
        let due = |task, errors: &[ReportError], after| {
            rejections.due(task, errors.iter().copied(), start + Duration::from_secs(after))
        };
        assert_eq!(due(task, &[], 0), []);
        assert_eq!(due(task, &[opening; 3], 0), [(opening, 3)]);
        assert_eq!(due(task, &[opening; 5], 1), []);
        // Another reason, another task: told at once.
        assert_eq!(due(task, &[opening, proof], 2), [(proof, 1)]);
        assert_eq!(due(TaskId::new([8; 32]), &[opening], 2), [(opening, 1)]);
        assert_eq!(due(task, &[opening], 59), []);
        // With all that came since.
        assert_eq!(due(task, &[opening], 60), [(opening, 8)]);
    }
}
