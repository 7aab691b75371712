//! The helper's responses to jobs, and when each is forgotten.
//!
//! A response is needed until its leader has committed the job: the leader says so, or every window that the job's
//! reports are in is finished, those that were too early among them. What guards against replays are the ids, which
//! stay until then.
//!
//! The spool gives back whole segments, oldest first, so that one response that stays (a leader's word got lost, and
//! nobody collects the window) would keep all that came after it. Of an old segment with few responses left, those are
//! therefore written again at the end.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arras_protocol::messages::{TaskId, Time};

use super::core::PURGE_ROWS;
use super::helper::HelperDisk;
use super::keys::{self, Fields, Kind};
use super::records::Records;
use crate::store::{Position, RequestKey, StateBatch, StoreError};

/// Responses that leaders do not need any more and whose rows are still there: as many as some seconds of jobs. What
/// is said of more is forgotten; they go with their windows.
const DONE_MAX: usize = 4_096;

/// Of them, how many go with one commit.
const DONE_PER_COMMIT: usize = 64;

/// Segments between the oldest and the one that is written before the oldest is looked at.
const SEGMENTS_KEPT: u32 = 3;

/// Responses that are written again for the sake of one segment, at most: of the usual jobs, a thirtieth of it.
const MOVED_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct Responses {
    pub(super) records: Records,
    /// Keys of rows that may go. In memory: their removal rides on other commits and needs no sync of its own. A
    /// restart forgets it.
    done: Mutex<BTreeSet<Vec<u8>>>,
    /// Held while rows are removed or changed, up to the commit: a row must not be moved that another thread removes.
    changing: Mutex<()>,
    /// The segment that was written when an old one was last looked at; it is done once for each.
    looked_at: Mutex<u32>,
}

/// What a response row says: where it is, and from when to when its reports are that were verified or too early; of a
/// job without any, the first time is later than the last.
pub(super) struct Response {
    record: Position,
    first: Time,
    last: Time,
}

impl Response {
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let response = Self { record: fields.position()?, first: fields.time()?, last: fields.time()? };
        fields.end().map(|()| response)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        [self.record.to_bytes(), self.first.0.to_be_bytes(), self.last.0.to_be_bytes()].concat()
    }
}

/// A lock whose state is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Responses {
    /// The record that a response row points to.
    pub(super) fn record_of(value: &[u8]) -> Option<Position> {
        Response::decode(value).map(|response| response.record)
    }

    pub(super) fn new(records: Records) -> Self {
        Self { records, done: Mutex::default(), changing: Mutex::default(), looked_at: Mutex::default() }
    }
}

/// Rows that go with a commit; nobody else removes or moves them before it is dropped.
pub(super) struct Leaving<'a> {
    rows: Vec<(Vec<u8>, Position)>,
    _changing: MutexGuard<'a, ()>,
}

impl HelperDisk {
    /// Finds at opening what the rows point to.
    pub(super) fn load_responses(&self) -> Result<(), StoreError> {
        self.core.rows(&[Kind::Response as u8], None, |_, value| {
            self.responses.records.keep(self.decode_response(value)?.record)?;
            Ok(true)
        })
    }

    fn decode_response(&self, value: &[u8]) -> Result<Response, StoreError> {
        Response::decode(value).ok_or_else(|| self.core.malformed())
    }

    pub(super) fn stored_response(
        &self,
        task: TaskId,
        key: &RequestKey,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row = keys::of_request(Kind::Response, task, key);
        while let Some(value) = self.core.state.get(&row)? {
            match self.responses.records.read(self.decode_response(&value)?.record) {
                Ok(response) => return Ok(Some(response)),
                Err(error) if self.core.state.get(&row)?.is_some_and(|now| *now == *value) => {
                    return Err(error);
                }
                // Moved or forgotten meanwhile.
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Enters a job's response into the batch of its commit.
    pub(super) fn put_response(
        batch: &mut StateBatch,
        task: TaskId,
        key: &RequestKey,
        record: Position,
        times: impl Iterator<Item = Time> + Clone,
    ) -> Result<(), StoreError> {
        let (first, last) = times.clone().min().zip(times.max()).unwrap_or((Time(1), Time(0)));
        let row = Response { record, first, last }.encode();
        batch.insert(&keys::of_request(Kind::Response, task, key), &row)
    }

    /// As in the trait.
    pub(super) fn leader_is_done(&self, task: TaskId, key: &RequestKey) -> Result<(), StoreError> {
        self.core.usable()?;
        let row = keys::of_request(Kind::Response, task, key);
        if self.core.state.get(&row)?.is_some() {
            let mut done = lock(&self.responses.done);
            if done.len() < DONE_MAX {
                done.insert(row);
            }
        }
        Ok(())
    }

    /// Enters the removal of some responses that leaders are done with into a batch.
    pub(super) fn remove_done(&self, batch: &mut StateBatch) -> Result<Leaving<'_>, StoreError> {
        let changing = lock(&self.responses.changing);
        let keys: Vec<_> = lock(&self.responses.done).iter().take(DONE_PER_COMMIT).cloned().collect();
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            // Else its window was finished meanwhile.
            if let Some(value) = self.core.state.get(&key)? {
                batch.remove(&key)?;
                rows.push((key, self.decode_response(&value)?.record));
            } else {
                lock(&self.responses.done).remove(&key);
            }
        }
        Ok(Leaving { rows, _changing: changing })
    }

    /// After the commit of the batch: the rows are gone.
    pub(super) fn removed(&self, leaving: Leaving<'_>) {
        let Leaving { rows, _changing } = leaving;
        for (key, _) in &rows {
            lock(&self.responses.done).remove(key);
        }
        self.responses.records.release(rows.iter().map(|(_, record)| *record));
    }

    /// Deletes the responses of jobs whose windows are all finished, after one was.
    pub(super) fn forget_finished(&self, task: TaskId) -> Result<(), StoreError> {
        let entry = self.core.entry(task)?;
        let _changing = lock(&self.responses.changing);
        let prefix = keys::of_task(Kind::Response, task);
        let mut forgotten = Vec::new();
        self.core.rows(&prefix, None, |key, value| {
            let response = self.decode_response(value)?;
            if entry.memory().all_finished(response.first, response.last) {
                forgotten.push(([prefix.as_slice(), key].concat(), response.record));
            }
            Ok(true)
        })?;
        for rows in forgotten.chunks(PURGE_ROWS) {
            let mut batch = StateBatch::default();
            rows.iter().try_for_each(|(key, _)| batch.remove(key))?;
            let _ = self.core.commit(batch)?;
            self.responses.records.release(rows.iter().map(|(_, record)| *record));
        }
        Ok(())
    }

    /// Writes what is left in an old segment again, if that is little, so that the segment can go. Called after a
    /// job's commit; whatever fails here is tried again with the next segment.
    pub(super) fn empty_old_segment(&self) {
        let records = &self.responses.records;
        let written = records.end().segment();
        let Some(oldest) = records.oldest_segment_of(MOVED_MAX) else { return };
        if written - oldest <= SEGMENTS_KEPT
            || std::mem::replace(&mut *lock(&self.responses.looked_at), written) == written
        {
            return;
        }
        if let Err(error) = self.move_responses(oldest) {
            tracing::warn!(%error, "old responses cannot be moved to give back the space before them");
        }
    }

    fn move_responses(&self, segment: u32) -> Result<(), StoreError> {
        let _changing = lock(&self.responses.changing);
        let mut rows = Vec::new();
        let prefix = [Kind::Response as u8];
        self.core.rows(&prefix, None, |key, value| {
            let response = self.decode_response(value)?;
            if response.record.segment() == segment {
                rows.push(([prefix.as_slice(), key].concat(), response));
            }
            Ok(true)
        })?;
        for (key, response) in rows {
            let bytes = self.responses.records.read(response.record)?;
            // Durable before the row points to it; until the commit the row points to the old one, which stays.
            let record = self.responses.records.append(&[&bytes])?;
            let mut batch = StateBatch::default();
            batch.insert(&key, &Response { record, ..response }.encode())?;
            let _ = self.core.commit_with_record(batch, &self.responses.records, Some(record))?;
            self.responses.records.release([response.record]);
        }
        Ok(())
    }
}
