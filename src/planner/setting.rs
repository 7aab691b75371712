//! What is asked: campaigns, tasks and budget.

use std::fmt::{self, Display, Formatter};
use std::num::NonZeroU32;
use std::str::FromStr;

use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::policy::{Mechanism, PrivacyPolicy};
use arras_protocol::task::check_policy;
use arras_protocol::vdaf::{MAX_LENGTH, VdafConfig};

use super::window::{Window, Windows};
use crate::privacy::ledger::{BudgetSource, SourceRules};

/// Most campaigns: bucket 0 of the largest histogram is "not attributed".
pub const CAMPAIGNS_MAX: usize = MAX_LENGTH as usize - 1;

/// Most conversions of a campaign in a week. Far more than there are sales on earth, and a `u64` holds the sum over all
/// campaigns.
pub const CONVERSIONS_MAX: u64 = 1_000_000_000_000;

/// A number is called useful if its 95% interval reaches no further than this part of it to either side, unless a
/// target says otherwise: a quarter tells a campaign that pays from one that does not.
pub const USEFUL_ERROR: Fraction = Fraction(250_000);

/// What a [`PlanError`] is about. Who asked knows the field or option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The number of buckets.
    Buckets,
    /// A campaign, or their list.
    Campaigns,
    /// The conversions task as a whole.
    Counts,
    /// The budget source and its epochs.
    Source,
    /// The time precision of the task.
    TimePrecision,
    /// The value task.
    Values,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PlanError {
    /// What is wrong.
    pub about: About,
    /// In which way, and what to do.
    pub reason: String,
}

impl PlanError {
    pub(super) fn new(about: About, reason: impl Display) -> Self {
        Self { about, reason: reason.to_string() }
    }
}

/// A part of something, in millionths: 1 to 1,000,000, written `10%` or `2.5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction(u32);

impl Fraction {
    /// As a float, for comparison with an error.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl Display for Fraction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        write!(f, "{whole}.{}%", format!("{rest:04}").trim_end_matches('0'))
    }
}

impl FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let millionths = text.strip_suffix('%').and_then(|number| fixed(number, 4));
        match millionths.map(u32::try_from) {
            Some(Ok(part @ 1..=1_000_000)) => Ok(Self(part)),
            _ => Err(format!(
                "{text:?} is no percentage from 0.0001% to 100%; write it like 10%, with at most four digits behind \
                 the point"
            )),
        }
    }
}

/// An amount of money, or the worth of a unit of a value task in it: whole millionths of the currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u64);

impl Amount {
    /// One of the currency.
    pub const ONE: Self = Self(1_000_000);

    /// In the currency.
    #[expect(clippy::cast_precision_loss, reason = "display: 53 bits of an amount are plenty")]
    pub fn get(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match fixed(text, 6) {
            // A million million of the currency; a `u64` holds it.
            Some(micro @ 1..=1_000_000_000_000_000_000) => Ok(Self(micro)),
            _ => Err(format!(
                "{text:?} is no amount of money above 0; write it like 45.50, with at most six digits behind the point"
            )),
        }
    }
}

/// Reads `digits` or `digits.digits` as a whole number of 10^-places, exactly.
fn fixed(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > places {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

/// What is expected of a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Its name.
    pub name: String,
    /// Conversions in a week, at most [`CONVERSIONS_MAX`].
    pub per_week: u64,
    /// What a conversion is worth on average, if values are planned for it.
    pub average_value: Option<Amount>,
}

/// Under which terms a task is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it measures.
    pub vdaf: VdafConfig,
    /// What the release of one window spends.
    pub epsilon: MicroEpsilon,
    /// k: reports of the task that one device sends in any 7 days at most, and so in any window of a week or less.
    pub contributions: NonZeroU32,
    /// What this task alone may spend of an epoch, micro-epsilon, if its operator set a limit beside the source's cap.
    pub cap: Option<u64>,
}

impl Terms {
    /// The same with another epsilon.
    #[must_use]
    pub fn with_epsilon(self, epsilon: MicroEpsilon) -> Self {
        Self { epsilon, ..self }
    }

    /// The policy that a task of these terms has; the threshold plays no part in its noise.
    pub(super) fn policy(&self) -> PrivacyPolicy {
        PrivacyPolicy {
            mechanism: Mechanism::DiscreteLaplace,
            epsilon: self.epsilon,
            sensitivity: self.vdaf.l1_sensitivity(),
            contributions: self.contributions,
            threshold: 0,
        }
    }
}

/// A value task beside the conversions task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Its terms; the VDAF is an L1BoundSum with as many buckets as the conversions task.
    pub terms: Terms,
    /// What one unit of the task is worth.
    pub unit: Amount,
    /// What the currency is called; may be empty.
    pub currency: String,
}

impl Values {
    /// The most that one report adds, in the currency.
    #[expect(clippy::cast_precision_loss, reason = "display: a maximum is below 2^32")]
    pub fn maximum(&self) -> f64 {
        self.terms.vdaf.enforced_max() as f64 * self.unit.get()
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What is expected of each campaign.
    pub campaigns: Vec<Campaign>,
    /// Conversions in a week that no campaign gets. They are reports, too.
    pub rest_per_week: u64,
    /// The conversions task.
    pub counts: Terms,
    /// The value task, if there is one.
    pub values: Option<Values>,
    /// The smallest noised count that is shown; `None` for the one that releases have by default.
    pub threshold: Option<u64>,
    /// Whose budget both tasks spend.
    pub source: BudgetSource,
    /// Its epochs and cap.
    pub rules: SourceRules,
    /// The task's time precision in seconds; `None` if windows may begin with any epoch.
    pub time_precision: Option<u64>,
    /// When windows begin and end.
    pub windows: Windows,
    /// The task's smallest batch.
    pub min_batch_size: u64,
    /// The error to be reached, if there is one.
    pub target: Option<Fraction>,
    /// Whether the tasks' epsilons are solved for; otherwise they stay, and a target decides about windows only.
    pub solve_epsilon: bool,
}

impl Setting {
    /// From which error on a number is useful.
    pub fn useful_error(&self) -> Fraction {
        self.target.unwrap_or(USEFUL_ERROR)
    }

    /// The terms of the tasks, the conversions task first.
    pub(super) fn terms(&self) -> Vec<Terms> {
        std::iter::once(self.counts).chain(self.values.as_ref().map(|values| values.terms)).collect()
    }

    /// Whether batches of a window can be asked for: they are whole multiples of the time precision.
    pub fn allows(&self, window: Window) -> bool {
        let Some(precision) = self.time_precision else { return true };
        match &self.windows {
            Windows::WithEpochs => window.seconds().is_multiple_of(precision),
            Windows::Calendar(windows) => windows
                .of(window)
                .iter()
                .all(|range| range.start.is_multiple_of(precision) && range.end.is_multiple_of(precision)),
        }
    }

    /// Conversions expected in a week, attributed or not.
    pub fn reports_per_week(&self) -> u64 {
        let attributed = self.campaigns.iter().map(|campaign| campaign.per_week);
        attributed.fold(self.rest_per_week, u64::saturating_add)
    }

    pub(super) fn check(&self) -> Result<(), PlanError> {
        self.check_campaigns()?;
        check_policy(&self.counts.policy(), &self.counts.vdaf)
            .map_err(|error| PlanError::new(About::Counts, error))?;
        let buckets = self.counts.vdaf.output_len();
        // A task without a bucket for the rest has one campaign: all.
        let room = buckets.saturating_sub(1).max(1);
        if self.campaigns.len() > room {
            return Err(PlanError::new(
                About::Buckets,
                format!(
                    "{} campaigns do not fit {buckets} buckets: bucket 0 is \"not attributed\", each campaign takes one \
                     more; leave campaigns out or take more buckets",
                    self.campaigns.len()
                ),
            ));
        }
        let Some(values) = &self.values else { return Ok(()) };
        if values.terms.vdaf.output_len() != buckets {
            return Err(PlanError::new(
                About::Values,
                format!(
                    "the value task has {} buckets and the conversions task {buckets}; they must be the same, since a \
                     value is shown if its conversions are",
                    values.terms.vdaf.output_len()
                ),
            ));
        }
        check_policy(&values.terms.policy(), &values.terms.vdaf)
            .map_err(|error| PlanError::new(About::Values, error))?;
        if self.campaigns.iter().all(|campaign| campaign.average_value.is_none()) {
            return Err(PlanError::new(
                About::Values,
                "what a conversion is worth on average is needed to plan values; name it for all campaigns or for each",
            ));
        }
        Ok(())
    }

    fn check_campaigns(&self) -> Result<(), PlanError> {
        let wrong = |reason: String| Err(PlanError::new(About::Campaigns, reason));
        if self.campaigns.is_empty() {
            return wrong("at least one campaign is needed, such as spring=700".to_owned());
        }
        if self.campaigns.len() > CAMPAIGNS_MAX {
            return wrong(format!(
                "{} campaigns are more than the {CAMPAIGNS_MAX} that a task can have; merge some",
                self.campaigns.len()
            ));
        }
        let mut names: Vec<&str> = self.campaigns.iter().map(|campaign| &*campaign.name).collect();
        names.sort_unstable();
        if let Some([name, ..]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong(format!("campaign {name:?} is listed twice; add its numbers up or rename one"));
        }
        if self.campaigns.iter().any(|campaign| campaign.name.is_empty()) {
            return wrong("a campaign has no name; write it like spring=700".to_owned());
        }
        match self.campaigns.iter().find(|campaign| campaign.per_week > CONVERSIONS_MAX) {
            Some(Campaign { name, .. }) => wrong(format!(
                "more than {CONVERSIONS_MAX} conversions a week are expected of {name:?}; correct it"
            )),
            None => Ok(()),
        }
    }
}

/// Reads a list of campaigns: CSV with the columns `campaign`, `conversions` and, if values are planned, `value`, what
/// a conversion is worth on average. The numbers are those of `periods` to the week. An error names the line.
pub fn read_campaigns(csv: &[u8], periods: u64) -> Result<Vec<Campaign>, PlanError> {
    let wrong = |reason: String| PlanError::new(About::Campaigns, reason);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(csv);
    let head = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
    let column = |name: &str| head.iter().position(|title| title == name);
    let (Some(names), Some(counts)) = (column("campaign"), column("conversions")) else {
        return Err(wrong(
            "the first line must name the columns campaign, conversions and, for values, value".to_owned(),
        ));
    };
    let values = column("value");
    let mut campaigns = Vec::new();
    for record in reader.records() {
        // Says the line itself.
        let record = record.map_err(|error| wrong(error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let count = cell(counts);
        let conversions: u64 = count.parse().map_err(|_| {
            wrong(format!(
                "line {line}: conversions is {count:?}; write a whole number below 2^64, such as 700"
            ))
        })?;
        let average_value = match values.map(cell).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                Some(text.parse::<Amount>().map_err(|error| wrong(format!("line {line}: value: {error}")))?)
            }
        };
        let per_week = conversions.saturating_mul(periods);
        campaigns.push(Campaign { name: cell(names).to_owned(), per_week, average_value });
        if campaigns.len() > CAMPAIGNS_MAX {
            return Err(wrong(format!(
                "line {line}: a task has at most {CAMPAIGNS_MAX} campaigns; merge some"
            )));
        }
    }
    Ok(campaigns)
}
