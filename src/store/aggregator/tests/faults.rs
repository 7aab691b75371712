//! Every file operation of every call fails once. Afterwards the store is as before the call or as after it,
//! after a call that returned `Ok` as after it, and the call can be made again.

use std::fmt::Debug;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::privacy::ledger::Epoch;
use crate::store::{
    AggregatorStore, CollectRefusal, CollectionState, Fault, FileOp, HelperStore as _, PreparedJob,
};

/// Fails an operation that is counted down to.
#[derive(Default)]
struct Countdown(Mutex<State>);

#[derive(Default)]
struct State {
    /// Operations until the one that fails, and how it fails.
    armed: Option<(usize, Fault)>,
    fired: bool,
}

impl Countdown {
    fn arm(&self, after: usize, fault: Fault) {
        *self.0.lock().unwrap() = State { armed: Some((after, fault)), fired: false };
    }

    /// Whether an operation failed.
    fn disarm(&self) -> bool {
        std::mem::take(&mut *self.0.lock().unwrap()).fired
    }
}

impl Faults for Countdown {
    fn before(&self, _: FileOp<'_>) -> Option<Fault> {
        let mut state = self.0.lock().unwrap();
        match &mut state.armed {
            Some((0, fault)) => {
                let fault = *fault;
                (state.armed, state.fired) = (None, true);
                Some(fault)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}

/// A failing disk, one that fails after it has done what it was asked, and a full one that takes a part of a write.
const FAULTS: [Fault; 3] = [Fault::Errno(EIO), Fault::Late(EIO), Fault::Short(90, ENOSPC)];

/// Makes every operation of `act` fail in every way. `act` must do nothing where it was done.
fn fail_everywhere<S, V: PartialEq + Debug>(
    open: impl Fn(&Place) -> S,
    prepare: impl Fn(&S),
    act: impl Fn(&S) -> Result<(), StoreError>,
    view: impl Fn(&S) -> Result<V, StoreError>,
) {
    let place = Place::new();
    let store = open(&place);
    prepare(&store);
    let before = view(&store).unwrap();
    act(&store).unwrap();
    let after = view(&store).unwrap();
    assert_ne!(before, after);
    act(&store).unwrap();
    assert_eq!(view(&store).unwrap(), after);
    drop(store);
    assert_eq!(view(&open(&place)).unwrap(), after);
    for fault in FAULTS {
        for operation in 0.. {
            let mut place = Place::new();
            let countdown = Arc::new(Countdown::default());
            place.faults = Some(Arc::<Countdown>::clone(&countdown));
            let store = open(&place);
            prepare(&store);
            countdown.arm(operation, fault);
            let result = act(&store);
            let fired = countdown.disarm();
            let context = format!("{fault:?} at operation {operation}: {result:?}");
            match (&result, view(&store)) {
                (Ok(()), Ok(view)) => assert_eq!(view, after, "{context}"),
                (Err(_), Ok(view)) => assert_eq!(view, before, "{context}"),
                // The store refuses until it is opened again. It may do so after an `Ok` if what failed came after the
                // decision.
                (_, Err(error)) => assert!(matches!(error, StoreError::InDoubt { .. }), "{context}: {error}"),
            }
            drop(store);
            let store = open(&place);
            let found = view(&store).unwrap();
            assert!(found == after || (result.is_err() && found == before), "{context}: {found:?}");
            act(&store).unwrap();
            assert_eq!(view(&store).unwrap(), after, "{context}");
            if !fired {
                // All its operations have had their turn.
                assert!(operation > 0 && result.is_ok());
                break;
            }
        }
    }
}

type Known = Vec<Result<(), ReportError>>;

/// All that can be seen of the leader's store, without changing it.
type LeaderView = (u64, Vec<ReportKey>, Vec<String>, Known, String);

fn view_leader(leader: &LeaderDisk) -> Result<LeaderView, StoreError> {
    let task = histogram();
    let id = task.id();
    let mut jobs = Vec::new();
    for number in leader.open_jobs(id)? {
        let job = leader.load_job(id, number)?;
        let keys: Vec<_> = job.reports.iter().map(|report| key_in(&report.encoded)).collect();
        jobs.push(format!("{number:?} {:?} {keys:?}", job.request));
    }
    let draft = leader.next_reports(id, 100, Time(u64::MAX))?;
    let queued = draft.map(|draft| draft.reports.iter().map(|report| key_in(&report.encoded)).collect());
    // These are known in every scenario: they show which windows are closed.
    let known = upload(leader, &task, &[key(0, 0), key(13, 1)])?;
    let rest = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        leader.summarize(&task, hours(0, 10))?,
        leader.spent(&source(), Epoch(0))?,
        leader.collection(id, collection_id(1))?,
        leader.collection_answer(id, request_key(1))?,
        leader.open_collections(id)?,
    );
    Ok((leader.backlog(id)?, queued.unwrap_or_default(), jobs, known, rest))
}

fn fail_leader(
    prepare: impl Fn(&LeaderDisk, &Task),
    act: impl Fn(&LeaderDisk, &Task) -> Result<(), StoreError>,
) {
    let task = histogram();
    let prepare = |leader: &LeaderDisk| {
        leader.opt_in(task.id(), &record(&task)).unwrap();
        upload_ok(leader, &task, &keys(0..12, 0));
        aggregate_all(leader, &task);
        upload_ok(leader, &task, &keys(12..16, 1));
        prepare(leader, &task);
    };
    fail_everywhere(Place::leader, prepare, |leader| act(leader, &task), view_leader);
}

#[test]
fn opting_in() {
    let task = histogram();
    fail_everywhere(
        Place::leader,
        |_| {},
        |leader| leader.opt_in(task.id(), &record(&task)).map(|_| ()),
        |leader| match leader.backlog(task.id()) {
            Ok(_) => Ok(true),
            Err(StoreError::Invalid(_)) => Ok(false),
            Err(error) => Err(error),
        },
    );
}

#[test]
fn appending() {
    let act = |leader: &LeaderDisk, task: &Task| {
        let results = upload(leader, task, &[key(20, 0), key(21, 2)])?;
        let replayed = Err(ReportError::ReportReplayed);
        // An append that failed may leave its first records behind a crash; they count as known then.
        assert!(results.iter().all(|result| result.is_ok() || *result == replayed));
        Ok(())
    };
    fail_leader(|_, _| {}, act);
}

#[test]
fn making_a_job() {
    fail_leader(
        |leader, task| {
            // One of them was put back before.
            let draft = leader.next_reports(task.id(), 1, Time(u64::MAX)).unwrap().unwrap();
            leader.create_job(task.id(), &draft, &[], &[0], b"").unwrap();
        },
        |leader, task| {
            if leader.open_jobs(task.id())?.is_empty() {
                let draft = leader.next_reports(task.id(), 4, Time(u64::MAX))?.unwrap();
                leader.create_job(task.id(), &draft, &[1, 0], &[2], b"request")?;
            }
            Ok(())
        },
    );
}

#[test]
fn ending_a_job() {
    fail_leader(
        |leader, task| drop(make_job(leader, task, 3)),
        |leader, task| {
            let Some(number) = leader.open_jobs(task.id())?.first().copied() else { return Ok(()) };
            let put_back = leader.load_job(task.id(), number)?.reports[1].position;
            leader.commit_job(task, number, &sums(task, &[key(12, 1)]), &[(key(13, 1).time, put_back)])
        },
    );
}

#[test]
fn closing_a_window() {
    fail_leader(
        |_, _| {},
        |leader, task| {
            leader.create_collection(task.id(), collection_id(1), b"query", hours(0, 2)).map(|_| ())
        },
    );
}

#[test]
fn moving_a_collection_on_opening_its_window_and_deleting_it() {
    let create = |leader: &LeaderDisk, task: &Task| {
        leader.create_collection(task.id(), collection_id(1), b"query", hours(0, 2)).unwrap();
    };
    let drained = |leader: &LeaderDisk, task: &Task| {
        create(leader, task);
        aggregate_all(leader, task);
    };
    fail_leader(drained, |leader, task| {
        let (found, _) = leader.summarize(task, hours(0, 2))?;
        leader.start_asking(task.id(), collection_id(1), found, b"request")
    });
    let failed = CollectionState::Failed { problem: b"problem".to_vec() };
    fail_leader(create, |leader, task| leader.set_collection_state(task.id(), collection_id(1), &failed));
    fail_leader(create, |leader, task| leader.delete_collection(task.id(), collection_id(1)).map(|_| ()));
}

fn collect(store: &impl AggregatorStore, task: &Task) -> Result<(), StoreError> {
    match store.collect(task, &terms(task), hours(0, 1), request_key(1), None) {
        Ok(batch) => {
            assert_eq!(*batch.sum.exact(), bucket(task, &keys(0..12, 0)).share);
            Ok(())
        }
        Err(CollectRefusal::Store(error)) => Err(error),
        Err(refusal) => panic!("{refusal}"),
    }
}

#[test]
fn collecting_finishing_and_deleting() {
    let finish = |leader: &LeaderDisk, task: &Task| {
        leader
            .finish_collection(task.id(), request_key(1), b"answer")
            .map(|answer| assert_eq!(answer, b"answer"))
    };
    let closed = |leader: &LeaderDisk, task: &Task| {
        leader.create_collection(task.id(), collection_id(1), b"query", hours(0, 1)).unwrap();
    };
    let collected = |leader: &LeaderDisk, task: &Task| {
        closed(leader, task);
        collect(leader, task).unwrap();
    };
    let finished = |leader: &LeaderDisk, task: &Task| {
        collected(leader, task);
        finish(leader, task).unwrap();
    };
    fail_leader(closed, collect);
    fail_leader(collected, finish);
    fail_leader(finished, |leader, task| {
        let ready = CollectionState::Ready { readable_from: 7 };
        leader.set_collection_state(task.id(), collection_id(1), &ready)
    });
    fail_leader(finished, |leader, task| leader.delete_collection(task.id(), collection_id(1)).map(|_| ()));
}

#[test]
fn the_helpers_jobs_and_batches() {
    let task = histogram();
    let job = |helper: &HelperDisk, key: u8, verified: &[ReportKey]| {
        let answer = helper.commit_once(&task, request_key(key), verified, &mut |claims| {
            assert!(claims.iter().all(Result::is_ok));
            Ok(PreparedJob { sums: sums(&task, verified), put_off: Vec::new(), response: vec![key; 300] })
        })?;
        assert_eq!(answer.response, vec![key; 300]);
        Ok(())
    };
    let prepare = |helper: &HelperDisk| {
        helper.opt_in(task.id(), &record(&task)).unwrap();
        job(helper, 1, &keys(0..12, 0)).unwrap();
    };
    let view = |helper: &HelperDisk| {
        let responses = [1, 2].map(|key| helper.job_response(task.id(), request_key(key)));
        Ok(format!(
            "{responses:?} {:?} {:?} {:?}",
            helper.summarize(&task, hours(0, 10))?,
            helper.spent(&source(), Epoch(0))?,
            helper.collection_answer(task.id(), request_key(1))?
        ))
    };
    let later: Vec<_> = keys(20..30, 0).into_iter().chain(keys(30..600, 1)).collect();
    fail_everywhere(Place::helper, prepare, |helper| job(helper, 2, &later), view);
    fail_everywhere(Place::helper, prepare, |helper| collect(helper, &task), view);
}

/// The fifth job finds the first one's response alone in an old segment and moves it.
#[test]
fn moving_a_response() {
    let task = histogram();
    let open = |place: &Place| {
        let options = StoreOptions { segment_bytes: Some(200), ..place.options() };
        HelperDisk::open_on(&options, place.disk()).unwrap()
    };
    let job = |helper: &HelperDisk, number: u8| {
        let reports = keys(u32::from(number) * 10..u32::from(number) * 10 + 5, number.into());
        let mut prepare = |_: &[_]| {
            Ok(PreparedJob { sums: sums(&task, &reports), put_off: Vec::new(), response: vec![number; 300] })
        };
        helper.commit_once(&task, request_key(number), &reports, &mut prepare).map(|_| ())
    };
    fail_everywhere(
        open,
        |helper| {
            helper.opt_in(task.id(), &record(&task)).unwrap();
            (1..5).for_each(|number| job(helper, number).unwrap());
            assert_eq!(helper.responses.records.start_segment(), 1);
            helper.forget_response(task.id(), request_key(2)).unwrap();
        },
        |helper| job(helper, 5),
        |helper| {
            let responses = [1, 3, 4, 5].map(|key| helper.job_response(task.id(), request_key(key)));
            Ok(format!("{responses:?} {:?}", helper.summarize(&task, hours(0, 10))?))
        },
    );
}

/// Finishing is done when the answer is kept; the rows and responses that it frees may go later.
#[test]
fn the_helpers_answer() {
    let task = histogram();
    fail_everywhere(
        Place::helper,
        |helper| {
            helper.opt_in(task.id(), &record(&task)).unwrap();
            let verified = keys(0..12, 0);
            let mut prepare = |_: &[_]| {
                Ok(PreparedJob { sums: sums(&task, &verified), put_off: Vec::new(), response: vec![1] })
            };
            helper.commit_once(&task, request_key(1), &verified, &mut prepare).unwrap();
            collect(helper, &task).unwrap();
        },
        |helper| helper.finish_collection(task.id(), request_key(1), b"answer").map(|_| ()),
        |helper| {
            let again = helper.collect(&task, &terms(&task), hours(0, 1), request_key(2), None);
            assert!(!matches!(again, Ok(_) | Err(CollectRefusal::Mismatch)));
            Ok((
                helper.collection_answer(task.id(), request_key(1))?,
                helper.summarize(&task, hours(0, 2))?.1,
                helper.spent(&source(), Epoch(0))?,
            ))
        },
    );
}

/// One step of a leader's life.
#[derive(Clone, Debug)]
enum Step {
    Upload(Vec<u32>),
    /// At most so many reports; the third part is rejected, the fourth put back.
    MakeJob(usize),
    /// The oldest open job; one in four reports is put back.
    EndJob,
    Restart,
    /// The operation after so many fails.
    Fail(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(0..60_u32, 1..6).prop_map(Step::Upload),
        3 => (1..5_usize).prop_map(Step::MakeJob),
        3 => Just(Step::EndJob),
        1 => Just(Step::Restart),
        2 => (0..12_usize, 0..FAULTS.len()).prop_map(|(after, fault)| Step::Fail(after, fault)),
    ]
}

/// The store under test and what is known of it.
struct Life {
    place: Place,
    countdown: Arc<Countdown>,
    task: Task,
    leader: Option<LeaderDisk>,
    acknowledged: std::collections::BTreeSet<u32>,
}

impl Life {
    fn new() -> Self {
        let mut place = Place::new();
        // Many segments, so that deleting them is part of it.
        place.segment_bytes = 700;
        let countdown = Arc::new(Countdown::default());
        place.faults = Some(Arc::<Countdown>::clone(&countdown));
        let task = histogram();
        let leader = place.leader();
        leader.opt_in(task.id(), &record(&task)).unwrap();
        Self { place, countdown, task, leader: Some(leader), acknowledged: std::collections::BTreeSet::new() }
    }

    fn leader(&self) -> &LeaderDisk {
        self.leader.as_ref().unwrap()
    }

    fn restart(&mut self) {
        self.countdown.disarm();
        self.leader = None;
        self.leader = Some(self.place.leader());
    }

    fn take(&mut self, step: &Step) {
        let result = match step {
            Step::Upload(numbers) => {
                let keys: Vec<_> =
                    numbers.iter().map(|number| key(*number, u64::from(*number % 3))).collect();
                upload(self.leader(), &self.task, &keys).map(|results| {
                    // New or known: either way it was acknowledged.
                    assert!(
                        results
                            .iter()
                            .all(|result| matches!(result, Ok(()) | Err(ReportError::ReportReplayed)))
                    );
                    self.acknowledged.extend(numbers);
                })
            }
            Step::MakeJob(max) => self.make_job(*max),
            Step::EndJob => self.end_job(4),
            Step::Restart => {
                self.restart();
                Ok(())
            }
            Step::Fail(after, fault) => {
                self.countdown.arm(*after, FAULTS[*fault]);
                Ok(())
            }
        };
        // A store in doubt says so until it is opened again.
        if let Err(StoreError::InDoubt { .. }) = result {
            self.restart();
        }
    }

    fn make_job(&self, max: usize) -> Result<(), StoreError> {
        let id = self.task.id();
        let Some(draft) = self.leader().next_reports(id, max, Time(u64::MAX))? else { return Ok(()) };
        let (put_back, included): (Vec<usize>, Vec<usize>) =
            (0..draft.reports.len()).partition(|index| index % 4 == 3);
        let request: &[u8] = if included.is_empty() { b"" } else { b"request" };
        self.leader().create_job(id, &draft, &included, &put_back, request).map(|_| ())
    }

    /// One report in so many is put back.
    fn end_job(&self, put_back_every: usize) -> Result<(), StoreError> {
        let id = self.task.id();
        let Some(number) = self.leader().open_jobs(id)?.first().copied() else { return Ok(()) };
        let job = self.leader().load_job(id, number)?;
        let reports = job.reports.iter().map(|report| (key_in(&report.encoded), report.position));
        let (put_back, counted): (Vec<_>, Vec<_>) =
            reports.enumerate().partition(|(index, _)| (index + 1) % put_back_every == 0);
        let counted: Vec<_> = counted.into_iter().map(|(_, (key, _))| key).collect();
        let put_back: Vec<_> =
            put_back.into_iter().map(|(_, (key, position))| (key.time, position)).collect();
        self.leader().commit_job(&self.task, number, &sums(&self.task, &counted), &put_back)
    }

    /// Every acknowledged report is known, and counts exactly once when all is worked off.
    fn check(mut self) {
        self.restart();
        let acknowledged: Vec<_> =
            self.acknowledged.iter().map(|number| key(*number, u64::from(*number % 3))).collect();
        let known = upload(self.leader(), &self.task, &acknowledged).unwrap();
        assert_eq!(known, vec![Err(ReportError::ReportReplayed); acknowledged.len()]);
        // An upload that failed may have left reports that nobody was told of; now somebody is.
        let all: Vec<_> = (0..60).map(|number| key(number, u64::from(number % 3))).collect();
        upload(self.leader(), &self.task, &all).unwrap();
        while !self.leader().open_jobs(self.task.id()).unwrap().is_empty() {
            self.end_job(usize::MAX).unwrap();
        }
        aggregate_all(self.leader(), &self.task);
        assert_eq!(self.leader().backlog(self.task.id()).unwrap(), 0);
        let mut by_time = all;
        by_time.sort_unstable_by_key(|key| key.time);
        assert_counted(self.leader(), &self.task, hours(0, 3), &by_time);
        let sum = self.leader().core.sum(&self.task, hours(0, 3)).unwrap();
        assert_eq!(sum.share, bucket(&self.task, &by_time).share);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_no_acknowledged_report_is_lost_or_counted_twice(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut life = Life::new();
        for step in &steps {
            life.take(step);
        }
        life.check();
    }
}
