//! What can be asked.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::registry::{AdvertiserId, Cadence, CampaignId, EventKind, Touch};
use crate::store::StoreError;

/// Days that one query may cover: three years, one of them a leap year.
pub const QUERY_DAYS_MAX: usize = 1_096;

/// Days that are asked about unless something else is said, on pages and by programs: whole weeks, so that each weekday counts as often as
/// any other.
pub const QUERY_DAYS_DEFAULT: i64 = 28;

/// The last day that such a range ends with: yesterday, since today is not over and its numbers would be too small; where windows are
/// weeks the last Sunday, since a week that the range cuts has no number.
pub fn last_day(today: Date, cadence: Cadence) -> Date {
    let over = match cadence {
        Cadence::Hour | Cadence::Day => 1,
        Cadence::Week => i64::from(today.weekday().to_monday_zero_offset()) + 1,
    };
    today.saturating_sub(over.days())
}

/// Rows that one query may have: 1,000 campaigns on 90 days, and some more. Each has a dozen numbers.
pub const QUERY_ROWS_MAX: usize = 100_000;

/// What a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All campaigns together.
    Account,
    /// Each campaign.
    #[default]
    Campaign,
    /// Each kind of event, of all campaigns or of one.
    Event,
}

/// How long a row's period is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// A day in the advertiser's time zone.
    Day,
    /// Monday to Sunday there; the first and the last are cut to the range.
    Week,
    /// The whole range.
    #[default]
    Total,
}

/// A field of a row.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// How often ads were shown.
    Impressions,
    /// How often they were clicked.
    Clicks,
    /// What they cost.
    Spend,
    /// Clicks by impressions.
    Ctr,
    /// Spend by clicks.
    Cpc,
    /// Spend for 1,000 impressions.
    Cpm,
    /// How many conversions.
    Conversions,
    /// What they were worth.
    Value,
    /// Spend by conversions.
    Cpa,
    /// Value by spend.
    Roas,
}

impl Field {
    /// All of them, in the order of a table's columns.
    pub const ALL: [Self; 10] = [
        Self::Impressions,
        Self::Clicks,
        Self::Spend,
        Self::Ctr,
        Self::Cpc,
        Self::Cpm,
        Self::Conversions,
        Self::Value,
        Self::Cpa,
        Self::Roas,
    ];

    /// As in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Impressions => "impressions",
            Self::Clicks => "clicks",
            Self::Spend => "spend",
            Self::Ctr => "ctr",
            Self::Cpc => "cpc",
            Self::Cpm => "cpm",
            Self::Conversions => "conversions",
            Self::Value => "value",
            Self::Cpa => "cpa",
            Self::Roas => "roas",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldSet(u16);

impl FieldSet {
    /// All fields.
    pub const ALL: Self = Self((1 << Field::ALL.len()) - 1);

    /// Whether a field is in it.
    pub fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u16) != 0
    }

    /// Its fields, in the order of [`Field::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(move |field| self.has(*field))
    }
}

impl Default for FieldSet {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<Field> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        Self(fields.into_iter().fold(0, |set, field| set | (1 << field as u16)))
    }
}

impl FromStr for FieldSet {
    type Err = String;

    /// Names with commas between, as in `fields=`; nothing is all.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::ALL);
        }
        let field = |name: &str| {
            let known = Field::ALL.into_iter().find(|field| field.name() == name.trim());
            known.ok_or_else(|| {
                let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
                format!(
                    "there is no field {:?}; there are {}",
                    crate::text::shown(name.trim()),
                    names.join(", ")
                )
            })
        };
        text.split(',').map(field).collect()
    }
}

/// A question of an advertiser about its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Whose.
    pub advertiser: AdvertiserId,
    /// What a row is about.
    pub level: Level,
    /// The first day, in the advertiser's time zone.
    pub from: Date,
    /// The last day, included.
    pub to: Date,
    /// How long a row's period is.
    pub granularity: Granularity,
    /// Which fields to compute.
    pub fields: FieldSet,
    /// One campaign only.
    pub campaign: Option<CampaignId>,
    /// One kind of event only, instead of each campaign's goal.
    pub event: Option<EventKind>,
    /// Conversions after one kind of touch only; delivery numbers are those of both. Only of an advertiser whose touches are told
    /// apart.
    pub touch: Option<Touch>,
}

impl Query {
    /// All fields of all campaigns in the range, one row each.
    pub fn campaigns(advertiser: AdvertiserId, from: Date, to: Date) -> Self {
        Self {
            advertiser,
            level: Level::Campaign,
            from,
            to,
            granularity: Granularity::Total,
            fields: FieldSet::ALL,
            campaign: None,
            event: None,
            touch: None,
        }
    }
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// No such advertiser.
    #[error("there is no such advertiser")]
    UnknownAdvertiser,
    /// The advertiser has no such campaign.
    #[error("there is no such campaign; the list of campaigns has all of them")]
    UnknownCampaign,
    /// The last day is before the first.
    #[error("the range ends on {to}, before it begins on {from}; swap the two days")]
    Empty {
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
    },
    /// A day that cannot be a number of seconds since 1970.
    #[error("the range must lie within the years 1970 to 9998")]
    OutOfTime,
    /// Too many days.
    #[error("the range has more than {QUERY_DAYS_MAX} days; ask for a shorter one")]
    TooManyDays,
    /// Too many rows.
    #[error(
        "the answer would have {rows} rows and may have {QUERY_ROWS_MAX}; ask for fewer days, weeks instead of days, or one \
         campaign"
    )]
    TooManyRows {
        /// Rows.
        rows: usize,
    },
    /// Views and clicks are not told apart.
    #[error("this advertiser counts conversions after views and after clicks together; ask without `touch`")]
    TouchesTogether,
    /// The store failed.
    #[error("the collector's store failed: {0}")]
    Store(#[from] StoreError),
}

impl QueryError {
    /// Whether what was named does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::UnknownAdvertiser | Self::UnknownCampaign)
    }

    /// Whether it is no fault of whoever asked.
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Store(_))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_are_named_as_they_are_written() {
        let set: FieldSet = "spend, cpa".parse().unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Field::Spend, Field::Cpa]);
        assert_eq!("".parse(), Ok(FieldSet::ALL));
        let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
        assert_eq!(names.join(",").parse(), Ok(FieldSet::ALL));
        assert_eq!(FieldSet::ALL.iter().count(), Field::ALL.len());
        for field in Field::ALL {
            assert_eq!(serde_json::to_value(field).unwrap(), field.name());
        }
        let error = "spend,cost".parse::<FieldSet>().unwrap_err();
        assert!(error.contains("\"cost\"") && error.contains("roas"), "{error}");
    }
}
