//! Ranges of days and moments in queries.

use jiff::civil::Date;
use jiff::{Span, Timestamp};

use super::guard::Call;
use super::refusal::Refusal;
use crate::insights::QUERY_DAYS_MAX;
use crate::registry::Advertiser;
use crate::schedule::DayRange;

/// Days of a range whose beginning is not said.
const DAYS_DEFAULT: i64 = 28;

/// A range of days in an advertiser's time zone, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) from: Date,
    pub(super) to: Date,
}

impl Days {
    /// Takes `from` and `to` from a query. Without `to` it ends today, without `from` it has [`DAYS_DEFAULT`] days.
    pub(super) fn take(advertiser: &Advertiser, call: &mut Call) -> Result<Self, Refusal> {
        let expected = "a day, such as 2026-11-02";
        let to = match call.query.parse("to", expected)? {
            Some(to) => to,
            None => today(advertiser, call.now),
        };
        let from = match call.query.parse("from", expected)? {
            Some(from) => from,
            None => to.saturating_sub(Span::new().days(DAYS_DEFAULT - 1)),
        };
        if from > to {
            return Err(Refusal::invalid(format!("from: {from} is after {to}, the last day; swap the two")));
        }
        Ok(Self { from, to })
    }

    /// From the start of the first day to the end of the last, in POSIX seconds.
    pub(super) fn seconds(self, advertiser: &Advertiser) -> Result<std::ops::Range<u64>, Refusal> {
        // Checked when it was taken.
        let days = DayRange::new(self.from, self.to).ok_or_else(|| Refusal::invalid("from: is after to"))?;
        if days.days() as usize > QUERY_DAYS_MAX {
            return Err(Refusal::invalid(format!(
                "from: a range has at most {QUERY_DAYS_MAX} days; ask for a shorter one"
            )));
        }
        Ok(days.seconds(&advertiser.time_zone))
    }

    /// As parameters of a query.
    pub(super) fn parameters(self) -> Vec<(&'static str, String)> {
        vec![("from", self.from.to_string()), ("to", self.to.to_string())]
    }
}

/// The day that it is at an advertiser.
fn today(advertiser: &Advertiser, now: u64) -> Date {
    let now =
        i64::try_from(now).ok().and_then(|now| Timestamp::from_second(now).ok()).unwrap_or(Timestamp::MAX);
    now.to_zoned(advertiser.time_zone.rules().clone()).date()
}
