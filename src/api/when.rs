//! Ranges of days and moments in queries.

use jiff::civil::Date;
use jiff::{Span, Timestamp};

use super::guard::Call;
use super::refusal::Refusal;
use crate::insights::{QUERY_DAYS_DEFAULT, QUERY_DAYS_MAX, last_day};
use crate::registry::Advertiser;
use crate::schedule::DayRange;

/// A range of days in an advertiser's time zone, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) from: Date,
    pub(super) to: Date,
}

impl Days {
    /// Takes `from` and `to` from a query. Without `to` it ends today, without `from` it has [`QUERY_DAYS_DEFAULT`] days.
    pub(super) fn take(advertiser: &Advertiser, call: &mut Call) -> Result<Self, Refusal> {
        let today = today(advertiser, call.now);
        Self::up_to(today, today, call)
    }

    /// The same of noised numbers: without `to` it ends with the last day that can have some, as pages do. Who asks `from` a later day on
    /// means until today.
    pub(super) fn take_numbers(advertiser: &Advertiser, call: &mut Call) -> Result<Self, Refusal> {
        let today = today(advertiser, call.now);
        Self::up_to(last_day(today, advertiser.cadence), today, call)
    }

    fn up_to(last: Date, today: Date, call: &mut Call) -> Result<Self, Refusal> {
        let expected = "a day, such as 2026-11-02";
        let to = call.query.parse("to", expected)?;
        let from = call.query.parse("from", expected)?;
        let (from, to) = completed(from, to, last, today);
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

/// What is not said of a range, of which days from `last` on are left out unless they are asked for.
fn completed(from: Option<Date>, to: Option<Date>, last: Date, today: Date) -> (Date, Date) {
    let to = to.unwrap_or_else(|| from.map_or(last, |from| if from > last { today } else { last }));
    let from = from.unwrap_or_else(|| to.saturating_sub(Span::new().days(QUERY_DAYS_DEFAULT - 1)));
    (from, to)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::console::range::{Range, RangeQuery};
    use crate::registry::Cadence;

    /// Programs were answered about a range that ends today, of which a part has no numbers, and about weeks that the range cut; pages
    /// were not.
    #[test]
    fn a_range_of_numbers_that_nobody_names_is_that_of_pages() {
        for cadence in [Cadence::Hour, Cadence::Day, Cadence::Week] {
            for today in (16..=30).map(|day| date(2026, 11, day)) {
                let range = completed(None, None, last_day(today, cadence), today);
                let page = Range::new(&RangeQuery::default(), today, cadence);
                assert_eq!(range, (page.from, page.to), "{cadence:?} {today}");
            }
        }
    }

    #[test]
    fn what_is_said_of_a_range_is_kept() {
        // The 24th is a Tuesday.
        let (today, sunday, day) = (date(2026, 11, 24), date(2026, 11, 22), |day| Some(date(2026, 11, day)));
        let of = |from, to| completed(from, to, sunday, today);
        assert_eq!(of(day(3), day(24)), (date(2026, 11, 3), today));
        assert_eq!(of(day(3), None), (date(2026, 11, 3), sunday));
        assert_eq!(of(day(23), None), (date(2026, 11, 23), today), "not before its beginning");
        assert_eq!(of(None, day(28)), (date(2026, 11, 1), date(2026, 11, 28)));
    }
}
