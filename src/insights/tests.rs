//! Answers, against sums that are made one number at a time.

#![allow(clippy::unwrap_used)]

mod days;
mod honesty;
mod service;
mod shelf;
mod sums;

use jiff::civil::{Date, date};

use super::fixture::{World, euro};
use super::*;
use crate::registry::{Cadence, EventKind, Touch, Touches};

/// A Monday.
const MONDAY: Date = date(2026, 11, 2);

fn shown(measure: &Measure) -> Number {
    *measure.shown().unwrap_or_else(|| panic!("{measure:?}"))
}

/// What one conversion cost, to the nearest minor unit.
fn minor(cost: &Measure) -> i128 {
    (shown(cost).estimate + 50) / 100
}

#[test]
fn a_campaign_gets_its_own_cells_and_its_goal() {
    let mut world = World::new(Cadence::Day, "Europe/Berlin", MONDAY);
    let (first, second) = (world.campaign(), world.campaign());
    let days = world.windows(MONDAY, date(2026, 11, 4));
    assert_eq!(days.len(), 3);
    for day in days {
        // Bucket 0, orders of slots 1 to 7, leads of slots 1 to 7.
        let mut cells = vec![500, 1_000, 2_000, 0, 0, 0, 0, 0, 70, 80];
        let values = vec![0, 300, 400];
        world.release(0, day.clone(), &cells, Some(&values));
        cells.clear();
    }
    world.deliver(first, MONDAY, date(2026, 11, 4), 100_000);
    let rows = world.rows(&world.query(MONDAY, date(2026, 11, 4)));
    assert_eq!(rows.iter().map(|row| row.campaign.as_ref().unwrap().id).collect::<Vec<_>>(), [first, second]);
    let row = &rows[0];
    assert_eq!(shown(&row.conversions).estimate, 3_000);
    let value = shown(&row.value);
    assert_eq!((value.estimate, value.unit), (3 * 300 * 100, Unit::Money(euro())));
    assert_eq!((row.impressions, row.clicks, row.spend), (Some(3_000), Some(60), Some(300_000)));
    assert_eq!(row.ctr, Rate::new(60, 3_000));
    assert_eq!(row.cpc.unwrap().decimal(2), "5000.00");
    assert_eq!(row.cpm.unwrap().decimal(2), "100000.00");
    let cpa = shown(&row.cpa);
    assert_eq!((cpa.estimate, row.cpa_spend), (10_000, Some(300_000)));
    assert!(cpa.low <= 10_000 && cpa.high >= 10_000 && cpa.standard_error.is_none(), "{cpa:?}");
    let roas = shown(&row.roas);
    assert_eq!((roas.estimate, roas.unit), (300, Unit::Ratio));
    assert_eq!(
        *row.coverage,
        Coverage {
            windows: 3,
            released: 3,
            value_released: 3,
            days: 3,
            whole_days: 3,
            whole_value_days: 3,
            missing: vec![]
        }
    );
    assert_eq!(shown(&rows[1].conversions).estimate, 6_000);
    assert_eq!((rows[1].impressions, rows[1].cpa), (None, Measure::null(NullReason::NoSpend)));

    let leads = Query { event: Some(EventKind::LeadCreated), ..world.query(MONDAY, date(2026, 11, 4)) };
    let rows = world.rows(&leads);
    assert_eq!((shown(&rows[0].conversions).estimate, shown(&rows[1].conversions).estimate), (210, 240));

    let account = Query { level: Level::Account, ..world.query(MONDAY, date(2026, 11, 4)) };
    let rows = world.rows(&account);
    assert_eq!((rows.len(), shown(&rows[0].conversions).estimate), (1, 9_000));
    assert_eq!(shown(rows[0].not_attributed.as_ref().unwrap()).estimate, 1_500);

    let events = Query { level: Level::Event, ..world.query(MONDAY, date(2026, 11, 4)) };
    let rows = world.rows(&events);
    assert_eq!(
        rows.iter().map(|row| (row.event.unwrap(), shown(&row.conversions).estimate)).collect::<Vec<_>>(),
        [(EventKind::OrderCreated, 9_000), (EventKind::LeadCreated, 450)]
    );
    // Of the campaign whose spend is known: 3,000.00 for 210 leads.
    assert_eq!((rows[0].spend, minor(&rows[1].cpa)), (None, 1_429));
}

#[test]
fn fields_that_are_not_asked_for_are_not_there() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let campaign = world.campaign();
    for day in world.windows(MONDAY, MONDAY) {
        world.release(0, day, &[0, 1_000], None);
    }
    world.deliver(campaign, MONDAY, MONDAY, 500);
    let fields = "spend,cpa".parse().unwrap();
    let row = world.rows(&Query { fields, ..world.query(MONDAY, MONDAY) }).remove(0);
    assert_eq!((row.spend, row.impressions, row.clicks), (Some(500), None, None));
    assert!(row.cpa.shown().is_some());
    for measure in [row.conversions, row.value, row.roas] {
        assert_eq!(measure, Measure::null(NullReason::NotAskedFor));
    }
}

#[test]
fn views_and_clicks_are_told_apart_where_they_are_counted_apart() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    let query = |touch| Query { touch, ..world.query(MONDAY, MONDAY) };
    assert!(matches!(world.ask(&query(Some(Touch::View))), Err(QueryError::TouchesTogether)));
    world.advertiser.touches = Touches::Apart;
    world.campaign();
    for day in world.windows(MONDAY, MONDAY) {
        world.release(0, day, &[0, 1_000, 300], None);
    }
    let of = |touch| {
        let query = Query { touch, ..world.query(MONDAY, MONDAY) };
        shown(&world.rows(&query)[0].conversions).estimate
    };
    assert_eq!((of(Some(Touch::View)), of(Some(Touch::Click)), of(None)), (1_000, 300, 1_300));
}

#[test]
fn no_query_reaches_what_another_advertiser_has() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    world.campaign();
    for day in world.windows(MONDAY, MONDAY) {
        world.release(0, day, &[0, 1_000, 9_999, 8_888], Some(&[0, 10, 99, 88]));
    }
    let mut other = World::new(Cadence::Day, "UTC", MONDAY);
    other.advertiser.id = crate::registry::AdvertiserId::from_bytes([2; 12]);
    for generation in &mut other.generations {
        let generation = std::sync::Arc::make_mut(generation);
        generation.conversions = arras_protocol::messages::TaskId::new([201; 32]);
        generation.value = None;
    }
    let foreign = [other.campaign(), other.campaign()][1];
    // Both collected by one collector, into one store.
    std::mem::swap(&mut other.facts, &mut world.facts);
    for level in [Level::Account, Level::Campaign, Level::Event] {
        let query = Query { level, ..other.query(MONDAY, MONDAY) };
        for row in other.rows(&query) {
            assert_eq!(row.conversions, Measure::null(NullReason::NotReleased), "{level:?}");
            assert!(row.value.shown().is_none() && row.coverage.released == 0);
        }
    }
    std::mem::swap(&mut other.facts, &mut world.facts);
    let asked = Query { campaign: Some(foreign), ..world.query(MONDAY, MONDAY) };
    assert!(matches!(world.ask(&asked), Err(QueryError::UnknownCampaign)));
}

#[test]
fn an_answer_has_a_limit() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    for _ in 0..100 {
        world.campaign();
    }
    let query = Query { granularity: Granularity::Day, ..world.query(date(2024, 1, 1), date(2026, 12, 31)) };
    assert!(matches!(world.ask(&query), Err(QueryError::TooManyRows { rows: 109_600 })));
    let none = world.query(MONDAY, date(2026, 11, 1));
    let error = answer(
        &world.facts,
        &world.noises,
        &Books {
            advertiser: &world.advertiser,
            campaigns: &[],
            generations: &[],
            delivery: &world.delivery,
            listed: &[],
            now: 0,
        },
        &none,
    );
    assert!(matches!(error, Err(QueryError::Empty { .. })));
}

#[test]
fn an_advertiser_without_anything_gets_an_answer() {
    let mut world = World::new(Cadence::Day, "UTC", MONDAY);
    assert!(world.rows(&world.query(MONDAY, MONDAY)).is_empty());
    let account = Query { level: Level::Account, ..world.query(MONDAY, MONDAY) };
    let row = world.rows(&account).remove(0);
    assert!(row.conversions.shown().is_none() && row.spend.is_none());
    assert_eq!(row.currency, Some(euro()));
    world.generations.clear();
    let row = world.rows(&account).remove(0);
    assert_eq!(row.conversions, Measure::null(NullReason::NotMeasured));
}
