//! A noised number as an answer holds it: shown with how far off it can be, suppressed, or not there for a reason.

use serde::Serialize;

use crate::collector::{Told, told};
use crate::registry::Currency;

/// Decimals of prices behind those of their currency, and the steps of a minor unit that these make.
const PRICE_PLACES: u8 = 2;
pub(crate) const PRICE_STEPS: u32 = 100;

/// What the numbers of a [`Number`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Conversions.
    Count,
    /// Minor units of a currency.
    Money(Currency),
    /// Hundredths of minor units: of what one thing costs, which may be less than a minor unit.
    Price(Currency),
    /// Thousandths: 3412 is 3.412 of value for each of spend.
    Ratio,
}

impl Unit {
    /// Decimals that a number has in its major unit: 2 for EUR, 4 for a price in EUR, 0 for conversions, 3 for a ratio.
    pub fn decimals(self) -> u8 {
        match self {
            Self::Count => 0,
            Self::Money(currency) => currency.decimals(),
            Self::Price(currency) => currency.decimals() + PRICE_PLACES,
            Self::Ratio => 3,
        }
    }

    /// How many of its numbers are 1 where it is written as a plain number: conversions, minor units, or value for each of spend.
    pub fn steps(self) -> u32 {
        match self {
            Self::Count | Self::Money(_) => 1,
            Self::Price(_) => PRICE_STEPS,
            Self::Ratio => 1_000,
        }
    }

    /// A number of this unit as a decimal, without a name of the unit. Exact.
    pub fn decimal(self, number: i128) -> String {
        crate::registry::decimal_of(number.unsigned_abs(), number < 0, self.decimals())
    }
}

/// A number that is made of noised ones. All its numbers are whole ones of its [`Unit`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// The best guess. A count or a value is never clamped, so that sums of them stay unbiased: it may be below `low`, and below
    /// 0 where little or nothing is; `words` says how a reader is told. A cost or a ratio lies within its interval.
    pub estimate: i128,
    /// The truth is not below this but in one of 20 cases at most that it is outside of `low..=high`. That of a value is what devices
    /// counted of it, see [`super::Row::value`].
    pub low: u128,
    /// Nor above this.
    pub high: u128,
    /// The standard deviation of the noise in it, in its unit. A cost per conversion has none: it is divided by a noised
    /// number, and such quotients have no standard deviation.
    pub standard_error: Option<f64>,
    /// What the numbers are.
    pub unit: Unit,
}

impl Number {
    /// What a reader is told of it, as of every noised number.
    pub fn told(&self) -> Told {
        told(self.estimate, self.low, self.high)
    }
}

/// Why a number is suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Suppression {
    /// It is below the threshold, so that it could be noise alone.
    BelowThreshold,
    /// The conversions that it belongs to are suppressed.
    ConversionsSuppressed,
    /// Those of the days that are compared are, which are fewer than those of the row.
    ComparedDaysSuppressed,
}

impl Suppression {
    /// All of them.
    pub const ALL: [Self; 3] =
        [Self::BelowThreshold, Self::ConversionsSuppressed, Self::ComparedDaysSuppressed];

    /// As in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::BelowThreshold => "below_threshold",
            Self::ConversionsSuppressed => "conversions_suppressed",
            Self::ComparedDaysSuppressed => "compared_days_suppressed",
        }
    }

    /// What it means and what to do, for whoever reads the table.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::BelowThreshold => {
                "Too few to show: a number this small could be noise alone. It does not mean 0. A longer range, or a sum over \
                 campaigns, may be large enough."
            }
            Self::ConversionsSuppressed => {
                "The conversions that this belongs to are too few to show, so it is not shown either."
            }
            Self::ComparedDaysSuppressed => {
                "Cost and return are of days that are released whole and have delivery numbers. These are fewer than the days of the number \
                 beside it, and of them conversions are too few to show."
            }
        }
    }
}

/// Why there is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NullReason {
    /// The query did not ask for the field.
    NotAskedFor,
    /// The field does not exist at this level.
    NotAtThisLevel,
    /// Nothing was counted then: no task was there yet, or the campaign was not.
    NotMeasured,
    /// The campaign is over for so long that it has no place in the tasks of the range.
    NoLongerCounted,
    /// No task of the range counts this kind of event.
    EventNotCounted,
    /// No task of the range sums values.
    ValuesNotSummed,
    /// Nothing of the period is released.
    NotReleased,
    /// Windows are longer than the period, and a window cannot be divided.
    WindowsAreLonger,
    /// No delivery numbers were given for the days that are released, or nothing was spent.
    NoSpend,
    /// No whole day is both released and has delivery numbers.
    NoWholeDay,
    /// The conversions may be 0, so that the cost of one has no upper end.
    ConversionsMayBeNone,
    /// Amounts of different currencies cannot be added or divided.
    CurrenciesDiffer,
    /// The value of a conversion was counted in too many different steps for an interval to be known.
    UnitsDiffer,
}

impl NullReason {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::NotAskedFor,
        Self::NotAtThisLevel,
        Self::NotMeasured,
        Self::NoLongerCounted,
        Self::EventNotCounted,
        Self::ValuesNotSummed,
        Self::NotReleased,
        Self::WindowsAreLonger,
        Self::NoSpend,
        Self::NoWholeDay,
        Self::ConversionsMayBeNone,
        Self::CurrenciesDiffer,
        Self::UnitsDiffer,
    ];

    /// As in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAskedFor => "not_asked_for",
            Self::NotAtThisLevel => "not_at_this_level",
            Self::NotMeasured => "not_measured",
            Self::NoLongerCounted => "no_longer_counted",
            Self::EventNotCounted => "event_not_counted",
            Self::ValuesNotSummed => "values_not_summed",
            Self::NotReleased => "not_released",
            Self::WindowsAreLonger => "windows_are_longer",
            Self::NoSpend => "no_spend",
            Self::NoWholeDay => "no_whole_day",
            Self::ConversionsMayBeNone => "conversions_may_be_none",
            Self::CurrenciesDiffer => "currencies_differ",
            Self::UnitsDiffer => "units_differ",
        }
    }

    /// What it means and what to do, for whoever reads the table.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotAskedFor => "Not asked for: name it in `fields`.",
            Self::NotAtThisLevel => {
                "This is not told apart at this level; ask for the level of campaigns or the account."
            }
            Self::NotMeasured => {
                "Nothing was counted then: the campaign, or the measurement, was set up later. Ask for later days."
            }
            Self::NoLongerCounted => {
                "The campaign had been over for so long that it was not counted any more. Ask for earlier days."
            }
            Self::EventNotCounted => {
                "This kind of event was not counted then. Add it to the advertiser to count it from now on."
            }
            Self::ValuesNotSummed => "Values were not summed then. Turn them on to sum them from now on.",
            Self::NotReleased => {
                "Nothing of this period is released yet; see which windows are missing, and why."
            }
            Self::WindowsAreLonger => {
                "Numbers are released in windows that are longer than this period and cannot be divided. Ask for weeks, or \
                 for the whole range."
            }
            Self::NoSpend => "No spend was given for these days. Upload delivery numbers to see it.",
            Self::NoWholeDay => {
                "No whole day of this period is both released and has delivery numbers, and cost compares the two."
            }
            Self::ConversionsMayBeNone => {
                "There may have been no conversion at all, so what one cost has no upper end."
            }
            Self::CurrenciesDiffer => "The amounts are in different currencies and are not converted.",
            Self::UnitsDiffer => "Values were counted in too many different steps; ask for a shorter range.",
        }
    }
}

/// A noised number, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Shown.
    Shown(Number),
    /// There is a number, and it is too small to be told from noise.
    Suppressed {
        /// Why.
        reason: Suppression,
    },
    /// There is no number.
    Null {
        /// Why.
        reason: NullReason,
    },
}

impl Measure {
    /// The number, if it is shown.
    pub fn shown(&self) -> Option<&Number> {
        match self {
            Self::Shown(number) => Some(number),
            Self::Suppressed { .. } | Self::Null { .. } => None,
        }
    }

    /// None, for this reason.
    pub const fn null(reason: NullReason) -> Self {
        Self::Null { reason }
    }

    /// Suppressed, for this reason.
    pub const fn suppressed(reason: Suppression) -> Self {
        Self::Suppressed { reason }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reasons_have_names_of_their_own_and_a_sentence() {
        let names: Vec<_> = Suppression::ALL
            .iter()
            .map(|reason| (serde_json::to_value(reason).unwrap(), reason.name(), reason.sentence()))
            .chain(NullReason::ALL.iter().map(|r| (serde_json::to_value(r).unwrap(), r.name(), r.sentence())))
            .collect();
        for (at, (json, name, sentence)) in names.iter().enumerate() {
            assert_eq!(json, name);
            assert!(sentence.ends_with('.'), "{name}");
            assert!(names[..at].iter().all(|(_, other, said)| other != name && said != sentence), "{name}");
        }
    }

    #[test]
    fn numbers_are_written_in_their_unit() {
        let euro = "EUR".parse().unwrap();
        assert_eq!(Unit::Money(euro).decimal(-1_250), "-12.50");
        assert_eq!(
            (Unit::Ratio.decimal(3_412), Unit::Count.decimal(-3)),
            ("3.412".to_owned(), "-3".to_owned())
        );
    }
}
