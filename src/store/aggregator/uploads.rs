//! Taking reports in: one write and one sync for all uploads that wait at the same time.
//!
//! Callers put their reports into the last group that is not being written. Whoever finds nobody writing
//! writes the first group, for all its callers; the others wait. There is no timer: on an idle machine a group has
//! one caller, and it grows as long as the disk is busy.
//!
//! The state is not touched. Which reports are known is in memory, and what is in the spool is found again
//! when the store is opened.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, MutexGuard, OnceLock, PoisonError};

use arras_protocol::messages::{ReportError, ReportId, Time};

use super::leader::{LeaderMemory, LeaderTask};
use super::seen::Stage;
use crate::store::{MAX_GROUP_BYTES, MAX_RECORD_BYTES, NewReport, ReportKey, Spool, StoreError};

/// What is written with one sync, unless one upload alone is larger: a tenth of a second on a slow disk.
const GROUP_BYTES: u64 = 8 << 20;

/// What a record takes beside its bytes, at most.
const RECORD_OVERHEAD_BYTES: u64 = 32;

/// What became of a group; empty while it waits or is being written.
pub(super) type Outcome = OnceLock<Result<(), StoreError>>;

/// Reports on their way to the disk.
#[derive(Default)]
pub(super) struct Intake {
    /// Ids in groups, with the outcome of their group. Ids alone: a second report of an id is a copy whatever its
    /// time, as in [`Seen`](super::seen::Seen).
    in_flight: HashMap<ReportId, Arc<Outcome>>,
    waiting: VecDeque<Group>,
    /// The outcome of the group that is being written.
    writing: Option<Arc<Outcome>>,
}

impl Intake {
    /// The groups that there are now.
    pub(super) fn outcomes(&self) -> Vec<Arc<Outcome>> {
        self.writing.iter().chain(self.waiting.iter().map(|group| &group.outcome)).map(Arc::clone).collect()
    }

    /// How many reports are in groups that are not being written yet.
    #[cfg(test)]
    pub(super) fn waiting_reports(&self) -> usize {
        self.waiting.iter().map(|group| group.keys.len()).sum()
    }
}

#[derive(Default)]
struct Group {
    keys: Vec<ReportKey>,
    records: Vec<[Vec<u8>; 1]>,
    bytes: u64,
    outcome: Arc<Outcome>,
}

/// Bounds the report spools of all tasks together.
#[derive(Debug)]
pub(super) struct Quota {
    used: AtomicU64,
    max: u64,
    /// What was refused last for want of room, until something fits again; 0 if nothing was.
    refused: AtomicU64,
}

impl Quota {
    pub(super) fn new(max: u64) -> Self {
        Self { used: AtomicU64::new(0), max, refused: AtomicU64::new(0) }
    }

    /// Makes room, until the spool has been accounted for.
    fn reserve(&self, bytes: u64) -> Result<(), StoreError> {
        let fits = |used: u64| used.checked_add(bytes).filter(|total| *total <= self.max);
        let reserved = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        self.refused.store(if reserved.is_ok() { 0 } else { bytes }, Ordering::Release);
        reserved.map(|_| ()).map_err(|_| self.full())
    }

    fn full(&self) -> StoreError {
        StoreError::Full { what: format!("the reports are at their limit of {} bytes", self.max) }
    }

    /// Refuses if what was refused last would be refused again.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let refused = self.refused.load(Ordering::Acquire);
        if refused == 0 || self.used().saturating_add(refused) <= self.max {
            Ok(())
        } else {
            Err(self.full())
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// What the leader has of a task beside its memory.
pub(super) struct LeaderPart {
    pub(super) reports: Spool,
    /// Told when a group has its outcome.
    published: Condvar,
    quota: Arc<Quota>,
    /// The part of the quota that this spool has.
    accounted: AtomicU64,
}

impl LeaderPart {
    pub(super) fn new(reports: Spool, quota: Arc<Quota>) -> Self {
        let part = Self { reports, published: Condvar::new(), quota, accounted: AtomicU64::new(0) };
        part.account();
        part
    }

    /// Brings the quota in line with what the spool has now.
    pub(super) fn account(&self) {
        let now = self.reports.bytes();
        let before = self.accounted.swap(now, Ordering::AcqRel);
        // Wraps when the spool has shrunk, and so subtracts.
        self.quota.used.fetch_add(now.wrapping_sub(before), Ordering::AcqRel);
    }

    pub(super) fn wait<'a>(&self, memory: MutexGuard<'a, LeaderMemory>) -> MutexGuard<'a, LeaderMemory> {
        self.published.wait(memory).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LeaderPart {
    fn drop(&mut self) {
        self.quota.give_back(self.accounted.load(Ordering::Acquire));
    }
}

/// The id and time with which an encoded report begins (DAP-18 section 4.4.2).
pub(super) fn key_of(encoded: &[u8]) -> Option<ReportKey> {
    let (id, rest) = encoded.split_first_chunk::<{ ReportId::LEN }>()?;
    let (time, _) = rest.split_first_chunk::<8>()?;
    Some(ReportKey { report_id: ReportId::new(*id), time: Time(u64::from_be_bytes(*time)) })
}

/// Checks what would fail a whole group, so that it fails its own caller alone.
fn check(reports: &[NewReport<'_>]) -> Result<(), StoreError> {
    let mut total = 0;
    for report in reports {
        let bytes = report.encoded.len() as u64;
        if bytes > u64::from(MAX_RECORD_BYTES) {
            return Err(StoreError::TooLarge { what: "a report", bytes, max: MAX_RECORD_BYTES.into() });
        }
        if key_of(report.encoded) != Some(report.key) {
            return Err(StoreError::Invalid("a report that does not begin with its id and time"));
        }
        total += bytes + RECORD_OVERHEAD_BYTES;
    }
    if total > MAX_GROUP_BYTES {
        return Err(StoreError::TooLarge { what: "an upload", bytes: total, max: MAX_GROUP_BYTES });
    }
    Ok(())
}

type Results = Vec<Result<(), ReportError>>;

impl LeaderTask {
    /// As in the trait.
    pub(super) fn append(&self, reports: &[NewReport<'_>]) -> Result<Results, StoreError> {
        check(reports)?;
        // Copied before the lock is taken: nearly all of them will be needed.
        let records = reports.iter().map(|report| [report.encoded.to_vec()]).collect();
        let mut memory = self.memory();
        // Nothing is claimed while a first copy of one of them is under way, so that this call has one outcome.
        while let Some(outcome) =
            reports.iter().find_map(|report| memory.intake.in_flight.get(&report.key.report_id))
        {
            let outcome = Arc::clone(outcome);
            memory = self.until(memory, &outcome);
        }
        let (results, outcome) = memory.claim(reports, records);
        let Some(outcome) = outcome else { return Ok(results) };
        let memory = self.until(memory, &outcome);
        drop(memory);
        match outcome.get() {
            Some(Ok(())) => Ok(results),
            Some(Err(error)) => Err(error.repeat()),
            None => Err(StoreError::InDoubt { what: "append to the spool" }),
        }
    }

    /// Waits until a group has its outcome, and writes it if nobody else does.
    pub(super) fn until<'a>(
        &'a self,
        mut memory: MutexGuard<'a, LeaderMemory>,
        outcome: &Outcome,
    ) -> MutexGuard<'a, LeaderMemory> {
        while outcome.get().is_none() {
            memory = if memory.intake.writing.is_some() {
                self.part.wait(memory)
            } else {
                self.write_first(memory)
            };
        }
        memory
    }

    fn write_first<'a>(&'a self, mut memory: MutexGuard<'a, LeaderMemory>) -> MutexGuard<'a, LeaderMemory> {
        let Some(group) = memory.intake.waiting.pop_front() else { return memory };
        memory.intake.writing = Some(Arc::clone(&group.outcome));
        drop(memory);
        let mut writing = Writing { task: self, group, result: None };
        writing.result = Some(self.write(&writing.group));
        drop(writing);
        self.memory()
    }

    fn write(&self, group: &Group) -> Result<(), StoreError> {
        self.part.quota.reserve(group.bytes)?;
        let appended = self.part.reports.append_group(&group.records);
        self.part.account();
        self.part.quota.give_back(group.bytes);
        appended.map(|_| ())
    }
}

impl LeaderMemory {
    /// Judges each report and puts those that are new into a group.
    fn claim(
        &mut self,
        reports: &[NewReport<'_>],
        records: Vec<[Vec<u8>; 1]>,
    ) -> (Results, Option<Arc<Outcome>>) {
        let fresh_bytes =
            records.iter().map(|[record]| record.len() as u64 + RECORD_OVERHEAD_BYTES).sum::<u64>();
        let join = self.intake.waiting.back().is_some_and(|group| group.bytes + fresh_bytes <= GROUP_BYTES);
        let mut group =
            if join { self.intake.waiting.pop_back().unwrap_or_default() } else { Group::default() };
        let keys_before = group.keys.len();
        let mut results = Vec::with_capacity(reports.len());
        for (report, record) in reports.iter().zip(records) {
            let key = report.key;
            let result = if self.is_closed(key.time) {
                Err(ReportError::BatchCollected)
            } else if self.seen.stage(&key).is_some() || self.intake.in_flight.contains_key(&key.report_id) {
                // Known, or a second copy in this call.
                Err(ReportError::ReportReplayed)
            } else {
                self.intake.in_flight.insert(key.report_id, Arc::clone(&group.outcome));
                group.keys.push(key);
                group.bytes += record[0].len() as u64 + RECORD_OVERHEAD_BYTES;
                group.records.push(record);
                Ok(())
            };
            results.push(result);
        }
        let outcome = (group.keys.len() > keys_before).then(|| Arc::clone(&group.outcome));
        if !group.keys.is_empty() {
            self.intake.waiting.push_back(group);
        }
        (results, outcome)
    }
}

/// A group that is being written. Publishes its outcome when it is dropped, even by a panic: else its
/// callers would wait for ever.
struct Writing<'a> {
    task: &'a LeaderTask,
    group: Group,
    result: Option<Result<(), StoreError>>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or(Err(StoreError::InDoubt { what: "append to the spool" }));
        let mut memory = self.task.memory();
        memory.intake.writing = None;
        for key in &self.group.keys {
            memory.intake.in_flight.remove(&key.report_id);
            if result.is_ok() {
                memory.seen.set(key, Stage::Queued);
            }
        }
        if result.is_ok() {
            memory.queue.queued += self.group.keys.len() as u64;
            // The group's own end: the next one is not written before this one is not `writing` any more.
            memory.queue.published = self.task.part.reports.end();
        }
        // Only this value can be set: there is one writer of a group.
        let _ = self.group.outcome.set(result);
        drop(memory);
        self.task.part.published.notify_all();
    }
}
