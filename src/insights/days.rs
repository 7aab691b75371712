//! Days that are measured from their first to their last second: those whose spend may be compared with what it led to.
//!
//! A day is whole if for all of it a generation was open and all its windows that touch the day are released and lie in the row's
//! period, and if it is not before the first or after the last day for which the account has delivery numbers: spend that is not
//! uploaded yet is not 0. Windows in which a closed generation takes the last reports of devices that have not heard of the next
//! one are not waited for: they hold few reports, and often too few to be released at all.

use std::ops::Range;

use super::lane::{Lane, Mask};
use super::period::{Day, Period, Periods};
use crate::registry::Generation;

/// Which days of a query are whole.
pub(super) struct WholeDays {
    /// By place.
    pub(super) whole: Vec<bool>,
    /// When the first window that touches the day begins, or the day, whichever is earlier. In order.
    starts: Vec<u64>,
}

impl WholeDays {
    /// Of windows of conversions or of values; `lanes` has one for each generation that has any. `delivered` are the days from the first
    /// to the last with delivery numbers.
    pub(super) fn of(
        periods: &Periods,
        delivered: &Range<usize>,
        generations: &[(&Generation, Option<&Lane<'_>>)],
    ) -> Self {
        let mut starts = Vec::with_capacity(periods.days.len());
        let mut whole = Vec::with_capacity(periods.days.len());
        for (place, day) in periods.days.iter().enumerate() {
            let touching = |lane: &Lane<'_>| lane.windows.get(lane.after(day.from)).map(|first| first.from);
            let first = generations.iter().filter_map(|(_, lane)| touching((*lane)?)).min();
            starts.push(first.map_or(day.from, |from| from.min(day.from)));
            whole
                .push(delivered.contains(&place) && is_whole(day, &periods.periods[day.period], generations));
        }
        Self { whole, starts }
    }

    /// The first day of which no window begins before a second.
    pub(super) fn since(&self, second: u64) -> usize {
        self.starts.partition_point(|start| *start < second)
    }

    /// How many days of a range are whole.
    pub(super) fn count(&self, days: Range<usize>) -> u32 {
        let count = self.whole.get(days).map_or(0, |days| days.iter().filter(|whole| **whole).count());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The windows of a lane of which all days are whole, and that lie in one period.
    pub(super) fn windows(&self, lane: &Lane<'_>, periods: &Periods) -> Mask {
        let flags = lane.days.iter().enumerate().map(|(at, days)| {
            let window = &lane.windows[at];
            let inside = periods
                .days
                .get(days.start)
                .is_some_and(|day| periods.periods[day.period].holds(window.from, window.to));
            lane.usable.has(at) && inside && self.whole[days.clone()].iter().all(|whole| *whole)
        });
        Mask::new(flags.collect())
    }
}

/// Whether windows that are released and lie in the period cover a day.
fn is_whole(day: &Day, period: &Period, generations: &[(&Generation, Option<&Lane<'_>>)]) -> bool {
    // All of the day before is covered.
    let mut at = day.from;
    for (generation, lane) in generations {
        let end = generation.closed.unwrap_or(u64::MAX).min(day.to);
        if end <= at {
            continue;
        }
        // Generations follow each other; nothing was counted before the first.
        let Some(lane) = lane.filter(|_| generation.opened <= at) else { return false };
        // Where one follows another within a day, the windows of both touch all of it.
        let mut covered = at;
        for (place, window) in lane.windows.iter().enumerate().skip(lane.after(at)) {
            if covered >= end {
                break;
            }
            if window.from > covered || !period.holds(window.from, window.to) || !lane.usable.has(place) {
                return false;
            }
            covered = window.to;
        }
        if covered < end {
            return false;
        }
        at = end;
    }
    at >= day.to
}
