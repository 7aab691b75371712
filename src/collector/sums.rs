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

mod gather;
mod total;

use serde::{Deserialize, Serialize};

pub(super) use self::gather::Wanted;
use crate::collector::release::{Cell, CellJson, Measured, ReadError};
use crate::collector::span::Span;

/// The version of the document's layout.
pub const SUM_VERSION: u32 = 1;

/// Windows that one sum may cover: a year of hours, and some more. Beyond, a request would read for seconds.
pub const SUM_WINDOWS_MAX: usize = 10_000;

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
    #[error("no window from {range} can be summed: {why}")]
    Nothing {
        /// What was asked for.
        range: Span,
        /// What is in the way.
        why: String,
    },
    /// More windows than one sum may cover.
    #[error("the range has more than {SUM_WINDOWS_MAX} windows; ask for a shorter one")]
    TooMany,
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
    /// Of a sum of values: the id of the task that counts their conversions. A value is shown if and only if the sum of
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
    pub why: String,
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
    /// The smallest noised number that is shown here: the largest threshold of the releases, or what keeps the chance
    /// that any empty number of this document is shown at one in a thousand, if that is more. For values it is one of
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
        if sum.version == SUM_VERSION { Ok(sum) } else { Err(ReadError::Version(sum.version)) }
    }

    /// The document, on one line: what is signed.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, whole numbers and lists of them always serialize.
        serde_json::to_vec(self).expect("strings and whole numbers always serialize")
    }
}

#[cfg(test)]
mod tests;
