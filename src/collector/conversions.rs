//! Values follow their conversions: a bucket of a value task is shown if and only if the release of its conversions of the
//! same window shows it.
//!
//! The threshold is a number of conversions. Held against a value it would let a single large purchase through, and hide
//! many small ones. So a value task names, in its file, the task that counts its conversions, and its windows are
//! collected after those; a refusal costs nothing, since it comes before anything is asked or spent. Only a window that was
//! asked for before its task's file was changed may have been charged: it stays under way, and goes on when the file fits.

use arras_protocol::messages::{Interval, TaskId};
use arras_protocol::vdaf::VdafConfig;

use crate::collector::Collector;
use crate::collector::errors::CollectError;
use crate::collector::release::Published;
use crate::collector::span::Span;
use crate::collector::store::Stage;
use crate::store::StoreError;
use crate::tasks::provisioned::{KnownTask, is_value};

/// Why a window of a value task is not collected. Nothing was asked or spent for it now; see the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConversionsError {
    /// The task names no conversions.
    #[error(
        "task {task} sums values and does not say which task counts its conversions, so that nobody could tell which of \
         its buckets may be shown: write `conversions = \"TASK ID\"` into its task file, remove {task}.toml from this \
         collector's folder of tasks, and add the task again"
    )]
    NotNamed {
        /// The value task.
        task: TaskId,
    },
    /// The collector does not have the task that is named.
    #[error(
        "the conversions of this task are counted by task {conversions}, which this collector cannot use ({reason}): \
         add that task to the collector first"
    )]
    Unknown {
        /// The task that counts conversions.
        conversions: TaskId,
        /// Why.
        reason: String,
    },
    /// The two tasks do not fit.
    #[error(
        "task {conversions} cannot count the conversions of this task: {reason}. Correct `conversions`, or the \
         campaigns, in the task file, remove the task from this collector's folder of tasks, and add it again"
    )]
    Mismatch {
        /// The task that is named.
        conversions: TaskId,
        /// What differs.
        reason: &'static str,
    },
    /// The conversions of the window are not released.
    #[error(
        "the conversions of this window are not released yet, and only their release says which values may be shown. \
         Collect them first: arras collect --task {conversions} --from {} --to {}", window.from(), window.to()
    )]
    NotReleased {
        /// The task that counts conversions.
        conversions: TaskId,
        /// The window.
        window: Span,
    },
}

impl Collector {
    /// The release of conversions that a window of a task follows; `None` for a task that counts.
    pub(super) fn conversions_of(
        &self,
        task: &KnownTask,
        window: Span,
    ) -> Result<Option<Published>, CollectError> {
        if !is_value(task.task.vdaf().config()) {
            return Ok(None);
        }
        let conversions = task.conversions.ok_or(ConversionsError::NotNamed { task: task.task.id() })?;
        let unknown = |reason: String| ConversionsError::Unknown { conversions, reason };
        let counting = self.known_task(conversions).map_err(|error| unknown(error.to_string()))?;
        if let Some(reason) = mismatch(task, &counting) {
            return Err(ConversionsError::Mismatch { conversions, reason }.into());
        }
        let not_released = || ConversionsError::NotReleased { conversions, window };
        // Steps of another length may not be able to form the window at all.
        let interval = window.interval(counting.task.configuration().time_precision);
        let interval = interval.map_err(|_| ConversionsError::Mismatch {
            conversions,
            reason: "its time precision does not divide this window",
        })?;
        let published = self.released(conversions, interval)?.ok_or_else(not_released)?;
        if published.release().buckets.len() != task.task.vdaf().config().output_len() {
            return Err(ConversionsError::Mismatch { conversions, reason: BUCKETS }.into());
        }
        Ok(Some(*published))
    }

    /// The release of this very window, if it is there.
    pub(super) fn released(
        &self,
        task: TaskId,
        interval: Interval,
    ) -> Result<Option<Box<Published>>, StoreError> {
        let found = self.store().collections(task, interval.start().0, 1)?.pop();
        let Some(found) = found.filter(|found| found.interval == interval) else { return Ok(None) };
        let Stage::Released { sequence } = found.stage else { return Ok(None) };
        Ok(self.store().release(sequence)?.map(Box::new))
    }
}

const BUCKETS: &str = "it has another number of buckets";

/// What keeps a task from counting the conversions of another.
fn mismatch(values: &KnownTask, counting: &KnownTask) -> Option<&'static str> {
    let length = |task: &KnownTask| task.task.vdaf().config().output_len();
    let counts = matches!(
        counting.task.vdaf().config(),
        VdafConfig::Count | VdafConfig::Histogram { .. } | VdafConfig::L1BoundSum { max_value: 1, .. }
    );
    if !counts {
        return Some("it does not count");
    }
    if length(values) != length(counting) {
        return Some(BUCKETS);
    }
    (values.campaigns != counting.campaigns).then_some(
        "its campaigns are others, or in another order, so that a bucket means another campaign there",
    )
}

#[cfg(test)]
mod tests;
