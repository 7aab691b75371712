//! The leader's store: what it has in memory, how that is found again, and the traits.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arras_protocol::messages::{CollectionJobId, Interval, ReportError, TaskId, Time};
use arras_protocol::task::Task;

use super::accounts::Accounts;
use super::collections::{Row, Window};
use super::core::{Core, Entry, Memory, last_record};
use super::keys::{self, Fields, Kind};
use super::queue::{Job, Queue, decode_job, decode_queue, decode_record, put_queue};
use super::records::Records;
use super::seen::{Seen, Stage};
use super::uploads::{Intake, LeaderPart, Quota, key_of};
use super::{JOBS, Setup, StoreOptions};
use crate::privacy::gate::Terms;
use crate::privacy::ledger::{BudgetSource, Epoch};
use crate::store::{
    AggregatorStore, BatchSummary, CollectRefusal, CollectedBatch, CollectionCreated, CollectionDeleted,
    CollectionJob, CollectionState, Damage, Disk, JobDraft, JobNumber, JobSums, LeaderStore, NewReport,
    OpenJob, Position, ReportKey, RequestKey, Spool, SpoolOptions, StoreError, StoreId, TaskRecord,
};

/// The folder of the reports, below the store's.
const REPORTS: &str = "reports";

/// What the leader keeps of a task in memory.
pub(super) struct LeaderMemory {
    pub(super) seen: Seen,
    pub(super) intake: Intake,
    pub(super) queue: Queue,
    /// Windows closed by open collection jobs.
    pub(super) windows: HashMap<CollectionJobId, Window>,
}

impl Memory for LeaderMemory {
    fn seen(&mut self) -> &mut Seen {
        &mut self.seen
    }
}

pub(super) type LeaderTask = Entry<LeaderMemory, LeaderPart>;

/// The leader's store on disk.
///
/// Opening reads the reports that wait, to know their ids: as long as their bytes take to read.
pub struct LeaderDisk {
    pub(super) core: Core<LeaderMemory, LeaderPart>,
    pub(super) jobs: Records,
    pub(super) reports: Reports,
}

/// Where the report spools are.
pub(super) struct Reports {
    store: StoreId,
    dir: PathBuf,
    options: SpoolOptions,
    pub(super) quota: Arc<Quota>,
}

impl Reports {
    fn dir_of(&self, task: TaskId) -> PathBuf {
        self.dir.join(task.to_string())
    }

    /// Opens a task's spool, which must reach as far as is known.
    fn open(&self, task: TaskId, known_end: Option<Position>) -> Result<LeaderPart, StoreError> {
        let options = self.options.clone().owner(self.store.of_part(&format!("{REPORTS}/{task}")));
        let options = match known_end {
            Some(end) => options.reaches(end),
            None => options,
        };
        let spool = Spool::open(&self.dir_of(task), options)?;
        Ok(LeaderPart::new(spool, Arc::clone(&self.quota)))
    }
}

impl LeaderDisk {
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
        let core = Core::open(&setup, "leader")?;
        let store = core.state.store_id();
        let last = last_record(&core.state, &core.dir, Kind::Job, |value| Fields(value).position())?;
        let jobs_options = setup.late_spool(store, JOBS).holds(last);
        let jobs = Records::new(Spool::open(&options.dir.join(JOBS), jobs_options)?);
        let reports = Reports {
            store,
            dir: options.dir.join(REPORTS),
            options: setup.spool(store, REPORTS, u64::MAX),
            quota: Arc::new(Quota::new(options.max_bytes)),
        };
        core.load_tasks(|task, seen| load(&core, &jobs, &reports, task, seen))?;
        let opened = Self { core, jobs, reports };
        match opened.note_ends() {
            // What is there is there; it is noted when there is room.
            Err(error) if !error.is_full() => return Err(error),
            _ => {}
        }
        Ok(opened)
    }
}

type LeaderCore = Core<LeaderMemory, LeaderPart>;

/// Finds a task's memory again from rows and spools.
fn load(
    core: &LeaderCore,
    jobs: &Records,
    reports: &Reports,
    task: TaskId,
    seen: Seen,
) -> Result<(LeaderMemory, LeaderPart), StoreError> {
    let dir = reports.dir_of(task);
    if !reports.options.exists(&dir) {
        return Err(StoreError::damaged(dir, 0, Damage::MissingFolder));
    }
    let row = core.state.get(&keys::of_task(Kind::Queue, task))?.ok_or_else(|| core.malformed())?;
    let queue = decode_queue(&row).ok_or_else(|| core.malformed())?;
    let part = reports.open(task, Some(queue.noted))?;
    // That its segment is there shows that the records from it on are.
    if part.reports.start().segment() > queue.head.segment() {
        part.reports.may_hold(queue.head)?;
    }
    let mut memory = LeaderMemory { seen, intake: Intake::default(), queue, windows: HashMap::new() };
    load_jobs(core, jobs, &part.reports, task, &mut memory)?;
    load_queue(core, &part.reports, task, &mut memory)?;
    core.rows(&keys::of_task(Kind::Collection, task), None, |id, value| {
        let id = Fields(id).array().ok_or_else(|| core.malformed())?;
        let row = Row::decode(value).ok_or_else(|| core.malformed())?;
        if row.is_open() {
            let window = Window { interval: row.interval, fence: Some(row.fence) };
            memory.windows.insert(CollectionJobId::new(id), window);
        }
        Ok(true)
    })?;
    Ok((memory, part))
}

fn load_jobs(
    core: &LeaderCore,
    jobs: &Records,
    spool: &Spool,
    task: TaskId,
    memory: &mut LeaderMemory,
) -> Result<(), StoreError> {
    core.rows(&keys::of_task(Kind::Job, task), None, |key, value| {
        let (number, record) = decode_job(key, value).ok_or_else(|| core.malformed())?;
        jobs.keep(record)?;
        let stored = jobs.read(record)?;
        let (positions, _) = decode_record(&stored).ok_or_else(|| core.malformed())?;
        let mut reports = Vec::with_capacity(positions.len());
        for position in positions {
            let key = read_key(core, spool, position)?;
            memory.seen.set(&key, Stage::InJob);
            reports.push((key, position));
        }
        memory.queue.jobs.insert(number, Job { record, reports });
        Ok(true)
    })
}

fn load_queue(
    core: &LeaderCore,
    spool: &Spool,
    task: TaskId,
    memory: &mut LeaderMemory,
) -> Result<(), StoreError> {
    core.rows(&keys::of_task(Kind::PutBack, task), None, |key, _| {
        let mut fields = Fields(key);
        let (time, position) = fields.time().zip(fields.position()).ok_or_else(|| core.malformed())?;
        let key = read_key(core, spool, position)?;
        memory.queue.put_back.insert((time, position));
        queue_key(memory, &key);
        Ok(true)
    })?;
    for record in spool.read_range(memory.queue.head, spool.end()) {
        let (_, encoded) = record?;
        let key = key_of(&encoded).ok_or_else(|| core.malformed())?;
        memory.queue.queued += 1;
        queue_key(memory, &key);
    }
    memory.queue.published = spool.end();
    Ok(())
}

/// A second copy stays what the first one is; it is left out when its turn comes.
fn queue_key(memory: &mut LeaderMemory, key: &ReportKey) {
    if memory.seen.stage(key).is_none() {
        memory.seen.set(key, Stage::Queued);
    }
}

fn read_key(core: &LeaderCore, spool: &Spool, position: Position) -> Result<ReportKey, StoreError> {
    spool.may_hold(position)?;
    key_of(&spool.read(position)?).ok_or_else(|| core.malformed())
}

impl LeaderStore for LeaderDisk {
    fn append_reports(
        &self,
        task: TaskId,
        reports: &[NewReport<'_>],
    ) -> Result<Vec<Result<(), ReportError>>, StoreError> {
        let started = Instant::now();
        match self.core.entry(task)?.append(reports) {
            Ok(results) => {
                self.core.state.times().append_took(started);
                Ok(results)
            }
            Err(error) => {
                if error.is_full() {
                    // For whoever tries again.
                    self.make_room();
                }
                Err(error)
            }
        }
    }

    fn next_reports(&self, task: TaskId, max: usize, now: Time) -> Result<Option<JobDraft>, StoreError> {
        self.take_next(task, max, now)
    }

    fn create_job(
        &self,
        task: TaskId,
        draft: &JobDraft,
        included: &[usize],
        put_back: &[usize],
        request: &[u8],
    ) -> Result<Option<JobNumber>, StoreError> {
        self.make_job(task, draft, included, put_back, request)
    }

    fn open_jobs(&self, task: TaskId) -> Result<Vec<JobNumber>, StoreError> {
        Ok(self.core.entry(task)?.memory().queue.jobs.keys().copied().collect())
    }

    fn load_job(&self, task: TaskId, number: JobNumber) -> Result<OpenJob, StoreError> {
        self.read_job(task, number)
    }

    fn commit_job(
        &self,
        task: &Task,
        number: JobNumber,
        sums: &JobSums,
        put_back: &[(Time, Position)],
    ) -> Result<(), StoreError> {
        self.end_job(task, number, sums, put_back)
    }

    fn backlog(&self, task: TaskId) -> Result<u64, StoreError> {
        Ok(self.core.entry(task)?.memory().queue.backlog())
    }

    fn create_collection(
        &self,
        task: TaskId,
        id: CollectionJobId,
        request: &[u8],
        interval: Interval,
    ) -> Result<CollectionCreated, StoreError> {
        self.create(task, id, request, interval)
    }

    fn drained(&self, task: TaskId, id: CollectionJobId) -> Result<bool, StoreError> {
        self.is_drained(task, id)
    }

    fn start_asking(
        &self,
        task: TaskId,
        id: CollectionJobId,
        found: BatchSummary,
        request: &[u8],
    ) -> Result<(), StoreError> {
        self.ask(task, id, found, request)
    }

    fn set_collection_state(
        &self,
        task: TaskId,
        id: CollectionJobId,
        state: &CollectionState,
    ) -> Result<(), StoreError> {
        self.change_collection(task, id, state)
    }

    fn collection(&self, task: TaskId, id: CollectionJobId) -> Result<Option<CollectionJob>, StoreError> {
        self.read_collection(task, id)
    }

    fn open_collections(&self, task: TaskId) -> Result<Vec<CollectionJob>, StoreError> {
        self.open_collection_jobs(task)
    }

    fn delete_collection(&self, task: TaskId, id: CollectionJobId) -> Result<CollectionDeleted, StoreError> {
        self.forget_collection(task, id)
    }

    fn note_reports(&self) -> Result<(), StoreError> {
        self.note_ends()
    }
}

impl AggregatorStore for LeaderDisk {
    fn opt_in(&self, id: TaskId, record: &TaskRecord) -> Result<TaskRecord, StoreError> {
        self.core.opt_in(id, record, |batch| {
            let part = self.reports.open(id, None)?;
            let (start, end) = (part.reports.start(), part.reports.end());
            let queue = Queue::new(start, JobNumber(1), end);
            put_queue(batch, id, start, JobNumber(1), end)?;
            let seen = Seen::default();
            Ok((LeaderMemory { seen, intake: Intake::default(), queue, windows: HashMap::new() }, part))
        })
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
        self.core.finish_collection(task, key, answer).map(|(answer, _)| answer)
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

impl std::fmt::Debug for LeaderDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaderDisk").field("state", &self.core.state).finish_non_exhaustive()
    }
}
