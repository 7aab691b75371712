//! One choice of a window, with all that follows from it.

use super::SHOWN_CHANCE;
use super::precision::{Precision, Showing};
use super::setting::{About, Campaign, Fraction, PlanError, Setting, Terms, Values};
use super::window::{Alignment, Carried, Window};
use crate::privacy::ledger::EPOCH_SECONDS;

/// What can be said if numbers are released for windows of one length.
#[derive(Clone, Debug)]
pub struct Choice {
    /// How long.
    pub window: Window,
    /// The conversions task.
    pub counts: Precision,
    /// The value task, if there is one.
    pub values: Option<Precision>,
    /// The smallest noised count that is shown.
    pub threshold: u64,
    /// The chance that any empty bucket of a release is shown.
    pub empty_shown: f64,
    /// How many windows of an epoch the budget carries.
    pub budget: Carried,
    /// How windows lie to epochs.
    pub(super) alignment: Alignment,
    /// Whether a window is expected to have as many reports as a batch needs.
    pub enough_reports: bool,
    /// The fewest conversions in a window that are shown with a chance of 95%.
    pub smallest_visible: u64,
    /// The fewest conversions in a window that are shown with a chance of 95% and whose error is small enough to be
    /// useful.
    pub smallest_useful: u64,
    /// The numbers of a week, added up from its windows.
    pub week: WeekSum,
    /// One entry for each campaign, in order.
    pub campaigns: Vec<Outlook>,
}

/// A campaign's number of a week, the sum over the windows in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekSum {
    /// 95% of such sums are within this of the truth; `None` if the budget does not carry all windows of a week.
    pub half_width: Option<u128>,
    /// The same for one weekly window of the same epsilon, which costs as much as one of the windows.
    pub weekly_half_width: u128,
}

/// What can be said of a campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// Conversions expected in a window.
    pub expected: f64,
    /// The 95% half-width divided by the expected conversions; infinite if none are expected.
    pub relative_error: f64,
    /// The chance that the campaign is shown in a window.
    pub chance_shown: f64,
    /// Its value, if values are planned for it.
    pub value: Option<ValueOutlook>,
    /// Whether windows have enough reports to be released, it is shown with a chance of 95%, and its count and value are
    /// near enough to the truth to be useful.
    pub useful: bool,
}

/// What can be said of a campaign's value, in the currency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueOutlook {
    /// Value expected in a window; of each conversion at most the task's maximum.
    pub expected: f64,
    /// 95% of noised values, shown or not, are within this of the truth.
    pub half_width: f64,
    /// The one by the other.
    pub relative_error: f64,
    /// Whether conversions are worth more than the task's maximum on average: most of the value is cut off.
    pub is_cut: bool,
}

/// Conversions in a window, from those of a week.
#[expect(clippy::cast_precision_loss, reason = "expected conversions are a guess; 53 bits of it are plenty")]
pub(super) fn expected(per_week: u64, seconds: u64) -> f64 {
    (u128::from(per_week) * u128::from(seconds)) as f64 / EPOCH_SECONDS as f64
}

/// Whether so many seconds are expected to bring as many reports as a batch needs.
pub(super) fn enough_reports(setting: &Setting, seconds: u64) -> bool {
    whole(setting.reports_per_week(), seconds) >= setting.min_batch_size
}

/// Whole conversions in a window: what decides about being shown is rounded down.
pub(super) fn whole(per_week: u64, seconds: u64) -> u64 {
    let exact = u128::from(per_week) * u128::from(seconds) / u128::from(EPOCH_SECONDS);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "display: 53 bits of a half-width are plenty")]
fn relative(half_width: u128, unit: f64, expected: f64) -> f64 {
    half_width as f64 * unit / expected
}

/// The smallest noised count that is shown: the one that is set, or the default of releases with this noise.
pub(super) fn threshold(set: Option<u64>, counts: &Precision) -> u64 {
    set.unwrap_or_else(|| {
        let threshold = counts.noise.default_threshold(buckets(&counts.terms));
        u64::try_from(threshold).unwrap_or(u64::MAX)
    })
}

fn buckets(terms: &Terms) -> u64 {
    // A task has at most 4096.
    terms.vdaf.output_len() as u64
}

/// A span of time in which a number is judged: its window's length, or several windows'.
pub(super) struct Judge<'a> {
    pub(super) seconds: u64,
    pub(super) counts: &'a Precision,
    pub(super) values: Option<(&'a Precision, &'a Values)>,
    pub(super) threshold: u64,
    pub(super) useful: Fraction,
    /// Whether as many reports are expected as a batch needs; without, there is no number at all.
    pub(super) enough_reports: bool,
}

impl Judge<'_> {
    /// Whether the error of a count is small enough.
    pub(super) fn count_is_near(&self, per_week: u64) -> bool {
        relative(self.counts.half_width, 1.0, expected(per_week, self.seconds)) <= self.useful.get()
    }

    /// The chance that a campaign is shown.
    pub(super) fn chance(&self, per_week: u64) -> f64 {
        Showing::new(self.counts, self.threshold).chance(whole(per_week, self.seconds))
    }

    /// A campaign's value, if there is one.
    pub(super) fn value(&self, campaign: &Campaign) -> Option<ValueOutlook> {
        let ((precision, values), average) = self.values.zip(campaign.average_value)?;
        let counted = average.get().min(values.maximum());
        let expected = expected(campaign.per_week, self.seconds) * counted;
        Some(ValueOutlook {
            expected,
            half_width: relative(precision.half_width, values.unit.get(), 1.0),
            relative_error: relative(precision.half_width, values.unit.get(), expected),
            is_cut: average.get() > values.maximum(),
        })
    }

    /// Whether the error of a campaign's value is small enough, if it has one.
    pub(super) fn value_is_near(&self, campaign: &Campaign) -> bool {
        self.value(campaign).is_none_or(|value| value.relative_error <= self.useful.get())
    }

    pub(super) fn outlook(&self, campaign: &Campaign) -> Outlook {
        let expected = expected(campaign.per_week, self.seconds);
        let chance_shown = self.chance(campaign.per_week);
        let value = self.value(campaign);
        Outlook {
            expected,
            relative_error: relative(self.counts.half_width, 1.0, expected),
            chance_shown,
            useful: self.enough_reports
                && chance_shown >= SHOWN_CHANCE
                && self.count_is_near(campaign.per_week)
                && self.value_is_near(campaign),
            value,
        }
    }
}

impl Choice {
    /// What follows from windows of one length under the terms of each task, the conversions task's first.
    pub(super) fn new(setting: &Setting, alignment: Alignment, terms: &[Terms]) -> Result<Self, PlanError> {
        let window = alignment.window;
        let (counts, values) = precisions(setting, terms)?;
        let threshold = threshold(setting.threshold, &counts);
        let budget = Carried::play(setting, &alignment, terms)
            .map_err(|error| PlanError::new(About::Source, error))?;
        let enough_reports = enough_reports(setting, window.seconds());
        let judge = Judge {
            seconds: window.seconds(),
            counts: &counts,
            values: values.as_ref().zip(setting.values.as_ref()),
            threshold,
            useful: setting.useful_error(),
            enough_reports,
        };
        let campaigns: Vec<Outlook> =
            setting.campaigns.iter().map(|campaign| judge.outlook(campaign)).collect();
        let smallest_visible = Showing::new(&counts, threshold).smallest();
        let half_width = budget.is_whole().then(|| counts.half_width_of_sum(window.in_epoch()));
        Ok(Self {
            window,
            threshold,
            empty_shown: counts.noise.empty_shown_chance(threshold.into(), buckets(&counts.terms)),
            budget,
            alignment,
            enough_reports,
            smallest_visible,
            smallest_useful: smallest_visible.max(smallest_near(&counts, setting.useful_error())),
            week: WeekSum { half_width, weekly_half_width: counts.half_width },
            campaigns,
            counts,
            values,
        })
    }

    /// Whether every window is released: the budget carries all, and they have enough reports.
    pub fn is_released(&self) -> bool {
        self.budget.is_whole() && self.enough_reports
    }

    /// How many campaigns it shows usefully.
    pub fn useful(&self) -> usize {
        self.campaigns.iter().filter(|campaign| campaign.useful).count()
    }

    /// A number in each window as one in a week.
    pub fn in_a_week(&self, in_a_window: u64) -> u64 {
        in_a_window.saturating_mul(self.window.in_epoch())
    }
}

/// The precision of each task, the conversions task's first.
pub(super) fn precisions(
    setting: &Setting,
    terms: &[Terms],
) -> Result<(Precision, Option<Precision>), PlanError> {
    let counts = Precision::new(terms.first().unwrap_or(&setting.counts), About::Counts)?;
    let values = terms.get(1).map(|terms| Precision::new(terms, About::Values)).transpose()?;
    Ok((counts, values))
}

/// The fewest conversions in a window whose error is small enough.
fn smallest_near(counts: &Precision, useful: Fraction) -> u64 {
    let near = |count: u64| relative(counts.half_width, 1.0, expected(count, EPOCH_SECONDS)) <= useful.get();
    let (mut low, mut high) = (0, u64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        if near(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}
