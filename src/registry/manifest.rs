//! What devices are told of an advertiser: the description that `arras manifest` makes a manifest of.

use arras_protocol::manifest::{CLICKS, Campaign as Told, Measures, VIEWS};

use super::allocation::{TOLD_DAYS, over_for};
use super::input::day_of;
use super::{AdvertiserId, Registry, RegistryError, Touch};
use crate::tasks::manifests::{EventEntry, ManifestFile, TaskEntry, VALID_DAYS};

/// What manifests call a campaign's slot: its name, and behind it the kind of touch if those are told apart.
pub fn told_name(name: &str, touch: Option<Touch>) -> String {
    let behind = match touch {
        None => "",
        Some(Touch::View) => VIEWS,
        Some(Touch::Click) => CLICKS,
    };
    format!("{name}{behind}")
}

impl Registry {
    /// The description of an advertiser's manifest: the tasks of its newest generation, the events that they count, and the slot
    /// of every campaign that a device may still see an ad of, or remember one.
    ///
    /// A manifest made of it has to be signed and served (`arras manifest`) after the operators of both aggregators have added
    /// the tasks, and again when campaigns, events or terms have changed, before it expires.
    ///
    /// # Errors
    /// `Conflict` if the advertiser has no campaign yet, and so no task.
    pub fn manifest_file(&self, advertiser: AdvertiserId, now: u64) -> Result<String, RegistryError> {
        let of = self.advertiser(advertiser).ok_or(RegistryError::NoAdvertiser)?;
        let today = day_of(&of.time_zone, now)?;
        let generations = self.generations(advertiser);
        let newest = generations.last().ok_or_else(|| {
            RegistryError::Conflict(
                "this advertiser has no task yet, so devices cannot be told of any; create its first campaign".to_owned(),
            )
        })?;
        let told = (1..).zip(&newest.slots).filter_map(|(bucket, slot)| {
            let slot = (*slot)?;
            let campaign = self.campaign(advertiser, slot.campaign)?;
            // Devices that remember an ad of it do not need to be told of it again.
            let shown = !over_for(&campaign, TOLD_DAYS, today);
            shown.then(|| Told { name: told_name(campaign.name.as_str(), slot.touch), bucket })
        });
        let events: Vec<EventEntry> = newest
            .events
            .iter()
            .filter_map(|event| {
                Some(EventEntry { name: event.name().to_owned(), offset: newest.offset(*event)? })
            })
            .collect();
        let entry = |id: arras_protocol::messages::TaskId, measures, unit| TaskEntry {
            id: id.to_string(),
            measures,
            unit,
            events: events.clone(),
        };
        let counts = entry(newest.conversions, Measures::Count, 1);
        let values = newest.value.map(|value| entry(value.task, Measures::Value, value.unit));
        let file = ManifestFile {
            advertiser: of.site.clone(),
            valid_days: VALID_DAYS,
            campaign: Some(told.collect()),
            task: std::iter::once(counts).chain(values).collect(),
        };
        let text = toml::to_string(&file).map_err(|error| RegistryError::Row(error.to_string()))?;
        Ok(format!(
            "# What devices are told of {}. Sign it with: arras manifest FILE --config FILE\n{text}",
            of.site
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arras_protocol::hpke::PrivateKey;
    use arras_protocol::manifest::{MANIFEST_BYTES_MAX, Manifest};
    use arras_protocol::messages::HpkeConfigList;
    use arras_protocol::signed::SigningKey;
    use arras_protocol::verification::hpke_config_list;

    use super::*;
    use crate::registry::fixture::{MemoryPlace, NOW, campaign, shop, with_campaigns};
    use crate::registry::{CampaignChange, EventKind, NewAdvertiser, Status, Touches};
    use crate::tasks::manifests::{keeps_buckets, next_sequence, publish};

    const DAY: u64 = 86_400;

    fn hpke() -> HpkeConfigList {
        hpke_config_list([(1, &PrivateKey::from_bytes([7; 32]))]).unwrap()
    }

    /// Does what `arras manifest` does with a description, but for asking the aggregators.
    fn published(place: &MemoryPlace, text: &str, now: u64) -> Manifest {
        let description = ManifestFile::parse(text).unwrap();
        let known: Vec<_> = description
            .ids()
            .unwrap()
            .iter()
            .map(|id| place.place.tasks().load(*id).unwrap().unwrap())
            .collect();
        let gathered: Vec<_> = description
            .task
            .iter()
            .zip(&known)
            .map(|(entry, known)| (entry, known, (hpke(), hpke())))
            .collect();
        let folder = place.place.dir.path().join("manifests");
        let sequence = next_sequence(&folder, &description.advertiser, now).unwrap();
        let document = description.document(&gathered, sequence, now).unwrap();
        keeps_buckets(&folder, &document).unwrap();
        let key = SigningKey::from_bytes(&[7; 32]);
        publish(&folder, &key, &document).unwrap();
        let signed = std::fs::read_to_string(folder.join("shop.example.jws")).unwrap();
        assert!(signed.len() <= MANIFEST_BYTES_MAX / 3 * 4 + 1_024);
        Manifest::open(&signed, &[*key.public_key()], "shop.example", None, now).unwrap()
    }

    #[test]
    fn devices_follow_it_and_every_cell_is_the_registrys() {
        let place = MemoryPlace::new();
        let registry = place.open();
        let id = with_campaigns(&registry, shop("Shop"), &["Boots", "Tents"]);
        let manifest = published(&place, &registry.manifest_file(id, NOW).unwrap(), NOW);
        let newest = registry.generations(id).last().unwrap().clone();
        assert_eq!(manifest.tasks().len(), 2);
        assert_eq!(manifest.tasks()[0].task.id(), newest.conversions);
        assert_eq!(manifest.tasks()[1].unit, 100);
        for campaign in registry.campaigns(id).iter() {
            let (slot, _) = newest.slots_of(campaign.id).next().unwrap();
            let bucket = manifest.bucket(campaign.name.as_str()).unwrap();
            for event in &newest.events {
                let offset = manifest.tasks()[1].offset(event.name()).unwrap();
                assert_eq!(newest.bucket(*event, slot), Some(bucket + offset));
            }
        }
        // More campaigns, in larger tasks: those of before keep their buckets.
        for n in 0..40 {
            registry.create_campaign(id, &campaign(&format!("Campaign {n}")), NOW).unwrap();
        }
        let later = published(&place, &registry.manifest_file(id, NOW + DAY).unwrap(), NOW + DAY);
        assert_eq!(later.bucket("Tents"), manifest.bucket("Tents"));
        let offset = |manifest: &Manifest| manifest.tasks()[0].offset("lead_created");
        assert_ne!(offset(&later), offset(&manifest));
    }

    #[test]
    fn views_and_clicks_have_names_of_their_own() {
        let place = MemoryPlace::new();
        let registry = place.open();
        let apart = NewAdvertiser { touches: Touches::Apart, ..shop("Shop") };
        let id = with_campaigns(&registry, apart, &["Boots"]);
        let manifest = published(&place, &registry.manifest_file(id, NOW).unwrap(), NOW);
        let buckets = ["Boots", "Boots/view", "Boots/click"].map(|name| manifest.bucket(name));
        assert_eq!(buckets, [None, Some(1), Some(2)]);
        // What apps say is the campaign's name.
        assert_eq!([VIEWS, CLICKS].map(|touch| manifest.bucket_of("Boots", touch)), [Some(1), Some(2)]);
        // A campaign that is called like the views of another one would be counted there.
        for name in ["Boots/view", "Boots/click"] {
            let refused = registry.create_campaign(id, &campaign(name), NOW).unwrap_err();
            assert!(refused.to_string().contains("must not end in"), "{refused}");
        }
        registry.create_campaign(id, &campaign("Boots/viewed"), NOW).unwrap();
    }

    /// A place that is given to another campaign is in no manifest for a month before: none says that it moved.
    #[test]
    fn a_campaign_that_is_over_is_not_told_of_when_its_ads_are_forgotten() {
        let place = MemoryPlace::new();
        let registry = place.open();
        let all = EventKind::ALL.to_vec();
        let id = registry.create_advertiser(NewAdvertiser { events: all, ..shop("Shop") }, NOW).unwrap().id;
        for n in 0..85 {
            registry.create_campaign(id, &campaign(&format!("Campaign {n}")), NOW).unwrap();
        }
        let first = registry.campaigns(id)[0].id;
        let end = CampaignChange { status: Some(Status::Ended), ..CampaignChange::default() };
        registry.change_campaign(id, first, &end, NOW).unwrap();
        let bucket =
            |now, name: &str| published(&place, &registry.manifest_file(id, now).unwrap(), now).bucket(name);
        assert_eq!(bucket(NOW, "Campaign 0"), Some(1));
        assert_eq!(bucket(NOW + 31 * DAY, "Campaign 0"), Some(1));
        assert_eq!(bucket(NOW + 32 * DAY, "Campaign 0"), None);
        // What was signed on the last of these days may hold for a month, and what was seen under it is remembered for another.
        assert!(registry.create_campaign(id, &campaign("Campaign 85"), NOW + 93 * DAY).is_err());
        registry.create_campaign(id, &campaign("Campaign 85"), NOW + 94 * DAY).unwrap();
        assert_eq!(bucket(NOW + 94 * DAY, "Campaign 85"), Some(1));
    }

    /// A campaign ran for 70 days and devices were told of it yesterday. Then its last day was set to its first: it counted as
    /// forgotten at once, the next tasks gave its place to another campaign, and devices that had seen its ads would have
    /// reported them as the other's.
    #[test]
    fn a_last_day_that_is_moved_back_does_not_free_a_place_that_devices_remember() {
        let place = MemoryPlace::new();
        let registry = place.open();
        let id = with_campaigns(&registry, shop("Shop"), &["Boots"]);
        let now = NOW + 70 * DAY;
        let bucket =
            |now, name: &str| published(&place, &registry.manifest_file(id, now).unwrap(), now).bucket(name);
        assert_eq!(bucket(now - DAY, "Boots"), Some(1));
        let boots = registry.campaigns(id)[0].clone();
        let end = |end, now| {
            let change = CampaignChange { end: Some(Some(end)), ..CampaignChange::default() };
            registry.change_campaign(id, boots.id, &change, now).map(|changed| changed.end)
        };
        let today = day_of(&shop("Shop").time_zone, now).unwrap();
        for day in [boots.start, today.yesterday().unwrap()] {
            let refused = end(day, now).unwrap_err();
            assert!(refused.to_string().contains(&format!("give {today} or a later day")), "{refused}");
        }
        assert_eq!(end(today, now).unwrap(), Some(today));
        // Nor on the day after, when it is over: it was told of until then.
        end(boots.start, now + DAY).unwrap_err();
        assert_eq!(end(today, now + DAY).unwrap(), Some(today), "what it is already is no change");
        let mut events = registry.advertiser(id).unwrap().events.clone();
        events.push(EventKind::TrialStarted);
        let more = crate::registry::AdvertiserChange { events: Some(events), ..Default::default() };
        registry.change_advertiser(id, &more, now + DAY).unwrap();
        registry.create_campaign(id, &campaign("Tents"), now + DAY).unwrap();
        assert_eq!(["Boots", "Tents"].map(|name| bucket(now + DAY, name)), [Some(1), Some(2)]);
    }

    /// The longest names of as many campaigns as a task takes fit one manifest.
    #[test]
    fn a_full_task_fits_one_manifest() {
        let place = MemoryPlace::new();
        let registry = place.open();
        let events = vec![EventKind::OrderCreated];
        let id = registry.create_advertiser(NewAdvertiser { events, ..shop("Shop") }, NOW).unwrap().id;
        for n in 0..1_023 {
            let name = format!("{n:04}{}", "\u{1d11e}".repeat(48));
            registry.create_campaign(id, &campaign(&name), NOW).unwrap();
        }
        assert!(registry.create_campaign(id, &campaign("One more"), NOW).is_err());
        let manifest = published(&place, &registry.manifest_file(id, NOW).unwrap(), NOW);
        assert!(manifest.campaign(1_023).is_some());
    }

    #[test]
    fn without_a_task_there_is_nothing_to_tell() {
        let place = MemoryPlace::new();
        let registry = place.open();
        let id = with_campaigns(&registry, shop("Shop"), &[]);
        let refused = registry.manifest_file(id, NOW).unwrap_err();
        assert!(refused.to_string().contains("create its first campaign"), "{refused}");
    }
}
