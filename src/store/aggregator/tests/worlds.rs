//! A leader's and a helper's store with everything in it that a store can hold, made step by step, and all that can be
//! seen of it. Tests damage the files, or cut the power, and compare.

#![allow(clippy::format_push_string, reason = "a picture is put together line by line")]

use super::*;
use crate::privacy::ledger::Epoch;
use crate::store::power_tests::Step;
use crate::store::{CollectionState, HelperStore as _, PreparedJob};

/// The bounds of the worlds' stores: small segments, so that there are several of each kind.
fn options(home: &Path) -> StoreOptions {
    let (dir, watermark) = (home.join("store"), home.join("watermark"));
    StoreOptions { dir, watermark, max_bytes: 64 << 20, cache_bytes: 4 << 20, segment_bytes: Some(2_000) }
}

fn disk(faults: Option<Arc<dyn Faults>>) -> Disk {
    faults.map_or_else(Disk::default, Disk::with_faults)
}

pub(super) fn open_leader(home: &Path, faults: Option<Arc<dyn Faults>>) -> Result<LeaderDisk, StoreError> {
    LeaderDisk::open_on(&options(home), disk(faults))
}

pub(super) fn open_helper(home: &Path, faults: Option<Arc<dyn Faults>>) -> Result<HelperDisk, StoreError> {
    HelperDisk::open_on(&options(home), disk(faults))
}

fn tasks() -> [Task; 2] {
    [histogram(), task_of(&VdafConfig::histogram(LENGTH).unwrap(), "another")]
}

/// All reports of a world.
fn everything() -> Vec<ReportKey> {
    (0..140).map(|number| key(number, hour_of(number))).collect()
}

fn hour_of(number: u32) -> u64 {
    match number {
        0..12 => 0,
        12..30 => 1,
        30..50 => 2,
        _ => 3,
    }
}

fn some(numbers: std::ops::Range<u32>) -> Vec<ReportKey> {
    numbers.map(|number| key(number, hour_of(number))).collect()
}

fn act<S>(steps: &mut Vec<Step<S>>, run: impl Fn(&S) + 'static) {
    steps.push(Step::new(run));
}

/// Uploads reports of a task; a client that heard nothing does so again.
fn take_in(task: usize, numbers: std::ops::Range<u32>) -> Step<LeaderDisk> {
    Step::upload(move |leader: &LeaderDisk| {
        let results = upload(leader, &tasks()[task], &some(numbers.clone())).unwrap();
        let known = |result: &Result<_, _>| matches!(result, Ok(()) | Err(ReportError::ReportReplayed));
        assert!(results.iter().all(known), "{results:?}");
    })
}

/// A window collected and answered, one that is closed and asked for, one that was refused; reports counted, in open
/// jobs, put back, rejected and waiting; two tasks.
pub(super) fn leader_life() -> Vec<Step<LeaderDisk>> {
    let mut acts = Vec::new();
    for task in [0, 1] {
        act(&mut acts, move |leader: &LeaderDisk| {
            let task = &tasks()[task];
            leader.opt_in(task.id(), &record(task)).unwrap();
        });
    }
    for (task, from, to) in [(0, 0, 6), (0, 6, 12), (1, 60, 70), (0, 12, 18), (1, 70, 80)] {
        acts.push(take_in(task, from..to));
    }
    act(&mut acts, |leader| drop(make_job(leader, &tasks()[0], 20).unwrap()));
    act(&mut acts, |leader| {
        let task = &tasks()[0];
        let job = leader.load_job(task.id(), JobNumber(1)).unwrap();
        let keys: Vec<_> = job.reports.iter().map(|report| key_in(&report.encoded)).collect();
        leader.commit_job(task, job.number, &sums(task, &keys), &[]).unwrap();
    });
    act(&mut acts, |leader| {
        leader.create_collection(tasks()[0].id(), collection_id(1), b"query", hours(0, 1)).unwrap();
    });
    act(&mut acts, |leader| {
        let task = &tasks()[0];
        let (found, _) = leader.summarize(task, hours(0, 1)).unwrap();
        leader.start_asking(task.id(), collection_id(1), found, b"request").unwrap();
    });
    act(&mut acts, |leader| {
        let task = &tasks()[0];
        let batch = leader.collect(task, &terms(task), hours(0, 1), request_key(1), None).unwrap();
        assert_eq!(batch.report_count, 12);
    });
    act(&mut acts, |leader| {
        leader.finish_collection(tasks()[0].id(), request_key(1), &[0xAB; 900]).unwrap();
    });
    act(&mut acts, |leader| {
        let state = CollectionState::Ready { readable_from: 77 };
        leader.set_collection_state(tasks()[0].id(), collection_id(1), &state).unwrap();
    });
    acts.push(take_in(0, 18..30));
    act(&mut acts, |leader| {
        // The first is rejected, the second put back, the third in a job.
        let task = tasks()[0].id();
        let draft = leader.next_reports(task, 3, Time(u64::MAX)).unwrap().unwrap();
        leader.create_job(task, &draft, &[2], &[1], b"the exact request").unwrap();
    });
    act(&mut acts, |leader| {
        let task = tasks()[1].id();
        leader.create_collection(task, collection_id(2), b"other query", hours(5, 6)).unwrap();
    });
    act(&mut acts, |leader| {
        let task = tasks()[1].id();
        leader.create_collection(task, collection_id(3), b"third query", hours(7, 8)).unwrap();
    });
    act(&mut acts, |leader| {
        let task = tasks()[1].id();
        let state = CollectionState::Failed { problem: b"problem".to_vec() };
        leader.set_collection_state(task, collection_id(3), &state).unwrap();
    });
    act(&mut acts, |leader| drop(make_job(leader, &tasks()[1], 7).unwrap()));
    for (task, from, to) in [(1, 80, 95), (0, 30, 35), (0, 35, 50)] {
        acts.push(take_in(task, from..to));
    }
    acts
}

fn body(bytes: &[u8]) -> String {
    format!("{}:{:08x}", bytes.len(), crc32fast::hash(bytes))
}

/// What both roles have of a task.
fn view_batches<M: super::super::core::Memory, P>(
    core: &super::super::core::Core<M, P>,
    task: &Task,
) -> Result<String, StoreError> {
    let mut view = String::new();
    for hour in 0..4 {
        let sum = core.sum(task, hours(hour, hour + 1))?;
        let cells = body(&sum.share.encode());
        let summary = core.summarize(task.id(), hours(hour, hour + 1))?;
        view += &format!("hour {hour}: {summary:?} {} {cells}\n", sum.report_count);
    }
    let entry = core.entry(task.id())?;
    let mut memory = entry.memory();
    let stages: Vec<_> = everything().iter().map(|key| memory.seen().stage(key)).collect();
    let collected = memory.seen().collected_in(hours(0, 10));
    Ok(view + &format!("{stages:?}\n{collected:?}\n"))
}

/// All that can be seen of the leader's store; changes nothing.
pub(super) fn view_leader(leader: &LeaderDisk) -> Result<String, StoreError> {
    let mut view = format!("spent {}\n", leader.spent(&source(), Epoch(0))?);
    for task in tasks() {
        let id = task.id();
        if matches!(leader.backlog(id), Err(StoreError::Invalid(_))) {
            view += "no task\n";
            continue;
        }
        view += &format!("backlog {}\n{}", leader.backlog(id)?, view_batches(&leader.core, &task)?);
        for number in leader.open_jobs(id)? {
            let job = leader.load_job(id, number)?;
            let bodies: Vec<_> = job.reports.iter().map(|report| body(&report.encoded)).collect();
            view += &format!("{number:?} {:?} {bodies:?}\n", body(&job.request));
        }
        if let Some(draft) = leader.next_reports(id, 1000, Time(u64::MAX))? {
            let reports = draft.reports.iter();
            let queued: Vec<_> =
                reports.map(|report| (key_in(&report.encoded), body(&report.encoded))).collect();
            view += &format!("{queued:?}\n");
        }
        for number in 1..4 {
            let answer = leader.collection_answer(id, request_key(number))?;
            view += &format!("{:?} {answer:?}\n", leader.collection(id, collection_id(number))?);
        }
        view += &format!("{:?}\n", leader.open_collections(id)?);
    }
    Ok(view)
}

/// Works everything off, and shows what was counted: each acknowledged report once.
pub(super) fn work_off(leader: &LeaderDisk) -> Result<String, StoreError> {
    let mut view = String::new();
    for task in tasks() {
        let id = task.id();
        for number in leader.open_jobs(id)? {
            let job = leader.load_job(id, number)?;
            let keys: Vec<_> = job.reports.iter().map(|report| key_in(&report.encoded)).collect();
            leader.commit_job(&task, number, &sums(&task, &keys), &[])?;
        }
        while let Some(draft) = leader.next_reports(id, 1000, Time(u64::MAX))? {
            let included: Vec<usize> = (0..draft.reports.len()).collect();
            let keys: Vec<_> = draft.reports.iter().map(|report| key_in(&report.encoded)).collect();
            let request: &[u8] = if included.is_empty() { b"" } else { b"request" };
            if let Some(number) = leader.create_job(id, &draft, &included, &[], request)? {
                leader.commit_job(&task, number, &sums(&task, &keys), &[])?;
            }
        }
        view += &view_batches(&leader.core, &task)?;
    }
    Ok(view)
}

/// Jobs of two tasks, one of them with replayed reports, one forgotten; a window collected and answered.
pub(super) fn helper_life() -> Vec<Step<HelperDisk>> {
    let mut acts = Vec::new();
    let job = |task: usize, key: u8, numbers: std::ops::Range<u32>| {
        move |helper: &HelperDisk| {
            let (task, verified) = (&tasks()[task], some(numbers.clone()));
            let mut prepare = |claims: &[Result<(), ReportError>]| {
                let claimed = verified.iter().zip(claims).filter(|(_, claim)| claim.is_ok());
                let claimed: Vec<_> = claimed.map(|(report, _)| *report).collect();
                let response = vec![key; 500 + 10 * claimed.len()];
                Ok(PreparedJob { sums: sums(task, &claimed), put_off: Vec::new(), response })
            };
            helper.commit_once(task, request_key(key), &verified, &mut prepare).unwrap();
        }
    };
    for task in [0, 1] {
        act(&mut acts, move |helper: &HelperDisk| {
            let task = &tasks()[task];
            helper.opt_in(task.id(), &record(task)).unwrap();
        });
    }
    act(&mut acts, job(0, 1, 0..12));
    act(&mut acts, job(0, 2, 12..20));
    act(&mut acts, job(1, 3, 60..80));
    act(&mut acts, job(0, 4, 15..30));
    act(&mut acts, |helper| helper.forget_response(tasks()[0].id(), request_key(2)).unwrap());
    act(&mut acts, |helper| {
        let task = &tasks()[0];
        let batch = helper.collect(task, &terms(task), hours(0, 1), request_key(9), None).unwrap();
        assert_eq!(batch.report_count, 12);
    });
    act(&mut acts, |helper| {
        helper.finish_collection(tasks()[0].id(), request_key(9), &[0xCD; 900]).unwrap();
    });
    act(&mut acts, job(0, 5, 30..35));
    act(&mut acts, job(1, 6, 80..95));
    act(&mut acts, |helper| {
        let task = &tasks()[0];
        helper.collect(task, &terms(task), hours(1, 2), request_key(8), None).unwrap();
    });
    acts
}

/// All that can be seen of the helper's store; changes nothing.
pub(super) fn view_helper(helper: &HelperDisk) -> Result<String, StoreError> {
    let mut view = format!("spent {}\n", helper.spent(&source(), Epoch(0))?);
    for task in tasks() {
        let id = task.id();
        if matches!(helper.core.entry(id), Err(StoreError::Invalid(_))) {
            view += "no task\n";
            continue;
        }
        view += &view_batches(&helper.core, &task)?;
        for number in 1..10 {
            let answer = helper.collection_answer(id, request_key(number))?;
            // When all windows of a job are answered, its response may go later: here that of the first job.
            let finished = helper.core.entry(id)?.memory().all_finished(key(0, 0).time, key(0, 0).time);
            let response = match number {
                1 if finished => None,
                _ => helper.job_response(id, request_key(number))?,
            };
            view += &format!("{:?} {:?}\n", response.as_deref().map(body), answer.as_deref().map(body));
        }
    }
    Ok(view)
}
