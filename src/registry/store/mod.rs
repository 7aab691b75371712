//! The registry on the collector's store: reading it, and keeping memory, store and folder of tasks together.

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod history_tests;
mod picture;
mod rows;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arras_protocol::messages::TaskId;
use ring::rand::SecureRandom;

use self::picture::{Holding, Picture};
pub use self::write::NextCampaign;
use super::delivery::{self, Columns, Whose};
use super::made::{self, Setup, Task};
use super::{Advertiser, AdvertiserId, Campaign, CampaignId, Generation, RegistryError, TaskText};
use crate::collector::CollectorDisk;
use crate::store::State;

/// Most advertisers of a collector: each is in memory with all it has, and sled's digest of the store is computed over all rows
/// at each start.
pub const ADVERTISERS_MAX: usize = 10_000;

/// Most campaigns that an advertiser may have had. Those that run are bounded by the slots of a histogram, see
/// [`CAMPAIGNS_LIVE_MAX`]; the others stay for their numbers.
pub const CAMPAIGNS_MAX: usize = 10_000;

/// Most campaigns of an advertiser that devices may be told of at once: as many as a manifest takes.
pub const CAMPAIGNS_LIVE_MAX: usize = arras_protocol::manifest::CAMPAIGNS_MAX;

/// Most campaigns of all advertisers: some 100 MB in memory.
pub const CAMPAIGNS_OF_ALL_MAX: usize = 200_000;

/// Most generations of an advertiser: terms that change every month make as many in twenty years. Each is two tasks at both
/// aggregators for good.
pub const GENERATIONS_MAX: usize = 256;

/// Advertisers, their campaigns, and the tasks that count them. Cloning gives another handle to the same one. Calls that change
/// something block on the disk; the others do not.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    disk: Arc<CollectorDisk>,
    setup: Setup,
    random: Arc<dyn SecureRandom + Send + Sync>,
    /// Held by whoever changes something, from its first look at the picture until the picture has the change: commits are
    /// decided on what is in memory.
    writer: Mutex<()>,
    /// Written by the holder of `writer` only, after the commit is durable.
    picture: RwLock<Picture>,
    /// Delivery numbers, under the same rules as `picture`.
    columns: RwLock<HashMap<Whose, Arc<Columns>>>,
    /// Tasks whose files could not be put into the folder, and why the last could not. Tried again with the next change, and
    /// at each start.
    unprovisioned: Mutex<Option<String>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("collector", &self.0.setup.collector).finish_non_exhaustive()
    }
}

impl Registry {
    /// Reads the registry of a collector's store, and puts files of tasks into the folder that a crash kept from it.
    ///
    /// # Errors
    /// `Store` and `Row` if rows cannot be read. A folder that takes no files is no error: see [`Registry::trouble`].
    pub fn open(
        disk: Arc<CollectorDisk>,
        setup: Setup,
        random: Arc<dyn SecureRandom + Send + Sync>,
    ) -> Result<Self, RegistryError> {
        let picture = rows::load(disk.state())?;
        let columns = delivery::load(disk.state())?;
        let registry = Self(Arc::new(Inner {
            disk,
            setup,
            random,
            writer: Mutex::default(),
            picture: RwLock::new(picture),
            columns: RwLock::new(columns),
            unprovisioned: Mutex::default(),
        }));
        registry.provision_missing();
        Ok(registry)
    }

    /// Advertisers by name.
    pub fn advertisers(&self) -> Vec<Arc<Advertiser>> {
        let mut all: Vec<_> =
            self.read(|picture| picture.holdings().map(|holding| Arc::clone(&holding.advertiser)).collect());
        all.sort_by(|left: &Arc<Advertiser>, right| left.name.cmp(&right.name));
        all
    }

    /// An advertiser.
    pub fn advertiser(&self, id: AdvertiserId) -> Option<Arc<Advertiser>> {
        self.holding(id).map(|holding| Arc::clone(&holding.advertiser))
    }

    /// An advertiser's campaigns in the order in which they were created; none of one that is not there.
    pub fn campaigns(&self, advertiser: AdvertiserId) -> Arc<[Arc<Campaign>]> {
        self.holding(advertiser).map_or_else(|| Arc::from([]), |holding| Arc::clone(&holding.campaigns))
    }

    /// A campaign of an advertiser.
    pub fn campaign(&self, advertiser: AdvertiserId, id: CampaignId) -> Option<Arc<Campaign>> {
        self.holding(advertiser)?.campaign(id).cloned()
    }

    /// An advertiser's generations, the oldest first; none before its first campaign.
    pub fn generations(&self, advertiser: AdvertiserId) -> Arc<[Arc<Generation>]> {
        self.holding(advertiser).map_or_else(|| Arc::from([]), |holding| Arc::clone(&holding.generations))
    }

    /// The files of all of an advertiser's tasks, the oldest first: what the operators of both aggregators take part in with
    /// `arras task add`.
    pub fn task_files(&self, advertiser: AdvertiserId) -> Result<Vec<TaskText>, RegistryError> {
        let holding = self.holding(advertiser).ok_or(RegistryError::NoAdvertiser)?;
        tasks_of(&holding)?.iter().map(Task::text).collect()
    }

    /// Why files of tasks could not be put into the collector's folder, if some could not: their windows are not collected
    /// until they are there.
    pub fn trouble(&self) -> Option<String> {
        self.0.unprovisioned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// [`Registry::trouble`] for whoever watches the process; does not keep the registry alive.
    pub(crate) fn watch(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let weak = Arc::downgrade(&self.0);
        move || weak.upgrade().and_then(|inner| Self(inner).trouble()).map_or(Ok(()), Err)
    }

    fn read<T>(&self, look: impl FnOnce(&Picture) -> T) -> T {
        look(&self.0.picture.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn holding(&self, id: AdvertiserId) -> Option<Arc<Holding>> {
        self.read(|picture| picture.get(id).cloned())
    }

    /// Waits for the right to change something. A panic under it left the picture as it was.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn columns(&self) -> &RwLock<HashMap<Whose, Arc<Columns>>> {
        &self.0.columns
    }

    pub(super) fn state(&self) -> &State {
        self.0.disk.state()
    }

    fn show(&self, holding: Holding) {
        self.0.picture.write().unwrap_or_else(PoisonError::into_inner).put(holding);
    }

    /// Puts the files of tasks into the folder that are not there: after a crash between a commit and its files, and after a
    /// folder that took none.
    fn provision_missing(&self) {
        let all: Vec<Arc<Holding>> = self.read(|picture| picture.holdings().cloned().collect());
        let put = || -> Result<(), String> {
            let there: BTreeSet<TaskId> =
                self.0.setup.tasks.ids().map_err(|error| error.to_string())?.into_iter().collect();
            let missing = |holding: &&Arc<Holding>| {
                let ids = holding.generations.iter().flat_map(|one| {
                    std::iter::once(one.conversions).chain(one.value.map(|value| value.task))
                });
                ids.into_iter().any(|id| !there.contains(&id))
            };
            for holding in all.iter().filter(missing) {
                for task in tasks_of(holding).map_err(|error| error.to_string())? {
                    if !there.contains(&task.id) {
                        self.0
                            .setup
                            .tasks
                            .add(task.id, &task.provisioned)
                            .map_err(|error| error.to_string())?;
                    }
                }
            }
            Ok(())
        };
        self.tell_provisioned(put());
    }

    fn tell_provisioned(&self, outcome: Result<(), String>) {
        let trouble = outcome.err().map(|error| {
            tracing::error!(error, "a task of the registry has no file in the collector's folder of tasks");
            format!(
                "a task's file cannot be written: {error}; its windows are collected once that is put right"
            )
        });
        *self.0.unprovisioned.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// All tasks of an advertiser.
fn tasks_of(holding: &Holding) -> Result<Vec<Task>, RegistryError> {
    let site = &holding.advertiser.site;
    let each = holding.generations.iter().zip(holding.made.iter());
    let tasks: Result<Vec<_>, _> =
        each.map(|(generation, made)| made::remake(site, generation, made)).collect();
    Ok(tasks?.into_iter().flatten().collect())
}
