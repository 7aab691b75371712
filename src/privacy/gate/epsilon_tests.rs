//! The privacy loss, measured: a lower bound on epsilon from many releases of two neighbouring batches.
//!
//! One aggregator is honest; the adversary is everybody else. It knows the other aggregator's share and noise, so it
//! reads each cell with one noise, that of the gate. It releases two neighbouring batches many times, picks on the
//! first half of the releases the event that tells them apart best, and counts that event in the second half. With
//! the exact bounds of Clopper and Pearson, ln(P[event in one batch] / P[event in the other]) is then at least the number
//! computed here but for a chance of [`FALSE_ALARM`]: a number above the epsilon that was declared is a violation.
//!
//! The events are the ones that Laplace noise is weakest against: the cell that lost something is high and the cell that
//! gained it is low. They reach e^epsilon exactly, so half of the scale, or of the sensitivity, is found with certainty;
//! this is tested too, or the test would say little.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::num::NonZeroU32;

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::policy::{Mechanism, PrivacyPolicy};
use arras_protocol::vdaf::{VdafConfig, unshard};

use super::*;
use crate::privacy::noise::OpendpNoise;

/// Releases of each batch in each half.
const RELEASES: usize = 10_000;

/// The chance that a bound is above the truth, a case: both of its parts are wrong with half of it at the most. There are six
/// cases.
const FALSE_ALARM: f64 = 1e-6;

/// Quantiles of the first half at which events are tried, for each of the two cells.
const STEPS: usize = 16;

/// What noise is drawn and added by.
type Weakened = fn(&Scale) -> Scale;

/// Two neighbouring batches' sums, released under a policy.
struct Case {
    vdaf: VdafConfig,
    policy: PrivacyPolicy,
    /// Cells of the two sums. In the second one, `lost` has less and `gained` more.
    sums: [Vec<u64>; 2],
    lost: usize,
    gained: Option<usize>,
    /// k epsilon of the policy.
    declared: f64,
}

impl Case {
    fn new(vdaf: VdafConfig, epsilon: &str, contributions: u32) -> Self {
        let epsilon: MicroEpsilon = epsilon.parse().unwrap();
        let policy = PrivacyPolicy {
            mechanism: Mechanism::DiscreteLaplace,
            epsilon,
            sensitivity: vdaf.l1_sensitivity(),
            contributions: NonZeroU32::new(contributions).unwrap(),
            threshold: 0,
        };
        // All reports of one device move as far as a report can, from the first cell to the last.
        let (lost, gained) = (0, (vdaf.output_len() > 1).then(|| vdaf.output_len() - 1));
        let moved = u64::from(contributions) * vdaf.max_per_cell();
        let mut sums = [vec![500; vdaf.output_len()], vec![500; vdaf.output_len()]];
        sums[0][lost] += moved;
        if let Some(gained) = gained {
            sums[1][gained] += moved;
        }
        let declared = f64::from(epsilon.get()) / 1e6 * f64::from(contributions);
        Self { vdaf, policy, sums, lost, gained, declared }
    }

    fn histogram(epsilon: &str) -> Self {
        Self::new(VdafConfig::histogram(2).unwrap(), epsilon, 1)
    }

    /// What the adversary sees of one release: the cell that lost and the cell that gained, with one noise each.
    fn release(&self, batch: usize, noise: &mut dyn NoiseSource) -> [i128; 2] {
        let element = if matches!(self.vdaf, VdafConfig::Count) { 8 } else { 16 };
        let encode = |cells: &[u64]| -> Vec<u8> {
            cells.iter().flat_map(|cell| u128::from(*cell).to_le_bytes()[..element].to_vec()).collect()
        };
        let share = AggregateShare::decode(&self.vdaf, &encode(&self.sums[batch])).unwrap();
        let budget = BudgetSpent { task: TaskId::new([0; 32]), policy: self.policy };
        let noised = add_noise(share, BigEnough(()), budget, noise).unwrap();
        // The other share with its noise was subtracted.
        let nothing = AggregateShare::zero(&self.vdaf).encode();
        let slack = 1 << 40;
        let cells = unshard(&self.vdaf, &noised.encode(), &nothing, 1_000, slack).unwrap();
        [cells[self.lost], self.gained.map_or(0, |gained| cells[gained])]
    }

    fn releases(&self, weakened: Weakened) -> [Vec<[i128; 2]>; 2] {
        let mut noise = WeakNoise(weakened);
        [0, 1].map(|batch| (0..RELEASES).map(|_| self.release(batch, &mut noise)).collect())
    }

    /// Below the true privacy loss, but for a chance of [`FALSE_ALARM`].
    fn lower_bound(&self, weakened: Weakened) -> f64 {
        let tables = Tables::new();
        let first = self.releases(weakened);
        let event = Event::best(&first, &tables);
        let second = self.releases(weakened);
        tables.loss(event.count(&second[0]), event.count(&second[1]))
    }
}

/// The sampler of a release build, asked for another scale than the gate's.
struct WeakNoise(Weakened);

impl NoiseSource for WeakNoise {
    fn discrete_laplace(&mut self, scale: &Scale) -> Result<i128, NoiseError> {
        OpendpNoise.discrete_laplace(&(self.0)(scale))
    }
}

fn right(scale: &Scale) -> Scale {
    scale.clone()
}

/// Only for scales whose numerator fits.
fn halved(scale: &Scale) -> Scale {
    let sensitivity = u64::try_from(scale.numerator()).unwrap();
    let epsilon = u32::try_from(2_000_000 * scale.denominator()).unwrap();
    Scale::new(sensitivity, MicroEpsilon::from_micro(epsilon).unwrap()).unwrap()
}

/// The cell that lost is at least this, the cell that gained at most that.
#[derive(Clone, Copy)]
struct Event {
    lost_at_least: i128,
    gained_at_most: i128,
}

impl Event {
    fn count(self, releases: &[[i128; 2]]) -> usize {
        let holds =
            |[lost, gained]: &&[i128; 2]| *lost >= self.lost_at_least && *gained <= self.gained_at_most;
        releases.iter().filter(holds).count()
    }

    /// The one with the highest bound, among those at quantiles of what was seen.
    fn best(releases: &[Vec<[i128; 2]>; 2], tables: &Tables) -> Self {
        let quantiles = |cell: usize| {
            let mut values: Vec<i128> = releases.iter().flatten().map(|cells| cells[cell]).collect();
            values.sort_unstable();
            let mut at: Vec<i128> =
                (0..=STEPS).map(|step| values[(values.len() - 1) * step / STEPS]).collect();
            at.dedup();
            at
        };
        let (lost, gained) = (quantiles(0), quantiles(1));
        let events = lost.iter().flat_map(|lost| {
            gained.iter().map(|gained| Self { lost_at_least: *lost, gained_at_most: *gained })
        });
        let bound = |event: &Self| tables.loss(event.count(&releases[0]), event.count(&releases[1]));
        events.map(|event| (bound(&event), event)).max_by(|left, right| left.0.total_cmp(&right.0)).unwrap().1
    }
}

/// Bounds on a probability, from how often something happened in [`RELEASES`] trials.
struct Tables {
    /// ln(n!) for all n up to the number of trials.
    ln_factorials: Vec<f64>,
}

impl Tables {
    fn new() -> Self {
        let mut sum = 0.0;
        let logarithms = (1..=RELEASES).map(|n| {
            sum += (n as f64).ln();
            sum
        });
        Self { ln_factorials: std::iter::once(0.0).chain(logarithms).collect() }
    }

    /// P[Bin([`RELEASES`], p) >= k], for k above the mean, where terms fall from the first on.
    fn upper_tail(&self, k: usize, p: f64) -> f64 {
        let n = RELEASES;
        let ln_choices = self.ln_factorials[n] - self.ln_factorials[k] - self.ln_factorials[n - k];
        let mut term = (ln_choices + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()).exp();
        let (mut sum, odds) = (0.0, p / (1.0 - p));
        for i in k..=n {
            sum += term;
            if term <= sum * 1e-17 {
                break;
            }
            term *= (n - i) as f64 / (i + 1) as f64 * odds;
        }
        sum
    }

    /// The smallest probability under which `k` or more have a chance of [`FALSE_ALARM`] / 2 (Clopper and Pearson 1934).
    fn at_least(&self, k: usize) -> f64 {
        if k == 0 {
            return 0.0;
        }
        // Below the mean the tail is above a quarter, so the answer is not there.
        let (mut low, mut high) = (0.0, k as f64 / RELEASES as f64);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if self.upper_tail(k, middle) > FALSE_ALARM / 2.0 { high = middle } else { low = middle }
        }
        low
    }

    /// The largest probability: of what did not happen, the smallest.
    fn at_most(&self, k: usize) -> f64 {
        1.0 - self.at_least(RELEASES - k)
    }

    /// A lower bound on ln(P[event in one batch] / P[event in the other]).
    fn loss(&self, one: usize, other: usize) -> f64 {
        (self.at_least(one) / self.at_most(other)).ln()
    }
}

/// 0 of n and n of n are solved by hand; the rest is what the definition says.
#[test]
fn bounds_on_probabilities_are_those_of_clopper_and_pearson() {
    let (tables, n) = (Tables::new(), RELEASES as f64);
    let half = FALSE_ALARM / 2.0;
    assert!((tables.at_least(0), tables.at_most(RELEASES)) == (0.0, 1.0));
    assert!((tables.at_least(RELEASES) - (half.ln() / n).exp()).abs() < 1e-12);
    assert!((tables.at_most(0) - (1.0 - (half.ln() / n).exp())).abs() < 1e-12);
    // One or more: 1 - (1-p)^n.
    assert!((tables.at_least(1) - -((-half).ln_1p() / n).exp_m1()).abs() < 1e-16);
    for k in [1, 7, 500, 5_000, 9_999] {
        let (low, high) = (tables.at_least(k), tables.at_most(k));
        assert!(low < k as f64 / n && k as f64 / n < high, "{k}: {low} {high}");
        assert!((tables.upper_tail(k, low) / half - 1.0).abs() < 1e-6, "{k}");
    }
    // Far from the ends they are close to the normal ones: 4.89 deviations.
    let deviations = (0.5 - tables.at_least(5_000)) / (0.25 / n).sqrt();
    assert!((deviations - 4.89).abs() < 0.02, "{deviations}");
}

/// Above half of what was declared: at epsilon 1 the bound is expected at 0.7 to 0.9, with a deviation below 0.03.
#[track_caller]
fn assert_keeps(case: &Case) {
    let bound = case.lower_bound(right);
    assert!(bound <= case.declared, "epsilon is at least {bound}, declared is {}", case.declared);
    assert!(bound > case.declared / 2.0, "{bound} says nothing about {}", case.declared);
}

#[track_caller]
fn assert_violates(case: &Case, weakened: Weakened) {
    let bound = case.lower_bound(weakened);
    assert!(
        bound > case.declared,
        "at half of the noise epsilon is seen to be {bound}, not above {}",
        case.declared
    );
}

#[test]
fn the_privacy_loss_of_real_releases_stays_below_epsilon() {
    assert_keeps(&Case::new(VdafConfig::Count, "1", 1));
    assert_keeps(&Case::histogram("1"));
    assert_keeps(&Case::histogram("3"));
    assert_keeps(&Case::new(VdafConfig::l1_bound_sum(2, 50).unwrap(), "1", 1));
    assert_keeps(&Case::new(VdafConfig::l1_bound_sum(1, 50).unwrap(), "1.5", 1));
    // Two reports of one device: twice the epsilon, as the ledger charges it.
    assert_keeps(&Case::new(VdafConfig::histogram(2).unwrap(), "1", 2));
}

#[test]
fn half_the_scale_is_found_out() {
    for case in [
        Case::new(VdafConfig::Count, "1", 1),
        Case::histogram("1"),
        Case::histogram("3"),
        Case::new(VdafConfig::l1_bound_sum(2, 50).unwrap(), "1", 1),
    ] {
        assert_violates(&case, halved);
    }
}

/// No task can be made with such a policy (`check_policy`); the gate takes what it is given.
#[test]
fn half_the_sensitivity_is_found_out() {
    for mut case in [Case::histogram("1"), Case::new(VdafConfig::l1_bound_sum(2, 50).unwrap(), "1", 1)] {
        case.policy.sensitivity /= 2;
        assert_violates(&case, right);
    }
}
