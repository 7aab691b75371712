//! All noised cells in memory, laid out for sums.
//!
//! Of each task: its windows in the order of time, and for each bucket one column with a number for each window. The numbers of a
//! campaign in a range are then next to each other, and a query is a walk over a few pieces of contiguous memory: that of one
//! campaign touches what it needs and nothing else, and that of all campaigns touches every column once. `benches/insights.rs`
//! measures both layouts: one campaign takes a tenth of what it takes by window, all campaigns a fifth less or more, by how long
//! the range is.
//!
//! A cell takes 8 bytes, and a window 64 more; a million cells are 8 MB. After the store was opened columns are as long as
//! their content; what is released later lets them grow by doubling, so never above 16 bytes a cell. The cells of the store are of
//! 128 bits, but no window of a task that anybody would run comes near 63: a release that does is left out and told.
//!
//! Facts hold suppressed numbers, as the store does. They are noised, so no privacy rests on keeping them from a reader;
//! still they have no `Debug`, and nothing but [`super::answer`] reads them.

use std::collections::HashMap;
use std::ops::Range;

use arras_protocol::messages::TaskId;

use crate::privacy::noise::Scale;

/// A release as it is put in.
pub struct Entry<'a> {
    /// The task.
    pub task: TaskId,
    /// The window in POSIX seconds, its end excluded.
    pub window: Range<u64>,
    /// The release's number.
    pub sequence: u64,
    /// How many reports it holds.
    pub reports: u64,
    /// Of values: the number of the release whose conversions they follow.
    pub conversions: Option<u64>,
    /// What its numbers are off by.
    pub terms: Terms,
    /// All its cells, one a bucket.
    pub cells: &'a [i128],
}

/// What the numbers of a release are off by; few of a task are different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The scale of each aggregator's noise.
    pub scale: Scale,
    /// The smallest noised count that the release shows.
    pub threshold: u64,
    /// By how much one report can raise a cell.
    pub max_of_report: u64,
}

/// Why a release cannot be added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactError {
    /// It has another number of buckets than others of its task.
    #[error("it has another number of buckets than the releases of its task before")]
    Buckets,
    /// Its window shares a time with another one.
    #[error("its window shares a time with that of another release of the task")]
    Overlap,
    /// A cell beyond 63 bits.
    #[error("it has a number of more than 63 bits")]
    TooLarge,
}

/// The noised cells of every task.
#[derive(Default)]
pub struct Facts {
    tasks: HashMap<TaskId, TaskFacts>,
}

/// One window of a task.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) sequence: u64,
    pub(super) reports: u64,
    /// Into [`TaskFacts::terms`].
    pub(super) terms: usize,
    pub(super) conversions: Option<u64>,
}

/// The noised cells of one task.
#[derive(Default)]
pub(super) struct TaskFacts {
    /// In the order of time, apart from each other.
    windows: Vec<Window>,
    /// By bucket, then by window.
    columns: Vec<Vec<i64>>,
    terms: Vec<Terms>,
}

impl Facts {
    /// Puts a release in.
    ///
    /// # Errors
    /// If it does not go with what is there. Nothing is changed then.
    pub fn insert(&mut self, entry: &Entry<'_>) -> Result<(), FactError> {
        let cells: Option<Vec<i64>> = entry.cells.iter().map(|cell| i64::try_from(*cell).ok()).collect();
        let cells = cells.ok_or(FactError::TooLarge)?;
        let Some(task) = self.tasks.get_mut(&entry.task) else {
            let mut task = TaskFacts { columns: vec![Vec::new(); cells.len()], ..TaskFacts::default() };
            task.insert(entry, &cells)?;
            self.tasks.insert(entry.task, task);
            return Ok(());
        };
        task.insert(entry, &cells)
    }

    /// Gives back what growing has left over.
    pub fn shrink(&mut self) {
        for task in self.tasks.values_mut() {
            task.windows.shrink_to_fit();
            task.columns.iter_mut().for_each(Vec::shrink_to_fit);
        }
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.tasks.values().map(|task| task.windows.len() * task.columns.len()).sum()
    }

    pub(super) fn task(&self, id: TaskId) -> Option<&TaskFacts> {
        self.tasks.get(&id)
    }
}

impl TaskFacts {
    fn insert(&mut self, entry: &Entry<'_>, cells: &[i64]) -> Result<(), FactError> {
        if cells.len() != self.columns.len() {
            return Err(FactError::Buckets);
        }
        let Range { start: from, end: to } = entry.window;
        // Windows come mostly in order: the place is the end.
        let at = self.windows.partition_point(|window| window.to <= from);
        if from >= to || self.windows.get(at).is_some_and(|next| next.from < to) {
            return Err(FactError::Overlap);
        }
        let terms = self.terms.iter().position(|known| *known == entry.terms).unwrap_or_else(|| {
            self.terms.push(entry.terms.clone());
            self.terms.len() - 1
        });
        let Entry { sequence, reports, conversions, .. } = *entry;
        self.windows.insert(at, Window { from, to, sequence, reports, terms, conversions });
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.insert(at, *cell);
        }
        Ok(())
    }

    /// The windows that share a time with `from..to`, as places in [`TaskFacts::windows`].
    pub(super) fn overlapping(&self, from: u64, to: u64) -> Range<usize> {
        let first = self.windows.partition_point(|window| window.to <= from);
        let end = self.windows.partition_point(|window| window.from < to);
        first..end.max(first)
    }

    /// From where to where the windows reach that together cover `from..to`, if some do.
    pub(super) fn covering(&self, from: u64, to: u64) -> Option<Range<u64>> {
        let found = &self.windows[self.overlapping(from, to)];
        let (first, last) = (found.first()?, found.last()?);
        let whole = first.from <= from && to <= last.to;
        let apart = |pair: &[Window]| matches!(pair, [one, next] if one.to < next.from);
        (whole && !found.windows(2).any(apart)).then_some(first.from..last.to)
    }

    pub(super) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The numbers of a bucket, by window.
    pub(super) fn column(&self, bucket: u32) -> Option<&[i64]> {
        self.columns.get(usize::try_from(bucket).ok()?).map(Vec::as_slice)
    }

    pub(super) fn terms(&self) -> &[Terms] {
        &self.terms
    }

    pub(super) fn buckets(&self) -> usize {
        self.columns.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(window: Range<u64>, cells: &[i128]) -> Entry<'_> {
        let terms =
            Terms { scale: Scale::new(2, "1".parse().unwrap()).unwrap(), threshold: 40, max_of_report: 1 };
        let sequence = window.start + 1;
        Entry { task: TaskId::new([1; 32]), window, sequence, reports: 100, conversions: None, terms, cells }
    }

    #[test]
    fn windows_stand_in_the_order_of_time_whatever_order_they_come_in() {
        let mut facts = Facts::default();
        for start in [20, 0, 10, 40] {
            facts.insert(&entry(start..start + 10, &[i128::from(start), -i128::from(start)])).unwrap();
        }
        let task = facts.task(TaskId::new([1; 32])).unwrap();
        assert_eq!(task.column(0).unwrap(), [0, 10, 20, 40]);
        assert_eq!(task.column(1).unwrap(), [0, -10, -20, -40]);
        assert!(task.column(2).is_none());
        assert_eq!(task.windows().iter().map(|w| w.sequence).collect::<Vec<_>>(), [1, 11, 21, 41]);
        assert_eq!(task.overlapping(5, 25), 0..3);
        assert_eq!(task.overlapping(30, 40), 3..3);
        assert_eq!((task.covering(5, 25), task.covering(0, 30)), (Some(0..30), Some(0..30)));
        assert_eq!((task.covering(25, 45), task.covering(30, 40), task.covering(45, 60)), (None, None, None));
        assert_eq!((task.terms().len(), facts.cells()), (1, 8));
    }

    #[test]
    fn a_release_that_does_not_fit_changes_nothing() {
        let mut facts = Facts::default();
        facts.insert(&entry(10..20, &[1, 2])).unwrap();
        for (wrong, why) in [
            (entry(15..25, &[1, 2]), FactError::Overlap),
            (entry(5..11, &[1, 2]), FactError::Overlap),
            (entry(30..30, &[1, 2]), FactError::Overlap),
            (entry(20..30, &[1]), FactError::Buckets),
            (entry(20..30, &[1, i128::from(i64::MAX) + 1]), FactError::TooLarge),
        ] {
            assert_eq!(facts.insert(&wrong), Err(why));
        }
        assert_eq!(facts.cells(), 2);
    }
}
