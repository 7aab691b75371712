//! Reports come in once, are durable when acknowledged, and not after their window is closed.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::super::seen::Stage;
use super::*;
use crate::store::{CollectionCreated, CollectionState, Fault, FileOp};

const REPLAYED: Result<(), ReportError> = Err(ReportError::ReportReplayed);
const LATE: Result<(), ReportError> = Err(ReportError::BatchCollected);

#[test]
fn a_report_is_taken_once_in_a_call_across_calls_and_across_restarts() {
    let (place, task) = (Place::new(), histogram());
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    let (a, b) = (key(1, 0), key(2, 0));
    assert_eq!(upload(&leader, &task, &[a, b, a]).unwrap(), [Ok(()), Ok(()), REPLAYED]);
    assert_eq!(upload(&leader, &task, &[b, key(3, 1)]).unwrap(), [REPLAYED, Ok(())]);
    assert_eq!(leader.backlog(task.id()).unwrap(), 3);
    drop(leader);
    let leader = place.leader();
    assert_eq!(upload(&leader, &task, &[key(3, 1), a]).unwrap(), [REPLAYED; 2]);
    assert_eq!(queued(&leader, &task), [a, b, key(3, 1)]);

    // In a job, counted, and after one more restart each.
    let (number, taken) = make_job(&leader, &task, 2).unwrap();
    assert_eq!(upload(&leader, &task, &[a, key(3, 1)]).unwrap(), [REPLAYED; 2]);
    drop(leader);
    let leader = place.leader();
    assert_eq!(upload(&leader, &task, &[a, b]).unwrap(), [REPLAYED; 2]);
    leader.commit_job(&task, number, &sums(&task, &taken), &[]).unwrap();
    assert_eq!(upload(&leader, &task, &[a, b]).unwrap(), [REPLAYED; 2]);
    drop(leader);
    let leader = place.leader();
    assert_eq!(
        upload(&leader, &task, &[a, b, key(3, 1), key(4, 1)]).unwrap(),
        [REPLAYED, REPLAYED, REPLAYED, Ok(())]
    );
    assert_eq!(leader.backlog(task.id()).unwrap(), 2);
}

#[test]
fn tasks_do_not_know_each_others_reports_and_unknown_tasks_are_refused() {
    let place = Place::new();
    let tasks = [histogram(), task_of(&VdafConfig::Count, "count")];
    let leader = place.leader();
    assert!(matches!(upload(&leader, &tasks[0], &[key(1, 0)]), Err(StoreError::Invalid(_))));
    for task in &tasks {
        leader.opt_in(task.id(), &record(task)).unwrap();
        upload_ok(&leader, task, &[key(1, 0)]);
    }
    assert_eq!(tasks.each_ref().map(|task| queued(&leader, task).len()), [1, 1]);
}

#[test]
fn the_first_opt_in_is_kept_for_life() {
    let (place, task) = (Place::new(), histogram());
    let leader = place.leader();
    let first = record(&task);
    let other = record_of(&task, &terms_of(&task, EPSILON + 1, 1));
    let other = TaskRecord { verify_secret_id: 2, ..other };
    assert_eq!(leader.opt_in(task.id(), &first).unwrap(), first);
    assert_eq!(leader.opt_in(task.id(), &other).unwrap(), first);
    drop(leader);
    let leader = place.leader();
    assert_eq!(leader.opt_in(task.id(), &other).unwrap(), first);
    // One byte too many with the secret's id, the source and its length, and the policy.
    let large = TaskRecord { configuration: vec![0; 4097 - 1 - 13 - 26], ..first };
    let other_task = task_of(&VdafConfig::Count, "large");
    assert!(matches!(leader.opt_in(other_task.id(), &large), Err(StoreError::TooLarge { bytes: 4097, .. })));
}

#[test]
fn a_report_that_would_fail_its_group_fails_its_own_call() {
    let (place, task) = (Place::new(), histogram());
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    let wrong = NewReport { key: key(1, 0), encoded: &encoded(&key(2, 0)) };
    assert!(matches!(leader.append_reports(task.id(), &[wrong]), Err(StoreError::Invalid(_))));
    let mut huge = encoded(&key(1, 0));
    huge.resize((16 << 20) + 1, 0);
    let huge = NewReport { key: key(1, 0), encoded: &huge };
    assert!(matches!(leader.append_reports(task.id(), &[huge]), Err(StoreError::TooLarge { .. })));
    assert!(leader.append_reports(task.id(), &[]).unwrap().is_empty());
    upload_ok(&leader, &task, &[key(1, 0)]);
}

/// Many threads upload overlapping sets; of each id one upload is accepted.
#[test]
fn of_concurrent_copies_one_is_accepted() {
    const THREADS: u32 = 8;
    let (place, task) = (Place::new(), histogram());
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    let accepted = AtomicUsize::new(0);
    let start = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (leader, task, accepted, start) = (&leader, &task, &accepted, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..20 {
                    // Shared by all threads, in an order that differs from thread to thread.
                    let mut mine = keys(round * 10..round * 10 + 10, 0);
                    mine.rotate_left(thread as usize);
                    let results = upload(leader, task, &mine).unwrap();
                    accepted
                        .fetch_add(results.iter().filter(|result| result.is_ok()).count(), Ordering::Relaxed);
                    assert!(results.iter().all(|result| result.is_ok() || *result == REPLAYED));
                }
            });
        }
    });
    assert_eq!(accepted.into_inner(), 200);
    drop(leader);
    let leader = place.leader();
    let mut found = queued(&leader, &task);
    found.sort_unstable();
    assert_eq!(found, keys(0..200, 0));
}

/// Uploads that come while a write is under way share the next one.
#[test]
fn waiting_uploads_share_one_write_and_one_sync() {
    const WAITING: u32 = 6;
    let mut place = Place::new();
    let task = histogram();
    let (armed, writes, syncs) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let counters = Arc::new((armed, writes, syncs));
    let (entered, proceed) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let hook = {
        let (counters, entered, proceed) =
            (Arc::clone(&counters), Arc::clone(&entered), Arc::clone(&proceed));
        move |op: FileOp<'_>| {
            let (armed, writes, syncs) = &*counters;
            match op {
                FileOp::Write(path, _) if path.to_string_lossy().contains("reports") => {
                    writes.fetch_add(1, Ordering::SeqCst);
                    if armed.swap(false, Ordering::SeqCst) {
                        entered.wait();
                        proceed.wait();
                    }
                }
                FileOp::Sync(path) if path.to_string_lossy().contains("reports") => {
                    syncs.fetch_add(1, Ordering::SeqCst);
                }
                _ => {}
            }
            None
        }
    };
    place.faults = Some(Arc::new(hook));
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    let (armed, writes, syncs) = &*counters;
    armed.store(true, Ordering::SeqCst);
    let before = (writes.load(Ordering::SeqCst), syncs.load(Ordering::SeqCst));
    thread::scope(|scope| {
        scope.spawn(|| upload_ok(&leader, &task, &[key(0, 0)]));
        entered.wait();
        for number in 1..=WAITING {
            let (leader, task) = (&leader, &task);
            scope.spawn(move || upload_ok(leader, task, &[key(number, 0)]));
        }
        // All of them are in the next group.
        let entry = leader.core.entry(task.id()).unwrap();
        while entry.memory().intake.waiting_reports() < WAITING as usize {
            thread::yield_now();
        }
        proceed.wait();
    });
    let after = (writes.load(Ordering::SeqCst), syncs.load(Ordering::SeqCst));
    assert_eq!((after.0 - before.0, after.1 - before.1), (2, 2));
    assert_eq!(leader.backlog(task.id()).unwrap(), u64::from(WAITING) + 1);
}

/// "Replayed" is said only when the first copy is durable; if it fails, the second copy is tried in its place.
#[test]
fn a_second_copy_waits_for_the_first_and_replaces_it_if_it_fails() {
    for first_fails in [false, true] {
        let mut place = Place::new();
        let task = histogram();
        let armed = Arc::new(AtomicBool::new(false));
        let (entered, proceed) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let hook = {
            let (armed, entered, proceed) = (Arc::clone(&armed), Arc::clone(&entered), Arc::clone(&proceed));
            move |op: FileOp<'_>| match op {
                FileOp::Write(path, _)
                    if path.to_string_lossy().contains("reports") && armed.swap(false, Ordering::SeqCst) =>
                {
                    entered.wait();
                    proceed.wait();
                    first_fails.then_some(Fault::Errno(ENOSPC))
                }
                _ => None,
            }
        };
        place.faults = Some(Arc::new(hook));
        let leader = place.leader();
        leader.opt_in(task.id(), &record(&task)).unwrap();
        armed.store(true, Ordering::SeqCst);
        let second_answered = AtomicBool::new(false);
        thread::scope(|scope| {
            let first = scope.spawn(|| upload(&leader, &task, &[key(0, 0)]));
            entered.wait();
            let second = scope.spawn(|| {
                let result = upload(&leader, &task, &[key(1, 0), key(0, 0)]);
                second_answered.store(true, Ordering::SeqCst);
                result
            });
            // Whenever the second one gets to run, it cannot answer before the first one is written.
            for _ in 0..100 {
                thread::yield_now();
                assert!(!second_answered.load(Ordering::SeqCst));
            }
            proceed.wait();
            let (first, second) = (first.join().unwrap(), second.join().unwrap().unwrap());
            if first_fails {
                assert!(first.unwrap_err().is_full());
                assert_eq!(second, [Ok(()), Ok(())]);
            } else {
                assert_eq!(first.unwrap(), [Ok(())]);
                assert_eq!(second, [Ok(()), REPLAYED]);
            }
        });
        drop(leader);
        place.faults = None;
        let mut found = queued(&place.leader(), &task);
        found.sort_unstable();
        assert_eq!(found, keys(0..2, 0));
    }
}

#[test]
fn a_full_store_takes_reports_again_when_some_are_worked_off() {
    let mut place = Place::new();
    (place.max_bytes, place.segment_bytes) = (6_000, 1_000);
    let task = histogram();
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    let mut taken = 0;
    let refused = loop {
        match upload(&leader, &task, &[key(taken, 0)]) {
            Ok(results) => assert_eq!(results, [Ok(())]),
            Err(error) => break error,
        }
        taken += 1;
    };
    assert!(refused.is_full(), "{refused}");
    assert!((20..30).contains(&taken), "{taken}");
    // The same after a restart, and the refused report is not known.
    drop(leader);
    let leader = place.leader();
    assert!(upload(&leader, &task, &[key(taken, 0)]).unwrap_err().is_full());
    assert_eq!(leader.backlog(task.id()).unwrap(), u64::from(taken));
    aggregate_all(&leader, &task);
    upload_ok(&leader, &task, &[key(taken, 0)]);
    aggregate_all(&leader, &task);
    assert_counted(&leader, &task, hours(0, 1), &keys(0..taken + 1, 0));
}

#[test]
fn a_closed_window_takes_nothing_and_a_failed_collection_opens_it_again() {
    let (place, task) = (Place::new(), histogram());
    let mut leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    upload_ok(&leader, &task, &[key(0, 1)]);
    let created = leader.create_collection(task.id(), collection_id(1), b"query", hours(1, 3)).unwrap();
    assert!(matches!(created, CollectionCreated::New(_)));
    for _ in 0..2 {
        let results = upload(&leader, &task, &[key(1, 0), key(2, 1), key(3, 2), key(4, 3)]).unwrap();
        assert_eq!((results[1], results[2]), (LATE, LATE));
        leader = {
            drop(leader);
            place.leader()
        };
    }
    let problem = vec![b'p'; 5000];
    let failed = CollectionState::Failed { problem: problem.clone() };
    leader.set_collection_state(task.id(), collection_id(1), &failed).unwrap();
    upload_ok(&leader, &task, &[key(2, 1)]);
    drop(leader);
    let leader = place.leader();
    upload_ok(&leader, &task, &[key(3, 2)]);
    let job = leader.collection(task.id(), collection_id(1)).unwrap().unwrap();
    assert_eq!(job.state, CollectionState::Failed { problem: problem[..4096].to_vec() });
    assert!(leader.open_collections(task.id()).unwrap().is_empty());

    // The same request starts anew.
    let created = leader.create_collection(task.id(), collection_id(1), b"query", hours(1, 3)).unwrap();
    let CollectionCreated::New(job) = created else { panic!("{created:?}") };
    assert_eq!(job.state, CollectionState::Draining);
    assert_eq!(upload(&leader, &task, &[key(5, 1)]).unwrap(), [LATE]);
    assert!(!leader.drained(task.id(), collection_id(1)).unwrap());
    aggregate_all(&leader, &task);
    assert!(leader.drained(task.id(), collection_id(1)).unwrap());
    assert_counted(&leader, &task, hours(1, 3), &[key(0, 1), key(2, 1), key(3, 2)]);
}

/// After a commit of which nobody knows whether it is durable, calls that need no commit are refused too: the
/// window may be closed, with a fence that later uploads would lie behind.
#[test]
fn a_store_in_doubt_takes_no_reports_until_it_is_opened_again() {
    let mut place = Place::new();
    let task = histogram();
    let failing = Arc::new(AtomicBool::new(false));
    let hook = {
        let failing = Arc::clone(&failing);
        move |op: FileOp<'_>| match op {
            FileOp::Sync(path) if path.ends_with("state/db") && failing.load(Ordering::SeqCst) => {
                Some(Fault::Errno(EIO))
            }
            _ => None,
        }
    };
    place.faults = Some(Arc::new(hook));
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    failing.store(true, Ordering::SeqCst);
    let created = leader.create_collection(task.id(), collection_id(1), b"query", hours(0, 1));
    assert!(matches!(created, Err(StoreError::Io { .. })));
    failing.store(false, Ordering::SeqCst);
    for hour in [0, 5] {
        assert!(matches!(upload(&leader, &task, &[key(1, hour)]), Err(StoreError::InDoubt { .. })));
    }
    assert!(matches!(leader.backlog(task.id()), Err(StoreError::InDoubt { .. })));
    drop(leader);
    let leader = place.leader();
    upload_ok(&leader, &task, &[key(1, 5)]);
    let closed = leader.collection(task.id(), collection_id(1)).unwrap().is_some();
    assert_eq!(upload(&leader, &task, &[key(1, 0)]).unwrap()[0].is_err(), closed);
}

/// Whatever the timing, what was acknowledged for a window is aggregated before it counts as drained.
#[test]
fn closing_a_window_is_ordered_with_uploads() {
    for round in 0..20 {
        let (place, task) = (Place::new(), histogram());
        let leader = place.leader();
        leader.opt_in(task.id(), &record(&task)).unwrap();
        let start = Barrier::new(3);
        let accepted = thread::scope(|scope| {
            let uploads: Vec<_> = (0..2)
                .map(|thread| {
                    let (leader, task, start) = (&leader, &task, &start);
                    scope.spawn(move || {
                        start.wait();
                        let mut accepted = Vec::new();
                        for number in 0..50 {
                            let key = key(thread * 1000 + number, u64::from(number % 2));
                            let result = upload(leader, task, &[key]).unwrap()[0];
                            assert!(result.is_ok() || key.time == Time(START), "{result:?}");
                            accepted.extend(result.is_ok().then_some(key));
                        }
                        accepted
                    })
                })
                .collect();
            start.wait();
            (0..round * 10).for_each(|_| thread::yield_now());
            leader.create_collection(task.id(), collection_id(1), b"query", hours(0, 1)).unwrap();
            while !leader.drained(task.id(), collection_id(1)).unwrap() {
                if let Some((number, keys)) = make_job(&leader, &task, 7) {
                    leader.commit_job(&task, number, &sums(&task, &keys), &[]).unwrap();
                }
            }
            let drained = leader.summarize(&task, hours(0, 1)).unwrap().0.report_count;
            let accepted: Vec<_> = uploads.into_iter().flat_map(|upload| upload.join().unwrap()).collect();
            let in_window = accepted.iter().filter(|key| key.time == Time(START)).count();
            assert_eq!(drained, in_window as u64);
            accepted
        });
        aggregate_all(&leader, &task);
        assert_counted(&leader, &task, hours(0, 2), &accepted);
    }
}

/// A group of reports can be read from the disk a moment before its writer has entered their ids. The queue took a
/// report of which the id was not known for one that counts nowhere any more, and passed it over: it was acknowledged
/// and never counted.
#[test]
fn a_report_that_is_written_and_not_announced_yet_is_not_passed_over() {
    let (place, task) = (Place::new(), histogram());
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    upload_ok(&leader, &task, &[key(1, 0)]);
    // What the writer of a group does, stopped half way.
    let (late, entry) = (key(2, 0), leader.core.entry(task.id()).unwrap());
    entry.part.reports.append_group(&[[encoded(&late)]]).unwrap();
    let (_, taken) = make_job(&leader, &task, 10).unwrap();
    assert_eq!(taken, [key(1, 0)]);
    assert!(leader.next_reports(task.id(), 10, Time(u64::MAX)).unwrap().is_none());
    {
        let mut memory = entry.memory();
        memory.seen.set(&late, Stage::Queued);
        memory.queue.queued += 1;
        memory.queue.published = entry.part.reports.end();
    }
    let (_, taken) = make_job(&leader, &task, 10).unwrap();
    assert_eq!(taken, [late]);
}

/// Files and directories took the umask's modes, which usually let everybody read: sums without noise, for one.
#[test]
fn what_a_store_makes_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    fn check(path: &std::path::Path) -> usize {
        let metadata = std::fs::metadata(path).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        if !metadata.is_dir() {
            assert_eq!(mode, 0o600, "{}", path.display());
            return 1;
        }
        assert_eq!(mode, 0o700, "{}", path.display());
        // What sled makes in its directory takes the umask's modes; nobody else gets into the directory.
        let engine = path.ends_with("state");
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|entry| !engine || entry.ends_with("lock")).map(|entry| check(&entry)).sum()
    }
    let (place, task) = (Place::new(), histogram());
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    upload_ok(&leader, &task, &keys(0..20, 0));
    drop(leader);
    assert!(check(&place.options().dir) >= 5);
    assert_eq!(check(&place.options().watermark), 1);
}
