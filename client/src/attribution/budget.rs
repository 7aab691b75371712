//! What a conversion costs, and whether it is there ("Privacy Budget Store").
//!
//! The deduction is computed in doubles exactly as the standard writes it, so that all devices agree; what is
//! left is whole micro-epsilon, and rounding is always towards spending more.

use std::collections::{BTreeMap, BTreeSet};

use super::moment::EpochIndex;
use super::options::{Config, ValidatedConversion};
use super::site::Site;
use super::state::{Change, Impression, MAX_BUDGET_ROWS, State};

/// What one conversion takes from each epoch that it touches, in micro-epsilon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deduction {
    /// From the conversion site's budget.
    pub(crate) site: u64,
    /// From the global budget and from the impression sites' quotas.
    pub(crate) shared: u64,
}

impl Deduction {
    /// The first steps of "deduct privacy and safety budgets". `single_epoch_norm` is the L1 norm of the histogram if
    /// all impressions that could match are of one epoch: then only what is in the histogram counts, and not twice the
    /// value.
    pub(crate) fn of(options: &ValidatedConversion, single_epoch_norm: Option<u32>) -> Self {
        let noise_scale = noise_scale(options.epsilon, options.max_value);
        let shared = in_micro(2.0 * f64::from(options.value), noise_scale);
        let site = single_epoch_norm.map_or(shared, |norm| in_micro(f64::from(norm), noise_scale));
        Self { site, shared }
    }
}

/// The most that one conversion takes from each budget of an epoch, in micro-epsilon: worth all of `max_value`, which is not 0.
pub(crate) fn largest_deduction(epsilon: f64, max_value: u32) -> u64 {
    in_micro(2.0 * f64::from(max_value), noise_scale(epsilon, max_value))
}

fn noise_scale(epsilon: f64, max_value: u32) -> f64 {
    2.0 * f64::from(max_value) / epsilon
}

/// Sensitivity over scale, in micro-epsilon, rounded up.
///
/// Something is never free: an epsilon below 1e-300 makes a scale of infinity and, as written, a deduction of 0, while
/// the report still says a micro-epsilon. Rounding up means at least that.
fn in_micro(sensitivity: f64, noise_scale: f64) -> u64 {
    let micro = (sensitivity / noise_scale * 1_000_000.0).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and not negative, and a cast to an integer saturates"
    )]
    let micro = micro as u64;
    if sensitivity > 0.0 { micro.max(1) } else { micro }
}

/// What is left of a budget, in micro-epsilon: what its row says, or all of it. A limit that was lowered since counts for
/// what is left, too. None if it has no row and there is no `room` for one.
fn left<K: Ord>(rows: &BTreeMap<K, u32>, key: &K, limit: u32, room: usize) -> Option<u32> {
    match rows.get(key) {
        Some(left) => Some((*left).min(limit)),
        None => (room > 0).then_some(limit),
    }
}

/// What is left to a conversion site in an epoch. `pending` counts rows that are about to be made.
pub(crate) fn site_left(
    state: &State,
    config: &Config,
    key: &(EpochIndex, Site),
    pending: usize,
) -> Option<u32> {
    let room = MAX_BUDGET_ROWS.saturating_sub(state.site_budgets.len() + pending);
    left(&state.site_budgets, key, config.site_budget, room)
}

/// What is left to all sites together in an epoch. There are as many rows as epochs that have rows of sites.
pub(crate) fn global_left(state: &State, config: &Config, epoch: EpochIndex) -> u32 {
    left(&state.global_budgets, &epoch, config.global_budget, 1).unwrap_or(0)
}

/// What is left, if a deduction fits.
fn rest(left: u32, deduction: u64) -> Option<u32> {
    u64::from(left).checked_sub(deduction).and_then(|rest| u32::try_from(rest).ok())
}

/// "Deduct privacy and safety budgets" for one epoch: the changes that spend, or none if any budget is too small, in
/// which case nothing is spent. The standard's sets of what was deducted already are not needed: an epoch is asked once
/// for a conversion, and each of its impression sites is taken once here. `pending` are the changes of the conversion's
/// earlier epochs, whose rows take room, too.
///
/// The standard reads and writes "impression site quota per epoch", the limit, where the impression site quota store is
/// meant, and gives no default for the global budget; a fresh epoch has the whole of it.
pub(crate) fn deduct(
    state: &State,
    config: &Config,
    (epoch, site): (EpochIndex, &Site),
    impressions: &[&Impression],
    deduction: Deduction,
    pending: &[Change],
) -> Option<Vec<Change>> {
    let count = |matches: fn(&Change) -> bool| pending.iter().filter(|change| matches(change)).count();
    let site_rows = count(|change| matches!(change, Change::SiteBudget(..)));
    let site_rest = rest(site_left(state, config, &(epoch, site.clone()), site_rows)?, deduction.site)?;
    let global_rest = rest(global_left(state, config, epoch), deduction.shared)?;
    let mut changes =
        vec![Change::SiteBudget(epoch, site.clone(), site_rest), Change::GlobalBudget(epoch, global_rest)];
    let impression_sites: BTreeSet<_> =
        impressions.iter().map(|impression| &impression.impression_site).collect();
    let mut room = MAX_BUDGET_ROWS
        .saturating_sub(state.quotas.len() + count(|change| matches!(change, Change::ImpressionQuota(..))));
    for impression_site in impression_sites {
        let key = (epoch, impression_site.clone());
        let quota = left(&state.quotas, &key, config.impression_site_quota, room)?;
        room = room.saturating_sub(usize::from(!state.quotas.contains_key(&key)));
        let (epoch, impression_site) = key;
        changes.push(Change::ImpressionQuota(epoch, impression_site, rest(quota, deduction.shared)?));
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::attribution::options::{AggregationService, ConversionOptions, Protocol};

    fn options(epsilon: f64, value: u32, max_value: u32) -> ValidatedConversion {
        let service =
            AggregationService { protocol: Protocol::Dap18Histogram, max_histogram_size: None, dap: None };
        let config = Config { services: [("s".to_owned(), service)].into(), ..Config::default() };
        let options = ConversionOptions { epsilon, value, max_value, ..ConversionOptions::new("s", 3) };
        options.validate(&config).unwrap()
    }

    #[test]
    fn a_conversion_of_one_epoch_costs_half() {
        let deduction = |norm| Deduction::of(&options(1.0, 4, 8), norm);
        assert_eq!(deduction(None), Deduction { site: 500_000, shared: 500_000 });
        assert_eq!(deduction(Some(4)), Deduction { site: 250_000, shared: 500_000 });
        assert_eq!(deduction(Some(0)), Deduction { site: 0, shared: 500_000 });
    }

    #[test]
    fn a_deduction_is_rounded_up() {
        assert_eq!(Deduction::of(&options(1.0, 1, 3), None).site, 333_334);
        assert_eq!(Deduction::of(&options(1e-6, 1, u32::MAX), None).site, 1);
        assert_eq!(Deduction::of(&options(4_294.0, u32::MAX, u32::MAX), None).site, 4_294_000_000);
    }

    /// An epsilon of 1e-310 cost nothing, since the scale of its noise is beyond a double, and any number of reports said
    /// that they had spent a micro-epsilon each.
    #[test]
    fn the_smallest_epsilon_is_not_free() {
        for epsilon in [1e-310, f64::from_bits(1), 1e-300] {
            let deduction = Deduction::of(&options(epsilon, 1, 1), Some(1));
            assert_eq!(deduction, Deduction { site: 1, shared: 1 });
        }
    }
}
