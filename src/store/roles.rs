//! What the aggregators ask of storage. The traits say what a role needs and what each call promises;
//! how it is kept is the implementation's business.
//!
//! All calls block: they are made from threads that may. A call that returns `Ok` has made its effect
//! durable; one that returns an error has had none, or the store refuses everything until a restart
//! has found out.

use std::ops::Range;

use arras_protocol::messages::{CollectionJobId, Interval, ReportError, ReportId, TaskId, Time};
use arras_protocol::task::Task;
use arras_protocol::verification::BatchBucket;

use crate::privacy::gate::{Pinned, Refusal, Releasable, Terms};
use crate::privacy::ledger::{BudgetSource, Epoch};
use crate::store::{Position, StoreError};

/// What identical requests have in common: the id that a server derives from task and content with its
/// secret key, which is also the id of the resource that the request creates.
pub type RequestKey = [u8; 16];

/// What is kept of a task from opt-in for life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// The encoded `TaskConfiguration`; the task's id is its hash.
    pub configuration: Vec<u8>,
    /// Which of the shared secrets gives the task's verify key.
    pub verify_secret_id: u8,
    /// What its releases cost and are noised by.
    pub terms: Pinned,
}

/// A report, by what tells it apart and what decides to which batch it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportKey {
    /// Its id.
    pub report_id: ReportId,
    /// Its bucket, in the task's time precision.
    pub time: Time,
}

/// What a job adds to the batch buckets that it touches.
#[derive(Clone, Debug, Default)]
pub struct JobSums {
    /// One for each bucket touched, times distinct.
    pub buckets: Vec<(Time, BatchBucket)>,
    /// The reports that are in these sums.
    pub reports: Vec<ReportKey>,
}

/// A batch that was admitted, charged and marked collected; its buckets can change no more.
#[derive(Debug)]
pub struct CollectedBatch {
    /// The sum of all buckets, without noise, with the proofs that it is admitted and paid for; the release gate
    /// takes it out.
    pub sum: Releasable,
    /// Reports in it.
    pub report_count: u64,
    /// XOR of the SHA-256 of their ids.
    pub checksum: [u8; 32],
    /// The smallest interval that holds their times.
    pub interval: Interval,
}

/// What a query's interval holds at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSummary {
    /// Reports aggregated.
    pub report_count: u64,
    /// XOR of the SHA-256 of their ids.
    pub checksum: [u8; 32],
    /// The smallest interval that holds their times; none without reports.
    pub interval: Option<Interval>,
}

/// Why a batch was not collected. Nothing was charged or marked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectRefusal {
    /// The query touches a bucket that another query collected (`batchOverlap`).
    #[error("the window overlaps one that was collected before: a bucket can be collected once")]
    Overlap,
    /// The peer counted other reports (`batchMismatch`). The counts themselves are not told.
    #[error("the aggregators disagree about the reports of the batch; their operators must find out why")]
    Mismatch,
    /// The gate refuses.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What both aggregators ask.
pub trait AggregatorStore: Send + Sync {
    /// Takes part in a task. Idempotent; for a task that is known, the record of the first opt-in is
    /// returned and kept, whatever is given now.
    fn opt_in(&self, id: TaskId, record: &TaskRecord) -> Result<TaskRecord, StoreError>;

    /// What the reports aggregated so far in an interval amount to, and whether a bucket of it was collected.
    /// Buckets of finished batches are gone.
    fn summarize(&self, task: &Task, interval: Interval) -> Result<(BatchSummary, bool), StoreError>;

    /// Collects the batch of an interval for the request with this key.
    ///
    /// One transaction reads counts and ledger, asks `Terms::admit`, writes the charges and marks the
    /// whole interval collected; from then on no job can add to it. `expected` is the peer's report count and
    /// checksum, where there is a peer to agree with. Called again for the same key before
    /// [`Self::finish_collection`] (after a restart), it charges nothing and returns the same sums. Refused if the terms
    /// are not those that the task was opted in with.
    fn collect(
        &self,
        task: &Task,
        terms: &Terms,
        interval: Interval,
        key: RequestKey,
        expected: Option<(u64, [u8; 32])>,
    ) -> Result<CollectedBatch, CollectRefusal>;

    /// Keeps the answer to a collected request, after which it can only be read. The first answer stays:
    /// what is returned is what must be sent. Frees the buckets and report ids of the interval.
    fn finish_collection(&self, task: TaskId, key: RequestKey, answer: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// The answer that was kept for a request.
    fn collection_answer(&self, task: TaskId, key: RequestKey) -> Result<Option<Vec<u8>>, StoreError>;

    /// What is spent of a budget in an epoch, in micro-epsilon.
    fn spent(&self, source: &BudgetSource, epoch: Epoch) -> Result<u64, StoreError>;

    /// What was charged for those collected windows of a task that share a time with `times` (in the task's precision,
    /// end excluded), each counted once, in micro-epsilon.
    fn spent_by_task(&self, task: TaskId, times: Range<Time>) -> Result<u64, StoreError>;

    /// When epoch 0 of a budget source started at its first charge, POSIX seconds; none before that.
    fn epoch_start(&self, source: &BudgetSource) -> Result<Option<u64>, StoreError>;
}

/// A report that an upload brings.
#[derive(Clone, Copy, Debug)]
pub struct NewReport<'a> {
    /// Its id and bucket.
    pub key: ReportKey,
    /// The report as it was sent.
    pub encoded: &'a [u8],
}

/// A report taken from the queue.
#[derive(Clone, Debug)]
pub struct QueuedReport {
    /// Where it is kept.
    pub position: Position,
    /// The report as it was sent.
    pub encoded: Vec<u8>,
}

/// Reports that may become an aggregation job. Dropping it changes nothing: they stay at the head of the queue.
#[derive(Debug)]
pub struct JobDraft {
    /// At most as many as were asked for.
    pub reports: Vec<QueuedReport>,
    /// Where the queue goes on after them.
    pub next: Position,
    /// Which of them were put back before, by their keys in the requeue list.
    pub requeued: Vec<(Time, Position)>,
}

/// An aggregation job that may have reached the helper: it is repeated byte for byte until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobNumber(pub u64);

/// A job as it was made durable.
#[derive(Clone, Debug)]
pub struct OpenJob {
    /// Names it in this store.
    pub number: JobNumber,
    /// The exact request.
    pub request: Vec<u8>,
    /// The reports of the request, in its order, as they were uploaded.
    pub reports: Vec<QueuedReport>,
}

/// Where a collection job of the leader's stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionState {
    /// The window is closed to new reports; those accepted before are being aggregated.
    Draining,
    /// The exact request to the helper is durable and may have reached it; repeated byte for byte.
    AskingHelper {
        /// The encoded `AggregateShareReq`.
        request: Vec<u8>,
    },
    /// The answer is kept, and may be read from this POSIX second on.
    Ready {
        /// The fixed tick from which it may be read.
        readable_from: u64,
    },
    /// Refused; the window is open again. The same request starts it anew. Of many in a task, some are forgotten.
    Failed {
        /// The problem document to answer with.
        problem: Vec<u8>,
    },
}

/// A collection job of the leader's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionJob {
    /// Derived from its content.
    pub id: CollectionJobId,
    /// The encoded `CollectionJobReq`.
    pub request: Vec<u8>,
    /// What it asks for.
    pub interval: Interval,
    /// Where it stands.
    pub state: CollectionState,
}

/// Collection jobs of a task that may be open at once: ten days of hourly windows. While the helper is away none of them
/// ends, and a collector could ask for each window that there ever was.
pub const OPEN_COLLECTIONS_MAX: usize = 256;

/// What came of creating a collection job.
#[derive(Debug)]
pub enum CollectionCreated {
    /// It is new (or starts anew after a refusal): the window is closed, durably.
    New(CollectionJob),
    /// The same request was made before.
    Existing(CollectionJob),
    /// Another request covers part of the window (`batchOverlap`).
    Overlap,
    /// The task has [`OPEN_COLLECTIONS_MAX`] open ones; this one may be created when one of them is done.
    TooMany,
}

/// What came of deleting a collection job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectionDeleted {
    /// It is gone, or was not there.
    Gone,
    /// It stays until it is ready or failed: the helper is being asked.
    Busy,
}

/// What the leader asks.
pub trait LeaderStore: AggregatorStore {
    /// Appends those reports that are new to the task and whose window is not closed or collected.
    ///
    /// One result for each, in order: `ReportReplayed` for an id that is known (the answer waits until the
    /// first copy is durable, so that whoever hears "replayed" may rely on it), `BatchCollected` for a late
    /// one. Accepted reports are durable when this returns, and none is if it returns an error.
    /// An encoded report begins with its id and time, as DAP-18 encodes it; another key is `Invalid`.
    fn append_reports(
        &self,
        task: TaskId,
        reports: &[NewReport<'_>],
    ) -> Result<Vec<Result<(), ReportError>>, StoreError>;

    /// The head of a task's queue: put-back reports whose time is at most `now`, then new ones. Reports whose
    /// bucket has been collected are left out and dropped with the job that is made of the draft.
    fn next_reports(&self, task: TaskId, max: usize, now: Time) -> Result<Option<JobDraft>, StoreError>;

    /// Makes a job of a draft. One transaction keeps the exact request and the reports that are in it
    /// (`included`, indices into the draft, in the request's order), puts back those in `put_back`, forgets the
    /// others (this aggregator rejected them) and moves the queue's head. An empty request makes no job.
    ///
    /// `Invalid` for a draft that was taken before the queue changed: its reports may be in another job.
    fn create_job(
        &self,
        task: TaskId,
        draft: &JobDraft,
        included: &[usize],
        put_back: &[usize],
        request: &[u8],
    ) -> Result<Option<JobNumber>, StoreError>;

    /// The jobs that were made and not committed, oldest first; after a restart, what to go on with.
    fn open_jobs(&self, task: TaskId) -> Result<Vec<JobNumber>, StoreError>;

    /// A job with everything that is needed to repeat it.
    fn load_job(&self, task: TaskId, number: JobNumber) -> Result<OpenJob, StoreError>;

    /// Ends a job: one transaction adds its sums to the buckets, remembers the reports in them, puts back
    /// `put_back` (reports that were too early for the helper) and forgets the rest. Committing a job that
    /// is not open any more does nothing. `Invalid` if it names reports that are not the job's, or a report twice;
    /// buckets that were collected meanwhile are left out.
    fn commit_job(
        &self,
        task: &Task,
        number: JobNumber,
        sums: &JobSums,
        put_back: &[(Time, Position)],
    ) -> Result<(), StoreError>;

    /// Reports that are queued or in open jobs, for the task; the queue's length.
    fn backlog(&self, task: TaskId) -> Result<u64, StoreError>;

    /// Creates a collection job: closes its window to uploads, durably, unless another query overlaps. An upload
    /// that was acknowledged before is aggregated before the window is collected; one that comes later is refused.
    fn create_collection(
        &self,
        task: TaskId,
        id: CollectionJobId,
        request: &[u8],
        interval: Interval,
    ) -> Result<CollectionCreated, StoreError>;

    /// Whether every report of the interval that was accepted before its window was closed has been
    /// through a job. `Invalid` for a collection job that is not open.
    fn drained(&self, task: TaskId, id: CollectionJobId) -> Result<bool, StoreError>;

    /// Moves a collection job from draining to `AskingHelper` with the exact request. One transaction checks that its
    /// batch still is what was found when the request was made, and drained: `Invalid` if it was deleted and made
    /// anew in between, for then reports may have been accepted that the request does not know of. Again with the
    /// same request it does nothing.
    fn start_asking(
        &self,
        task: TaskId,
        id: CollectionJobId,
        found: BatchSummary,
        request: &[u8],
    ) -> Result<(), StoreError>;

    /// Ends an open collection job, as `Ready` or `Failed`. `Failed` opens the window again, in the same transaction;
    /// its problem is cut to 4 KiB. `Ready` needs an answer that is kept.
    fn set_collection_state(
        &self,
        task: TaskId,
        id: CollectionJobId,
        state: &CollectionState,
    ) -> Result<(), StoreError>;

    /// A collection job.
    fn collection(&self, task: TaskId, id: CollectionJobId) -> Result<Option<CollectionJob>, StoreError>;

    /// The collection jobs that are neither ready nor failed; after a restart, what to go on with.
    fn open_collections(&self, task: TaskId) -> Result<Vec<CollectionJob>, StoreError>;

    /// Forgets a failed or draining collection job and opens its window; of a finished one it keeps what
    /// double collection is checked against, and forgets the answer. One that asks the helper stays: the helper
    /// may have charged for the batch, and a window that opened again would never agree with the helper's.
    fn delete_collection(&self, task: TaskId, id: CollectionJobId) -> Result<CollectionDeleted, StoreError>;

    /// Keeps how far the acknowledged reports reach, so that the next opening misses those that are gone by then (an
    /// older copy of a file, a damaged end). Making a job does so too; reports that were acknowledged since are not
    /// missed. Costs a commit for each task that took reports since.
    fn note_reports(&self) -> Result<(), StoreError>;
}

/// What a job will do if each verified report is claimed as `claims` says; made by the helper outside of
/// the transaction.
#[derive(Debug)]
pub struct PreparedJob {
    /// What is added.
    pub sums: JobSums,
    /// Times of reports that do not count now and may in another job: of a copy of this one they must never, so its
    /// response is kept for as long as they could.
    pub put_off: Vec<Time>,
    /// The exact response.
    pub response: Vec<u8>,
}

/// The response to a job that is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobAnswer {
    /// What must be sent.
    pub response: Vec<u8>,
    /// What the reports were claimed as, in order, if this very call committed the job; `None` if another had before.
    pub claimed: Option<Vec<Result<(), ReportError>>>,
}

/// Sums and encodes a job, given for each verified report whether it is claimed.
pub type PrepareJob<'a> =
    &'a mut (dyn FnMut(&[Result<(), ReportError>]) -> Result<PreparedJob, StoreError> + 'a);

/// What the helper asks.
pub trait HelperStore: AggregatorStore {
    /// The response that was kept for a job with this key.
    fn job_response(&self, task: TaskId, key: RequestKey) -> Result<Option<Vec<u8>>, StoreError>;

    /// Says that the leader has committed the job with this key and will not ask again. Its response goes with a later
    /// commit, unless a restart comes between; what guards against replays stays.
    fn forget_response(&self, task: TaskId, key: RequestKey) -> Result<(), StoreError>;

    /// Commits a job exactly once.
    ///
    /// For each verified report the store says whether it can be claimed (`ReportReplayed`: counted before;
    /// `BatchCollected`: too late), `prepare` sums and encodes accordingly, outside of the transaction, and
    /// the transaction commits if the claims still hold (else they are made again). It claims the ids, adds the
    /// sums, keeps key and response. If the key is known by then, its stored response is returned and
    /// nothing changes: two identical requests at once give one result.
    fn commit_once(
        &self,
        task: &Task,
        key: RequestKey,
        verified: &[ReportKey],
        prepare: PrepareJob<'_>,
    ) -> Result<JobAnswer, StoreError>;
}
