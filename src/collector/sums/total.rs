//! Adding cells up, and saying how far off the sum can be.

use zeroize::Zeroizing;

use super::{NoiseShare, SumError};
use crate::collector::judged::{self, Width};
use crate::collector::release::{Cell, Estimate, Release};
use crate::privacy::accuracy::Noise;
use crate::privacy::noise::Scale;

/// The cells of several windows of one task, added up bucket by bucket. No `Debug`: a log has no suppressed numbers.
#[derive(Default)]
pub(super) struct Total {
    cells: Zeroizing<Vec<i128>>,
    /// Each scale, and of how many windows.
    scales: Vec<(Scale, u64)>,
    /// The largest of the releases' thresholds.
    threshold: u64,
}

/// How one number of a sum is judged: what it is off by, and from where on it is shown.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    width: Width,
    pub(super) threshold: u128,
}

impl Total {
    /// Adds a window. Cells are those of the store: all of them, unclamped.
    pub(super) fn add(&mut self, release: &Release, cells: &[i128]) -> Result<(), SumError> {
        let scale = release.policy.scale().map_err(|_| SumError::Noise(release.sequence))?;
        match self.scales.iter_mut().find(|(other, _)| *other == scale) {
            Some((_, windows)) => *windows += 1,
            None => self.scales.push((scale, 1)),
        }
        self.threshold = self.threshold.max(release.policy.threshold);
        if self.cells.is_empty() {
            self.cells = Zeroizing::new(vec![0; cells.len()]);
        }
        // A cell is below 2^127 / 2 of a field of 2^128, and a sum is of at most 10,000: windows of real tasks are far
        // from it, and what is not is held at the end rather than wrapped.
        for (sum, cell) in self.cells.iter_mut().zip(cells) {
            *sum = sum.saturating_add(*cell);
        }
        Ok(())
    }

    /// The sum of some buckets.
    pub(super) fn of(&self, buckets: &[u32]) -> i128 {
        let cell = |bucket: &u32| usize::try_from(*bucket).ok().and_then(|index| self.cells.get(index));
        buckets.iter().filter_map(cell).fold(0, |sum, cell| sum.saturating_add(*cell))
    }

    /// The noise of each bucket, as the document has it.
    pub(super) fn shares(&self) -> Vec<NoiseShare> {
        let share = |(scale, windows): &(Scale, u64)| NoiseShare {
            scale: format!("{}/{}", scale.numerator(), scale.denominator()),
            windows: *windows,
        };
        self.scales.iter().map(share).collect()
    }

    /// How the sum of `buckets` buckets is judged, as one of a family of `rows` numbers: the exact distribution of the noise of
    /// all their cells.
    pub(super) fn judged(&self, buckets: usize, rows: usize) -> Judged {
        let cells = |windows: u64| windows.saturating_mul(buckets as u64);
        let noise = self
            .scales
            .iter()
            .map(|(scale, windows)| Noise::of_cells(scale, cells(*windows)))
            .fold(Noise::default(), |sum, noise| sum.plus(&noise));
        Judged { width: Width::of(&noise), threshold: judged::threshold(&noise, rows as u64, self.threshold) }
    }
}

impl Judged {
    /// Whether a noised number is shown.
    pub(super) fn shows(&self, value: i128) -> bool {
        judged::shows(self.threshold, value)
    }

    /// The number with its interval, which ends at what the reports can add up to.
    pub(super) fn estimate(&self, value: i128, most: u128) -> Cell {
        let interval = self.width.interval(value, most);
        Cell::Shown(Estimate {
            estimate: value,
            standard_error: format!("{:.3}", self.width.standard_error),
            low: interval.low,
            high: interval.high,
        })
    }
}
