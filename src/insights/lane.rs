//! The numbers of one task in the range of a query, and sums over them.

use std::ops::Range;

use super::facts::{TaskFacts, Window};
use super::noises::Draws;
use super::period::Periods;

/// The windows of one task in a query's range.
pub(super) struct Lane<'a> {
    pub(super) task: &'a TaskFacts,
    /// Minor units that are 1 in a cell; 1 for counts.
    pub(super) unit: u64,
    /// The place of `windows[0]` among those of the task.
    first: usize,
    /// Those that share a time with the range.
    pub(super) windows: &'a [Window],
    /// For each period, which of them lie in it whole.
    pub(super) in_period: Vec<Range<usize>>,
    /// For each, the days that it shares a time with, as places.
    pub(super) days: Vec<Range<usize>>,
    /// Of values: where among the windows of its conversions each has its own; nothing for a release whose conversions are not there.
    pub(super) follows: Vec<Option<usize>>,
    /// Which can be summed: those of counts, and values with their conversions.
    pub(super) usable: Mask,
    /// Which are usable and of whole days, see [`super::days`].
    pub(super) whole: Mask,
}

/// Which windows are wanted, so that a piece in which all or none are is seen at once.
#[derive(Default)]
pub(super) struct Mask {
    flags: Vec<bool>,
    /// How many are set before each place.
    before: Vec<usize>,
}

impl Mask {
    pub(super) fn new(flags: Vec<bool>) -> Self {
        let mut before = Vec::with_capacity(flags.len() + 1);
        before.push(0);
        let mut count = 0;
        for flag in &flags {
            count += usize::from(*flag);
            before.push(count);
        }
        Self { flags, before }
    }

    fn count(&self, range: &Range<usize>) -> usize {
        self.before[range.end] - self.before[range.start]
    }

    pub(super) fn has(&self, place: usize) -> bool {
        self.flags[place]
    }
}

/// A sum on its way: what it is, what is in it, and what it is off by.
#[derive(Default)]
pub(super) struct Total {
    /// In units of 1: units of values are multiplied in.
    pub(super) sum: i128,
    pub(super) draws: Draws,
    /// The largest threshold of its releases.
    pub(super) threshold: u64,
    /// Numbers in it.
    pub(super) cells: u64,
}

impl Total {
    pub(super) fn clear(&mut self) {
        self.draws.clear();
        (self.sum, self.threshold, self.cells) = (0, 0, 0);
    }
}

impl<'a> Lane<'a> {
    /// `conversions` is the lane that a lane of values follows.
    pub(super) fn new(
        task: &'a TaskFacts,
        unit: u64,
        periods: &Periods,
        conversions: Option<&TaskFacts>,
    ) -> Self {
        let time = periods.time();
        let range = task.overlapping(time.start, time.end);
        let first = range.start;
        let windows = &task.windows()[range];
        let in_period = periods.periods.iter().map(|period| {
            let start = windows.partition_point(|window| window.from < period.from);
            let end = windows.partition_point(|window| window.to <= period.to);
            start..end.max(start)
        });
        let days = windows.iter().map(|window| {
            let start = periods.days.partition_point(|day| day.to <= window.from);
            start..periods.days.partition_point(|day| day.from < window.to)
        });
        let follows: Vec<Option<usize>> = match conversions {
            None => Vec::new(),
            Some(counts) => windows.iter().map(|window| followed(window, counts)).collect(),
        };
        let usable = match conversions {
            None => vec![true; windows.len()],
            Some(_) => follows.iter().map(Option::is_some).collect(),
        };
        Self {
            unit,
            first,
            in_period: in_period.collect(),
            days: days.collect(),
            follows,
            usable: Mask::new(usable),
            whole: Mask::default(),
            task,
            windows,
        }
    }

    /// The first window that ends after a second.
    pub(super) fn after(&self, second: u64) -> usize {
        self.windows.partition_point(|window| window.to <= second)
    }

    /// The first window that begins at a second or after it.
    pub(super) fn from(&self, second: u64) -> usize {
        self.windows.partition_point(|window| window.from < second)
    }

    /// The first window of which no day is before a day.
    pub(super) fn on_or_after(&self, day: usize) -> usize {
        self.days.partition_point(|days| days.start < day)
    }

    /// The first window of which a day is not before a day.
    pub(super) fn reaching(&self, day: usize) -> usize {
        self.days.partition_point(|days| days.end <= day)
    }

    /// Whether windows that can be summed cover some time.
    pub(super) fn covers(&self, from: u64, to: u64) -> bool {
        let mut covered = from;
        for place in self.after(from)..self.from(to) {
            let window = &self.windows[place];
            if window.from > covered || !self.usable.has(place) {
                return false;
            }
            covered = window.to;
        }
        covered >= to
    }

    /// The most that the reports of some windows can add up to, in units of 1.
    pub(super) fn most(&self, range: Range<usize>) -> u128 {
        let most = |window: &Window| {
            let of_report = self.task.terms()[window.terms].max_of_report;
            u128::from(window.reports) * u128::from(of_report)
        };
        let sum = self.windows[range].iter().map(most).fold(0, u128::saturating_add);
        sum.saturating_mul(self.unit.into())
    }

    /// Adds a bucket's numbers of some windows, of those that a mask has, to a sum.
    pub(super) fn add(&self, bucket: u32, range: Range<usize>, mask: &Mask, total: &mut Total) {
        let count = mask.count(&range);
        let Some(column) = self.task.column(bucket).filter(|_| count > 0) else { return };
        let cells = &column[self.first + range.start..self.first + range.end];
        let sum: i128 = if count == cells.len() {
            cells.iter().map(|cell| i128::from(*cell)).sum()
        } else {
            let flags = &mask.flags[range.clone()];
            cells.iter().zip(flags).filter(|(_, wanted)| **wanted).map(|(cell, _)| i128::from(*cell)).sum()
        };
        total.sum = total.sum.saturating_add(sum.saturating_mul(self.unit.into()));
        let wanted = range.filter(|place| mask.has(*place)).map(|place| &self.windows[place]);
        self.note(wanted, count, total);
    }

    /// Adds a bucket's conversions that the values of some windows follow; `self` is the lane of conversions.
    pub(super) fn add_followed(
        &self,
        bucket: u32,
        values: &Lane<'_>,
        range: Range<usize>,
        mask: &Mask,
        total: &mut Total,
    ) {
        let Some(column) = self.task.column(bucket).filter(|_| mask.count(&range) > 0) else { return };
        let places = || range.clone().filter(|place| mask.has(*place)).filter_map(|at| values.follows[at]);
        let sum: i128 = places().filter_map(|at| column.get(at)).map(|cell| i128::from(*cell)).sum();
        total.sum = total.sum.saturating_add(sum);
        let windows = places().filter_map(|at| self.task.windows().get(at));
        self.note(windows, mask.count(&range), total);
    }

    /// What some windows bring along beside their numbers.
    fn note<'w>(&self, windows: impl Iterator<Item = &'w Window>, count: usize, total: &mut Total) {
        let terms = self.task.terms();
        let mut add = |terms: &super::facts::Terms, cells: u64| {
            let scale = (terms.scale.numerator(), terms.scale.denominator());
            total.draws.add(scale, self.unit, cells);
            total.threshold = total.threshold.max(terms.threshold);
            total.cells += cells;
        };
        if let [only] = terms {
            return add(only, count as u64);
        }
        windows.for_each(|window| add(&terms[window.terms], 1));
    }
}

/// Where the release is whose conversions a release of values follows: that of the same window, and the very one that it names.
fn followed(window: &Window, counts: &TaskFacts) -> Option<usize> {
    let at = counts.windows().partition_point(|other| other.from < window.from);
    let found = counts.windows().get(at)?;
    let same = (found.from, found.to) == (window.from, window.to);
    (same && Some(found.sequence) == window.conversions).then_some(at)
}
