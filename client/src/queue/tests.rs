//! What waits is bounded, survives crashes, and is sent under one id.
#![allow(clippy::unwrap_used)]

mod trouble;

use std::collections::BTreeSet;

use arras_protocol::codec::Decode as _;
use arras_protocol::messages::{
    Extensions, HpkeCiphertext, ReportError, ReportMetadata, ReportUploadStatus, Time, UploadRequestRef,
};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::files::MemoryFiles;

const NOW: u64 = 1_800_000_000;

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn leader() -> Url {
    Url::new("https://leader.example/").unwrap()
}

fn task(id: u8) -> TaskId {
    TaskId::new([id; 32])
}

fn report(id: u8) -> Report {
    report_of(id, 100)
}

fn report_of(id: u8, bytes: usize) -> Report {
    let sealed = |len| {
        let ciphertext = vec![id; len];
        HpkeCiphertext::new(1, arras_protocol::hpke::Sealed { enc: [id; 32], ciphertext })
    };
    Report {
        metadata: ReportMetadata {
            report_id: ReportId::from_bytes(&[id; 16]).unwrap(),
            time: Time(1),
            public_extensions: Extensions::none(),
        },
        public_share: vec![id; 64],
        leader_share: sealed(bytes),
        helper_share: sealed(64),
    }
}

fn id(report: u8) -> ReportId {
    report_of(report, 1).metadata.report_id
}

/// Nothing is put off, so that a test need not wait.
fn at_once() -> QueueRules {
    QueueRules { jitter_seconds: 0, ..QueueRules::default() }
}

fn open(files: &MemoryFiles) -> Queue<MemoryFiles> {
    Queue::open(files.clone(), at_once()).unwrap()
}

fn push(queue: &mut Queue<MemoryFiles>, to: u8, id: u8) -> Result<(), QueueError> {
    queue.push(&mut rng(), task(to), &leader(), &report(id), NOW)
}

fn ids(request: &UploadRequest) -> Vec<ReportId> {
    let reports = UploadRequestRef::from_bytes(&request.body, 1_000).unwrap().reports;
    reports.iter().map(|report| report.header.report_id).collect()
}

fn status(report: u8, error: ReportError) -> ReportUploadStatus {
    ReportUploadStatus { report_id: id(report), error }
}

fn settle(queue: &mut Queue<MemoryFiles>, answer: &[ReportUploadStatus]) -> Vec<Outcome> {
    let request = queue.next_request(NOW).unwrap().unwrap();
    queue.answered(&mut rng(), &request, Ok(answer), NOW)
}

#[test]
fn a_report_waits_until_the_leader_has_answered_for_it() {
    let files = MemoryFiles::default();
    let mut queue = open(&files);
    push(&mut queue, 1, 1).unwrap();
    push(&mut queue, 1, 2).unwrap();
    let request = queue.next_request(NOW).unwrap().unwrap();
    assert_eq!(
        (request.task, request.leader.clone(), ids(&request)),
        (task(1), leader(), vec![id(1), id(2)])
    );
    assert!(queue.next_request(NOW).unwrap().is_none(), "they are under way");
    // The app ends here, and nobody knows whether the request arrived: the same bytes are sent again.
    let mut queue = open(&files);
    let again = queue.next_request(NOW).unwrap().unwrap();
    assert_eq!(again.body, request.body);
    let outcomes = queue.answered(&mut rng(), &again, Ok(&[status(1, ReportError::ReportReplayed)]), NOW);
    assert_eq!(outcomes, [Outcome::Delivered(id(1)), Outcome::Delivered(id(2))]);
    assert_eq!(queue.len(), 2, "until what became of them was kept elsewhere");
    for outcome in outcomes {
        queue.forget(outcome.id()).unwrap();
    }
    assert!(open(&files).is_empty() && queue.is_empty() && queue.bytes() == 0);
}

#[test]
fn each_report_has_its_own_outcome() {
    let files = MemoryFiles::default();
    let mut queue = open(&files);
    for id in 1..=4 {
        push(&mut queue, 1, id).unwrap();
    }
    let outcomes = settle(
        &mut queue,
        &[
            status(1, ReportError::BatchCollected),
            status(2, ReportError::OutdatedConfig),
            status(3, ReportError::ReportTooEarly),
            // Of no report that was sent: not ours to act on.
            status(9, ReportError::InvalidMessage),
        ],
    );
    let collected = Outcome::Refused(id(1), ReportError::BatchCollected);
    assert_eq!(outcomes, [collected, Outcome::Outdated(id(2)), Outcome::Delivered(id(4))]);
    // The one that was too early is sent again after a pause; the outdated one is not, as it is.
    assert!(queue.next_request(NOW).unwrap().is_none());
    let later = NOW + RETRY_FIRST_SECONDS;
    let request = queue.next_request(later).unwrap().unwrap();
    assert_eq!(ids(&request), [id(3)]);
}

/// Were it made under a new id, a leader that has the first one after all would count both.
#[test]
fn an_outdated_report_is_made_again_under_its_id() {
    let files = MemoryFiles::default();
    let mut queue = open(&files);
    push(&mut queue, 1, 1).unwrap();
    settle(&mut queue, &[status(1, ReportError::OutdatedConfig)]);
    let mut again = report(1);
    again.leader_share =
        HpkeCiphertext::new(2, arras_protocol::hpke::Sealed { enc: [9; 32], ciphertext: vec![9; 100] });
    assert!(queue.replace(&again).unwrap());
    assert!(!queue.replace(&report(7)).unwrap());
    assert!(matches!(queue.replace(&report_of(1, 99)), Err(QueueError::Size { .. })));
    for queue in [&mut open(&files), &mut queue] {
        let request = queue.next_request(NOW).unwrap().unwrap();
        assert_eq!(Report::from_bytes(&request.body).unwrap(), again);
    }
}

#[test]
fn pauses_double_and_are_bounded() {
    let mut queue = open(&MemoryFiles::default());
    push(&mut queue, 1, 1).unwrap();
    let mut now = NOW;
    for failures in 0..60_u32 {
        let request = queue.next_request(now).unwrap().unwrap();
        assert!(queue.answered(&mut rng(), &request, Err(SendFailure::default()), now).is_empty());
        let wait = queue.next_due_in(now).unwrap();
        let longest = RETRY_MAX_SECONDS.min(RETRY_FIRST_SECONDS << failures.min(20));
        assert!((longest / 2..=longest).contains(&wait), "{wait} after {failures}");
        assert!(queue.next_request(now + wait - 1).unwrap().is_none());
        now += wait;
    }
    let request = queue.next_request(now).unwrap().unwrap();
    let asked = SendFailure { retry_after: Some(u64::MAX) };
    queue.answered(&mut rng(), &request, Err(asked), now);
    let wait = queue.next_due_in(now).unwrap();
    assert!((RETRY_AFTER_MAX_SECONDS..=RETRY_AFTER_MAX_SECONDS / 4 * 5).contains(&wait), "{wait}");
}

/// One report that makes a leader refuse a whole request must not keep the others from it.
#[test]
fn after_failures_requests_get_smaller_and_begin_with_others() {
    let mut queue = open(&MemoryFiles::default());
    for id in 1..=8 {
        push(&mut queue, 1, id).unwrap();
    }
    let (mut now, mut delivered) = (NOW, BTreeSet::new());
    for _ in 0..40 {
        now += RETRY_MAX_SECONDS;
        let Some(request) = queue.next_request(now).unwrap() else { break };
        let poisoned = ids(&request).contains(&id(3));
        let answer = if poisoned { Err(SendFailure::default()) } else { Ok(&[][..]) };
        for outcome in queue.answered(&mut rng(), &request, answer, now) {
            delivered.insert(*outcome.id().as_bytes());
            queue.forget(outcome.id()).unwrap();
        }
    }
    assert_eq!((delivered.len(), queue.len()), (7, 1));
}

#[test]
fn a_task_whose_leader_is_away_holds_up_no_other() {
    let mut queue = open(&MemoryFiles::default());
    push(&mut queue, 1, 1).unwrap();
    push(&mut queue, 2, 2).unwrap();
    let request = queue.next_request(NOW).unwrap().unwrap();
    queue.answered(&mut rng(), &request, Err(SendFailure::default()), NOW);
    assert_eq!(queue.next_request(NOW).unwrap().unwrap().task, task(2));
}

#[test]
fn the_first_attempt_is_put_off_by_chance() {
    let rules = QueueRules { jitter_seconds: 600, ..QueueRules::default() };
    let mut queue = Queue::open(MemoryFiles::default(), rules).unwrap();
    let mut random = rng();
    let mut waits = BTreeSet::new();
    for id in 1..=20 {
        queue.push(&mut random, task(id), &leader(), &report(id), NOW).unwrap();
        waits.insert(queue.waiting.values().next_back().unwrap().not_before - NOW);
    }
    assert!(waits.len() > 10 && waits.iter().all(|wait| *wait <= 600), "{waits:?}");
    assert_eq!(queue.next_due_in(NOW), waits.first().copied());
    // The clock was ahead by a year when they were made: nothing waits for a year.
    assert_eq!(queue.next_due_in(NOW - 365 * 86_400), Some(0));
}

#[test]
fn what_waits_is_bounded_and_only_what_is_too_old_gives_way() {
    let rules = QueueRules { reports_max: 3, ..at_once() };
    let mut queue = Queue::open(MemoryFiles::default(), rules).unwrap();
    for id in 1..=3 {
        push(&mut queue, 1, id).unwrap();
    }
    let full = queue.push(&mut rng(), task(1), &leader(), &report(4), NOW + KEEP_SECONDS);
    assert!(matches!(full, Err(QueueError::Full { reports: 3, .. })));
    let later = NOW + KEEP_SECONDS + 1;
    assert_eq!(queue.make_room(1, 10, later).unwrap(), [id(1)]);
    queue.push(&mut rng(), task(1), &leader(), &report(4), later).unwrap();
    assert_eq!(queue.report_ids().collect::<Vec<_>>(), [id(2), id(3), id(4)]);

    let rules = QueueRules { bytes_max: queue.bytes() - 1, ..at_once() };
    let mut queue = Queue::open(MemoryFiles::default(), rules).unwrap();
    push(&mut queue, 1, 1).unwrap();
    push(&mut queue, 1, 2).unwrap();
    assert!(matches!(push(&mut queue, 1, 3), Err(QueueError::Full { reports: 2, .. })));
}

#[test]
fn a_request_is_bounded() {
    let mut queue = open(&MemoryFiles::default());
    for id in 1..=30 {
        push(&mut queue, 1, id).unwrap();
        let large = report_of(id + 100, 300_000);
        queue.push(&mut rng(), task(2), &leader(), &large, NOW).unwrap();
    }
    let request = queue.next_request(NOW).unwrap().unwrap();
    assert_eq!(request.reports(), REPORTS_PER_REQUEST);
    queue.next_request(NOW).unwrap().unwrap();
    let request = queue.next_request(NOW).unwrap().unwrap();
    assert_eq!((request.task, request.reports()), (task(2), 3));
    assert!(request.body.len() as u64 <= REQUEST_BYTES_MAX);
}

/// A report of another size than the others of its task tells what is in it.
#[test]
fn reports_of_a_task_have_one_size() {
    let mut queue = open(&MemoryFiles::default());
    push(&mut queue, 1, 1).unwrap();
    let other = report_of(2, 101);
    let refused = queue.push(&mut rng(), task(1), &leader(), &other, NOW);
    assert!(matches!(refused, Err(QueueError::Size { .. })));
    queue.push(&mut rng(), task(2), &leader(), &other, NOW).unwrap();
}

#[test]
fn a_damaged_file_costs_its_report_alone() {
    let mut files = MemoryFiles::default();
    let mut queue = open(&files);
    for id in 1..=3 {
        push(&mut queue, 1, id).unwrap();
    }
    files.replace("report-0000000000000001", b"no report").unwrap();
    files.replace("something else", b"of the app").unwrap();
    // Since the start of this one, too.
    let request = queue.next_request(NOW).unwrap().unwrap();
    assert_eq!((ids(&request), queue.damaged()), (vec![id(1), id(3)], 1));
    files.replace("report-0000000000000001", b"no report").unwrap();
    let queue = open(&files);
    assert_eq!((queue.len(), queue.damaged()), (2, 1));
    assert!(files.read("something else").unwrap().is_some());
}

proptest! {
    /// Whatever fails at whatever point, a report that was acknowledged is sent until it is answered for, under its id.
    #[test]
    fn no_crash_loses_a_report_or_sends_it_under_two_ids(
        steps in proptest::collection::vec((0..4u8, 0..6u64, any::<bool>()), 1..40),
    ) {
        let files = MemoryFiles::default();
        let mut queue = open(&files);
        let (mut next, mut kept, mut tried) = (0_u8, BTreeSet::new(), BTreeSet::new());
        for (step, writes, happens) in steps {
            match step {
                0 | 1 => {
                    next += 1;
                    tried.insert(next);
                    if push(&mut queue, 1, next).is_ok() {
                        kept.insert(next);
                    }
                }
                2 => if let Some(request) = queue.next_request(NOW).unwrap() {
                    for outcome in queue.answered(&mut rng(), &request, Ok(&[]), NOW) {
                        kept.remove(&outcome.id().as_bytes()[0]);
                        tried.remove(&outcome.id().as_bytes()[0]);
                        let _ = queue.forget(outcome.id());
                    }
                },
                _ => files.fail_after(writes, happens),
            }
            if step == 3 { continue }
            files.mend();
            queue = open(&files);
            let waiting: BTreeSet<u8> = queue.report_ids().map(|id| id.as_bytes()[0]).collect();
            prop_assert_eq!(waiting.len(), queue.len(), "an id twice");
            prop_assert!(kept.is_subset(&waiting));
        }
    }

    #[test]
    fn any_file_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut files = MemoryFiles::default();
        files.replace("report-0000000000000000", &bytes).unwrap();
        let queue = open(&files);
        prop_assert!(queue.len() + queue.damaged() == 1);
    }

    /// What is taken for a report is one, and is sent as it is in the file.
    #[test]
    fn a_file_with_some_bytes_changed_does_no_harm(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        cut in proptest::option::weighted(0.3, any::<proptest::sample::Index>()),
        more in proptest::collection::vec(any::<u8>(), 0..3),
    ) {
        const FILE: &str = "report-0000000000000000";
        let mut files = MemoryFiles::default();
        push(&mut open(&files), 1, 1).unwrap();
        let mut bytes = files.read(FILE).unwrap().unwrap();
        // Behind the version, of which most are no entry.
        for (at, to) in changes {
            let length = bytes.len();
            bytes[1 + at.index(length - 1)] = to;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| 1 + cut.index(bytes.len())));
        bytes.extend(more);
        files.replace(FILE, &bytes).unwrap();
        let mut queue = open(&files);
        prop_assert_eq!(queue.len() + queue.damaged(), 1);
        prop_assert_eq!(files.read(FILE).unwrap().is_some(), queue.len() == 1);
        let Some(waiting) = queue.waiting.get(&0).cloned() else { return Ok(()) };
        // It waits no longer than any: a wait beyond that is of another clock.
        let due = waiting.not_before.max(NOW);
        let request = queue.next_request(due).unwrap().unwrap();
        prop_assert_eq!((request.task, &request.leader), (waiting.task, &waiting.leader));
        prop_assert!(bytes.ends_with(&request.body));
        let sent = Report::from_bytes(&request.body).unwrap();
        prop_assert_eq!(sent.metadata.report_id, waiting.report_id);
        queue.answered(&mut rng(), &request, Ok(&[]), due);
        queue.forget(waiting.report_id).unwrap();
        prop_assert!(open(&files).is_empty() && queue.bytes() == 0);
    }
}
