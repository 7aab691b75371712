//! How far a published number can be from the truth.
//!
//! Both aggregators add noise of the same scale, so a published cell is off by
//! the sum Z = X + Y of two independent discrete Laplace variables. With
//! a = e^(-1/s):
//!
//! - P[Z = k] = ((1-a)/(1+a))^2 a^|k| (|k| + (1+a^2)/(1-a^2))
//! - P[Z >= t] = a^t/(1+a)^2 ((1-a) t + a + (1+a^2)/(1+a)), for t >= 1
//! - Var Z = 4a/(1-a)^2
//!
//! All of this describes numbers that are noised already: it is display, after
//! the noise, and no privacy depends on it. Floats are allowed here and only
//! here. The normal approximation is not used, since its tails are too thin
//! (at scale 20 and 99 % it gives 103 where 120 is right).

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "display only: 53 bits of a probability or a width are plenty"
)]

use super::noise::Scale;

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

    /// The probability that the truth is outside, often called alpha.
    fn miss(self) -> f64 {
        f64::from(1000 - self.0) / 1000.0
    }
}

/// 1/s as a float; at least 2^-60, so never zero.
fn inverse(scale: &Scale) -> f64 {
    scale.denominator() as f64 / scale.numerator() as f64
}

/// P[Z = k].
pub fn probability(scale: &Scale, k: i128) -> f64 {
    let x = inverse(scale);
    let distance = k.unsigned_abs() as f64;
    // (1-a)/(1+a) = tanh(x/2) and (1+a^2)/(1-a^2) = coth(x): no cancellation for small x.
    (x / 2.0).tanh().powi(2) * (-distance * x).exp() * (distance + x.tanh().recip())
}

/// P[Z >= t].
pub fn tail(scale: &Scale, t: i128) -> f64 {
    if t <= 0 {
        // By symmetry: P[Z >= t] = 1 - P[Z <= t-1] = 1 - P[Z >= 1-t].
        return 1.0 - tail(scale, 1_i128.saturating_sub(t));
    }
    let x = inverse(scale);
    let a = (-x).exp();
    let one_minus_a = -(-x).exp_m1();
    let t = t as f64;
    // Every term is positive, so nothing cancels.
    (-t * x).exp() / (1.0 + a).powi(2) * (one_minus_a * t + a + (1.0 + a * a) / (1.0 + a))
}

/// The standard deviation of Z: the standard error of one published cell.
pub fn standard_error(scale: &Scale) -> f64 {
    // 2 sqrt(a)/(1-a) = 1/sinh(x/2)
    (inverse(scale) / 2.0).sinh().recip()
}

/// The smallest w for which the truth lies within w of a published cell with at
/// least the given confidence: min { w : 2 P[Z >= w+1] <= alpha }.
pub fn interval_half_width(scale: &Scale, confidence: Confidence) -> u64 {
    let suffices = |w: u64| 2.0 * tail(scale, i128::from(w) + 1) <= confidence.miss();
    // At 99.9 % w is below 10 scales and a scale is at most 2^60, so 2^63.4 bounds it:
    // the doubling ends, and saturation never shows.
    let mut enough: u64 = 1;
    while !suffices(enough) && enough < u64::MAX {
        enough = enough.saturating_mul(2);
    }
    let (mut low, mut high) = (0, enough);
    while low < high {
        let middle = low + (high - low) / 2;
        if suffices(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Where the truth behind a published cell lies, both ends included.
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
    /// The interval around a noised `estimate` that both aggregators gave noise of `scale`.
    pub fn of(estimate: i128, scale: &Scale, confidence: Confidence) -> Self {
        Self::around(estimate, interval_half_width(scale, confidence))
    }

    /// The interval around a noised `estimate` for a known half-width.
    pub fn around(estimate: i128, half_width: u64) -> Self {
        let width = i128::from(half_width);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::privacy::noise::MicroEpsilon;

    const CONFIDENCES: [Confidence; 3] = [Confidence(900), Confidence::P95, Confidence(990)];

    /// Scales as sensitivity over epsilon: 0.1, 0.4, 1, 20/3, 1000, 1e5, 1e6.
    const SCALES: [(u64, &str, f64); 7] = [
        (1, "10", 0.1),
        (1, "2.5", 0.4),
        (1, "1", 1.0),
        (2, "0.3", 20.0 / 3.0),
        (10, "0.01", 1000.0),
        (1, "0.00001", 1e5),
        (1, "0.000001", 1e6),
    ];

    fn scale(l1_sensitivity: u64, epsilon: &str) -> Scale {
        Scale::new(l1_sensitivity, epsilon.parse().unwrap()).unwrap()
    }

    /// P[X = k] and P[X >= k] of one noise, straight from the definition.
    fn one(s: f64, k: i64) -> f64 {
        let a = (-1.0 / s).exp();
        (1.0 - a) / (1.0 + a) * (-(k.abs() as f64) / s).exp()
    }

    fn one_tail(s: f64, k: i64) -> f64 {
        let a = (-1.0 / s).exp();
        let upper = |k: i64| (-(k as f64) / s).exp() / (1.0 + a);
        if k > 0 { upper(k) } else { 1.0 - upper(1 - k) }
    }

    /// The convolution, summed term by term over all but e^-40 of the first noise.
    fn convolved(s: f64, reach: i64, other: impl Fn(i64) -> f64) -> f64 {
        (-reach..=reach).map(|i| one(s, i) * other(i)).sum()
    }

    fn reach(s: f64, t: i64) -> i64 {
        (40.0 * s).ceil() as i64 + t + 40
    }

    fn close(left: f64, right: f64) -> bool {
        // 1 - e^(-1/s) in the definition loses log10(s) of 16 digits: 1e-8 is safe at 1e6.
        (left - right).abs() <= 1e-8 * right.abs()
    }

    #[test]
    fn formulas_match_the_convolution_term_by_term() {
        for (l1, epsilon, s) in SCALES {
            let scale = scale(l1, epsilon);
            // One point beyond a scale of 1e5, where each costs 80 million terms.
            let points: &[f64] = if s > 1e4 { &[3.0] } else { &[0.0, 0.3, 1.0, 3.0, 10.0] };
            for k in points.iter().map(|point| (point * s).ceil() as i64) {
                let reach = reach(s, k);
                let exact = convolved(s, reach, |i| one(s, k - i));
                let value = probability(&scale, i128::from(k));
                assert!(close(value, exact), "P[Z={k}] at {s}: {value} {exact}");
                assert!(close(probability(&scale, i128::from(-k)), exact));
                let exact = convolved(s, reach, |i| one_tail(s, k - i));
                let value = tail(&scale, i128::from(k));
                assert!(close(value, exact), "P[Z>={k}] at {s}: {value} {exact}");
            }
        }
    }

    #[test]
    fn tail_sums_probabilities_and_is_symmetric() {
        for (l1, epsilon, _) in SCALES {
            let scale = scale(l1, epsilon);
            for t in [-7, -1, 0, 1, 2, 30] {
                let difference = tail(&scale, t) - tail(&scale, t + 1);
                let value = probability(&scale, t);
                assert!((difference - value).abs() < 1e-14, "{scale} {t}: {difference} {value}");
                assert!((tail(&scale, t) + tail(&scale, 1 - t) - 1.0).abs() < 1e-14);
            }
        }
        assert!((tail(&scale(1, "1"), i128::MIN) - 1.0).abs() < 1e-14);
        assert!(tail(&scale(1, "1"), i128::MAX) < 1e-300);
    }

    #[test]
    fn the_standard_error_matches_the_sum_and_the_formula() {
        for (l1, epsilon, s) in SCALES {
            let scale = scale(l1, epsilon);
            let a = (-1.0 / s).exp();
            let formula = 4.0 * a / (1.0 - a).powi(2);
            let variance = standard_error(&scale).powi(2);
            assert!(close(variance, formula), "{scale}");
            if s <= 1000.0 {
                let reach = reach(s, 0);
                let sum: f64 =
                    (-reach..=reach).map(|k| (k as f64).powi(2) * probability(&scale, i128::from(k))).sum();
                assert!(close(variance, sum), "{scale}: {variance} {sum}");
            }
        }
    }

    #[test]
    fn intervals_are_cut_to_what_can_be() {
        let interval = Interval::around(95, 8);
        assert_eq!(interval.at_most(100), Interval { low: 87, high: 100 });
        assert_eq!(interval.at_most(103), interval);
        assert_eq!(interval.at_most(50), Interval { low: 50, high: 50 });
        assert_eq!(Interval::around(-20, 8).at_most(100), Interval { low: 0, high: 0 });
    }

    #[test]
    fn half_widths_match_the_table() {
        let table = [
            (1, [3, 4, 6]),
            (2, [6, 8, 12]),
            (5, [16, 21, 30]),
            (10, [33, 41, 60]),
            (20, [65, 82, 120]),
            (50, [164, 206, 300]),
            (100, [327, 411, 599]),
        ];
        for (s, widths) in table {
            for (confidence, width) in CONFIDENCES.into_iter().zip(widths) {
                assert_eq!(interval_half_width(&scale(s, "1"), confidence), width, "{s} {confidence:?}");
            }
        }
    }

    #[test]
    fn half_widths_are_enough_and_one_less_is_not() {
        for (l1, epsilon, s) in SCALES.into_iter().filter(|(_, _, s)| *s <= 1000.0) {
            let scale = scale(l1, epsilon);
            for confidence in CONFIDENCES {
                let w = i64::try_from(interval_half_width(&scale, confidence)).unwrap();
                let miss = |w: i64| 2.0 * convolved(s, reach(s, w), |i| one_tail(s, w + 1 - i));
                assert!(miss(w) <= confidence.miss(), "{scale} {confidence:?} {w}");
                assert!(w == 0 || miss(w - 1) > confidence.miss(), "{scale} {confidence:?} {w}");
            }
        }
    }

    #[test]
    fn widths_of_the_largest_scale_neither_saturate_nor_loop() {
        let largest = Scale::new(crate::privacy::noise::MAX_SCALE, "1".parse().unwrap()).unwrap();
        let width = interval_half_width(&largest, Confidence(999));
        let scales = width as f64 / (1_u64 << 60) as f64;
        // The continuous limit: e^-x (1 + x/2) = 1/1000.
        assert!(((-scales).exp() * (1.0 + scales / 2.0) - 0.001).abs() < 1e-9, "{scales}");
        assert_eq!(interval_half_width(&largest, Confidence(1)) >> 60, 0);
    }

    #[test]
    fn intervals_are_cut_at_zero() {
        let scale = scale(20, "1");
        let of = |estimate| {
            let Interval { low, high } = Interval::of(estimate, &scale, Confidence::P95);
            (low, high)
        };
        assert_eq!(of(1000), (918, 1082));
        assert_eq!(of(82), (0, 164));
        assert_eq!(of(10), (0, 92));
        assert_eq!(of(-50), (0, 32));
        assert_eq!(of(-1000), (0, 0));
        assert_eq!(of(i128::MIN), (0, 0));
        assert_eq!(of(i128::MAX).1, i128::MAX.unsigned_abs());
    }

    proptest! {
        #[test]
        fn truth_is_inside_exactly_when_the_noise_is_within_the_width(
            truth in 0_u64..1_000_000, noise in -2_000_000_i64..2_000_000, width in 0_u64..1_000_000,
        ) {
            let estimate = i128::from(truth) + i128::from(noise);
            let interval = Interval::around(estimate, width);
            prop_assert!(interval.low <= interval.high);
            let within = noise.unsigned_abs() <= width;
            // The cut at 0 can only add the truth 0 itself.
            prop_assert!(interval.contains(u128::from(truth)) == within || truth == 0);
        }

        #[test]
        fn half_widths_are_minimal_at_any_scale(
            l1 in 1_u64..10_000, micro in 1_u32..100_000_000, per_mille in 1_u16..1000,
        ) {
            let scale = Scale::new(l1, MicroEpsilon::from_micro(micro).unwrap()).unwrap();
            let confidence = Confidence(per_mille);
            let w = i128::from(interval_half_width(&scale, confidence));
            prop_assert!(2.0 * tail(&scale, w + 1) <= confidence.miss());
            prop_assert!(w == 0 || 2.0 * tail(&scale, w) > confidence.miss());
        }
    }
}
