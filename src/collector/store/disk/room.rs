//! Room for the releases of windows that are under way.
//!
//! It is kept in memory, as a picture of the windows' rows: whoever changes those holds the state's lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arras_protocol::messages::{Interval, TaskId};

use super::{PAGE_ROWS, WINDOW_PREFIX, WindowRecord};
use crate::store::{MAX_VALUE_BYTES, Spool, State, StoreError};

/// What a release of at most so many bytes may take of the spool: nothing if it fits the state.
pub(super) fn of_release(bytes: u64) -> u64 {
    if bytes < MAX_VALUE_BYTES as u64 { 0 } else { Spool::room_of(bytes) }
}

/// What the releases of all windows that are under way may take of the spool, in bytes.
#[derive(Debug, Default)]
pub(super) struct Promised {
    windows: Mutex<HashMap<(TaskId, u64), u64>>,
    /// The most that one was asked for since the store was opened.
    largest: AtomicU64,
}

impl Promised {
    /// Reads the rows of all windows.
    pub(super) fn read(state: &State) -> Result<Self, StoreError> {
        let promised = Self::default();
        state.each(WINDOW_PREFIX, PAGE_ROWS, |rest, value| {
            let record = WindowRecord::read(value)?;
            if let (Some(room), Some((task, _))) = (record.room, rest.split_first_chunk::<{ TaskId::LEN }>())
            {
                promised.asked_for(room);
                promised.keep(TaskId::new(*task), record.collection()?.interval, room);
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(promised)
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<(TaskId, u64), u64>> {
        // It is changed by single insertions and removals.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the spool has no room for so much beside what is promised. A release that is being kept may count twice for a moment.
    ///
    /// # Errors
    /// Those of [`Spool::check_room`].
    pub(super) fn check(&self, spool: &Spool, room: u64) -> Result<(), StoreError> {
        let promised: u64 = self.windows().values().sum();
        spool.check_room(promised.saturating_add(room))
    }

    /// Notes that a release was to begin that may take so much.
    pub(super) fn asked_for(&self, room: u64) {
        self.largest.fetch_max(room, Ordering::Relaxed);
    }

    pub(super) fn largest(&self) -> u64 {
        self.largest.load(Ordering::Relaxed)
    }

    /// What is kept for a window.
    pub(super) fn of(&self, task: TaskId, window: Interval) -> u64 {
        self.windows().get(&(task, window.end().0)).copied().unwrap_or(0)
    }

    pub(super) fn keep(&self, task: TaskId, window: Interval, room: u64) {
        if room > 0 {
            self.windows().insert((task, window.end().0), room);
        }
    }

    pub(super) fn end(&self, task: TaskId, window: Interval) {
        self.windows().remove(&(task, window.end().0));
    }
}
