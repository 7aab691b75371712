//! A million simulated releases, with the sampler of a release build, which cannot be seeded. They agree with the exact
//! probabilities within Chernoff's bound: if the chance of something is p, then of n releases a part q shows it with
//! n KL(q, p) above L with probability 2 e^-L at most. L is such that all comparisons here together
//! raise a false alarm once in 10^9 runs.

use super::*;
use crate::privacy::noise::{OpendpNoise, noise_vector};

/// Simulated releases of one bucket for each epsilon: a million in all.
const RELEASES: usize = 333_334;

/// Buckets of the simulated releases whose empty buckets are looked at: 20,833 of them, of the same noise.
const BUCKETS: usize = 16;

/// ln(2 * 10^12): a comparison raises a false alarm once in 10^12, and there are fewer than 1,000.
const LIMIT: f64 = 28.4;

/// KL(q, p): how improbable it is, by observation, to see a part q of what has the chance p.
fn divergence(q: f64, p: f64) -> f64 {
    let part = |q: f64, p: f64| if q == 0.0 { 0.0 } else { q * (q / p).ln() };
    part(q, p) + part(1.0 - q, 1.0 - p)
}

fn agrees(seen: usize, of: usize, chance: f64) -> bool {
    of as f64 * divergence(seen as f64 / of as f64, chance) <= LIMIT
}

/// Both aggregators' noise of each release.
fn drawn(scale: &Scale) -> Vec<i128> {
    let draw = || noise_vector(&mut OpendpNoise, scale, RELEASES).unwrap();
    draw().into_iter().zip(draw()).map(|(leader, helper)| leader + helper).collect()
}

#[test]
fn a_million_simulated_releases_agree_with_intervals_and_thresholds() {
    std::thread::scope(|threads| {
        for epsilon in ["0.1", "1", "5"] {
            threads.spawn(move || {
                let scale = scale(2, epsilon);
                let noise = drawn(&scale);
                intervals_agree(&scale, &noise);
                thresholds_agree(&scale, &noise);
            });
        }
    });
}

fn intervals_agree(scale: &Scale, noise: &[i128]) {
    let of_cell = Noise::of_cell(scale);
    let width = of_cell.half_width(Confidence::P95);
    let beyond = of_cell.tail(i128::try_from(width).unwrap() + 1);
    for (turn, truth) in [0_u64, 5, 50, 5_000].into_iter().enumerate() {
        let own: Vec<i128> = noise.iter().skip(turn).step_by(4).copied().collect();
        let covered = own.iter().filter(|noise| {
            Interval::around(i128::from(truth) + **noise, width, 10_000).contains(truth.into())
        });
        let covered = covered.count();
        // Noise that takes an estimate below 0 leaves the interval of 0, which holds what is no more than the width.
        let chance = if u128::from(truth) <= width { 1.0 - beyond } else { 1.0 - 2.0 * beyond };
        assert!(agrees(covered, own.len(), chance), "{scale} {truth}: {covered} of {}", own.len());
        assert!(covered as f64 >= 0.95 * own.len() as f64 * (1.0 - 0.01), "{scale} {truth}: {covered}");
    }
    let within = |width: u128| noise.iter().filter(|noise| noise.unsigned_abs() <= width).count();
    assert!(agrees(within(width), noise.len(), 1.0 - 2.0 * beyond), "{scale}");
    // And it would show if intervals were narrower by a twentieth.
    let narrower = within(width - (width / 20).max(1));
    assert!(!agrees(narrower, noise.len(), 1.0 - 2.0 * beyond), "{scale}: {narrower}");
}

/// Of releases whose buckets are all empty, how many show one: at each threshold.
fn thresholds_agree(scale: &Scale, noise: &[i128]) {
    let of_cell = Noise::of_cell(scale);
    let buckets = u64::try_from(BUCKETS).unwrap();
    let largest: Vec<i128> =
        noise.chunks_exact(BUCKETS).map(|release| release.iter().copied().max().unwrap()).collect();
    let shown = |threshold: u128| {
        largest.iter().filter(|count| u128::try_from(**count).is_ok_and(|count| count >= threshold)).count()
    };
    let threshold = of_cell.smallest_threshold(buckets, EMPTY_SHOWN_CHANCE);
    let step = (threshold / 50).max(1);
    for threshold in (1..=2 * threshold).step_by(usize::try_from(step).unwrap()).chain([threshold]) {
        let chance = of_cell.empty_shown_chance(threshold, buckets);
        let seen = shown(threshold);
        assert!(agrees(seen, largest.len(), chance), "{scale} {threshold}: {seen} of {}", largest.len());
    }
    // And it would show if the threshold were made for a single bucket, at twice the chance: at epsilon 5 thresholds are
    // so coarse that one for a single bucket nearly does.
    let single = of_cell.smallest_threshold(1, 2.0 * EMPTY_SHOWN_CHANCE);
    assert!(!agrees(shown(single), largest.len(), EMPTY_SHOWN_CHANCE), "{scale}: {}", shown(single));
}
