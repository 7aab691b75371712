//! The release: what one collected batch says, once and for all.
//!
//! A release is a JSON document, signed by the collector. Its layout is stable: fields are added, never changed, and
//! a change that a reader could misunderstand raises [`RELEASE_VERSION`]. Numbers of buckets, which may exceed 2^53 and which
//! some JSON readers would then round, are decimal strings; so are decimals, which others would make binary floats.

pub(super) mod check;
mod draft;
mod head;

use std::num::NonZeroU32;

use arras_protocol::epsilon::{DisplayMicro, MicroEpsilon};
use arras_protocol::signed::SignError;
use arras_protocol::task::Profile;
use arras_protocol::vdaf::VdafConfig;
use serde::{Deserialize, Serialize};

pub(crate) use self::draft::CONFIDENCE;
pub use self::draft::{Draft, Published, ReleaseError};
pub(super) use self::draft::{EpochCharge, Issued, Opened};
pub(super) use self::head::Head;
use crate::collector::span::{Moment, Span};
use crate::privacy::ledger::{self, BudgetSource, EPOCH_SECONDS, LedgerError, SourceRules};
use crate::privacy::noise::{NoiseError, Scale};
use crate::tasks::provisioned::KnownTask;

/// The version of the document's layout.
pub const RELEASE_VERSION: u32 = 2;

/// The layout of releases that were made before releases were signed: one `noise_scale` for both aggregators, no `keys`,
/// no `conversions`, no `spent`. Still read.
const UNSIGNED_VERSION: u32 = 1;

/// A document that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Not a release.
    #[error("this is no release: {}", crate::text::printable(&.0.to_string()))]
    Json(#[from] serde_json::Error),
    /// A text that is not what the field is for.
    #[error("this is no release: its `{0}` is nothing that a collector of this version writes")]
    Field(&'static str),
    /// Not a signed release.
    #[error(transparent)]
    Signed(#[from] SignError),
    /// Another layout.
    #[error(
        "the release has layout {0}, this version reads {UNSIGNED_VERSION} and {RELEASE_VERSION}; use the version \
         that wrote it"
    )]
    Version(u32),
}

/// What one collected batch says. Fields are in the order of the JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The layout, [`RELEASE_VERSION`].
    pub version: u32,
    /// Numbers this collector's releases, from 1, in the order in which they were made.
    pub sequence: u64,
    /// The task's id in unpadded base64url.
    pub task: String,
    /// The task's name (`task_info`), if it is text.
    pub name: Option<String>,
    /// What was measured.
    pub vdaf: Measured,
    /// Of a release of values: the release of conversions that says which buckets are shown. Left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversions: Option<Conversions>,
    /// The window that was asked for; what the budget is charged for.
    pub window: Span,
    /// The smallest span that holds the times of all reports, to the task's time precision. Exact.
    pub reports: Span,
    /// How many reports the batch holds, attributed or not. Exact: noise does not cover it.
    pub report_count: u64,
    /// What the task promises to the people in it.
    pub policy: Policy,
    /// The scale of the noise that the policy asks each of the two aggregators to add to each bucket; a number here is
    /// then off by the sum of both. Nobody but the aggregator itself knows what it added: the collector computes this from
    /// its own copy of the policy, and sees the sum of both only.
    #[serde(alias = "noise_scale")]
    pub noise: NoiseScales,
    /// How sure the intervals are: `"0.95"`.
    pub confidence: String,
    /// What this release cost.
    pub charge: Charged,
    /// The leader's endpoint.
    pub leader: String,
    /// The helper's endpoint.
    pub helper: String,
    /// The keys that were used; left out of releases from before they were signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// One entry a bucket, in order.
    pub buckets: Vec<Bucket>,
}

/// What a task measures, as in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Measured {
    /// How many.
    Count {},
    /// How many in each bucket.
    Histogram {
        /// Buckets.
        length: u32,
    },
    /// The sum of a capped value in each bucket.
    L1BoundSum {
        /// Buckets.
        length: u32,
        /// The largest sum over the buckets of one report.
        max_value: u64,
    },
}

impl Measured {
    /// By how much one report can raise the sum of any of its buckets.
    pub(crate) fn max_of_report(self) -> u64 {
        match self {
            Self::Count {} | Self::Histogram { .. } => 1,
            Self::L1BoundSum { max_value, .. } => max_value,
        }
    }

    /// What a VDAF's configuration says, without what is a matter of speed.
    /// `None` for a VDAF that has no name in the document yet.
    pub fn of(vdaf: &VdafConfig) -> Option<Self> {
        match *vdaf {
            VdafConfig::Count => Some(Self::Count {}),
            VdafConfig::Histogram { length, .. } => Some(Self::Histogram { length }),
            VdafConfig::L1BoundSum { length, max_value, .. } => Some(Self::L1BoundSum { length, max_value }),
            _ => None,
        }
    }
}

/// The release of the conversions that a release of values belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversions {
    /// The id of the task that counts them.
    pub task: String,
    /// The release's number, at the same collector, of the same window. A bucket of the values is shown if and only if
    /// this release shows it.
    pub sequence: u64,
}

/// The scale of each aggregator's noise, exactly, as `"numerator/denominator"` in lowest terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "NoiseScalesJson")]
pub struct NoiseScales {
    /// The leader's.
    pub leader: String,
    /// The helper's.
    pub helper: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NoiseScalesJson {
    Each {
        leader: String,
        helper: String,
    },
    /// Layout 1.
    Both(String),
}

impl From<NoiseScalesJson> for NoiseScales {
    fn from(json: NoiseScalesJson) -> Self {
        match json {
            NoiseScalesJson::Each { leader, helper } => Self { leader, helper },
            NoiseScalesJson::Both(scale) => Self { leader: scale.clone(), helper: scale },
        }
    }
}

/// Names of keys. Those to which devices sealed their reports are the aggregators' and not known to a collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The thumbprint of the collector's signing key (RFC 7638).
    pub signing: String,
    /// The id of the collector's HPKE configuration to which both aggregators sealed their shares.
    pub collector_hpke: u8,
}

/// The privacy policy under which the batch was released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The distribution of the noise: `"discrete Laplace"`.
    pub mechanism: String,
    /// What the release of one batch spends for each report, as a decimal string.
    pub epsilon: MicroEpsilon,
    /// By how much the buckets together change if one report is replaced.
    pub sensitivity: u64,
    /// How many reports one device may send in any 7 days, however long windows are.
    pub contributions: NonZeroU32,
    /// The smallest noised count that is shown. Of a release of values it decides nothing: `conversions` does.
    pub threshold: u64,
    /// Whether the task itself carries the policy, so that parties which disagree cannot open each other's reports.
    /// `false` for plain DAP tasks: these are the collector's own terms then, and what the aggregators' operators have
    /// configured is not known here. Left out if true.
    #[serde(default = "bound", skip_serializing_if = "Clone::clone")]
    pub bound: bool,
}

/// Most policies are bound to their task.
fn bound() -> bool {
    true
}

impl Policy {
    pub(super) fn of(task: &KnownTask) -> Self {
        let policy = &task.policy;
        Self {
            bound: task.task.profile() == Profile::Arras,
            mechanism: policy.mechanism.name().to_owned(),
            epsilon: policy.epsilon,
            sensitivity: policy.sensitivity,
            contributions: policy.contributions,
            threshold: policy.threshold,
        }
    }

    /// The scale that it asks of each aggregator.
    pub(crate) fn scale(&self) -> Result<Scale, NoiseError> {
        Scale::new(self.sensitivity, self.epsilon)
    }

    /// What one release charges each epoch that it touches, in micro-epsilon.
    pub(super) fn micro_per_epoch(&self) -> u64 {
        ledger::cost(self.epsilon, self.contributions)
    }
}

/// What a release cost a budget source: contributions times epsilon for each epoch of 7 days that the
/// window touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charged {
    /// Whose budget.
    pub budget_source: String,
    /// What each of the epochs was charged, as a decimal string.
    pub epsilon_per_epoch: String,
    /// The epochs that were charged; `null` if this collector was not told when the source's epochs
    /// start (the aggregators, who keep the ledger, know).
    pub epochs: Option<Vec<ChargedEpoch>>,
}

/// An epoch that was charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargedEpoch {
    /// Counted from the source's first one, which is 0.
    pub epoch: u64,
    /// When it starts, in RFC 3339.
    pub start: String,
    /// The same in POSIX seconds.
    pub start_seconds: u64,
    /// What this collector's own releases, this one included, have charged the source in the epoch, as a decimal string.
    /// It is the collector's view: the ledgers are the aggregators', and hold what was spent without a release, and
    /// what others spent, too. Left out if unknown: also if any release of the source was made before this collector knew
    /// when its epochs start, or under another start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<String>,
}

impl Charged {
    /// The charge for a window. `epoch_start` (POSIX seconds) is when epoch 0 of the task's source starts.
    /// An error says why the aggregators' ledgers will refuse the window.
    pub fn of(task: &KnownTask, window: Span, epoch_start: Option<u64>) -> Result<Self, LedgerError> {
        let policy = &task.policy;
        let interval = window.from().seconds()..window.to().seconds();
        let per_epoch = Policy::of(task).micro_per_epoch();
        let charges = |epoch_start: u64| {
            let source = BudgetSource::new(&task.budget_source)?;
            // What a window touches does not depend on the cap, which is the aggregators' to know.
            let rules = SourceRules { epoch_start, cap: 0 };
            ledger::charges(&source, &rules, interval.clone(), policy.epsilon, policy.contributions)
        };
        let epoch = |epoch_start: u64, epoch: u64| {
            let start_seconds = epoch_start.saturating_add(epoch.saturating_mul(EPOCH_SECONDS));
            let start = Moment::from_seconds(start_seconds)
                .map_or_else(|_| start_seconds.to_string(), |m| m.to_string());
            ChargedEpoch { epoch, start, start_seconds, spent: None }
        };
        let epochs = match epoch_start {
            None => None,
            Some(start) => {
                Some(charges(start)?.into_iter().map(|charge| epoch(start, charge.epoch.0)).collect())
            }
        };
        Ok(Self {
            budget_source: task.budget_source.clone(),
            epsilon_per_epoch: DisplayMicro(per_epoch).to_string(),
            epochs,
        })
    }
}

/// One bucket: `{"bucket", "campaign", "shown": {...}}` or `{"bucket", "campaign", "suppressed": true}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BucketJson", into = "BucketJson")]
pub struct Bucket {
    /// Its index, from 0.
    pub bucket: u32,
    /// The campaign that it counts, if one has it.
    pub campaign: Option<String>,
    /// Whether it counts the conversions that no campaign gets: bucket 0 of a histogram with campaigns.
    /// In JSON `"not_attributed": true`, left out otherwise.
    pub not_attributed: bool,
    /// What it says.
    pub cell: Cell,
}

/// What a bucket says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A noised number.
    Shown(Estimate),
    /// Below the threshold. There is no number here, nor anywhere else in the document.
    Suppressed,
}

/// A noised number with how far off it can be, in units of the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number, never clamped, so that it stays unbiased: it may be negative where little or nothing is. What readers
    /// are shown then is in words. A decimal string.
    #[serde(with = "decimal")]
    pub estimate: i128,
    /// The standard deviation of the noise in it. A decimal string with three places.
    pub standard_error: String,
    /// The lower end of the interval, included, cut at 0. A decimal string.
    #[serde(with = "decimal")]
    pub low: u128,
    /// The upper end, included. A decimal string.
    #[serde(with = "decimal")]
    pub high: u128,
}

#[derive(Serialize, Deserialize)]
struct BucketJson {
    bucket: u32,
    campaign: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not_attributed: bool,
    #[serde(flatten)]
    cell: CellJson,
}

/// A cell as members of a JSON object: `"shown": {...}` or `"suppressed": true`.
#[derive(Serialize, Deserialize)]
pub(super) struct CellJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<Estimate>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    suppressed: bool,
}

impl From<Cell> for CellJson {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Shown(estimate) => Self { shown: Some(estimate), suppressed: false },
            Cell::Suppressed => Self { shown: None, suppressed: true },
        }
    }
}

impl TryFrom<CellJson> for Cell {
    type Error = String;

    fn try_from(json: CellJson) -> Result<Self, String> {
        match (json.shown, json.suppressed) {
            (Some(estimate), false) => Ok(Self::Shown(estimate)),
            (None, true) => Ok(Self::Suppressed),
            _ => Err("a number must be either shown or suppressed".to_owned()),
        }
    }
}

impl From<Bucket> for BucketJson {
    fn from(Bucket { bucket, campaign, not_attributed, cell }: Bucket) -> Self {
        Self { bucket, campaign, not_attributed, cell: cell.into() }
    }
}

impl TryFrom<BucketJson> for Bucket {
    type Error = String;

    fn try_from(json: BucketJson) -> Result<Self, String> {
        let BucketJson { bucket, campaign, not_attributed, cell } = json;
        let cell = cell.try_into().map_err(|error: String| format!("bucket {bucket}: {error}"))?;
        Ok(Self { bucket, campaign, not_attributed, cell })
    }
}

/// Integers as decimal strings.
mod decimal {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The task's name, if it is text.
pub(super) fn name(task: &KnownTask) -> Option<String> {
    std::str::from_utf8(task.task.configuration().task_info()).ok().map(str::to_owned)
}

/// The campaign of a bucket: the first has bucket 1.
pub(super) fn campaign(task: &KnownTask, bucket: u32) -> Option<&str> {
    let index = usize::try_from(bucket.checked_sub(1)?).ok()?;
    task.campaigns.get(index).map(String::as_str)
}

impl Release {
    /// Reads a document of this layout or the one before.
    pub fn from_json(json: &[u8]) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Layout {
            version: u32,
        }
        let Layout { version } = serde_json::from_slice(json)?;
        if !(UNSIGNED_VERSION..=RELEASE_VERSION).contains(&version) {
            return Err(ReadError::Version(version));
        }
        let release: Self = serde_json::from_slice(json)?;
        release.check()?;
        Ok(release)
    }

    /// The document, on one line: what is signed when the release is made. What is kept are those bytes, not this.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, whole numbers and lists of them always serialize.
        serde_json::to_vec(self).expect("strings and whole numbers always serialize")
    }

    /// Whether a bucket is shown.
    pub fn shows(&self, bucket: usize) -> bool {
        self.buckets.get(bucket).is_some_and(|bucket| matches!(bucket.cell, Cell::Shown(_)))
    }
}

#[cfg(test)]
mod tests;
