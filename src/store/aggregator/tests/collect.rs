//! Collecting: once, paid for, durable before anything leaves.

use super::super::collections::FAILED_KEPT;
use super::*;
use crate::privacy::gate::Refusal;
use crate::privacy::ledger::{Epoch, LedgerError};
use crate::store::{
    AggregatorStore, CollectRefusal, CollectedBatch, CollectionCreated, CollectionDeleted, CollectionState,
    OPEN_COLLECTIONS_MAX,
};

/// Twelve reports in the hours 0 and 1, six each.
fn all() -> Vec<ReportKey> {
    keys(0..6, 0).into_iter().chain(keys(6..12, 1)).collect()
}

fn leader_with(place: &Place, task: &Task, keys: &[ReportKey]) -> LeaderDisk {
    let leader = place.leader();
    leader.opt_in(task.id(), &record(task)).unwrap();
    upload_ok(&leader, task, keys);
    aggregate_all(&leader, task);
    leader
}

#[track_caller]
fn assert_batch(batch: &CollectedBatch, task: &Task, keys: &[ReportKey]) {
    let expected = bucket(task, keys);
    assert_eq!((batch.report_count, batch.checksum), (expected.report_count, expected.checksum));
    assert_eq!(*batch.sum.exact(), expected.share);
}

fn spent(store: &impl AggregatorStore) -> u64 {
    store.spent(&source(), Epoch(0)).unwrap()
}

const COST: u64 = EPSILON as u64;

/// A collector could have asked for every window that there ever was while the helper was away, and none would have
/// ended: each took memory, and a task of the driver's.
#[test]
fn open_collections_are_limited() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    let id = |number: usize| CollectionJobId::new((number as u128).to_be_bytes());
    let create = |number: usize| {
        let window = hours(number as u64, number as u64 + 1);
        leader.create_collection(task.id(), id(number), b"query", window).unwrap()
    };
    for number in 0..OPEN_COLLECTIONS_MAX {
        assert!(matches!(create(number), CollectionCreated::New(_)), "{number}");
    }
    assert!(matches!(create(OPEN_COLLECTIONS_MAX), CollectionCreated::TooMany));
    assert!(matches!(create(0), CollectionCreated::Existing(_)), "one that is open is not new");
    let failed = CollectionState::Failed { problem: b"no".to_vec() };
    leader.set_collection_state(task.id(), id(7), &failed).unwrap();
    assert!(matches!(create(OPEN_COLLECTIONS_MAX), CollectionCreated::New(_)));
}

#[test]
fn a_batch_is_charged_once_and_given_again_until_it_is_finished() {
    let (place, task) = (Place::new(), histogram());
    let mut leader = leader_with(&place, &task, &all());
    // The window is longer than what is in it.
    let window = hours(0, 24);
    for reopened in [false, true, false, true] {
        let batch = leader.collect(&task, &terms(&task), window, request_key(1), None).unwrap();
        assert_batch(&batch, &task, &all());
        assert_eq!(batch.interval, hours(0, 2));
        assert_eq!(spent(&leader), COST);
        if reopened {
            leader = {
                drop(leader);
                place.leader()
            };
            assert_eq!(spent(&leader), COST);
        }
    }
    assert_eq!(leader.collection_answer(task.id(), request_key(1)).unwrap(), None);
    let long = vec![b'a'; 10_000];
    assert_eq!(leader.finish_collection(task.id(), request_key(1), &long).unwrap(), long);
    for _ in 0..2 {
        assert_eq!(leader.finish_collection(task.id(), request_key(1), b"other").unwrap(), long);
        assert_eq!(leader.collection_answer(task.id(), request_key(1)).unwrap(), Some(long.clone()));
        // Its buckets are gone, it stays collected.
        let (summary, collected) = leader.summarize(&task, window).unwrap();
        assert_eq!((summary.report_count, summary.interval, collected), (0, None, true));
        let again = leader.collect(&task, &terms(&task), window, request_key(1), None);
        assert!(matches!(again, Err(CollectRefusal::Overlap)));
        assert_eq!(spent(&leader), COST);
        leader = {
            drop(leader);
            place.leader()
        };
    }
}

#[test]
fn no_bucket_is_collected_twice() {
    let (place, task) = (Place::new(), histogram());
    let all: Vec<_> = (0..4).flat_map(|hour| keys(hour * 20..hour * 20 + 12, u64::from(hour))).collect();
    let leader = leader_with(&place, &task, &all);
    let collect = |leader: &LeaderDisk, window, key| {
        leader.collect(&task, &terms(&task), window, request_key(key), None)
    };
    assert_batch(&collect(&leader, hours(1, 3), 1).unwrap(), &task, &all[12..36]);
    let mut leader = leader;
    for finished in [false, true] {
        // Other requests, and the own key with another window.
        for (from, to) in [(1, 3), (0, 2), (2, 4), (1, 2), (0, 4), (2, 3)] {
            let refused = collect(&leader, hours(from, to), 2);
            assert!(matches!(refused, Err(CollectRefusal::Overlap)), "{from} {to}");
        }
        assert!(matches!(collect(&leader, hours(0, 3), 1), Err(CollectRefusal::Overlap)));
        assert_eq!(spent(&leader), COST);
        assert!(!leader.summarize(&task, hours(0, 1)).unwrap().1);
        assert!(leader.summarize(&task, hours(0, 2)).unwrap().1);
        assert!(!leader.summarize(&task, hours(3, 4)).unwrap().1);
        if !finished {
            leader.finish_collection(task.id(), request_key(1), b"answer").unwrap();
        }
        leader = {
            drop(leader);
            place.leader()
        };
    }
    // Their neighbours are whole.
    assert_batch(&collect(&leader, hours(0, 1), 3).unwrap(), &task, &all[..12]);
    assert_batch(&collect(&leader, hours(3, 4), 4).unwrap(), &task, &all[36..]);
}

/// The story: an operator who moved `epoch_start` gave every source a fresh budget for days that were paid for.
#[test]
fn a_moved_epoch_start_is_refused_once_something_is_spent() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &[keys(0..12, 0), keys(12..24, 2)].concat());
    let collect = |window, key: u8| leader.collect(&task, &terms(&task), window, request_key(key), None);
    drop(collect(hours(0, 2), 1).unwrap());
    let policy = *terms(&task).policy();
    let rules = SourceRules { epoch_start: START * PRECISION - 3_600, cap: u64::MAX };
    let moved = Terms::new(&task, policy, source(), rules);
    let refused = leader.collect(&task, &moved, hours(2, 4), request_key(2), None);
    let Err(CollectRefusal::Refused(Refusal::Ledger(error @ LedgerError::EpochsMoved { .. }))) = refused
    else {
        panic!("refused for another reason");
    };
    assert!(error.to_string().contains("set epoch_start back"), "{error}");
    assert_eq!(spent(&leader), COST, "nothing was charged");
    drop(collect(hours(2, 4), 2).unwrap());
}

#[test]
fn refusals_change_nothing_and_come_in_order() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    let expected = bucket(&task, &all());
    let right = (expected.report_count, expected.checksum);
    let collect = |window, cap, expected| {
        leader.collect(&task, &terms_with_cap(&task, cap), window, request_key(1), expected)
    };
    // Too few comes before a disagreement, that before the budget.
    let wrong = Some((12, [0; 32]));
    let refused = collect(hours(0, 1), 0, wrong);
    assert!(matches!(refused, Err(CollectRefusal::Refused(Refusal::TooFew { needed: MIN_BATCH }))));
    let refused = collect(hours(0, 2), 0, wrong);
    assert!(matches!(refused, Err(CollectRefusal::Mismatch)));
    let refused = collect(hours(0, 2), 0, Some((11, right.1)));
    assert!(matches!(refused, Err(CollectRefusal::Mismatch)));
    let refused = collect(hours(0, 2), COST - 1, Some(right));
    assert!(matches!(refused, Err(CollectRefusal::Refused(Refusal::Ledger(LedgerError::Spent { .. })))));
    assert!(matches!(collect(hours(5, 5), COST, None), Err(CollectRefusal::Refused(Refusal::TooFew { .. }))));
    assert_eq!(spent(&leader), 0);
    assert!(!leader.summarize(&task, hours(0, 2)).unwrap().1);
    upload_ok(&leader, &task, &[key(100, 0)]);
    assert!(matches!(
        leader.finish_collection(task.id(), request_key(1), b"answer"),
        Err(StoreError::Invalid(_))
    ));
    drop(make_job(&leader, &task, 1));
    // And it can be collected after all.
    assert_batch(&collect(hours(0, 2), COST, Some(right)).unwrap(), &task, &all());
}

#[test]
fn tasks_share_the_budget_of_their_source() {
    let place = Place::new();
    let tasks = [histogram(), task_of(&VdafConfig::Count, "count")];
    let leader = place.leader();
    for task in &tasks {
        leader.opt_in(task.id(), &record(task)).unwrap();
        upload_ok(&leader, task, &all());
        aggregate_all(&leader, task);
    }
    let collect = |leader: &LeaderDisk, task| {
        leader.collect(task, &terms_with_cap(task, 2 * COST - 1), hours(0, 2), request_key(1), None)
    };
    assert_batch(&collect(&leader, &tasks[0]).unwrap(), &tasks[0], &all());
    let leader = {
        drop(leader);
        place.leader()
    };
    assert!(matches!(collect(&leader, &tasks[1]), Err(CollectRefusal::Refused(Refusal::Ledger(_)))));
    assert_eq!(spent(&leader), COST);
}

#[test]
fn every_epoch_of_the_window_is_charged() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    // Two epochs of 168 hours and one hour of a third.
    let _ = leader.collect(&task, &terms(&task), hours(0, 2 * 168 + 1), request_key(1), None).unwrap();
    let spent: Vec<_> = (0..4).map(|epoch| leader.spent(&source(), Epoch(epoch)).unwrap()).collect();
    assert_eq!(spent, [COST, COST, COST, 0]);
    assert_eq!(leader.spent(&BudgetSource::new("other.example").unwrap(), Epoch(0)).unwrap(), 0);
}

/// The window is as long as time; only what is there is looked at.
#[test]
fn an_astronomically_long_interval_is_summarized() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    let for_ever = Interval::new(Time(0), Duration(u64::MAX)).unwrap();
    assert_counted(&leader, &task, for_ever, &all());
    let from_second = Interval::new(Time(START + 1), Duration(u64::MAX - START - 1)).unwrap();
    assert_counted(&leader, &task, from_second, &all()[6..]);
}

/// Reports that come when their window was collected are refused or left out, and jobs add nothing to it.
#[test]
fn nothing_is_added_to_a_collected_window() {
    for finished in [false, true] {
        let (place, task) = (Place::new(), histogram());
        let leader = leader_with(&place, &task, &all());
        // In a job, in the queue and put back.
        upload_ok(&leader, &task, &[key(20, 0), key(21, 3), key(22, 0), key(23, 0), key(24, 3)]);
        let (number, taken) = make_job(&leader, &task, 2).unwrap();
        let draft = leader.next_reports(task.id(), 1, Time(u64::MAX)).unwrap().unwrap();
        leader.create_job(task.id(), &draft, &[], &[0], b"").unwrap();
        let batch = leader.collect(&task, &terms(&task), hours(0, 2), request_key(1), None).unwrap();
        assert_batch(&batch, &task, &all());
        if finished {
            leader.finish_collection(task.id(), request_key(1), b"answer").unwrap();
        }
        let mut leader = leader;
        for _ in 0..2 {
            let late = upload(&leader, &task, &[key(0, 0), key(30, 1), key(21, 3)]).unwrap();
            assert_eq!(late[..2], [Err(ReportError::BatchCollected); 2]);
            assert_eq!(late[2], Err(ReportError::ReportReplayed));
            leader = {
                drop(leader);
                place.leader()
            };
        }
        leader.commit_job(&task, number, &sums(&task, &taken), &[]).unwrap();
        assert_counted(&leader, &task, hours(3, 4), &[key(21, 3)]);
        let (number, rest) = make_job(&leader, &task, 10).unwrap();
        assert_eq!(rest, [key(24, 3)]);
        leader.commit_job(&task, number, &sums(&task, &rest), &[]).unwrap();
        assert_eq!(leader.backlog(task.id()).unwrap(), 0);
        let counted = if finished { 0 } else { 12 };
        assert_eq!(leader.summarize(&task, hours(0, 2)).unwrap().0.report_count, counted);
        if !finished {
            let again = leader.collect(&task, &terms(&task), hours(0, 2), request_key(1), None).unwrap();
            assert_batch(&again, &task, &all());
        }
    }
}

#[test]
fn what_is_finished_leaves_no_rows() {
    use super::super::keys::{Kind, of_task};
    let (place, task) = (Place::new(), histogram());
    // More rows than one commit deletes.
    let hours_used = 1_200;
    let mut all: Vec<_> = (0..hours_used).map(|hour| key(hour, u64::from(hour))).collect();
    all.push(key(9_999, 5_000));
    let leader = leader_with(&place, &task, &all);
    let rows = |leader: &LeaderDisk| {
        [Kind::Count, Kind::Share, Kind::Ids].map(|kind| {
            let mut rows = 0;
            leader
                .core
                .rows(&of_task(kind, task.id()), None, |_, _| {
                    rows += 1;
                    Ok(true)
                })
                .unwrap();
            rows
        })
    };
    assert_eq!(rows(&leader), [1_201; 3]);
    let window = hours(0, u64::from(hours_used));
    leader.collect(&task, &terms(&task), window, request_key(1), None).unwrap();
    leader.finish_collection(task.id(), request_key(1), b"answer").unwrap();
    assert_eq!(rows(&leader), [1; 3]);
    let leader = {
        drop(leader);
        place.leader()
    };
    assert_counted(&leader, &task, hours(0, 10_000), &all[1_200..]);
}

#[test]
fn collection_jobs_are_kept_and_do_not_overlap() {
    let (place, task) = (Place::new(), histogram());
    let mut leader = leader_with(&place, &task, &all());
    let id = task.id();
    let create = |leader: &LeaderDisk, number, from, to| {
        leader.create_collection(id, collection_id(number), b"query", hours(from, to)).unwrap()
    };
    assert!(matches!(create(&leader, 1, 0, 2), CollectionCreated::New(_)));
    let request = vec![b'r'; 4_000];
    let asking = CollectionState::AskingHelper { request: request.clone() };
    for state in [CollectionState::Draining, asking.clone(), asking.clone()] {
        if state == asking {
            let (found, _) = leader.summarize(&task, hours(0, 2)).unwrap();
            leader.start_asking(id, collection_id(1), found, &request).unwrap();
            assert!(leader.start_asking(id, collection_id(1), found, b"another").is_err());
        }
        let CollectionCreated::Existing(job) = create(&leader, 1, 0, 2) else { panic!() };
        assert_eq!(job.state, state);
        assert_eq!((job.request.as_slice(), job.interval), (b"query".as_slice(), hours(0, 2)));
        assert!(matches!(create(&leader, 2, 1, 3), CollectionCreated::Overlap));
        assert!(leader.set_collection_state(id, collection_id(1), &CollectionState::Draining).is_err());
        leader = {
            drop(leader);
            place.leader()
        };
        let open = leader.open_collections(id).unwrap();
        assert_eq!(open.iter().map(|job| job.state.clone()).collect::<Vec<_>>(), [state]);
    }
    // Not ready before there is an answer.
    let ready = CollectionState::Ready { readable_from: 77 };
    assert!(leader.set_collection_state(id, collection_id(1), &ready).is_err());
    leader.collect(&task, &terms(&task), hours(0, 2), request_key(1), None).unwrap();
    leader.finish_collection(id, request_key(1), b"answer").unwrap();
    leader.set_collection_state(id, collection_id(1), &ready).unwrap();
    assert!(leader.set_collection_state(id, collection_id(1), &asking).is_err());
    assert!(leader.open_collections(id).unwrap().is_empty());
    let mut leader = {
        drop(leader);
        place.leader()
    };
    let CollectionCreated::Existing(job) = create(&leader, 1, 0, 2) else { panic!() };
    assert_eq!(job.state, ready);
    assert!(matches!(create(&leader, 2, 1, 3), CollectionCreated::Overlap));
    // Deleted: the answer is forgotten, that it was collected is not.
    leader.delete_collection(id, collection_id(1)).unwrap();
    for _ in 0..2 {
        assert_eq!(leader.collection(id, collection_id(1)).unwrap(), None);
        assert_eq!(leader.collection_answer(id, request_key(1)).unwrap(), None);
        assert!(matches!(create(&leader, 1, 0, 2), CollectionCreated::Overlap));
        assert_eq!(upload(&leader, &task, &[key(50, 0)]).unwrap(), [Err(ReportError::BatchCollected)]);
        assert!(leader.finish_collection(id, request_key(1), b"second").is_err());
        leader.delete_collection(id, collection_id(1)).unwrap();
        leader = {
            drop(leader);
            place.leader()
        };
    }
}

#[test]
fn deleting_an_open_collection_job_opens_its_window() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    let create = |leader: &LeaderDisk, number| {
        leader.create_collection(task.id(), collection_id(number), b"query", hours(0, 2)).unwrap()
    };
    create(&leader, 1);
    leader.delete_collection(task.id(), collection_id(1)).unwrap();
    upload_ok(&leader, &task, &[key(60, 0)]);
    let leader = {
        drop(leader);
        place.leader()
    };
    upload_ok(&leader, &task, &[key(61, 0)]);
    assert!(leader.set_collection_state(task.id(), collection_id(1), &CollectionState::Draining).is_err());
    // Charged but not finished when it was deleted: only the same request goes on with it.
    create(&leader, 2);
    leader.collect(&task, &terms(&task), hours(0, 2), request_key(2), None).unwrap();
    leader.delete_collection(task.id(), collection_id(2)).unwrap();
    let leader = {
        drop(leader);
        place.leader()
    };
    assert!(matches!(create(&leader, 1), CollectionCreated::Overlap));
    assert!(matches!(create(&leader, 2), CollectionCreated::New(_)));
    let batch = leader.collect(&task, &terms(&task), hours(0, 2), request_key(2), None).unwrap();
    assert_batch(&batch, &task, &all());
    assert_eq!(spent(&leader), COST);
}

/// A collector can have as many queries refused as there are windows; each stayed as a row for ever.
#[test]
fn refused_collection_jobs_are_kept_up_to_a_limit() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    let id = |number: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        CollectionJobId::new(id)
    };
    let problem = CollectionState::Failed { problem: b"problem".to_vec() };
    for number in 0..FAILED_KEPT + 7 {
        leader.create_collection(task.id(), id(number), b"query", hours(0, 2)).unwrap();
        leader.set_collection_state(task.id(), id(number), &problem).unwrap();
        assert_eq!(leader.collection(task.id(), id(number)).unwrap().unwrap().state, problem);
    }
    let left = |leader: &LeaderDisk| {
        let kept = |number: &usize| leader.collection(task.id(), id(*number)).unwrap().is_some();
        (0..FAILED_KEPT + 7).filter(kept).count()
    };
    assert_eq!(left(&leader), FAILED_KEPT);
    // Its window is open, and one that is under way is not among them.
    leader.create_collection(task.id(), id(FAILED_KEPT + 8), b"query", hours(0, 2)).unwrap();
    assert_eq!(leader.open_collections(task.id()).unwrap().len(), 1);
    assert_eq!(left(&leader), FAILED_KEPT);
}

/// A job was deleted while the helper was being asked: its window opened again, took new reports, and the batch that
/// the helper had charged for could never be agreed upon.
#[test]
fn a_collection_job_that_asks_the_helper_is_not_deleted() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    let id = collection_id(1);
    leader.create_collection(task.id(), id, b"query", hours(0, 2)).unwrap();
    let (found, _) = leader.summarize(&task, hours(0, 2)).unwrap();
    leader.start_asking(task.id(), id, found, b"request").unwrap();
    let asking = CollectionState::AskingHelper { request: b"request".to_vec() };
    assert_eq!(leader.delete_collection(task.id(), id).unwrap(), CollectionDeleted::Busy);
    assert_eq!(leader.collection(task.id(), id).unwrap().unwrap().state, asking);
    assert_eq!(upload(&leader, &task, &[key(60, 0)]).unwrap(), [Err(ReportError::BatchCollected)]);
    let failed = CollectionState::Failed { problem: b"problem".to_vec() };
    leader.set_collection_state(task.id(), id, &failed).unwrap();
    assert_eq!(leader.delete_collection(task.id(), id).unwrap(), CollectionDeleted::Gone);
    upload_ok(&leader, &task, &[key(60, 0)]);
}

/// Between finding out what a drained batch amounts to and asking the helper for that, the collector deleted its job and
/// made it anew. The window was open for a moment; the report that came then was acknowledged, and the request, which did
/// not know of it, went to the helper all the same: the report was in neither sum.
#[test]
fn a_batch_that_changed_since_it_was_drained_is_not_asked_for() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    let id = collection_id(1);
    let create = || leader.create_collection(task.id(), id, b"query", hours(0, 2)).unwrap();
    create();
    assert!(leader.drained(task.id(), id).unwrap());
    let (found, _) = leader.summarize(&task, hours(0, 2)).unwrap();
    assert_eq!(leader.delete_collection(task.id(), id).unwrap(), CollectionDeleted::Gone);
    upload_ok(&leader, &task, &[key(60, 0)]);
    assert!(matches!(create(), CollectionCreated::New(_)));
    // Not drained; then drained, but another batch.
    for _ in 0..2 {
        let asked = leader.start_asking(task.id(), id, found, b"request");
        assert!(matches!(asked, Err(StoreError::Invalid(_))), "{asked:?}");
        assert_eq!(leader.collection(task.id(), id).unwrap().unwrap().state, CollectionState::Draining);
        aggregate_all(&leader, &task);
        assert!(leader.drained(task.id(), id).unwrap());
    }
    let (found, _) = leader.summarize(&task, hours(0, 2)).unwrap();
    assert_eq!(found.report_count, 13);
    leader.start_asking(task.id(), id, found, b"request").unwrap();
}

/// A batch was charged for, and before its answer was kept the operator changed the task's terms. Only what the release cost
/// was compared: charged for 10 reports of a device at 0.1 epsilon each, it was released at epsilon 1, which costs the same
/// for one report, and the device that had sent 10 lost ten times what the ledger said. And without any crash: reports that
/// devices made under k = 10 were charged for k = 1, or to another source.
#[test]
fn a_task_is_released_under_the_terms_that_it_was_opted_in_with() {
    let (place, task) = (Place::new(), histogram());
    let all = [all(), keys(12..24, 5)].concat();
    let leader = leader_with(&place, &task, &all);
    let first = terms(&task);
    let terms = |epsilon: u32, contributions: u32, name: &str| {
        let policy = PrivacyPolicy {
            epsilon: MicroEpsilon::from_micro(epsilon).unwrap(),
            contributions: NonZeroU32::new(contributions).unwrap(),
            ..*first.policy()
        };
        Terms::new(&task, policy, BudgetSource::new(name).unwrap(), *first.rules())
    };
    let others = [
        terms(EPSILON / 10, 10, "shop.example"),
        terms(EPSILON, 2, "shop.example"),
        terms(EPSILON - 1, 1, "shop.example"),
        terms(EPSILON, 1, "other.example"),
    ];
    let collect = |leader: &LeaderDisk, terms: &Terms, window, key| {
        leader.collect(&task, terms, window, request_key(key), None)
    };
    let refused = |leader: &LeaderDisk, window, key| {
        for other in &others {
            let Err(CollectRefusal::Refused(refusal)) = collect(leader, other, window, key) else {
                panic!("released under other terms")
            };
            assert_eq!(refusal, Refusal::OtherTerms(first.pinned()));
            let text = refusal.to_string();
            assert!(text.contains("epsilon 1, contributions 1, budget source shop.example"), "{text}");
        }
    };
    refused(&leader, hours(0, 2), 1);
    assert_eq!(spent(&leader), 0);
    assert_batch(&collect(&leader, &first, hours(0, 2), 1).unwrap(), &task, &all[..12]);
    let leader = {
        drop(leader);
        place.leader()
    };
    // The one that is charged for, and another.
    refused(&leader, hours(0, 2), 1);
    refused(&leader, hours(5, 6), 2);
    assert_batch(&collect(&leader, &first, hours(0, 2), 1).unwrap(), &task, &all[..12]);
    assert_eq!(spent(&leader), COST);
    // The threshold decides nothing here.
    let policy = PrivacyPolicy { threshold: 99, ..*first.policy() };
    let shown = Terms::new(&task, policy, source(), *first.rules());
    drop(collect(&leader, &shown, hours(5, 6), 2).unwrap());
}

/// A window was charged for, its answer was not kept, and then the operator moved `epoch_start`: the window was refused, as
/// if its budget were spent. The leader took that for "nothing charged" and opened its own again, where reports were
/// acknowledged that the helper refused.
#[test]
fn a_window_that_is_charged_is_resumed_whatever_became_of_the_epochs() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    let moved = SourceRules { epoch_start: START * PRECISION - 3_600, cap: 0 };
    let collect = |leader: &LeaderDisk, rules| {
        let terms = Terms::new(&task, *terms(&task).policy(), source(), rules);
        leader.collect(&task, &terms, hours(0, 2), request_key(1), None)
    };
    drop(collect(&leader, *terms(&task).rules()).unwrap());
    drop(leader);
    let leader = place.leader();
    assert_batch(&collect(&leader, moved).unwrap(), &task, &all());
    assert_eq!(spent(&leader), COST);
    // And the source's epochs are those that they were.
    drop(leader);
    let kept = place.leader().epoch_start(&source()).unwrap();
    assert_eq!(kept, Some(START * PRECISION));
}

/// Many requests for overlapping windows at once: one is charged.
#[test]
fn of_concurrent_queries_one_is_charged() {
    let (place, task) = (Place::new(), histogram());
    let leader = leader_with(&place, &task, &all());
    let admitted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let (leader, task) = (&leader, &task);
                let window = hours(0, 2 + u64::from(number % 3));
                scope.spawn(move || {
                    leader.collect(task, &terms(task), window, request_key(number), None).is_ok()
                })
            })
            .collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
    });
    assert_eq!((admitted, spent(&leader)), (1, COST));
}
