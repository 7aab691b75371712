#![allow(clippy::unwrap_used)]

use jiff::civil::date;

use super::*;
use crate::registry::fixture::{NOW, Place, campaign, shop, terms, with_campaigns};
use crate::registry::{
    AdvertiserChange, CampaignChange, ErrorKind, EventKind, NewAdvertiser, NextCampaign, Slot, Status, Touch,
    Touches,
};

const DAY: u64 = 86_400;

/// All that a registry holds, as text.
fn picture(registry: &Registry) -> String {
    let each = registry.advertisers().into_iter().map(|one| {
        let (campaigns, generations) = (registry.campaigns(one.id), registry.generations(one.id));
        let files = registry.task_files(one.id).unwrap();
        format!("{one:?}\n{campaigns:?}\n{generations:?}\n{files:?}\n")
    });
    each.collect()
}

fn generation(registry: &Registry, id: AdvertiserId) -> Arc<Generation> {
    registry.generations(id).last().unwrap().clone()
}

#[test]
fn the_first_campaign_opens_both_tasks() {
    let place = Place::new();
    let registry = place.open();
    let id = registry.create_advertiser(shop("Shop"), NOW).unwrap().id;
    assert_eq!(registry.generations(id).len(), 0);
    assert_eq!(registry.next_campaign(id, NOW).unwrap(), NextCampaign::OpensTasks { length: 16, tasks: 2 });
    let boots = registry.create_campaign(id, &campaign("Boots"), NOW).unwrap();
    let tents = registry.create_campaign(id, &campaign("Tents"), NOW).unwrap();
    assert_eq!(registry.next_campaign(id, NOW).unwrap(), NextCampaign::Fits { room: 5 });

    let first = generation(&registry, id);
    assert_eq!((first.number, first.length, first.capacity), (1, 16, 7));
    let slot = |campaign: &Campaign| Some(Slot { campaign: campaign.id, touch: None });
    assert_eq!(first.slots, [slot(&boots), slot(&tents)]);
    assert_eq!(first.bucket(EventKind::LeadCreated, 2), Some(9));
    // The same tasks as an operator makes of the files.
    let files = registry.task_files(id).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["shop.example/conversions/1", "shop.example/value/1"]);
    for file in &files {
        let described = crate::tasks::TaskFile::parse(&file.toml).unwrap();
        described.check_conversions().unwrap();
        let (task, provisioned) = described.build().unwrap();
        assert_eq!(task.id(), file.task);
        assert!(!place.tasks().add(task.id(), &provisioned).unwrap(), "the collector has the same file");
    }
    let known = place.tasks().load(first.conversions).unwrap().unwrap();
    assert_eq!(known.campaigns[8], "lead_created #2");
    let value = place.tasks().load(first.value.unwrap().task).unwrap().unwrap();
    assert_eq!((value.conversions, value.campaigns), (Some(first.conversions), known.campaigns));
}

#[test]
fn what_is_created_is_there_after_reopening() {
    let place = Place::new();
    let registry = place.open();
    let id = with_campaigns(&registry, shop("Shop"), &["Boots", "Tents"]);
    let apart = NewAdvertiser { touches: Touches::Apart, ..shop("Other") };
    with_campaigns(&registry, apart, &["Boots"]);
    let change = CampaignChange { status: Some(Status::Paused), ..CampaignChange::default() };
    let boots = registry.campaigns(id)[0].id;
    registry.change_campaign(id, boots, &change, NOW).unwrap();
    let name = AdvertiserChange { name: Some("Shoppe".parse().unwrap()), ..AdvertiserChange::default() };
    registry.change_advertiser(id, &name, NOW).unwrap();
    let before = picture(&registry);
    assert!(before.contains("Shoppe") && before.contains("Paused"));
    drop(registry);
    assert_eq!(picture(&place.open()), before);
}

/// A crash between the commit and the files: the rows are enough to make the files again, and they are the same.
#[test]
fn files_of_tasks_are_made_again() {
    let place = Place::new();
    let registry = place.open();
    let id = with_campaigns(&registry, shop("Shop"), &["Boots"]);
    let value = generation(&registry, id).value.unwrap().task;
    let path = place.dir.path().join(format!("tasks/{value}.toml"));
    let before = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    drop(registry);
    place.open();
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// Without the folder a campaign is created all the same, since its rows are durable; it is told, and made up for.
#[test]
fn a_folder_that_takes_no_file_is_told_and_tried_again() {
    let place = Place::new();
    let registry = place.open();
    let id = registry.create_advertiser(shop("Shop"), NOW).unwrap().id;
    let tasks = place.dir.path().join("tasks");
    std::fs::write(&tasks, b"no folder").unwrap();
    registry.create_campaign(id, &campaign("Boots"), NOW).unwrap();
    let trouble = registry.trouble().unwrap();
    assert!(trouble.contains("cannot be written"), "{trouble}");
    std::fs::remove_file(&tasks).unwrap();
    registry.create_campaign(id, &campaign("Tents"), NOW).unwrap();
    assert_eq!((registry.trouble(), place.tasks().ids().unwrap().len()), (None, 2));
}

#[test]
fn a_full_task_gives_way_to_a_larger_one_with_the_same_slots() {
    let place = Place::new();
    let registry = place.open();
    let names: Vec<String> = (0..8).map(|n| format!("Campaign {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = with_campaigns(&registry, shop("Shop"), &names);
    let generations = registry.generations(id);
    let (first, second) = (&generations[0], &generations[1]);
    assert_eq!((first.closed, second.opened, second.closed), (Some(NOW), NOW, None));
    assert_eq!((second.number, second.length, second.capacity), (2, 64, 31));
    assert_eq!((first.slots.len(), second.slots.len()), (7, 8));
    assert_eq!(first.slots[..], second.slots[..7]);
    assert_ne!(first.conversions, second.conversions);
    assert_eq!(place.tasks().ids().unwrap().len(), 4);
}

#[test]
fn other_events_and_terms_open_new_tasks() {
    let place = Place::new();
    let registry = place.open();
    let id = with_campaigns(&registry, shop("Shop"), &["Boots"]);
    let events = vec![EventKind::OrderCreated, EventKind::LeadCreated, EventKind::TrialStarted];
    let change = AdvertiserChange { events: Some(events.clone()), ..AdvertiserChange::default() };
    registry.change_advertiser(id, &change, NOW + DAY).unwrap();
    let second = generation(&registry, id);
    assert_eq!((second.number, &second.events, second.capacity), (2, &events, 5));
    // The same again is no change.
    registry.change_advertiser(id, &change, NOW + 2 * DAY).unwrap();
    assert_eq!(registry.generations(id).len(), 2);
    let terms = crate::registry::Terms { value: None, ..terms() };
    let change = AdvertiserChange { terms: Some(terms), ..AdvertiserChange::default() };
    registry.change_advertiser(id, &change, NOW + 2 * DAY).unwrap();
    assert_eq!((generation(&registry, id).number, generation(&registry, id).value), (3, None));
    // Events that are counted stay.
    let fewer = AdvertiserChange { events: Some(events[1..].to_vec()), ..AdvertiserChange::default() };
    assert_eq!(registry.change_advertiser(id, &fewer, NOW).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn views_and_clicks_take_a_slot_each() {
    let place = Place::new();
    let registry = place.open();
    let apart = NewAdvertiser { touches: Touches::Apart, ..shop("Shop") };
    let id = with_campaigns(&registry, apart, &["Boots", "Tents"]);
    let tents = registry.campaigns(id)[1].id;
    let slots: Vec<_> = generation(&registry, id).slots_of(tents).collect();
    let slot = |touch| Slot { campaign: tents, touch: Some(touch) };
    assert_eq!(slots, [(3, slot(Touch::View)), (4, slot(Touch::Click))]);
}

/// A place is given away only when nobody can remember its campaign, and then only in new tasks.
#[test]
fn the_place_of_a_campaign_that_is_long_over_is_free_in_the_next_task() {
    let place = Place::new();
    let registry = place.open();
    let all = EventKind::ALL.to_vec();
    let id = registry.create_advertiser(NewAdvertiser { events: all, ..shop("Shop") }, NOW).unwrap().id;
    let create = |n: usize, now| registry.create_campaign(id, &campaign(&format!("Campaign {n}")), now);
    for n in 0..85 {
        create(n, NOW).unwrap();
    }
    assert_eq!(generation(&registry, id).capacity, 85);
    let full = create(85, NOW).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Full);
    assert!(full.to_string().contains("93 days"), "{full}");
    assert!(matches!(registry.next_campaign(id, NOW).unwrap(), NextCampaign::Refused(_)));
    let ended = registry.campaigns(id)[3].clone();
    let end = CampaignChange { status: Some(Status::Ended), ..CampaignChange::default() };
    assert_eq!(registry.change_campaign(id, ended.id, &end, NOW).unwrap().end, Some(date(2026, 11, 2)));
    assert_eq!(create(85, NOW + 93 * DAY).unwrap_err().kind(), ErrorKind::Full);
    let before = registry.generations(id).len();
    let new = create(85, NOW + 94 * DAY).unwrap();
    let generations = registry.generations(id);
    assert_eq!(generations.len(), before + 1);
    let meant = |generation: &Generation| generation.slots[3].unwrap().campaign;
    assert_eq!((meant(&generations[before - 1]), meant(&generations[before])), (ended.id, new.id));
    // Its place is another's now.
    let again = CampaignChange { status: Some(Status::Active), end: Some(None), ..CampaignChange::default() };
    let refused = registry.change_campaign(id, ended.id, &again, NOW + 94 * DAY).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    // Its name stays its own, and its days may still be put right.
    assert_eq!(create(3, NOW + 94 * DAY).unwrap_err().kind(), ErrorKind::Conflict);
    let start = CampaignChange { start: Some(date(2026, 10, 1)), ..CampaignChange::default() };
    registry.change_campaign(id, ended.id, &start, NOW + 94 * DAY).unwrap();
}

#[test]
fn names_and_sites_are_one_advertisers() {
    let place = Place::new();
    let registry = place.open();
    let id = with_campaigns(&registry, shop("Shop"), &["Boots"]);
    let other = with_campaigns(&registry, shop("Other"), &["Boots"]);
    let kind = |new| registry.create_advertiser(new, NOW).unwrap_err().kind();
    let renamed = |name: &str, site: &str| NewAdvertiser {
        name: name.parse().unwrap(),
        site: site.to_owned(),
        ..shop("Shop")
    };
    assert_eq!(kind(renamed("Shop", "new.example")), ErrorKind::Conflict);
    assert_eq!(kind(renamed("New", "shop.example")), ErrorKind::Conflict);
    // Of two that have one each, that with the site is meant: it was called the one and named as the other.
    let told = registry.create_advertiser(renamed("Other", "shop.example"), NOW).unwrap_err().to_string();
    assert!(told.contains("has this site") && !told.contains("adv_"), "{told}");
    for site in ["https://shop.example", "Shop.example", "", "a b", "../x", &"a".repeat(201)] {
        assert_eq!(kind(renamed("New", site)), ErrorKind::Invalid, "{site}");
    }
    let name = AdvertiserChange { name: Some("Other".parse().unwrap()), ..AdvertiserChange::default() };
    assert_eq!(registry.change_advertiser(id, &name, NOW).unwrap_err().kind(), ErrorKind::Conflict);
    // What is another's is not there.
    let boots = registry.campaigns(other)[0].id;
    assert_eq!(registry.campaign(id, boots), None);
    let pause = CampaignChange { status: Some(Status::Paused), ..CampaignChange::default() };
    assert_eq!(registry.change_campaign(id, boots, &pause, NOW).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn terms_that_make_no_task_are_refused_at_once() {
    use crate::registry::{Terms, ValueTerms};
    let place = Place::new();
    let registry = place.open();
    let value = |unit, max_value| Some(ValueTerms { unit, max_value, epsilon: "1".parse().unwrap() });
    let wrong = [
        Terms { min_batch_size: arras_protocol::task::MIN_MIN_BATCH_SIZE - 1, ..terms() },
        Terms { epsilon: "11".parse().unwrap(), ..terms() },
        Terms { contributions: 1_001.try_into().unwrap(), ..terms() },
        Terms { value: value(0, 500), ..terms() },
        Terms { value: value(100, 1), ..terms() },
        Terms { value: value(100, u64::from(u32::MAX) + 1), ..terms() },
    ];
    for terms in wrong {
        let refused = registry.create_advertiser(NewAdvertiser { terms, ..shop("Shop") }, NOW).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{terms:?}: {refused}");
    }
    let least = Terms { min_batch_size: arras_protocol::task::MIN_MIN_BATCH_SIZE, ..terms() };
    let id = registry.create_advertiser(NewAdvertiser { terms: least, ..shop("Shop") }, NOW).unwrap().id;
    let change = AdvertiserChange { terms: Some(wrong[0]), ..AdvertiserChange::default() };
    assert_eq!(registry.change_advertiser(id, &change, NOW).unwrap_err().kind(), ErrorKind::Invalid);
    registry.create_campaign(id, &campaign("Boots"), NOW).unwrap();
    assert_eq!(registry.change_advertiser(id, &change, NOW).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(registry.generations(id).len(), 1);
}

#[test]
fn a_campaigns_days_and_goal_are_checked() {
    let place = Place::new();
    let registry = place.open();
    let id = with_campaigns(&registry, shop("Shop"), &["Boots"]);
    let new = campaign("Tents");
    for wrong in [
        crate::registry::NewCampaign { end: Some(date(2026, 10, 31)), ..new.clone() },
        crate::registry::NewCampaign { start: date(1999, 12, 31), ..new.clone() },
        crate::registry::NewCampaign { end: Some(date(2200, 1, 1)), ..new.clone() },
        crate::registry::NewCampaign { goal: EventKind::AppInstalled, ..new.clone() },
        crate::registry::NewCampaign { name: "\u{20ac}".repeat(70).parse().unwrap(), ..new.clone() },
    ] {
        let refused = registry.create_campaign(id, &wrong, NOW).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    // Ended and running again, as long as its place is its own.
    let boots = registry.campaigns(id)[0].id;
    let change = |status, end| {
        let change = CampaignChange { status: Some(status), end, ..CampaignChange::default() };
        registry.change_campaign(id, boots, &change, NOW + 5 * DAY)
    };
    let ended = change(Status::Ended, None).unwrap();
    assert_eq!(ended.end, Some(date(2026, 11, 7)));
    change(Status::Active, Some(Some(date(2026, 11, 6)))).unwrap_err();
    assert_eq!(change(Status::Active, Some(None)).unwrap().end, None);
}
