//! What the collector keeps: which windows it asked for, and the releases.

use arras_protocol::messages::{Interval, TaskId};

use zeroize::Zeroizing;

use crate::collector::release::{Draft, Measured, Policy, Published};
use crate::collector::span::Span;
use crate::store::StoreError;

mod disk;

pub use disk::CollectorDisk;
pub(in crate::collector) use disk::record::bytes_max as record_bytes_max;

/// Longest location of a collection job, in bytes. A location is the leader's endpoint (at most 1,024
/// bytes) with two ids.
pub const LOCATION_BYTES_MAX: usize = 2_048;

/// Characters of a failure's reason that are kept: enough for what a leader says and what to do.
pub const REASON_CHARACTERS_MAX: usize = 500;

/// Where the collection of a window stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The request may have reached the leader.
    UnderWay {
        /// The exact `CollectionJobReq`.
        request: Vec<u8>,
        /// The leader's collection job, once it is known.
        location: Option<String>,
    },
    /// Released.
    Released {
        /// The release's number.
        sequence: u64,
    },
    /// Refused, or answered with what cannot be used. The window may be asked for again.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The collection of one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The window, in the task's time precision.
    pub interval: Interval,
    /// Where it stands.
    pub stage: Stage,
}

/// What [`CollectorStore::begin`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The request that is kept must be sent, or its job followed.
    UnderWay {
        /// The exact request; that of the first time, if there was one.
        request: Vec<u8>,
        /// The leader's collection job, if it is known already.
        location: Option<String>,
    },
    /// The window was released before. Boxed for its size.
    Released(Box<Published>),
}

/// Why a window cannot be collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// Another window shares a time with it.
    #[error("the window shares a time with one that is under way or released")]
    Overlap(Box<Collection>),
    /// The store failed; nothing was kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A release, and all its noised cells.
pub type WithCells = (Published, Zeroizing<Vec<i128>>);

/// What a sum needs of a release: its numbers, and what they are off by.
pub struct Summed {
    /// The release's number.
    pub sequence: u64,
    /// The task.
    pub task: TaskId,
    /// The window, in POSIX seconds.
    pub window: Span,
    /// How many reports it holds.
    pub report_count: u64,
    /// What was measured.
    pub vdaf: Measured,
    /// Under which policy.
    pub policy: Policy,
    /// Of values: the number of the release whose conversions they follow.
    pub conversions: Option<u64>,
    /// All its noised cells, one a bucket, unclamped.
    pub cells: Zeroizing<Vec<i128>>,
}

/// What the collector asks of storage. All calls block. A call that returns `Ok` has made its effect
/// durable; one that returns an error has had none, or the store refuses everything until a restart has
/// found out. Windows of a task that are under way or released never overlap.
pub trait CollectorStore: Send + Sync {
    /// Begins to collect a window, or goes on with it: one collection per window, ever.
    ///
    /// One transaction checks for windows of the task that are under way or released and share a time with
    /// this one, and keeps the request. The request is durable when this returns, so that whatever was sent
    /// can be sent again byte for byte. For a window that is under way the request of the first time is
    /// returned, whatever is given now. A window that failed begins anew, and its failure is forgotten.
    ///
    /// A window that is not under way begins only if there is room for `release_bytes`, the most that its release can have (see
    /// `Draft::bytes_max`), beside the releases of all that are: `Full` otherwise.
    fn begin(
        &self,
        task: TaskId,
        interval: Interval,
        request: &[u8],
        release_bytes: u64,
    ) -> Result<Begun, BeginError>;

    /// Keeps where the leader's collection job is; `None` forgets it. Does nothing unless the window is under
    /// way.
    fn set_location(
        &self,
        task: TaskId,
        interval: Interval,
        location: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Signs and keeps the release of a window that is under way, under the next number.
    ///
    /// One transaction takes the number, keeps the signed document and the noised cells, adds what was spent, and ends
    /// the collection. The first release of a window stays, byte for byte: called again, it is returned, whatever is
    /// given now.
    fn finish(&self, task: TaskId, interval: Interval, draft: Draft) -> Result<Published, StoreError>;

    /// Ends the collection of a window that is under way without a release; the window, or others that
    /// overlap it, may be asked for again. Does nothing otherwise. The reason is cut to
    /// [`REASON_CHARACTERS_MAX`].
    fn fail(&self, task: TaskId, interval: Interval, reason: &str) -> Result<(), StoreError>;

    /// A release by its number.
    fn release(&self, sequence: u64) -> Result<Option<Published>, StoreError>;

    /// A release with all its noised cells, also those that it suppresses, one a bucket, unclamped: for sums, never to be
    /// shown one by one. `None` for no release, and for one from before cells were kept.
    fn with_cells(&self, sequence: u64) -> Result<Option<WithCells>, StoreError>;

    /// The number of the last release, 0 before the first: every number up to it has a release.
    fn last_sequence(&self) -> Result<u64, StoreError>;

    /// As [`CollectorStore::with_cells`], with what a sum needs and not the document.
    fn summed(&self, sequence: u64) -> Result<Option<Summed>, StoreError>;

    /// At most `limit` windows of a task that are under way or released, in the order of time; those that
    /// end after `after`, in the task's time precision.
    fn collections(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Collection>, StoreError>;

    /// What releases have charged a budget source: when each epoch that was charged starts, in POSIX seconds, with
    /// micro-epsilon, the earliest first. It is this collector's view, see [`Charged`](crate::collector::Charged).
    fn charged(&self, source: &str) -> Result<Vec<(u64, u64)>, StoreError>;

    /// At most `limit` windows of a task that failed and were not asked for again.
    fn failures(&self, task: TaskId, limit: usize) -> Result<Vec<Collection>, StoreError>;
}
