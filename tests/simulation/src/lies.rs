//! Stores that break their word, one way each: the simulation must notice every one of them.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use arras::privacy::gate::Terms;
use arras::privacy::ledger::{BudgetSource, Epoch};
use arras::store::{
    AggregatorStore, BatchSummary, CollectRefusal, CollectedBatch, CollectionCreated, CollectionDeleted,
    CollectionJob, CollectionState, HelperDisk, HelperStore, JobAnswer, JobDraft, JobNumber, JobSums,
    LeaderDisk, LeaderStore, NewReport, OpenJob, Position, PrepareJob, ReportKey, RequestKey, StoreError,
    TaskRecord,
};
use arras_protocol::messages::{CollectionJobId, Interval, ReportError, TaskId, Time};
use arras_protocol::task::Task;

/// What is not as it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// The aggregators' disks say that they have synced, and have not.
    DiskThatDoesNotSync,
    /// The leader's store loses one accepted upload in seven.
    LosesUploads,
    /// The leader's store forgets the reports that a job puts back.
    ForgetsPutBack,
    /// The leader's store gives another answer to who asks for it again.
    AnswersDiffer,
    /// The helper's store forgets that it has answered a request for an aggregate share.
    ForgetsAnswers,
    /// The helper's ledger misses what is spent.
    ForgetsCharges,
}

/// A leader's store.
pub struct LyingLeader {
    truth: LeaderDisk,
    lie: Lie,
    calls: AtomicU64,
}

/// A helper's store.
pub struct LyingHelper {
    truth: HelperDisk,
    lie: Lie,
}

impl LyingLeader {
    pub fn new(truth: LeaderDisk, lie: Lie) -> Self {
        Self { truth, lie, calls: AtomicU64::new(0) }
    }

    fn nth_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl LyingHelper {
    pub fn new(truth: HelperDisk, lie: Lie) -> Self {
        Self { truth, lie }
    }
}

impl AggregatorStore for LyingLeader {
    fn opt_in(&self, id: TaskId, record: &TaskRecord) -> Result<TaskRecord, StoreError> {
        self.truth.opt_in(id, record)
    }

    fn summarize(&self, task: &Task, interval: Interval) -> Result<(BatchSummary, bool), StoreError> {
        self.truth.summarize(task, interval)
    }

    fn collect(
        &self,
        task: &Task,
        terms: &Terms,
        interval: Interval,
        key: RequestKey,
        expected: Option<(u64, [u8; 32])>,
    ) -> Result<CollectedBatch, CollectRefusal> {
        self.truth.collect(task, terms, interval, key, expected)
    }

    fn finish_collection(&self, task: TaskId, key: RequestKey, answer: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.truth.finish_collection(task, key, answer)
    }

    fn collection_answer(&self, task: TaskId, key: RequestKey) -> Result<Option<Vec<u8>>, StoreError> {
        let mut answer = self.truth.collection_answer(task, key)?;
        if self.lie == Lie::AnswersDiffer
            && self.nth_call().is_multiple_of(4)
            && let Some(last) = answer.as_mut().and_then(|answer| answer.last_mut())
        {
            *last ^= 1;
        }
        Ok(answer)
    }

    fn spent(&self, source: &BudgetSource, epoch: Epoch) -> Result<u64, StoreError> {
        self.truth.spent(source, epoch)
    }

    fn spent_by_task(&self, task: TaskId, times: Range<Time>) -> Result<u64, StoreError> {
        self.truth.spent_by_task(task, times)
    }

    fn epoch_start(&self, source: &BudgetSource) -> Result<Option<u64>, StoreError> {
        self.truth.epoch_start(source)
    }
}

impl LeaderStore for LyingLeader {
    fn append_reports(
        &self,
        task: TaskId,
        reports: &[NewReport<'_>],
    ) -> Result<Vec<Result<(), ReportError>>, StoreError> {
        if self.lie == Lie::LosesUploads && self.nth_call().is_multiple_of(7) {
            return Ok(vec![Ok(()); reports.len()]);
        }
        self.truth.append_reports(task, reports)
    }

    fn next_reports(&self, task: TaskId, max: usize, now: Time) -> Result<Option<JobDraft>, StoreError> {
        self.truth.next_reports(task, max, now)
    }

    fn create_job(
        &self,
        task: TaskId,
        draft: &JobDraft,
        included: &[usize],
        put_back: &[usize],
        request: &[u8],
    ) -> Result<Option<JobNumber>, StoreError> {
        let put_back = if self.lie == Lie::ForgetsPutBack { &[] } else { put_back };
        self.truth.create_job(task, draft, included, put_back, request)
    }

    fn open_jobs(&self, task: TaskId) -> Result<Vec<JobNumber>, StoreError> {
        self.truth.open_jobs(task)
    }

    fn load_job(&self, task: TaskId, number: JobNumber) -> Result<OpenJob, StoreError> {
        self.truth.load_job(task, number)
    }

    fn commit_job(
        &self,
        task: &Task,
        number: JobNumber,
        sums: &JobSums,
        put_back: &[(Time, Position)],
    ) -> Result<(), StoreError> {
        let put_back = if self.lie == Lie::ForgetsPutBack { &[] } else { put_back };
        self.truth.commit_job(task, number, sums, put_back)
    }

    fn backlog(&self, task: TaskId) -> Result<u64, StoreError> {
        self.truth.backlog(task)
    }

    fn create_collection(
        &self,
        task: TaskId,
        id: CollectionJobId,
        request: &[u8],
        interval: Interval,
    ) -> Result<CollectionCreated, StoreError> {
        self.truth.create_collection(task, id, request, interval)
    }

    fn drained(&self, task: TaskId, id: CollectionJobId) -> Result<bool, StoreError> {
        self.truth.drained(task, id)
    }

    fn start_asking(
        &self,
        task: TaskId,
        id: CollectionJobId,
        found: BatchSummary,
        request: &[u8],
    ) -> Result<(), StoreError> {
        self.truth.start_asking(task, id, found, request)
    }

    fn set_collection_state(
        &self,
        task: TaskId,
        id: CollectionJobId,
        state: &CollectionState,
    ) -> Result<(), StoreError> {
        self.truth.set_collection_state(task, id, state)
    }

    fn collection(&self, task: TaskId, id: CollectionJobId) -> Result<Option<CollectionJob>, StoreError> {
        self.truth.collection(task, id)
    }

    fn open_collections(&self, task: TaskId) -> Result<Vec<CollectionJob>, StoreError> {
        self.truth.open_collections(task)
    }

    fn delete_collection(&self, task: TaskId, id: CollectionJobId) -> Result<CollectionDeleted, StoreError> {
        self.truth.delete_collection(task, id)
    }

    fn note_reports(&self) -> Result<(), StoreError> {
        self.truth.note_reports()
    }
}

impl AggregatorStore for LyingHelper {
    fn opt_in(&self, id: TaskId, record: &TaskRecord) -> Result<TaskRecord, StoreError> {
        self.truth.opt_in(id, record)
    }

    fn summarize(&self, task: &Task, interval: Interval) -> Result<(BatchSummary, bool), StoreError> {
        self.truth.summarize(task, interval)
    }

    fn collect(
        &self,
        task: &Task,
        terms: &Terms,
        interval: Interval,
        key: RequestKey,
        expected: Option<(u64, [u8; 32])>,
    ) -> Result<CollectedBatch, CollectRefusal> {
        self.truth.collect(task, terms, interval, key, expected)
    }

    fn finish_collection(&self, task: TaskId, key: RequestKey, answer: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.truth.finish_collection(task, key, answer)
    }

    fn collection_answer(&self, task: TaskId, key: RequestKey) -> Result<Option<Vec<u8>>, StoreError> {
        if self.lie == Lie::ForgetsAnswers {
            return Ok(None);
        }
        self.truth.collection_answer(task, key)
    }

    fn spent(&self, source: &BudgetSource, epoch: Epoch) -> Result<u64, StoreError> {
        let spent = self.truth.spent(source, epoch)?;
        Ok(if self.lie == Lie::ForgetsCharges { spent / 200 * 100 } else { spent })
    }

    fn spent_by_task(&self, task: TaskId, times: Range<Time>) -> Result<u64, StoreError> {
        self.truth.spent_by_task(task, times)
    }

    fn epoch_start(&self, source: &BudgetSource) -> Result<Option<u64>, StoreError> {
        self.truth.epoch_start(source)
    }
}

impl HelperStore for LyingHelper {
    fn job_response(&self, task: TaskId, key: RequestKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.truth.job_response(task, key)
    }

    fn forget_response(&self, task: TaskId, key: RequestKey) -> Result<(), StoreError> {
        self.truth.forget_response(task, key)
    }

    fn commit_once(
        &self,
        task: &Task,
        key: RequestKey,
        verified: &[ReportKey],
        prepare: PrepareJob<'_>,
    ) -> Result<JobAnswer, StoreError> {
        self.truth.commit_once(task, key, verified, prepare)
    }
}
