//! Solving for epsilon: the smallest that reaches an error, and the largest that the budget carries.
//!
//! Both are found by bisection over whole micro-epsilon, asking what a plan of that epsilon would say. That works because
//! more epsilon never makes a campaign less visible: noise and its interval shrink, the default threshold falls with
//! it, and a count that is not below the threshold falls below it less often. (A count below it is shown in less than half
//! of all releases with any epsilon, so it never counts as shown.)

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::task::MAX_EPSILON;

use super::SHOWN_CHANCE;
use super::choice::{Judge, precisions, threshold};
use super::precision::Precision;
use super::setting::{About, Campaign, PlanError, Setting, Terms};
use super::window::{self, Alignment};

/// The smallest epsilon for which `enough` holds, if there is one up to the most that a policy may have. `enough` must not
/// cease to hold as epsilon grows.
pub(super) fn smallest_epsilon(
    enough: impl Fn(MicroEpsilon) -> Result<bool, PlanError>,
) -> Result<Option<MicroEpsilon>, PlanError> {
    let (mut low, mut high) = (1, MAX_EPSILON + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(micro(middle)?)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if low > MAX_EPSILON { Ok(None) } else { micro(low).map(Some) }
}

/// The largest epsilon at which the budget carries every window, for all tasks alike; `None` if it does for none.
pub(super) fn largest_carried(
    setting: &Setting,
    alignment: &Alignment,
) -> Result<Option<MicroEpsilon>, PlanError> {
    let whole = |epsilon| {
        let terms: Vec<Terms> = setting.terms().iter().map(|terms| terms.with_epsilon(epsilon)).collect();
        is_carried(setting, alignment, &terms)
    };
    match smallest_epsilon(|epsilon| whole(epsilon).map(|carried| !carried))? {
        None => micro(MAX_EPSILON).map(Some),
        Some(too_much) => Ok(MicroEpsilon::from_micro(too_much.get() - 1).ok()),
    }
}

fn micro(epsilon: u32) -> Result<MicroEpsilon, PlanError> {
    MicroEpsilon::from_micro(epsilon).map_err(|error| PlanError::new(About::Counts, error))
}

fn is_carried(setting: &Setting, alignment: &Alignment, terms: &[Terms]) -> Result<bool, PlanError> {
    window::is_carried(setting, alignment, terms).map_err(|error| PlanError::new(About::Source, error))
}

/// The smallest epsilon at which a count of so many conversions a week is useful in windows of `seconds`.
pub(super) fn for_count(
    setting: &Setting,
    seconds: u64,
    per_week: u64,
) -> Result<Option<MicroEpsilon>, PlanError> {
    smallest_epsilon(|epsilon| {
        let counts = Precision::new(&setting.counts.with_epsilon(epsilon), About::Counts)?;
        let threshold = threshold(setting.threshold, &counts);
        let useful = setting.useful_error();
        // How many reports there are does not depend on epsilon.
        let enough_reports = true;
        let judge = Judge { seconds, counts: &counts, values: None, threshold, useful, enough_reports };
        Ok(judge.count_is_near(per_week) && judge.chance(per_week) >= SHOWN_CHANCE)
    })
}

/// The smallest epsilon of the value task at which the value of each of some campaigns is useful.
fn for_values(
    setting: &Setting,
    seconds: u64,
    campaigns: &[&Campaign],
) -> Result<Option<MicroEpsilon>, PlanError> {
    let Some(values) = &setting.values else { return Ok(None) };
    smallest_epsilon(|epsilon| {
        let terms = [setting.counts, values.terms.with_epsilon(epsilon)];
        let (counts, precision) = precisions(setting, &terms)?;
        let values = precision.as_ref().zip(Some(values));
        let useful = setting.useful_error();
        let judge = Judge { seconds, counts: &counts, values, threshold: 0, useful, enough_reports: true };
        Ok(campaigns.iter().all(|campaign| judge.value_is_near(campaign)))
    })
}

/// The terms of all tasks with the smallest epsilons that make some campaigns useful; `None` if there are none.
pub(super) fn for_campaigns(
    setting: &Setting,
    seconds: u64,
    campaigns: &[&Campaign],
) -> Result<Option<Vec<Terms>>, PlanError> {
    let fewest = campaigns.iter().map(|campaign| campaign.per_week).min().unwrap_or(0);
    let Some(epsilon) = for_count(setting, seconds, fewest)? else { return Ok(None) };
    let mut terms = vec![setting.counts.with_epsilon(epsilon)];
    if let Some(values) = &setting.values {
        let Some(epsilon) = for_values(setting, seconds, campaigns)? else { return Ok(None) };
        terms.push(values.terms.with_epsilon(epsilon));
    }
    Ok(Some(terms))
}

/// The terms of all tasks that reach the target in windows of one length: for as many campaigns, the largest first, as
/// the budget allows with all windows released. If it allows none, the most that it carries.
pub(super) fn terms(setting: &Setting, alignment: &Alignment) -> Result<Vec<Terms>, PlanError> {
    let mut campaigns: Vec<&Campaign> = setting.campaigns.iter().collect();
    campaigns.sort_by_key(|campaign| std::cmp::Reverse(campaign.per_week));
    let reaching = |count: usize| -> Result<Option<Vec<Terms>>, PlanError> {
        let Some(terms) = for_campaigns(setting, alignment.window.seconds(), &campaigns[..count])? else {
            return Ok(None);
        };
        Ok(is_carried(setting, alignment, &terms)?.then_some(terms))
    };
    // The more campaigns, the more it takes: bisect for the most.
    let (mut best, mut low, mut high) = (None, 0, campaigns.len());
    while low < high {
        let middle = high - (high - low) / 2;
        match reaching(middle)? {
            Some(terms) => (best, low) = (Some(terms), middle),
            None => high = middle - 1,
        }
    }
    if let Some(best) = best {
        return Ok(best);
    }
    // Even the smallest epsilon is too much for this budget: it carries some windows at most, which the plan says.
    let epsilon = largest_carried(setting, alignment)?.map_or_else(|| micro(1), Ok)?;
    Ok(setting.terms().iter().map(|terms| terms.with_epsilon(epsilon)).collect())
}
