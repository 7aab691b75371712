#![allow(clippy::unwrap_used)]

mod files;
mod room;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arras_protocol::messages::{Duration, Time};
use arras_protocol::signed::{self, DocumentType};

use super::*;
use crate::collector::fixture::{CELLS, HISTOGRAM, HOUR, MONDAY, draft, draft_charged, known_task, span};
use crate::collector::release::Cell;
use crate::collector::span::Span;
use crate::store::{Damage, Fault, Faults, FileOp};
use crate::tasks::provisioned::KnownTask;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

struct Place {
    dir: tempfile::TempDir,
    task: KnownTask,
}

impl Place {
    fn new() -> Self {
        Self::with(HISTOGRAM)
    }

    fn with(vdaf: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let task = known_task(&dir.path().join("tasks"), "http://127.0.0.1:8/", vdaf);
        Self { dir, task }
    }

    fn paths(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("store"), self.dir.path().join("mark"))
    }

    fn open(&self) -> CollectorDisk {
        let (dir, mark) = self.paths();
        CollectorDisk::open(&dir, &mark).unwrap()
    }

    fn id(&self) -> TaskId {
        self.task.task.id()
    }

    fn draft(&self, window: Span) -> Draft {
        draft(&self.task, window, &CELLS)
    }
}

fn hours(from: u64, to: u64) -> (Span, Interval) {
    let window = span(MONDAY + from * HOUR, MONDAY + to * HOUR);
    let start = MONDAY / HOUR + from;
    (window, Interval::new(Time(start), Duration(to - from)).unwrap())
}

fn under_way(request: &[u8], location: Option<&str>) -> Begun {
    Begun::UnderWay { request: request.to_vec(), location: location.map(str::to_owned) }
}

#[test]
fn each_step_is_there_after_reopening() {
    let place = Place::new();
    let id = place.id();
    let (window, interval) = hours(0, 24);

    assert_eq!(place.open().begin(id, interval, b"first", 0).unwrap(), under_way(b"first", None));
    // The bytes of the first time, whatever is given now.
    assert_eq!(place.open().begin(id, interval, b"second", 0).unwrap(), under_way(b"first", None));
    place.open().set_location(id, interval, Some("http://leader/job")).unwrap();
    assert_eq!(
        place.open().begin(id, interval, b"second", 0).unwrap(),
        under_way(b"first", Some("http://leader/job"))
    );
    place.open().set_location(id, interval, None).unwrap();
    assert_eq!(place.open().begin(id, interval, b"second", 0).unwrap(), under_way(b"first", None));

    let release = place.open().finish(id, interval, place.draft(window)).unwrap();
    assert_eq!(release.release().sequence, 1);
    let store = place.open();
    // The same bytes and the same signature, not only the same numbers.
    assert_eq!(store.release(1).unwrap(), Some(release.clone()));
    assert_eq!(store.with_cells(1).unwrap().unwrap().1[..], CELLS);
    assert_eq!(store.begin(id, interval, b"third", 0).unwrap(), Begun::Released(Box::new(release)));
    assert_eq!(store.release(0).unwrap(), None);
    assert_eq!(store.release(2).unwrap(), None);
}

#[test]
fn the_first_release_stays() {
    let place = Place::new();
    let store = place.open();
    let (window, interval) = hours(0, 24);
    store.begin(place.id(), interval, b"request", 0).unwrap();
    let first = store.finish(place.id(), interval, place.draft(window)).unwrap();
    let other = draft(&place.task, window, &[9999; 5]);
    assert_eq!(store.finish(place.id(), interval, other).unwrap(), first);
    // Neither a failure nor a location touches it.
    store.fail(place.id(), interval, "late").unwrap();
    store.set_location(place.id(), interval, Some("http://x/")).unwrap();
    assert_eq!(store.begin(place.id(), interval, b"x", 0).unwrap(), Begun::Released(Box::new(first)));
    assert_eq!(store.failures(place.id(), 10).unwrap(), []);
}

#[test]
fn windows_never_overlap() {
    let place = Place::new();
    let store = place.open();
    let id = place.id();
    let (released, released_interval) = hours(0, 24);
    store.begin(id, released_interval, b"a", 0).unwrap();
    let sequence = store.finish(id, released_interval, place.draft(released)).unwrap().release().sequence;
    let (_, open_interval) = hours(48, 72);
    store.begin(id, open_interval, b"b", 0).unwrap();

    for (from, to, with) in [
        (0, 23, 0),
        (1, 24, 0),
        (5, 6, 0),
        (23, 25, 0),
        (0, 48, 0),
        (47, 49, 48),
        (71, 100, 48),
        (24, 49, 48),
    ] {
        match store.begin(id, hours(from, to).1, b"c", 0).unwrap_err() {
            BeginError::Overlap(other) if with == 0 => {
                assert_eq!(
                    *other,
                    Collection { interval: released_interval, stage: Stage::Released { sequence } }
                );
            }
            BeginError::Overlap(other) => assert_eq!(other.interval, open_interval, "{from} {to}"),
            BeginError::Store(error) => panic!("{error}"),
        }
    }
    // Touching is not overlapping, and another task is another story.
    assert!(matches!(store.begin(id, hours(24, 48).1, b"d", 0).unwrap(), Begun::UnderWay { .. }));
    assert!(matches!(store.begin(id, hours(72, 73).1, b"e", 0).unwrap(), Begun::UnderWay { .. }));
    assert!(store.begin(TaskId::new([7; 32]), hours(0, 100).1, b"f", 0).is_ok());
    let starts = |after, limit| -> Vec<u64> {
        let page = store.collections(id, after, limit).unwrap();
        page.iter().map(|found| found.interval.start().0 - MONDAY / HOUR).collect()
    };
    assert_eq!(starts(0, 10), [0, 24, 48, 72]);
    assert_eq!(starts(0, 2), [0, 24]);
    assert_eq!(starts(MONDAY / HOUR + 48, 10), [48, 72]);
}

#[test]
fn a_failed_window_may_be_asked_for_again_or_overlapped() {
    let place = Place::new();
    let id = place.id();
    let (window, interval) = hours(0, 24);
    place.open().begin(id, interval, b"first", 0).unwrap();
    place.open().fail(id, interval, &"\u{1}too few".repeat(200)).unwrap();
    let store = place.open();
    let [Collection { stage: Stage::Failed { reason }, .. }] = &store.failures(id, 10).unwrap()[..] else {
        panic!("one failure")
    };
    assert_eq!(reason.chars().count(), REASON_CHARACTERS_MAX);
    assert_eq!(store.collections(id, 0, 10).unwrap(), []);
    assert!(store.finish(id, interval, place.draft(window)).is_err(), "it is not under way");
    assert_eq!(store.release(1).unwrap(), None);

    assert_eq!(store.begin(id, interval, b"second", 0).unwrap(), under_way(b"second", None));
    assert_eq!(store.failures(id, 10).unwrap(), []);
    assert_eq!(store.finish(id, interval, place.draft(window)).unwrap().release().sequence, 1);
    // A window that failed is no obstacle for one that overlaps it.
    let (longer, longer_interval) = hours(30, 60);
    store.begin(id, hours(24, 48).1, b"x", 0).unwrap();
    store.fail(id, hours(24, 48).1, "too few").unwrap();
    store.begin(id, longer_interval, b"y", 0).unwrap();
    assert_eq!(store.finish(id, longer_interval, place.draft(longer)).unwrap().release().sequence, 2);
}

#[test]
fn a_large_document_goes_to_the_spool() {
    let place = Place::with("{ type = \"histogram\", length = 4096 }");
    let (window, interval) = hours(0, 24);
    let store = place.open();
    store.begin(place.id(), interval, b"request", 0).unwrap();
    let cells: Vec<i128> = (0..4096).map(|i| 41 + i).collect();
    let release = store.finish(place.id(), interval, draft(&place.task, window, &cells)).unwrap();
    assert!(release.document().len() > MAX_VALUE_BYTES);
    drop(store);
    let store = place.open();
    assert!(store.spool.bytes() > release.document().len() as u64);
    assert_eq!(store.release(1).unwrap(), Some(release));
    assert_eq!(store.with_cells(1).unwrap().unwrap().1[..], cells);
    assert_eq!(store.with_cells(2).unwrap().map(|(_, cells)| cells.len()), None);
}

/// Cells below the threshold are in no document, signed or not; the store keeps them beside it, for sums.
#[test]
fn no_document_holds_a_suppressed_number() {
    for (vdaf, length) in [(HISTOGRAM, 5), ("{ type = \"histogram\", length = 64 }", 64)] {
        let place = Place::with(vdaf);
        let (window, interval) = hours(0, 24);
        let mut cells = vec![5_000_i128; length];
        cells[3] = -7_654_321;
        let store = place.open();
        store.begin(place.id(), interval, b"request", 0).unwrap();
        store.finish(place.id(), interval, draft(&place.task, window, &cells)).unwrap();
        drop(store);
        let store = place.open();
        let published = store.release(1).unwrap().unwrap();
        let text = String::from_utf8(published.document().to_vec()).unwrap();
        assert!(!text.contains("7654321") && text.contains("\"5000\""));
        assert_eq!(Published::from_signed(published.signed().unwrap().to_owned()).unwrap(), published);
        assert_eq!(store.with_cells(1).unwrap().unwrap().1[3], -7_654_321);
    }
}

/// A store as the version before left it: documents without signatures and cells, no rows of what was spent.
#[test]
fn a_store_from_before_releases_were_signed_goes_on() {
    let place = Place::new();
    let (_, interval) = hours(0, 24);
    let old = include_str!("../../release/golden_1.json").replacen("\"sequence\": 7", "\"sequence\": 1", 1);
    let store = place.open();
    let mut batch = StateBatch::default();
    let ended = Collection { interval, stage: Stage::Released { sequence: 1 } };
    batch
        .insert(&window_key(place.id(), interval.end().0), &WindowRecord::encode(&ended, 0).unwrap())
        .unwrap();
    batch.insert(&release_key(1), &[&[INLINE], old.as_bytes()].concat()).unwrap();
    batch.insert(SEQUENCE_KEY, &1_u64.to_be_bytes()).unwrap();
    let _receipt = store.state.lock().commit(batch).unwrap();
    drop(store);

    let store = place.open();
    let published = store.release(1).unwrap().unwrap();
    assert_eq!((published.document(), published.signed()), (old.as_bytes(), None));
    assert_eq!(store.begin(place.id(), interval, b"x", 0).unwrap(), Begun::Released(Box::new(published)));
    assert!(store.with_cells(1).unwrap().is_none(), "no sum covers it");
    drop(store);
    // The next release knows what the first one cost, and so does one after another restart.
    for (day, spent) in [(1, "4"), (2, "6")] {
        let store = place.open();
        let (window, interval) = hours(day * 24, day * 24 + 24);
        store.begin(place.id(), interval, b"request", 0).unwrap();
        let release = store.finish(place.id(), interval, place.draft(window)).unwrap().into_release();
        assert_eq!(release.charge.epochs.unwrap()[0].spent.as_deref(), Some(spent));
    }
}

/// A release said that its epoch had been charged for it alone, and was signed, although an earlier one of the same week was
/// there: made before the collector was told when epochs start, or under another start, it was in no row of that epoch.
#[test]
fn what_was_spent_is_not_told_while_some_of_it_cannot_be_counted() {
    let start = MONDAY - 21 * 24 * HOUR;
    let release = |place: &Place, day: u64, epoch_start| {
        let store = place.open();
        let (window, interval) = hours(day * 24, day * 24 + 24);
        store.begin(place.id(), interval, b"request", 0).unwrap();
        let draft = draft_charged(&place.task, window, &CELLS, None, epoch_start);
        let epochs = store.finish(place.id(), interval, draft).unwrap().into_release().charge.epochs;
        epochs.map(|epochs| epochs.iter().filter_map(|epoch| epoch.spent.clone()).collect::<Vec<_>>())
    };
    let all = |spent: &str| Some(vec![spent.to_owned()]);
    let nothing = Some(vec![]);
    let place = Place::new();
    assert_eq!(release(&place, 0, None), None);
    assert_eq!(release(&place, 1, Some(start)), nothing);
    assert_eq!(release(&place, 2, Some(start)), nothing);
    // A store of the version that did not look for this.
    let mut batch = StateBatch::default();
    batch.insert(b"s", &[]).unwrap();
    batch
        .remove(&[b"p", ring::digest::digest(&ring::digest::SHA256, b"shop.example").as_ref()].concat())
        .unwrap();
    let _receipt = place.open().state.lock().commit(batch).unwrap();
    assert_eq!(release(&place, 3, Some(start)), nothing);

    let place = Place::new();
    assert_eq!(release(&place, 0, Some(start)), all("2"));
    // Another first epoch, the same weeks.
    assert_eq!(release(&place, 1, Some(start + 7 * 24 * HOUR)), all("4"));
    assert_eq!(release(&place, 2, Some(start + 24 * HOUR)), nothing);
    assert_eq!(release(&place, 3, Some(start)), nothing);
}

/// Fails one file operation: the one with the given number.
struct FailOne {
    left: AtomicUsize,
    errno: i32,
}

impl FailOne {
    fn nth(n: usize, errno: i32) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(n), errno })
    }
}

impl Faults for FailOne {
    fn before(&self, _op: FileOp<'_>) -> Option<Fault> {
        let mut failing = false;
        let count = |left: usize| {
            failing = left == 1;
            Some(left.saturating_sub(1))
        };
        // Always Ok: the closure never returns None.
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        failing.then_some(Fault::Errno(self.errno))
    }
}

/// Runs a whole collection with one failing file operation, wherever it is, then opens the store without
/// faults: each step that said `Ok` is there, and the collection can be taken to its end, with the bytes of
/// the first time and one release only.
#[test]
fn whatever_fails_what_was_said_holds() {
    // The larger document goes through the spool.
    for (vdaf, errno) in [(HISTOGRAM, ENOSPC), ("{ type = \"histogram\", length = 64 }", EIO)] {
        let mut failed = 0;
        for n in 1.. {
            let place = Place::with(vdaf);
            // The first opening makes the store, so that the faults meet the collection.
            drop(place.open());
            let fault = FailOne::nth(n, errno);
            let faults: Arc<dyn Faults> = fault.clone();
            let progress = run_with(&place, &faults);
            if fault.left.load(Ordering::SeqCst) > 0 {
                // There were fewer operations than that: every one had its turn.
                assert_eq!(progress.released.unwrap().release().sequence, 1);
                break;
            }
            failed += 1;
            check_after(&place, &progress, n);
        }
        assert!(failed >= 6, "only {failed} operations were made to fail");
    }
}

#[derive(Default)]
struct Progress {
    begun: bool,
    located: bool,
    released: Option<Published>,
}

fn run_with(place: &Place, faults: &Arc<dyn Faults>) -> Progress {
    let mut progress = Progress::default();
    let (dir, mark) = place.paths();
    let (window, interval) = hours(0, 24);
    let cells: Vec<i128> = (0..place.task.task.vdaf().config().output_len()).map(|_| 4242).collect();
    let Ok(store) = CollectorDisk::open_on(&dir, &mark, Disk::with_faults(Arc::clone(faults))) else {
        return progress;
    };
    progress.begun = store.begin(place.id(), interval, b"first", 0).is_ok();
    if progress.begun {
        progress.located = store.set_location(place.id(), interval, Some("http://leader/job")).is_ok();
        let finished = store.finish(place.id(), interval, draft(&place.task, window, &cells));
        progress.released = finished.ok();
    }
    progress
}

fn check_after(place: &Place, progress: &Progress, n: usize) {
    let store = place.open();
    let (window, interval) = hours(0, 24);
    let cells: Vec<i128> = (0..place.task.task.vdaf().config().output_len()).map(|_| 5252).collect();
    let begun = store.begin(place.id(), interval, b"second", 0).unwrap();
    match &begun {
        Begun::UnderWay { request, location } => {
            assert_eq!(progress.released, None, "operation {n}: a release is lost");
            assert!(!progress.begun || request == b"first", "operation {n}: the request is lost");
            assert!(!progress.located || location.is_some(), "operation {n}: the location is lost");
        }
        Begun::Released(release) => assert_eq!(release.release().sequence, 1, "operation {n}"),
    }
    let release = store.finish(place.id(), interval, draft(&place.task, window, &cells)).unwrap();
    assert_eq!(release.release().sequence, 1, "operation {n}");
    if let Begun::Released(kept) = begun {
        assert_eq!(release, *kept, "operation {n}: the first release stays");
    }
    if let Some(said) = &progress.released {
        assert_eq!(release, *said, "operation {n}: what was handed out has other bytes now");
    }
    let keys = [*crate::collector::fixture::signer().public_key()];
    let text = release.signed().unwrap();
    assert!(signed::verify(&keys, DocumentType::Release, text).is_ok(), "operation {n}");
    // Charged once, whether the first attempt came to be or not; its cells are those of the document.
    assert_eq!(
        release.release().charge.epochs.as_ref().unwrap()[0].spent.as_deref(),
        Some("2"),
        "operation {n}"
    );
    let Cell::Shown(estimate) = &release.release().buckets[0].cell else { panic!("shown") };
    assert_eq!(store.with_cells(1).unwrap().unwrap().1[0], estimate.estimate, "operation {n}");
    assert_eq!(store.release(1).unwrap(), Some(release));
    assert_eq!(store.release(2).unwrap(), None);
}
