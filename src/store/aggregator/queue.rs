//! The leader's queue: taking reports from it, and making and ending jobs.
//!
//! A report is in the queue from its append on, at or after the queue's head, or put back. It leaves it in the
//! commit that makes a job, and the job in the commit that counts, puts back or forgets it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use arras_protocol::messages::{TaskId, Time};
use arras_protocol::task::Task;

use super::buckets::{check_sums, put_ids};
use super::keys::{self, Fields, Kind};
use super::leader::{LeaderDisk, LeaderMemory, LeaderTask};
use super::seen::Stage;
use super::uploads::key_of;
use crate::store::{
    JobDraft, JobNumber, JobSums, OpenJob, Position, QueuedReport, ReportKey, RequestKey, StateBatch,
    StoreError,
};

/// How many records are looked at for one report that is asked for. Records that are dropped are few; this keeps
/// a long run of them from holding the task's turn.
const LOOKED_AT_PER_REPORT: usize = 4;

/// A picture of the queue's rows.
#[derive(Debug)]
pub(super) struct Queue {
    /// Where the first record is that was not looked at.
    pub(super) head: Position,
    pub(super) next_job: JobNumber,
    /// Up to where the row says that reports were acknowledged. What came since is not missed if it is gone.
    pub(super) noted: Position,
    /// Up to where the records are known by their ids, too. Records beyond it are on the disk, and whoever wrote them is
    /// about to say so.
    pub(super) published: Position,
    /// Records at and after the head, up to there.
    pub(super) queued: u64,
    pub(super) put_back: BTreeSet<(Time, Position)>,
    pub(super) jobs: BTreeMap<JobNumber, Job>,
    /// From where to where the last draft went, and over how many records.
    offered: Option<(Position, Position, u64)>,
}

/// An open job.
#[derive(Debug)]
pub(super) struct Job {
    /// In the jobs spool.
    pub(super) record: Position,
    /// In the order of the request.
    pub(super) reports: Vec<(ReportKey, Position)>,
}

impl Queue {
    pub(super) fn new(head: Position, next_job: JobNumber, noted: Position) -> Self {
        Self {
            head,
            next_job,
            noted,
            published: noted,
            queued: 0,
            put_back: BTreeSet::new(),
            jobs: BTreeMap::new(),
            offered: None,
        }
    }

    pub(super) fn backlog(&self) -> u64 {
        let in_jobs: usize = self.jobs.values().map(|job| job.reports.len()).sum();
        self.queued + (self.put_back.len() + in_jobs) as u64
    }

    /// The first report that is needed.
    pub(super) fn first_needed(&self) -> Position {
        let put_back = self.put_back.iter().map(|(_, position)| *position);
        let in_jobs = self.jobs.values().flat_map(|job| &job.reports).map(|(_, position)| *position);
        put_back.chain(in_jobs).min().map_or(self.head, |first| first.min(self.head))
    }

    /// Refuses a draft that was taken before the queue changed: its reports may be in a job already.
    fn check_current(&self, draft: &JobDraft) -> Result<(), StoreError> {
        let requeued: HashSet<Position> = draft.requeued.iter().map(|(_, position)| *position).collect();
        let queued = |position: Position| self.head <= position && position < draft.next;
        let current = self.head <= draft.next
            && draft.requeued.iter().all(|entry| self.put_back.contains(entry))
            && draft
                .reports
                .iter()
                .all(|report| requeued.contains(&report.position) || queued(report.position));
        if current {
            Ok(())
        } else {
            Err(StoreError::Invalid("a job of reports that are not queued any more; take the next ones"))
        }
    }
}

pub(super) fn put_queue(
    batch: &mut StateBatch,
    task: TaskId,
    head: Position,
    next_job: JobNumber,
    end: Position,
) -> Result<(), StoreError> {
    let value = [head.to_bytes(), next_job.0.to_be_bytes(), end.to_bytes()].concat();
    batch.insert(&keys::of_task(Kind::Queue, task), &value)
}

pub(super) fn decode_queue(value: &[u8]) -> Option<Queue> {
    let mut fields = Fields(value);
    let queue = Queue::new(fields.position()?, JobNumber(fields.u64()?), fields.position()?);
    fields.end().map(|()| queue)
}

/// A job's row: its record in the jobs spool.
pub(super) fn decode_job(key: &[u8], value: &[u8]) -> Option<(JobNumber, Position)> {
    let (mut key, mut value) = (Fields(key), Fields(value));
    let job = (JobNumber(key.u64()?), value.position()?);
    key.end().and_then(|()| value.end()).map(|()| job)
}

/// A job's record: the number of its reports, their positions, the request.
pub(super) fn decode_record(record: &[u8]) -> Option<(Vec<Position>, &[u8])> {
    let mut fields = Fields(record);
    let count = u32::from_be_bytes(fields.array()?);
    let positions = (0..count).map(|_| fields.position()).collect::<Option<_>>()?;
    Some((positions, fields.rest()))
}

/// Names the lists of ids that a job counted.
fn list_key(number: JobNumber) -> RequestKey {
    u128::from(number.0).to_be_bytes()
}

/// The draft's reports at these indices, if they are its.
fn select<'d>(
    draft: &'d JobDraft,
    indices: &[usize],
) -> Result<Vec<(ReportKey, &'d QueuedReport)>, StoreError> {
    let one = |index: &usize| {
        let report = draft.reports.get(*index)?;
        Some((key_of(&report.encoded)?, report))
    };
    indices
        .iter()
        .map(one)
        .collect::<Option<_>>()
        .ok_or(StoreError::Invalid("a job of reports that are not in its draft"))
}

impl LeaderTask {
    /// Takes reports from the queue until there are `max`. The caller has the turn.
    fn draft(&self, max: usize, now: Time) -> Result<(JobDraft, u64), StoreError> {
        let (head, published, due) = {
            let memory = self.memory();
            let due = memory.queue.put_back.iter().take_while(|(time, _)| *time <= now);
            (memory.queue.head, memory.queue.published, due.take(max).copied().collect::<Vec<_>>())
        };
        let mut draft = JobDraft { reports: Vec::new(), next: head, requeued: due };
        let mut taken = HashSet::new();
        let mut take = |position, encoded: Vec<u8>, reports: &mut Vec<QueuedReport>| {
            let key = key_of(&encoded).ok_or(StoreError::Invalid("a queued report without id and time"))?;
            if self.memory().may_be_sent(&key) && taken.insert(key.report_id) {
                reports.push(QueuedReport { position, encoded });
            }
            Ok::<_, StoreError>(())
        };
        for (_, position) in &draft.requeued {
            take(*position, self.part.reports.read(*position)?, &mut draft.reports)?;
        }
        let mut records = 0;
        let mut reader = self.part.reports.read_range(head, published);
        while draft.reports.len() < max && records < max.saturating_mul(LOOKED_AT_PER_REPORT) {
            let Some(record) = reader.next() else { break };
            let (position, encoded) = record?;
            take(position, encoded, &mut draft.reports)?;
            records += 1;
        }
        if records > 0 {
            draft.next = reader.position();
        }
        let dropped = draft.requeued.len() + records - draft.reports.len();
        if dropped > 0 {
            tracing::info!(task = %self.id, dropped, "queued reports of collected windows, or second copies, are left out");
        }
        Ok((draft, records as u64))
    }

    /// How many records a draft goes over.
    fn records_of(&self, draft: &JobDraft) -> Result<u64, StoreError> {
        let (head, offered) = {
            let memory = self.memory();
            (memory.queue.head, memory.queue.offered)
        };
        match offered {
            Some((from, to, records)) if (from, to) == (head, draft.next) => Ok(records),
            // Not the last draft, but still of this queue.
            _ => self
                .part
                .reports
                .read_range(head, draft.next)
                .try_fold(0, |sum, record| record.map(|_| sum + 1)),
        }
    }
}

impl LeaderMemory {
    /// Whether a queued report may go into a job: it is the copy that its id is known by, and counts nowhere yet.
    fn may_be_sent(&self, key: &ReportKey) -> bool {
        self.seen.is_queued(key) && !self.seen.is_collected(key.time)
    }
}

impl LeaderDisk {
    pub(super) fn take_next(
        &self,
        task: TaskId,
        max: usize,
        now: Time,
    ) -> Result<Option<JobDraft>, StoreError> {
        let entry = self.core.entry(task)?;
        let _turn = entry.turn();
        let (draft, records) = entry.draft(max, now)?;
        if records == 0 && draft.requeued.is_empty() {
            return Ok(None);
        }
        let mut memory = entry.memory();
        memory.queue.offered = Some((memory.queue.head, draft.next, records));
        Ok(Some(draft))
    }

    pub(super) fn make_job(
        &self,
        task: TaskId,
        draft: &JobDraft,
        included: &[usize],
        put_back: &[usize],
        request: &[u8],
    ) -> Result<Option<JobNumber>, StoreError> {
        let entry = self.core.entry(task)?;
        let (included_reports, put_back_reports) = (select(draft, included)?, select(draft, put_back)?);
        let distinct: HashSet<&usize> = included.iter().chain(put_back).collect();
        if distinct.len() != included.len() + put_back.len() {
            return Err(StoreError::Invalid("a job in which a report occurs twice"));
        }
        if included.is_empty() != request.is_empty() {
            return Err(StoreError::Invalid("a job without reports, or without a request"));
        }
        // Durable before the row that points to it; done before the turn is taken, as it is a write.
        let record =
            if included.is_empty() { None } else { Some(self.append_job(&included_reports, request)?) };
        let _turn = entry.turn();
        let made = self.commit_new_job(&entry, draft, &included_reports, &put_back_reports, record);
        match &made {
            Ok(_) => self.trim(&entry),
            Err(_) if self.core.usable().is_ok() => self.jobs.release(record),
            // In doubt a row may point to it.
            Err(_) => {}
        }
        made
    }

    fn append_job(
        &self,
        included: &[(ReportKey, &QueuedReport)],
        request: &[u8],
    ) -> Result<Position, StoreError> {
        let count =
            u32::try_from(included.len()).map_err(|_| StoreError::Invalid("a job of too many reports"))?;
        let positions: Vec<u8> = included.iter().flat_map(|(_, report)| report.position.to_bytes()).collect();
        self.jobs.append(&[&count.to_be_bytes(), &positions, request])
    }

    fn commit_new_job(
        &self,
        entry: &LeaderTask,
        draft: &JobDraft,
        included: &[(ReportKey, &QueuedReport)],
        put_back: &[(ReportKey, &QueuedReport)],
        record: Option<Position>,
    ) -> Result<Option<JobNumber>, StoreError> {
        let number = {
            let memory = entry.memory();
            memory.queue.check_current(draft)?;
            if !included.iter().all(|(key, _)| memory.may_be_sent(key)) {
                return Err(StoreError::Invalid(
                    "a job of reports that were counted or collected; take the next ones",
                ));
            }
            memory.queue.next_job
        };
        let records = entry.records_of(draft)?;
        let next_job = JobNumber(number.0 + u64::from(record.is_some()));
        let mut batch = StateBatch::default();
        for (time, position) in &draft.requeued {
            batch.remove(&keys::put_back(entry.id, *time, *position))?;
        }
        for (key, report) in put_back {
            batch.insert(&keys::put_back(entry.id, key.time, report.position), &[])?;
        }
        if let Some(record) = record {
            batch.insert(&keys::job(entry.id, number), &record.to_bytes())?;
        }
        let end = entry.part.reports.end();
        put_queue(&mut batch, entry.id, draft.next, next_job, end)?;
        let _ = self.core.commit(batch)?;

        let mut memory = entry.memory();
        let LeaderMemory { queue, seen, .. } = &mut *memory;
        queue.head = draft.next;
        queue.next_job = next_job;
        queue.noted = end;
        queue.queued = queue.queued.saturating_sub(records);
        queue.offered = None;
        for requeued in &draft.requeued {
            queue.put_back.remove(requeued);
        }
        // Those that are in neither list were rejected: their ids are forgotten.
        draft.reports.iter().filter_map(|report| key_of(&report.encoded)).for_each(|key| seen.forget(&key));
        for (key, report) in put_back {
            seen.set(key, Stage::Queued);
            queue.put_back.insert((key.time, report.position));
        }
        let Some(record) = record else { return Ok(None) };
        for (key, _) in included {
            seen.set(key, Stage::InJob);
        }
        let reports = included.iter().map(|(key, report)| (*key, report.position)).collect();
        queue.jobs.insert(number, Job { record, reports });
        Ok(Some(number))
    }

    pub(super) fn read_job(&self, task: TaskId, number: JobNumber) -> Result<OpenJob, StoreError> {
        let entry = self.core.entry(task)?;
        // Or a commit of this job could let its records be deleted between two reads.
        let _turn = entry.turn();
        let record = entry.memory().queue.jobs.get(&number).map(|job| job.record);
        let record = self.jobs.read(record.ok_or(StoreError::Invalid("a job that is not open"))?)?;
        let (positions, request) = decode_record(&record).ok_or_else(|| self.core.malformed())?;
        let read = |position| {
            let encoded = entry.part.reports.read(position)?;
            Ok(QueuedReport { position, encoded })
        };
        let reports = positions.into_iter().map(read).collect::<Result<_, StoreError>>()?;
        Ok(OpenJob { number, request: request.to_vec(), reports })
    }

    pub(super) fn end_job(
        &self,
        task: &Task,
        number: JobNumber,
        sums: &JobSums,
        put_back: &[(Time, Position)],
    ) -> Result<(), StoreError> {
        check_sums(sums)?;
        let entry = self.core.entry(task.id())?;
        let _turn = entry.turn();
        let (buckets, counted) = {
            let memory = entry.memory();
            let Some(job) = memory.queue.jobs.get(&number) else { return Ok(()) };
            check_of_job(job, sums, put_back)?;
            // A bucket that was collected is as it is: what comes too late is left out, whole buckets at a time.
            let open = |time: &Time| !memory.seen.is_collected(*time);
            let buckets: Vec<_> = sums.buckets.iter().filter(|(time, _)| open(time)).cloned().collect();
            let counted: Vec<_> = sums.reports.iter().filter(|report| open(&report.time)).copied().collect();
            (buckets, counted)
        };
        let late = sums.reports.len() - counted.len();
        if late > 0 {
            tracing::error!(task = %entry.id, late, "verified reports of a collected window are left out");
        }
        let mut batch = StateBatch::default();
        self.core.add_sums(&mut batch, task, &buckets)?;
        put_ids(&mut batch, task.id(), &list_key(number), &counted)?;
        for (time, position) in put_back {
            batch.insert(&keys::put_back(task.id(), *time, *position), &[])?;
        }
        batch.remove(&keys::job(task.id(), number))?;
        let _ = self.core.commit(batch)?;

        let mut memory = entry.memory();
        let LeaderMemory { queue, seen, .. } = &mut *memory;
        let job = queue.jobs.remove(&number);
        let put_back: HashSet<&(Time, Position)> = put_back.iter().collect();
        for report in &counted {
            seen.set(report, Stage::Counted);
        }
        for (key, position) in job.iter().flat_map(|job| &job.reports) {
            if put_back.contains(&(key.time, *position)) {
                seen.set(key, Stage::Queued);
                queue.put_back.insert((key.time, *position));
            } else if seen.stage(key) == Some(Stage::InJob) {
                seen.forget(key);
            }
        }
        drop(memory);
        self.jobs.release(job.map(|job| job.record));
        self.trim(&entry);
        Ok(())
    }
}

/// Checks that what a job counts and puts back are reports of its own, each once.
fn check_of_job(job: &Job, sums: &JobSums, put_back: &[(Time, Position)]) -> Result<(), StoreError> {
    let mut left: HashMap<ReportKey, Position> = job.reports.iter().copied().collect();
    let counted_once = sums.reports.iter().all(|report| left.remove(report).is_some());
    let mut left: HashSet<(Time, Position)> =
        left.into_iter().map(|(key, position)| (key.time, position)).collect();
    if counted_once && put_back.iter().all(|entry| left.remove(entry)) {
        Ok(())
    } else {
        Err(StoreError::Invalid("the end of a job with reports that are not in it"))
    }
}
