//! Days that are measured from their first to their last second: those whose spend may be compared with what it led to.
//!
//! A day is whole if for all of it a generation was open and all its windows that touch the day are released and lie in the row's
//! period, and if delivery numbers of any campaign are there for it. Which of them are known of one campaign,
//! [`super::spent`] says. Devices that have not heard of the next generation report to a closed one, for as long as its manifest
//! holds: until those windows are released, or are known to hold too few reports, the day is not whole either.

use std::ops::Range;

use super::answer::Part;
use super::lane::{Lane, Mask};
use super::period::{Day, Period, Periods};
use crate::registry::Generation;

/// Which days of a query are whole.
pub(super) struct WholeDays {
    /// By place.
    pub(super) whole: Vec<bool>,
    /// When the first window that touches the day begins, or the day, whichever is earlier. In order.
    starts: Vec<u64>,
    /// When the last window that touches the day ends, or the day, whichever is later. In order.
    ends: Vec<u64>,
}

impl WholeDays {
    /// Of windows of conversions or of values; `generations` has a lane for each that has any. `told` are the days with delivery numbers.
    pub(super) fn of(
        periods: &Periods,
        told: &[bool],
        generations: &[(&Generation, Option<&Lane<'_>>)],
    ) -> Self {
        let mut starts = Vec::with_capacity(periods.days.len());
        let mut ends = Vec::with_capacity(periods.days.len());
        let mut whole = Vec::with_capacity(periods.days.len());
        for (day, told) in periods.days.iter().zip(told) {
            let touching = |lane: &Lane<'_>| lane.windows.get(lane.after(day.from)).map(|first| first.from);
            let first = generations.iter().filter_map(|(_, lane)| touching((*lane)?)).min();
            starts.push(first.map_or(day.from, |from| from.min(day.from)));
            let reaching = |lane: &Lane<'_>| Some(lane.windows[..lane.from(day.to)].last()?.to);
            let last = generations.iter().filter_map(|(_, lane)| reaching((*lane)?)).max();
            ends.push(last.map_or(day.to, |to| to.max(day.to)));
            whole.push(*told && is_whole(day, &periods.periods[day.period], generations));
        }
        // A window cannot be divided: if a day of it is not whole, none is.
        let lanes = || generations.iter().filter_map(|(_, lane)| lane.as_ref());
        let longer: Vec<&Range<usize>> =
            lanes().flat_map(|lane| &lane.days).filter(|days| days.len() > 1).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for days in &longer {
                let days = &mut whole[(*days).clone()];
                if days.iter().any(|whole| !whole) && days.iter().any(|whole| *whole) {
                    days.fill(false);
                    changed = true;
                }
            }
        }
        Self { whole, starts, ends }
    }

    /// The first day of which no window begins before a second.
    pub(super) fn since(&self, second: u64) -> usize {
        self.starts.partition_point(|start| *start < second)
    }

    /// Those that a part is compared for: of which no window begins before it was counted, and of which its spend is known.
    pub(super) fn of_part(&self, part: &Part) -> Range<usize> {
        let start = self.since(part.since.max(part.spent.start));
        start..self.ends.partition_point(|end| *end <= part.spent.end).max(start)
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
