//! The two aggregators: what they do alike, the leader and the helper.
//!
//! The roles ask storage through the traits of [`crate::store`], time through [`Clock`] and noise through
//! [`NoiseSource`]; all cryptography runs on rayon's threads, never on the async runtime.

mod api;
mod clock;
pub mod helper;
mod ids;
pub mod leader;
mod registry;
pub(crate) mod work;

pub use api::hpke_config_response;
pub use clock::{Clock, ManualClock, SystemClock};
pub use ids::IdKey;
pub use registry::{Collectors, ProvisionedTask, RegisteredCollector, Registry};

use arras_protocol::messages::Time;
use arras_protocol::task::Task;
use arras_protocol::verification::TimeWindow;

use crate::privacy::noise::NoiseSource;

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
}

/// Every time: for repeating a step whose reports were checked when it was first taken.
pub(crate) const ANY_TIME: TimeWindow = TimeWindow { latest: Time(u64::MAX), earliest: Time(0) };

/// The next tick after a POSIX second.
pub(crate) fn next_tick(now: u64) -> u64 {
    (now / RELEASE_TICK_SECONDS + 1) * RELEASE_TICK_SECONDS
}
