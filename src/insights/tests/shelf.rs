//! Facts, and the store that they are of.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arras_protocol::messages::{Interval, TaskId};

use super::super::facts::Facts;
use super::super::shelf::Shelf;
use crate::collector::fixture::{HISTOGRAM, HOUR, MONDAY, VALUES, draft, draft_following, known_task, span};
use crate::collector::{
    BeginError, Begun, Collection, CollectorDisk, CollectorStore, Draft, Published, Release, Span, Summed,
    WithCells,
};
use crate::store::{Damage, StoreError};
use crate::tasks::provisioned::KnownTask;

fn open(dir: &Path) -> Arc<CollectorDisk> {
    Arc::new(CollectorDisk::open(&dir.join("store"), &dir.join("mark")).unwrap())
}

fn day(number: u64) -> Span {
    span(MONDAY + number * 24 * HOUR, MONDAY + (number + 1) * 24 * HOUR)
}

fn release(store: &CollectorDisk, task: &KnownTask, day: Span, draft: Draft) -> Release {
    let interval = day.interval(task.task.configuration().time_precision).unwrap();
    store.begin(task.task.id(), interval, b"request", 0).unwrap();
    store.finish(task.task.id(), interval, draft).unwrap().into_release()
}

/// Conversions and their values.
fn two_tasks(dir: &Path) -> [KnownTask; 2] {
    [HISTOGRAM, VALUES].map(|vdaf| known_task(&dir.join("tasks"), "http://127.0.0.1:8/", vdaf))
}

/// A window, its release, the one that it follows, and the cells.
type Held = (u64, u64, u64, Option<u64>, Vec<i64>);

/// All that facts hold of a task.
fn held(facts: &Facts, task: &KnownTask) -> Vec<Held> {
    let Some(of) = facts.task(task.task.id()) else { return Vec::new() };
    let row = |at: usize| (0..5).map(|bucket| of.column(bucket).unwrap()[at]).collect();
    let windows = of.windows().iter().enumerate();
    windows.map(|(at, w)| (w.from, w.to, w.sequence, w.conversions, row(at))).collect()
}

#[test]
fn what_is_released_is_among_the_facts_suppressed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let shelf = Shelf::open(Arc::clone(&store) as _).unwrap();
    let [counts, values] = two_tasks(dir.path());
    // The second day is released before the first.
    for number in [1, 0] {
        let cells = [10, 20, -3, 400, i128::from(number)];
        let conversions = release(&store, &counts, day(number), draft(&counts, day(number), &cells));
        let following = draft_following(&values, day(number), &[1, -2, 3, -4, 5], Some(&conversions));
        release(&store, &values, day(number), following);
        assert_eq!(
            held(&shelf.facts(), &counts).len(),
            usize::from(number == 0),
            "not before it is refreshed"
        );
        shelf.refresh().unwrap();
    }
    let start = |number: u64| MONDAY + number * 24 * HOUR;
    let expected = |number: u64, sequence, cells: [i64; 5]| {
        (start(number), start(number + 1), sequence, None, cells.to_vec())
    };
    let counted = [expected(0, 3, [10, 20, -3, 400, 0]), expected(1, 1, [10, 20, -3, 400, 1])];
    assert_eq!(held(&shelf.facts(), &counts), counted);
    let of_values = held(&shelf.facts(), &values);
    assert_eq!(of_values.iter().map(|row| (row.2, row.3)).collect::<Vec<_>>(), [(4, Some(3)), (2, Some(1))]);
    assert_eq!(of_values[0].4, [1, -2, 3, -4, 5]);
    let terms = shelf.facts().task(values.task.id()).unwrap().terms().to_vec();
    assert_eq!((terms.len(), terms[0].max_of_report, terms[0].threshold), (1, 1_000, 40));
    assert_eq!(terms[0].scale, crate::privacy::noise::Scale::new(2_000, "1".parse().unwrap()).unwrap());
    // A restart reads the same.
    drop(shelf);
    drop(store);
    let again = Shelf::open(open(dir.path()) as _).unwrap();
    assert_eq!((held(&again.facts(), &counts), held(&again.facts(), &values)), (counted.to_vec(), of_values));
}

/// What sums read of a release without its buckets is what the whole document says.
#[test]
fn a_release_is_the_same_with_and_without_its_buckets() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let [counts, values] = two_tasks(dir.path());
    let conversions = release(&store, &counts, day(0), draft(&counts, day(0), &[1, 2, 3, 4, 500]));
    release(&store, &values, day(0), draft_following(&values, day(0), &[9, 8, 7, 6, 5], Some(&conversions)));
    assert_eq!(store.last_sequence().unwrap(), 2);
    for sequence in 1..=2 {
        let (published, cells) = store.with_cells(sequence).unwrap().unwrap();
        let (whole, short) = (published.into_release(), store.summed(sequence).unwrap().unwrap());
        assert_eq!(*short.cells, *cells);
        assert_eq!(
            (short.sequence, short.task.to_string(), short.window),
            (sequence, whole.task, whole.window)
        );
        assert_eq!(
            (short.report_count, short.vdaf, short.policy),
            (whole.report_count, whole.vdaf, whole.policy)
        );
        assert_eq!(short.conversions, whole.conversions.map(|conversions| conversions.sequence));
    }
    assert!(store.summed(3).unwrap().is_none() && store.summed(0).unwrap().is_none());
}

/// A store one of whose releases cannot be read.
struct Faulty {
    store: Arc<CollectorDisk>,
    sequence: AtomicU64,
    error: fn() -> StoreError,
}

impl CollectorStore for Faulty {
    fn begin(
        &self,
        task: TaskId,
        interval: Interval,
        request: &[u8],
        release_bytes: u64,
    ) -> Result<Begun, BeginError> {
        self.store.begin(task, interval, request, release_bytes)
    }
    fn set_location(&self, task: TaskId, interval: Interval, to: Option<&str>) -> Result<(), StoreError> {
        self.store.set_location(task, interval, to)
    }
    fn finish(&self, task: TaskId, interval: Interval, draft: Draft) -> Result<Published, StoreError> {
        self.store.finish(task, interval, draft)
    }
    fn fail(&self, task: TaskId, interval: Interval, reason: &str) -> Result<(), StoreError> {
        self.store.fail(task, interval, reason)
    }
    fn release(&self, sequence: u64) -> Result<Option<Published>, StoreError> {
        self.store.release(sequence)
    }
    fn with_cells(&self, sequence: u64) -> Result<Option<WithCells>, StoreError> {
        self.store.with_cells(sequence)
    }
    fn last_sequence(&self) -> Result<u64, StoreError> {
        self.store.last_sequence()
    }
    fn summed(&self, sequence: u64) -> Result<Option<Summed>, StoreError> {
        if sequence == self.sequence.load(Ordering::Relaxed) {
            Err((self.error)())
        } else {
            self.store.summed(sequence)
        }
    }
    fn collections(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Collection>, StoreError> {
        self.store.collections(task, after, limit)
    }
    fn charged(&self, source: &str) -> Result<Vec<(u64, u64)>, StoreError> {
        self.store.charged(source)
    }
    fn failures(&self, task: TaskId, limit: usize) -> Result<Vec<Collection>, StoreError> {
        self.store.failures(task, limit)
    }
}

#[test]
fn a_release_that_cannot_be_read_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let [counts, _] = two_tasks(dir.path());
    for number in 0..3 {
        release(&store, &counts, day(number), draft(&counts, day(number), &[1, 2, 3, 4, 5]));
    }
    let damaged = || StoreError::damaged("file", 0, Damage::Row);
    let faulty = |error| Arc::new(Faulty { store: Arc::clone(&store), sequence: AtomicU64::new(2), error });
    let shelf = Shelf::open(faulty(damaged) as _).unwrap();
    let sequences = |shelf: &Shelf| held(&shelf.facts(), &counts).iter().map(|row| row.2).collect::<Vec<_>>();
    assert_eq!(sequences(&shelf), [1, 3]);

    // What the disk refuses now it may give later: it is said, and asked for again.
    let refused = faulty(|| StoreError::Io {
        doing: "read",
        path: "file".into(),
        source: std::io::Error::other("not now"),
    });
    assert!(Shelf::open(Arc::clone(&refused) as _).is_err());
    refused.sequence.store(9, Ordering::Relaxed);
    let shelf = Shelf::open(Arc::clone(&refused) as _).unwrap();
    release(&store, &counts, day(7), draft(&counts, day(7), &[1, 2, 3, 4, 5]));
    refused.sequence.store(4, Ordering::Relaxed);
    assert!(shelf.refresh().is_err());
    assert_eq!(sequences(&shelf), [1, 2, 3]);
    refused.sequence.store(9, Ordering::Relaxed);
    shelf.refresh().unwrap();
    assert_eq!(sequences(&shelf), [1, 2, 3, 4]);
}
