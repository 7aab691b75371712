//! The leader: takes uploads, makes aggregation jobs, serves collection jobs.

mod budget;
mod collections;
mod driver;
mod http;
mod intake;
mod jobs;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arras_protocol::messages::{HpkeConfigList, ReportError};
use arras_protocol::verification::InputShareOpener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::aggregator::bodies::Bodies;
use crate::aggregator::{Clock, IdKey, Limits, NoiseFactory, ProvisionedTask, Registry};
use crate::net::client::PeerClient;
use crate::net::endpoint::Endpoint;
use crate::privacy::ledger::{BudgetSource, Epoch};
use crate::store::{LeaderStore, StoreError};

/// What a leader is made of.
pub struct LeaderParts {
    /// Our endpoint, as in the tasks.
    pub endpoint: Endpoint,
    /// Storage.
    pub store: Arc<dyn LeaderStore>,
    /// Tasks.
    pub registry: Registry,
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
}

/// A leader. Cheap to clone; all clones are the same leader.
#[derive(Clone)]
pub struct Leader(Arc<Inner>);

struct Inner {
    parts: LeaderParts,
    counters: Counters,
    promises: budget::Promises,
    intake: intake::Intake,
    bodies: Bodies,
    /// Wakes the driver of jobs: reports have come, or a collection waits for them.
    work: Notify,
    /// Wakes the driver of collections: one was created.
    created: Notify,
    /// Wakes a collection that waits for its window to drain: a job was committed.
    progress: Notify,
}

/// What happened to reports since the start; of all tasks together.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    refused: [AtomicU64; ReportError::ALL.len()],
    aggregated: AtomicU64,
    rejected: [AtomicU64; ReportError::ALL.len()],
    put_back: AtomicU64,
    lost: AtomicU64,
}

/// A copy of the counters.
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

impl Counters {
    fn count(counters: &[AtomicU64], error: ReportError) {
        if let Some(index) = ReportError::ALL.iter().position(|known| *known == error) {
            counters[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn values(&self) -> CounterValues {
        let by_reason = |counters: &[AtomicU64]| {
            let values = counters.iter().map(|counter| counter.load(Ordering::Relaxed));
            ReportError::ALL.into_iter().zip(values).filter(|(_, value)| *value > 0).collect()
        };
        CounterValues {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: by_reason(&self.refused),
            aggregated: self.aggregated.load(Ordering::Relaxed),
            rejected: by_reason(&self.rejected),
            put_back: self.put_back.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

impl Leader {
    /// Puts a leader together; [`Self::run`] starts its work.
    pub fn new(parts: LeaderParts) -> Self {
        let bodies = Bodies::new(parts.limits.max_body);
        Self(Arc::new(Inner {
            parts,
            counters: Counters::default(),
            promises: budget::Promises::default(),
            intake: intake::Intake::default(),
            bodies,
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
        self.0.counters.values()
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
        let mut drivers = JoinSet::new();
        let leader = self.clone();
        drivers.spawn(driver::Driver::new(leader).run());
        let leader = self.clone();
        drivers.spawn(async move { leader.drive_collections().await });
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

    fn store(&self) -> &Arc<dyn LeaderStore> {
        &self.0.parts.store
    }

    async fn task(&self, id: arras_protocol::messages::TaskId) -> Option<Arc<ProvisionedTask>> {
        // Nearly always; only looking into the folder blocks.
        if let Some(task) = self.parts().registry.cached(id) {
            return Some(task);
        }
        let leader = self.clone();
        let now = self.parts().clock.now();
        crate::aggregator::work::blocking(move || leader.parts().registry.get(id, now)).await
    }
}
