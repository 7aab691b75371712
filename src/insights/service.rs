//! Insights of a running collector: the facts of its store, the registry, and where windows stand.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::civil::Date;

use super::coverage::{Listed, by_calendar};
use super::noises::Noises;
use super::period::Periods;
use super::shelf::Shelf;
use super::{Books, Delivery, MissingWhy, Query, QueryError, Table, answer};
use crate::aggregator::Clock;
use crate::collector::CollectorStore;
use crate::registry::{
    Advertiser, AdvertiserId, Campaign, CampaignId, Columns, Delivered, Generation, Registry,
};
use crate::schedule::{Measures, Schedule, WindowState};
use crate::store::StoreError;

/// What advertisers ask for their numbers. Cloning gives another handle to the same. All calls block.
#[derive(Clone)]
pub struct Insights(Arc<Inner>);

struct Inner {
    shelf: Shelf,
    noises: Noises,
    registry: Registry,
    /// Knows why windows are missing; without one, that they are is all that is said.
    schedule: Option<Schedule>,
    clock: Arc<dyn Clock>,
}

impl Insights {
    /// Reads the noised cells of all releases of a collector's store: some microseconds for each.
    ///
    /// # Errors
    /// If the store fails. A release that cannot be added up is told in the log and missing from answers, which say so.
    pub fn open(
        store: Arc<dyn CollectorStore>,
        registry: Registry,
        schedule: Option<Schedule>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let shelf = Shelf::open(store)?;
        Ok(Self(Arc::new(Inner { shelf, noises: Noises::default(), registry, schedule, clock })))
    }

    /// Takes in what was released since. Every query does.
    pub fn refresh(&self) -> Result<(), StoreError> {
        self.0.shelf.refresh()
    }

    /// Answers a query.
    pub fn query(&self, query: &Query) -> Result<Table, QueryError> {
        let Inner { shelf, noises, registry, clock, .. } = &*self.0;
        let advertiser = registry.advertiser(query.advertiser).ok_or(QueryError::UnknownAdvertiser)?;
        // Refused before anything is read for it.
        let time = Periods::of(query, &advertiser.time_zone)?.time();
        shelf.refresh()?;
        let (campaigns, generations) =
            (registry.campaigns(query.advertiser), registry.generations(query.advertiser));
        let now = clock.now();
        let listed = self.listed(&advertiser, &generations, time, now)?;
        let books = Books {
            advertiser: &advertiser,
            campaigns: &campaigns,
            generations: &generations,
            delivery: &Ledger::of(registry, query.advertiser, &campaigns),
            listed: &listed,
            now,
        };
        answer(&shelf.facts(), noises, &books, query)
    }

    /// The windows of a time, with what is in the way of those that are not among the facts. The schedule is asked for the time in which
    /// there are such windows alone: mostly the last days.
    fn listed(
        &self,
        advertiser: &Advertiser,
        generations: &[Arc<Generation>],
        time: Range<u64>,
        now: u64,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut listed = by_calendar((advertiser, generations), time, now);
        let Some(schedule) = &self.0.schedule else { return Ok(listed) };
        let missing: Vec<usize> = {
            let facts = self.0.shelf.facts();
            let task =
                |number: u32| generations.iter().find(|one| one.number == number).map(|one| one.conversions);
            let covered =
                |window: &Listed| facts.task(task(window.generation)?)?.covering(window.from, window.to);
            (0..listed.len()).filter(|at| covered(&listed[*at]).is_none()).collect()
        };
        let from = missing.iter().map(|at| listed[*at].from).min();
        let to = missing.iter().map(|at| listed[*at].to).max();
        let Some((from, to)) = from.zip(to) else { return Ok(listed) };
        let states: HashMap<(u32, u64), WindowState> = schedule
            .windows(advertiser.id, from, to)?
            .into_iter()
            .filter(|status| status.measures == Measures::Conversions)
            .map(|status| ((status.generation, status.window.from().seconds()), status.state))
            .collect();
        for at in missing {
            let window = &mut listed[at];
            if let Some(state) = states.get(&(window.generation, window.from)) {
                window.missing = why(state);
            }
        }
        Ok(listed)
    }
}

/// Why a window in some state is missing; `None` for one that is released.
fn why(state: &WindowState) -> Option<MissingWhy> {
    match state {
        WindowState::Open { .. } => Some(MissingWhy::Open),
        WindowState::Waiting { .. } => Some(MissingWhy::Waiting),
        WindowState::UnderWay { .. } => Some(MissingWhy::UnderWay),
        WindowState::TooFewReports { .. } => Some(MissingWhy::TooFewReports),
        WindowState::RefusedByBudget { .. } => Some(MissingWhy::RefusedByBudget),
        WindowState::Failed { .. } => Some(MissingWhy::Failed),
        WindowState::Released { .. } => None,
    }
}

impl fmt::Debug for Insights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Insights").field("registry", &self.0.registry).finish_non_exhaustive()
    }
}

/// The delivery numbers of one advertiser, as they were when the query came.
struct Ledger(HashMap<CampaignId, Arc<Columns>>);

impl Ledger {
    fn of(registry: &Registry, advertiser: AdvertiserId, campaigns: &[Arc<Campaign>]) -> Self {
        let of = |campaign: &Arc<Campaign>| {
            Some((campaign.id, registry.delivery_columns(advertiser, campaign.id)?))
        };
        Self(campaigns.iter().filter_map(of).collect())
    }
}

impl Delivery for Ledger {
    fn each(&self, campaign: CampaignId, first: Date, last: Date, visit: &mut dyn FnMut(&Delivered)) {
        let Some(columns) = self.0.get(&campaign) else { return };
        for at in columns.places(&(first..=last)) {
            visit(&Delivered {
                campaign,
                day: columns.days()[at],
                impressions: columns.impressions()[at],
                clicks: columns.clicks()[at],
                spend: columns.spend()[at],
                invented: columns.invented()[at],
            });
        }
    }

    fn span(&self, campaign: CampaignId) -> Option<(Date, Date)> {
        let days = self.0.get(&campaign)?.days();
        Some((*days.first()?, *days.last()?))
    }
}
