//! Where the truth behind a published number lies.

use super::{Confidence, Noise};

/// Where the truth behind a published number lies, both ends included.
///
/// Truth is a count or a value and so never negative: the ends are cut at 0. The
/// estimate itself is never clamped, or sums of estimates would be biased
/// upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The lower end, in units of the cell.
    pub low: u128,
    /// The upper end, in units of the cell; never below `low`.
    pub high: u128,
}

impl Interval {
    /// The interval around an `estimate` that holds `noise`.
    pub fn of(estimate: i128, noise: &Noise, confidence: Confidence) -> Self {
        Self::around(estimate, noise.half_width(confidence))
    }

    /// The interval around a noised `estimate` for a known half-width.
    pub fn around(estimate: i128, half_width: u128) -> Self {
        // Beyond 127 bits the interval is all that can be said anyway.
        let width = i128::try_from(half_width).unwrap_or(i128::MAX);
        // `max(0)` leaves nothing negative, so `unsigned_abs` changes nothing.
        Self {
            low: estimate.saturating_sub(width).max(0).unsigned_abs(),
            high: estimate.saturating_add(width).max(0).unsigned_abs(),
        }
    }

    /// The part of it that is not above `most`, the largest that the truth can be: cutting off what cannot be loses
    /// no confidence. All of it above leaves `most` itself.
    #[must_use]
    pub fn at_most(self, most: u128) -> Self {
        Self { low: self.low.min(most), high: self.high.min(most) }
    }

    /// Whether `truth` is inside.
    pub fn contains(self, truth: u128) -> bool {
        (self.low..=self.high).contains(&truth)
    }
}
