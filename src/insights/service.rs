//! Insights of a running collector: the facts of its store, the registry, and where windows stand.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::civil::Date;

use super::coverage::{Listed, by_calendar, is_late};
use super::noises::Noises;
use super::period::Periods;
use super::shelf::Shelf;
use super::{Books, Delivery, MissingWhy, Query, QueryError, Table, answer};
use crate::aggregator::Clock;
use crate::collector::CollectorStore;
use crate::registry::{
    Advertiser, AdvertiserId, Campaign, CampaignId, Columns, Delivered, Generation, Registry,
};
use crate::schedule::{Measures, Schedule, WindowState, WindowStatus};
use crate::store::StoreError;

/// Gaps that the schedule is asked for one by one: a question has a price of its own, beside that of its windows.
const GAPS_ASKED_MAX: usize = 16;

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
        // What was released since the last look is released to the schedule: it must not be taken for one without numbers.
        shelf.refresh()?;
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
    /// there are such windows alone: mostly the last days, and some gaps.
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
            let of = |number: u32| generations.iter().find(|one| one.number == number);
            let covered = |window: &Listed| {
                let Some(generation) = of(window.generation) else { return true };
                match facts.task(generation.conversions) {
                    Some(task) => task.covering(window.from, window.to).is_some(),
                    None => is_late(window, generation),
                }
            };
            (0..listed.len()).filter(|at| !covered(&listed[*at])).collect()
        };
        let mut states: HashMap<(u32, u64), WindowState> = HashMap::new();
        for gap in gaps(missing.iter().map(|at| listed[*at].from..listed[*at].to)) {
            let statuses = schedule.windows(advertiser.id, gap.start, gap.end)?.into_iter();
            let of = |status: &WindowStatus| (status.generation, status.window.from().seconds());
            states.extend(
                statuses
                    .filter(|status| status.measures == Measures::Conversions)
                    .map(|status| (of(&status), status.state)),
            );
        }
        for at in missing {
            let window = &mut listed[at];
            if let Some(state) = states.get(&(window.generation, window.from)) {
                window.missing = why(state);
            }
        }
        Ok(listed)
    }
}

/// Windows that touch or overlap, together; if there are too many gaps for a question each, one from the first to the last. `windows` are
/// in the order of their beginnings.
pub(super) fn gaps(windows: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut gaps: Vec<Range<u64>> = Vec::new();
    for window in windows {
        match gaps.last_mut().filter(|gap| window.start <= gap.end) {
            Some(gap) => gap.end = gap.end.max(window.end),
            None => gaps.push(window),
        }
    }
    if gaps.len() > GAPS_ASKED_MAX
        && let (Some(first), Some(last)) = (gaps.first(), gaps.last())
    {
        return std::iter::once(first.start..last.end).collect();
    }
    gaps
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
