//! The helper's jobs: each report counts once, each request has one response.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::store::{AggregatorStore as _, HelperStore as _, PreparedJob};

type Claims = [Result<(), ReportError>];

fn helper(place: &Place, task: &Task) -> HelperDisk {
    let helper = place.helper();
    helper.opt_in(task.id(), &record(task)).unwrap();
    helper
}

/// The response tells claims apart, and preparations.
fn prepared(task: &Task, verified: &[ReportKey], claims: &Claims, marker: u8) -> PreparedJob {
    let claimed: Vec<_> =
        verified.iter().zip(claims).filter(|(_, claim)| claim.is_ok()).map(|(key, _)| *key).collect();
    let mut response = vec![marker];
    response.extend(claims.iter().map(|claim| claim.map_or_else(|error| error as u8, |()| 0)));
    PreparedJob { sums: sums(task, &claimed), put_off: Vec::new(), response }
}

fn commit(helper: &HelperDisk, task: &Task, key: u8, verified: &[ReportKey], marker: u8) -> Vec<u8> {
    helper
        .commit_once(task, request_key(key), verified, &mut |claims| {
            Ok(prepared(task, verified, claims, marker))
        })
        .unwrap()
        .response
}

const REPLAYED: u8 = ReportError::ReportReplayed as u8;
const LATE: u8 = ReportError::BatchCollected as u8;

#[test]
fn a_request_has_one_response_for_ever() {
    let (place, task) = (Place::new(), histogram());
    let mut helper = helper(&place, &task);
    let verified = keys(0..3, 0);
    assert_eq!(helper.job_response(task.id(), request_key(1)).unwrap(), None);
    assert_eq!(commit(&helper, &task, 1, &verified, b'a'), [b'a', 0, 0, 0]);
    for _ in 0..2 {
        assert_eq!(commit(&helper, &task, 1, &verified, b'b'), [b'a', 0, 0, 0]);
        assert_eq!(helper.job_response(task.id(), request_key(1)).unwrap().unwrap(), [b'a', 0, 0, 0]);
        assert_counted(&helper, &task, hours(0, 1), &verified);
        helper = {
            drop(helper);
            place.helper()
        };
    }
}

#[test]
fn a_report_counts_once_whatever_jobs_it_is_in() {
    let (place, task) = (Place::new(), histogram());
    let mut helper = helper(&place, &task);
    commit(&helper, &task, 1, &keys(0..3, 0), b'a');
    // More ids than one row holds, in two windows.
    let many: Vec<_> = keys(100..400, 0).into_iter().chain(keys(400..700, 1)).collect();
    commit(&helper, &task, 2, &many, b'b');
    for round in 0..2 {
        let overlapping = [key(2, 0), key(350, 0), key(699, 1), key(10 + round, 0), key(10 + round, 0)];
        let response = commit(&helper, &task, 3 + round as u8, &overlapping, b'c');
        assert_eq!(response, [b'c', REPLAYED, REPLAYED, REPLAYED, 0, REPLAYED]);
        helper = {
            drop(helper);
            place.helper()
        };
    }
    let mut counted = keys(0..3, 0);
    counted.extend(many);
    counted.extend(keys(10..12, 0));
    counted.sort_unstable_by_key(|key| key.time);
    assert_counted(&helper, &task, hours(0, 2), &counted);
}

#[test]
fn a_job_of_rejected_reports_only_is_kept_too() {
    let (place, task) = (Place::new(), histogram());
    let helper = helper(&place, &task);
    assert_eq!(commit(&helper, &task, 1, &[], b'a'), [b'a']);
    let helper = {
        drop(helper);
        place.helper()
    };
    assert_eq!(commit(&helper, &task, 1, &[], b'b'), [b'a']);
    assert_counted(&helper, &task, hours(0, 1), &[]);
}

#[test]
fn what_is_prepared_must_be_what_was_claimed() {
    let (place, task) = (Place::new(), histogram());
    let helper = helper(&place, &task);
    commit(&helper, &task, 1, &keys(0..2, 0), b'a');
    let verified = keys(1..4, 0);
    let attempt = |prepare: &mut dyn FnMut(&Claims) -> Result<PreparedJob, StoreError>| {
        helper.commit_once(&task, request_key(2), &verified, prepare).unwrap_err()
    };
    let counts_a_replay = attempt(&mut |_| {
        Ok(PreparedJob { sums: sums(&task, &verified), put_off: Vec::new(), response: vec![1] })
    });
    assert!(matches!(counts_a_replay, StoreError::Invalid(_)));
    let counts_too_few = attempt(&mut |_| {
        Ok(PreparedJob { sums: sums(&task, &verified[1..2]), put_off: Vec::new(), response: vec![1] })
    });
    assert!(matches!(counts_too_few, StoreError::Invalid(_)));
    let failed = attempt(&mut |_| Err(StoreError::prepare("no")));
    assert!(matches!(failed, StoreError::Prepare(_)));
    let without_response = attempt(&mut |claims| {
        Ok(PreparedJob { response: Vec::new(), ..prepared(&task, &verified, claims, 0) })
    });
    assert!(matches!(without_response, StoreError::Invalid(_)));
    assert_counted(&helper, &task, hours(0, 1), &keys(0..2, 0));
    assert_eq!(helper.job_response(task.id(), request_key(2)).unwrap(), None);
    assert_eq!(commit(&helper, &task, 2, &verified, b'b'), [b'b', REPLAYED, 0, 0]);
}

/// All threads prepare before any commits: one response, one count.
#[test]
fn identical_jobs_at_once_give_one_result() {
    const THREADS: usize = 6;
    let (place, task) = (Place::new(), histogram());
    let helper = helper(&place, &task);
    let verified = keys(0..20, 0);
    let together = Barrier::new(THREADS);
    let responses: Vec<Vec<u8>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|marker| {
                let (helper, task, verified, together) = (&helper, &task, &verified, &together);
                scope.spawn(move || {
                    let mut first = true;
                    let mut prepare = |claims: &Claims| {
                        if std::mem::take(&mut first) {
                            together.wait();
                        }
                        Ok(prepared(task, verified, claims, marker as u8))
                    };
                    helper.commit_once(task, request_key(1), verified, &mut prepare).unwrap().response
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(responses.iter().all(|response| *response == responses[0]));
    assert_eq!(responses[0][1..], [0; 20]);
    assert_counted(&helper, &task, hours(0, 1), &verified);
    let helper = {
        drop(helper);
        place.helper()
    };
    assert_eq!(helper.job_response(task.id(), request_key(1)).unwrap().unwrap(), responses[0]);
    assert_counted(&helper, &task, hours(0, 1), &verified);
}

/// Different jobs with common reports, all prepared before any commits: the later ones are prepared again.
#[test]
fn overlapping_jobs_at_once_count_a_report_once() {
    const THREADS: u32 = 5;
    let (place, task) = (Place::new(), histogram());
    let helper = helper(&place, &task);
    let together = Barrier::new(THREADS as usize);
    let preparations = AtomicUsize::new(0);
    let accepted: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (helper, task, together, preparations) = (&helper, &task, &together, &preparations);
                scope.spawn(move || {
                    // Each shares ten with the next.
                    let verified = keys(number * 10..number * 10 + 20, 0);
                    let mut first = true;
                    let mut prepare = |claims: &Claims| {
                        preparations.fetch_add(1, Ordering::Relaxed);
                        if std::mem::take(&mut first) {
                            together.wait();
                        }
                        Ok(prepared(task, &verified, claims, 1))
                    };
                    let answer =
                        helper.commit_once(task, request_key(number as u8), &verified, &mut prepare).unwrap();
                    answer.response[1..].iter().map(|claim| u32::from(*claim == 0)).sum::<u32>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(accepted, 60);
    assert!(preparations.into_inner() > THREADS as usize);
    assert_counted(&helper, &task, hours(0, 1), &keys(0..60, 0));
}

/// A batch that is collected between the preparation of a job and its commit takes nothing of it.
#[test]
fn a_batch_collected_meanwhile_takes_nothing() {
    let (place, task) = (Place::new(), histogram());
    let helper = helper(&place, &task);
    commit(&helper, &task, 1, &keys(0..12, 0), b'a');
    let verified = [key(20, 0), key(21, 1)];
    let mut collected = false;
    let answer = helper
        .commit_once(&task, request_key(2), &verified, &mut |claims| {
            if !std::mem::replace(&mut collected, true) {
                assert_eq!(claims, [Ok(()), Ok(())]);
                let batch = helper.collect(&task, &terms(&task), hours(0, 1), request_key(9), None);
                assert_eq!(batch.unwrap().report_count, 12);
            }
            Ok(prepared(&task, &verified, claims, b'b'))
        })
        .unwrap();
    assert_eq!(answer.response, [b'b', LATE, 0]);
    helper.finish_collection(task.id(), request_key(9), b"answer").unwrap();
    let helper = {
        drop(helper);
        place.helper()
    };
    assert_eq!(commit(&helper, &task, 3, &[key(0, 0), key(21, 1)], b'c'), [b'c', LATE, REPLAYED]);
    assert_counted(&helper, &task, hours(0, 2), &[key(21, 1)]);
}

#[test]
fn a_response_is_forgotten_when_its_leader_is_done() {
    let (place, task) = (Place::new(), histogram());
    let helper = helper(&place, &task);
    commit(&helper, &task, 1, &keys(0..3, 0), b'a');
    commit(&helper, &task, 2, &keys(3..6, 0), b'b');
    let kept = |helper: &HelperDisk, key| helper.job_response(task.id(), request_key(key)).unwrap().is_some();
    for _ in 0..2 {
        helper.forget_response(task.id(), request_key(1)).unwrap();
        helper.forget_response(task.id(), request_key(77)).unwrap();
    }
    // It goes with the next commit; until then it is as it was.
    assert_eq!(commit(&helper, &task, 1, &keys(0..3, 0), b'x'), [b'a', 0, 0, 0]);
    commit(&helper, &task, 3, &keys(6..9, 0), b'c');
    assert_eq!([1, 2, 3].map(|key| kept(&helper, key)), [false, true, true]);
    let helper = {
        drop(helper);
        place.helper()
    };
    assert_eq!([1, 2, 3].map(|key| kept(&helper, key)), [false, true, true]);
    // A copy of the request that comes late adds nothing.
    assert_eq!(commit(&helper, &task, 1, &keys(0..3, 0), b'x'), [b'x', REPLAYED, REPLAYED, REPLAYED]);
    assert_counted(&helper, &task, hours(0, 1), &keys(0..9, 0));
}

/// Clients choose the times of their reports. A job with one report of an hour that nobody ever collects kept its
/// response for ever, and with it every response after it: the disk filled up.
#[test]
fn a_response_that_stays_does_not_keep_those_after_it() {
    let mut place = Place::new();
    place.segment_bytes = 1_000;
    let task = histogram();
    let mut helper = helper(&place, &task);
    let stays = [key(0, 900)];
    assert_eq!(commit(&helper, &task, 1, &stays, b'a'), [b'a', 0]);
    for round in 0..3 {
        for number in 0..60 {
            let first = (round * 60 + u32::from(number)) * 20 + 100;
            let reports = keys(first..first + 20, 5);
            let request = 100 + number;
            commit(&helper, &task, request, &reports, b'd');
            helper.forget_response(task.id(), request_key(request)).unwrap();
        }
        // The last one's response goes with the next job; the names are used again.
        commit(&helper, &task, 2 + round as u8, &[], b'e');
        helper = {
            drop(helper);
            place.helper()
        };
        assert_eq!(helper.job_response(task.id(), request_key(1)).unwrap().unwrap(), [b'a', 0]);
    }
    let (start, end) = (helper.responses.records.start_segment(), helper.responses.records.end().segment());
    assert!(start > 1 && end - start <= 5, "segments from {start} to {end} are kept");
    assert_eq!(commit(&helper, &task, 1, &stays, b'x'), [b'a', 0]);
}

#[test]
fn responses_are_kept_until_all_their_windows_are_finished() {
    let mut place = Place::new();
    place.segment_bytes = 1_000;
    let task = histogram();
    let helper = helper(&place, &task);
    commit(&helper, &task, 1, &keys(0..12, 0), b'a');
    let both: Vec<_> = keys(12..24, 1).into_iter().chain(keys(24..36, 0)).collect();
    commit(&helper, &task, 2, &both, b'b');
    commit(&helper, &task, 3, &[], b'c');
    for number in 0..60 {
        commit(
            &helper,
            &task,
            100 + number,
            &keys(u32::from(number) * 20 + 100..u32::from(number) * 20 + 120, 5),
            b'd',
        );
    }
    let finish = |helper: &HelperDisk, hour, key| {
        helper.collect(&task, &terms(&task), hours(hour, hour + 1), request_key(key), None).unwrap();
        // Charged is not finished.
        assert!(helper.job_response(task.id(), request_key(2)).unwrap().is_some());
        helper.finish_collection(task.id(), request_key(key), b"answer").unwrap();
    };
    let kept = |helper: &HelperDisk| {
        [1, 2, 3, 100].map(|key| helper.job_response(task.id(), request_key(key)).unwrap().is_some())
    };
    assert_eq!(kept(&helper), [true; 4]);
    finish(&helper, 0, 9);
    assert_eq!(kept(&helper), [false, true, false, true]);
    let helper = {
        drop(helper);
        place.helper()
    };
    finish(&helper, 1, 10);
    assert_eq!(kept(&helper), [false, false, false, true]);
    // What was kept by them is deleted.
    let before = helper.responses.records.start_segment();
    helper.collect(&task, &terms(&task), hours(5, 6), request_key(11), None).unwrap();
    helper.finish_collection(task.id(), request_key(11), b"answer").unwrap();
    assert!(helper.responses.records.start_segment() > before);
    let helper = {
        drop(helper);
        place.helper()
    };
    assert_eq!(kept(&helper), [false; 4]);
}
