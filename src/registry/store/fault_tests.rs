//! Every write of the store fails once, in every way: what is found afterwards is what was there before the call, or after it,
//! and the rest of the story goes on from there.

#![allow(clippy::unwrap_used, clippy::format_push_string, reason = "a picture is put together line by line")]

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::civil::date;

use super::*;
use crate::registry::fixture::{MemoryPlace, NOW, campaign, shop};
use crate::registry::{
    AdvertiserChange, CampaignChange, DeliveryError, DeliveryRow, EventKind, RegistryError, Status,
};
use crate::store::{Fault, Faults, FileOp};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// Fails one operation.
struct FailOne {
    at: usize,
    how: Fault,
    count: AtomicUsize,
}

impl Faults for FailOne {
    fn before(&self, _: FileOp<'_>) -> Option<Fault> {
        (self.count.fetch_add(1, Ordering::SeqCst) == self.at).then_some(self.how)
    }
}

/// What a registry holds, without ids of advertisers and campaigns, which are random.
fn shape(registry: &Registry) -> String {
    let mut all = String::new();
    for one in registry.advertisers() {
        let name = |id| registry.campaign(one.id, id).map(|campaign| campaign.name.to_string());
        all += &format!("{} {:?} {:?}\n", one.name, one.events, one.terms);
        for campaign in registry.campaigns(one.id).iter() {
            let every_day = date(2000, 1, 1)..=date(2199, 12, 31);
            // Without ids, which are random.
            let days = registry.delivery(one.id, campaign.id, &every_day);
            let total: Vec<_> =
                days.iter().map(|one| (one.day, one.impressions, one.clicks, one.spend)).collect();
            all += &format!("  {} {:?} {:?} {total:?}\n", campaign.name, campaign.status, campaign.end);
        }
        for generation in registry.generations(one.id).iter() {
            let slots: Vec<_> =
                generation.slots.iter().map(|slot| slot.map(|slot| name(slot.campaign))).collect();
            all += &format!(
                "  {} {} {} {:?} {:?} {slots:?}\n",
                generation.number,
                generation.length,
                generation.conversions,
                generation.value,
                generation.closed
            );
        }
    }
    all
}

fn only(registry: &Registry) -> AdvertiserId {
    registry.advertisers()[0].id
}

type Step = fn(&Registry) -> Result<(), RegistryError>;

/// A story in which everything happens that writes.
fn steps() -> Vec<Step> {
    vec![
        |registry| registry.create_advertiser(shop("Shop"), NOW).map(drop),
        |registry| registry.create_campaign(only(registry), &campaign("Boots"), NOW).map(drop),
        |registry| registry.create_campaign(only(registry), &campaign("Tents"), NOW).map(drop),
        |registry| {
            let (id, boots) = (only(registry), registry.campaigns(only(registry))[0].id);
            let end = CampaignChange { status: Some(Status::Ended), ..CampaignChange::default() };
            registry.change_campaign(id, boots, &end, NOW).map(drop)
        },
        |registry| {
            let id = only(registry);
            let row = |campaign: &Arc<Campaign>| DeliveryRow {
                campaign: campaign.id,
                day: date(2026, 11, 1),
                impressions: 100,
                clicks: 10,
                spend: 5,
            };
            let rows: Vec<_> = registry.campaigns(id).iter().map(row).collect();
            let done = registry.upsert_delivery(id, &rows, false, NOW);
            done.map(drop).map_err(|error| match error {
                DeliveryError::Registry(error) => error,
                other => panic!("{other}"),
            })
        },
        // 93 days after the end of a campaign: its place is free in the new tasks.
        |registry| {
            let events = vec![EventKind::OrderCreated, EventKind::LeadCreated, EventKind::TrialStarted];
            let change = AdvertiserChange { events: Some(events), ..AdvertiserChange::default() };
            registry.change_advertiser(only(registry), &change, NOW + 94 * 86_400).map(drop)
        },
        |registry| registry.create_campaign(only(registry), &campaign("Lamps"), NOW + 94 * 86_400).map(drop),
    ]
}

/// The shapes before, between and after the steps.
fn story() -> Vec<String> {
    let place = MemoryPlace::new();
    let registry = place.open();
    let mut shapes = vec![shape(&registry)];
    for step in steps() {
        step(&registry).unwrap();
        shapes.push(shape(&registry));
    }
    assert!(shapes.windows(2).all(|pair| pair[0] != pair[1]), "a step that changes nothing shows nothing");
    assert!(shapes.last().unwrap().contains("Some(Some(\"Lamps\")), Some(Some(\"Tents\"))"), "{shapes:#?}");
    shapes
}

/// Runs the story with one fault; says whether it came to pass.
fn run_with(at: usize, how: Fault, power: bool, shapes: &[String]) -> bool {
    let place = MemoryPlace::new();
    let fault = Arc::new(FailOne { at, how, count: AtomicUsize::new(0) });
    let mut done = 0;
    if let Ok(registry) = place.open_with(Arc::clone(&fault) as Arc<dyn Faults>) {
        while let Some(step) = steps().get(done) {
            if step(&registry).is_err() {
                // Nothing that is not known to be durable is shown.
                assert_eq!(shape(&registry), shapes[done], "{at} {how:?}");
                break;
            }
            done += 1;
            assert_eq!(shape(&registry), shapes[done], "{at} {how:?}");
        }
    }
    if power {
        let mut random = at;
        place.disk.lose_power(&mut |possibilities| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as u64 % possibilities
        });
    }
    let registry = place.open();
    let found = shape(&registry);
    if found != shapes[done] {
        done += 1;
        assert_eq!(found, shapes[done], "{at} {how:?}: neither before nor after");
    }
    for step in &steps()[done..] {
        step(&registry).unwrap();
    }
    assert_eq!(&shape(&registry), shapes.last().unwrap(), "{at} {how:?}");
    let tasks: usize =
        registry.generations(only(&registry)).iter().map(|one| 1 + usize::from(one.value.is_some())).sum();
    assert_eq!(place.place.tasks().ids().unwrap().len(), tasks);
    fault.count.load(Ordering::SeqCst) > at
}

#[test]
fn whatever_fails_nothing_is_half_done() {
    let shapes = story();
    for how in [Fault::Errno(ENOSPC), Fault::Errno(EIO), Fault::Late(EIO), Fault::Short(3, EIO)] {
        for power in [false, true] {
            let mut at = 0;
            while run_with(at, how, power, &shapes) {
                at += 1;
            }
            assert!(at > 40, "only {at} operations");
        }
    }
}
