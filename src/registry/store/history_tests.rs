//! Whatever an advertiser does in whatever order, a bucket keeps its meaning.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use jiff::civil::Date;

use super::*;
use crate::registry::allocation::over_for;
use crate::registry::fixture::{MemoryPlace, NOW, campaign, shop, terms};
use crate::registry::input::day_of;
use crate::registry::{
    AdvertiserChange, CampaignChange, ErrorKind, EventKind, FORGOTTEN_DAYS, NewAdvertiser, NewCampaign,
    Status, TOLD_DAYS, Terms, Touch, Touches,
};

const DAY: u64 = 86_400;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// So many campaigns.
    Create(u8),
    /// End one, counted from the oldest.
    End(u8),
    /// End one so many days ago.
    EndBefore(u8, u8),
    /// Let one run again.
    Restart(u8),
    /// Count one kind of event more.
    AddEvent,
    /// Other terms.
    Terms(bool),
    /// Days go by.
    Wait(u8),
    /// A new process.
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..12_u8).prop_map(Op::Create),
        6 => any::<u8>().prop_map(Op::End),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(n, days)| Op::EndBefore(n, days)),
        1 => any::<u8>().prop_map(Op::Restart),
        1 => Just(Op::AddEvent),
        1 => any::<bool>().prop_map(Op::Terms),
        4 => (1..70_u8).prop_map(Op::Wait),
        1 => Just(Op::Reopen),
    ]
}

/// What a cell counts.
type Meaning = (CampaignId, EventKind, Option<Touch>);

/// All cells that have had a meaning, and from when places were another's.
#[derive(Default)]
struct Seen {
    cells: BTreeMap<(String, u32), Meaning>,
    slots: BTreeMap<CampaignId, BTreeSet<(u32, Option<Touch>)>>,
    /// The last day on which devices were told of a campaign.
    told: BTreeMap<CampaignId, Date>,
    /// Generations that were looked at as they were opened: the last day of a campaign may be moved on after its place is gone.
    handed_on: usize,
}

impl Seen {
    fn check(&mut self, registry: &Registry, id: AdvertiserId, now: u64) -> TestCaseResult {
        let campaigns = registry.campaigns(id);
        let ids: BTreeSet<_> = campaigns.iter().map(|campaign| campaign.id).collect();
        prop_assert_eq!(ids.len(), campaigns.len());
        let generations = registry.generations(id);
        let tasks: BTreeSet<_> = generations.iter().map(|one| one.conversions.to_string()).collect();
        prop_assert_eq!(tasks.len(), generations.len());
        let open = generations.iter().filter(|one| one.closed.is_none()).count();
        prop_assert!(open <= 1 && (open == 1) != generations.is_empty());
        for generation in generations.iter() {
            prop_assert!(generation.slots.len() <= generation.capacity as usize);
            let mut buckets = BTreeSet::from([0]);
            let mut meanings = BTreeSet::new();
            for (number, slot) in (1..).zip(&generation.slots).filter_map(|(n, slot)| Some((n, (*slot)?))) {
                prop_assert!(meanings.insert((slot.campaign, slot.touch)), "a campaign has a slot twice");
                for event in &generation.events {
                    let bucket = generation.bucket(*event, number).unwrap();
                    prop_assert!(
                        bucket < generation.length && buckets.insert(bucket),
                        "a cell is two campaigns'"
                    );
                    let meaning = (slot.campaign, *event, slot.touch);
                    let cell = (generation.conversions.to_string(), bucket);
                    let before = self.cells.insert(cell, meaning);
                    prop_assert!(
                        before.is_none_or(|before| before == meaning),
                        "a bucket has another meaning"
                    );
                }
            }
            for campaign in &ids {
                let slots: BTreeSet<_> =
                    generation.slots_of(*campaign).map(|(number, slot)| (number, slot.touch)).collect();
                if !slots.is_empty() {
                    let before = self.slots.entry(*campaign).or_insert_with(|| slots.clone());
                    prop_assert_eq!(before, &slots, "a campaign has moved");
                }
            }
        }
        for pair in generations.windows(2).skip(self.handed_on) {
            self.handed_on(registry, id, &pair[0], &pair[1])?;
        }
        self.handed_on = generations.len().saturating_sub(1);
        let today = day_of(&registry.advertiser(id).unwrap().time_zone, now).unwrap();
        for slot in generations.last().iter().flat_map(|newest| newest.slots.iter().flatten()) {
            if !over_for(&registry.campaign(id, slot.campaign).unwrap(), TOLD_DAYS, today) {
                self.told.insert(slot.campaign, today);
            }
        }
        Ok(())
    }
}

impl Seen {
    /// A place that means something else in the next generation was that of a campaign that nobody remembers: not one that was
    /// told of lately, whatever its last day says.
    fn handed_on(
        &self,
        registry: &Registry,
        id: AdvertiserId,
        before: &Generation,
        after: &Generation,
    ) -> TestCaseResult {
        let zone = registry.advertiser(id).unwrap().time_zone.clone();
        let opened = day_of(&zone, after.opened).unwrap();
        let days = |days| jiff::Span::new().days(days);
        for (place, slot) in before.slots.iter().enumerate() {
            let Some(slot) = slot else { continue };
            if after.slots.get(place).copied().flatten() == Some(*slot) {
                continue;
            }
            let end = registry.campaign(id, slot.campaign).unwrap().end;
            let long_over = end.is_some_and(|end| end.saturating_add(days(FORGOTTEN_DAYS)) < opened);
            prop_assert!(long_over, "the place of {} was given away", slot.campaign);
            let told = self.told.get(&slot.campaign).copied();
            let forgotten =
                told.is_none_or(|told| told.saturating_add(days(FORGOTTEN_DAYS - TOLD_DAYS)) < opened);
            prop_assert!(forgotten, "{} was told of on {told:?}", slot.campaign);
        }
        Ok(())
    }
}

fn apply(registry: &Registry, id: AdvertiserId, op: Op, now: u64, created: &mut usize) {
    let expected = |error: RegistryError| {
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::Full | ErrorKind::Conflict), "{op:?}: {error}");
    };
    let nth = |n: u8| {
        let all = registry.campaigns(id);
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()].id)
    };
    let change = |n: u8, change: CampaignChange| {
        if let Some(campaign) = nth(n) {
            registry.change_campaign(id, campaign, &change, now).map_or_else(expected, drop);
        }
    };
    match op {
        Op::Create(count) => {
            for _ in 0..count {
                let goal = registry.advertiser(id).unwrap().events[0];
                let new = NewCampaign { goal, ..campaign(&format!("Campaign {created}")) };
                *created += 1;
                registry.create_campaign(id, &new, now).map_or_else(expected, drop);
            }
        }
        Op::End(n) => change(n, CampaignChange { status: Some(Status::Ended), ..CampaignChange::default() }),
        Op::EndBefore(n, days) => {
            let today = day_of(&registry.advertiser(id).unwrap().time_zone, now).unwrap();
            let start = nth(n).map_or(today, |one| registry.campaign(id, one).unwrap().start);
            let end = today.saturating_sub(jiff::Span::new().days(i64::from(days))).max(start);
            change(n, CampaignChange { end: Some(Some(end)), ..CampaignChange::default() });
        }
        Op::Restart(n) => {
            let restart =
                CampaignChange { status: Some(Status::Active), end: Some(None), ..CampaignChange::default() };
            change(n, restart);
        }
        Op::AddEvent => {
            let mut events = registry.advertiser(id).unwrap().events.clone();
            events.extend(EventKind::ALL.into_iter().find(|event| !events.contains(event)));
            let more = AdvertiserChange { events: Some(events), ..AdvertiserChange::default() };
            registry.change_advertiser(id, &more, now).map_or_else(expected, drop);
        }
        Op::Terms(values) => {
            let value = terms().value.filter(|_| values);
            let other =
                AdvertiserChange { terms: Some(Terms { value, ..terms() }), ..AdvertiserChange::default() };
            registry.change_advertiser(id, &other, now).map_or_else(expected, drop);
        }
        Op::Wait(_) | Op::Reopen => {}
    }
}

fn everything(registry: &Registry, id: AdvertiserId) -> String {
    format!("{:?} {:?} {:?}", registry.advertisers(), registry.campaigns(id), registry.generations(id))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_bucket_never_changes_its_meaning(
        ops in prop::collection::vec(op(), 1..40),
        apart: bool,
        events in 1..=12_usize,
    ) {
        let place = MemoryPlace::new();
        let mut registry = place.open();
        let new = NewAdvertiser {
            touches: if apart { Touches::Apart } else { Touches::Together },
            events: EventKind::ALL[..events].to_vec(),
            ..shop("Shop")
        };
        let id = registry.create_advertiser(new, NOW).unwrap().id;
        let (mut seen, mut now, mut created) = (Seen::default(), NOW, 0);
        for op in ops {
            match op {
                Op::Wait(days) => now += u64::from(days) * DAY,
                Op::Reopen => {
                    let before = everything(&registry, id);
                    registry = place.open();
                    prop_assert_eq!(everything(&registry, id), before);
                }
                other => apply(&registry, id, other, now, &mut created),
            }
            seen.check(&registry, id, now)?;
        }
        let before = everything(&registry, id);
        prop_assert_eq!(everything(&place.open(), id), before);
    }
}

/// Two threads at once: each campaign gets a place of its own.
#[test]
fn campaigns_that_are_created_at_once_share_no_place() {
    let place = MemoryPlace::new();
    let registry = place.open();
    let id = registry.create_advertiser(shop("Shop"), NOW).unwrap().id;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let registry = registry.clone();
            scope.spawn(move || {
                for n in 0..10 {
                    registry.create_campaign(id, &campaign(&format!("Campaign {thread} {n}")), NOW).unwrap();
                    // The same name at the same time is one campaign.
                    let _ = registry.create_campaign(id, &campaign(&format!("Shared {n}")), NOW);
                }
            });
        }
    });
    assert_eq!(registry.campaigns(id).len(), 50);
    let mut seen = Seen::default();
    seen.check(&registry, id, NOW).unwrap();
    let newest = registry.generations(id).last().unwrap().clone();
    assert_eq!(newest.slots.iter().flatten().count(), 50);
}
