#![allow(clippy::unwrap_used)]

pub(crate) mod fixture;
mod hostile;

use std::collections::BTreeSet;

use self::fixture::{Act, DAY, NO_BUDGET, Running, TOO_FEW, World};
use super::{AT_ONCE, LATE_REPORTS_SECONDS, Measures, OVERDUE_SECONDS, RARE_ATTEMPTS_SECONDS, TASK_AT_ONCE};
use super::{PASSED_OVER_SECONDS, ROOM_PAUSE_SECONDS};
use super::{WindowState, WindowStatus};
use crate::collector::CollectorDisk;
use crate::net::problem::DapError;
use crate::registry::fixture::{NOW, shop};
use crate::registry::{AdvertiserChange, AdvertiserId, Cadence, NewAdvertiser, Terms};

/// The end of the first day: midnight in Berlin.
const FIRST_END: u64 = NOW + 23 * 3_600;
const GRACE: u64 = 7_200;

fn conversions(running: &Running, advertiser: AdvertiserId) -> Vec<WindowState> {
    running.states(advertiser, Measures::Conversions)
}

fn values(running: &Running, advertiser: AdvertiserId) -> Vec<WindowState> {
    running.states(advertiser, Measures::Value)
}

fn names(states: &[WindowState]) -> Vec<&'static str> {
    states.iter().map(WindowState::name).collect()
}

/// Of the first window of conversions.
fn next_try(running: &Running, advertiser: AdvertiserId) -> Option<u64> {
    match &conversions(running, advertiser)[0] {
        WindowState::TooFewReports { next_try, .. }
        | WindowState::RefusedByBudget { next_try, .. }
        | WindowState::Failed { next_try, .. } => *next_try,
        other => panic!("{other:?}"),
    }
}

/// Both aggregators had refused a task, and its windows read "Conversions are still being counted. Nothing is to be done" until the
/// first was collected: days later, and what had been sent meanwhile was lost.
#[tokio::test]
async fn before_its_first_release_a_task_promises_no_numbers() {
    let world = World::new().await;
    let mut running = world.start();
    let shop = running.advertiser(shop("Shop"));
    running.catch_up().await;
    let says = |running: &Running, from: u64, words: &str| {
        let windows = running.schedule.windows(shop, from, u64::MAX).unwrap();
        let open = windows.iter().filter(|one| one.state.released().is_none());
        let meanings: Vec<_> = open.map(WindowStatus::meaning).collect();
        assert!(
            meanings.len() == 2 && meanings.iter().all(|meaning| meaning.contains(words)),
            "{meanings:?}"
        );
    };
    says(&running, 0, "not confirmed");
    world.clock.set(FIRST_END + GRACE - 1);
    assert!(running.windows(shop).iter().all(|one| one.meaning().contains("not confirmed")));
    world.clock.set(FIRST_END + GRACE);
    running.catch_up().await;
    says(&running, 0, "still being counted");
    // The release is of a window that was not asked about, and of a life before.
    drop(running);
    says(&world.start(), FIRST_END, "still being counted");
}

#[tokio::test]
async fn a_window_is_collected_when_it_is_over_and_late_reports_have_had_their_time() {
    let world = World::new().await;
    let mut running = world.start();
    let shop = running.advertiser(shop("Shop"));
    running.catch_up().await;
    assert_eq!(conversions(&running, shop), [WindowState::Open { closes: FIRST_END }]);
    assert_eq!(values(&running, shop), [WindowState::Open { closes: FIRST_END }]);
    world.clock.set(FIRST_END + GRACE - 1);
    running.catch_up().await;
    let until = FIRST_END + GRACE;
    assert_eq!(conversions(&running, shop)[0], WindowState::Waiting { until });
    assert_eq!(values(&running, shop)[0], WindowState::Waiting { until });
    assert_eq!(world.leader.asked(), []);
    world.clock.set(until);
    assert_eq!(conversions(&running, shop)[0], WindowState::UnderWay { trouble: None }, "its turn comes");
    running.catch_up().await;
    // Conversions first: the release of values follows theirs.
    assert_eq!(conversions(&running, shop)[0], WindowState::Released { sequence: 1 });
    assert_eq!(values(&running, shop)[0], WindowState::Released { sequence: 2 });
    let windows = running.windows(shop);
    let (first, second) = (&windows[0], &windows[1]);
    let day = |status: &WindowStatus| (status.task, FIRST_END - DAY, FIRST_END);
    assert_eq!(world.leader.asked(), [day(first), day(second)]);
    assert_eq!((first.measures, second.measures), (Measures::Conversions, Measures::Value));
    assert_eq!((first.generation, windows.len()), (1, 4), "and today's, which is open");
    // Nothing more is asked, today or after a restart.
    running.catch_up().await;
    drop(running);
    let mut running = world.start();
    running.catch_up().await;
    assert_eq!(world.leader.asked(), []);
    assert_eq!(running.windows(shop), windows);
    // Parts of the range, and nobody's.
    assert_eq!(running.schedule.windows(shop, 0, FIRST_END).unwrap(), windows[..2]);
    assert_eq!(running.schedule.windows(shop, FIRST_END, u64::MAX).unwrap(), windows[2..]);
    let nobody = AdvertiserId::from_bytes([9; 12]);
    assert_eq!(running.schedule.windows(nobody, 0, u64::MAX).unwrap(), []);
}

/// A full store was noticed after the aggregators had charged the window: every further window was paid for and not released.
#[tokio::test]
async fn without_room_nothing_is_asked_or_charged_until_there_is_some() {
    let world = World::new().await;
    let bounded = |bytes| {
        let (store, mark) = (world.dir.path().join("store"), world.dir.path().join("mark"));
        world
            .start_on(
                CollectorDisk::open_bounded(&store, &mark, bytes, crate::store::Disk::default()).unwrap(),
            )
            .unwrap()
    };
    let mut running = bounded(1 << 10);
    // Enough for tasks whose releases do not fit the state.
    let names: Vec<String> = (0..30).map(|n| format!("Campaign {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let shop = running.advertiser_with(shop("Shop"), &names);
    world.clock.set(FIRST_END + GRACE);
    running.catch_up().await;
    assert_eq!(world.leader.asked(), []);
    for state in [&conversions(&running, shop)[0], &values(&running, shop)[0]] {
        let WindowState::Failed { reason, next_try: Some(next) } = state else { panic!("{state:?}") };
        assert!(
            reason.contains("no room for another release") && reason.contains("no budget was charged"),
            "{reason}"
        );
        assert!((1..=ROOM_PAUSE_SECONDS * 9 / 8).contains(&(next - world.clock_now())), "{next}");
    }
    // It goes on asking nobody, and says so to whoever watches.
    world.clock.set(FIRST_END + GRACE + OVERDUE_SECONDS + 1);
    running.catch_up().await;
    assert_eq!(world.leader.asked(), []);
    let overdue = running.schedule.check().unwrap_err();
    assert!(overdue.contains("no room for another release"), "{overdue}");
    drop(running);
    world.closed().await;
    let mut running = bounded(1 << 20);
    world.clock.set(world.clock_now() + ROOM_PAUSE_SECONDS * 9 / 8);
    running.catch_up().await;
    assert!(
        conversions(&running, shop)[0].released().is_some() && values(&running, shop)[0].released().is_some()
    );
    let asked = world.leader.asked();
    assert_eq!(asked.len(), asked.iter().collect::<BTreeSet<_>>().len(), "each once");
}

#[tokio::test]
async fn too_few_reports_are_asked_for_again_until_none_can_come() {
    let world = World::new().await;
    let mut running = world.start();
    let shop = running.advertiser(NewAdvertiser { cadence: Cadence::Week, ..shop("Shop") });
    world.leader.plan(|_| TOO_FEW);
    let end = running.windows(shop)[0].window.to().seconds();
    let mut now = end + GRACE;
    let mut attempts = 0;
    while now < end + LATE_REPORTS_SECONDS {
        world.clock.set(now);
        running.catch_up().await;
        let asked = world.leader.asked();
        attempts += asked.iter().filter(|(_, _, to)| *to == end).count();
        // Values wait for their conversions, and say what those say.
        assert!(asked.iter().all(|(task, ..)| *task == running.windows(shop)[0].task));
        let (of_conversions, of_values) = (&conversions(&running, shop)[0], &values(&running, shop)[0]);
        assert_eq!((of_conversions.name(), of_values.name()), ("too few reports", "too few reports"));
        let next = next_try(&running, shop).expect("late reports may come");
        assert!(now < next && next <= now + DAY + DAY / 8, "{next}");
        // Not before it is due, and not after a restart either.
        world.clock.set(next - 1);
        running.catch_up().await;
        assert!(world.leader.asked().iter().all(|(_, _, to)| *to != end));
        now = next;
    }
    assert!((30..45).contains(&attempts), "{attempts} attempts in 30 days");
    world.clock.set(now);
    running.catch_up().await;
    assert_eq!(now, end + LATE_REPORTS_SECONDS, "the last attempt is when late reports are refused");
    assert_eq!(next_try(&running, shop), None);
    for state in [&conversions(&running, shop)[0], &values(&running, shop)[0]] {
        assert!(matches!(state, WindowState::TooFewReports { next_try: None, .. }), "{state:?}");
    }
    assert_eq!(running.schedule.check(), Ok(()), "nothing is overdue");
    drop(running);
    let mut running = world.start();
    let _ = world.leader.asked();
    world.clock.set(now + 100 * DAY);
    running.catch_up().await;
    assert!(world.leader.asked().iter().all(|(_, _, to)| *to != end), "it is given up");
    // By hand it can still be asked for, and then it counts like any other.
    world.leader.plan(|_| Act::Ready);
    let first = running.windows(shop)[0].clone();
    let sequence = running.collector.collect(first.task, first.window).await.unwrap().sequence;
    assert_eq!(conversions(&running, shop)[0], WindowState::Released { sequence });
}

#[tokio::test]
async fn a_refused_budget_is_asked_for_once_a_day() {
    let world = World::new().await;
    let mut running = world.start();
    let shop = running.advertiser(shop("Shop"));
    world.leader.plan(|_| NO_BUDGET);
    world.clock.set(FIRST_END + GRACE);
    running.catch_up().await;
    assert_eq!(world.leader.asked().len(), 1);
    let WindowState::RefusedByBudget { reason, next_try: Some(next) } =
        conversions(&running, shop)[0].clone()
    else {
        panic!("{:?}", conversions(&running, shop))
    };
    assert!(reason.contains("raise the cap"), "{reason}");
    let pause = next - FIRST_END - GRACE;
    assert!((DAY - DAY / 8..=DAY + DAY / 8).contains(&pause), "{pause}");
    world.clock.set(next - 1);
    running.catch_up().await;
    assert!(world.leader.asked().iter().all(|(_, _, to)| *to != FIRST_END));
    assert_eq!(running.schedule.check(), Ok(()), "an operator's decision is no trouble of the schedule's");
    // The cap was raised.
    world.leader.plan(|_| Act::Ready);
    world.clock.set(next);
    running.catch_up().await;
    assert!(conversions(&running, shop)[0].released().is_some());
    assert!(values(&running, shop)[0].released().is_some());
    // One that stays refused is given up at last.
    world.leader.plan(|_| NO_BUDGET);
    world.clock.set(next + 3 * DAY + RARE_ATTEMPTS_SECONDS);
    running.catch_up().await;
    let second = &conversions(&running, shop)[1];
    assert!(matches!(second, WindowState::RefusedByBudget { next_try: None, .. }), "{second:?}");
}

#[tokio::test]
async fn a_leader_that_is_away_is_asked_again_and_again() {
    let world = World::new().await;
    let mut running = world.start();
    let shop = running.advertiser(shop("Shop"));
    world.leader.plan(|_| Act::Away);
    world.clock.set(FIRST_END + GRACE);
    running.catch_up().await;
    let WindowState::UnderWay { trouble: Some(trouble) } = conversions(&running, shop)[0].clone() else {
        panic!("{:?}", conversions(&running, shop))
    };
    assert!(trouble.contains("could not be reached"), "{trouble}");
    let waits = "the conversions of this window are collected first";
    assert_eq!(values(&running, shop)[0], WindowState::UnderWay { trouble: Some(waits.to_owned()) });
    assert_eq!(running.schedule.check(), Ok(()), "it is due, not overdue");
    // A restart knows how often it was tried.
    drop(running);
    let mut running = world.start();
    running.catch_up().await;
    assert_eq!(world.leader.asked().len(), 1);
    world.clock.set(FIRST_END + GRACE + OVERDUE_SECONDS + 1);
    running.catch_up().await;
    let error = running.schedule.check().unwrap_err();
    assert!(error.starts_with("1 window is overdue") && error.contains("could not be reached"), "{error}");
    world.leader.plan(|_| Act::Ready);
    world.clock.set(FIRST_END + GRACE + OVERDUE_SECONDS + 2 * 3_600);
    running.catch_up().await;
    assert_eq!(running.schedule.check(), Ok(()));
    assert!(values(&running, shop)[0].released().is_some());
}

#[tokio::test]
async fn what_an_operator_must_mend_is_said_and_tried_again() {
    let world = World::new().await;
    let mut running = world.start();
    let shop = running.advertiser(shop("Shop"));
    for (act, said, again) in [
        (Act::Dap(DapError::UnrecognizedTask), "Put the task's file into the leader's", true),
        (Act::Dap(DapError::BatchMismatch), "disagree about the reports", true),
        (Act::Dap(DapError::BatchOverlap), "collected before", false),
    ] {
        world.leader.plan(move |_| act);
        world.clock.set(world.clock_now() + 2 * DAY);
        running.catch_up().await;
        let states = conversions(&running, shop);
        let last = states.iter().rfind(|state| matches!(state, WindowState::Failed { .. })).unwrap();
        let WindowState::Failed { reason, next_try } = last else { unreachable!() };
        assert!(reason.contains(said), "{reason}");
        assert_eq!(next_try.is_some(), again, "{reason}");
    }
}

#[tokio::test]
async fn windows_of_two_generations_are_collected_until_manifests_have_run_out() {
    let world = World::new().await;
    let mut running = world.start();
    let id = running.advertiser(shop("Shop"));
    let changed = NOW + 2 * DAY;
    let old = running.registry.advertiser(id).unwrap().terms;
    let terms = Terms { min_batch_size: old.min_batch_size + 1, value: None, ..old };
    running
        .registry
        .change_advertiser(
            id,
            &AdvertiserChange { terms: Some(terms), ..AdvertiserChange::default() },
            changed,
        )
        .unwrap();
    world.clock.set(NOW + 100 * DAY + GRACE);
    running.catch_up().await;
    let windows = running.windows(id);
    let of = |generation: u32| {
        let of = windows.iter().filter(move |status| status.generation == generation);
        of.map(|status| (status.window.from().seconds(), status.measures, status.state.name()))
            .collect::<Vec<_>>()
    };
    let (first, second) = (of(1), of(2));
    // The first ends with the last day on which a device may still have a manifest of it, the second begins on the day of the change.
    let day = |second: u64| FIRST_END - DAY + (second - (FIRST_END - DAY)) / DAY * DAY;
    assert_eq!(first.first().unwrap().0, FIRST_END - DAY);
    assert_eq!(first.last().unwrap().0, day(changed + 62 * DAY));
    assert_eq!((second.first().unwrap().0, second.last().unwrap().0), (day(changed), day(NOW + 100 * DAY)));
    assert!(first.iter().all(|(_, _, state)| *state == "released"));
    assert_eq!(first.iter().filter(|(_, measures, _)| *measures == Measures::Value).count() * 2, first.len());
    assert!(second.iter().all(|(_, measures, _)| *measures == Measures::Conversions));
    assert!(second[..second.len() - 1].iter().all(|(_, _, state)| *state == "released"));
    // Each once.
    let asked = world.leader.asked();
    assert_eq!(asked.len(), asked.iter().collect::<BTreeSet<_>>().len());
}

#[tokio::test]
async fn days_of_25_hours_are_one_window() {
    let world = World::new().await;
    let mut running = world.start();
    let new = NewAdvertiser { time_zone: "America/New_York".parse().unwrap(), ..shop("Shop") };
    let id = running.registry.create_advertiser(new, NOW - 2 * DAY).unwrap().id;
    let campaign = crate::registry::fixture::campaign("Summer");
    running.registry.create_campaign(id, &campaign, NOW - 2 * DAY).unwrap();
    world.clock.set(NOW + DAY);
    running.catch_up().await;
    let hours: Vec<u64> = running
        .windows(id)
        .iter()
        .filter(|status| status.measures == Measures::Value)
        .map(|status| (status.window.to().seconds() - status.window.from().seconds()) / 3_600)
        .collect();
    assert_eq!(hours, [24, 24, 25, 24]);
    assert_eq!(names(&values(&running, id)), ["released", "released", "released", "open"]);
}

#[tokio::test]
async fn what_one_task_waits_for_holds_up_no_other() {
    let world = World::new().await;
    let mut running = world.start();
    let stuck = running.advertiser(shop("Stuck"));
    let fine = running.advertiser(shop("Fine"));
    let of_stuck = running.windows(stuck)[0].task;
    world.leader.plan(move |(task, ..)| if task == of_stuck { Act::Pending } else { Act::Ready });
    world.clock.set(NOW + 40 * DAY + GRACE);
    // Many windows are due at once: few are asked for.
    running.driver.begin().await;
    assert_eq!(running.driver.running(), [TASK_AT_ONCE; 2]);
    const { assert!(2 * TASK_AT_ONCE <= AT_ONCE) };
    while running.driver.end().await {}
    running.catch_up().await;
    assert!(values(&running, fine).iter().rev().skip(1).all(|state| state.released().is_some()));
    let states = conversions(&running, stuck);
    assert!(states.iter().rev().skip(1).all(|state| state.name() == "under way"), "{:?}", names(&states));
    assert_eq!(values(&running, stuck).iter().filter(|state| state.released().is_some()).count(), 0);
}

/// A clock was ahead for a while: windows were asked for that were not over for the leader, or had no reports yet. The rows of
/// these attempts said to wait until the time that the clock had shown, or gave the windows up, also after the clock was right.
#[tokio::test]
async fn what_was_judged_by_a_clock_that_was_ahead_is_judged_again() {
    let cases = [(Act::Dap(DapError::BatchInvalid), 70), (TOO_FEW, 70), (TOO_FEW, 35), (NO_BUDGET, 70)];
    for ((act, ahead), restarts) in cases.into_iter().flat_map(|case| [(case, true), (case, false)]) {
        let world = World::new().await;
        let mut running = world.start();
        let shop = running.advertiser(shop("Shop"));
        world.leader.plan(move |_| act);
        world.clock.set(NOW + ahead * DAY);
        running.catch_up().await;
        assert!(world.leader.asked().len() > 30, "{act:?} {ahead}");
        // The clock is right again, and the leader has what it lacked.
        world.leader.plan(|_| Act::Ready);
        for days in [10, 20] {
            world.clock.set(NOW + days * DAY + GRACE);
            if restarts {
                running = world.restart(running).await;
            }
            running.catch_up().await;
            for states in [conversions(&running, shop), values(&running, shop)] {
                let (last, before) = states.split_last().unwrap();
                assert_eq!((before.len() as u64, last.name()), (days, "open"), "{act:?} {ahead} {restarts}");
                assert!(before.iter().all(|state| state.released().is_some()), "{:?}", names(&states));
            }
        }
    }
}

/// Nothing told that tasks began in the future but the windows that were not there.
#[tokio::test]
async fn tasks_that_begin_in_the_future_are_told() {
    let world = World::new().await;
    let mut running = world.start();
    running.advertiser(shop("Shop"));
    running.catch_up().await;
    running.schedule.check().unwrap();
    world.clock.set(NOW - 2 * DAY);
    running.catch_up().await;
    let ahead = running.schedule.check().unwrap_err();
    assert!(ahead.contains("tasks of an advertiser were opened at 2026-11-02T00:00:00Z"), "{ahead}");
    world.clock.set(NOW);
    running.catch_up().await;
    running.schedule.check().unwrap();
}

/// Values of conversions that were collected by hand after they had been given up read "being fetched" until a restart.
#[tokio::test]
async fn values_follow_conversions_that_were_given_up_and_collected_by_hand() {
    let world = World::new().await;
    let mut running = world.start();
    let shop = running.advertiser(shop("Shop"));
    world.leader.plan(|(_, from, _)| if from < FIRST_END { NO_BUDGET } else { Act::Ready });
    let given_up = FIRST_END + RARE_ATTEMPTS_SECONDS;
    for now in [FIRST_END + GRACE, given_up, given_up + 2 * DAY, given_up + 3 * DAY] {
        world.clock.set(now);
        running.catch_up().await;
    }
    assert_eq!(next_try(&running, shop), None);
    let first = running.windows(shop).remove(0);
    world.leader.plan(|_| Act::Ready);
    running.collector.collect(first.task, first.window).await.unwrap();
    world.clock.set(world.clock_now() + PASSED_OVER_SECONDS);
    running.catch_up().await;
    assert!(values(&running, shop)[0].released().is_some(), "{:?}", values(&running, shop)[0]);
}

/// Two generations overlap and the budget carries one: chance decided which, by the tasks' ids.
#[tokio::test]
async fn of_the_same_window_the_newest_tasks_are_asked_first() {
    for site in 0..8 {
        let world = World::new().await;
        let running = world.start();
        // Other sites have other ids.
        let id = running.advertiser(NewAdvertiser { site: format!("shop{site}.example"), ..shop("Shop") });
        let old = running.registry.advertiser(id).unwrap().terms;
        let terms = Terms { min_batch_size: old.min_batch_size + 1, value: None, ..old };
        let change = AdvertiserChange { terms: Some(terms), ..AdvertiserChange::default() };
        running.registry.change_advertiser(id, &change, NOW + 3_600).unwrap();
        world.clock.set(FIRST_END + GRACE);
        let due = running.driver.due();
        assert_eq!(due.iter().map(|due| due.generation).collect::<Vec<_>>(), [2, 1]);
    }
}

/// Somebody has asked for a longer window by hand: what it covers cannot be collected again, and says so.
#[tokio::test]
async fn windows_that_were_collected_by_hand_count() {
    let world = World::new().await;
    let mut running = world.start();
    let shop = running.advertiser(shop("Shop"));
    world.clock.set(NOW + 4 * DAY);
    let windows = running.windows(shop);
    let task = windows[0].task;
    let of = |index: usize| windows.iter().filter(|status| status.task == task).nth(index).unwrap().window;
    let both = crate::collector::Span::new(of(1).from(), of(2).to()).unwrap();
    running.collector.collect(task, of(0)).await.unwrap();
    running.collector.collect(task, both).await.unwrap();
    running.catch_up().await;
    let states = conversions(&running, shop);
    assert_eq!(names(&states[..4]), ["released", "failed", "failed", "waiting"]);
    let WindowState::Failed { reason, next_try: None } = &states[1] else { panic!("{:?}", states[1]) };
    assert!(reason.contains("which is release 2"), "{reason}");
    assert_eq!(names(&values(&running, shop)[..3]), ["released", "failed", "failed"]);
}
