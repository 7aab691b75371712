//! What the tests of this folder share: an advertiser in memory, with releases that a test makes up.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arras_protocol::messages::TaskId;
use jiff::civil::Date;

use super::coverage::{Listed, by_calendar};
use super::{Books, Delivery, Entry, Facts, Noises, Query, QueryError, Row, Table, Terms, answer};
use crate::privacy::noise::Scale;
use crate::registry::{
    Advertiser, AdvertiserId, Cadence, Campaign, CampaignId, Delivered, EventKind, Generation, Slot, Status,
    Terms as OfAdvertiser, Touch, Touches, ValueTask,
};
use crate::schedule::{Calendar, DayRange, day_start};

/// What every bucket's release shows from.
pub(super) const THRESHOLD: u64 = 40;

/// Reports of each window.
pub(super) const REPORTS: u64 = 1_000_000;

#[derive(Default)]
pub(super) struct Given(HashMap<CampaignId, BTreeMap<Date, Delivered>>);

impl Delivery for Given {
    fn each(&self, campaign: CampaignId, first: Date, last: Date, visit: &mut dyn FnMut(&Delivered)) {
        for row in self.0.get(&campaign).iter().flat_map(|rows| rows.range(first..=last)) {
            visit(row.1);
        }
    }

    fn span(&self, campaign: CampaignId) -> Option<(Date, Date)> {
        let rows = self.0.get(&campaign)?;
        Some((*rows.first_key_value()?.0, *rows.last_key_value()?.0))
    }
}

pub(super) struct World {
    pub(super) advertiser: Advertiser,
    pub(super) campaigns: Vec<Arc<Campaign>>,
    pub(super) generations: Vec<Arc<Generation>>,
    pub(super) facts: Facts,
    pub(super) delivery: Given,
    /// In place of what the calendar lists.
    pub(super) listed: Option<Vec<Listed>>,
    pub(super) now: u64,
    pub(super) noises: Noises,
    sequence: u64,
}

pub(super) fn euro() -> crate::registry::Currency {
    "EUR".parse().unwrap()
}

impl World {
    /// An advertiser whose first generation, without campaigns, was opened at the start of a day.
    pub(super) fn new(cadence: Cadence, zone: &str, opened: Date) -> Self {
        let zone: crate::registry::TimeZone = zone.parse().unwrap();
        let opened = day_start(&zone, opened);
        let advertiser = Advertiser {
            id: AdvertiserId::from_bytes([1; 12]),
            name: "Shop".parse().unwrap(),
            site: "shop.example".to_owned(),
            time_zone: zone,
            currency: euro(),
            cadence,
            grace_seconds: 3_600,
            events: vec![EventKind::OrderCreated, EventKind::LeadCreated],
            touches: Touches::Together,
            terms: OfAdvertiser {
                epsilon: "1".parse().unwrap(),
                contributions: 1.try_into().unwrap(),
                min_batch_size: 100,
                value: None,
            },
            created: opened,
        };
        let mut world = Self {
            advertiser,
            campaigns: Vec::new(),
            generations: Vec::new(),
            facts: Facts::default(),
            delivery: Given::default(),
            listed: None,
            now: opened + 1_000 * 86_400,
            noises: Noises::default(),
            sequence: 0,
        };
        world.open_generation(opened, 100);
        world
    }

    /// Opens another generation with the slots of the last one.
    pub(super) fn open_generation(&mut self, at: u64, unit: u64) {
        let number = u32::try_from(self.generations.len()).unwrap() + 1;
        let byte = u8::try_from(number).unwrap();
        let slots = self.generations.last().map(|last| last.slots.clone()).unwrap_or_default();
        if let Some(last) = self.generations.last_mut() {
            Arc::make_mut(last).closed = Some(at);
        }
        self.generations.push(Arc::new(Generation {
            number,
            events: self.advertiser.events.clone(),
            capacity: 7,
            length: 16,
            slots,
            conversions: TaskId::new([byte; 32]),
            value: Some(ValueTask { task: TaskId::new([100 + byte; 32]), unit, max_value: 1_000 }),
            opened: at,
            closed: None,
        }));
    }

    /// A campaign that is there from the beginning, in the next slot, or in two if touches are apart.
    pub(super) fn campaign(&mut self) -> CampaignId {
        let created = self.advertiser.created;
        self.campaign_since(created)
    }

    pub(super) fn campaign_since(&mut self, created: u64) -> CampaignId {
        let byte = u8::try_from(self.campaigns.len()).unwrap() + 1;
        let id = CampaignId::from_bytes([byte; 12]);
        self.campaigns.push(Arc::new(Campaign {
            id,
            advertiser: self.advertiser.id,
            name: format!("campaign {byte}").parse().unwrap(),
            status: Status::Active,
            start: Date::constant(2026, 1, 1),
            end: None,
            currency: euro(),
            goal: EventKind::OrderCreated,
            created,
        }));
        let last = Arc::make_mut(self.generations.last_mut().unwrap());
        let touches: &[Option<Touch>] = match self.advertiser.touches {
            Touches::Together => &[None],
            Touches::Apart => &[Some(Touch::View), Some(Touch::Click)],
        };
        last.slots.extend(touches.iter().map(|touch| Some(Slot { campaign: id, touch: *touch })));
        id
    }

    pub(super) fn scale(sensitivity: u64) -> Scale {
        Scale::new(sensitivity, "1".parse().unwrap()).unwrap()
    }

    /// Releases a window of a generation: conversions, and their values if there are any.
    pub(super) fn release(
        &mut self,
        generation: usize,
        window: Range<u64>,
        conversions: &[i128],
        values: Option<&[i128]>,
    ) {
        let of = Arc::clone(&self.generations[generation]);
        let mut put = |task, following, sensitivity, max_of_report, cells: &[i128]| {
            self.sequence += 1;
            let mut all = cells.to_vec();
            all.resize(usize::try_from(of.length).unwrap(), 0);
            let entry = Entry {
                task,
                window: window.clone(),
                sequence: self.sequence,
                reports: REPORTS,
                conversions: following,
                terms: Terms { scale: Self::scale(sensitivity), threshold: THRESHOLD, max_of_report },
                cells: &all,
            };
            self.facts.insert(&entry).unwrap();
            self.sequence
        };
        let sequence = put(of.conversions, None, 2, 1, conversions);
        if let Some(values) = values {
            let value = of.value.unwrap();
            put(value.task, Some(sequence), 2 * value.max_value, value.max_value, values);
        }
    }

    /// The windows of days, both included.
    pub(super) fn windows(&self, first: Date, last: Date) -> Vec<Range<u64>> {
        let time = DayRange::new(first, last).unwrap().seconds(&self.advertiser.time_zone);
        let calendar = Calendar::of(&self.advertiser);
        calendar
            .windows(time.start, time.end)
            .map(|window| window.from().seconds()..window.to().seconds())
            .collect()
    }

    pub(super) fn day(&self, day: Date) -> u64 {
        day_start(&self.advertiser.time_zone, day)
    }

    /// Delivery numbers of each of some days, both included.
    pub(super) fn deliver(&mut self, campaign: CampaignId, first: Date, last: Date, spend: u64) {
        for day in DayRange::new(first, last).unwrap().iter() {
            let row = Delivered { campaign, day, impressions: 1_000, clicks: 20, spend, invented: false };
            self.delivery.0.entry(campaign).or_default().insert(day, row);
        }
    }

    pub(super) fn query(&self, from: Date, to: Date) -> Query {
        Query::campaigns(self.advertiser.id, from, to)
    }

    pub(super) fn ask(&self, query: &Query) -> Result<Table, QueryError> {
        let time = DayRange::new(query.from, query.to).unwrap().seconds(&self.advertiser.time_zone);
        let calendar = by_calendar((&self.advertiser, &self.generations), time, self.now);
        let books = Books {
            advertiser: &self.advertiser,
            campaigns: &self.campaigns,
            generations: &self.generations,
            delivery: &self.delivery,
            listed: self.listed.as_deref().unwrap_or(&calendar),
            now: self.now,
        };
        answer(&self.facts, &self.noises, &books, query)
    }

    pub(super) fn rows(&self, query: &Query) -> Vec<Row> {
        self.ask(query).unwrap().rows
    }
}
