//! Scheduled collection: every window of every advertiser is collected once, by itself, when it is over and late reports have
//! had their time.
//!
//! `calendar` says which windows there are, `look` where they stand and which are due, `judge` what an attempt came to and when
//! the next one is, `rows` keeps that, `driver` does it. That a window is collected once, ever, is the collector's store's doing
//! (`collector/store.rs`): whatever is forgotten here, asking again finds the release. A window that somebody collects by hand
//! counts as collected.
//!
//! Of each generation of tasks the windows are collected from that in which it was opened until the manifests that name it have
//! run out, conversions first: the release of values follows that of the conversions of the same window.

mod calendar;
mod driver;
mod judge;
mod look;
mod planned;
mod rows;
mod state;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arras_protocol::messages::TaskId;
use ring::rand::SecureRandom;
use tokio::sync::Notify;

pub use calendar::{Calendar, DayRange, STEP_SECONDS, day_at, day_start};
pub use driver::{AT_ONCE, ATTEMPT_MAX, LOOK_PAUSE_MAX, LOOKS_MAX, RETRIED_AT_ONCE, TASK_AT_ONCE};
pub use judge::{
    AWAY_PAUSES_SECONDS, LATE_PAUSES_SECONDS, LATE_REPORTS_SECONDS, OPERATOR_PAUSES_SECONDS,
    RARE_ATTEMPTS_SECONDS, RARE_PAUSE_SECONDS, ROOM_PAUSE_SECONDS,
};
pub use look::{AHEAD_SECONDS, OVERDUE_SECONDS, PASSED_OVER_SECONDS};
pub use planned::planned_windows;
pub use state::{Measures, WindowState, WindowStatus};

use crate::aggregator::Clock;
use crate::collector::{Collector, CollectorDisk, Span};
use crate::metrics::ScheduleMetrics;
use crate::registry::{AdvertiserId, Registry};
use crate::schedule::rows::Rows;
use crate::store::StoreError;
use crate::text::utc;

/// What a schedule is made of.
pub struct ScheduleParts {
    /// Collects.
    pub collector: Collector,
    /// The collector's store, for what is kept of windows that were tried.
    pub disk: Arc<CollectorDisk>,
    /// Whose windows.
    pub registry: Registry,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Spreads attempts.
    pub random: Arc<dyn SecureRandom + Send + Sync>,
    /// What it counts.
    pub metrics: ScheduleMetrics,
}

/// The schedule of a collector. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Schedule(Arc<Inner>);

/// A schedule that may be gone.
pub(crate) struct WeakSchedule(Weak<Inner>);

impl WeakSchedule {
    pub(crate) fn upgrade(&self) -> Option<Schedule> {
        self.0.upgrade().map(Schedule)
    }
}

/// An attempt that runs: its task and window.
type RunningKey = (TaskId, u64, u64);

#[derive(Clone, Debug, Default)]
struct Live {
    /// What is in its way, if anything.
    trouble: Option<String>,
}

/// How far a look has come.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// Before which moment every window is settled.
    from: u64,
    /// When that was seen.
    at: u64,
    /// When all before was looked at last; not after `at`.
    since: u64,
}

struct Inner {
    parts: ScheduleParts,
    rows: Rows,
    /// When this process began to look, in POSIX seconds: nothing is overdue for what happened before.
    started: u64,
    /// Attempts that run, each with what is in its way. Locked for moments only.
    running: Mutex<HashMap<RunningKey, Live>>,
    /// Of a generation, up to where its windows are not looked at again. Forgotten with the process.
    cursors: Mutex<HashMap<(AdvertiserId, u32), Cursor>>,
    /// What is overdue, as of the last round.
    health: Mutex<Health>,
    woken: Notify,
}

/// How the schedule does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Health {
    due: usize,
    overdue: usize,
    /// Of the window that is overdue for longest.
    reason: Option<String>,
    /// The latest beginning of tasks that were opened by a clock that was ahead.
    ahead: Option<u64>,
}

// What these locks protect is changed by single insertions and assignments.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn running_key(task: TaskId, window: Span) -> RunningKey {
    (task, window.from().seconds(), window.to().seconds())
}

impl Schedule {
    /// A schedule on an open store. It does nothing until [`Schedule::run`]. Blocks while it reads its rows.
    pub fn open(parts: ScheduleParts) -> Result<Self, StoreError> {
        let rows = Rows::open(Arc::clone(&parts.disk))?;
        let started = parts.clock.now();
        Ok(Self(Arc::new(Inner {
            parts,
            rows,
            started,
            running: Mutex::default(),
            cursors: Mutex::default(),
            health: Mutex::default(),
            woken: Notify::new(),
        })))
    }

    /// A handle that does not keep it alive.
    pub(crate) fn downgrade(&self) -> WeakSchedule {
        WeakSchedule(Arc::downgrade(&self.0))
    }

    fn now(&self) -> u64 {
        self.0.parts.clock.now()
    }

    /// Looks for windows that are due at once. For tests, which move a clock: nothing else makes a window due before the driver looks anyway.
    #[doc(hidden)]
    pub fn wake(&self) {
        self.0.woken.notify_one();
    }

    /// The windows of an advertiser that have begun and share a time with `from..to` (POSIX seconds), in the order of time; of one
    /// window, generations in order, conversions before values. A window is of several generations while devices learn of the
    /// newest. None for an advertiser that is not there. Blocks.
    pub fn windows(
        &self,
        advertiser: AdvertiserId,
        from: u64,
        to: u64,
    ) -> Result<Vec<WindowStatus>, StoreError> {
        let Some(found) = self.0.parts.registry.advertiser(advertiser) else { return Ok(Vec::new()) };
        let (mut windows, now) = (Vec::new(), self.now());
        let range = Range { start: from, end: to.min(now.saturating_add(1)) };
        for generation in self.0.parts.registry.generations(advertiser).iter() {
            windows.extend(self.statuses(&found, generation, &range, now)?);
        }
        windows.sort_by_key(|status| (status.window.from().seconds(), status.generation, status.measures));
        Ok(windows)
    }

    /// Why the schedule is not well: windows are due for long, or tasks begin in the future.
    ///
    /// # Errors
    /// In words for whoever runs the collector.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Health { overdue, reason, ahead, .. } = lock(&self.0.health).clone();
        if overdue == 0 {
            return ahead.map_or(Ok(()), |ahead| {
                Err(format!(
                    "tasks of an advertiser were opened at {}, which is still to come: the clock was ahead then, or is behind now. \
                     Their windows are collected from then on alone",
                    utc(ahead)
                ))
            });
        }
        let reason = reason.unwrap_or_else(|| "their turn has not come".to_owned());
        let windows = if overdue == 1 { "window is" } else { "windows are" };
        Err(format!("{overdue} {windows} overdue for more than {} hours: {reason}", OVERDUE_SECONDS / 3_600))
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").field("health", &*lock(&self.0.health)).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
