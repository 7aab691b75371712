//! What is kept of windows that were tried and not released. Rows in the collector's state:
//!
//! | key | value |
//! |---|---|
//! | `W`, task, end, start (POSIX seconds, big endian) | a [`Row`] in JSON |
//!
//! A window without a row was not tried, or is released; its release is the collector's row and beats whatever stands here. A row
//! is display and patience: one that is lost costs an attempt, never a second collection, which the collector's store rules out.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use arras_protocol::messages::TaskId;
use serde::{Deserialize, Serialize};

use crate::collector::{CollectorDisk, Moment, REASON_CHARACTERS_MAX, Span};
use crate::store::{StateBatch, StoreError};

const PREFIX: &[u8] = b"W";

/// Rows read at once when the store is opened: at most a megabyte.
const PAGE_ROWS: usize = 256;

/// What kept a window from its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Too few reports.
    TooFew,
    /// A budget.
    Budget,
    /// The leader is away, or not done, or this collector has no room.
    Unfinished,
    /// Anything else.
    Failed,
}

/// What came of the attempts at a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// How many there were.
    pub(super) attempts: u32,
    /// What was in the way the last time.
    pub(super) kind: Kind,
    /// In words, at most [`REASON_CHARACTERS_MAX`] characters.
    pub(super) reason: String,
    /// When the next one is due, in POSIX seconds; `None` if there is none.
    pub(super) next: Option<u64>,
    /// When the last one was, in POSIX seconds by the clock of then. Rows of before this was kept have 0, and do not count.
    #[serde(default)]
    pub(super) at: u64,
}

impl Row {
    /// Whether it is to be believed: not if a clock that was ahead wrote it, of an attempt that is still to come, or of a window
    /// that was not over.
    pub(super) fn counts(&self, window: Span, now: u64) -> bool {
        (window.to().seconds()..=now).contains(&self.at)
    }
}

type WindowKey = (u64, u64);

fn window_key(window: Span) -> WindowKey {
    (window.to().seconds(), window.from().seconds())
}

type Picture = HashMap<TaskId, BTreeMap<WindowKey, Arc<Row>>>;

/// The rows. The store's are the truth; the picture in memory is read at the start and changed after each commit.
#[derive(Debug)]
pub(super) struct Rows {
    disk: Arc<CollectorDisk>,
    /// Held for writing by whoever commits, so that it changes in the order of the commits.
    picture: RwLock<Picture>,
}

impl Rows {
    /// Reads them all. Blocks.
    pub(super) fn open(disk: Arc<CollectorDisk>) -> Result<Self, StoreError> {
        let picture = RwLock::new(read(&disk)?);
        Ok(Self { disk, picture })
    }

    fn picture(&self) -> RwLockReadGuard<'_, Picture> {
        // It is changed by one insertion or removal.
        self.picture.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of a window.
    pub(super) fn get(&self, task: TaskId, window: Span) -> Option<Arc<Row>> {
        self.picture().get(&task)?.get(&window_key(window)).map(Arc::clone)
    }

    /// Keeps what came of an attempt, or nothing of it. Blocks; durable when it returns.
    pub(super) fn set(&self, task: TaskId, window: Span, row: Option<Row>) -> Result<(), StoreError> {
        let key = key(task, window_key(window));
        let mut picture = self.picture.write().unwrap_or_else(PoisonError::into_inner);
        let before = picture.get(&task).and_then(|rows| rows.get(&window_key(window)));
        if row.as_ref() == before.map(Arc::as_ref) {
            return Ok(());
        }
        let mut batch = StateBatch::default();
        let row = match row {
            None => {
                batch.remove(&key)?;
                None
            }
            Some(mut row) => {
                row.reason = row.reason.chars().take(REASON_CHARACTERS_MAX).collect();
                batch.insert(&key, &serde_json::to_vec(&row).map_err(StoreError::prepare)?)?;
                Some(Arc::new(row))
            }
        };
        // Durable from here: a restart waits as long as this process would have.
        let _receipt = self.disk.state().lock().commit(batch)?;
        let rows = picture.entry(task).or_default();
        match row {
            Some(row) => drop(rows.insert(window_key(window), row)),
            None => drop(rows.remove(&window_key(window))),
        }
        Ok(())
    }

    /// Whether memory and store agree.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut picture = self.picture().clone();
        picture.retain(|_, rows| !rows.is_empty());
        assert_eq!(Some(picture), read(&self.disk).ok());
    }
}

fn key(task: TaskId, (end, start): WindowKey) -> Vec<u8> {
    [PREFIX, task.as_bytes().as_slice(), &end.to_be_bytes(), &start.to_be_bytes()].concat()
}

fn read(disk: &CollectorDisk) -> Result<Picture, StoreError> {
    let mut picture = Picture::new();
    disk.state().each(PREFIX, PAGE_ROWS, |rest, value| {
        let (task, window) =
            split(rest).ok_or(StoreError::Invalid("a row of the schedule has a key of another form"))?;
        let row: Row = serde_json::from_slice(value).map_err(StoreError::prepare)?;
        picture.entry(task).or_default().insert(window, Arc::new(row));
        Ok::<_, StoreError>(())
    })?;
    Ok(picture)
}

/// What stands behind the prefix in a key.
fn split(rest: &[u8]) -> Option<(TaskId, WindowKey)> {
    let (task, rest) = rest.split_first_chunk::<32>()?;
    let (end, start) = rest.split_first_chunk::<8>()?;
    let (end, start) = (u64::from_be_bytes(*end), u64::from_be_bytes(start.try_into().ok()?));
    Span::new(Moment::from_seconds(start).ok()?, Moment::from_seconds(end).ok()?).ok()?;
    Some((TaskId::new(*task), (end, start)))
}
