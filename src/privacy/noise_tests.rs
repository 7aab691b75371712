//! Tests of the noise, most of all that real samples follow the exact distribution.
//!
//! The statistical test draws from the sampler of a release build, which cannot
//! be seeded. Its rates of error are therefore computed, and so small that a
//! failure means a fault.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use dashu::integer::IBig;
use proptest::prelude::*;

use super::noise::{
    FixedNoise, MAX_SCALE, MicroEpsilon, NoNoise, NoiseError, NoiseSource, OpendpNoise, Scale,
    TEST_NOISE_MARKER, fit, noise_vector,
};

fn scale(l1_sensitivity: u64, epsilon: &str) -> Scale {
    Scale::new(l1_sensitivity, epsilon.parse().unwrap()).unwrap()
}

#[test]
fn scales_are_exact_and_in_lowest_terms() {
    for (l1, epsilon, numerator, denominator, text) in [
        (1, "2.5", 2, 5, "0.4"),
        (2, "1", 2, 1, "2"),
        (2, "0.1", 20, 1, "20"),
        (2, "0.3", 20, 3, "20/3"),
        (1, "0.000001", 1_000_000, 1, "1000000"),
        (10, "4", 5, 2, "2.5"),
        (1, "4294.967295", 200_000, 858_993_459, "200000/858993459"),
        (1, "2147.483648", 15_625, 33_554_432, "0.0004656612873077392578125"),
    ] {
        let scale = scale(l1, epsilon);
        assert_eq!((scale.numerator(), scale.denominator()), (numerator, denominator));
        assert_eq!(scale.to_string(), text);
    }
}

#[test]
fn scales_without_noise_or_beyond_use_are_refused() {
    let (one, least) = ("1".parse().unwrap(), MicroEpsilon::from_micro(1).unwrap());
    assert_eq!(Scale::new(0, one), Err(NoiseError::ZeroSensitivity));
    let largest = Scale::new(MAX_SCALE, one).unwrap();
    assert_eq!((largest.numerator(), largest.denominator()), (1 << 60, 1));
    let refused = NoiseError::ScaleTooLarge { epsilon: one, l1_sensitivity: MAX_SCALE + 1 };
    assert!(refused.to_string().contains("sensitivity 1152921504606846977 at epsilon 1"), "{refused}");
    assert_eq!(Scale::new(MAX_SCALE + 1, one), Err(refused));
    assert!(Scale::new(u64::MAX, least).is_err());
    assert!(Scale::new(u64::MAX, MicroEpsilon::from_micro(u32::MAX).unwrap()).is_ok());
}

proptest! {
    #[test]
    fn a_scale_is_sensitivity_over_epsilon(l1 in 1_u64..1 << 40, micro in 1..=u32::MAX) {
        let scale = Scale::new(l1, MicroEpsilon::from_micro(micro).unwrap()).unwrap();
        let (numerator, denominator) = (scale.numerator(), scale.denominator());
        prop_assert_eq!(numerator * u128::from(micro), denominator * u128::from(l1) * 1_000_000);
        prop_assert!((2..1000).all(|d| !numerator.is_multiple_of(d) || !denominator.is_multiple_of(d)));
        // What is printed reads back as the same number.
        let text = scale.to_string();
        let (top, bottom): (u128, u128) = match (text.split_once('/'), text.split_once('.')) {
            (Some((top, bottom)), _) => (top.parse().unwrap(), bottom.parse().unwrap()),
            (_, Some((whole, fraction))) if fraction.len() < 20 => {
                prop_assert!(!fraction.ends_with('0'));
                (format!("{whole}{fraction}").parse().unwrap(), 10_u128.pow(fraction.len() as u32))
            }
            (None, None) => (text.parse().unwrap(), 1),
            _ => return Ok(()),
        };
        prop_assert_eq!(top * denominator, bottom * numerator);
    }
}

#[test]
fn a_vector_takes_exactly_one_draw_per_cell() {
    let scale = scale(2, "1");
    for cells in [0, 1, 64] {
        let mut source = FixedNoise::new(vec![5, -7, 0]);
        let noise = noise_vector(&mut source, &scale, cells).unwrap();
        let expected: Vec<i128> = [5, -7, 0].into_iter().cycle().take(cells).collect();
        assert_eq!(noise, expected);
        assert_eq!(source.asked(), vec![scale.clone(); cells]);
    }
    assert_eq!(noise_vector(&mut NoNoise, &scale, 3), Ok(vec![0, 0, 0]));
    assert_eq!(noise_vector(&mut OpendpNoise, &scale, 1000).unwrap().len(), 1000);
}

#[test]
fn a_source_that_fails_leaves_no_noise_at_all() {
    struct FailsThird(u32);
    impl NoiseSource for FailsThird {
        fn discrete_laplace(&mut self, _scale: &Scale) -> Result<i128, NoiseError> {
            self.0 += 1;
            if self.0 == 3 { Err(NoiseError::OutOfRange) } else { Ok(1) }
        }
    }
    let scale = scale(2, "1");
    assert_eq!(noise_vector(&mut FailsThird(0), &scale, 4), Err(NoiseError::OutOfRange));
    assert!(matches!(noise_vector(&mut FixedNoise::new(vec![]), &scale, 1), Err(NoiseError::Sampler { .. })));
}

#[test]
fn a_sample_beyond_128_bits_is_an_error_and_not_cut() {
    for end in [i128::MIN, i128::MAX] {
        assert_eq!(fit(IBig::from(end)), Ok(end));
        assert_eq!(fit(IBig::from(end) + IBig::from(end.signum())), Err(NoiseError::OutOfRange));
    }
}

#[test]
fn real_noise_is_neither_constant_nor_repeated() {
    // At scale 2^60, two equal vectors of 4 have probability below 2^-200.
    let largest = Scale::new(MAX_SCALE, "1".parse().unwrap()).unwrap();
    let draw = || noise_vector(&mut OpendpNoise, &largest, 4).unwrap();
    let (first, second) = (draw(), std::thread::scope(|threads| threads.spawn(draw).join().unwrap()));
    assert_ne!(first, second);
    assert!(first.iter().all(|sample| sample.unsigned_abs() <= 40 << 60));
}

#[test]
fn test_sources_say_what_they_are() {
    assert!(format!("{NoNoise:?}").contains(TEST_NOISE_MARKER));
    assert!(format!("{:?}", FixedNoise::new(vec![1])).contains(TEST_NOISE_MARKER));
    assert!(!format!("{OpendpNoise:?}").contains(TEST_NOISE_MARKER));
}

/// Samples per scale.
const DRAWS: usize = 200_000;

/// No bin expects fewer samples. At 50 Pearson's statistic is close to the
/// chi-square distribution as far out as it is used here.
const LEAST_EXPECTED: f64 = 50.0;

/// The chance of a false alarm per scale: three make 3e-7. The promise is less
/// than 1e-6; a factor of 3 is left for the approximation by chi-square (the
/// exact variance of the statistic is 0.3 % above chi-square's at most).
const FALSE_ALARM: f64 = 1e-7;

/// How many standard deviations the statistic's mean under a wrong scale must
/// lie above the critical value: 6 are missed with probability below 1e-9.
const POWER_DEVIATIONS: f64 = 6.0;

/// Bins of |k| >= 1, each `first..=last` (`None`: no end), used on both sides of
/// zero; zero is a bin of its own. So the number of bins is odd.
type Bins = Vec<(u64, Option<u64>)>;

/// P[X >= k] for k >= 1, of one noise.
fn upper(s: f64, k: u64) -> f64 {
    (-(k as f64) / s).exp() / (1.0 + (-1.0 / s).exp())
}

fn mass(s: f64, (first, last): (u64, Option<u64>)) -> f64 {
    upper(s, first) - last.map_or(0.0, |last| upper(s, last + 1))
}

/// The narrowest bins that each expect enough under scale `s`.
fn bins(s: f64) -> Bins {
    let enough = LEAST_EXPECTED / DRAWS as f64;
    let (mut bins, mut first) = (Bins::new(), 1);
    loop {
        let mut last = first;
        while mass(s, (first, Some(last))) < enough && upper(s, last) >= enough {
            last += 1;
        }
        if upper(s, last + 1) < enough {
            bins.push((first, None));
            return bins;
        }
        bins.push((first, Some(last)));
        first = last + 1;
    }
}

/// The probability of each bin under scale `s`: zero, then the right, then the left.
fn probabilities(bins: &Bins, s: f64) -> Vec<f64> {
    let side: Vec<f64> = bins.iter().map(|bin| mass(s, *bin)).collect();
    let zero = 1.0 - 2.0 * upper(s, 1);
    std::iter::once(zero).chain(side.iter().copied()).chain(side.iter().copied()).collect()
}

fn observed(bins: &Bins, samples: &[i128]) -> Vec<f64> {
    let mut counts = vec![0.0; 1 + 2 * bins.len()];
    for sample in samples {
        let size = u64::try_from(sample.unsigned_abs()).unwrap();
        let bin =
            bins.iter().position(|(first, last)| size >= *first && last.is_none_or(|last| size <= last));
        let index = match bin {
            None => 0,
            Some(bin) if *sample > 0 => 1 + bin,
            Some(bin) => 1 + bins.len() + bin,
        };
        counts[index] += 1.0;
    }
    counts
}

/// Pearson's statistic of `counts` (which add up to [`DRAWS`]) against `expected` probabilities.
fn pearson(counts: &[f64], expected: &[f64]) -> f64 {
    let n = DRAWS as f64;
    counts.iter().zip(expected).map(|(count, p)| (count - n * p).powi(2) / (n * p)).sum()
}

/// P[chi-square >= x] for 2m degrees of freedom. They are even here, since the
/// bins are odd in number, so the incomplete gamma function is a finite sum:
/// e^(-x/2) * sum over j < m of (x/2)^j / j!.
fn chi_square_tail(m: usize, x: f64) -> f64 {
    let half = x / 2.0;
    let mut term = (-half).exp();
    let mut sum = 0.0;
    for j in 0..m {
        sum += term;
        term *= half / (j + 1) as f64;
    }
    sum
}

/// The x with P[chi-square with 2m degrees of freedom >= x] = [`FALSE_ALARM`].
fn critical_value(m: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1300.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if chi_square_tail(m, middle) > FALSE_ALARM { low = middle } else { high = middle }
    }
    high
}

#[test]
fn critical_values_match_published_ones() {
    // 2 and 10 degrees of freedom at 5 %, 10 at 0.1 %: any table of chi-square.
    for (m, x, p) in [(1, 5.991, 0.05), (5, 18.307, 0.05), (5, 29.588, 0.001), (50, 124.342, 0.05)] {
        assert!((chi_square_tail(m, x) - p).abs() < p * 1e-3, "{m} {x}");
    }
    // With 2 degrees of freedom the tail is e^(-x/2).
    assert!((critical_value(1) + 2.0 * FALSE_ALARM.ln()).abs() < 1e-9);
    assert!((chi_square_tail(120, critical_value(120)) / FALSE_ALARM - 1.0).abs() < 1e-6);
}

#[test]
fn noise_follows_the_exact_distribution() {
    for (l1, epsilon, s) in [(1, "2.5", 0.4), (2, "1", 2.0), (2, "0.1", 20.0)] {
        let scale = scale(l1, epsilon);
        let samples = noise_vector(&mut OpendpNoise, &scale, DRAWS).unwrap();
        // At s this must not alarm; 5 % off it must. That 200,000 draws suffice is not
        // luck: with the noncentrality L = n * sum (p-q)^2/q the statistic has mean of
        // about df + L and variance of about 2 df + 4 L, and its lower tail is thinner
        // than a normal one. At scale 0.4, where noise is nearly always 0, L is still
        // 476 against a critical value of 43 (5 % too wide; 10 deviations); the closest
        // is scale 20 with 455, 222 degrees and 349 (6.9 deviations).
        for (assumed, right) in [(s, true), (s * 1.05, false), (s * 0.95, false)] {
            let bins = bins(assumed);
            let (df, critical) = (2.0 * bins.len() as f64, critical_value(bins.len()));
            let expected = probabilities(&bins, assumed);
            assert!((expected.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(expected.iter().all(|p| p * DRAWS as f64 >= LEAST_EXPECTED));
            let statistic = pearson(&observed(&bins, &samples), &expected);
            if right {
                assert!(statistic <= critical, "scale {s}: {statistic} above {critical} at {df} degrees");
                continue;
            }
            let truth: Vec<f64> = probabilities(&bins, s).iter().map(|p| p * DRAWS as f64).collect();
            let noncentrality = pearson(&truth, &expected);
            let least = df + noncentrality - POWER_DEVIATIONS * (2.0 * df + 4.0 * noncentrality).sqrt();
            assert!(least > critical, "scale {s}, assumed {assumed}: {least} against {critical}");
            assert!(statistic > critical, "scale {s} passes for {assumed}: {statistic} against {critical}");
        }
    }
}
