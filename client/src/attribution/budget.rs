//! What a conversion costs, and whether it is there ("Privacy Budget Store").
//!
//! The deduction is computed in doubles exactly as the standard writes it, so that all devices agree; what is
//! left is whole micro-epsilon, and rounding is always towards spending more.

use std::collections::BTreeSet;

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
        let twice_value = 2.0 * f64::from(options.value);
        let noise_scale = 2.0 * f64::from(options.max_value) / options.epsilon;
        let shared = in_micro(twice_value, noise_scale);
        let site = single_epoch_norm.map_or(shared, |norm| in_micro(f64::from(norm), noise_scale));
        Self { site, shared }
    }
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

/// What is left, if a deduction fits.
fn rest(left: u32, deduction: u64) -> Option<u32> {
    u64::from(left).checked_sub(deduction).and_then(|rest| u32::try_from(rest).ok())
}

/// "Deduct privacy and safety budgets" for one epoch: the changes that spend, or none if any budget is too small, in
/// which case nothing is spent. The standard's sets of what was deducted already are not needed: an epoch is asked once
/// for a conversion, and each of its impression sites is taken once here.
///
/// The standard reads and writes "impression site quota per epoch", the limit, where the impression site quota store is
/// meant, and gives no default for the global budget; a fresh epoch has the whole of it.
pub(crate) fn deduct(
    state: &State,
    config: &Config,
    (epoch, site): (EpochIndex, &Site),
    impressions: &[&Impression],
    deduction: Deduction,
) -> Option<Vec<Change>> {
    let key = (epoch, site.clone());
    let rows = &state.site_budgets;
    let left =
        rows.get(&key).copied().or_else(|| (rows.len() < MAX_BUDGET_ROWS).then_some(config.site_budget))?;
    // A limit that was lowered since counts for what is left, too.
    let site_rest = rest(left.min(config.site_budget), deduction.site)?;
    let global = state
        .global_budgets
        .get(&epoch)
        .map_or(config.global_budget, |left| (*left).min(config.global_budget));
    let global_rest = rest(global, deduction.shared)?;
    let mut changes =
        vec![Change::SiteBudget(epoch, site.clone(), site_rest), Change::GlobalBudget(epoch, global_rest)];
    let impression_sites: BTreeSet<_> =
        impressions.iter().map(|impression| &impression.impression_site).collect();
    let room = MAX_BUDGET_ROWS.saturating_sub(state.quotas.len());
    let mut new_rows = 0;
    for impression_site in impression_sites {
        let quota = state.quotas.get(&(epoch, impression_site.clone()));
        new_rows += usize::from(quota.is_none());
        let left =
            quota.map_or(config.impression_site_quota, |left| (*left).min(config.impression_site_quota));
        changes.push(Change::ImpressionQuota(epoch, impression_site.clone(), rest(left, deduction.shared)?));
    }
    (new_rows <= room).then_some(changes)
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
