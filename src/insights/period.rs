//! The days and periods of a query, as seconds.

use std::ops::Range;

use jiff::civil::Date;

use super::{Granularity, QUERY_DAYS_MAX, Query, QueryError};
use crate::registry::TimeZone;
use crate::schedule::DayRange;

/// The days of a query in order, and how they make periods.
pub(super) struct Periods {
    /// The days.
    pub(super) days: Vec<Day>,
    /// What rows are of.
    pub(super) periods: Vec<Period>,
}

/// A day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) date: Date,
    /// In POSIX seconds; its end is where the next day begins.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Which period it is in.
    pub(super) period: usize,
}

/// The time of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Period {
    /// As places in [`Periods::days`]; never empty.
    pub(super) days: Range<usize>,
    /// Both included.
    pub(super) dates: (Date, Date),
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Period {
    /// Whether a window lies in it whole.
    pub(super) fn holds(&self, from: u64, to: u64) -> bool {
        self.from <= from && to <= self.to
    }
}

impl Periods {
    pub(super) fn of(query: &Query, zone: &TimeZone) -> Result<Self, QueryError> {
        let (from, to) = (query.from, query.to);
        let Some(range) = DayRange::new(from, to) else { return Err(QueryError::Empty { from, to }) };
        // The last day of the calendar has no day after it.
        if from.year() < 1970 || to.year() > 9998 {
            return Err(QueryError::OutOfTime);
        }
        if usize::try_from(range.days()).is_ok_and(|days| days > QUERY_DAYS_MAX) {
            return Err(QueryError::TooManyDays);
        }
        let mut days = Vec::new();
        let mut periods: Vec<Period> = Vec::new();
        for (index, date) in range.iter().enumerate() {
            let Range { start: from, end: to } = DayRange::day(date).seconds(zone);
            let begins = match query.granularity {
                Granularity::Day => true,
                Granularity::Week => index == 0 || date.weekday().to_monday_zero_offset() == 0,
                Granularity::Total => index == 0,
            };
            match periods.last_mut().filter(|_| !begins) {
                Some(period) => {
                    period.days.end = index + 1;
                    period.dates.1 = date;
                    period.to = to;
                }
                None => periods.push(Period { days: index..index + 1, dates: (date, date), from, to }),
            }
            days.push(Day { date, from, to, period: periods.len() - 1 });
        }
        Ok(Self { days, periods })
    }

    /// The time of all of them.
    pub(super) fn time(&self) -> Range<u64> {
        let from = self.days.first().map_or(0, |day| day.from);
        from..self.days.last().map_or(from, |day| day.to)
    }

    /// The place of a date, if it is one of the days.
    pub(super) fn place(&self, date: Date) -> Option<usize> {
        self.days.binary_search_by_key(&date, |day| day.date).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::date;

    use super::*;
    use crate::registry::AdvertiserId;

    fn periods(from: Date, to: Date, granularity: Granularity, zone: &str) -> Result<Periods, QueryError> {
        let query = Query { granularity, ..Query::campaigns(AdvertiserId::from_bytes([1; 12]), from, to) };
        Periods::of(&query, &zone.parse().unwrap())
    }

    #[test]
    fn days_are_as_long_as_the_advertisers_clock_makes_them() {
        let found =
            periods(date(2026, 10, 24), date(2026, 10, 26), Granularity::Day, "Europe/Berlin").unwrap();
        let hours: Vec<_> = found.days.iter().map(|day| (day.to - day.from) / 3600).collect();
        assert_eq!(hours, [24, 25, 24]);
        assert_eq!(found.periods.len(), 3);
        assert_eq!(found.time(), found.days[0].from..found.days[2].to);
        assert_eq!(found.place(date(2026, 10, 25)), Some(1));
        assert_eq!(found.place(date(2026, 10, 27)), None);
    }

    #[test]
    fn weeks_begin_on_monday_and_are_cut_to_the_range() {
        // 2026-11-24 is a Tuesday.
        let found = periods(date(2026, 11, 12), date(2026, 11, 24), Granularity::Week, "UTC").unwrap();
        let dates: Vec<_> = found.periods.iter().map(|period| period.dates).collect();
        assert_eq!(
            dates,
            [
                (date(2026, 11, 12), date(2026, 11, 15)),
                (date(2026, 11, 16), date(2026, 11, 22)),
                (date(2026, 11, 23), date(2026, 11, 24)),
            ]
        );
        assert_eq!(found.periods.iter().map(|period| period.days.len()).sum::<usize>(), 13);
        let total = periods(date(2026, 11, 12), date(2026, 11, 24), Granularity::Total, "UTC").unwrap();
        assert_eq!((total.periods.len(), total.periods[0].days.len()), (1, 13));
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        let refused = |from, to| periods(from, to, Granularity::Day, "UTC").err().unwrap();
        assert!(matches!(refused(date(2026, 2, 2), date(2026, 2, 1)), QueryError::Empty { .. }));
        assert!(matches!(refused(date(1969, 12, 31), date(1970, 1, 1)), QueryError::OutOfTime));
        assert!(matches!(refused(date(2000, 1, 1), date(2020, 1, 1)), QueryError::TooManyDays));
        assert!(periods(date(2024, 1, 1), date(2026, 12, 31), Granularity::Day, "UTC").is_ok());
    }
}
