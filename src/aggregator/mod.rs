//! The two aggregators: what they do alike, the leader and the helper.
//!
//! The roles ask storage through the traits of [`crate::store`], time through [`Clock`] and noise through
//! [`NoiseSource`]; all cryptography runs on rayon's threads, never on the async runtime.

mod api;
mod bodies;
mod clock;
pub mod helper;
mod ids;
pub mod leader;
mod queries;
mod rejections;
mod tasks;
pub(crate) mod under_way;
pub(crate) mod work;

pub use api::hpke_config_response;
pub use clock::{Clock, ManualClock, SystemClock};
pub use ids::IdKey;
pub use tasks::{Collectors, ProvisionedTask, ProvisionedTasks, RegisteredCollector, RegisteredSource};
#[cfg(any(test, feature = "test-seams"))]
pub use work::block_inline;

use arras_protocol::messages::Time;
use arras_protocol::task::Task;
use arras_protocol::verification::TimeWindow;

use crate::privacy::noise::NoiseSource;
use crate::store::MAX_BATCH_BYTES;

/// Makes a noise source for each release: opendp's cannot be shared between threads.
pub type NoiseFactory = std::sync::Arc<dyn Fn() -> Box<dyn NoiseSource> + Send + Sync>;

/// The tick, in seconds, on which collection answers become readable. Drawing noise takes as long as it
/// takes; what can be seen from outside is only on which tick it was done.
pub const RELEASE_TICK_SECONDS: u64 = 1;

/// Limits of an aggregator, from its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Older reports are dropped, in seconds.
    pub max_report_age: u64,
    /// Reports further ahead are too early, in seconds.
    pub max_clock_skew: u64,
    /// Reports in an aggregation job.
    pub job_size: usize,
    /// Longest request body, in bytes.
    pub max_body: usize,
}

impl Limits {
    /// The times of reports that are acceptable at a POSIX second.
    pub fn time_window(&self, task: &Task, now: u64) -> TimeWindow {
        let precision = task.configuration().time_precision;
        TimeWindow {
            latest: precision.truncate(now.saturating_add(self.max_clock_skew)),
            earliest: precision.truncate(now.saturating_sub(self.max_report_age)),
        }
    }

    /// The times of reports that may be aggregated at a POSIX second. Whether a report is too old is decided once, when
    /// it is uploaded: an aggregator that was away, or whose clock was ahead, loses nothing that was acknowledged.
    /// Against replays there are the ids, which are kept until their window is collected.
    pub fn aggregation_window(&self, task: &Task, now: u64) -> TimeWindow {
        TimeWindow { earliest: Time(0), ..self.time_window(task, now) }
    }
}

/// What the commit of one aggregation job may write into batch buckets, in bytes: half of what a transaction of the
/// store may hold, as the rows that go with them are fewer.
const JOB_BUCKET_BYTES: usize = MAX_BATCH_BYTES / 2;

/// What a cell of an aggregate share takes, and what a bucket takes beside its cells; both at most.
const CELL_BYTES: usize = 16;
const BUCKET_OVERHEAD: usize = 512;

/// Batch buckets that the reports of one aggregation job may fall into. Clients choose the times of their reports, so
/// a few could otherwise make a job that no transaction can hold, and that would never end.
pub(crate) fn buckets_per_job(task: &Task) -> usize {
    (JOB_BUCKET_BYTES / (task.vdaf().config().output_len() * CELL_BYTES + BUCKET_OVERHEAD)).max(1)
}

/// Bytes of a report of a task beside its shares: id, time, lengths, keys and tags; generously.
const REPORT_OVERHEAD: usize = 256;

/// What a report of a task takes in a request, in bytes, at most: an upload holds both of its shares; of an aggregation
/// job, the helper's and a message that is shorter than the leader's.
pub(crate) fn report_len(task: &Task) -> usize {
    let vdaf = task.vdaf();
    REPORT_OVERHEAD + vdaf.public_share_len() + vdaf.helper_share_len() + vdaf.leader_share_len()
}

/// Every time: for repeating a step whose reports were checked when it was first taken.
pub(crate) const ANY_TIME: TimeWindow = TimeWindow { latest: Time(u64::MAX), earliest: Time(0) };

/// The next tick after a POSIX second.
pub(crate) fn next_tick(now: u64) -> u64 {
    (now / RELEASE_TICK_SECONDS + 1) * RELEASE_TICK_SECONDS
}
