//! What is asked of each role when somebody looks. Nothing here keeps a role or its store alive.

use std::sync::{Arc, Weak};

use arras_protocol::messages::TaskId;

use crate::aggregator::Collectors;
use crate::aggregator::helper::Helper;
use crate::aggregator::leader::Leader;
use crate::collector::{Collector, CollectorDisk};
use crate::metrics::{Backlog, Metrics};
use crate::operations::{Operations, budget};
use crate::registry::Registry;
use crate::schedule::Schedule;
use crate::store::{HelperDisk, LeaderDisk, StoreError, Usage, Waiting};
use crate::tasks::TaskFolder;

const STOPPED: &str = "it has stopped";

fn say<E: std::error::Error>(result: Result<(), E>) -> Result<(), String> {
    result.map_err(|error| error.to_string())
}

/// Without a value the old ones would stand for ever; a store that cannot tell shows in `/readyz`.
fn set_usage(metrics: &Metrics, role: &'static str, usage: Result<Usage, StoreError>) {
    let usage = usage.unwrap_or(Usage { bytes: 0, max_bytes: 0, free_bytes: 0 });
    metrics.set_store(role, usage.bytes, usage.max_bytes, usage.free_bytes);
}

pub(crate) fn watch_leader(
    operations: &Operations,
    leader: &Leader,
    disk: &Arc<LeaderDisk>,
    tasks: TaskFolder,
    collectors: Collectors,
) {
    let (weak_disk, folder) = (Arc::downgrade(disk), tasks.clone());
    operations.add_budget("leader", move || {
        let accounts = weak_disk.upgrade().ok_or(STOPPED)?.accounts().map_err(|error| error.to_string())?;
        Ok(budget::of_aggregator("leader", Some(&accounts), &collectors, &folder))
    });
    let (weak_leader, weak_disk) = (leader.downgrade(), Arc::downgrade(disk));
    operations.add_check("leader", move || {
        let (leader, disk) = weak_leader.upgrade().zip(weak_disk.upgrade()).ok_or(STOPPED)?;
        say(disk.check())?;
        say(tasks.check())?;
        if leader.is_driven() { Ok(()) } else { Err("nothing drives its jobs".to_owned()) }
    });
    let (weak_leader, weak_disk) = (leader.downgrade(), Arc::downgrade(disk));
    operations.metrics().at_scrape(move |metrics| {
        let Some((leader, disk)) = weak_leader.upgrade().zip(weak_disk.upgrade()) else { return };
        set_usage(metrics, "leader", disk.usage());
        metrics.set_bodies("leader", leader.bodies_held());
        metrics.set_tasks("leader", leader.tasks());
        let waiting = disk.waiting().unwrap_or_default();
        leader.metrics().set_backlog(&sum_up(&waiting, |task, waiting| leader.age_of(task, waiting)));
    });
}

/// What waits of all tasks; the age is that of the task in which it is greatest.
fn sum_up(waiting: &[(TaskId, Waiting)], age_of: impl Fn(TaskId, &Waiting) -> u64) -> Backlog {
    waiting.iter().fold(Backlog::default(), |sum, (task, waiting)| Backlog {
        reports: sum.reports + waiting.reports,
        oldest_age: sum.oldest_age.max(age_of(*task, waiting)),
        jobs: sum.jobs + waiting.jobs,
        collections_draining: sum.collections_draining + waiting.draining,
        collections_asking: sum.collections_asking + waiting.asking,
    })
}

pub(crate) fn watch_helper(
    operations: &Operations,
    helper: &Helper,
    disk: &Arc<HelperDisk>,
    tasks: TaskFolder,
    collectors: Collectors,
) {
    let (weak_disk, folder) = (Arc::downgrade(disk), tasks.clone());
    operations.add_budget("helper", move || {
        let accounts = weak_disk.upgrade().ok_or(STOPPED)?.accounts().map_err(|error| error.to_string())?;
        Ok(budget::of_aggregator("helper", Some(&accounts), &collectors, &folder))
    });
    let weak_disk: Weak<HelperDisk> = Arc::downgrade(disk);
    operations.add_check("helper", move || {
        say(weak_disk.upgrade().ok_or(STOPPED)?.check())?;
        say(tasks.check())
    });
    let (weak_helper, weak_disk) = (helper.downgrade(), Arc::downgrade(disk));
    operations.metrics().at_scrape(move |metrics| {
        let Some((helper, disk)) = weak_helper.upgrade().zip(weak_disk.upgrade()) else { return };
        set_usage(metrics, "helper", disk.usage());
        metrics.set_bodies("helper", helper.bodies_held());
        metrics.set_tasks("helper", helper.tasks());
        helper.metrics().set_state(disk.responses_kept(), helper.under_way());
    });
}

/// What keeps the tasks of advertisers from being collected.
pub(crate) fn watch_registry(operations: &Operations, registry: &Registry) {
    operations.add_check("collector", registry.watch());
}

pub(crate) fn watch_collector(operations: &Operations, collector: &Collector, disk: &Arc<CollectorDisk>) {
    let (weak_collector, weak_disk) = (collector.downgrade(), Arc::downgrade(disk));
    operations.add_budget("collector", move || {
        let (collector, disk) = weak_collector.upgrade().zip(weak_disk.upgrade()).ok_or(STOPPED)?;
        let epoch_start = |source: &str| collector.epoch_start(source);
        budget::of_collector(&*disk, collector.tasks(), epoch_start).map_err(|error| error.to_string())
    });
    let (weak_collector, weak_disk) = (collector.downgrade(), Arc::downgrade(disk));
    operations.add_check("collector", move || {
        let (collector, disk) = weak_collector.upgrade().zip(weak_disk.upgrade()).ok_or(STOPPED)?;
        say(disk.check())?;
        say(collector.tasks().check())
    });
    let (weak_collector, weak_disk) = (collector.downgrade(), Arc::downgrade(disk));
    operations.metrics().at_scrape(move |metrics| {
        let Some((collector, disk)) = weak_collector.upgrade().zip(weak_disk.upgrade()) else { return };
        set_usage(metrics, "collector", disk.usage());
        metrics.set_tasks("collector", collector.tasks().ids().map_or(0, |ids| ids.len()));
        collector.metrics().set_under_way(collector.under_way_now());
    });
}

pub(crate) fn watch_schedule(operations: &Operations, schedule: &Schedule) {
    let weak = schedule.downgrade();
    operations.add_check("schedule", move || weak.upgrade().ok_or(STOPPED)?.check());
}
