//! What drives collection jobs: takes up each that is open in the store, again and again, until it is ready or refused.
//!
//! As with aggregation jobs, one that cannot go on now gives up its place and is due later, so that of one task only few
//! are in memory, whatever a collector asks for, and none holds up those of other tasks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arras_protocol::messages::{CollectionJobId, TaskId};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::aggregator::ProvisionedTask;
use crate::aggregator::leader::Leader;
use crate::aggregator::leader::collections::Progress;
use crate::aggregator::leader::rests::Waiting;
use crate::aggregator::under_way::{Ended, UnderWay};
use crate::aggregator::work::blocking;
use crate::metrics::CollectionOutcome;
use crate::store::CollectionJob;

/// Collection jobs of one task that are seen through at once. Each is a request to the helper or a look at a window that
/// drains; a week of hourly windows goes through in a dozen turns.
const JOBS_PER_TASK: usize = 16;

/// How often the store is asked for open collection jobs although no news came.
const IDLE_POLL: Duration = Duration::from_secs(5);

/// Shortest pause between two looks without news.
const LOOK_SHORTEST: Duration = Duration::from_millis(200);

type Key = (TaskId, CollectionJobId);

/// The driver of one leader's collections. All of it is forgotten at a restart and made again from the store.
pub(super) struct CollectionDriver {
    leader: Leader,
    under_way: UnderWay<Key, Progress>,
    /// Open jobs that did not get on, by when they are due; only of jobs that are open in the store.
    waiting: HashMap<Key, Waiting>,
    /// Tasks whose open jobs could not be read at the last look; told once, not at each.
    unreadable: HashSet<TaskId>,
}

impl CollectionDriver {
    pub(super) fn new(leader: Leader) -> Self {
        Self { leader, under_way: UnderWay::new(), waiting: HashMap::new(), unreadable: HashSet::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            for task in self.leader.parts().tasks.all() {
                self.take_up(&task).await;
            }
            let due = self.waiting.values().map(|waiting| waiting.due).min();
            let pause = due.map_or(IDLE_POLL, |due| due.saturating_duration_since(Instant::now()));
            // One that is due finds no place while its task has all of its places taken.
            let pause = pause.clamp(LOOK_SHORTEST, IDLE_POLL);
            tokio::select! {
                biased;
                Some(ended) = self.under_way.next() => self.ended(ended),
                () = self.leader.0.created.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes up open jobs of a task that are due, as long as there are places.
    async fn take_up(&mut self, task: &Arc<ProvisionedTask>) {
        let id = task.task.id();
        let Some(open) = self.open(task).await else { return };
        let known: HashSet<CollectionJobId> = open.iter().map(|job| job.id).collect();
        self.waiting.retain(|(of, job), _| *of != id || known.contains(job));
        let taken: HashSet<CollectionJobId> = self.under_way.of(id).collect();
        let now = Instant::now();
        let mut places = JOBS_PER_TASK.saturating_sub(taken.len());
        // Those that wait for longest first; new ones before them.
        let due = |job: &CollectionJob| self.waiting.get(&(id, job.id)).map(|waiting| waiting.due);
        let mut free: Vec<&CollectionJob> = open.iter().filter(|job| !taken.contains(&job.id)).collect();
        free.sort_by_key(|job| due(job));
        let due: Vec<CollectionJobId> = free
            .into_iter()
            .filter(|job| self.waiting.get(&(id, job.id)).is_none_or(|waiting| waiting.is_due(now)))
            .map(|job| job.id)
            .collect();
        for job in due {
            if places == 0 {
                break;
            }
            places -= 1;
            let (leader, task) = (self.leader.clone(), Arc::clone(task));
            let span = tracing::info_span!("collection", task = %id);
            let steps = async move { leader.take_steps(&task, job).await };
            self.under_way.start((id, job), steps.instrument(span));
        }
    }

    async fn open(&mut self, task: &Arc<ProvisionedTask>) -> Option<Vec<CollectionJob>> {
        let (leader, id) = (self.leader.clone(), task.task.id());
        let open = blocking(move || leader.store().open_collections(id)).await;
        match open {
            Ok(open) => {
                self.unreadable.remove(&id);
                Some(open)
            }
            Err(error) => {
                if self.unreadable.insert(id) {
                    tracing::error!(%error, task = %id, "open collection jobs cannot be read; it is tried again");
                }
                None
            }
        }
    }

    fn ended(&mut self, (key, progress): Ended<Key, Progress>) {
        let progress = progress.unwrap_or_else(|error| {
            tracing::error!(%error, "a collection job stopped; it is tried again");
            Progress::NotNow(Duration::ZERO)
        });
        match progress {
            // Refused or deleted, the same request may open it anew.
            Progress::Ended => drop(self.waiting.remove(&key)),
            Progress::Draining => drop(self.waiting.insert(key, Waiting::again(None, Instant::now()))),
            Progress::NotNow(wait) => {
                self.leader.metrics().collection(CollectionOutcome::NotNow);
                let now = Instant::now();
                let waiting = Waiting::again(self.waiting.get(&key), now).not_before(wait, now);
                self.waiting.insert(key, waiting);
            }
        }
    }
}
