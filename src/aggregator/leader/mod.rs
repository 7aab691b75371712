//! The leader: takes uploads, makes aggregation jobs, serves collection jobs.

mod budget;
mod collection_driver;
mod collections;
mod http;
mod intake;
mod job_driver;
mod jobs;
mod rests;
mod upload;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arras_protocol::messages::{HpkeConfigList, ReportError, TaskId};
use arras_protocol::verification::InputShareOpener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::aggregator::bodies::Bodies;
use crate::aggregator::rejections::Rejections;
use crate::aggregator::{Clock, IdKey, Limits, NoiseFactory, ProvisionedTask, ProvisionedTasks};
use crate::metrics::LeaderMetrics;
use crate::net::client::PeerClient;
use crate::net::endpoint::Endpoint;
use crate::privacy::ledger::{BudgetSource, Epoch};
use crate::store::{LeaderStore, StoreError, Waiting};

/// What a leader is made of.
pub struct LeaderParts {
    /// Our endpoint, as in the tasks.
    pub endpoint: Endpoint,
    /// Storage.
    pub store: Arc<dyn LeaderStore>,
    /// Tasks.
    pub tasks: ProvisionedTasks,
    /// What `hpke_config` answers.
    pub hpke_configs: HpkeConfigList,
    /// Opens our input shares.
    pub opener: InputShareOpener,
    /// For ids derived from content.
    pub id_key: IdKey,
    /// The helper, with our token for it.
    pub helper: PeerClient,
    /// Limits.
    pub limits: Limits,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Noise.
    pub noise: NoiseFactory,
    /// What it counts.
    pub metrics: LeaderMetrics,
}

/// Responses that the helper is being told to forget at once. Telling takes a round trip, so that this many keep up with
/// some hundred jobs a second; a helper that takes jobs but is slow to forget must not make requests pile up.
const FORGETTING_AT_ONCE: usize = 16;

/// A leader. Cheap to clone; all clones are the same leader.
#[derive(Clone)]
pub struct Leader(Arc<Inner>);

/// A leader that may be gone.
#[derive(Clone)]
pub(crate) struct WeakLeader(Weak<Inner>);

impl WeakLeader {
    pub(crate) fn upgrade(&self) -> Option<Leader> {
        self.0.upgrade().map(Leader)
    }
}

struct Inner {
    parts: LeaderParts,
    /// Whether the drivers run.
    driven: AtomicBool,
    promises: budget::Promises,
    intake: intake::Intake,
    bodies: Bodies,
    rejections: Rejections,
    /// One permit for each response that the helper is being told to forget.
    forgetting: Arc<Semaphore>,
    /// Wakes the driver of jobs: reports have come, or a collection waits for them.
    work: Notify,
    /// Wakes the driver of collections: one was created.
    created: Notify,
    /// Wakes a collection that waits for its window to drain: a job was committed.
    progress: Notify,
}

/// What happened to reports since the start; of all tasks together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CounterValues {
    /// Reports stored.
    pub accepted: u64,
    /// Reports refused at upload, by reason; reasons that did not occur are left out.
    pub refused: Vec<(ReportError, u64)>,
    /// Reports in batch buckets.
    pub aggregated: u64,
    /// Reports that did not verify or came too late, by reason.
    pub rejected: Vec<(ReportError, u64)>,
    /// How often a report went back into the queue because it came too early for the helper, whose clock differs.
    pub put_back: u64,
    /// Reports of jobs that the helper refused as a whole.
    pub lost: u64,
}

impl Leader {
    /// Puts a leader together; [`Self::run`] starts its work.
    pub fn new(parts: LeaderParts) -> Self {
        let bodies = Bodies::new(parts.limits.max_body);
        Self(Arc::new(Inner {
            parts,
            driven: AtomicBool::new(false),
            promises: budget::Promises::default(),
            intake: intake::Intake::default(),
            bodies,
            rejections: Rejections::default(),
            forgetting: Arc::new(Semaphore::new(FORGETTING_AT_ONCE)),
            work: Notify::new(),
            created: Notify::new(),
            progress: Notify::new(),
        }))
    }

    /// The HTTP interface.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// What happened to reports since the start.
    pub fn counters(&self) -> CounterValues {
        let metrics = self.metrics();
        CounterValues {
            accepted: metrics.accepted.get(),
            refused: metrics.refused.values(),
            aggregated: metrics.aggregated.get(),
            rejected: metrics.rejected.values(),
            put_back: metrics.put_back.get(),
            lost: metrics.lost.get(),
        }
    }

    /// Whether [`Self::run`] runs, so that what is uploaded gets on.
    pub(crate) fn is_driven(&self) -> bool {
        self.0.driven.load(Ordering::Acquire)
    }

    /// Bytes of request bodies in memory, and how many may be.
    pub(crate) fn bodies_held(&self) -> (usize, usize) {
        self.0.bodies.held()
    }

    /// What is spent of a budget in an epoch, in micro-epsilon.
    pub async fn spent(&self, source: BudgetSource, epoch: Epoch) -> Result<u64, StoreError> {
        let leader = self.clone();
        crate::aggregator::work::blocking(move || leader.store().spent(&source, epoch)).await
    }

    /// Drives jobs and collections until the future is dropped. All that it does is resumed from the store by
    /// the next run, so dropping it loses nothing.
    ///
    /// # Panics
    /// Goes on with the panic of a driver: uploads must not be acknowledged for long by a leader that does not
    /// aggregate.
    pub async fn run(&self) {
        let _driven = Driven::begin(&self.0.driven);
        let mut drivers = JoinSet::new();
        let leader = self.clone();
        drivers.spawn(job_driver::JobDriver::new(leader).run());
        let leader = self.clone();
        drivers.spawn(collection_driver::CollectionDriver::new(leader).run());
        while let Some(ended) = drivers.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }

    fn parts(&self) -> &LeaderParts {
        &self.0.parts
    }

    /// For the `Retry-After` of peers that name a date.
    fn wall_clock(&self) -> std::time::SystemTime {
        std::time::SystemTime::UNIX_EPOCH + self.parts().clock.since_epoch()
    }

    pub(crate) fn metrics(&self) -> &LeaderMetrics {
        &self.0.parts.metrics
    }

    /// A handle that does not keep it alive.
    pub(crate) fn downgrade(&self) -> WeakLeader {
        WeakLeader(Arc::downgrade(&self.0))
    }

    /// Seconds since the oldest time of a task that waits; times are whole steps of the task's time precision, so a
    /// report is up to one step younger. 0 if none waits, or for a task that this leader has no file of any more.
    pub(crate) fn age_of(&self, task: TaskId, waiting: &Waiting) -> u64 {
        let now = self.parts().clock.now();
        let time = self.parts().tasks.cached(task).zip(waiting.oldest);
        time.map_or(0, |(task, time)| {
            now.saturating_sub(time.posix_seconds(task.task.configuration().time_precision))
        })
    }

    /// In how many tasks it takes part.
    pub(crate) fn tasks(&self) -> usize {
        self.parts().tasks.all().len()
    }

    fn store(&self) -> &Arc<dyn LeaderStore> {
        &self.0.parts.store
    }

    async fn task(&self, id: arras_protocol::messages::TaskId) -> Option<Arc<ProvisionedTask>> {
        // Nearly always; only looking into the folder blocks.
        if let Some(task) = self.parts().tasks.cached(id) {
            return Some(task);
        }
        let leader = self.clone();
        let now = self.parts().clock.now();
        crate::aggregator::work::blocking(move || leader.parts().tasks.get(id, now)).await
    }
}

/// Says that the drivers run, until it is dropped, with them or by a panic.
struct Driven<'a>(&'a AtomicBool);

impl<'a> Driven<'a> {
    fn begin(driven: &'a AtomicBool) -> Self {
        driven.store(true, Ordering::Release);
        Self(driven)
    }
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
