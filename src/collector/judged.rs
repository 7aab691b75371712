//! How a sum of noised cells is judged: how far off it can be, and from where on it is shown. The one place for that, whatever
//! adds the cells up.

use crate::collector::release::CONFIDENCE;
use crate::privacy::accuracy::{Confidence, Interval, Noise};

/// How far off a noised number can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Width {
    /// Half of its interval, in units of its cells.
    pub(crate) half: u128,
    /// The standard deviation of its noise, in the same.
    pub(crate) standard_error: f64,
}

impl Width {
    /// Of one number with this noise, as sure as releases are.
    pub(crate) fn of(noise: &Noise) -> Self {
        Self::of_part(noise, 1)
    }

    /// Of one of `parts` numbers (1 to 50), so wide that all of their intervals together hold with the confidence of one: what is
    /// added with different weights has an interval that is no wider than theirs together.
    pub(crate) fn of_part(noise: &Noise, parts: u16) -> Self {
        let confidence: Confidence = CONFIDENCE.0;
        Self { half: noise.half_width(confidence.each_of(parts)), standard_error: noise.standard_error() }
    }

    /// The interval of a number, which ends at the most that its reports can add up to.
    pub(crate) fn interval(self, value: i128, most: u128) -> Interval {
        Interval::around(value, self.half, most)
    }
}

/// The smallest noised number that is shown of one with this noise, as one of a family of `family` numbers: the largest threshold
/// of the releases, or, if that is more, what keeps the chance that any empty number of the family is shown at or below
/// [`EMPTY_SHOWN_CHANCE`](crate::privacy::accuracy::EMPTY_SHOWN_CHANCE).
pub(crate) fn threshold(noise: &Noise, family: u64, of_releases: u64) -> u128 {
    noise.default_threshold(family).max(of_releases.into())
}

/// Whether a noised number is shown at a threshold.
pub(crate) fn shows(threshold: u128, value: i128) -> bool {
    u128::try_from(value).is_ok_and(|value| value >= threshold)
}
