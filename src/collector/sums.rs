//! Sums of releases: over windows, and over campaigns.
//!
//! A sum is computed from all noised cells that it covers, also those that their releases suppress, and nothing is
//! clamped before: a sum of what is shown alone would be too large, because what noise made small is missing from it.
//! Its interval comes from the exact distribution of the noise of all these cells, not from adding their intervals,
//! which would be far too wide. It costs no budget, since it is made of numbers that are noised already.
//!
//! A sum has a threshold of its own. It keeps readers from taking noise for a result, and is no protection: two sums that
//! differ in one cell can be subtracted, which gives the noised number of that cell, suppressed or not. Privacy does
//! not rest on any threshold, it rests on the noise.

mod gaps;
mod gather;
mod total;

use serde::{Deserialize, Serialize};

pub(super) use self::gather::Wanted;
use crate::collector::release::{Cell, CellJson, Measured, ReadError, check};
use crate::collector::span::Span;

/// The version of the document's layout.
pub const SUM_VERSION: u32 = 1;

/// Windows that one sum may cover: a year of hours, and some more.
pub const SUM_WINDOWS_MAX: usize = 10_000;

/// Cells that one sum may read, its windows times the task's buckets: a year of hours of a hundred buckets, or 256 windows
/// of 4,096. Each is read with its release, some hundred bytes of JSON; beyond, a request would read for many seconds.
pub const SUM_CELLS_MAX: usize = 1 << 20;

/// Failures that are looked at to say which gaps somebody tried to collect.
const FAILURES_MAX: usize = 10_000;

/// Campaigns that may be named in one request: more than a histogram has buckets are none.
pub const SUM_CAMPAIGNS_MAX: usize = 4_096;

/// Why there is no sum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SumError {
    /// The range cuts a window, whose reports cannot be divided.
    #[error(
        "the range cuts the window from {window}, which is release {sequence}: a window is in a sum whole or not at all; \
         ask for a range that starts and ends where windows do"
    )]
    CutsWindow {
        /// The window.
        window: Span,
        /// Its release.
        sequence: u64,
    },
    /// No window of the range can be summed.
    #[error("there is nothing to add up from {range}: {why}")]
    Nothing {
        /// What was asked for.
        range: Span,
        /// What is in the way.
        why: String,
    },
    /// More windows than one sum may cover.
    #[error(
        "the range has more than {most} windows, which is what one sum of this task may cover; ask for a shorter one"
    )]
    TooMany {
        /// [`SUM_WINDOWS_MAX`], or fewer of a task of many buckets, see [`SUM_CELLS_MAX`].
        most: usize,
    },
    /// Too large to be signed.
    #[error(
        "the sum is larger than a signed document may be; ask for a shorter range, or for some campaigns only"
    )]
    TooLarge,
    /// Values that followed the conversions of one task in one window, and of another task in another.
    #[error(
        "the values follow the conversions that task {one} counts in some windows of the range, and those of task {other} \
         in that from {window}: ask for the windows before and from then on apart"
    )]
    OtherConversions {
        /// The task before.
        one: String,
        /// The task then.
        other: String,
        /// The first window in which it is another one.
        window: Span,
    },
    /// A campaign that no window of the range has.
    #[error("no release from {range} has the campaign {campaign:?}; it has: {known}")]
    UnknownCampaign {
        /// What was asked for.
        range: Span,
        /// The campaign.
        campaign: String,
        /// Those that there are.
        known: String,
    },
    /// A campaign that the task does not have, of a range without a release.
    #[error("the task has no campaign {campaign:?}; it has: {known}. And nothing was released from {range}")]
    NoSuchCampaign {
        /// What was asked for.
        range: Span,
        /// The campaign.
        campaign: String,
        /// Those of the task's file.
        known: String,
    },
    /// A campaign that is named twice, which would count it twice.
    #[error("the campaign {0:?} is named twice; name each once")]
    Repeated(String),
    /// A bucket that counts one campaign in one window, and another one in another.
    #[error(
        "bucket {bucket} is campaign {one:?} in some windows of the range and {other:?} in that from {window}: ask for \
         the windows before and from then on apart"
    )]
    OtherCampaign {
        /// The bucket.
        bucket: u32,
        /// The campaign before.
        one: String,
        /// The campaign then.
        other: String,
        /// The first window in which it is another one.
        window: Span,
    },
    /// A release whose policy makes no noise that is known.
    #[error(
        "release {0} has a policy whose noise cannot be computed; its file was changed or is another version's"
    )]
    Noise(u64),
}

/// A sum of releases of one task. Fields are in the order of the JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// The layout, [`SUM_VERSION`].
    pub version: u32,
    /// The task's id in unpadded base64url.
    pub task: String,
    /// The task's name, if it is text.
    pub name: Option<String>,
    /// What was measured; the unit of all numbers here.
    pub vdaf: Measured,
    /// Of a sum of values: the id of the task that counted their conversions, as the releases of the windows say. A value is shown if and only if the sum of
    /// those over the same windows and buckets is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversions: Option<String>,
    /// The range that was asked for.
    pub range: Span,
    /// The windows that the sum covers, each whole.
    pub windows: Vec<Covered>,
    /// The parts of the range that it does not cover. What happened then is not in it, and is not 0.
    pub gaps: Vec<Gap>,
    /// How many reports the windows hold. Exact.
    pub report_count: u64,
    /// How sure the intervals are: `"0.95"`.
    pub confidence: String,
    /// The noise: so many cells, with both aggregators' noise of the scale each, go into each bucket.
    pub noise: Vec<NoiseShare>,
    /// The collector's keys.
    pub keys: SumKeys,
    /// The numbers.
    pub rows: Vec<SumRow>,
}

/// A window in a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// Its release's number.
    pub sequence: u64,
    /// The window.
    pub window: Span,
}

/// A part of the range that is not in a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When.
    pub span: Span,
    /// Why.
    pub why: GapReason,
    /// The number of the release that cannot be summed, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
}

/// Why a part of a range is not in a sum. A closed set: what an aggregator said to a collector is for the collector's
/// administrator, and in a document that is handed out for ever there is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GapReason {
    /// There is no release of it, and it is not known that anybody asked for one.
    NotCollected,
    /// All of it was asked for, and there is no release of it.
    Failed,
    /// It is being collected.
    UnderWay,
    /// It is not over, to the task's time precision.
    NotOver,
    /// Its release is from before numbers were kept for sums.
    WithoutCells,
    /// The release of its values follows no release of conversions.
    WithoutConversions,
}

/// How many windows had noise of a scale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoiseShare {
    /// The scale of each aggregator's noise, `"numerator/denominator"` in lowest terms.
    pub scale: String,
    /// In how many of the windows.
    pub windows: u64,
}

/// Which key signs a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SumKeys {
    /// The thumbprint of the collector's signing key (RFC 7638).
    pub signing: String,
}

/// One number of a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SumRowJson", into = "SumRowJson")]
pub struct SumRow {
    /// The campaign, if it is of one.
    pub campaign: Option<String>,
    /// Whether it is what no campaign gets.
    pub not_attributed: bool,
    /// The buckets in it; several in the total.
    pub buckets: Vec<u32>,
    /// The smallest noised number that is shown here: the largest threshold of the releases, or, if that is more, what
    /// keeps the chance that any empty number is shown at or below one in a thousand, in a sum of all buckets of the task
    /// and of its campaigns together. It does not depend on which of them were asked for. For values it is one of
    /// conversions. A decimal string in JSON.
    pub threshold: u128,
    /// What it says.
    pub cell: Cell,
}

#[derive(Serialize, Deserialize)]
struct SumRowJson {
    campaign: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not_attributed: bool,
    buckets: Vec<u32>,
    threshold: String,
    #[serde(flatten)]
    cell: CellJson,
}

impl From<SumRow> for SumRowJson {
    fn from(row: SumRow) -> Self {
        let SumRow { campaign, not_attributed, buckets, threshold, cell } = row;
        Self { campaign, not_attributed, buckets, threshold: threshold.to_string(), cell: cell.into() }
    }
}

impl TryFrom<SumRowJson> for SumRow {
    type Error = String;

    fn try_from(json: SumRowJson) -> Result<Self, String> {
        let SumRowJson { campaign, not_attributed, buckets, threshold, cell } = json;
        let threshold = threshold.parse().map_err(|_| "a threshold is no decimal number".to_owned())?;
        Ok(Self { campaign, not_attributed, buckets, threshold, cell: cell.try_into()? })
    }
}

impl Sum {
    /// Reads a document.
    pub fn from_json(json: &[u8]) -> Result<Self, ReadError> {
        let sum: Self = serde_json::from_slice(json)?;
        if sum.version != SUM_VERSION {
            return Err(ReadError::Version(sum.version));
        }
        check::field("task", check::id(&sum.task))?;
        check::field("conversions", sum.conversions.as_deref().is_none_or(check::id))?;
        check::field("confidence", check::confidence(&sum.confidence))?;
        check::field("scale", sum.noise.iter().all(|share| check::scale(&share.scale)))?;
        check::field("signing", check::id(&sum.keys.signing))?;
        sum.rows.iter().try_for_each(|row| check::cell(&row.cell))?;
        Ok(sum)
    }

    /// The document, on one line: what is signed.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, whole numbers and lists of them always serialize.
        serde_json::to_vec(self).expect("strings and whole numbers always serialize")
    }
}

#[cfg(test)]
mod tests;
