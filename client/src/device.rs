//! A device: its impressions, and how many reports it may still send.

use std::collections::HashMap;
use std::num::NonZeroU32;

use arras_protocol::messages::{Report, TaskId};
use arras_protocol::report::{ReportMaker, ReportMakingError};
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;
use rand::CryptoRng;

use crate::attribution::{Impressions, NOT_ATTRIBUTED};

/// For how long a report counts towards a task's `contributions`, in seconds: 7 days, the length of a
/// budget epoch. A device does not know which windows a collector will ask for; at most k reports in
/// any 7 days are at most k in any epoch, whatever the windows.
pub const CONTRIBUTION_SECONDS: u64 = 7 * 24 * 3600;

/// What happened, as the app tells it.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    /// When, in POSIX seconds.
    pub posix_seconds: u64,
    /// Whether the person agreed to measurement. Without consent a report is made all the same, of the
    /// same size, that says "not attributed".
    pub consent: bool,
}

/// Why a conversion made no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversionError {
    /// The device has sent as many reports to this task as its policy allows for now.
    #[error("this device has sent the {0} reports that the task's policy allows in 7 days")]
    ContributionsSpent(NonZeroU32),
    /// The task counts something else than buckets.
    #[error("the task does not count conversions by bucket")]
    NotAHistogram,
    /// The report could not be made.
    #[error("{0}")]
    Report(#[from] ReportMakingError),
}

/// The state of one device. It is held in memory: an app that restarts keeps it itself.
#[derive(Debug, Default)]
pub struct Device {
    /// The ads that it remembers.
    pub impressions: Impressions,
    sent: HashMap<TaskId, Vec<u64>>,
}

impl Device {
    /// Attributes a conversion and makes the report of it.
    ///
    /// `contributions` is the k of the task's policy. The report counts towards it from the moment it
    /// is made, whether or not its upload succeeds.
    pub fn convert(
        &mut self,
        rng: &mut impl CryptoRng,
        task: &Task,
        maker: &ReportMaker<'_>,
        contributions: NonZeroU32,
        conversion: Conversion,
    ) -> Result<Report, ConversionError> {
        let now = conversion.posix_seconds;
        let measurement = self.measure(task, conversion)?;
        let sent = self.sent.entry(task.id()).or_default();
        sent.retain(|at| now.abs_diff(*at) < CONTRIBUTION_SECONDS);
        if sent.len() >= usize::try_from(contributions.get()).unwrap_or(usize::MAX) {
            return Err(ConversionError::ContributionsSpent(contributions));
        }
        sent.push(now);
        Ok(maker.make(rng, now, &measurement, None)?)
    }

    fn measure(&self, task: &Task, conversion: Conversion) -> Result<Measurement, ConversionError> {
        use arras_protocol::vdaf::VdafConfig;
        let bucket = if conversion.consent {
            self.impressions.last_touch(conversion.posix_seconds)
        } else {
            NOT_ATTRIBUTED
        };
        match *task.vdaf().config() {
            VdafConfig::Histogram { .. } => Ok(Measurement::Bucket(bucket)),
            // A sum has no cell for "not attributed": it says so by being all zero.
            VdafConfig::L1BoundSum { length, .. } => {
                let mut cells = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
                let cell = usize::try_from(bucket).ok().and_then(|index| cells.get_mut(index));
                if let (false, Some(cell)) = (bucket == NOT_ATTRIBUTED, cell) {
                    *cell = 1;
                }
                Ok(Measurement::Vector(cells))
            }
            _ => Err(ConversionError::NotAHistogram),
        }
    }
}
