//! Windows as an advertiser's calendar has them: hours, days from midnight to midnight, weeks from Monday, in the advertiser's
//! time zone.
//!
//! A day is as long as it is there: 23 or 25 hours when clocks change, and it begins with the first second that has its date,
//! which is not midnight where clocks skip it. Where clocks go back over midnight, the hour that comes twice belongs to the day
//! that had begun. Hours are counted from the start of a day, so that the hours of a day are exactly that day; where a day has
//! half an hour more or less (Lord Howe), its last window is the shorter for it.
//!
//! Boundaries are multiples of [`STEP_SECONDS`], the time precision of every task of an advertiser. All zones of the database
//! keep to that from 2020 on, which a test holds against it; a boundary of a zone that does not is moved back to the step before,
//! so that windows still follow each other without a gap.

use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::AmbiguousOffset;

use crate::collector::{Moment, Span};
use crate::registry::{Advertiser, Cadence, TimeZone};

/// Every boundary is a multiple of so many seconds since 1970: all offsets from UTC in use are quarters of an hour.
pub const STEP_SECONDS: u64 = 900;

const HOUR_SECONDS: u64 = 3_600;

/// The last boundary: windows end before the year 10000, as moments do. A multiple of [`STEP_SECONDS`].
const LAST_SECOND: u64 = 253_402_300_799 / STEP_SECONDS * STEP_SECONDS;

/// Days that follow each other, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DayRange {
    first: Date,
    last: Date,
}

impl DayRange {
    /// From `first` to `last`; `None` if it ends before it begins.
    pub fn new(first: Date, last: Date) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// A single day.
    pub fn day(day: Date) -> Self {
        Self { first: day, last: day }
    }

    /// The week, from Monday to Sunday, that a day is in.
    pub fn week_of(day: Date) -> Self {
        let since_monday = i64::from(day.weekday().to_monday_zero_offset());
        let monday = offset(day, -since_monday);
        Self { first: monday, last: offset(monday, 6) }
    }

    /// The first day.
    pub fn first(self) -> Date {
        self.first
    }

    /// The last day.
    pub fn last(self) -> Date {
        self.last
    }

    /// How many days; at least 1.
    pub fn days(self) -> u32 {
        let days = self.first.until(self.last).map_or(0, |span| span.get_days());
        u32::try_from(days).unwrap_or(0).saturating_add(1)
    }

    /// Whether a day is one of them.
    pub fn contains(self, day: Date) -> bool {
        self.first <= day && day <= self.last
    }

    /// The days, in order.
    pub fn iter(self) -> impl Iterator<Item = Date> {
        std::iter::successors(Some(self.first), |day| day.tomorrow().ok())
            .take_while(move |day| *day <= self.last)
    }

    /// From the start of the first day to the end of the last one in a time zone, in POSIX seconds.
    pub fn seconds(self, zone: &TimeZone) -> Range<u64> {
        let end = self.last.tomorrow().map_or(LAST_SECOND, |next| day_start(zone, next));
        day_start(zone, self.first)..end
    }
}

/// A day so many days later; the calendar's end if there is none.
fn offset(day: Date, days: i64) -> Date {
    day.saturating_add(jiff::Span::new().days(days))
}

/// When a day begins in a time zone: the first second that has its date, in POSIX seconds, a multiple of [`STEP_SECONDS`]. A day
/// that a zone skips begins where the next one does.
pub fn day_start(zone: &TimeZone, day: Date) -> u64 {
    let rules = zone.rules();
    let midnight = rules.to_ambiguous_timestamp(day.at(0, 0, 0, 0));
    let start = match midnight.offset() {
        // Read with the offset of afterwards, midnight lies before the gap: its end is the next change.
        AmbiguousOffset::Gap { after, .. } => after
            .to_timestamp(day.at(0, 0, 0, 0))
            .ok()
            .and_then(|before| rules.following(before).next().map(|change| change.timestamp())),
        _ => midnight.earlier().ok(),
    };
    // A date that is out of range is so at the end of the calendar only: dates before 1970 are seconds below 0.
    let seconds = start.map_or(if day.year() < 1970 { 0 } else { LAST_SECOND }, |start| {
        u64::try_from(start.as_second()).unwrap_or(0)
    });
    seconds.min(LAST_SECOND) / STEP_SECONDS * STEP_SECONDS
}

/// The day that a second belongs to, by [`day_start`].
pub fn day_at(zone: &TimeZone, second: u64) -> Date {
    let seconds = i64::try_from(second.min(LAST_SECOND)).unwrap_or(i64::MAX);
    let Ok(moment) = Timestamp::from_second(seconds) else { return Date::MAX };
    let mut day = zone.rules().to_datetime(moment).date();
    // Clocks that went back over midnight show the day before once more, and a boundary may have been moved to a step.
    while let Ok(next) = day.tomorrow() {
        if day_start(zone, next) > second {
            break;
        }
        day = next;
    }
    while day_start(zone, day) > second {
        let Ok(before) = day.yesterday() else { break };
        day = before;
    }
    day
}

/// The windows of an advertiser.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    cadence: Cadence,
}

impl Calendar {
    /// Of windows of a length in a time zone.
    pub fn new(zone: TimeZone, cadence: Cadence) -> Self {
        Self { zone, cadence }
    }

    /// Of an advertiser's windows.
    pub fn of(advertiser: &Advertiser) -> Self {
        Self::new(advertiser.time_zone.clone(), advertiser.cadence)
    }

    /// The time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The window that a second is in; `None` at the end of the calendar, in the year 9999.
    pub fn window_at(&self, second: u64) -> Option<Span> {
        let day = day_at(&self.zone, second);
        let range = match self.cadence {
            Cadence::Week => DayRange::week_of(day).seconds(&self.zone),
            Cadence::Day => DayRange::day(day).seconds(&self.zone),
            Cadence::Hour => {
                let day = DayRange::day(day).seconds(&self.zone);
                let hours = second.checked_sub(day.start)? / HOUR_SECONDS;
                let start = day.start + hours * HOUR_SECONDS;
                start..(start + HOUR_SECONDS).min(day.end)
            }
        };
        if !range.contains(&second) {
            return None;
        }
        Span::new(Moment::from_seconds(range.start).ok()?, Moment::from_seconds(range.end).ok()?).ok()
    }

    /// The windows that share a time with `from..to` (POSIX seconds), in order. They follow each other without gap or overlap.
    pub fn windows(&self, from: u64, to: u64) -> impl Iterator<Item = Span> {
        let first = if from < to { self.window_at(from) } else { None };
        std::iter::successors(first, |window| self.window_at(window.to().seconds()))
            .take_while(move |window| window.from().seconds() < to)
    }

    /// The days that a window is of: one, or the seven of a week.
    pub fn days_of(&self, window: Span) -> DayRange {
        let first = day_at(&self.zone, window.from().seconds());
        // A span is never empty.
        let last = day_at(&self.zone, window.to().seconds() - 1);
        DayRange { first, last: last.max(first) }
    }
}

#[cfg(test)]
mod tests;
