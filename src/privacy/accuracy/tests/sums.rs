//! Sums of cells, against convolution on a grid.
//!
//! The grid knows nothing of contours: convolving with a discrete Laplace variable is two passes of a recursive
//! filter, y[k] = a y[k-1] + (1-a) x[k] forwards and the same backwards. Every number in it is positive, so nothing
//! cancels and far tails are exact relative to themselves.

use super::*;

/// The distribution of a sum on -reach..=reach, by convolution.
struct Grid {
    reach: usize,
    masses: Vec<f64>,
}

impl Grid {
    fn of(terms: &[(&str, u64)], reach: usize) -> Self {
        let mut masses = vec![0.0; 2 * reach + 1];
        masses[reach] = 1.0;
        for (epsilon, cells) in terms {
            let x = inverse_of(&cell(epsilon));
            let (a, q) = ((-x).exp(), -(-x).exp_m1());
            for _ in 0..2 * cells {
                let mut last = 0.0;
                for mass in &mut masses {
                    last = a * last + q * *mass;
                    *mass = last;
                }
                last = 0.0;
                for mass in masses.iter_mut().rev() {
                    last = a * last + q * *mass;
                    *mass = last;
                }
            }
        }
        Self { reach, masses }
    }

    fn tail(&self, t: usize) -> f64 {
        // From the small end, so that the sum is as exact as its terms.
        self.masses[self.reach + t..].iter().rev().sum()
    }
}

/// A scale of 2/epsilon.
fn cell(epsilon: &str) -> Scale {
    scale(2, epsilon)
}

fn inverse_of(scale: &Scale) -> f64 {
    inverse((scale.numerator(), scale.denominator()))
}

fn noise_of(terms: &[(&str, u64)]) -> Noise {
    terms.iter().map(|(epsilon, cells)| Noise::of_cells(&cell(epsilon), *cells)).sum()
}

/// Sums that a collector makes: one cell, a week of days, a year of weeks, campaigns, mixed tasks; and ones that
/// only a test makes.
const SUMS: [&[(&str, u64)]; 10] = [
    &[("1", 2)],
    &[("1", 7)],
    &[("0.1", 52)],
    &[("5", 3)],
    &[("5", 365)],
    &[("0.1", 1), ("1", 1)],
    &[("0.1", 4), ("1", 30), ("5", 200)],
    &[("0.05", 1), ("4", 1000)],
    &[("20", 3), ("0.5", 2)],
    &[("1", 2000)],
];

#[test]
fn tails_of_sums_are_those_of_the_convolution() {
    for terms in SUMS {
        let noise = noise_of(terms);
        let error = noise.standard_error();
        let longest = terms.iter().map(|(epsilon, _)| inverse_of(&cell(epsilon)).recip()).fold(0.0, f64::max);
        // Beyond this only e^-100 is left of the noise, far below what is compared.
        let reach = (20.0 * error + 120.0 * longest) as usize + 100;
        let grid = Grid::of(terms, reach);
        for deviations in [0.0, 0.01, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0] {
            let t = ((deviations * error) as usize).max(1);
            let (value, exact) = (noise.tail(t as i128), grid.tail(t));
            assert!((value / exact - 1.0).abs() < 1e-11, "{terms:?} at {t}: {value} {exact}");
        }
        let (value, exact) = (noise.tail(0), grid.tail(0));
        assert!((value / exact - 1.0).abs() < 1e-11, "{terms:?}: {value} {exact}");
        let variance: f64 = (1..=reach).map(|k| 2.0 * (k as f64).powi(2) * grid.masses[reach + k]).sum();
        assert!((error / variance.sqrt() - 1.0).abs() < 1e-11, "{terms:?}: {error} {variance}");
    }
}

#[test]
fn half_widths_of_sums_are_enough_and_one_less_is_not() {
    for terms in SUMS {
        let noise = noise_of(terms);
        let grid = Grid::of(terms, (40.0 * noise.standard_error()) as usize + 500);
        for confidence in CONFIDENCES {
            let miss = |w: usize| 2.0 * grid.tail(w + 1);
            let w = usize::try_from(noise.half_width(confidence)).unwrap();
            assert!(miss(w) <= confidence.miss() && miss(w - 1) > confidence.miss(), "{terms:?} {w}");
        }
    }
}

/// The contour, used for what also has a closed form: scales from where noise is nearly always 0 to the largest.
#[test]
fn the_contour_agrees_with_the_closed_form_of_one_cell() {
    for x in [100.0, 20.0, 3.0, 1.0, 0.05, 1e-3, 1e-6, 1e-12, (2.0_f64).powi(-60)] {
        let group = [Group { inverse: x, draws: 2.0 }];
        for scales in [1e-9, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0] {
            let t = (scales / x).ceil();
            let (contour, closed) = (sum::upper_tail(&group, t), cell::upper_tail(x, t));
            assert!((contour / closed - 1.0).abs() < 1e-11, "x {x}, t {t}: {contour} {closed}");
        }
    }
}

/// Four draws of a continuous Laplace variable of scale 1 have P[Z >= y] = e^-y (1/2 + 11 y/32 + 3 y^2/32 + y^3/96)
/// (its density is the inverse transform of (1+w^2)^-4); at a scale of 2^60 the discrete one is that.
#[test]
fn two_cells_of_the_largest_scale_are_the_continuous_limit() {
    let largest = Scale::new(MAX_SCALE, "1".parse().unwrap()).unwrap();
    let noise = Noise::of_cells(&largest, 2);
    for y in [1_u64, 2, 5, 10, 20, 40] {
        let value = noise.tail(i128::from(y) << 60);
        let y = y as f64;
        let exact = (-y).exp() * (0.5 + 11.0 * y / 32.0 + 3.0 * y * y / 32.0 + y.powi(3) / 96.0);
        assert!((value / exact - 1.0).abs() < 1e-11, "{y}: {value} {exact}");
    }
}

/// A million cells of the largest scale, and ten thousand of as many different ones: no table, no loop over cells.
#[test]
fn sums_of_very_many_cells_are_normal_in_the_middle_and_cost_nothing() {
    let largest = Scale::new(MAX_SCALE, "1".parse().unwrap()).unwrap();
    for noise in [Noise::of_cells(&largest, 1_000_000), noise_of(&[("1", 1_000_000)])] {
        // The excess kurtosis of 2 million draws is 3 / 2,000,000: the normal quantile holds to 6 digits, for the
        // middle between two whole numbers, and the width is the first whole number with which it is reached.
        let error = noise.standard_error();
        let width = noise.half_width(Confidence::P95) as f64 + 0.5;
        let beyond = width - 1.959_963_985 * error;
        assert!(beyond > -2e-6 * error && beyond < 1.0 + 2e-6 * error, "{width} {error}");
    }
    let mixed: Noise = (1..=10_000_u32)
        .map(|micro| Noise::of_cell(&Scale::new(2, MicroEpsilon::from_micro(micro * 100).unwrap()).unwrap()))
        .sum();
    let exact = mixed.half_width(Confidence::P95) as f64;
    // The scales are 2e4, 1e4, 6.7e3, ...: sum of 1/n^2 over two draws each; the widest decides the shape.
    let ratio = exact / mixed.standard_error();
    assert!((1.9..2.1).contains(&ratio), "{ratio}");
}

#[test]
fn scales_that_are_taken_together_never_make_an_interval_narrower() {
    let groups: Vec<Group> = (1..=1000).map(|i| Group { inverse: f64::from(i) * 1e-3, draws: 2.0 }).collect();
    let exact = sum::upper_tail(&groups, 20_000.0);
    let merged = at_most(groups.clone(), 50);
    assert!(merged.len() <= 51, "{}", merged.len());
    assert!((merged.iter().map(|group| group.draws).sum::<f64>() - 2000.0).abs() < 1e-9);
    let wider = sum::upper_tail(&merged, 20_000.0);
    assert!(wider >= exact && wider < exact * 1.5, "{exact} {wider}");
    assert_eq!(at_most(groups.clone(), 1000), groups);
}

#[test]
fn sums_of_noise_count_cells_and_keep_scales_apart() {
    let (one, other) = (cell("1"), cell("0.5"));
    let sum: Noise = [Noise::of_cell(&one), Noise::of_cell(&other), Noise::of_cell(&one)].iter().sum();
    assert_eq!(sum, Noise::of_cells(&one, 2).plus(&Noise::of_cell(&other)));
    assert_ne!(sum, Noise::of_cells(&one, 3));
    let nothing = Noise::default();
    assert_eq!(nothing, Noise::of_cells(&one, 0));
    assert_eq!(nothing.half_width(Confidence::P95), 0);
    assert_eq!(nothing.standard_error().to_bits(), 0.0_f64.to_bits());
    assert_eq!((nothing.tail(0), nothing.tail(1)), (1.0, 0.0));
    assert_eq!(nothing.clone().plus(&sum), sum);
    assert_eq!(Interval::of(7, &nothing, Confidence::P95), Interval { low: 7, high: 7 });
}

/// Widths of 52 windows that are added are not the width of the sum.
#[test]
fn a_sum_is_far_narrower_than_its_cells_added() {
    let (week, year) = (Noise::of_cell(&cell("1")), Noise::of_cells(&cell("1"), 52));
    let added = 52 * week.half_width(Confidence::P95);
    let ratio = added as f64 / year.half_width(Confidence::P95) as f64;
    assert!((7.0..7.8).contains(&ratio), "{ratio}");
}

#[test]
fn thresholds_keep_the_chance_over_all_buckets_and_one_less_does_not() {
    for (buckets, threshold) in [(16, 167), (64, 198), (256, 228), (1024, 258)] {
        let noise = Noise::of_cell(&scale(20, "1"));
        assert_eq!(noise.smallest_threshold(buckets, 0.01), threshold);
        assert!(noise.empty_shown_chance(threshold, buckets) <= 0.01);
        assert!(noise.empty_shown_chance(threshold - 1, buckets) > 0.01);
    }
    for (l1, epsilon, s) in SCALES.into_iter().filter(|(_, _, s)| *s <= 1000.0) {
        let noise = Noise::of_cell(&scale(l1, epsilon));
        for buckets in [1, 12, 4096] {
            // Straight from the definition: what is left if no bucket reaches it.
            let shown =
                |t: i64| 1.0 - (1.0 - convolved(s, reach(s, t), |i| one_tail(s, t - i))).powi(buckets);
            let t = i64::try_from(noise.smallest_threshold(buckets as u64, EMPTY_SHOWN_CHANCE)).unwrap();
            assert!(shown(t) <= EMPTY_SHOWN_CHANCE && shown(t - 1) > EMPTY_SHOWN_CHANCE, "{s} {buckets}");
        }
    }
    assert_eq!(Noise::of_cell(&cell("1")).smallest_threshold(0, 0.001), 0);
    assert_eq!(Noise::of_cell(&cell("1")).smallest_threshold(8, 1.0), 0);
    let widest = Noise::of_cell(&Scale::new(MAX_SCALE, "1".parse().unwrap()).unwrap());
    assert!(widest.smallest_threshold(4096, 1e-6) > u128::from(u64::MAX));
}
