//! What goes wrong with one report, or one request, is its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Files of which one cannot be read.
#[derive(Clone, Default)]
struct BadBlock {
    files: MemoryFiles,
    bad: Arc<AtomicBool>,
}

impl Files for BadBlock {
    fn names(&self) -> io::Result<Vec<String>> {
        self.files.names()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        if self.bad.load(Ordering::SeqCst) && name == entry::name(1) {
            return Err(io::Error::other("a bad block"));
        }
        self.files.read(name)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.files.replace(name, bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
}

/// A file that could not be read kept an app from being opened at all, and ended the courier of one that was open with all
/// reports before it marked as under way.
#[test]
fn a_file_that_cannot_be_read_keeps_nothing_else_from_being_sent() {
    let store = BadBlock::default();
    let mut queue = Queue::open(store.clone(), at_once()).unwrap();
    for id in 1..=3 {
        queue.push(&mut rng(), task(1), &leader(), &report(id), NOW).unwrap();
    }
    store.bad.store(true, Ordering::SeqCst);
    let mut opened = Queue::open(store.clone(), at_once()).unwrap();
    assert_eq!((opened.len(), opened.damaged()), (2, 1));
    for queue in [&mut queue, &mut opened] {
        let request = queue.next_request(NOW).unwrap().unwrap();
        assert_eq!(ids(&request), [id(1), id(3)]);
        assert!(queue.next_request(NOW).unwrap().is_none());
        queue.release(&request);
    }
    // It may be read again one day, and then it is sent.
    let wait = queue.next_due_in(NOW + 1).unwrap();
    assert_eq!(wait, 0, "the others are due again");
    store.bad.store(false, Ordering::SeqCst);
    let request = queue.next_request(NOW + RETRY_FIRST_SECONDS).unwrap().unwrap();
    assert_eq!(BTreeSet::from_iter(ids(&request)), BTreeSet::from([id(1), id(2), id(3)]));
    assert_eq!(Queue::open(store, at_once()).unwrap().len(), 3);
}

/// An app that was set back to an older version removed the reports of the newer one as damage.
#[test]
fn a_file_of_a_later_version_is_left_alone() {
    let mut files = MemoryFiles::default();
    files.replace(&entry::name(4), b"\xffwhatever comes then").unwrap();
    let mut queue = open(&files);
    assert_eq!((queue.len(), queue.damaged()), (0, 1));
    push(&mut queue, 1, 1).unwrap();
    assert!(files.read(&entry::name(4)).unwrap().is_some());
    assert!(files.read(&entry::name(5)).unwrap().is_some(), "its number is not used again");
}

/// What a person erased was sent once a bad block could be read again, or a newer version of the app was installed again.
#[test]
fn what_could_not_be_read_is_erased_too() {
    let mut store = BadBlock::default();
    let mut queue = Queue::open(store.clone(), at_once()).unwrap();
    for id in 1..=2 {
        queue.push(&mut rng(), task(1), &leader(), &report(id), NOW).unwrap();
    }
    store.replace(&entry::name(4), b"\xffwhatever comes then").unwrap();
    store.replace("other", b"is not the queue's").unwrap();
    store.bad.store(true, Ordering::SeqCst);
    let mut queue = Queue::open(store.clone(), at_once()).unwrap();
    assert_eq!((queue.len(), queue.damaged()), (1, 2));
    queue.clear().unwrap();
    assert_eq!(store.names().unwrap(), ["other"]);
    assert!(queue.is_empty() && queue.bytes() == 0);
}

/// The second of two files of one report was sent after the leader had answered for the first.
#[test]
fn two_files_of_one_report_are_one() {
    let mut files = MemoryFiles::default();
    push(&mut open(&files), 1, 1).unwrap();
    let bytes = files.read(&entry::name(0)).unwrap().unwrap();
    files.replace(&entry::name(7), &bytes).unwrap();
    // One that would leave no number for the next.
    files.replace("report-ffffffffffffffff", &bytes).unwrap();
    let mut queue = open(&files);
    assert_eq!(queue.len(), 1);
    queue.forget(id(1)).unwrap();
    push(&mut queue, 1, 2).unwrap();
    assert_eq!(open(&files).report_ids().collect::<Vec<_>>(), [id(2)]);
}

/// One report that the leader found too early paused the whole task, and each success ended the pause at once.
#[test]
fn a_report_that_comes_too_early_waits_alone() {
    let mut queue = open(&MemoryFiles::default());
    push(&mut queue, 1, 1).unwrap();
    let early = [status(1, ReportError::ReportTooEarly)];
    let mut now = NOW;
    for failures in 0..5 {
        let request = queue.next_request(now).unwrap().unwrap();
        queue.answered(&mut rng(), &request, Ok(&early), now);
        let wait = queue.next_due_in(now).unwrap();
        let longest = RETRY_FIRST_SECONDS << failures;
        assert!((longest / 2..=longest).contains(&wait), "{wait}");
        // Others are sent at once, and do not end its pause.
        push(&mut queue, 1, 10 + failures).unwrap();
        assert_eq!(settle_at(&mut queue, now), [id(10 + failures)]);
        assert!(queue.next_request(now).unwrap().is_none());
        now += wait;
    }
}

fn settle_at(queue: &mut Queue<MemoryFiles>, now: u64) -> Vec<ReportId> {
    let request = queue.next_request(now).unwrap().unwrap();
    for outcome in queue.answered(&mut rng(), &request, Ok(&[]), now) {
        queue.forget(outcome.id()).unwrap();
    }
    ids(&request)
}

/// Reports of a task that has ended, or made by a clock that was a year ahead, were tried four times a day for ever, and each
/// try showed the leader the address.
#[test]
fn what_nobody_takes_is_given_up_after_four_weeks() {
    let files = MemoryFiles::default();
    let mut queue = open(&files);
    for (report_id, made) in [(1, NOW), (2, NOW + KEEP_SECONDS), (3, NOW + 365 * 86_400)] {
        queue.push(&mut rng(), task(1), &leader(), &report(report_id), made).unwrap();
    }
    assert_eq!(queue.expire(NOW + KEEP_SECONDS).unwrap(), [id(3)]);
    assert_eq!(queue.expire(NOW + KEEP_SECONDS + 1).unwrap(), [id(1)]);
    assert_eq!(open(&files).report_ids().collect::<Vec<_>>(), [id(2)]);
}

/// `Retry-After: 600` brought all devices that were told so back in one second, and a leader could tell each device a second of
/// its own to know it by.
#[test]
fn what_a_leader_asks_for_is_not_when_a_device_is_back() {
    let mut waits = BTreeSet::new();
    for seed in 0..20 {
        let mut queue = open(&MemoryFiles::default());
        push(&mut queue, 1, 1).unwrap();
        let request = queue.next_request(NOW).unwrap().unwrap();
        let asked = SendFailure { retry_after: Some(600) };
        queue.answered(&mut StdRng::seed_from_u64(seed), &request, Err(asked), NOW);
        let wait = queue.next_due_in(NOW).unwrap();
        assert!((600..=750).contains(&wait), "{wait}");
        waits.insert(wait);
    }
    assert!(waits.len() > 10, "{waits:?}");
}
