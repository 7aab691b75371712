//! A collector's store, its registry and insights on both.

use std::sync::Arc;

use std::time::Duration;

use arras_protocol::hpke::PrivateKey;
use jiff::civil::date;
use ring::rand::SystemRandom;

use crate::aggregator::ManualClock;
use crate::collector::fixture::{draft, signer};
use crate::collector::{Collector, CollectorDisk, CollectorParts, CollectorStore as _, Timing};
use crate::insights::*;
use crate::metrics::{CollectorMetrics, ScheduleMetrics};
use crate::net::auth::TokenHash;
use crate::net::client::PeerClient;
use crate::registry::fixture::{NOW, Place, shop, with_campaigns};
use crate::registry::{AdvertiserId, CampaignId, DeliveryRow, Registry};
use crate::schedule::{DayRange, Schedule, ScheduleParts};

const DAY: u64 = 86_400;

struct Running {
    place: Place,
    disk: Arc<CollectorDisk>,
    registry: Registry,
    clock: Arc<ManualClock>,
    insights: Insights,
}

fn running() -> Running {
    let place = Place::new();
    let disk = place.disk().unwrap();
    let registry = place.on(Arc::clone(&disk)).unwrap();
    let clock = Arc::new(ManualClock::new(NOW + 30 * DAY));
    let insights = Insights::open(Arc::clone(&disk) as _, registry.clone(), None, clock.clone()).unwrap();
    Running { place, disk, registry, clock, insights }
}

/// A schedule that does not run: it knows where windows stand.
fn schedule(running: &Running) -> Schedule {
    let collector = Collector::new(CollectorParts {
        store: Arc::clone(&running.disk) as _,
        tasks: running.place.tasks(),
        manifests: None,
        leader: PeerClient::new("http://127.0.0.1:8/".parse().unwrap(), None, None).unwrap(),
        keys: vec![(3, PrivateKey::generate(&mut rand::rng()))],
        signer: signer(),
        former_keys: Vec::new(),
        epoch_starts: Vec::new(),
        admin_token: TokenHash::of("admin"),
        clock: running.clock.clone(),
        timing: Timing { pending_max: Duration::ZERO, ..Timing::default() },
        metrics: CollectorMetrics::default(),
    });
    let parts = ScheduleParts {
        collector,
        disk: Arc::clone(&running.disk),
        registry: running.registry.clone(),
        clock: running.clock.clone(),
        random: Arc::new(SystemRandom::new()),
        metrics: ScheduleMetrics::default(),
    };
    Schedule::open(parts).unwrap()
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
        self.disk.begin(task.task.id(), interval, b"request", 0).unwrap();
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
    running.registry.upsert_delivery(advertiser, &[row(alpha, 5_000)], true, NOW + DAY).unwrap();
    running.registry.upsert_delivery(advertiser, &[row(beta, 6_000)], false, NOW + DAY).unwrap();
    let rows = running.insights.query(&query).unwrap().rows;
    let told = |row: &Row| {
        (
            row.conversions.shown().unwrap().estimate,
            row.spend,
            row.cpa.shown().unwrap().estimate,
            row.invented,
        )
    };
    assert_eq!(told(&rows[0]), (1_000, Some(5_000), 500, true));
    assert_eq!(told(&rows[1]), (2_000, Some(6_000), 300, false));
    let account = Query { level: Level::Account, ..query };
    let row = running.insights.query(&account).unwrap().rows.remove(0);
    assert_eq!((told(&row), row.coverage.complete()), ((3_000, Some(11_000), 367, true), true));
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
    running.registry.upsert_delivery(other, &[row], false, NOW + DAY).unwrap();
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

#[test]
fn a_window_is_missing_for_the_reason_that_the_schedule_has() {
    let mut running = running();
    let advertiser = with_campaigns(&running.registry, shop("Shop"), &["alpha"]);
    let schedule = schedule(&running);
    let clock = running.clock.clone();
    running.insights =
        Insights::open(Arc::clone(&running.disk) as _, running.registry.clone(), Some(schedule), clock)
            .unwrap();
    let (first, last) = (date(2026, 11, 3), date(2026, 11, 6));
    running.release(advertiser, first, &[0, 1_000]);
    // In Berlin the 5th ends an hour before it does in UTC; two hours later late reports have had their time.
    let third = NOW + 4 * DAY - 3_600;
    running.clock.set(third + 60);
    let missing = |running: &Running| {
        let row = running.insights.query(&Query::campaigns(advertiser, first, last)).unwrap().rows.remove(0);
        row.coverage.missing.iter().map(|missing| missing.why).collect::<Vec<_>>()
    };
    assert_eq!(missing(&running), [MissingWhy::UnderWay, MissingWhy::Waiting, MissingWhy::Open]);
    running.clock.set(third + 7_200);
    // What touches and has the same reason is one.
    assert_eq!(missing(&running), [MissingWhy::UnderWay, MissingWhy::Open]);
}

/// A window that is missing for good (the first days, before operators took part) made every query read all windows of its range.
#[test]
fn the_schedule_is_asked_for_gaps_alone() {
    use super::super::service::gaps;
    let windows = [0..10, 10..20, 15..25, 40..50, 60..70];
    assert_eq!(gaps(windows.into_iter()), [0..25, 40..50, 60..70]);
    assert!(gaps(std::iter::empty()).is_empty());
    let many = (0..100).map(|at| at * 10..at * 10 + 5);
    assert_eq!(gaps(many), std::iter::once(0..995).collect::<Vec<_>>());
}
