//! Where the truth behind a published number lies.

use super::{Confidence, Noise};

/// Where the truth behind a published number lies, both ends included.
///
/// Truth is a count or a value and so never negative: the ends are cut at 0, and
/// at what reports can add up to, which loses no confidence. The
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
        Self::around(estimate, noise.half_width(confidence), u128::MAX)
    }

    /// The interval around a noised `estimate` for a known half-width, if the truth can be no more than `most`.
    ///
    /// An estimate that cannot be, below 0 or above `most`, is a rare draw of noise, of which no more is known than of one that could be.
    /// So the interval is that of the nearest number that can be, cut to what can be, which is the wider one: the other
    /// would be the smaller the rarer the draw was, of width 0 at last, and read like certainty just where least is known.
    pub fn around(estimate: i128, half_width: u128, most: u128) -> Self {
        // `max(0)` leaves nothing negative, so `unsigned_abs` changes nothing.
        let nearest = estimate.max(0).unsigned_abs().min(most);
        Self { low: nearest.saturating_sub(half_width), high: nearest.saturating_add(half_width).min(most) }
    }

    /// Whether `truth` is inside.
    pub fn contains(self, truth: u128) -> bool {
        (self.low..=self.high).contains(&truth)
    }
}
