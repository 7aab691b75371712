//! The leader's collection jobs, and the windows that they close.

use arras_protocol::messages::{CollectionJobId, Duration, Interval, TaskId, Time};

use super::keys::{self, Fields, Kind};
use super::leader::{LeaderDisk, LeaderMemory, LeaderTask};
use super::seen::Collected;
use crate::store::{
    BatchSummary, CollectionCreated, CollectionDeleted, CollectionJob, CollectionState, MAX_VALUE_BYTES,
    OPEN_COLLECTIONS_MAX, Position, StateBatch, StoreError,
};

/// A window that is closed by an open collection job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) interval: Interval,
    /// Every report that was accepted for the window lies before; `None` while the window is being closed.
    pub(super) fence: Option<Position>,
}

const DRAINING: u8 = 0;
const ASKING_HELPER: u8 = 1;
const READY: u8 = 2;
const FAILED: u8 = 3;

/// Refused collection jobs that are kept of a task, for a collector that asks what became of them. A collector can have
/// a query refused for each window that there is; older ones than these are rarely asked for, and the same request can
/// always be made again.
pub(super) const FAILED_KEPT: usize = 256;

/// A collection job's row; its detail is in another, as both may fill a value.
#[derive(Clone)]
pub(super) struct Row {
    tag: u8,
    pub(super) interval: Interval,
    pub(super) fence: Position,
    readable_from: u64,
    request: Vec<u8>,
}

impl Row {
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let [tag] = fields.array()?;
        let (start, duration) = (fields.time()?, Duration(fields.u64()?));
        let interval = Interval::new(start, duration).ok()?;
        let (fence, readable_from) = (fields.position()?, fields.u64()?);
        Some(Self { tag, interval, fence, readable_from, request: fields.rest().to_vec() })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = vec![self.tag];
        value.extend_from_slice(&self.interval.start().0.to_be_bytes());
        value.extend_from_slice(&self.interval.duration().0.to_be_bytes());
        value.extend_from_slice(&self.fence.to_bytes());
        value.extend_from_slice(&self.readable_from.to_be_bytes());
        value.extend_from_slice(&self.request);
        value
    }

    /// Whether it closes its window.
    pub(super) fn is_open(&self) -> bool {
        self.tag == DRAINING || self.tag == ASKING_HELPER
    }

    /// Whether reports of its window are still waited for.
    pub(super) fn is_draining(&self) -> bool {
        self.tag == DRAINING
    }

    fn job(self, id: CollectionJobId, detail: Vec<u8>) -> Option<CollectionJob> {
        let state = match self.tag {
            DRAINING => CollectionState::Draining,
            ASKING_HELPER => CollectionState::AskingHelper { request: detail },
            READY => CollectionState::Ready { readable_from: self.readable_from },
            FAILED => CollectionState::Failed { problem: detail },
            _ => return None,
        };
        Some(CollectionJob { id, request: self.request, interval: self.interval, state })
    }
}

impl LeaderMemory {
    /// Whether a report of this time comes too late.
    pub(super) fn is_closed(&self, time: Time) -> bool {
        self.windows.values().any(|window| window.interval.contains(time)) || self.seen.is_collected(time)
    }

    /// Whether another query has a part of the window. A batch that this very job collected and did not get to
    /// finish does not count: it goes on with it.
    fn overlaps(&self, id: CollectionJobId, interval: Interval) -> bool {
        let closed =
            |(other, window): (&CollectionJobId, &Window)| *other != id && window.interval.overlaps(interval);
        let own = |window: &Collected| window.key == *id.as_bytes() && !window.finished;
        self.windows.iter().any(closed) || self.seen.collected_in(interval).iter().any(|window| !own(window))
    }

    /// Whether nothing before the fence but the queue's own records can still add to the window.
    fn none_out(&self, interval: Interval) -> bool {
        let queue = &self.queue;
        let put_back = queue.put_back.range((interval.start(), Position::from_bytes([0; 8]))..).next();
        put_back.is_none_or(|(time, _)| *time >= interval.end())
            && !queue.jobs.values().flat_map(|job| &job.reports).any(|(key, _)| interval.contains(key.time))
    }
}

impl LeaderTask {
    /// Closes a window: no report of it is accepted from now on, and those on their way are on the disk before
    /// what is returned.
    fn close(&self, id: CollectionJobId, interval: Interval) -> Position {
        let mut memory = self.memory();
        memory.windows.insert(id, Window { interval, fence: None });
        for outcome in memory.intake.outcomes() {
            memory = self.until(memory, &outcome);
        }
        // With the memory locked: what was acknowledged was durable before, so it lies before the end.
        let fence = self.part.reports.end();
        memory.windows.insert(id, Window { interval, fence: Some(fence) });
        fence
    }
}

impl LeaderTask {
    /// The caller has the turn.
    fn is_drained(&self, id: CollectionJobId) -> Result<bool, StoreError> {
        let (window, head) = {
            let memory = self.memory();
            let window = memory.windows.get(&id).copied();
            let window = window.ok_or(StoreError::Invalid("draining a collection job that is not open"))?;
            if !memory.none_out(window.interval) {
                return Ok(false);
            }
            (window, memory.queue.head)
        };
        let Some(fence) = window.fence else { return Ok(false) };
        if head >= fence {
            return Ok(true);
        }
        // Also when there is no record up to the fence: the head stands at the end of a segment, and the fence at
        // the beginning of the next one.
        match self.part.reports.read_range(head, fence).next() {
            Some(record) => record.map(|_| false),
            None => Ok(true),
        }
    }
}

impl LeaderDisk {
    fn collection_row(&self, task: TaskId, id: CollectionJobId) -> Result<Option<Row>, StoreError> {
        let value = self.core.state.get(&keys::collection(Kind::Collection, task, id))?;
        value.map(|value| Row::decode(&value).ok_or_else(|| self.core.malformed())).transpose()
    }

    pub(super) fn read_collection(
        &self,
        task: TaskId,
        id: CollectionJobId,
    ) -> Result<Option<CollectionJob>, StoreError> {
        let entry = self.core.entry(task)?;
        // Row and detail are read one after the other.
        let _turn = entry.turn();
        self.read_collection_in_turn(task, id)
    }

    fn read_collection_in_turn(
        &self,
        task: TaskId,
        id: CollectionJobId,
    ) -> Result<Option<CollectionJob>, StoreError> {
        let Some(row) = self.collection_row(task, id)? else { return Ok(None) };
        let detail = self.core.state.get(&keys::collection(Kind::CollectionDetail, task, id))?;
        row.job(id, detail.unwrap_or_default()).map(Some).ok_or_else(|| self.core.malformed())
    }

    pub(super) fn create(
        &self,
        task: TaskId,
        id: CollectionJobId,
        request: &[u8],
        interval: Interval,
    ) -> Result<CollectionCreated, StoreError> {
        let entry = self.core.entry(task)?;
        let _turn = entry.turn();
        if let Some(job) = self.read_collection_in_turn(task, id)?
            && !matches!(job.state, CollectionState::Failed { .. })
        {
            return Ok(CollectionCreated::Existing(job));
        }
        if entry.memory().overlaps(id, interval) {
            return Ok(CollectionCreated::Overlap);
        }
        if entry.memory().windows.len() >= OPEN_COLLECTIONS_MAX {
            return Ok(CollectionCreated::TooMany);
        }
        let fence = entry.close(id, interval);
        let row = Row { tag: DRAINING, interval, fence, readable_from: 0, request: request.to_vec() };
        if let Err(error) = self.put_collection(task, id, &row, None) {
            // In doubt it stays closed: the row may be there, with this fence.
            if self.core.usable().is_ok() {
                entry.memory().windows.remove(&id);
            }
            return Err(error);
        }
        let state = CollectionState::Draining;
        Ok(CollectionCreated::New(CollectionJob { id, request: request.to_vec(), interval, state }))
    }

    fn put_collection(
        &self,
        task: TaskId,
        id: CollectionJobId,
        row: &Row,
        detail: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let mut batch = StateBatch::default();
        batch.insert(&keys::collection(Kind::Collection, task, id), &row.encode())?;
        let key = keys::collection(Kind::CollectionDetail, task, id);
        match detail {
            Some(detail) => batch.insert(&key, detail)?,
            None => batch.remove(&key)?,
        }
        self.core.commit(batch).map(|_| ())
    }

    pub(super) fn is_drained(&self, task: TaskId, id: CollectionJobId) -> Result<bool, StoreError> {
        let entry = self.core.entry(task)?;
        let _turn = entry.turn();
        entry.is_drained(id)
    }

    /// As `start_asking` in the trait.
    pub(super) fn ask(
        &self,
        task: TaskId,
        id: CollectionJobId,
        found: BatchSummary,
        request: &[u8],
    ) -> Result<(), StoreError> {
        let entry = self.core.entry(task)?;
        let _turn = entry.turn();
        let job = self.read_collection_in_turn(task, id)?;
        if job.is_some_and(|job| job.state == CollectionState::AskingHelper { request: request.to_vec() }) {
            return Ok(());
        }
        let row = self.collection_row(task, id)?.filter(|row| row.tag == DRAINING);
        let row =
            row.ok_or(StoreError::Invalid("asking the helper for a batch that is not being drained"))?;
        if !entry.is_drained(id)? || self.core.count(task, row.interval, |_| false)? != found {
            return Err(StoreError::Invalid("asking the helper for a batch that has changed since"));
        }
        self.put_collection(task, id, &Row { tag: ASKING_HELPER, ..row }, Some(request))
    }

    pub(super) fn change_collection(
        &self,
        task: TaskId,
        id: CollectionJobId,
        state: &CollectionState,
    ) -> Result<(), StoreError> {
        let entry = self.core.entry(task)?;
        let _turn = entry.turn();
        let row = self
            .collection_row(task, id)?
            .ok_or(StoreError::Invalid("a collection job that does not exist"))?;
        let finished = entry.memory().seen.collected_for(id.as_bytes()).is_some_and(|window| window.finished);
        let (tag, readable_from, detail) = match state {
            CollectionState::Draining | CollectionState::AskingHelper { .. } => {
                return Err(StoreError::Invalid("a collection job that is ended without an end"));
            }
            CollectionState::Ready { readable_from } if finished => (READY, *readable_from, None),
            CollectionState::Ready { .. } => {
                return Err(StoreError::Invalid("a collection job that is ready without an answer"));
            }
            // Cut to what a value holds: a problem is for people, its beginning says what it is.
            CollectionState::Failed { problem } => {
                (FAILED, 0, Some(&problem[..problem.len().min(MAX_VALUE_BYTES)]))
            }
        };
        if !row.is_open() && tag != row.tag {
            return Err(StoreError::Invalid("a change of a collection job that is not open"));
        }
        let row = Row { tag, readable_from, ..row };
        if tag == FAILED {
            self.make_room_for_failed(task)?;
        }
        self.put_collection(task, id, &row, detail)?;
        if !row.is_open() {
            entry.memory().windows.remove(&id);
        }
        Ok(())
    }

    /// Forgets refused jobs beyond the limit, whichever come first: their ids are random. The caller has the turn.
    fn make_room_for_failed(&self, task: TaskId) -> Result<(), StoreError> {
        let prefix = keys::of_task(Kind::Collection, task);
        let mut failed = Vec::new();
        self.core.rows(&prefix, None, |id, value| {
            if Row::decode(value).ok_or_else(|| self.core.malformed())?.tag == FAILED {
                failed.push(id.to_vec());
            }
            Ok(true)
        })?;
        let Some(surplus) = (failed.len() + 1).checked_sub(FAILED_KEPT).filter(|surplus| *surplus > 0) else {
            return Ok(());
        };
        let mut batch = StateBatch::default();
        for id in failed.iter().take(surplus) {
            batch.remove(&[&prefix, id.as_slice()].concat())?;
            batch.remove(&[&keys::of_task(Kind::CollectionDetail, task), id.as_slice()].concat())?;
        }
        self.core.commit(batch).map(|_| ())
    }

    pub(super) fn open_collection_jobs(&self, task: TaskId) -> Result<Vec<CollectionJob>, StoreError> {
        let entry = self.core.entry(task)?;
        let _turn = entry.turn();
        let mut ids: Vec<CollectionJobId> = entry.memory().windows.keys().copied().collect();
        ids.sort_unstable();
        let read = |id| self.read_collection_in_turn(task, id).transpose();
        ids.into_iter().filter_map(read).collect()
    }

    pub(super) fn forget_collection(
        &self,
        task: TaskId,
        id: CollectionJobId,
    ) -> Result<CollectionDeleted, StoreError> {
        let entry = self.core.entry(task)?;
        let _turn = entry.turn();
        match self.collection_row(task, id)? {
            None => return Ok(CollectionDeleted::Gone),
            Some(row) if row.tag == ASKING_HELPER => return Ok(CollectionDeleted::Busy),
            Some(_) => {}
        }
        let answer_key = keys::of_request(Kind::Answer, task, id.as_bytes());
        let answer = self.core.state.get(&answer_key)?;
        let answer = answer.and_then(|value| Fields(&value).position());
        let mut batch = StateBatch::default();
        batch.remove(&keys::collection(Kind::Collection, task, id))?;
        batch.remove(&keys::collection(Kind::CollectionDetail, task, id))?;
        batch.remove(&answer_key)?;
        let _ = self.core.commit(batch)?;
        entry.memory().windows.remove(&id);
        self.core.answers.release(answer);
        Ok(CollectionDeleted::Gone)
    }
}
