//! Insights of a running collector: the facts of its store, the registry, and where windows stand.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;

use super::coverage::by_calendar;
use super::noises::Noises;
use super::period::Periods;
use super::shelf::Shelf;
use super::{Books, Delivery, Query, QueryError, Table, answer};
use crate::aggregator::Clock;
use crate::collector::CollectorStore;
use crate::registry::{AdvertiserId, Campaign, CampaignId, Columns, Delivered, Registry};
use crate::store::StoreError;

/// What advertisers ask for their numbers. Cloning gives another handle to the same. All calls block.
#[derive(Clone)]
pub struct Insights(Arc<Inner>);

struct Inner {
    shelf: Shelf,
    noises: Noises,
    registry: Registry,
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
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Inner { shelf: Shelf::open(store)?, noises: Noises::default(), registry, clock })))
    }

    /// Takes in what was released since. Every query does.
    pub fn refresh(&self) -> Result<(), StoreError> {
        self.0.shelf.refresh()
    }

    /// Answers a query.
    pub fn query(&self, query: &Query) -> Result<Table, QueryError> {
        let Inner { shelf, noises, registry, clock } = &*self.0;
        let advertiser = registry.advertiser(query.advertiser).ok_or(QueryError::UnknownAdvertiser)?;
        // Refused before anything is read for it.
        let time = Periods::of(query, &advertiser.time_zone)?.time();
        shelf.refresh()?;
        let (campaigns, generations) =
            (registry.campaigns(query.advertiser), registry.generations(query.advertiser));
        let now = clock.now();
        let listed = by_calendar((&advertiser, &generations), time, now);
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

    fn span(&self) -> Option<(Date, Date)> {
        let ends =
            self.0.values().filter_map(|columns| Some((*columns.days().first()?, *columns.days().last()?)));
        ends.reduce(|(first, last), (one, other)| (first.min(one), last.max(other)))
    }
}
