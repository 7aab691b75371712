//! A registry for tests, in a folder that goes with it.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::civil::date;
use ring::rand::SystemRandom;

use super::{
    AdvertiserId, Cadence, EventKind, NewAdvertiser, NewCampaign, Registry, RegistryError, Setup, Status,
    Terms, TimeZone, Touches, ValueTerms,
};
use crate::collector::CollectorDisk;
use crate::store::{Disk, Faults, FileOp, MemoryDisk, StoreError};
use crate::tasks::TaskFolder;

/// 2026-11-02T00:00:00Z, a Monday.
pub(crate) const NOW: u64 = 1_793_577_600;

/// Where a collector's store and its tasks are.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: crate::store::damage_tests::scratch() }
    }

    pub(crate) fn tasks(&self) -> TaskFolder {
        TaskFolder::new(&self.dir.path().join("tasks"))
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup {
            leader: "http://127.0.0.1:8/".parse().unwrap(),
            helper: "http://127.0.0.1:9/".parse().unwrap(),
            collector: "advertiser".to_owned(),
            tasks: self.tasks(),
        }
    }

    pub(crate) fn disk(&self) -> Result<Arc<CollectorDisk>, StoreError> {
        CollectorDisk::open(&self.dir.path().join("store"), &self.dir.path().join("mark")).map(Arc::new)
    }

    pub(crate) fn on(&self, disk: Arc<CollectorDisk>) -> Result<Registry, RegistryError> {
        Registry::open(disk, self.setup(), Arc::new(SystemRandom::new()))
    }

    /// Only one at a time.
    pub(crate) fn open(&self) -> Registry {
        self.on(self.disk().unwrap()).unwrap()
    }
}

/// The same on a disk in memory, for tests that open it often.
#[derive(Debug)]
pub(crate) struct MemoryPlace {
    pub(crate) place: Place,
    pub(crate) disk: MemoryDisk,
}

impl MemoryPlace {
    pub(crate) fn new() -> Self {
        Self { place: Place::new(), disk: MemoryDisk::new() }
    }

    /// A new process: what another one had open fails from now on.
    pub(crate) fn open(&self) -> Registry {
        self.open_with(Arc::new(|_: FileOp<'_>| None)).unwrap()
    }

    pub(crate) fn open_with(&self, faults: Arc<dyn Faults>) -> Result<Registry, RegistryError> {
        self.disk.end_process();
        let disk =
            CollectorDisk::open_on("/store".as_ref(), "/mark".as_ref(), Disk::in_memory(&self.disk, faults))?;
        self.place.on(Arc::new(disk))
    }
}

/// Daily windows in Berlin of orders and leads, views and clicks together, with values in units of a euro up to 500.
pub(crate) fn shop(name: &str) -> NewAdvertiser {
    NewAdvertiser {
        name: name.parse().unwrap(),
        site: format!("{}.example", name.to_lowercase()),
        time_zone: "Europe/Berlin".parse::<TimeZone>().unwrap(),
        currency: "EUR".parse().unwrap(),
        cadence: Cadence::Day,
        grace_seconds: 7_200,
        events: vec![EventKind::OrderCreated, EventKind::LeadCreated],
        touches: Touches::Together,
        terms: terms(),
    }
}

pub(crate) fn terms() -> Terms {
    Terms {
        epsilon: "1".parse().unwrap(),
        contributions: NonZeroU32::MIN,
        min_batch_size: 100,
        value: Some(ValueTerms { epsilon: "1".parse().unwrap(), unit: 100, max_value: 500 }),
    }
}

/// A campaign for orders that began yesterday and has no end.
pub(crate) fn campaign(name: &str) -> NewCampaign {
    NewCampaign {
        name: name.parse().unwrap(),
        status: Status::Active,
        start: date(2026, 11, 1),
        end: None,
        currency: "EUR".parse().unwrap(),
        goal: EventKind::OrderCreated,
    }
}

/// An advertiser with campaigns.
pub(crate) fn with_campaigns(registry: &Registry, new: NewAdvertiser, names: &[&str]) -> AdvertiserId {
    let id = registry.create_advertiser(new, NOW).unwrap().id;
    for name in names {
        registry.create_campaign(id, &campaign(name), NOW).unwrap();
    }
    id
}
