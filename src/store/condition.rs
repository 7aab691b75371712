//! What an operator wants to know of a store.

use arras_protocol::messages::Time;

/// What a store occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk that count against the limit.
    pub bytes: u64,
    /// The limit.
    pub max_bytes: u64,
    /// Bytes that the file system has left.
    pub free_bytes: u64,
}

/// What waits at the leader, of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Reports that are queued, put back or in open jobs.
    pub reports: u64,
    /// Open jobs.
    pub jobs: usize,
    /// The earliest time among the reports in open jobs, those put back, and the one at the head of the queue: queued
    /// reports wait in the order in which they came, whatever their times.
    pub oldest: Option<Time>,
    /// Collection jobs whose window is being drained.
    pub draining: usize,
    /// Collection jobs that the helper is being asked for.
    pub asking: usize,
}
