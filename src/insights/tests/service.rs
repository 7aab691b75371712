//! A collector's store, its registry and insights on both.

use std::sync::Arc;

use jiff::civil::date;

use crate::aggregator::ManualClock;
use crate::collector::fixture::draft;
use crate::collector::{CollectorDisk, CollectorStore as _};
use crate::insights::*;
use crate::registry::fixture::{NOW, Place, shop, with_campaigns};
use crate::registry::{AdvertiserId, CampaignId, DeliveryRow, Registry};
use crate::schedule::DayRange;

struct Running {
    place: Place,
    disk: Arc<CollectorDisk>,
    registry: Registry,
    insights: Insights,
}

fn running() -> Running {
    let place = Place::new();
    let disk = place.disk().unwrap();
    let registry = place.on(Arc::clone(&disk)).unwrap();
    let clock = Arc::new(ManualClock::new(NOW + 30 * 86_400));
    let insights = Insights::open(Arc::clone(&disk) as _, registry.clone(), clock).unwrap();
    Running { place, disk, registry, insights }
}

impl Running {
    fn release(&self, advertiser: AdvertiserId, day: jiff::civil::Date, cells: &[i128]) {
        let of = self.registry.advertiser(advertiser).unwrap();
        let time = DayRange::day(day).seconds(&of.time_zone);
        let window = crate::collector::fixture::span(time.start, time.end);
        let generation = self.registry.generations(advertiser).last().cloned().unwrap();
        let task = self.place.tasks().load(generation.conversions).unwrap().unwrap();
        let mut all = cells.to_vec();
        all.resize(usize::try_from(generation.length).unwrap(), 0);
        let interval = window.interval(task.task.configuration().time_precision).unwrap();
        self.disk.begin(task.task.id(), interval, b"request").unwrap();
        self.disk.finish(task.task.id(), interval, draft(&task, window, &all)).unwrap();
    }

    fn campaigns(&self, advertiser: AdvertiserId) -> Vec<CampaignId> {
        self.registry.campaigns(advertiser).iter().map(|campaign| campaign.id).collect()
    }
}

#[test]
fn what_was_released_and_delivered_is_in_the_next_answer() {
    let running = running();
    let advertiser = with_campaigns(&running.registry, shop("Shop"), &["alpha", "beta"]);
    let [alpha, beta] = running.campaigns(advertiser)[..] else { panic!("two") };
    // The first whole day of the registry in Berlin.
    let day = date(2026, 11, 3);
    let query = Query::campaigns(advertiser, day, day);
    let rows = running.insights.query(&query).unwrap().rows;
    assert_eq!(rows[0].conversions, Measure::null(NullReason::NotReleased));
    assert_eq!(rows[0].coverage.missing[0].why, MissingWhy::NotReleased);

    running.release(advertiser, day, &[0, 1_000, 2_000]);
    let row = |campaign, spend| DeliveryRow { campaign, day, impressions: 10_000, clicks: 100, spend };
    running.registry.upsert_delivery(advertiser, &[row(alpha, 5_000)], true, NOW + 86_400).unwrap();
    running.registry.upsert_delivery(advertiser, &[row(beta, 6_000)], false, NOW + 86_400).unwrap();
    let rows = running.insights.query(&query).unwrap().rows;
    let told = |row: &Row| {
        (
            row.conversions.shown().unwrap().estimate,
            row.spend,
            row.cpa.shown().unwrap().estimate,
            row.invented,
        )
    };
    assert_eq!(told(&rows[0]), (1_000, Some(5_000), 5, true));
    assert_eq!(told(&rows[1]), (2_000, Some(6_000), 3, false));
    let account = Query { level: Level::Account, ..query };
    let row = running.insights.query(&account).unwrap().rows.remove(0);
    assert_eq!((told(&row), row.coverage.complete()), ((3_000, Some(11_000), 4, true), true));
}

#[test]
fn an_advertisers_query_reaches_its_own_only() {
    let running = running();
    let one = with_campaigns(&running.registry, shop("One"), &["alpha"]);
    let other = with_campaigns(&running.registry, shop("Other"), &["alpha"]);
    let day = date(2026, 11, 3);
    running.release(other, day, &[0, 1_000]);
    let foreign = running.campaigns(other)[0];
    let row = DeliveryRow { campaign: foreign, day, impressions: 10, clicks: 1, spend: 5 };
    running.registry.upsert_delivery(other, &[row], false, NOW + 86_400).unwrap();
    for level in [Level::Account, Level::Campaign, Level::Event] {
        let query = Query { level, ..Query::campaigns(one, day, day) };
        for row in running.insights.query(&query).unwrap().rows {
            assert!(row.conversions.shown().is_none() && row.spend.is_none(), "{row:?}");
        }
        let asked = Query { campaign: Some(foreign), ..query };
        let error = running.insights.query(&asked).unwrap_err();
        assert!(matches!(error, QueryError::UnknownCampaign) && error.is_not_found(), "{error}");
    }
    let nobody = Query::campaigns(AdvertiserId::from_bytes([9; 12]), day, day);
    assert!(matches!(running.insights.query(&nobody), Err(QueryError::UnknownAdvertiser)));
}
