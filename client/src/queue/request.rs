//! What is sent next, and what an answer means.

use std::io;

use arras_protocol::messages::{ReportError, ReportId, ReportUploadStatus, TaskId, Url};
use rand::{CryptoRng, RngExt as _};

use super::{
    Pause, Queue, REQUEST_BYTES_MAX, RETRY_AFTER_MAX_SECONDS, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS, entry,
};
use crate::files::Files;
use crate::queue::entry::Entry;

/// A request that is to be sent: `POST {leader}/tasks/{task}/reports`. It must be answered for with
/// [`Queue::answered`]; until then its reports are in no other request.
pub struct UploadRequest {
    /// Whose reports.
    pub task: TaskId,
    /// The base URL of the task's leader. A relay may be asked in its place.
    pub leader: Url,
    /// An encoded `UploadRequest` of DAP-18 section 4.4.2.
    pub body: Vec<u8>,
    numbers: Vec<u64>,
}

impl UploadRequest {
    /// How many reports are in it.
    pub fn reports(&self) -> usize {
        self.numbers.len()
    }
}

impl std::fmt::Debug for UploadRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadRequest").field("reports", &self.numbers.len()).finish_non_exhaustive()
    }
}

/// That nobody answered for a request, or refused it whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendFailure {
    /// After how many seconds to try again, if the leader said so.
    pub retry_after: Option<u64>,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The leader has it.
    Delivered(ReportId),
    /// The leader will not take it, and it is not sent again.
    Refused(ReportId, ReportError),
    /// The leader does not have the key that it was sealed to any more. It stays in the queue, and is not sent
    /// as it is: it is made again under the same id with [`Queue::replace`], or given up with [`Queue::forget`].
    Outdated(ReportId),
}

impl<F: Files> Queue<F> {
    /// The next request, if one is due at the POSIX second `now`.
    ///
    /// It holds reports of one task, those that were tried least often and came first. After a failure it holds half as
    /// many as before: were one of them what makes a leader refuse all, the others would get through without it.
    pub fn next_request(&mut self, now: u64) -> io::Result<Option<UploadRequest>> {
        let due = |waiting: &&super::Waiting| waiting.sendable() && self.is_due(waiting, now);
        let Some(first) = self.waiting.values().find(due) else { return Ok(None) };
        let (task, leader) = (first.task, first.leader.clone());
        let failures = self.pauses.get(&task).map_or(0, |pause| pause.failures);
        let most = (self.rules.reports_per_request >> failures.min(usize::BITS - 1)).max(1);
        let mut numbers: Vec<(u32, u64)> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.task == task && waiting.leader == leader && due(waiting))
            .map(|(number, waiting)| (waiting.attempts, *number))
            .collect();
        numbers.sort_unstable();
        let mut request = UploadRequest { task, leader, body: Vec::new(), numbers: Vec::new() };
        for (_, number) in numbers.into_iter().take(most) {
            let size = self.waiting.get(&number).map_or(0, |waiting| waiting.size);
            if !request.numbers.is_empty() && request.body.len() as u64 + size > REQUEST_BYTES_MAX {
                break;
            }
            self.add_to(&mut request, number)?;
        }
        Ok((!request.numbers.is_empty()).then_some(request))
    }

    fn add_to(&mut self, request: &mut UploadRequest, number: u64) -> io::Result<()> {
        let bytes = self.files.read(&entry::name(number))?;
        let Some(entry) = bytes.as_deref().and_then(Entry::from_bytes) else {
            // Somebody took the file away, or it was damaged since the start.
            self.damaged += 1;
            return self.take_out(number);
        };
        request.body.extend_from_slice(entry.report);
        request.numbers.push(number);
        if let Some(waiting) = self.waiting.get_mut(&number) {
            waiting.under_way = true;
            waiting.attempts = waiting.attempts.saturating_add(1);
        }
        Ok(())
    }

    fn is_due(&self, waiting: &super::Waiting, now: u64) -> bool {
        // A wait that has longer to go than any wait lasts is one of another clock.
        let wait = waiting.not_before.saturating_sub(now);
        let waited = wait == 0 || wait > self.rules.jitter_seconds;
        waited && self.pauses.get(&waiting.task).is_none_or(|pause| pause.over(now))
    }

    /// In how many seconds a request may be due; `None` if nothing waits that can be sent.
    pub fn next_due_in(&self, now: u64) -> Option<u64> {
        let wait = |waiting: &super::Waiting| {
            if self.is_due(waiting, now) {
                return 0;
            }
            let pause = self.pauses.get(&waiting.task).filter(|pause| !pause.over(now));
            let jitter = Some(waiting.not_before.saturating_sub(now));
            let jitter = jitter.filter(|wait| *wait <= self.rules.jitter_seconds);
            pause.map_or(0, |pause| pause.until.saturating_sub(now)).max(jitter.unwrap_or(0))
        };
        self.waiting.values().filter(|waiting| waiting.sendable()).map(wait).min()
    }

    /// What a leader's answer means for each report of a request. The list names those that were refused, as the body of
    /// a successful answer does; the others were taken.
    ///
    /// Reports that were delivered or refused are still in the queue: keep what is to be remembered of them, then
    /// [`Queue::forget`] them. A crash in between sends them again, which does no harm. `report_too_early` is no outcome:
    /// such a report waits for the leader's clock.
    pub fn answered(
        &mut self,
        rng: &mut impl CryptoRng,
        request: &UploadRequest,
        answer: Result<&[ReportUploadStatus], SendFailure>,
        now: u64,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut again = answer.err();
        for number in &request.numbers {
            let Some(waiting) = self.waiting.get_mut(number) else { continue };
            waiting.under_way = false;
            let Ok(refused) = answer else { continue };
            let id = waiting.report_id;
            let outcome =
                match refused.iter().find(|status| status.report_id == id).map(|status| status.error) {
                    // Nobody else has ever sent this id: the leader has the report from an earlier request whose answer was lost.
                    None | Some(ReportError::ReportReplayed) => Outcome::Delivered(id),
                    Some(ReportError::OutdatedConfig) => {
                        waiting.outdated = true;
                        Outcome::Outdated(id)
                    }
                    Some(ReportError::ReportTooEarly) => {
                        again = Some(SendFailure::default());
                        continue;
                    }
                    Some(error) => Outcome::Refused(id, error),
                };
            // What is done with is not sent again by this run, even if its file cannot be removed.
            waiting.under_way = !waiting.outdated;
            outcomes.push(outcome);
        }
        match again {
            None => {
                self.pauses.remove(&request.task);
            }
            Some(failure) => self.pause(rng, request.task, failure, now),
        }
        outcomes
    }

    /// A pause that doubles with each failure, of which chance takes up to a half, so that devices that failed at one moment
    /// do not come back at one moment.
    fn pause(&mut self, rng: &mut impl CryptoRng, task: TaskId, failure: SendFailure, now: u64) {
        let pause = self.pauses.entry(task).or_default();
        let longest = RETRY_FIRST_SECONDS.checked_shl(pause.failures).unwrap_or(RETRY_MAX_SECONDS);
        let longest = longest.min(RETRY_MAX_SECONDS);
        let asked = failure.retry_after.unwrap_or(0).min(RETRY_AFTER_MAX_SECONDS);
        let wait = rng.random_range(longest / 2..=longest).max(asked);
        *pause = Pause {
            until: now.saturating_add(wait),
            longest: wait,
            failures: pause.failures.saturating_add(1).min(32),
        };
    }
}

impl Outcome {
    /// Whose outcome it is.
    pub fn id(&self) -> ReportId {
        match self {
            Self::Delivered(id) | Self::Refused(id, _) | Self::Outdated(id) => *id,
        }
    }
}

impl super::Waiting {
    fn sendable(&self) -> bool {
        !self.under_way && !self.outdated
    }
}
