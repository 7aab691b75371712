//! What to do about a budget that does not carry all windows, and about campaigns that are too small.

use std::num::NonZeroU32;

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::task::{MAX_EPSILON, MIN_MIN_BATCH_SIZE};

use super::choice::{Choice, Judge, enough_reports, expected, precisions, threshold, whole};
use super::devices::{device_week_cost, too_dear_for_devices};
use super::setting::{Campaign, PlanError, Setting, Terms};
use super::solve;
use super::window::{Carried, Window, cost};
use crate::privacy::ledger::{self, EPOCH_SECONDS};

/// The longest window that is proposed, in weeks. Who waits for longer than a quarter has stopped steering.
pub(super) const WEEKS_MAX: u64 = 12;

/// Most campaigns that are named as partners of one that is too small.
const PARTNERS_MAX: usize = 5;

/// Something to know or to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Advice {
    /// The budget does not carry every window.
    Windows {
        /// Of which length.
        window: Window,
        /// How many it carries of an epoch.
        carried: Carried,
        /// The largest epsilon at which it carries all, and the 95% half-width of counts then.
        instead: Option<(MicroEpsilon, u128)>,
    },
    /// Windows lie across the ends of epochs, and are charged to both.
    Straddles {
        /// Of which length.
        window: Window,
        /// The time zone in whose calendar they do; `None` if the time precision keeps them from beginning with epochs.
        zone: Option<String>,
        /// When the first epoch starts, POSIX seconds.
        epoch_start: u64,
        /// The most windows that an epoch is charged for.
        most: u64,
    },
    /// Windows are expected to have fewer reports than a batch needs.
    TooFewReports {
        /// Of which length.
        window: Window,
        /// Reports that are expected.
        expected: f64,
        /// Reports that are needed.
        needed: u64,
    },
    /// The conversions of a week cost a device more than apps let an advertiser spend unless they are told to.
    Devices {
        /// What they cost, in micro-epsilon.
        cost: u64,
    },
    /// Campaigns whose conversions are worth more than the value task's maximum on average.
    Cut {
        /// Their names.
        campaigns: Vec<String>,
    },
    /// A campaign is too small for all windows.
    TooSmall {
        /// Its name.
        campaign: String,
        /// Conversions expected in a week.
        per_week: u64,
        /// Each of these makes it useful; without any it cannot be measured.
        steps: Vec<Step>,
    },
}

/// What makes a campaign's numbers useful.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Longer windows: noise is added once to each.
    LongerWindow {
        /// How long.
        weeks: u64,
    },
    /// Counting it together with other campaigns, in one bucket.
    Merge {
        /// Their names.
        with: Vec<String>,
        /// Conversions of all of them in a week.
        per_week: u64,
    },
    /// More epsilon for each release of a weekly window (or of the longest that there is).
    MoreEpsilon {
        /// What each task would spend, the conversions task first.
        epsilons: Vec<MicroEpsilon>,
        /// The cap that it takes, micro-epsilon, if that is more than there is.
        cap: Option<u64>,
        /// Whether the limit of a single task is in its way.
        task_caps: bool,
    },
    /// A lower threshold than the one that was set.
    LowerThreshold {
        /// The one that releases have by default.
        threshold: u64,
    },
    /// A smaller batch: the longest windows have enough reports for it.
    SmallerBatch {
        /// The largest that is reached.
        min_batch_size: u64,
    },
    /// Fewer reports of each device: the same cost then buys more epsilon for each.
    FewerContributions {
        /// How many.
        contributions: NonZeroU32,
        /// The conversions task's epsilon that costs the same.
        epsilon: MicroEpsilon,
    },
}

/// All that there is to say about some choices.
pub(super) fn advice(
    setting: &Setting,
    choices: &[Choice],
    recommended: usize,
) -> Result<Vec<Advice>, PlanError> {
    let mut all = Vec::new();
    for choice in choices {
        about_windows(setting, choice, &mut all)?;
    }
    if let Some(choice) = choices.get(recommended) {
        let precisions = std::iter::once(&choice.counts).chain(&choice.values);
        let cost = device_week_cost(precisions.map(|precision| precision.terms));
        if too_dear_for_devices(cost).is_some() {
            all.push(Advice::Devices { cost });
        }
    }
    if let Some(values) = &setting.values {
        let is_cut = |campaign: &&Campaign| {
            campaign.average_value.is_some_and(|average| average.get() > values.maximum())
        };
        let campaigns: Vec<String> =
            setting.campaigns.iter().filter(is_cut).map(|campaign| campaign.name.clone()).collect();
        if !campaigns.is_empty() {
            all.push(Advice::Cut { campaigns });
        }
    }
    let Some(longest) = choices.last() else { return Ok(all) };
    let is_useful = |index: usize| {
        choices.iter().any(|choice| choice.budget.is_whole() && choice.campaigns[index].useful)
            || choices[recommended].campaigns[index].useful
    };
    let (useful, small): (Vec<usize>, Vec<usize>) =
        (0..setting.campaigns.len()).partition(|index| is_useful(*index));
    let of =
        |indices: Vec<usize>| indices.into_iter().map(|index| &setting.campaigns[index]).collect::<Vec<_>>();
    let (useful, small) = (of(useful), of(small));
    for campaign in &small {
        all.push(Advice::TooSmall {
            campaign: campaign.name.clone(),
            per_week: campaign.per_week,
            steps: steps(setting, longest, campaign, &small, &useful)?,
        });
    }
    Ok(all)
}

fn about_windows(setting: &Setting, choice: &Choice, all: &mut Vec<Advice>) -> Result<(), PlanError> {
    let window = choice.window;
    if !choice.budget.is_whole() {
        let instead = match solve::largest_carried(setting, &choice.alignment)? {
            None => None,
            Some(epsilon) => {
                let (counts, _) = precisions(setting, &[setting.counts.with_epsilon(epsilon)])?;
                Some((epsilon, counts.half_width))
            }
        };
        all.push(Advice::Windows { window, carried: choice.budget, instead });
    }
    if choice.budget.straddles {
        let zone = setting.windows.zone().map(str::to_owned);
        let (epoch_start, most) = (setting.rules.epoch_start, choice.budget.most);
        all.push(Advice::Straddles { window, zone, epoch_start, most });
    }
    if !choice.enough_reports {
        let expected = expected(setting.reports_per_week(), window.seconds());
        all.push(Advice::TooFewReports { window, expected, needed: setting.min_batch_size });
    }
    Ok(())
}

/// What would make a campaign useful that is not, seen from the longest windows that there are.
fn steps(
    setting: &Setting,
    longest: &Choice,
    campaign: &Campaign,
    small: &[&Campaign],
    useful: &[&Campaign],
) -> Result<Vec<Step>, PlanError> {
    let terms: Vec<Terms> =
        [Some(&longest.counts), longest.values.as_ref()].into_iter().flatten().map(|p| p.terms).collect();
    let mut steps = Vec::new();
    // What the budget refuses as it is does not become useful by being larger, nor by another split of the same cost.
    let is_carried = longest.budget.is_whole();
    if is_carried {
        steps.extend(lower_threshold(setting, longest, &terms, campaign)?);
    }
    if is_carried && longest.window == Window::Week {
        for weeks in 2..=WEEKS_MAX {
            let seconds = weeks * EPOCH_SECONDS;
            if is_useful(setting, &terms, seconds, &Bar::of(setting, seconds), campaign)? {
                steps.push(Step::LongerWindow { weeks });
                break;
            }
        }
    }
    if is_carried {
        steps.extend(smaller_batch(setting, longest, &terms, campaign)?);
        steps.extend(merge(setting, longest, &terms, campaign, small, useful)?);
    }
    steps.extend(more_epsilon(setting, longest, &terms, campaign)?);
    if is_carried {
        steps.extend(fewer_contributions(setting, longest, &terms, campaign)?);
    }
    Ok(steps)
}

/// What decides about a number beside its noise.
struct Bar {
    /// The threshold, if it is set.
    threshold: Option<u64>,
    enough_reports: bool,
}

impl Bar {
    /// As it is set.
    fn of(setting: &Setting, seconds: u64) -> Self {
        Self { threshold: setting.threshold, enough_reports: enough_reports(setting, seconds) }
    }
}

fn is_useful(
    setting: &Setting,
    terms: &[Terms],
    seconds: u64,
    bar: &Bar,
    campaign: &Campaign,
) -> Result<bool, PlanError> {
    let (counts, values) = precisions(setting, terms)?;
    let judge = Judge {
        seconds,
        threshold: threshold(bar.threshold, &counts),
        values: values.as_ref().zip(setting.values.as_ref()),
        counts: &counts,
        useful: setting.useful_error(),
        enough_reports: bar.enough_reports,
    };
    Ok(judge.outlook(campaign).useful)
}

/// A threshold that was set above the default, if the default makes a campaign useful.
fn lower_threshold(
    setting: &Setting,
    longest: &Choice,
    terms: &[Terms],
    campaign: &Campaign,
) -> Result<Option<Step>, PlanError> {
    let threshold = threshold(None, &longest.counts);
    if threshold >= longest.threshold {
        return Ok(None);
    }
    let seconds = longest.window.seconds();
    let bar = Bar { threshold: None, ..Bar::of(setting, seconds) };
    Ok(is_useful(setting, terms, seconds, &bar, campaign)?.then_some(Step::LowerThreshold { threshold }))
}

/// A smaller batch, if the longest windows have too few reports for the one that there is, and that is what is in the way.
fn smaller_batch(
    setting: &Setting,
    longest: &Choice,
    terms: &[Terms],
    campaign: &Campaign,
) -> Result<Option<Step>, PlanError> {
    let seconds = longest.window.seconds();
    let min_batch_size = whole(setting.reports_per_week(), seconds);
    if longest.enough_reports || min_batch_size < MIN_MIN_BATCH_SIZE {
        return Ok(None);
    }
    let bar = Bar { enough_reports: true, ..Bar::of(setting, seconds) };
    Ok(is_useful(setting, terms, seconds, &bar, campaign)?.then_some(Step::SmallerBatch { min_batch_size }))
}

/// With the largest of the others that are too small, or else with the smallest that is not.
fn merge(
    setting: &Setting,
    longest: &Choice,
    terms: &[Terms],
    campaign: &Campaign,
    small: &[&Campaign],
    useful: &[&Campaign],
) -> Result<Option<Step>, PlanError> {
    let mut others: Vec<&Campaign> =
        small.iter().copied().filter(|other| other.name != campaign.name && other.per_week > 0).collect();
    others.sort_by_key(|other| std::cmp::Reverse(other.per_week));
    let smallest = useful.iter().copied().min_by_key(|other| other.per_week);
    let seconds = longest.window.seconds();
    let bar = Bar::of(setting, seconds);
    let groups = (1..=others.len().min(PARTNERS_MAX)).map(|count| others[..count].to_vec());
    for group in groups.chain(smallest.map(|other| vec![other])) {
        let merged = group.iter().fold(campaign.clone(), |merged, other| Campaign {
            per_week: merged.per_week.saturating_add(other.per_week),
            // The lower of both: the number is then useful whichever of them sells.
            average_value: merged.average_value.min(other.average_value),
            name: merged.name,
        });
        if is_useful(setting, terms, seconds, &bar, &merged)? {
            let with = group.iter().map(|other| other.name.clone()).collect();
            return Ok(Some(Step::Merge { with, per_week: merged.per_week }));
        }
    }
    Ok(None)
}

fn more_epsilon(
    setting: &Setting,
    longest: &Choice,
    terms: &[Terms],
    campaign: &Campaign,
) -> Result<Option<Step>, PlanError> {
    // Noise is not what keeps back a batch that is too small.
    if !longest.enough_reports {
        return Ok(None);
    }
    let seconds = longest.window.seconds();
    let Some(needed) = solve::for_campaigns(setting, seconds, &[campaign])? else { return Ok(None) };
    // A task whose epsilon suffices keeps it, for the others' sake.
    let terms: Vec<Terms> = terms
        .iter()
        .zip(needed)
        .map(|(now, needed)| needed.with_epsilon(needed.epsilon.max(now.epsilon)))
        .collect();
    let of_epoch = |tasks: &[Terms]| Carried { cost: cost(tasks), ..longest.budget }.epoch_cost();
    // What is charged for a task alone, against its own limit.
    let task_caps = terms.iter().any(|task| task.cap.is_some_and(|cap| cap < of_epoch(&[*task])));
    let cap = of_epoch(&terms);
    let epsilons = terms.iter().map(|terms| terms.epsilon).collect();
    Ok(Some(Step::MoreEpsilon { epsilons, cap: (cap > setting.rules.cap).then_some(cap), task_caps }))
}

/// The most reports from one device, fewer than now, with which the same cost makes a campaign useful.
fn fewer_contributions(
    setting: &Setting,
    longest: &Choice,
    terms: &[Terms],
    campaign: &Campaign,
) -> Result<Option<Step>, PlanError> {
    let Some(now) = terms.first() else { return Ok(None) };
    let with = |fewer: NonZeroU32| -> Vec<Terms> {
        terms.iter().map(|terms| with_contributions(*terms, fewer)).collect()
    };
    let seconds = longest.window.seconds();
    let bar = Bar::of(setting, seconds);
    // The fewer, the more epsilon: bisect for the most that are few enough.
    let (mut best, mut low, mut high) = (None, 0, now.contributions.get() - 1);
    while low < high {
        let middle = high - (high - low) / 2;
        let Some(fewer) = NonZeroU32::new(middle) else { break };
        if is_useful(setting, &with(fewer), seconds, &bar, campaign)? {
            (best, low) = (Some(fewer), middle);
        } else {
            high = middle - 1;
        }
    }
    Ok(best.map(|fewer| Step::FewerContributions {
        contributions: fewer,
        epsilon: with_contributions(*now, fewer).epsilon,
    }))
}

/// Terms with fewer contributions, and the largest epsilon that costs no more than before.
fn with_contributions(terms: Terms, fewer: NonZeroU32) -> Terms {
    let contributions = terms.contributions.min(fewer);
    let cost = ledger::cost(terms.epsilon, terms.contributions);
    let epsilon = (cost / u64::from(contributions.get())).min(u64::from(MAX_EPSILON));
    // Not above the most of a policy, and not below what it was, so neither conversion fails.
    let epsilon = u32::try_from(epsilon).ok().and_then(|epsilon| MicroEpsilon::from_micro(epsilon).ok());
    Terms { contributions, epsilon: epsilon.unwrap_or(terms.epsilon), ..terms }
}
