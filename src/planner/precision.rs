//! How precise the numbers of a task are under its terms: the releases' own code, asked before there is a release.

use super::SHOWN_CHANCE;
use super::setting::{About, PlanError, Terms};
use crate::privacy::accuracy::{Confidence, Noise};
use crate::privacy::gate::noise_scale;
use crate::privacy::noise::Scale;
use crate::privacy::threshold::Threshold;

/// The noise of a task's releases and what follows from it.
#[derive(Clone, Debug)]
pub struct Precision {
    /// The terms.
    pub terms: Terms,
    /// The scale of the noise that each aggregator adds.
    pub scale: Scale,
    /// The standard error of a released number, in the task's units.
    pub standard_error: f64,
    /// 95% of noised numbers, shown or not, are within this of the truth, in the task's units.
    pub half_width: u128,
    /// The noise of a released number: that of both aggregators.
    pub noise: Noise,
}

impl Precision {
    pub(crate) fn new(terms: &Terms, about: About) -> Result<Self, PlanError> {
        let scale = noise_scale(&terms.policy()).map_err(|error| PlanError::new(about, error))?;
        let noise = Noise::of_cell(&scale);
        Ok(Self {
            terms: *terms,
            standard_error: noise.standard_error(),
            half_width: noise.half_width(Confidence::P95),
            scale,
            noise,
        })
    }

    /// The 95% half-width of a sum over `windows` releases.
    pub(super) fn half_width_of_sum(&self, windows: u64) -> u128 {
        Noise::of_cells(&self.scale, windows).half_width(Confidence::P95)
    }
}

/// Which counts are shown, and how likely.
#[derive(Clone, Debug)]
pub(super) struct Showing<'a> {
    precision: &'a Precision,
    threshold: Threshold,
}

impl<'a> Showing<'a> {
    pub(super) fn new(precision: &'a Precision, threshold: u64) -> Self {
        Self { precision, threshold: Threshold::new(threshold) }
    }

    /// The chance that a bucket of so many conversions is shown.
    pub(super) fn chance(&self, count: u64) -> f64 {
        // Shown is what is not below the threshold after the noise, see `Threshold::show`.
        self.precision.noise.tail(i128::from(self.threshold.get()) - i128::from(count))
    }

    /// The smallest count that is shown with [`SHOWN_CHANCE`].
    pub(super) fn smallest(&self) -> u64 {
        // A count that much above the threshold is shown with 97.5%.
        let reach = u64::try_from(self.precision.half_width).unwrap_or(u64::MAX);
        let (mut low, mut high) = (0, self.threshold.get().saturating_add(reach));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.chance(middle) >= SHOWN_CHANCE {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}
