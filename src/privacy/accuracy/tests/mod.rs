//! One cell, against its definition. Sums are in `sums.rs`.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::privacy::noise::{MAX_SCALE, MicroEpsilon};

mod coverage;
mod documents;
mod hostile;
mod precise;
mod simulation;
mod sums;

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

/// P[Z = k] of a cell: the formula of `cell.rs`, in a form without cancellation at large scales.
fn probability(scale: &Scale, k: i128) -> f64 {
    let x = inverse((scale.numerator(), scale.denominator()));
    let distance = k.unsigned_abs() as f64;
    // (1-a)/(1+a) = tanh(x/2) and (1+a^2)/(1-a^2) = coth(x).
    (x / 2.0).tanh().powi(2) * (-distance * x).exp() * (distance + x.tanh().recip())
}

fn tail(scale: &Scale, t: i128) -> f64 {
    Noise::of_cell(scale).tail(t)
}

fn half_width(scale: &Scale, confidence: Confidence) -> u128 {
    Noise::of_cell(scale).half_width(confidence)
}

fn standard_error(scale: &Scale) -> f64 {
    Noise::of_cell(scale).standard_error()
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
    let of = |estimate, most| {
        let Interval { low, high } = Interval::around(estimate, 8, most);
        (low, high)
    };
    assert_eq!(of(95, 100), (87, 100));
    assert_eq!(of(95, 103), (87, 103));
    assert_eq!(of(95, u128::MAX), (87, 103));
    assert_eq!(of(3, 5), (0, 5));
}

/// Where nearly all that report convert for a campaign, one total in forty was shown as "937, 937 to 937": its draw was so high that all
/// of its interval lay above the number of reports. Of a low draw the same was left of the end at 0.
#[test]
fn a_draw_beyond_what_can_be_is_no_certainty() {
    let of = |estimate| {
        let Interval { low, high } = Interval::around(estimate, 27, 937);
        (low, high)
    };
    assert_eq!(of(937), (910, 937));
    for beyond in [938, 964, 981, i128::MAX] {
        assert_eq!(of(beyond), (910, 937), "{beyond}");
    }
    assert_eq!(of(0), (0, 27));
    for beyond in [-1, -27, -981, i128::MIN] {
        assert_eq!(of(beyond), (0, 27), "{beyond}");
    }
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
            assert_eq!(half_width(&scale(s, "1"), confidence), width, "{s} {confidence:?}");
        }
    }
}

#[test]
fn half_widths_are_enough_and_one_less_is_not() {
    for (l1, epsilon, s) in SCALES.into_iter().filter(|(_, _, s)| *s <= 1000.0) {
        let scale = scale(l1, epsilon);
        for confidence in CONFIDENCES {
            let w = i64::try_from(half_width(&scale, confidence)).unwrap();
            let miss = |w: i64| 2.0 * convolved(s, reach(s, w), |i| one_tail(s, w + 1 - i));
            assert!(miss(w) <= confidence.miss(), "{scale} {confidence:?} {w}");
            assert!(w == 0 || miss(w - 1) > confidence.miss(), "{scale} {confidence:?} {w}");
        }
    }
}

#[test]
fn widths_of_the_largest_scale_neither_saturate_nor_loop() {
    let largest = Scale::new(MAX_SCALE, "1".parse().unwrap()).unwrap();
    let width = half_width(&largest, Confidence(999));
    let scales = width as f64 / (1_u64 << 60) as f64;
    // The continuous limit: e^-x (1 + x/2) = 1/1000.
    assert!(((-scales).exp() * (1.0 + scales / 2.0) - 0.001).abs() < 1e-9, "{scales}");
    assert_eq!(half_width(&largest, Confidence(1)) >> 60, 0);
}

#[test]
fn intervals_are_cut_at_zero() {
    let noise = Noise::of_cell(&scale(20, "1"));
    let of = |estimate| {
        let Interval { low, high } = Interval::of(estimate, &noise, Confidence::P95);
        (low, high)
    };
    assert_eq!(of(1000), (918, 1082));
    assert_eq!(of(82), (0, 164));
    assert_eq!(of(10), (0, 92));
    assert_eq!(of(-50), (0, 82));
    assert_eq!(of(-1000), (0, 82));
    assert_eq!(of(i128::MIN), (0, 82));
    assert_eq!(of(i128::MAX).1, i128::MAX.unsigned_abs() + 82);
}

proptest! {
    #[test]
    fn truth_is_inside_exactly_when_the_noise_is_within_the_width(
        truth in 0_u64..1_000_000, noise in -2_000_000_i64..2_000_000, width in 0_u64..1_000_000,
        more in 0_u64..1_000_000,
    ) {
        let (estimate, most) = (i128::from(truth) + i128::from(noise), truth + more);
        let interval = Interval::around(estimate, width.into(), most.into());
        prop_assert!(interval.low <= interval.high && interval.high <= most.into());
        let within = noise.unsigned_abs() <= width;
        // An estimate that cannot be can only add truths that are no further from the end than the width.
        let beyond = estimate < 0 && truth <= width || estimate > i128::from(most) && more <= width;
        prop_assert!(interval.contains(u128::from(truth)) == (within || beyond));
    }

    #[test]
    fn half_widths_are_minimal_at_any_scale(
        l1 in 1_u64..10_000, micro in 1_u32..100_000_000, per_mille in 1_u16..1000,
    ) {
        let scale = Scale::new(l1, MicroEpsilon::from_micro(micro).unwrap()).unwrap();
        let confidence = Confidence(per_mille);
        let w = i128::try_from(half_width(&scale, confidence)).unwrap();
        prop_assert!(2.0 * tail(&scale, w + 1) <= confidence.miss());
        prop_assert!(w == 0 || 2.0 * tail(&scale, w) > confidence.miss());
    }
}
