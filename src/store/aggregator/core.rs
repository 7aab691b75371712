//! What both roles have: the state, the answers, and the tasks with their locks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::messages::{Interval, TaskId, Time};
use arras_protocol::policy::PrivacyPolicy;

use super::Setup;
use super::accounts::{Accounts, STATE};
use super::keys::{self, Fields, Kind};
use super::records::Records;
use super::seen::{Collected, Seen, Stage};
use crate::privacy::gate::Pinned;
use crate::privacy::ledger::BudgetSource;
use crate::store::{
    Committed, Damage, Position, Spool, State, StateBatch, StateGuard, StoreError, TaskRecord,
};

/// Rows read at once: with values of 4 KiB that is a megabyte.
const PAGE_ROWS: usize = 256;

/// Rows deleted in one commit. Readers and other commits wait for it: about 30 ms.
pub(super) const PURGE_ROWS: usize = 2_048;

/// Length of an encoded policy: version 1, mechanism 1, epsilon 4, sensitivity 8, contributions 4, threshold 8.
const POLICY_BYTES: usize = 26;

/// The folder of the answers, below the store's.
const ANSWERS: &str = "answers";

/// What a role keeps of a task in memory, beside the known reports.
pub(super) trait Memory {
    fn seen(&mut self) -> &mut Seen;
}

impl Memory for Seen {
    fn seen(&mut self) -> &mut Seen {
        self
    }
}

/// A task that was opted in. `M` is what the role keeps of it in memory, `P` what it has beside.
pub(super) struct Entry<M, P> {
    pub(super) id: TaskId,
    record: TaskRecord,
    /// Held by whoever changes rows of the task, from reading what the change depends on to having
    /// changed the memory accordingly. Taken before every other lock.
    turn: Mutex<()>,
    /// A picture of the rows. Locked for moments, never across a file operation; changed only after the commit.
    memory: Mutex<M>,
    pub(super) part: P,
}

impl<M, P> Entry<M, P> {
    pub(super) fn new(id: TaskId, record: TaskRecord, memory: M, part: P) -> Self {
        Self { id, record, turn: Mutex::default(), memory: Mutex::new(memory), part }
    }

    /// As it was opted in.
    pub(super) const fn record(&self) -> &TaskRecord {
        &self.record
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What is changed under it is changed by steps that do not panic.
    pub(super) fn memory(&self) -> MutexGuard<'_, M> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tasks of a store, by id.
type Tasks<M, P> = BTreeMap<TaskId, Arc<Entry<M, P>>>;

pub(super) struct Core<M, P> {
    pub(super) state: State,
    /// The state's, for the errors that name it.
    pub(super) dir: PathBuf,
    /// Answers to collections, which may be larger than a value.
    pub(super) answers: Records,
    /// Set when a commit failed in a way that leaves open what is durable. From then on memory and disk
    /// may disagree, so every call is refused until the store is opened again.
    in_doubt: AtomicBool,
    tasks: RwLock<Tasks<M, P>>,
    /// Held while a task is added.
    adding: Mutex<()>,
}

impl<M: Memory, P> Core<M, P> {
    pub(super) fn open(setup: &Setup<'_>, role: &str) -> Result<Self, StoreError> {
        let dir = setup.options.dir.join(STATE);
        let state = setup.state(&dir, role)?;
        // First, so that a store with a doubtful ledger is left as it was found.
        Accounts::read(&state, &dir)?.check(&dir)?;
        let last = last_record(&state, &dir, Kind::Answer, |value| Fields(value).position())?;
        let options = setup.late_spool(state.store_id(), ANSWERS).holds(last);
        let answers = Records::new(Spool::open(&setup.options.dir.join(ANSWERS), options)?);
        Ok(Self {
            state,
            dir,
            answers,
            in_doubt: AtomicBool::new(false),
            tasks: RwLock::default(),
            adding: Mutex::default(),
        })
    }

    /// Opens all tasks that were opted in, with what `part` makes of each.
    pub(super) fn load_tasks(
        &self,
        part: impl Fn(TaskId, Seen) -> Result<(M, P), StoreError>,
    ) -> Result<(), StoreError> {
        let mut records = Vec::new();
        self.rows(&[Kind::Task as u8], None, |id, value| {
            let id = <[u8; TaskId::LEN]>::try_from(id).map_err(|_| self.malformed())?;
            let record = decode_task(value).ok_or_else(|| self.malformed())?;
            records.push((TaskId::new(id), record));
            Ok(true)
        })?;
        for (id, record) in records {
            let seen = self.load_seen(id)?;
            for interval in seen.finished() {
                // A crash may have left a part of them.
                self.purge(id, interval)?;
            }
            let (memory, part) = part(id, seen)?;
            self.tasks_mut().insert(id, Arc::new(Entry::new(id, record, memory, part)));
        }
        Ok(())
    }

    fn load_seen(&self, task: TaskId) -> Result<Seen, StoreError> {
        let mut seen = Seen::default();
        self.rows(&keys::of_task(Kind::Collected, task), None, |start, value| {
            seen.mark(decode_collected(start, value).ok_or_else(|| self.malformed())?);
            Ok(true)
        })?;
        self.rows(&keys::of_task(Kind::Answer, task), None, |_, value| {
            self.answers.keep(Fields(value).position().ok_or_else(|| self.malformed())?)?;
            Ok(true)
        })?;
        self.rows(&keys::of_task(Kind::Ids, task), None, |rest, value| {
            let time = Fields(rest).time().ok_or_else(|| self.malformed())?;
            let mut ids = Fields(value);
            while let Some(id) = ids.array() {
                let report_id = arras_protocol::messages::ReportId::new(id);
                seen.set(&crate::store::ReportKey { report_id, time }, Stage::Counted);
            }
            ids.end().ok_or_else(|| self.malformed())?;
            Ok(true)
        })?;
        Ok(seen)
    }

    /// As in the trait; `part` makes what a new task has, and enters the rows that it needs.
    pub(super) fn opt_in(
        &self,
        id: TaskId,
        record: &TaskRecord,
        part: impl FnOnce(&mut StateBatch) -> Result<(M, P), StoreError>,
    ) -> Result<TaskRecord, StoreError> {
        self.usable()?;
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.find(id) {
            return Ok(known.record.clone());
        }
        let value = encode_task(record);
        let max = crate::store::MAX_VALUE_BYTES;
        if value.len() > max {
            let bytes = value.len() as u64;
            return Err(StoreError::TooLarge { what: "a task's configuration", bytes, max: max as u64 });
        }
        // First what rows may point into.
        let mut batch = StateBatch::default();
        let (memory, part) = part(&mut batch)?;
        batch.insert(&keys::of_task(Kind::Task, id), &value)?;
        let _ = self.commit(batch)?;
        self.tasks_mut().insert(id, Arc::new(Entry::new(id, record.clone(), memory, part)));
        Ok(record.clone())
    }

    /// A task that was opted in.
    pub(super) fn entry(&self, id: TaskId) -> Result<Arc<Entry<M, P>>, StoreError> {
        self.usable()?;
        self.find(id).ok_or(StoreError::Invalid("anything of a task that was not opted in"))
    }

    /// All tasks that were opted in.
    pub(super) fn entries(&self) -> Vec<Arc<Entry<M, P>>> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    fn find(&self, id: TaskId) -> Option<Arc<Entry<M, P>>> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).get(&id).map(Arc::clone)
    }

    fn tasks_mut(&self) -> std::sync::RwLockWriteGuard<'_, Tasks<M, P>> {
        self.tasks.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses when memory and disk may disagree.
    pub(super) fn usable(&self) -> Result<(), StoreError> {
        if self.in_doubt.load(Ordering::Acquire) {
            return Err(StoreError::InDoubt { what: "commit" });
        }
        Ok(())
    }

    pub(super) fn commit(&self, batch: StateBatch) -> Result<Committed, StoreError> {
        self.commit_with(&mut self.state.lock(), batch)
    }

    pub(super) fn commit_with(
        &self,
        guard: &mut StateGuard<'_>,
        batch: StateBatch,
    ) -> Result<Committed, StoreError> {
        guard.commit(batch).inspect_err(|_| {
            // A commit that was refused before it began leaves the state readable.
            if guard.get(&[Kind::Task as u8]).is_err() {
                self.in_doubt.store(true, Ordering::Release);
            }
        })
    }

    /// Commits a batch that points to new records. If it fails for certain they are given up; in doubt
    /// they stay, for a row may point to them after all.
    pub(super) fn commit_with_record(
        &self,
        batch: StateBatch,
        records: &Records,
        record: Option<Position>,
    ) -> Result<Committed, StoreError> {
        self.commit(batch).inspect_err(|_| {
            if self.usable().is_ok() {
                records.release(record);
            }
        })
    }

    /// Gives each row whose key begins with `prefix` (and comes after `after`) to `each`, in order, as the rest of
    /// its key and its value, until `each` returns false.
    pub(super) fn rows(
        &self,
        prefix: &[u8],
        after: Option<Vec<u8>>,
        each: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        rows_of(&self.state, prefix, after, each)
    }

    /// As [`Self::rows`], for the rows of a task within an interval, with their time.
    pub(super) fn rows_in(
        &self,
        kind: Kind,
        task: TaskId,
        interval: Interval,
        mut each: impl FnMut(Time, &[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let after = keys::before_interval(kind, task, interval);
        self.rows(&keys::of_task(kind, task), after, |rest, value| {
            let mut rest = Fields(rest);
            let time = rest.time().ok_or_else(|| self.malformed())?;
            if time >= interval.end() { Ok(false) } else { each(time, rest.rest(), value) }
        })
    }

    /// Deletes the buckets and ids of a finished window, a part at a time. A restart goes on with it.
    pub(super) fn purge(&self, task: TaskId, interval: Interval) -> Result<(), StoreError> {
        loop {
            let mut batch = StateBatch::default();
            let mut rows = 0;
            for kind in [Kind::Share, Kind::Ids, Kind::Count] {
                self.rows_in(kind, task, interval, |time, rest, _| {
                    if rows == PURGE_ROWS {
                        return Ok(false);
                    }
                    rows += 1;
                    let key = [&keys::at_time(kind, task, time), rest].concat();
                    batch.remove(&key).map(|()| true)
                })?;
            }
            if rows == 0 {
                return Ok(());
            }
            let _ = self.commit(batch)?;
        }
    }

    /// A row that is not what this version writes.
    pub(super) fn malformed(&self) -> StoreError {
        malformed(&self.dir)
    }
}

/// As [`Core::rows`], of a state.
pub(super) fn rows_of(
    state: &State,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    each: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    state.each_until(prefix, after, PAGE_ROWS, each)
}

/// A row of the state in `dir` that is not what this version writes.
pub(super) fn malformed(dir: &Path) -> StoreError {
    StoreError::damaged(dir.join("db"), 0, Damage::Row)
}

/// The last record that rows of a kind point to: the spool that holds it must reach so far.
pub(super) fn last_record(
    state: &State,
    dir: &Path,
    kind: Kind,
    decode: impl Fn(&[u8]) -> Option<Position>,
) -> Result<Option<Position>, StoreError> {
    let mut last = None;
    state.each(&[kind as u8], PAGE_ROWS, |_, value| {
        last = last.max(Some(decode(value).ok_or_else(|| malformed(dir))?));
        Ok::<_, StoreError>(())
    })?;
    Ok(last)
}

/// A task's row.
pub(super) fn decode_task(value: &[u8]) -> Option<TaskRecord> {
    let (secret, rest) = value.split_first()?;
    let (len, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*len))?;
    let budget_source = BudgetSource::new(std::str::from_utf8(name).ok()?).ok()?;
    let (policy, configuration) = rest.split_at_checked(POLICY_BYTES)?;
    let policy = PrivacyPolicy::from_bytes(policy).ok()?;
    let terms = Pinned { policy, budget_source };
    Some(TaskRecord { configuration: configuration.to_vec(), verify_secret_id: *secret, terms })
}

/// What [`decode_task`] reads.
pub(super) fn encode_task(record: &TaskRecord) -> Vec<u8> {
    let name = record.terms.budget_source.as_str().as_bytes();
    // A name has at most 253 bytes.
    let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
    [&[record.verify_secret_id, len], name, &record.terms.policy.to_bytes(), &record.configuration].concat()
}

/// A collected window's row; `start` is the end of its key.
pub(super) fn decode_collected(start: &[u8], value: &[u8]) -> Option<Collected> {
    let mut start = Fields(start);
    let (mut value, start_time) = (Fields(value), start.time()?);
    start.end()?;
    let duration = value.u64()?.checked_sub(start_time.0)?;
    let interval = Interval::new(start_time, arras_protocol::messages::Duration(duration)).ok()?;
    let key = value.array()?;
    let finished = match value.array()? {
        [0] => false,
        [1] => true,
        [_] => return None,
    };
    let resumed = u32::from_be_bytes(value.array()?);
    let (paid, source) = (value.u64()?, value.array()?);
    value.end()?;
    Some(Collected { interval, key, finished, resumed, paid, source })
}

pub(super) fn put_collected(
    batch: &mut StateBatch,
    task: TaskId,
    window: &Collected,
) -> Result<(), StoreError> {
    batch.insert(&keys::at_time(Kind::Collected, task, window.interval.start()), &encode_collected(window))
}

/// What [`decode_collected`] reads.
pub(super) fn encode_collected(window: &Collected) -> Vec<u8> {
    [
        window.interval.end().0.to_be_bytes().as_slice(),
        &window.key,
        &[u8::from(window.finished)],
        &window.resumed.to_be_bytes(),
        &window.paid.to_be_bytes(),
        &window.source,
    ]
    .concat()
}
