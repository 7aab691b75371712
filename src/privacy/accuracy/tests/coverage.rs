//! What intervals and thresholds promise, summed up outcome by outcome: every value that the noise can take, with its
//! probability from brute force in 320 bits, goes through the code that makes intervals and suppresses.
//!
//! Probabilities are compared as whole numbers. What lies off the grid, less than e^-120, is counted as missed.

use arras_protocol::vdaf::VdafConfig;
use dashu::integer::UBig;

use super::documents;
use super::precise::{Precise, one, times, to_f64};
use super::*;
use crate::privacy::threshold::Threshold;

const COUNTS: [u64; 4] = [0, 5, 50, 5_000];
const EPSILONS: [&str; 3] = ["0.1", "1", "5"];

/// The noise of a cell: its exact distribution, and the half-width at 95 %.
struct Known {
    exact: Precise,
    width: u64,
}

fn known(l1_sensitivity: u64, epsilon: &str) -> Known {
    let scale = scale(l1_sensitivity, epsilon);
    let width = u64::try_from(Noise::of_cell(&scale).half_width(Confidence::P95)).unwrap();
    Known { exact: Precise::of_cell((scale.numerator(), scale.denominator()), width), width }
}

impl Known {
    /// The chance of an outcome: of all values of the noise with which `happens` holds of the estimate.
    fn chance(&self, truth: u64, happens: impl Fn(i128) -> bool) -> UBig {
        let reach = self.exact.reach();
        let outcomes = (-reach..=reach).filter(|noise| happens(i128::from(truth) + i128::from(*noise)));
        outcomes.map(|noise| self.exact.mass(noise)).fold(UBig::ZERO, |sum, mass| sum + mass)
    }

    fn covers(&self, estimate: i128, truth: u64, most: u64) -> bool {
        Interval::around(estimate, self.width.into(), most.into()).contains(truth.into())
    }
}

/// Whether `chance` is at least so many per cent of `whole`.
fn at_least(chance: &UBig, percent: u32, whole: &UBig) -> bool {
    chance * UBig::from(100_u32) >= whole * UBig::from(percent)
}

/// The promise: whatever the truth is, at least 95 %; and one narrower would not do.
#[test]
fn intervals_cover_every_count_and_one_narrower_would_not() {
    let vdafs = [VdafConfig::histogram(16).unwrap(), VdafConfig::l1_bound_sum(16, 100).unwrap()];
    for (vdaf, epsilon) in vdafs.iter().flat_map(|vdaf| EPSILONS.map(|epsilon| (vdaf, epsilon))) {
        let known = known(vdaf.l1_sensitivity(), epsilon);
        let width = i64::try_from(known.width).unwrap();
        for count in COUNTS {
            // No more reports than the cell has, or far more: the ends of what can be.
            for most in [count, 10_000 * vdaf.max_per_cell()] {
                let covered = known.chance(count, |estimate| known.covers(estimate, count, most));
                assert!(at_least(&covered, 95, &one()), "{vdaf:?} {epsilon} {count}: {}", to_f64(&covered));
            }
        }
        let narrower = known.exact.between(1 - width, width - 1);
        assert!(!at_least(&narrower, 95, &one()), "{vdaf:?} {epsilon}: {}", to_f64(&narrower));
        // Where nothing is cut off, coverage is that of the width alone.
        let inside = known
            .chance(10 * known.width, |estimate| known.covers(estimate, 10 * known.width, 100 * known.width));
        assert_eq!(inside, known.exact.between(-width, width));
    }
}

/// A week of days, a year of weeks, tasks of three epsilons.
#[test]
fn intervals_of_sums_cover_and_one_narrower_would_not() {
    let sums: [&[(u128, u128, u64)]; 4] =
        [&[(2, 1, 14)], &[(20, 1, 104)], &[(2, 5, 730)], &[(20, 1, 8), (2, 1, 60), (2, 5, 400)]];
    for draws in sums {
        let noise = Noise { draws: draws.iter().map(|(n, d, draws)| ((*n, *d), *draws)).collect() };
        let width = u64::try_from(noise.half_width(Confidence::P95)).unwrap();
        let exact = Precise::of(draws, width);
        let width = i64::try_from(width).unwrap();
        let (enough, narrower) = (exact.between(-width, width), exact.between(1 - width, width - 1));
        assert!(at_least(&enough, 95, &one()) && !at_least(&narrower, 95, &one()), "{draws:?} {width}");
    }
}

/// What reading only the shown numbers does (selection): with a true count at the threshold or above, 95 % of what is shown
/// still holds the truth; below, what is shown was shown because of its noise, and further below than the half-width
/// no interval that is shown can hold the truth.
#[test]
fn among_the_shown_the_promise_holds_from_the_threshold_on() {
    for epsilon in EPSILONS {
        let known = known(2, epsilon);
        let noise = Noise::of_cell(&scale(2, epsilon));
        let smallest_shown = u64::try_from(noise.smallest_threshold(16, EMPTY_SHOWN_CHANCE)).unwrap();
        let steps = (known.width / 4).max(1);
        let last = smallest_shown + 3 * known.width;
        for count in (0..=last).step_by(usize::try_from(steps).unwrap()).chain([smallest_shown]) {
            let (shown, held) = selected(&known, count, smallest_shown);
            let missed = &shown - &held;
            assert!(!at_least(&missed, 5, &one()), "of all cells at most 5 % are shown and miss: {count}");
            if count >= smallest_shown {
                assert!(at_least(&held, 95, &shown), "{epsilon} {count}");
            } else {
                assert!(!at_least(&(&missed * UBig::from(2_u32)), 5, &one()), "{epsilon} {count}");
            }
            assert_eq!(held == UBig::ZERO, count + known.width < smallest_shown, "{epsilon} {count}");
        }
    }
}

/// The chance that a bucket of a true count is shown, and that it is shown with an interval that holds the count.
fn selected(known: &Known, count: u64, smallest_shown: u64) -> (UBig, UBig) {
    let threshold = Threshold::new(smallest_shown);
    let shows = |estimate| threshold.show(estimate).value().is_some();
    let shown = known.chance(count, shows);
    let held = known.chance(count, |estimate| shows(estimate) && known.covers(estimate, count, 1 << 20));
    (shown, held)
}

fn percent(chance: &UBig, whole: &UBig) -> String {
    format!("{:.1}%", 100.0 * to_f64(chance) / to_f64(whole))
}

#[test]
fn the_tables_of_coverage_are_right() {
    let rows = documents::table("| epsilon | half-width |");
    assert_eq!(rows.len(), EPSILONS.len());
    for (row, epsilon) in rows.iter().zip(EPSILONS) {
        let known = known(2, epsilon);
        let width = i64::try_from(known.width).unwrap();
        let at_zero = known.chance(0, |estimate| known.covers(estimate, 0, 100));
        let expected = [
            epsilon.to_owned(),
            known.width.to_string(),
            percent(&known.exact.between(-width, width), &one()),
            percent(&known.exact.between(1 - width, width - 1), &one()),
            percent(&at_zero, &one()),
        ];
        assert_eq!(row[..], expected);
    }
    let rows = documents::table("| true count | shown |");
    assert_eq!(rows.len(), 7);
    let known = known(2, "1");
    for row in rows {
        let (shown, held) = selected(&known, row[0].parse().unwrap(), 23);
        let expected = [percent(&shown, &one()), percent(&held, &shown), percent(&(&shown - &held), &one())];
        assert_eq!(row[1..], expected, "{}", row[0]);
    }
}

/// The chance that any of `buckets` empty buckets reaches the threshold, bucket by bucket.
fn any_shown(exact: &Precise, threshold: u64, buckets: u64) -> UBig {
    let hidden = one() - exact.tail(threshold);
    one() - (0..buckets).fold(one(), |all, _| times(&all, &hidden))
}

fn at_most_one_in_a_thousand(chance: &UBig) -> bool {
    chance * UBig::from(1_000_u32) <= one()
}

#[test]
fn default_thresholds_are_those_of_brute_force() {
    for epsilon in ["0.1", "0.5", "1", "2", "5", "10"] {
        for (sensitivity, buckets) in [(1, 1), (2, 2), (2, 16), (2, 64), (2, 256), (2, 1024), (2, 4096)] {
            let scale = scale(sensitivity, epsilon);
            let noise = Noise::of_cell(&scale);
            let threshold = u64::try_from(noise.smallest_threshold(buckets, EMPTY_SHOWN_CHANCE)).unwrap();
            let exact = Precise::of_cell((scale.numerator(), scale.denominator()), threshold);
            let (this, less) =
                (any_shown(&exact, threshold, buckets), any_shown(&exact, threshold - 1, buckets));
            assert!(at_most_one_in_a_thousand(&this), "{epsilon} {buckets}: {threshold}");
            assert!(!at_most_one_in_a_thousand(&less), "{epsilon} {buckets}: {threshold}");
            let said = noise.empty_shown_chance(threshold.into(), buckets);
            assert!((said / to_f64(&this) - 1.0).abs() < 1e-12, "{epsilon} {buckets}: {said}");
        }
    }
}

/// Every task that an operator can copy from here hides empty buckets in all but one of a thousand releases: the examples'
/// files, and the one that `arras init` writes.
#[test]
fn the_tasks_of_the_examples_hide_empty_buckets() {
    let endpoint = |url: &str| url.parse::<crate::net::endpoint::Endpoint>().unwrap();
    let init = crate::cli::init::example_task_toml(
        &endpoint("https://leader.example/"),
        &endpoint("https://helper.example/"),
        "shop.example",
    );
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let texts = texts.map(|path| std::fs::read_to_string(path).unwrap());
    let mut tasks = 0;
    for text in texts.chain([init]) {
        // Other files that may come to lie there are no tasks.
        let Ok(file) = crate::tasks::TaskFile::parse(&text) else { continue };
        let (task, _) = file.build().unwrap();
        let policy = task.policy().unwrap();
        let scale = crate::privacy::gate::noise_scale(policy).unwrap();
        let exact = Precise::of_cell((scale.numerator(), scale.denominator()), policy.threshold);
        let buckets = u64::try_from(task.vdaf().config().output_len()).unwrap();
        let chance = any_shown(&exact, policy.threshold, buckets);
        assert!(at_most_one_in_a_thousand(&chance), "{}: {}", file.name, to_f64(&chance));
        tasks += 1;
    }
    assert!(tasks >= 2, "{tasks}");
}
