//! The aggregators' stores on disk: [`LeaderDisk`] and [`HelperDisk`].
//!
//! Below a role's directory, which is the role's alone:
//!
//! | path | what |
//! |---|---|
//! | `state/` | one [`State`]: every decision, and pointers to what is large |
//! | `reports/<task id>/` | the leader's reports of a task, a [`Spool`](crate::store::Spool) |
//! | `jobs/` | the leader's exact requests; the helper's exact responses |
//! | `answers/` | answers to collections |
//!
//! What is large is durable in its spool before the commit that points to it, so a crash between the two
//! leaves a record that nobody points to, never a pointer to nothing. One commit is one decision: either all
//! of it is there after a restart or none.
//!
//! # Locks
//! In the order in which they are taken: a task's *turn* (held from reading what a change depends on to
//! the end of the change), the state's guard (the commit), a task's *memory* (moments). Uploads take only the memory,
//! so they wait for no commit.

mod accounts;
mod buckets;
mod collect;
mod collections;
mod condition;
mod core;
mod helper;
mod keys;
mod leader;
mod queue;
mod records;
mod responses;
mod seen;
mod space;
#[cfg(test)]
mod tests;
mod uploads;

use std::path::{Path, PathBuf};

pub use self::accounts::{Accounts, ChargedWindow, Disagreement, SourceAccount};
pub use self::helper::HelperDisk;
pub use self::leader::LeaderDisk;
use crate::store::disk::Disk;
use crate::store::{DEFAULT_SEGMENT_BYTES, SpoolOptions, State, StoreError, StoreId};

/// The spools of jobs and answers stop when the file system has less than this left: later than those of
/// reports (128 MiB), so that what was taken in can be worked off, and earlier than the state (64 MiB).
const LATE_RESERVE_BYTES: u64 = 96 << 20;

/// The folder of exact requests or responses, below the store's.
const JOBS: &str = "jobs";

/// The smallest segments: some thousand reports.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// Where a role's store is, and its bounds.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The role's own directory.
    pub dir: PathBuf,
    /// The watermark's file: outside of `dir` and of every backup.
    pub watermark: PathBuf,
    /// The most bytes of reports that wait at the leader, all tasks together; at the helper, of responses
    /// that are kept until their batches are finished. Beyond it the store is full.
    pub max_bytes: u64,
    /// Bounds the state's cache, in bytes.
    pub cache_bytes: u64,
    /// At how many bytes a segment of a spool is complete, unless it follows from `max_bytes`.
    pub segment_bytes: Option<u64>,
}

/// Options, and the disk that the store is on.
struct Setup<'a> {
    options: &'a StoreOptions,
    disk: Disk,
}

impl Setup<'_> {
    fn state(&self, dir: &Path, role: &str) -> Result<State, StoreError> {
        let StoreOptions { watermark, cache_bytes, .. } = self.options;
        State::open_on(dir, watermark, role, *cache_bytes, self.disk.clone())
    }

    /// For the spool in a folder of the store.
    fn spool(&self, store: StoreId, folder: &str, max_bytes: u64) -> SpoolOptions {
        // Whole segments are deleted, so a small limit needs small ones.
        let fitting = (self.options.max_bytes / 4).clamp(SEGMENT_BYTES_MIN, DEFAULT_SEGMENT_BYTES);
        SpoolOptions::new(max_bytes)
            .segment_bytes(self.options.segment_bytes.unwrap_or(fitting))
            .owner(store.of_part(folder))
            .on(self.disk.clone())
    }

    /// For what is needed to work off what was taken in.
    fn late_spool(&self, store: StoreId, folder: &str) -> SpoolOptions {
        self.spool(store, folder, u64::MAX).reserve_bytes(LATE_RESERVE_BYTES)
    }
}
