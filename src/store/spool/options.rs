//! How a spool is kept, and what it must hold when it is opened.

use std::path::Path;

use super::{DEFAULT_SEGMENT_BYTES, MAX_SEGMENT_BYTES, Position, frame::Owner};
use crate::store::disk::Disk;

/// Appends stop when the file system has less than this left. Twice what [`State`](crate::store::State)
/// keeps free: intake stops first, so that finishing and deleting what is stored goes on.
pub(crate) const FREE_BYTES_MIN: u64 = 128 << 20;

/// How a spool is kept.
#[derive(Clone)]
pub struct SpoolOptions {
    pub(super) segment_bytes: u64,
    pub(super) max_bytes: u64,
    pub(super) reserve_bytes: u64,
    pub(super) owner: Owner,
    pub(super) reaches: Option<Position>,
    pub(super) disk: Disk,
}

impl SpoolOptions {
    /// A spool of at most `max_bytes`, all segments together.
    pub fn new(max_bytes: u64) -> Self {
        let disk = Disk::default();
        Self {
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            max_bytes,
            reserve_bytes: FREE_BYTES_MIN,
            owner: Owner::default(),
            reaches: None,
            disk,
        }
    }

    /// Names the spool in each of its files: those of another one are refused.
    #[must_use]
    pub fn owner(mut self, owner: [u8; 16]) -> Self {
        self.owner = owner;
        self
    }

    /// Whatever lies before this position was acknowledged. A spool that ends earlier is refused when it is opened,
    /// and left as it was; a damaged record before it is not taken for a torn append.
    #[must_use]
    pub fn reaches(mut self, end: Position) -> Self {
        self.reaches = self.reaches.max(Some(end));
        self
    }

    /// As [`Self::reaches`], for a record that begins at this position, if there is one.
    #[must_use]
    pub fn holds(self, record: Option<Position>) -> Self {
        match record {
            Some(Position { segment, offset }) => {
                self.reaches(Position { segment, offset: offset.saturating_add(1) })
            }
            None => self,
        }
    }

    /// Keeps this much of the file system free instead of 128 MiB: a spool that is needed to work
    /// off what another one took in goes on a little longer.
    #[must_use]
    pub fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// Seals segments at this size, in bytes, at most [`MAX_SEGMENT_BYTES`]. A group that is
    /// larger by itself gets a segment of its own.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.min(MAX_SEGMENT_BYTES);
        self
    }

    /// Lets a test make file operations fail.
    #[cfg(any(test, feature = "test-seams"))]
    #[must_use]
    pub fn faults(self, faults: std::sync::Arc<dyn crate::store::Faults>) -> Self {
        self.on(Disk::with_faults(faults))
    }

    /// Whether there is a spool, or anything else, in `dir`.
    pub(crate) fn exists(&self, dir: &Path) -> bool {
        self.disk.exists(dir)
    }

    /// On this disk.
    #[must_use]
    pub(crate) fn on(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }
}
