//! The helper's store.

use std::collections::HashSet;
use std::ops::Range;

use arras_protocol::messages::{Interval, ReportError, TaskId, Time};
use arras_protocol::task::Task;

use super::accounts::Accounts;
use super::buckets::{check_sums, put_ids};
use super::core::{Core, Entry, last_record};
use super::keys::Kind;
use super::records::Records;
use super::responses::Responses;
use super::seen::{Seen, Stage};
use super::{JOBS, Setup, StoreOptions};
use crate::privacy::gate::Terms;
use crate::privacy::ledger::{BudgetSource, Epoch};
use crate::store::{
    AggregatorStore, BatchSummary, CollectRefusal, CollectedBatch, Disk, HelperStore, JobAnswer, Position,
    PrepareJob, PreparedJob, ReportKey, RequestKey, Spool, StateBatch, StoreError, TaskRecord,
};

/// The helper's store on disk.
///
/// Responses are kept until the leader says that it has committed the job, or every window that their reports are in is
/// finished: until then an identical request gets the identical response. A response to a job in which nothing was
/// verified claims nothing, and goes with the task's next finished window.
pub struct HelperDisk {
    pub(super) core: Core<Seen, ()>,
    pub(super) responses: Responses,
}

type HelperTask = Entry<Seen, ()>;

impl HelperDisk {
    /// Opens the store in the file system, or makes one; see [`crate::store::State::open`] for what is refused.
    pub fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        Self::open_on(options, Disk::default())
    }

    /// What is spent of each budget source, and on which windows. Commits wait while it is read.
    pub fn accounts(&self) -> Result<Accounts, StoreError> {
        self.core.usable()?;
        Accounts::read(&self.core.state, &self.core.dir)
    }

    /// As [`Self::open`], on this disk.
    pub fn open_on(options: &StoreOptions, disk: Disk) -> Result<Self, StoreError> {
        let setup = Setup { options, disk };
        let core = Core::open(&setup, "helper")?;
        let last = last_record(&core.state, &core.dir, Kind::Response, Responses::record_of)?;
        let spool_options = setup
            .spool(core.state.store_id(), JOBS, options.max_bytes)
            .reserve_bytes(super::LATE_RESERVE_BYTES)
            .holds(last);
        let records = Records::new(Spool::open(&options.dir.join(JOBS), spool_options)?);
        let store = Self { core, responses: Responses::new(records) };
        store.load_responses()?;
        store.core.load_tasks(|_, seen| Ok((seen, ())))?;
        Ok(store)
    }

    /// Commits what was prepared, unless the key is known by now or the claims do not hold any more.
    fn try_commit(
        &self,
        entry: &HelperTask,
        task: &Task,
        job: &Job<'_>,
        prepared: &PreparedJob,
        record: Position,
    ) -> Result<Outcome, StoreError> {
        let _turn = entry.turn();
        if let Some(response) = self.stored_response(task.id(), &job.key)? {
            return Ok(Outcome::Known(response));
        }
        // From here to the commit only this call can claim or collect.
        if job.claims(&entry.memory()) != job.claimed {
            return Ok(Outcome::Outdated);
        }
        let mut batch = StateBatch::default();
        self.core.add_sums(&mut batch, task, &prepared.sums.buckets)?;
        put_ids(&mut batch, task.id(), &job.key, &prepared.sums.reports)?;
        let times = job.verified.iter().map(|report| report.time).chain(prepared.put_off.iter().copied());
        Self::put_response(&mut batch, task.id(), &job.key, record, times)?;
        let leaving = self.remove_done(&mut batch)?;
        let _ = self.core.commit(batch)?;
        self.removed(leaving);
        let mut seen = entry.memory();
        prepared.sums.reports.iter().for_each(|report| seen.set(report, Stage::Counted));
        Ok(Outcome::Committed)
    }
}

/// A job that is being committed.
struct Job<'a> {
    key: RequestKey,
    verified: &'a [ReportKey],
    claimed: Vec<Result<(), ReportError>>,
}

impl Job<'_> {
    /// Which of the verified reports can be claimed.
    fn claims(&self, seen: &Seen) -> Vec<Result<(), ReportError>> {
        let mut own = HashSet::with_capacity(self.verified.len());
        let claim = |report: &ReportKey| {
            if seen.is_collected(report.time) {
                Err(ReportError::BatchCollected)
            } else if seen.stage(report).is_some() || !own.insert(*report) {
                Err(ReportError::ReportReplayed)
            } else {
                Ok(())
            }
        };
        self.verified.iter().map(claim).collect()
    }

    /// Checks that what was prepared counts the claimed reports and no others.
    fn check(&self, prepared: &PreparedJob) -> Result<(), StoreError> {
        let claimed = self.verified.iter().zip(&self.claimed).filter(|(_, claim)| claim.is_ok());
        if !claimed.map(|(report, _)| report).eq(&prepared.sums.reports) {
            return Err(StoreError::Invalid("a job that does not count the reports that it claims"));
        }
        check_sums(&prepared.sums)
    }
}

enum Outcome {
    Committed,
    Known(Vec<u8>),
    Outdated,
}

impl HelperStore for HelperDisk {
    fn job_response(&self, task: TaskId, key: RequestKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.core.usable()?;
        self.stored_response(task, &key)
    }

    fn forget_response(&self, task: TaskId, key: RequestKey) -> Result<(), StoreError> {
        self.leader_is_done(task, &key)
    }

    fn commit_once(
        &self,
        task: &Task,
        key: RequestKey,
        verified: &[ReportKey],
        prepare: PrepareJob<'_>,
    ) -> Result<JobAnswer, StoreError> {
        let entry = self.core.entry(task.id())?;
        let mut job = Job { key, verified, claimed: Vec::new() };
        loop {
            if let Some(response) = self.stored_response(task.id(), &key)? {
                return Ok(JobAnswer { response, claimed: None });
            }
            let claimed = job.claims(&entry.memory());
            job.claimed = claimed;
            // The expensive part, with no lock held.
            let prepared = prepare(&job.claimed)?;
            job.check(&prepared)?;
            let record = self.responses.records.append(&[&prepared.response])?;
            let outcome = self.try_commit(&entry, task, &job, &prepared, record);
            // In doubt a row may point to it.
            if !matches!(outcome, Ok(Outcome::Committed)) && self.core.usable().is_ok() {
                self.responses.records.release([record]);
            }
            match outcome? {
                Outcome::Committed => {
                    self.empty_old_segment();
                    return Ok(JobAnswer { response: prepared.response, claimed: Some(job.claimed) });
                }
                Outcome::Known(response) => return Ok(JobAnswer { response, claimed: None }),
                // Another job claimed some of them, or the window was collected.
                Outcome::Outdated => {}
            }
        }
    }
}

impl AggregatorStore for HelperDisk {
    fn opt_in(&self, id: TaskId, record: &TaskRecord) -> Result<TaskRecord, StoreError> {
        self.core.opt_in(id, record, |_| Ok((Seen::default(), ())))
    }

    fn summarize(&self, task: &Task, interval: Interval) -> Result<(BatchSummary, bool), StoreError> {
        self.core.summarize(task.id(), interval)
    }

    fn collect(
        &self,
        task: &Task,
        terms: &Terms,
        interval: Interval,
        key: RequestKey,
        expected: Option<(u64, [u8; 32])>,
    ) -> Result<CollectedBatch, CollectRefusal> {
        self.core.collect(task, terms, interval, key, expected)
    }

    fn finish_collection(&self, task: TaskId, key: RequestKey, answer: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (answer, finished) = self.core.finish_collection(task, key, answer)?;
        if finished.is_some() {
            // Nothing depends on it; the next finished window takes them along.
            if let Err(error) = self.forget_finished(task) {
                tracing::warn!(%error, "responses of a finished batch cannot be deleted");
            }
        }
        Ok(answer)
    }

    fn collection_answer(&self, task: TaskId, key: RequestKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.core.collection_answer(task, key)
    }

    fn spent(&self, source: &BudgetSource, epoch: Epoch) -> Result<u64, StoreError> {
        self.core.usable()?;
        self.core.spent(source, epoch)
    }

    fn spent_by_task(&self, task: TaskId, times: Range<Time>) -> Result<u64, StoreError> {
        self.core.spent_by_task(task, &times)
    }

    fn epoch_start(&self, source: &BudgetSource) -> Result<Option<u64>, StoreError> {
        self.core.epoch_start(source)
    }
}

impl std::fmt::Debug for HelperDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HelperDisk").field("state", &self.core.state).finish_non_exhaustive()
    }
}
