//! What a hostile statistician would try: far tails, scales of all sizes in one sum, a great many terms, thresholds at
//! their very edge. Against brute force in 320 bits (`precise.rs`), or against what the sum must be by another argument.

use dashu::integer::UBig;

use super::precise::{Precise, exp_neg, one, over, times, to_f64};
use super::*;

/// How far `value` is from `exact`, relative.
fn error(value: f64, exact: f64) -> f64 {
    (value / exact - 1.0).abs()
}

/// The closed form of a cell evaluated in 320 bits, for t >= 1.
fn closed_form((numerator, denominator): (u128, u128), t: u128) -> UBig {
    let a = exp_neg(denominator, numerator);
    let (sum, square) = (one() + &a, times(&a, &a));
    let bracket = (one() - &a) * UBig::from(t) + &a + over(&(one() + square), &sum);
    over(&times(&exp_neg(denominator * t, numerator), &bracket), &times(&sum, &sum))
}

#[test]
fn a_cell_in_floats_is_the_brute_force_down_to_its_far_tails() {
    for scale in [(2, 5), (1, 1), (2, 1), (20, 3), (20, 1)] {
        let most = u64::try_from(150 * scale.0 / scale.1).unwrap();
        let exact = Precise::of_cell(scale, most);
        let noise = Noise { draws: [(scale, 2)].into() };
        for t in 1..=most {
            let (float, exact) = (noise.tail(t.into()), to_f64(exact.tail(t)));
            assert!(error(float, exact) < 1e-13, "{scale:?} {t}: {float} {exact}");
            let again = to_f64(&closed_form(scale, t.into()));
            assert!(error(again, exact) < 1e-15, "{scale:?} {t}: {again} {exact}");
        }
    }
}

/// Scales at which nothing can be enumerated: the closed form, which small scales have shown to be right, in 320 bits.
#[test]
fn a_cell_in_floats_loses_nothing_at_any_scale() {
    let largest = u128::from(MAX_SCALE);
    for (numerator, denominator) in
        [(1_000_000, 1), (1_000_000, 999_983), (1 << 40, 3), (largest - 1, 1), (largest, 1), (1, 50)]
    {
        let noise = Noise { draws: [((numerator, denominator), 2)].into() };
        for eighths in [1, 8, 24, 80, 400, 900] {
            let t = (eighths * numerator / denominator / 8).max(1);
            let (float, exact) =
                (noise.tail(saturated(t)), to_f64(&closed_form((numerator, denominator), t)));
            assert!(error(float, exact) < 2e-13, "{numerator}/{denominator} {t}: {float} {exact}");
        }
    }
}

/// Scales that differ by a factor of 1,000, tiny ones that are nearly always 0, odd numbers of draws, many terms; as far
/// out as 10^-60.
const MIXED: [&[(u128, u128, u64)]; 12] = [
    &[(1, 1, 1)],
    &[(1, 1, 3), (1, 2, 1)],
    &[(1, 40, 2), (10, 1, 2)],
    &[(1, 12, 2000)],
    &[(1, 5, 400), (3, 1, 2)],
    &[(1, 30, 7), (1, 29, 5), (1, 2, 1)],
    &[(50, 1, 1), (1, 20, 40)],
    &[(20, 1, 2), (199, 10, 2), (201, 10, 2)],
    &[(2, 1, 104), (20, 1, 2)],
    &[(7, 3, 2), (11, 5, 2), (13, 6, 2), (17, 8, 2), (19, 9, 2), (23, 11, 2)],
    &[(40, 1, 30)],
    &[(1, 1, 600)],
];

#[test]
fn sums_of_any_mixture_are_the_brute_force_down_to_their_far_tails() {
    let least = 1e-60;
    for draws in MIXED {
        let noise = Noise { draws: draws.iter().map(|(n, d, draws)| ((*n, *d), *draws)).collect() };
        let widest = draws.iter().map(|(n, d, _)| *n as f64 / *d as f64).fold(0.0, f64::max);
        let most = (20.0 * noise.standard_error() + 150.0 * widest) as u64 + 10;
        let exact = Precise::of(draws, most);
        let groups: Vec<Group> = draws
            .iter()
            .map(|(n, d, draws)| Group { inverse: *d as f64 / *n as f64, draws: *draws as f64 })
            .collect();
        let step = (most / 400).max(1);
        let mut worst = 0.0_f64;
        for t in (1..20).chain((20..=most).step_by(usize::try_from(step).unwrap())) {
            let exact = to_f64(exact.tail(t));
            if exact < least {
                break;
            }
            worst = worst.max(error(sum::upper_tail(&groups, t as f64), exact));
        }
        // What is added to be on the safe side is more than a thousand times what is needed.
        assert!(worst < TAIL_ERROR / 1000.0, "{draws:?}: {worst}");
    }
}

/// Narrow noise beside noise that is too wide for any grid: the closed form of the wide one, shifted by each value of the
/// narrow one.
#[test]
fn narrow_noise_beside_the_widest_is_not_lost() {
    let narrow = [(3, 1, 4), (1, 7, 30)];
    let small = Precise::of(&narrow, 10);
    let reach = small.reach();
    for wide in [(10_000_u128, 1), (1_000_000, 3), (1 << 40, 1), (u128::from(MAX_SCALE), 1)] {
        let draws = [(wide, 2), ((3, 1), 4), ((1, 7), 30)];
        let noise = Noise { draws: draws.into() };
        for eighths in [1_u128, 8, 30, 200, 500] {
            let t = i128::try_from(eighths * wide.0 / wide.1 / 8).unwrap();
            let rest = |k: i64| u128::try_from(t - i128::from(k)).unwrap();
            let shifted = |k: i64| times(small.mass(k), &closed_form(wide, rest(k)));
            let exact = (-reach..=reach).map(shifted).fold(UBig::ZERO, |sum, one| sum + one);
            let (value, exact) = (noise.tail(t), to_f64(&exact));
            assert!(error(value, exact) < 1e-12, "{wide:?} {t}: {value} {exact}");
        }
    }
}

/// No mixture of scales, numbers of terms and thresholds gives a tail that is no probability, or that grows. A sum of 2^64
/// draws that are nearly always 0 was once said to be 1 or more for sure: its saddle was searched with a slope that had
/// lost its digits, and the curve went through where the integrand is e^1500.
#[test]
fn tails_are_probabilities_and_fall_at_every_extreme() {
    let scales = [(1, 4_000), (1, 150), (1, 3), (5, 1), (1_000_000, 1), (u128::from(MAX_SCALE), 1)];
    let terms = [1, 1_000_000, u64::MAX];
    let points: Vec<i128> = (0..=126).step_by(3).map(|bits| 1 << bits).chain([i128::MAX]).collect();
    for (one, other) in scales.into_iter().flat_map(|one| scales.map(|other| (one, other))) {
        for (few, many) in terms.into_iter().flat_map(|few| terms.map(|many| (few, many))) {
            let noise = Noise { draws: [(one, few), (other, many)].into() };
            let mut last = 0.5;
            for t in &points {
                let tail = noise.tail(*t);
                assert!((0.0..=last * (1.0 + 1e-9)).contains(&tail), "{noise:?} {t}: {tail} after {last}");
                last = tail.min(last);
            }
            let width = noise.half_width(Confidence::P95) as f64;
            let bound = 4.5 * noise.standard_error() + 1.0;
            assert!(width <= bound, "Chebyshev: {noise:?} {width} {bound}");
        }
    }
}

/// The tail was once multiplied by what it may be too small by, and so a chance of 1 became more than 1, of which there
/// is no logarithm: the smallest threshold with which anything may be shown was 1 and not 0.
#[test]
fn a_chance_counted_to_the_safe_side_is_still_a_chance() {
    let nothing = Noise::default();
    assert_eq!((nothing.smallest_threshold(8, 1.0), nothing.smallest_threshold(8, 0.5)), (0, 1));
    let nearly = Noise { draws: [((1, 100), 5)].into() };
    assert_eq!((nearly.smallest_threshold(8, 1.0), nearly.smallest_threshold(8, 0.5)), (0, 1));
    assert!(nearly.distribution().tail_counted(0) <= 1.0);
}

/// The chance beyond the width of one cell was once compared with what it may be as if it were exact. At large scales,
/// where a step changes it by less than a float can tell, widths were too narrow by some steps: 1,886,071,241,708,403,071 at
/// scale 2^59 and 90 %.
#[test]
fn widths_are_never_too_narrow_by_rounding() {
    for step in 0..40_u128 {
        let scale = ((1 << 59) + step * 7_919_191_919_191_919, 1 + step % 3);
        let noise = Noise { draws: [(scale, 2)].into() };
        for per_mille in [900, 950, 990, 999] {
            let width = noise.half_width(Confidence(per_mille));
            let beyond = closed_form(scale, width + 1) * UBig::from(2_000_u32);
            assert!(beyond <= one() * UBig::from(1_000 - per_mille), "{scale:?} {per_mille}: {width}");
            // Nor is it wider than rounding makes it.
            let narrower = closed_form(scale, width - width / 100_000_000_000) * UBig::from(2_000_u32);
            assert!(narrower > one() * UBig::from(1_000 - per_mille), "{scale:?} {per_mille}: {width}");
        }
    }
}
