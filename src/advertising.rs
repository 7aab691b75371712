//! What the advertisers' API and the console stand on: a collector, and what it keeps of advertisers beside its releases.
//!
//! It is there when the collector's configuration has a section `[collector.advertising]`.

mod warnings;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arras_protocol::epsilon::MicroEpsilon;
use ring::rand::SystemRandom;

use crate::access::{Access, AccessError};
use crate::aggregator::Clock;
use crate::collector::{Collector, CollectorDisk};
use crate::config;
use crate::insights::Insights;
use crate::metrics::ScheduleMetrics;
use crate::registry::{Registry, RegistryError, Setup};
use crate::schedule::{Schedule, ScheduleParts};
use crate::store::StoreError;
use crate::tasks::TaskFolder;
use crate::turns::Turns;

/// A collector with all that advertisers have there. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Advertising {
    /// Collects and keeps releases.
    pub collector: Collector,
    /// Advertisers, campaigns and their tasks.
    pub registry: Registry,
    /// Who may see and change it.
    pub access: Access,
    /// What advertisers ask for their numbers.
    pub insights: Insights,
    /// Collects their windows.
    pub schedule: Schedule,
    /// What each budget source may spend in a week, as far as the collector's configuration repeats what the aggregators' say:
    /// for display.
    pub caps: Arc<BTreeMap<String, MicroEpsilon>>,
    /// Turns of what is heavy to answer.
    pub(crate) turns: Turns,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Why it cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdvertisingError {
    /// The registry cannot be read.
    #[error("the registry of advertisers: {0}")]
    Registry(#[from] RegistryError),
    /// Keys and users cannot be read.
    #[error("keys and users: {0}")]
    Access(#[from] AccessError),
    /// Releases cannot be read.
    #[error("the numbers of releases: {0}")]
    Insights(#[source] StoreError),
    /// What is kept of scheduled windows cannot be read.
    #[error("the schedule of collections: {0}")]
    Schedule(#[source] StoreError),
}

impl Advertising {
    /// On an open collector and its store. Blocks while it reads the store.
    pub(crate) fn open(
        config: &config::Collector,
        own: &config::Advertising,
        collector: &Collector,
        disk: &Arc<CollectorDisk>,
        clock: Arc<dyn Clock>,
        metrics: ScheduleMetrics,
    ) -> Result<Self, AdvertisingError> {
        let setup = Setup {
            leader: config.leader.endpoint.clone(),
            helper: own.helper.clone(),
            collector: own.name.clone(),
            tasks: TaskFolder::new(&config.tasks),
        };
        let random = Arc::new(SystemRandom::new());
        let registry = Registry::open(Arc::clone(disk), setup, random.clone())?;
        let access = Access::open(Arc::clone(disk), random.clone())?;
        let schedule = Schedule::open(ScheduleParts {
            collector: collector.clone(),
            disk: Arc::clone(disk),
            registry: registry.clone(),
            clock: Arc::clone(&clock),
            random,
            metrics,
        });
        let schedule = schedule.map_err(AdvertisingError::Schedule)?;
        let (store, clock_of) = (Arc::clone(disk), Arc::clone(&clock));
        let insights = Insights::open(store, registry.clone(), Some(schedule.clone()), clock_of)
            .map_err(AdvertisingError::Insights)?;
        let caps = config.budget_source.iter().filter_map(|source| Some((source.name.clone(), source.cap?)));
        let caps = Arc::new(caps.collect());
        let (collector, turns) = (collector.clone(), Turns::new());
        Ok(Self { collector, registry, access, insights, schedule, caps, turns, clock })
    }
}

impl fmt::Debug for Advertising {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advertising").field("registry", &self.registry).finish_non_exhaustive()
    }
}
