//! How far a published number can be from the truth.
//!
//! Both aggregators add noise of the same scale, so a published cell is off by two independent discrete Laplace
//! variables, and a sum of published cells by two for each cell. [`Noise`] is the exact distribution of that:
//! one cell in closed form, sums by a contour integral that is exact to some 12 digits (see `sum.rs`). The normal
//! approximation is not used, since its tails are too thin (at scale 20 and 99 % it gives 103 where 120 is
//! right); nor are bounds of cells added, which for 52 windows would make the interval of their sum 7 times too wide.
//!
//! All of this describes numbers that are noised already: it is display, after the noise, and no privacy depends
//! on it. Floats are allowed here and only here.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "display only: 53 bits of a probability or a width are plenty"
)]

mod cell;
mod interval;
mod sum;

use std::collections::BTreeMap;
use std::iter::Sum;

pub use interval::Interval;

use super::noise::Scale;
use sum::Group;

/// The family-wise chance that a default threshold leaves to empty buckets: at most one release in a thousand
/// shows any bucket that nobody is in. One in a hundred would be seen within two years of weekly releases.
/// A task file without a threshold gets the one that follows from this, and the threshold is part of the task's id:
/// another number here would give the same file another id.
pub const EMPTY_SHOWN_CHANCE: f64 = 1e-3;

/// How many different scales are told apart within one sum. Sums of more (thousands of tasks, each with an epsilon of
/// its own) would take seconds; scales close to each other then count as the larger of them, which makes
/// intervals a little wider than needed and never narrower: |Z| grows with each of its scales, since
/// discrete Laplace variables are symmetric and fall off on both sides (Birnbaum, Ann. Math. Stat. 19, 1948).
pub const SCALES_MAX: usize = 128;

/// What a tail from the contour integral may be too small by, relative; counted to the safe side wherever a tail
/// is compared with what it may be. Its error is more than a thousand times smaller.
const TAIL_ERROR: f64 = 1e-9;

/// The same for the closed form of one cell, whose rounding errors stay below 2 * 10^-13. It matters where a step of
/// a number changes its tail by as little: widths are up to so much of a scale wider than the narrowest, which is less
/// than a step at scales below 10^12, and never narrower.
const CELL_ERROR: f64 = 1e-12;

/// How sure an interval is, in thousandths: 1 to 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confidence(u16);

impl Confidence {
    /// 95 %, what tables and releases show.
    pub const P95: Self = Self(950);

    /// In thousandths.
    pub fn per_mille(self) -> u16 {
        self.0
    }

    /// How sure each of `parts` statements must be for all of them to hold with this confidence, whatever they have to do with each
    /// other: what may be missed is shared evenly. Never less sure than asked for.
    #[must_use]
    pub fn each_of(self, parts: u16) -> Self {
        // Rounded down, so that the parts together miss no more; some thousandth is left up to 50 of 95 %.
        Self(1000 - (1000 - self.0) / parts.max(1))
    }

    /// The probability that the truth is outside, often called alpha.
    fn miss(self) -> f64 {
        f64::from(1000 - self.0) / 1000.0
    }
}

/// The noise Z in a published number, or in a sum of published numbers: independent discrete Laplace variables.
///
/// Made of cells, each with one draw of each aggregator. Cells of different scales may be mixed, which is what
/// happens when windows or campaigns of different tasks are summed. A cell must not be put in twice: the same
/// number added twice is not two independent ones.
///
/// Units are those of the cells: reports for counts, the value's own units for values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Noise {
    // Numerator and denominator of a scale in lowest terms; how many draws of it, at least 1.
    draws: BTreeMap<(u128, u128), u64>,
}

impl Noise {
    /// The noise of one published cell, to which both aggregators added noise of `scale`.
    pub fn of_cell(scale: &Scale) -> Self {
        Self::of_cells(scale, 1)
    }

    /// The noise of the sum of `cells` different published cells of one scale. None of them: no noise.
    pub fn of_cells(scale: &Scale, cells: u64) -> Self {
        Self::of_draws((scale.numerator(), scale.denominator()), cells)
    }

    /// The same of a scale's numerator and denominator in lowest terms.
    pub(crate) fn of_draws(key: (u128, u128), cells: u64) -> Self {
        let draws = cells.saturating_mul(2);
        Self { draws: (draws > 0).then_some((key, draws)).into_iter().collect() }
    }

    /// The noise of the sum of both numbers, which have no cell in common.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (scale, draws) in &other.draws {
            let sum = self.draws.entry(*scale).or_default();
            *sum = sum.saturating_add(*draws);
        }
        self
    }

    /// P[Z >= t], and for symmetry P[Z <= -t].
    pub fn tail(&self, t: i128) -> f64 {
        self.distribution().tail(t)
    }

    /// The standard deviation of Z: the standard error of the published number.
    pub fn standard_error(&self) -> f64 {
        // A discrete Laplace variable has variance 2a/(1-a)^2 = 1/(2 sinh(x/2)^2), x = 1/scale.
        let variance = |(scale, draws): (&(u128, u128), &u64)| {
            *draws as f64 / (2.0 * (inverse(*scale) / 2.0).sinh().powi(2))
        };
        // Not `sum`: that of nothing is -0.
        self.draws.iter().map(variance).fold(0.0, |sum, one| sum + one).sqrt()
    }

    /// The smallest w for which the truth lies within w of the published number with at least the given
    /// confidence: min { w : P[|Z| > w] <= alpha }.
    pub fn half_width(&self, confidence: Confidence) -> u128 {
        let distribution = self.distribution();
        self.smallest(|w| distribution.tail_counted(w.saturating_add(1)), confidence.miss() / 2.0)
    }

    /// The chance that at least one of `buckets` empty buckets, each with this noise, reaches `threshold` and is
    /// shown: 1 - (1 - P[Z >= threshold])^buckets. Exact and not the union bound, as buckets' noises are independent.
    pub fn empty_shown_chance(&self, threshold: u128, buckets: u64) -> f64 {
        any_of(self.distribution().tail(saturated(threshold)), buckets)
    }

    /// The smallest threshold at which the chance that any of `buckets` empty buckets of a release is shown is at most
    /// `chance` (between 0 and 1): min { t : 1 - (1 - P[Z >= t])^buckets <= chance }.
    pub fn smallest_threshold(&self, buckets: u64, chance: f64) -> u128 {
        let distribution = self.distribution();
        self.smallest(|t| any_of(distribution.tail_counted(t), buckets), chance)
    }

    /// The threshold that a release of `buckets` buckets has if nobody chooses one: the smallest that keeps the
    /// chance of showing any empty bucket at or below [`EMPTY_SHOWN_CHANCE`].
    pub fn default_threshold(&self, buckets: u64) -> u128 {
        self.smallest_threshold(buckets, EMPTY_SHOWN_CHANCE)
    }

    /// min { n >= 0 : `falling`(n) <= `most` }, for a function that falls with n to 0 over some standard errors.
    fn smallest(&self, falling: impl Fn(u128) -> f64, most: f64) -> u128 {
        if falling(0) <= most {
            return 0;
        }
        // `low` never suffices, `high` does. A tail of 2^127 scales is 0, so the doubling ends.
        let (mut low, mut high) = (0, (self.standard_error().ceil() as u128).max(1));
        while falling(high) > most {
            if high > u128::MAX / 2 {
                return u128::MAX;
            }
            (low, high) = (high, high * 2);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if falling(middle) > most { low = middle } else { high = middle }
        }
        high
    }

    /// What tails are computed from.
    fn distribution(&self) -> Distribution {
        if let (1, Some((scale, 2))) = (self.draws.len(), self.draws.iter().next()) {
            return Distribution::Cell(inverse(*scale));
        }
        let groups: Vec<Group> = self
            .draws
            .iter()
            .map(|(scale, draws)| Group { inverse: inverse(*scale), draws: *draws as f64 })
            .collect();
        Distribution::Sum(at_most(groups, SCALES_MAX))
    }
}

impl Sum for Noise {
    fn sum<I: Iterator<Item = Self>>(noises: I) -> Self {
        noises.fold(Self::default(), |sum, noise| sum.plus(&noise))
    }
}

impl<'a> Sum<&'a Noise> for Noise {
    fn sum<I: Iterator<Item = &'a Self>>(noises: I) -> Self {
        noises.fold(Self::default(), Self::plus)
    }
}

enum Distribution {
    /// Two draws of one scale; its inverse.
    Cell(f64),
    /// Anything else.
    Sum(Vec<Group>),
}

impl Distribution {
    fn tail(&self, t: i128) -> f64 {
        if t <= 0 {
            // By symmetry: P[Z >= t] = 1 - P[Z <= t-1] = 1 - P[Z >= 1-t].
            return 1.0 - self.tail(1_i128.saturating_sub(t));
        }
        match self {
            Self::Cell(x) => cell::upper_tail(*x, t as f64),
            Self::Sum(groups) => sum::upper_tail(groups, t as f64),
        }
    }

    /// The tail with its own error counted to the safe side; a probability still.
    fn tail_counted(&self, t: u128) -> f64 {
        let error = match self {
            Self::Cell(_) => CELL_ERROR,
            Self::Sum(_) => TAIL_ERROR,
        };
        (self.tail(saturated(t)) * (1.0 + error)).min(1.0)
    }
}

/// Groups with scales close to each other counted as the largest of them, so that no more than `most` are left.
fn at_most(mut groups: Vec<Group>, most: usize) -> Vec<Group> {
    if groups.len() <= most {
        return groups;
    }
    groups.sort_by(|left, right| left.inverse.total_cmp(&right.inverse));
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else { return groups };
    // Steps of one ratio from the largest scale to the smallest: `most` of them start at most `most` groups.
    let ratio = (last.inverse / first.inverse).powf((most as f64).recip());
    let mut merged: Vec<Group> = Vec::new();
    for group in groups {
        match merged.last_mut() {
            Some(wider) if group.inverse <= wider.inverse * ratio => wider.draws += group.draws,
            _ => merged.push(group),
        }
    }
    merged
}

/// The chance that any of `count` independent things happens, each of `chance`.
fn any_of(chance: f64, count: u64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    -(count as f64 * (-chance).ln_1p()).exp_m1()
}

/// 1/scale as a float; at least 2^-60, so never zero.
fn inverse((numerator, denominator): (u128, u128)) -> f64 {
    denominator as f64 / numerator as f64
}

fn saturated(t: u128) -> i128 {
    i128::try_from(t).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
