//! What a role keeps on disk, and what it may rely on after a crash.
//!
//! Two building blocks, because one engine does not serve both needs:
//!
//! * [`Spool`] holds bodies (reports, job requests, job responses): append-only segment
//!   files of CRC-framed records, synced in groups, deleted whole.
//! * [`State`] holds small values (ids, job state, positions in the spool, accumulators):
//!   one sled tree, changed by one atomic and durable batch at a time.
//!
//! A [`Watermark`] outside both tells a store that is older than what this role has
//! already acted on, such as a restored backup, so that it refuses to start.
//!
//! Every call here blocks on the disk: an async caller moves it off the runtime.

pub mod aggregator;
mod condition;
mod damage;
#[cfg(test)]
pub(crate) mod damage_tests;
mod disk;
mod error;
#[cfg(test)]
pub(crate) mod power_tests;
pub mod roles;
mod space;
mod spool;
mod state;
mod watermark;

pub use aggregator::{
    Accounts, ChargedWindow, Disagreement, HelperDisk, LeaderDisk, SourceAccount, StoreOptions,
};
pub use condition::{Usage, Waiting};
pub use damage::Damage;
pub use disk::Disk;
pub(crate) use disk::sync_parent;
#[cfg(any(test, feature = "test-seams"))]
pub use disk::{Fault, Faults, FileOp, MemoryDisk};
pub use error::StoreError;
pub use roles::{
    AggregatorStore, BatchSummary, CollectRefusal, CollectedBatch, CollectionCreated, CollectionDeleted,
    CollectionJob, CollectionState, HelperStore, JobAnswer, JobDraft, JobNumber, JobSums, LeaderStore,
    NewReport, OPEN_COLLECTIONS_MAX, OpenJob, PrepareJob, PreparedJob, QueuedReport, ReportKey, RequestKey,
    TaskRecord,
};
pub(crate) use space::free_bytes;
pub(crate) use spool::FREE_BYTES_MIN as INTAKE_RESERVE_BYTES;
pub use spool::{
    DEFAULT_SEGMENT_BYTES, MAX_GROUP_BYTES, MAX_RECORD_BYTES, MAX_SEGMENT_BYTES, Position, RangeReader,
    Spool, SpoolOptions,
};
pub use state::{
    Committed, Entry, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, SCHEMA_VERSION, State, StateBatch,
    StateGuard,
};
pub use watermark::{StoreId, Watermark};
