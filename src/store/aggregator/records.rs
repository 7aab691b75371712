//! A spool whose records are freed one by one.
//!
//! The state points to a record only after the record is durable. Between the two a record is kept by its
//! pin; a record that no row points to after a crash is garbage, and goes with its segment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Position, Spool, StoreError};

#[derive(Debug)]
pub(super) struct Records {
    spool: Spool,
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    /// Records that are pointed to, or are about to be.
    records: BTreeSet<Position>,
    /// Ends of the spool at which an append began that has not ended; how many.
    appending: BTreeMap<Position, u32>,
}

impl Records {
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, live: Mutex::default() }
    }

    /// Says at opening that a row points to a record.
    ///
    /// # Errors
    /// `Corrupt` if the spool does not reach so far, or not so far back: then it is not the one that belongs
    /// to the state.
    pub(super) fn keep(&self, position: Position) -> Result<(), StoreError> {
        self.spool.may_hold(position)?;
        self.live().records.insert(position);
        Ok(())
    }

    /// Appends a record, durably, and keeps it until it is released.
    pub(super) fn append(&self, parts: &[&[u8]]) -> Result<Position, StoreError> {
        let before = {
            let mut live = self.live();
            // Read under the lock, so that no deletion that was decided before reaches beyond it.
            let before = self.spool.end();
            *live.appending.entry(before).or_default() += 1;
            before
        };
        let appended = self.spool.append_group(&[parts]);
        let mut live = self.live();
        if let Some(count) = live.appending.get_mut(&before) {
            *count -= 1;
            if *count == 0 {
                live.appending.remove(&before);
            }
        }
        let position = *appended?.first().ok_or(StoreError::Invalid("a group without a record"))?;
        live.records.insert(position);
        Ok(position)
    }

    pub(super) fn read(&self, position: Position) -> Result<Vec<u8>, StoreError> {
        self.spool.read(position)
    }

    /// As [`Spool::check`].
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.spool.check()
    }

    /// Bytes on disk, and how many there may be.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.spool.bytes(), self.spool.max_bytes())
    }

    /// How many records are kept.
    pub(super) fn len(&self) -> usize {
        self.live().records.len()
    }

    /// Where the next record goes.
    pub(super) fn end(&self) -> Position {
        self.spool.end()
    }

    /// The segment of the first record that is kept, if at most so many are kept in it.
    pub(super) fn oldest_segment_of(&self, max: usize) -> Option<u32> {
        let live = self.live();
        let oldest = live.records.first()?.segment();
        let in_it = live.records.iter().take_while(|record| record.segment() == oldest).take(max + 1).count();
        (in_it <= max).then_some(oldest)
    }

    /// Gives up records that no row points to any more; deletes segments in which nothing is kept.
    pub(super) fn release(&self, positions: impl IntoIterator<Item = Position>) {
        let bound = {
            let mut live = self.live();
            for position in positions {
                live.records.remove(&position);
            }
            let kept = live.records.first().into_iter().chain(live.appending.keys().next());
            kept.min().copied().unwrap_or_else(|| self.spool.end())
        };
        delete_before(&self.spool, bound);
    }

    #[cfg(test)]
    pub(super) fn start_segment(&self) -> u32 {
        self.spool.start().segment()
    }

    // Each change under the lock is whole.
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes segments before a position. That the space is not free yet is no reason to fail what was done.
pub(super) fn delete_before(spool: &Spool, bound: Position) {
    // Otherwise there is none; appends are not disturbed for nothing.
    if bound.segment() > spool.start().segment()
        && let Err(error) = spool.delete_before(bound)
    {
        tracing::warn!(%error, "a part of a spool that is not needed any more cannot be deleted");
    }
}
