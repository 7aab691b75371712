//! Whatever fails, and whenever a process ends: a window is collected once, and all of them at last.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::fixture::{Act, DAY, NO_BUDGET, Running, TOO_FEW, World};
use crate::collector::CollectorDisk;
use crate::net::problem::DapError;
use crate::registry::AdvertiserId;
use crate::registry::fixture::{NOW, shop};
use crate::store::{Disk, Fault, Faults, FileOp};

/// Each window has at most one release and each release one window, and the leader answered no other.
fn check_once(world: &World, running: &Running, advertiser: AdvertiserId) {
    let mut by_sequence = BTreeMap::new();
    for status in running.windows(advertiser) {
        if let Some(sequence) = status.state.released() {
            let window = (status.task, status.window.from().seconds(), status.window.to().seconds());
            assert_eq!(by_sequence.insert(sequence, window), None, "release {sequence}");
        }
    }
    let answered = world.leader.answered();
    assert!(by_sequence.values().all(|window| answered.contains(window)), "{by_sequence:?}");
}

/// Failures by chance, restarts and windows asked for by hand between them. The leader of the fixture refuses to be asked twice:
/// it panics at another request for what it answered, and at an overlap.
#[tokio::test]
async fn whatever_happens_a_window_is_collected_once() {
    let seeds = std::env::var("ARRAS_SCHEDULE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(6);
    for seed in 0..seeds {
        play(seed).await;
    }
}

async fn play(seed: u64) {
    let mut chance = StdRng::seed_from_u64(seed);
    let world = World::new().await;
    let mut running = world.start();
    let id = running.advertiser(shop("Shop"));
    let mut now = NOW;
    for step in 0..40 {
        let mut of_leader = StdRng::seed_from_u64(seed * 1_000 + step);
        world.leader.plan(move |_| match of_leader.random_range(0..9) {
            0 => Act::Away,
            1 => TOO_FEW,
            2 => NO_BUDGET,
            3 => Act::Pending,
            4 => Act::Dap(DapError::UnrecognizedTask),
            _ => Act::Ready,
        });
        now += chance.random_range(0..DAY / 2);
        world.clock.set(now);
        match chance.random_range(0..4) {
            // What was begun is dropped where it is.
            0 => {
                running.driver.begin().await;
                if chance.random() {
                    running.driver.end().await;
                }
                running = world.restart(running).await;
            }
            1 => {
                let windows = running.windows(id);
                let one = &windows[chance.random_range(0..windows.len())];
                let _ = running.collector.collect(one.task, one.window).await;
            }
            _ => running.catch_up().await,
        }
        check_once(&world, &running, id);
    }
    // All is well again: what is not given up comes in.
    world.leader.plan(|_| Act::Ready);
    for _ in 0..4 {
        now += 2 * DAY;
        world.clock.set(now);
        running.catch_up().await;
    }
    check_once(&world, &running, id);
    let windows = running.windows(id);
    let (old, open) =
        windows.split_at(windows.partition_point(|status| status.window.to().seconds() + 7_200 <= now));
    assert!(old.len() > 10 && open.iter().all(|status| status.state.released().is_none()), "seed {seed}");
    for status in old {
        assert!(status.state.released().is_some(), "seed {seed}: {status:?}");
    }
}

/// The process ends before or after each file operation of a day's collections, whether or not the operation happened.
#[tokio::test]
async fn the_end_of_the_process_at_any_write_costs_no_window() {
    let operations = kill_at(usize::MAX, false).await;
    assert!(operations > 20, "{operations} operations");
    // Every third keeps the test short; over the kinds of end all are met.
    for n in (0..operations).step_by(3) {
        kill_at(n, n % 2 == 0).await;
    }
}

/// Fails operation `n` and all after it; says how many there were.
async fn kill_at(n: usize, done: bool) -> usize {
    let world = World::new().await;
    let running = world.start();
    let id = running.advertiser(shop("Shop"));
    world.clock.set(NOW + DAY + 7_200);
    let mut refused = 0;
    world.leader.plan(move |_| {
        refused += 1;
        if refused == 1 { TOO_FEW } else { Act::Ready }
    });
    let running = world.restart(running).await;
    drop(running);
    world.closed().await;
    let counted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&counted);
    let faults: Arc<dyn Faults> = Arc::new(move |op: FileOp<'_>| {
        if matches!(op, FileOp::FreeSpace(_)) {
            return None;
        }
        let now = counter.fetch_add(1, Ordering::SeqCst);
        // EIO.
        (now >= n).then_some(if now == n && done { Fault::Late(5) } else { Fault::Errno(5) })
    });
    let (dir, mark) = (world.dir.path().join("store"), world.dir.path().join("mark"));
    if let Ok(disk) = CollectorDisk::open_on(&dir, &mark, Disk::with_faults(faults))
        && let Ok(mut running) = world.start_on(disk)
    {
        running.catch_up().await;
        world.clock.set(NOW + DAY + 4 * 7_200);
        running.catch_up().await;
    }
    world.closed().await;
    let mut running = world.start();
    // Whatever was tried is tried again when its pause is over.
    for hours in [16, 20] {
        world.clock.set(NOW + DAY + hours * 3_600);
        running.catch_up().await;
    }
    check_once(&world, &running, id);
    let windows = running.windows(id);
    for status in &windows[..2] {
        assert!(status.state.released().is_some(), "operation {n}: {status:?}");
    }
    counted.load(Ordering::SeqCst)
}
