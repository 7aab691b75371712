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
/// released the facts say. Windows in which a closed generation takes what devices still send to it are not among them: nobody
/// waits for those, see [`super::days`].
pub(super) fn by_calendar(
    books: (&Advertiser, &[Arc<Generation>]),
    time: Range<u64>,
    now: u64,
) -> Vec<Listed> {
    let (advertiser, generations) = books;
    let calendar = Calendar::of(advertiser);
    let of = |generation: &Arc<Generation>| {
        let from = generation.opened.max(time.start);
        let to = generation.closed.unwrap_or(u64::MAX).min(time.end);
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
    /// Now, in POSIX seconds.
    pub(super) now: u64,
}

impl Covering<'_> {
    /// Windows, those that are released, and what is missing, of what is counted from `since` on. The days are left at 0.
    pub(super) fn coverage(&self, period: &Period, since: u64) -> Coverage {
        let mut coverage = Coverage::default();
        let mut missing: Vec<(Range<u64>, MissingWhy)> = Vec::new();
        let clip = |from: u64, to: u64| from.max(period.from)..to.min(period.to);
        // What is listed without a gap from the first window on.
        let (mut first, mut end) = (None, period.from);
        for window in self.listed.iter().filter(|window| window.to > since.max(period.from)) {
            if window.from >= period.to {
                break;
            }
            first = first.or(Some(window.from.max(period.from)));
            end = end.max(window.to);
            let whole = period.holds(window.from, window.to);
            coverage.windows += u32::from(whole);
            let why = match self.released(window) {
                // Somebody may have collected several windows as one by hand.
                Some(by) if whole && period.holds(by.start, by.end) => {
                    coverage.released += 1;
                    continue;
                }
                Some(_) => MissingWhy::CutByPeriod,
                None if !whole => MissingWhy::CutByPeriod,
                // One that is released and not among the facts has a release that cannot be added up.
                None => window.missing.unwrap_or(MissingWhy::Unreadable),
            };
            missing.push((clip(window.from, window.to), why));
        }
        let measured = first.unwrap_or(since.clamp(period.from, period.to));
        missing.push((period.from..measured, MissingWhy::NotMeasured));
        let rest = end.max(measured)..period.to;
        let why = if rest.end > self.now { MissingWhy::Open } else { MissingWhy::NotReleased };
        missing.push((rest, why));
        coverage.missing = united(missing);
        coverage
    }

    /// From where to where the releases reach that cover a window.
    fn released(&self, window: &Listed) -> Option<Range<u64>> {
        (self.lane)(window.generation)?.task.covering(window.from, window.to)
    }
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
