//! Which windows a row covers, and why others are missing.

use std::ops::Range;
use std::sync::Arc;

use super::lane::Lane;
use super::period::Period;
use super::{Coverage, Missing, MissingWhy};
use crate::collector::{Moment, Span};
use crate::registry::{Advertiser, Generation};
use crate::schedule::Calendar;

/// A window of conversions that an advertiser's calendar has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The number of its generation.
    pub generation: u32,
    /// In POSIX seconds.
    pub from: u64,
    /// Excluded.
    pub to: u64,
    /// Why it is not released; `None` if it is.
    pub missing: Option<MissingWhy>,
}

/// The windows that a calendar has while each generation is open, where nothing is known of what becomes of them. Whether one is
/// released the facts say. A closed generation has windows for as long as devices may follow a manifest that names it: until they
/// have heard of the next one, they report to this.
pub(super) fn by_calendar(
    books: (&Advertiser, &[Arc<Generation>]),
    time: Range<u64>,
    now: u64,
) -> Vec<Listed> {
    let (advertiser, generations) = books;
    let calendar = Calendar::of(advertiser);
    let of = |generation: &Arc<Generation>| {
        let from = generation.opened.max(time.start);
        let to = generation.life_end().min(time.end);
        let number = generation.number;
        let windows: Vec<Span> = if from < to { calendar.windows(from, to).collect() } else { Vec::new() };
        windows.into_iter().map(move |window| {
            let (from, to) = (window.from().seconds(), window.to().seconds());
            let missing = if to > now { MissingWhy::Open } else { MissingWhy::NotReleased };
            Listed { generation: number, from, to, missing: Some(missing) }
        })
    };
    let mut listed: Vec<Listed> = generations.iter().flat_map(of).collect();
    listed.sort_by_key(|window| (window.from, window.generation));
    listed
}

/// What the coverage of a row follows from.
pub(super) struct Covering<'a> {
    /// In the order of their beginnings.
    pub(super) listed: &'a [Listed],
    /// The lane of conversions of a generation.
    pub(super) lane: &'a dyn Fn(u32) -> Option<&'a Lane<'a>>,
    /// That of values.
    pub(super) value: &'a dyn Fn(u32) -> Option<&'a Lane<'a>>,
    /// The oldest first.
    pub(super) generations: &'a [Arc<Generation>],
    /// Now, in POSIX seconds.
    pub(super) now: u64,
}

impl Covering<'_> {
    /// Windows, those that are released, and what is missing, of what some generations (by their places) count from `since` on. The
    /// days are left at 0.
    pub(super) fn coverage(&self, period: &Period, since: u64, counted: &Range<usize>) -> Coverage {
        let counted = self.generations.get(counted.clone()).unwrap_or_default();
        let of = |number: u32| counted.iter().find(|generation| generation.number == number);
        let mut coverage = Coverage::default();
        let mut missing: Vec<(Range<u64>, MissingWhy)> = Vec::new();
        let clip = |from: u64, to: u64| from.max(period.from)..to.min(period.to);
        // What is listed without a gap from the first window on.
        let (mut first, mut end) = (None, period.from);
        for window in self.listed.iter().filter(|window| window.to > since.max(period.from)) {
            if window.from >= period.to {
                break;
            }
            let Some(generation) = of(window.generation) else { continue };
            let late = is_late(window, generation);
            if late && (self.lane)(window.generation).is_none() {
                continue;
            }
            first = first.or(Some(window.from.max(period.from)));
            end = end.max(window.to);
            let whole = period.holds(window.from, window.to);
            let why = match self.released(window) {
                // Somebody may have collected several windows as one by hand.
                Some(by) if whole && period.holds(by.start, by.end) => {
                    coverage.windows += 1;
                    coverage.released += 1;
                    let value = (self.value)(window.generation);
                    let value = value.is_some_and(|lane| lane.covers(window.from, window.to));
                    coverage.value_released += u32::from(value);
                    continue;
                }
                Some(_) => MissingWhy::CutByPeriod,
                None if !whole => MissingWhy::CutByPeriod,
                None if late && window.missing == Some(MissingWhy::TooFewReports) => {
                    MissingWhy::LateReportsTooFew
                }
                // One that is released and not among the facts has a release that cannot be added up.
                None => window.missing.unwrap_or(MissingWhy::Unreadable),
            };
            // What is known to be too little is told, and not counted as if a window's numbers lacked.
            coverage.windows += u32::from(whole && why != MissingWhy::LateReportsTooFew);
            missing.push((clip(window.from, window.to), why));
        }
        let measured = first.unwrap_or(since.clamp(period.from, period.to));
        missing.push((period.from..measured, MissingWhy::NotMeasured));
        let over = counted.iter().map(|generation| generation.life_end()).max().unwrap_or(u64::MAX);
        let rest = end.max(measured)..period.to.min(over);
        let why = if rest.end > self.now { MissingWhy::Open } else { MissingWhy::NotReleased };
        missing.push((over.max(end).max(measured)..period.to, MissingWhy::NotMeasured));
        missing.push((rest, why));
        coverage.missing = united(missing);
        coverage
    }

    /// From where to where the releases reach that cover a window.
    fn released(&self, window: &Listed) -> Option<Range<u64>> {
        (self.lane)(window.generation)?.task.covering(window.from, window.to)
    }
}

/// Whether it is one of the windows in which a closed generation takes what devices still send to it. None are expected of one of which
/// nothing was ever released: while an advertiser sets up its campaigns, tasks follow each other before any device hears of them.
pub(super) fn is_late(window: &Listed, generation: &Generation) -> bool {
    generation.closed.is_some_and(|closed| closed <= window.from)
}

/// The time of windows in which reports that went to a closed generation are not in the numbers, though there may be many: those that are
/// not released for another reason than that they are too few. `lane` is that of a generation in which they would be; of
/// values, `counts` is that of its conversions, and of windows without those there are no values.
pub(super) fn awaited<'a>(
    books: (&'a [Listed], &'a [Arc<Generation>]),
    lane: impl Fn(usize) -> Option<&'a Lane<'a>>,
    counts: impl Fn(usize) -> Option<&'a Lane<'a>>,
) -> Vec<Range<u64>> {
    let (listed, generations) = books;
    let awaited = |window: &&Listed| {
        let place = generations.iter().position(|generation| generation.number == window.generation);
        let Some(place) = place.filter(|place| is_late(window, &generations[*place])) else { return false };
        let covers = |lane: Option<&Lane<'_>>| lane.is_some_and(|lane| lane.covers(window.from, window.to));
        let unheard = counts(place).is_none();
        let few = window.missing == Some(MissingWhy::TooFewReports) && !covers(counts(place));
        !unheard && !few && !covers(lane(place))
    };
    listed.iter().filter(awaited).map(|window| window.from..window.to).collect()
}

/// In order; what touches and has the same reason is one.
fn united(mut missing: Vec<(Range<u64>, MissingWhy)>) -> Vec<Missing> {
    missing.retain(|(range, _)| range.start < range.end);
    missing.sort_by_key(|(range, why)| (range.start, range.end, *why));
    let mut all: Vec<(Range<u64>, MissingWhy)> = Vec::new();
    for (range, why) in missing {
        match all.iter_mut().rev().take(2).find(|(last, other)| *other == why && range.start <= last.end) {
            Some((last, _)) => last.end = last.end.max(range.end),
            None => all.push((range, why)),
        }
    }
    let span = |(range, why): (Range<u64>, MissingWhy)| {
        let moment = |second| Moment::from_seconds(second).ok();
        let span = Span::new(moment(range.start)?, moment(range.end)?).ok()?;
        Some(Missing { span, why })
    };
    all.into_iter().filter_map(span).collect()
}
