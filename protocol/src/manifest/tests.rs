//! What a device follows, and what it does not.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::hpke::PrivateKey;
use crate::messages::HpkeConfig;
use crate::task::tests::Draft;
use crate::vdaf::VdafConfig;

const NOW: u64 = 1_800_000_000;
/// The budget source of [`Draft::arras`].
const SHOP: &str = "shop.example";

fn key(seed: u64) -> SigningKey {
    SigningKey::generate(&mut StdRng::seed_from_u64(seed))
}

fn hpke() -> HpkeConfigList {
    let public = PrivateKey::generate(&mut StdRng::seed_from_u64(9)).public_key();
    HpkeConfigList::new(vec![HpkeConfig::new(3, &public)]).unwrap()
}

fn task(vdaf: VdafConfig, measures: Measures) -> TaskDocument {
    let event = |name: &str, offset| EventDocument { name: name.to_owned(), offset };
    let events = vec![event("purchase", 0), event("lead", 2)];
    TaskDocument::new(&Draft::arras(vdaf).configuration(), measures, 1, events, &hpke(), &hpke())
}

fn document() -> ManifestDocument {
    let campaign = |name: &str, bucket| Campaign { name: name.to_owned(), bucket };
    ManifestDocument {
        version: MANIFEST_VERSION,
        advertiser: SHOP.to_owned(),
        sequence: 7,
        not_before: NOW,
        expires: NOW + 100,
        campaigns: vec![campaign("summer", 1), campaign("winter", 2)],
        tasks: vec![
            task(VdafConfig::histogram(8).unwrap(), Measures::Count),
            task(VdafConfig::l1_bound_sum(8, 1_000).unwrap(), Measures::Value),
        ],
    }
}

fn open(text: &str, seen: Option<Seen>, now: u64) -> Result<Manifest, ManifestError> {
    Manifest::open(text, &[*key(1).public_key()], SHOP, seen, now)
}

#[test]
fn a_device_learns_what_it_needs() {
    let manifest = open(&document().sign(&key(1)).unwrap(), None, NOW).unwrap();
    assert_eq!((manifest.bucket("winter"), manifest.bucket("spring")), (Some(2), None));
    assert_eq!((manifest.campaign(1), manifest.campaign(0)), (Some("summer"), None));
    let task = &manifest.tasks()[0];
    assert_eq!(task.task.id(), Draft::arras(VdafConfig::histogram(8).unwrap()).configuration().task_id());
    assert_eq!((task.offset("lead"), task.offset("install")), (Some(2), None));
    assert!(manifest.knows_event("lead") && !manifest.knows_event("install"));
    assert_eq!((task.leader_hpke.clone(), manifest.tasks().len()), (hpke(), 2));
}

#[test]
fn another_signature_or_advertiser_is_refused() {
    let text = document().sign(&key(2)).unwrap();
    assert!(matches!(open(&text, None, NOW), Err(ManifestError::Signature(SignError::UnknownKey(_)))));
    let text = document().sign(&key(1)).unwrap();
    let (head, tail) = text.split_at(text.len() / 2);
    let changed = if tail.starts_with('A') { "B" } else { "A" };
    let changed = format!("{head}{changed}{}", &tail[1..]);
    assert!(matches!(open(&changed, None, NOW), Err(ManifestError::Signature(SignError::Signature))));
    let other = Manifest::open(&text, &[*key(1).public_key()], "other.example", None, NOW);
    assert!(matches!(other, Err(ManifestError::Advertiser { .. })));
}

#[test]
fn it_holds_for_its_time_only() {
    let text = document().sign(&key(1)).unwrap();
    assert!(matches!(open(&text, None, NOW - 1), Err(ManifestError::NotYet { .. })));
    assert!(matches!(open(&text, None, NOW + 100), Err(ManifestError::Expired { .. })));
    open(&text, None, NOW + 99).unwrap();
}

/// Somebody who answers in the publisher's place could bring devices back to tasks or keys that were given up.
#[test]
fn nobody_brings_a_device_back() {
    let older = document().sign(&key(1)).unwrap();
    let newer = ManifestDocument { sequence: 8, ..document() }.sign(&key(1)).unwrap();
    let seen = Some(open(&newer, None, NOW).unwrap().seen());
    assert!(matches!(open(&older, seen, NOW), Err(ManifestError::Older { found: 7, seen: 8 })));
    open(&newer, seen, NOW).unwrap();
    let split = ManifestDocument { sequence: 8, campaigns: Vec::new(), ..document() }.sign(&key(1)).unwrap();
    assert!(matches!(open(&split, seen, NOW), Err(ManifestError::Split(8))));
}

/// Whoever stole a key signed the largest sequence there is, once. After the app had pinned another key every manifest was
/// "older", on every device, for ever.
#[test]
fn what_a_key_said_is_forgotten_with_the_key() {
    let stolen = ManifestDocument { sequence: u64::MAX, ..document() }.sign(&key(2)).unwrap();
    let keys = [1, 2].map(|seed| *key(seed).public_key());
    let seen = Some(Manifest::open(&stolen, &keys, SHOP, None, NOW).unwrap().seen());
    let text = document().sign(&key(1)).unwrap();
    let while_pinned = Manifest::open(&text, &keys, SHOP, seen, NOW);
    assert!(matches!(while_pinned, Err(ManifestError::Older { .. })));
    open(&text, seen, NOW).unwrap();
}

/// What nobody would follow is not signed either.
#[test]
fn the_rules_hold_on_both_sides() {
    type Break = fn(&mut ManifestDocument);
    let breaks: [Break; 18] = [
        |one| one.version = 2,
        |one| one.advertiser = "a b".to_owned(),
        |one| one.advertiser = "other.example".to_owned(),
        |one| one.expires = one.not_before,
        |one| one.expires = one.not_before + VALIDITY_SECONDS_MAX + 1,
        |one| one.campaigns[1].bucket = 1,
        |one| one.campaigns[1].bucket = 0,
        |one| one.campaigns[1].bucket = 6,
        |one| one.campaigns[1].name = "summer".to_owned(),
        |one| one.campaigns[1].name = "a\n".to_owned(),
        |one| one.tasks.clear(),
        |one| one.tasks[1] = one.tasks[0].clone(),
        |one| one.tasks[0].measures = Measures::Value,
        |one| one.tasks[1].measures = Measures::Count,
        |one| one.tasks[0].unit = 2,
        |one| one.tasks[0].events[1].name = "purchase".to_owned(),
        |one| one.tasks[0].leader_hpke = "AAAA".to_owned(),
        // A lead of the first campaign would be a purchase of the second.
        |one| one.tasks[0].events[1].offset = 1,
    ];
    for (index, wrong) in breaks.into_iter().enumerate() {
        let mut document = document();
        wrong(&mut document);
        assert!(document.sign(&key(1)).is_err(), "rule {index}");
        let bytes = serde_json::to_vec(&document).unwrap();
        let text = sign(&key(1), DocumentType::Manifest, &bytes).unwrap();
        assert!(open(&text, None, NOW).is_err(), "rule {index}");
    }
    for text in ["{}", "[]", "{\"version\":1}"] {
        let text = sign(&key(1), DocumentType::Manifest, text.as_bytes()).unwrap();
        assert!(matches!(open(&text, None, NOW), Err(ManifestError::Json(_))));
    }
}

proptest! {
    #[test]
    fn any_change_of_the_text_is_noticed(at in any::<proptest::sample::Index>(), to in "[A-Za-z0-9._-]") {
        let text = document().sign(&key(1)).unwrap();
        let at = at.index(text.len());
        let changed = format!("{}{to}{}", &text[..at], &text[at + 1..]);
        prop_assert!(changed == text || open(&changed, None, NOW).is_err());
    }

    #[test]
    fn any_signed_json_does_no_harm(text in "[\\[\\]{}\":,a-z0-9]{0,100}") {
        let text = sign(&key(1), DocumentType::Manifest, text.as_bytes()).unwrap();
        prop_assert!(open(&text, None, NOW).is_err());
    }

    /// Whatever is written: a device follows what its publisher would sign, and nothing else. Then each event of each campaign has a
    /// cell of its own or one with events of the same offset, and the task has all of these cells.
    #[test]
    fn what_is_followed_has_its_cells_apart(document in any_document()) {
        let bytes = serde_json::to_vec(&document).unwrap();
        let signed = document.sign(&key(1));
        let text = sign(&key(1), DocumentType::Manifest, &bytes).unwrap();
        let opened = open(&text, None, NOW);
        prop_assert_eq!(signed.is_ok(), opened.is_ok(), "{:?} {:?}", signed, opened);
        let Ok(manifest) = opened else { return Ok(()) };
        prop_assert_eq!(signed.unwrap(), text);
        for task in manifest.tasks() {
            let mut meanings = std::collections::BTreeMap::new();
            for campaign in &document.campaigns {
                prop_assert_eq!(manifest.bucket(&campaign.name), Some(campaign.bucket));
                prop_assert_eq!(manifest.campaign(campaign.bucket), Some(campaign.name.as_str()));
                for event in &task.events {
                    let cell = campaign.bucket + event.offset;
                    prop_assert!(cell > 0 && (cell as usize) < task.task.vdaf().config().output_len());
                    let meaning = (campaign.bucket, event.offset);
                    prop_assert_eq!(*meanings.entry(cell).or_insert(meaning), meaning);
                }
            }
        }
    }
}

/// Buckets and tasks of some offsets; about two of five keep the rules.
fn any_document() -> impl Strategy<Value = ManifestDocument> {
    let campaigns = proptest::collection::btree_set(prop_oneof![12 => 1..5_u32, 1 => 0..9_u32], 0..4);
    let vdaf = proptest::sample::select(vec![
        (VdafConfig::histogram(8).unwrap(), Measures::Count),
        (VdafConfig::histogram(16).unwrap(), Measures::Count),
        (VdafConfig::l1_bound_sum(16, 1).unwrap(), Measures::Count),
        (VdafConfig::l1_bound_sum(16, 9).unwrap(), Measures::Value),
        (VdafConfig::l1_bound_sum(16, 9).unwrap(), Measures::Count),
    ]);
    let offset = prop_oneof![4 => Just(0), 4 => Just(4), 4 => Just(8), 1 => 0..20_u32];
    let unit = prop_oneof![8 => Just(1_u64), 1 => 0..3_u64];
    let events = proptest::collection::vec(offset, 1..4);
    let task = (vdaf, unit, events).prop_map(|((vdaf, measures), unit, offsets)| {
        let event = |(number, offset)| EventDocument { name: format!("event {number}"), offset };
        let events = (1..).zip(offsets).map(event).collect();
        TaskDocument { unit, events, ..task(vdaf, measures) }
    });
    (campaigns, proptest::collection::vec(task, 1..3)).prop_map(|(buckets, tasks)| {
        let campaign = |(number, bucket)| Campaign { name: format!("campaign {number}"), bucket };
        ManifestDocument { campaigns: (1..).zip(buckets).map(campaign).collect(), tasks, ..document() }
    })
}
