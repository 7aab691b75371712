//! What an operator is told of a store.

use super::*;
use crate::store::{Fault, FileOp, HelperStore as _, PreparedJob, Usage, Waiting};

fn waiting(leader: &LeaderDisk) -> Waiting {
    let all = leader.waiting().unwrap();
    assert_eq!(all.len(), 1);
    all[0].1
}

#[test]
fn what_waits_is_told_with_its_oldest_time() {
    let (place, task) = (Place::new(), histogram());
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    assert_eq!(waiting(&leader), Waiting::default());
    // In the order of arrival: the second is older.
    upload_ok(&leader, &task, &[key(0, 5), key(1, 2), key(2, 7)]);
    let at = |hour: u64| Some(Time(START + hour));
    assert_eq!(waiting(&leader), Waiting { reports: 3, oldest: at(5), ..Waiting::default() });
    let draft = leader.next_reports(task.id(), 2, Time(START + 9)).unwrap().unwrap();
    let number = leader.create_job(task.id(), &draft, &[0, 1], &[], b"request").unwrap().unwrap();
    assert_eq!(waiting(&leader), Waiting { reports: 3, jobs: 1, oldest: at(2), ..Waiting::default() });
    let put_back = [(key(0, 5).time, draft.reports[0].position)];
    leader.commit_job(&task, number, &sums(&task, &[key(1, 2)]), &put_back).unwrap();
    assert_eq!(waiting(&leader), Waiting { reports: 2, oldest: at(5), ..Waiting::default() });
    aggregate_all(&leader, &task);
    assert_eq!(waiting(&leader), Waiting::default());
    leader.create_collection(task.id(), collection_id(1), b"query", hours(2, 3)).unwrap();
    assert_eq!(waiting(&leader), Waiting { draining: 1, ..Waiting::default() });
    let (found, _) = leader.summarize(&task, hours(2, 3)).unwrap();
    leader.start_asking(task.id(), collection_id(1), found, b"request").unwrap();
    assert_eq!(waiting(&leader), Waiting { asking: 1, ..Waiting::default() });
}

#[test]
fn a_full_store_is_not_ready_until_there_is_room_again() {
    let mut place = Place::new();
    (place.max_bytes, place.segment_bytes) = (6_000, 1_000);
    let task = histogram();
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    let mut taken = 0;
    while upload(&leader, &task, &[key(taken, 0)]).is_ok() {
        leader.check().unwrap();
        taken += 1;
    }
    assert!(leader.check().unwrap_err().is_full());
    let Usage { bytes, max_bytes, free_bytes } = leader.usage().unwrap();
    assert!(bytes <= max_bytes && max_bytes == 6_000 && bytes > 5_000 && free_bytes > 0);
    aggregate_all(&leader, &task);
    leader.check().unwrap();
    assert!(leader.usage().unwrap().bytes < bytes, "space is given back");
}

/// Fails every operation of one kind.
fn failing(fails: fn(&FileOp<'_>) -> bool) -> (Arc<dyn Faults>, Arc<std::sync::atomic::AtomicBool>) {
    let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let on = Arc::clone(&armed);
    let faults = move |op: FileOp<'_>| {
        (on.load(std::sync::atomic::Ordering::Relaxed) && fails(&op)).then_some(Fault::Errno(EIO))
    };
    (Arc::new(faults), armed)
}

#[test]
fn a_store_in_doubt_is_not_ready_until_it_is_opened_again() {
    let (faults, armed) = failing(|op| matches!(op, FileOp::Sync(_)));
    let mut place = Place::new();
    place.faults = Some(faults);
    let task = histogram();
    let (leader, helper_place) = (place.leader(), Place { faults: place.faults.clone(), ..Place::new() });
    let helper = helper_place.helper();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    helper.opt_in(task.id(), &record(&task)).unwrap();
    leader.check().unwrap();
    helper.check().unwrap();
    armed.store(true, std::sync::atomic::Ordering::Relaxed);
    upload(&leader, &task, &[key(0, 0)]).unwrap_err();
    let reports = [key(0, 0)];
    helper
        .commit_once(&task, request_key(1), &reports, &mut |_| {
            Ok(PreparedJob {
                sums: sums(&task, &reports),
                put_off: Vec::new(),
                response: b"response".to_vec(),
            })
        })
        .unwrap_err();
    armed.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(leader.check(), Err(StoreError::InDoubt { .. })));
    assert!(matches!(helper.check(), Err(StoreError::InDoubt { .. })));
    drop((leader, helper));
    place.leader().check().unwrap();
    helper_place.helper().check().unwrap();
}

#[test]
fn a_full_disk_is_not_ready() {
    let (faults, armed) = failing(|op| matches!(op, FileOp::FreeSpace(_)));
    let mut place = Place::new();
    place.faults = Some(faults);
    let leader = place.leader();
    leader.check().unwrap();
    armed.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(leader.check().is_err());
    armed.store(false, std::sync::atomic::Ordering::Relaxed);
    leader.check().unwrap();
}
