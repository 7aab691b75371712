//! The queue and the leader's jobs.

use super::*;
use crate::store::{JobDraft, OpenJob, Position};

fn leader_with(place: &Place, task: &Task, keys: &[ReportKey]) -> LeaderDisk {
    let leader = place.leader();
    leader.opt_in(task.id(), &record(task)).unwrap();
    upload_ok(&leader, task, keys);
    leader
}

fn next(leader: &LeaderDisk, task: &Task, max: usize, now: u64) -> JobDraft {
    leader.next_reports(task.id(), max, Time(START + now)).unwrap().unwrap()
}

fn keys_of(draft: &JobDraft) -> Vec<ReportKey> {
    draft.reports.iter().map(|report| key_in(&report.encoded)).collect()
}

#[test]
fn a_draft_takes_nothing_and_the_queue_keeps_its_order() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &keys(0..5, 0));
    for _ in 0..2 {
        assert_eq!(keys_of(&next(&leader, &task, 3, 0)), keys(0..3, 0));
    }
    assert_eq!(make_job(&leader, &task, 3).unwrap().1, keys(0..3, 0));
    drop(leader);
    let leader = place.leader();
    assert_eq!(make_job(&leader, &task, 3).unwrap().1, keys(3..5, 0));
    assert!(leader.next_reports(task.id(), 3, Time(START)).unwrap().is_none());
    upload_ok(&leader, &task, &[key(5, 0)]);
    assert_eq!(queued(&leader, &task), [key(5, 0)]);
}

#[test]
fn a_job_is_kept_byte_for_byte_until_it_is_committed() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &keys(0..4, 0));
    let draft = next(&leader, &task, 10, 0);
    let number = leader.create_job(task.id(), &draft, &[2, 0], &[3], b"exact bytes").unwrap().unwrap();
    let check = |leader: &LeaderDisk| {
        assert_eq!(leader.open_jobs(task.id()).unwrap(), [number]);
        let OpenJob { number: loaded, request, reports } = leader.load_job(task.id(), number).unwrap();
        assert_eq!((loaded, request.as_slice()), (number, b"exact bytes".as_slice()));
        let ids: Vec<_> = reports.iter().map(|report| (report.position, key_in(&report.encoded))).collect();
        let expected = [2, 0].map(|index| (draft.reports[index].position, key(index as u32, 0)));
        assert_eq!(ids, expected);
        assert_eq!(leader.backlog(task.id()).unwrap(), 3);
    };
    check(&leader);
    drop(leader);
    let leader = place.leader();
    check(&leader);
    let counted = [key(2, 0), key(0, 0)];
    for _ in 0..2 {
        leader.commit_job(&task, number, &sums(&task, &counted), &[]).unwrap();
        assert_counted(&leader, &task, hours(0, 1), &counted);
    }
    assert!(leader.open_jobs(task.id()).unwrap().is_empty());
    assert!(leader.load_job(task.id(), number).is_err());
    drop(leader);
    let leader = place.leader();
    // Ends nothing, also after a restart.
    leader.commit_job(&task, number, &sums(&task, &counted), &[]).unwrap();
    assert_counted(&leader, &task, hours(0, 1), &counted);
    assert_eq!(queued(&leader, &task), [key(3, 0)]);
    // Its number is not used again.
    assert!(make_job(&leader, &task, 10).unwrap().0 > number);
}

#[test]
fn shares_add_up_in_slices() {
    let place = Place::new();
    // 1000 cells of 16 bytes: four slices.
    let task = task_of(&VdafConfig::histogram(1000).unwrap(), "wide");
    let all: Vec<_> = keys(0..30, 0).into_iter().chain(keys(30..60, 1)).collect();
    let leader = leader_with(&place, &task, &all);
    aggregate_all_in_jobs_of(&leader, &task, 7);
    let leader = {
        drop(leader);
        place.leader()
    };
    let batch = leader.collect(&task, &terms(&task), hours(0, 2), request_key(1), None).unwrap();
    assert_eq!(*batch.sum.exact(), bucket(&task, &all).share);
}

fn aggregate_all_in_jobs_of(leader: &LeaderDisk, task: &Task, max: usize) {
    while let Some((number, keys)) = make_job(leader, task, max) {
        leader.commit_job(task, number, &sums(task, &keys), &[]).unwrap();
    }
}

#[test]
fn what_is_put_back_comes_first_when_its_time_has_come() {
    let (place, task) = (Place::new(), histogram());
    let all = [key(0, 5), key(1, 0), key(2, 9), key(3, 0)];
    let leader = leader_with(&place, &task, &all);
    // Two too early for the leader, then one for the helper.
    let draft = next(&leader, &task, 3, 0);
    let number = leader.create_job(task.id(), &draft, &[1], &[0, 2], b"request").unwrap().unwrap();
    leader
        .commit_job(&task, number, &sums(&task, &[]), &[(key(1, 0).time, draft.reports[1].position)])
        .unwrap();
    let mut leader = leader;
    for _ in 0..2 {
        assert_eq!(leader.backlog(task.id()).unwrap(), 4);
        assert_eq!(keys_of(&next(&leader, &task, 10, 0)), [key(1, 0), key(3, 0)]);
        assert_eq!(keys_of(&next(&leader, &task, 10, 5)), [key(1, 0), key(0, 5), key(3, 0)]);
        assert_eq!(keys_of(&next(&leader, &task, 1, 9)), [key(1, 0)]);
        leader = {
            drop(leader);
            place.leader()
        };
    }
    // Known while they wait.
    assert_eq!(upload(&leader, &task, &all).unwrap(), vec![Err(ReportError::ReportReplayed); 4]);
    let draft = next(&leader, &task, 10, 5);
    leader.create_job(task.id(), &draft, &[0, 1], &[2], b"request").unwrap().unwrap();
    let leader = {
        drop(leader);
        place.leader()
    };
    assert_eq!(keys_of(&next(&leader, &task, 10, 9)), [key(3, 0), key(2, 9)]);
}

#[test]
fn a_rejected_report_is_forgotten() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &keys(0..4, 0));
    let draft = next(&leader, &task, 3, 0);
    // The first is rejected here, the second by the helper.
    let number = leader.create_job(task.id(), &draft, &[1, 2], &[], b"request").unwrap().unwrap();
    leader.commit_job(&task, number, &sums(&task, &[key(2, 0)]), &[]).unwrap();
    let draft = next(&leader, &task, 3, 0);
    assert_eq!(leader.create_job(task.id(), &draft, &[], &[], b"").unwrap(), None);
    assert_eq!(leader.backlog(task.id()).unwrap(), 0);
    let mut leader = leader;
    for restarted in [false, true] {
        // An id is known whatever its time.
        let new = key(10 + u32::from(restarted), u64::from(restarted));
        let results = upload(&leader, &task, &[key(2, 5), new]).unwrap();
        assert_eq!(results, [Err(ReportError::ReportReplayed), Ok(())]);
        leader = {
            drop(leader);
            place.leader()
        };
    }
    upload_ok(&leader, &task, &[key(0, 0), key(1, 0), key(3, 0)]);
}

#[test]
fn a_job_is_made_of_what_is_queued_and_nothing_else() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &keys(0..4, 0));
    let id = task.id();
    let draft = next(&leader, &task, 2, 0);
    let refused = |result: Result<Option<JobNumber>, StoreError>| {
        assert!(matches!(result, Err(StoreError::Invalid(_))), "{result:?}");
    };
    refused(leader.create_job(id, &draft, &[2], &[], b"request"));
    refused(leader.create_job(id, &draft, &[0, 0], &[], b"request"));
    refused(leader.create_job(id, &draft, &[0], &[0], b"request"));
    refused(leader.create_job(id, &draft, &[0], &[], b""));
    refused(leader.create_job(id, &draft, &[], &[], b"request"));
    let again = next(&leader, &task, 2, 0);
    let number = leader.create_job(id, &draft, &[0, 1], &[], b"request").unwrap().unwrap();
    // The same draft, or one that was taken before: its reports are in a job.
    refused(leader.create_job(id, &draft, &[0, 1], &[], b"request"));
    refused(leader.create_job(id, &again, &[], &[0], b""));
    // The end of a job is about its own reports.
    let position = draft.reports[0].position;
    let time = key(0, 0).time;
    let ends: [(JobSums, Vec<(Time, Position)>); 4] = [
        (sums(&task, &[key(0, 0), key(3, 0)]), vec![]),
        (sums(&task, &[key(0, 0)]), vec![(time, position)]),
        (sums(&task, &[]), vec![(time, position), (time, position)]),
        (JobSums { reports: vec![key(0, 0)], ..sums(&task, &[key(1, 0), key(0, 0)]) }, vec![]),
    ];
    for (sums, put_back) in ends {
        let result = leader.commit_job(&task, number, &sums, &put_back);
        assert!(matches!(result, Err(StoreError::Invalid(_))), "{result:?}");
    }
    assert_eq!(leader.open_jobs(id).unwrap(), [number]);
    assert_eq!(queued(&leader, &task), keys(2..4, 0));
}

#[test]
fn drained_waits_for_the_queue_for_jobs_and_for_what_was_put_back() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &[key(0, 0), key(1, 0), key(2, 4)]);
    let id = collection_id(1);
    leader.create_collection(task.id(), id, b"query", hours(0, 2)).unwrap();
    // Behind the fence, and of another window: nobody waits for it.
    upload_ok(&leader, &task, &[key(3, 5)]);
    let mut leader = leader;
    let check = |leader: &mut Option<LeaderDisk>, expected| {
        for _ in 0..2 {
            assert_eq!(leader.as_ref().unwrap().drained(task.id(), id).unwrap(), expected);
            leader.take();
            *leader = Some(place.leader());
        }
    };
    let mut cell = Some(leader);
    check(&mut cell, false);
    leader = cell.take().unwrap();
    let (first, _) = make_job(&leader, &task, 1).unwrap();
    let draft = next(&leader, &task, 2, 9);
    let put_back = draft.reports[0].position;
    leader.create_job(task.id(), &draft, &[1], &[0], b"request").unwrap();
    cell = Some(leader);
    check(&mut cell, false);
    leader = cell.take().unwrap();
    leader.commit_job(&task, first, &sums(&task, &[key(0, 0)]), &[]).unwrap();
    cell = Some(leader);
    // What was put back is left; the other open job is of another window.
    check(&mut cell, false);
    leader = cell.take().unwrap();
    let draft = next(&leader, &task, 1, 9);
    assert_eq!(draft.reports[0].position, put_back);
    let last = leader.create_job(task.id(), &draft, &[0], &[], b"request").unwrap().unwrap();
    cell = Some(leader);
    check(&mut cell, false);
    leader = cell.take().unwrap();
    leader.commit_job(&task, last, &sums(&task, &[key(1, 0)]), &[]).unwrap();
    cell = Some(leader);
    check(&mut cell, true);
    assert!(cell.unwrap().drained(task.id(), collection_id(2)).is_err());
}

/// An append that fails after its segment was made leaves the head at the end of one segment and the fence at the
/// beginning of the next.
#[test]
fn an_empty_last_segment_is_drained() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut place = Place::new();
    place.segment_bytes = 1_000;
    let failing = Arc::new(AtomicBool::new(false));
    let hook = {
        let failing = Arc::clone(&failing);
        move |op: crate::store::FileOp<'_>| match op {
            crate::store::FileOp::Write(path, bytes)
                if path.to_string_lossy().contains("reports")
                    && bytes > 100
                    && failing.load(Ordering::SeqCst) =>
            {
                Some(crate::store::Fault::Errno(ENOSPC))
            }
            _ => None,
        }
    };
    place.faults = Some(Arc::new(hook));
    let task = histogram();
    let leader = leader_with(&place, &task, &keys(0..4, 0));
    aggregate_all(&leader, &task);
    failing.store(true, Ordering::SeqCst);
    assert!(upload(&leader, &task, &[key(4, 0)]).unwrap_err().is_full());
    leader.create_collection(task.id(), collection_id(1), b"query", hours(0, 1)).unwrap();
    assert!(leader.drained(task.id(), collection_id(1)).unwrap());
}

/// Segments go when they are worked off; a report that was put back, or is in an open job, keeps its own.
#[test]
fn space_is_given_back_when_nothing_in_it_is_needed() {
    let mut place = Place::new();
    place.segment_bytes = 1_000;
    let task = histogram();
    let leader = leader_with(&place, &task, &keys(0..4, 0));
    let first_segment =
        |leader: &LeaderDisk| leader.core.entry(task.id()).unwrap().part.reports.start().segment();
    let draft = next(&leader, &task, 2, 0);
    let number = leader.create_job(task.id(), &draft, &[0], &[1], b"request").unwrap().unwrap();
    for number in 4..40 {
        upload_ok(&leader, &task, &[key(number, 0)]);
    }
    // Only new ones: those that were put back are not due.
    while let Some(draft) = leader.next_reports(task.id(), 5, Time(0)).unwrap() {
        let keys = keys_of(&draft);
        let all: Vec<usize> = (0..keys.len()).collect();
        let number = leader.create_job(task.id(), &draft, &all, &[], b"request").unwrap().unwrap();
        leader.commit_job(&task, number, &sums(&task, &keys), &[]).unwrap();
    }
    assert_eq!(first_segment(&leader), 1);
    leader.commit_job(&task, number, &sums(&task, &[key(0, 0)]), &[]).unwrap();
    assert_eq!(first_segment(&leader), 1);
    let leader = {
        drop(leader);
        place.leader()
    };
    aggregate_all(&leader, &task);
    assert!(first_segment(&leader) > 5);
    let leader = {
        drop(leader);
        place.leader()
    };
    assert_counted(&leader, &task, hours(0, 1), &keys(0..40, 0));
    upload_ok(&leader, &task, &[key(40, 0)]);
    assert_eq!(queued(&leader, &task), [key(40, 0)]);
}

/// Also of the segment that is being written, once it is worth it: a limit smaller than a segment must not be
/// filled by what was worked off.
#[test]
fn the_last_segment_is_left_when_all_of_it_is_worked_off() {
    let mut place = Place::new();
    place.max_bytes = 3 << 20;
    let task = histogram();
    let mut leader = leader_with(&place, &task, &[]);
    let body = |key: &ReportKey| {
        let mut body = encoded(key);
        body.resize(600 << 10, 1);
        body
    };
    for number in 0..20 {
        let key = key(number, 0);
        let report = NewReport { key, encoded: &body(&key) };
        assert_eq!(leader.append_reports(task.id(), &[report]).unwrap(), [Ok(())]);
        aggregate_all(&leader, &task);
        if number % 5 == 4 {
            leader = {
                drop(leader);
                place.leader()
            };
        }
    }
    assert_counted(&leader, &task, hours(0, 1), &keys(0..20, 0));
}

/// Second copies in the spool, as a crash may leave them behind a failed append, count once.
#[test]
fn second_copies_in_the_spool_are_left_out() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &keys(0..2, 0));
    let copies = [0, 1, 2, 2, 0].map(|number| [encoded(&key(number, 0))]);
    leader.core.entry(task.id()).unwrap().part.reports.append_group(&copies).unwrap();
    let leader = {
        drop(leader);
        place.leader()
    };
    assert_eq!(leader.backlog(task.id()).unwrap(), 7);
    let (first, taken) = make_job(&leader, &task, 1).unwrap();
    assert_eq!(taken, [key(0, 0)]);
    let (second, rest) = make_job(&leader, &task, 10).unwrap();
    assert_eq!(rest, keys(1..3, 0));
    let leader = {
        drop(leader);
        place.leader()
    };
    leader.commit_job(&task, second, &sums(&task, &rest), &[]).unwrap();
    leader.commit_job(&task, first, &sums(&task, &taken), &[]).unwrap();
    assert!(make_job(&leader, &task, 10).is_none());
    assert_eq!(leader.backlog(task.id()).unwrap(), 0);
    assert_counted(&leader, &task, hours(0, 1), &keys(0..3, 0));
}

#[test]
fn a_lost_spool_is_noticed() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &keys(0..2, 0));
    aggregate_all(&leader, &task);
    drop(leader);
    let reports = place.options().dir.join("reports");
    let aside = place.options().dir.join("aside");
    std::fs::rename(&reports, &aside).unwrap();
    assert!(matches!(place.try_leader(), Err(StoreError::Corrupt { .. })));
    std::fs::create_dir_all(reports.join(task.id().to_string())).unwrap();
    assert!(matches!(place.try_leader(), Err(StoreError::Corrupt { .. })));
    std::fs::remove_dir_all(&reports).unwrap();
    std::fs::rename(&aside, &reports).unwrap();
    assert_counted(&place.leader(), &task, hours(0, 1), &keys(0..2, 0));
}

#[test]
fn an_older_store_is_refused() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &keys(0..2, 0));
    drop(leader);
    let state = place.options().dir.join("state");
    let older = std::fs::read(state.join("db")).unwrap();
    let leader = place.leader();
    aggregate_all(&leader, &task);
    drop(leader);
    std::fs::write(state.join("db"), older).unwrap();
    assert!(matches!(
        LeaderDisk::open(&place.options()),
        Err(StoreError::BehindWatermark { .. } | StoreError::Corrupt { .. })
    ));
    // Nor may the helper use the leader's.
    let other = Place::new();
    drop(other.leader());
    assert!(matches!(HelperDisk::open(&other.options()), Err(StoreError::WrongRole { .. })));
}
