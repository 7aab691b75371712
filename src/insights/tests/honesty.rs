//! What is said of numbers is true of them: held against noise of the real sampler.

use proptest::prelude::*;

use super::*;
use crate::insights::fixture::THRESHOLD;
use crate::privacy::noise::{NoiseSource, OpendpNoise, Scale};

/// Trials of a simulation. At 95 % of them, 20 in 400 are missed, and 41 or more with a chance below one in 100,000; the sampler
/// takes no seed.
const TRIALS: usize = 400;
const MISSES_MAX: usize = 40;

/// What both aggregators make of a truth.
fn noised(truth: i128, scale: &Scale) -> i128 {
    let draw = || OpendpNoise.discrete_laplace(scale).unwrap();
    truth + draw() + draw()
}

/// Four weeks of one campaign: so many conversions a day of so many units each.
fn simulated(conversions: i128, value: i128) -> World {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let campaign = world.campaign();
    let last = MONDAY.saturating_add(jiff::Span::new().days(27));
    let (count, sum) = (World::scale(2), World::scale(2_000));
    for day in world.windows(MONDAY, last) {
        let counts = [0, noised(conversions, &count)];
        let values = [0, noised(conversions * value, &sum)];
        world.release(0, day, &counts, Some(&values));
    }
    world.deliver(campaign, MONDAY, last, 100_000);
    world
}

/// Below 95 of 100 intervals that held the truth would be a lie; and a sum of what is shown alone would be far too large: a day has 30
/// conversions, of which a release shows those that noise lifted to 40.
#[test]
fn intervals_of_sums_costs_and_returns_hold_the_truth() {
    let last = MONDAY.saturating_add(jiff::Span::new().days(27));
    let (conversions, value, spend) = (28 * 30_u128, 28 * 30 * 400 * 100_u128, 28 * 100_000_u128);
    let (mut missed, mut sum) = ([0; 4], 0);
    for _ in 0..TRIALS {
        let world = simulated(30, 400);
        let row = world.rows(&world.query(MONDAY, last)).remove(0);
        let found = shown(&row.conversions);
        sum += found.estimate;
        let holds = |number: &Number, truth: u128| number.low <= truth && truth <= number.high;
        // Ends are whole, so compare without dividing: low <= a/b <= high.
        let between = |number: &Number, a: u128, b: u128| number.low * b <= a && a <= number.high * b;
        missed[0] += usize::from(!holds(&found, conversions));
        missed[1] += usize::from(!holds(&shown(&row.value), value));
        missed[2] += usize::from(!between(&shown(&row.cpa), spend * 100, conversions));
        missed[3] += usize::from(!between(&shown(&row.roas), value * 1_000, spend));
    }
    assert!(missed.iter().all(|missed| *missed <= MISSES_MAX), "{missed:?} of {TRIALS}");
    // The mean of 400 sums, each with a standard error of 28^(1/2) * 4 = 21: six of the mean's are 7.
    #[allow(clippy::cast_precision_loss)]
    let mean = sum as f64 / TRIALS as f64;
    assert!((mean - 840.0).abs() < 7.0, "{mean}");
}

/// Values of two tasks that count in different units: each interval is exact, and the sum's is as wide as both.
#[test]
fn values_in_different_units_have_an_interval_that_holds() {
    let last = date(2026, 11, 3);
    let mut missed = 0;
    for _ in 0..TRIALS {
        let mut world = World::new(Cadence::Day, "UTC", MONDAY);
        world.campaign();
        let second = world.day(last);
        world.open_generation(second, 250);
        let scale = World::scale(2_000);
        for (generation, day) in world.windows(MONDAY, last).into_iter().enumerate() {
            let values = [0, noised(50_000, &scale)];
            world.release(generation, day, &[0, 1_000], Some(&values));
        }
        let row = world.rows(&world.query(MONDAY, last)).remove(0);
        let value = shown(&row.value);
        missed += usize::from(!(value.low..=value.high).contains(&(50_000 * 350)));
        let error = value.standard_error.unwrap();
        // Each cell has four times the scale's square, about; 2,000 * 2 * (100^2 + 250^2)^(1/2)
        assert!((error / 1_077_033.0 - 1.0).abs() < 1e-3, "{error}");
    }
    assert!(missed <= MISSES_MAX, "{missed} of {TRIALS}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What a release suppresses, no row of that window alone shows; and the value goes with it.
    #[test]
    fn a_row_of_one_window_shows_no_more_than_its_release(
        cells in prop::collection::vec(-200_i128..200, 16),
        values in prop::collection::vec(-5_000_i128..5_000, 16),
    ) {
        let mut world = World::new(Cadence::Day, "UTC", MONDAY);
        let campaigns = [world.campaign(), world.campaign(), world.campaign()];
        for day in world.windows(MONDAY, MONDAY) {
            world.release(0, day, &cells, Some(&values));
        }
        for campaign in campaigns {
            world.deliver(campaign, MONDAY, MONDAY, 100_000);
        }
        for granularity in [Granularity::Day, Granularity::Week, Granularity::Total] {
            for (at, row) in world.rows(&Query { granularity, ..world.query(MONDAY, MONDAY) }).iter().enumerate() {
                let cell = cells[at + 1];
                if cell < i128::from(THRESHOLD) {
                    prop_assert_eq!(row.conversions, Measure::suppressed(Suppression::BelowThreshold));
                }
                let shows = row.conversions.shown().is_some();
                prop_assert_eq!(shows, row.value.shown().is_some());
                if !shows {
                    let suppressed = Measure::suppressed(Suppression::ConversionsSuppressed);
                    prop_assert_eq!((row.value, row.cpa, row.roas), (suppressed, suppressed, suppressed));
                    prop_assert_eq!((row.cpa_spend, row.roas_spend), (None, None));
                }
            }
        }
    }
}

/// A cost that is computed and not shown would tell the number that is suppressed, since spend is known; so would its spend alone not.
#[test]
fn the_threshold_of_a_sum_is_for_all_numbers_of_its_task() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    world.campaign();
    for day in world.windows(MONDAY, date(2026, 12, 31)) {
        world.release(0, day, &[0, 1], None);
    }
    // 60 windows, 60 conversions in them: more than a release's threshold, less than what noise makes of 60 empty windows.
    let row = world.rows(&world.query(MONDAY, date(2026, 12, 31))).remove(0);
    assert_eq!(row.conversions, Measure::suppressed(Suppression::BelowThreshold));
}
