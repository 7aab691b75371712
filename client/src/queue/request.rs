//! What is sent next, and what an answer means.

use std::io;

use arras_protocol::messages::{MediaType, ReportError, ReportId, ReportUploadStatus, TaskId, Url};
use rand::CryptoRng;

use super::{Queue, REQUEST_BYTES_MAX, entry};
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
    /// Where it is posted to: under the base URL of the leader, or of a relay in its place.
    pub fn url(&self, base: &Url) -> String {
        resource(base, &format!("tasks/{}/reports", self.task))
    }

    /// What its `Content-Type` says.
    pub fn content_type() -> &'static str {
        MediaType::UploadRequest.as_str()
    }

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

/// A resource under an aggregator's base URL, which may or may not end in a slash.
pub fn resource(base: &Url, path: &str) -> String {
    format!("{}/{path}", base.as_str().trim_end_matches('/'))
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
            self.add_to(&mut request, number, now)?;
        }
        // Last: what an error above leaves out of a request must not wait for its answer.
        for number in &request.numbers {
            if let Some(waiting) = self.waiting.get_mut(number) {
                waiting.under_way = true;
                waiting.attempts = waiting.attempts.saturating_add(1);
            }
        }
        Ok((!request.numbers.is_empty()).then_some(request))
    }

    /// Takes a request back that was not sent, or of which nobody knows: its reports are due again.
    pub fn release(&mut self, request: &UploadRequest) {
        for number in &request.numbers {
            if let Some(waiting) = self.waiting.get_mut(number) {
                waiting.under_way = false;
            }
        }
    }

    fn add_to(&mut self, request: &mut UploadRequest, number: u64, now: u64) -> io::Result<()> {
        let Ok(bytes) = self.files.read(&entry::name(number)) else {
            // A block that cannot be read now; the others are sent.
            if let Some(waiting) = self.waiting.get_mut(&number) {
                waiting.pause.last(waiting.pause.next_seconds(), now);
            }
            return Ok(());
        };
        let Some(entry) = bytes.as_deref().and_then(Entry::from_bytes) else {
            // Somebody took the file away, or it was damaged since the start.
            self.damaged += 1;
            return self.take_out(number);
        };
        request.body.extend_from_slice(entry.report);
        request.numbers.push(number);
        Ok(())
    }

    fn is_due(&self, waiting: &super::Waiting, now: u64) -> bool {
        // A wait that has longer to go than any wait lasts is one of another clock.
        let wait = waiting.not_before.saturating_sub(now);
        let waited = wait == 0 || wait > self.rules.jitter_seconds;
        waited
            && waiting.pause.over(now)
            && self.pauses.get(&waiting.task).is_none_or(|pause| pause.over(now))
    }

    /// In how many seconds a request may be due; `None` if nothing waits that can be sent.
    pub fn next_due_in(&self, now: u64) -> Option<u64> {
        let wait = |waiting: &super::Waiting| {
            if self.is_due(waiting, now) {
                return 0;
            }
            let jitter = Some(waiting.not_before.saturating_sub(now));
            let jitter = jitter.filter(|wait| *wait <= self.rules.jitter_seconds);
            let pause = self.pauses.get(&waiting.task).map_or(0, |pause| pause.left(now));
            pause.max(waiting.pause.left(now)).max(jitter.unwrap_or(0))
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
                        waiting.pause.lengthen(rng, None, now);
                        continue;
                    }
                    Some(error) => Outcome::Refused(id, error),
                };
            // What is done with is not sent again by this run, even if its file cannot be removed.
            waiting.under_way = !waiting.outdated;
            outcomes.push(outcome);
        }
        match answer {
            Ok(_) => drop(self.pauses.remove(&request.task)),
            Err(failure) => {
                self.pauses.entry(request.task).or_default().lengthen(rng, failure.retry_after, now);
            }
        }
        outcomes
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
