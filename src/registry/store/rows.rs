//! The registry's rows in the collector's store.
//!
//! Keys in the state (numbers big endian, so that they sort):
//!
//! | key | value |
//! |---|---|
//! | `Aa`, advertiser | the [`Advertiser`], JSON |
//! | `Ac`, advertiser, place by creation (`u32`, from 0) | a [`Campaign`], JSON |
//! | `Ag`, advertiser, number of a generation (`u32`) | [`GenerationRow`], JSON: all of a [`Generation`] but its slots |
//! | `As`, advertiser, number of a generation (`u32`), piece (`u16`, from 0) | [`PIECE_SLOTS`] slots, 13 bytes each: what kind (0 for none), the campaign |
//!
//! A value has at most 4 KiB. Whatever one call changes is one commit. Rows are never removed, and of a generation only two
//! things change: free slots get a meaning, and it is closed.

use std::collections::BTreeMap;

use arras_protocol::messages::TaskId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::super::made::Made;
use super::super::{
    Advertiser, AdvertiserId, Campaign, CampaignId, EventKind, Generation, RegistryError, Slot, Touch,
    ValueTask,
};
use super::picture::{Holding, Picture};
use crate::store::{State, StateBatch, StateGuard, StoreError};

const ADVERTISER: &[u8] = b"Aa";
const CAMPAIGN: &[u8] = b"Ac";
const GENERATION: &[u8] = b"Ag";
const SLOTS: &[u8] = b"As";

/// Slots in a row, so that a row has at most 3,328 bytes.
const PIECE_SLOTS: usize = 256;

const ID_BYTES: usize = 12;
const SLOT_BYTES: usize = 1 + ID_BYTES;

/// Rows read at once when the store is opened.
const PAGE_ROWS: usize = 512;

/// A generation without its slots.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GenerationRow {
    events: Vec<EventKind>,
    capacity: u32,
    length: u32,
    #[serde(with = "id")]
    conversions: TaskId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Id>,
    opened: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<u64>,
    made: Made,
}

/// A task's id as rows carry it.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct Id(#[serde(with = "id")] TaskId);

mod id {
    use super::{Deserialize as _, Deserializer, Serializer, TaskId, de};

    pub(super) fn serialize<S: Serializer>(id: &TaskId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TaskId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn key(kind: &[u8], advertiser: AdvertiserId, rest: &[u8]) -> Vec<u8> {
    [kind, advertiser.as_bytes(), rest].concat()
}

fn json(row: &impl Serialize) -> Result<Vec<u8>, RegistryError> {
    serde_json::to_vec(row).map_err(|error| RegistryError::Row(error.to_string()))
}

fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(value).map_err(|error| RegistryError::Row(error.to_string()))
}

pub(super) fn put_advertiser(batch: &mut StateBatch, advertiser: &Advertiser) -> Result<(), RegistryError> {
    Ok(batch.insert(&key(ADVERTISER, advertiser.id, &[]), &json(advertiser)?)?)
}

pub(super) fn put_campaign(
    batch: &mut StateBatch,
    place: u32,
    campaign: &Campaign,
) -> Result<(), RegistryError> {
    Ok(batch.insert(&key(CAMPAIGN, campaign.advertiser, &place.to_be_bytes()), &json(campaign)?)?)
}

/// Writes a generation, and those pieces of its slots that changed. What is in the store already is held against it under the
/// guard that the commit is made with: nothing of it may change but what a generation may change of.
pub(super) fn put_generation(
    batch: &mut StateBatch,
    guard: &StateGuard<'_>,
    advertiser: AdvertiserId,
    generation: &Generation,
    made: &Made,
) -> Result<(), RegistryError> {
    let number = generation.number.to_be_bytes();
    let head = key(GENERATION, advertiser, &number);
    let row = GenerationRow {
        events: generation.events.clone(),
        capacity: generation.capacity,
        length: generation.length,
        conversions: generation.conversions,
        value: generation.value.map(|value| Id(value.task)),
        opened: generation.opened,
        closed: generation.closed,
        made: made.clone(),
    };
    if let Some(old) = guard.get(&head)? {
        let old: GenerationRow = parse(&old)?;
        let same = json(&GenerationRow { closed: row.closed, ..old })? == json(&row)?;
        if !same {
            return Err(StoreError::Invalid("a generation that is another than it was").into());
        }
    }
    batch.insert(&head, &json(&row)?)?;
    for (piece, slots) in (0_u16..).zip(generation.slots.chunks(PIECE_SLOTS)) {
        let place = key(SLOTS, advertiser, &[number.as_slice(), &piece.to_be_bytes()].concat());
        let bytes: Vec<u8> = slots.iter().copied().flat_map(encode_slot).collect();
        let old = guard.get(&place)?.unwrap_or_default();
        if !only_adds(&old, &bytes) {
            return Err(StoreError::Invalid("a slot that would get another meaning").into());
        }
        if old != bytes {
            batch.insert(&place, &bytes)?;
        }
    }
    Ok(())
}

/// Whether every slot that has a meaning in the old bytes has the same in the new ones.
fn only_adds(old: &[u8], new: &[u8]) -> bool {
    old.len() <= new.len()
        && old
            .chunks(SLOT_BYTES)
            .zip(new.chunks(SLOT_BYTES))
            .all(|(old, new)| old.first() == Some(&0) || old == new)
}

fn encode_slot(slot: Option<Slot>) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    if let Some(slot) = slot {
        bytes[0] = match slot.touch {
            None => 1,
            Some(Touch::View) => 2,
            Some(Touch::Click) => 3,
        };
        bytes[1..].copy_from_slice(slot.campaign.as_bytes());
    }
    bytes
}

fn decode_slot(bytes: &[u8]) -> Result<Option<Slot>, RegistryError> {
    let (kind, campaign) = bytes.split_first().ok_or_else(|| wrong("slots"))?;
    let campaign = CampaignId::from_bytes(campaign.try_into().map_err(|_| wrong("slots"))?);
    let touch = match kind {
        0 => return Ok(None),
        1 => None,
        2 => Some(Touch::View),
        3 => Some(Touch::Click),
        _ => return Err(wrong("slots")),
    };
    Ok(Some(Slot { campaign, touch }))
}

fn wrong(what: &str) -> RegistryError {
    RegistryError::Row(format!("a row of {what} is not in its place"))
}

/// An advertiser's id and what stands behind it in a key.
fn split<'a>(rest: &'a [u8], what: &str) -> Result<(AdvertiserId, &'a [u8]), RegistryError> {
    let (id, rest) = rest.split_first_chunk::<ID_BYTES>().ok_or_else(|| wrong(what))?;
    Ok((AdvertiserId::from_bytes(*id), rest))
}

fn number(rest: &[u8], what: &str) -> Result<u32, RegistryError> {
    Ok(u32::from_be_bytes(rest.try_into().map_err(|_| wrong(what))?))
}

/// What an advertiser has, while it is put together.
struct Read {
    advertiser: Advertiser,
    campaigns: Vec<Campaign>,
    generations: Vec<(Generation, Made)>,
}

/// Reads the whole registry.
pub(super) fn load(state: &State) -> Result<Picture, RegistryError> {
    let mut all: BTreeMap<AdvertiserId, Read> = BTreeMap::new();
    state.each(ADVERTISER, PAGE_ROWS, |rest, value| {
        let (id, _) = split(rest, "advertisers")?;
        let advertiser: Advertiser = parse(value)?;
        if advertiser.id != id {
            return Err(wrong("advertisers"));
        }
        all.insert(id, Read { advertiser, campaigns: Vec::new(), generations: Vec::new() });
        Ok(())
    })?;
    state.each(CAMPAIGN, PAGE_ROWS, |rest, value| {
        let (id, rest) = split(rest, "campaigns")?;
        let read = all.get_mut(&id).ok_or_else(|| wrong("campaigns"))?;
        let campaign: Campaign = parse(value)?;
        if campaign.advertiser != id
            || usize::try_from(number(rest, "campaigns")?).ok() != Some(read.campaigns.len())
        {
            return Err(wrong("campaigns"));
        }
        read.campaigns.push(campaign);
        Ok(())
    })?;
    load_generations(state, &mut all)?;
    let holdings =
        all.into_values().map(|read| Holding::new(read.advertiser, read.campaigns, read.generations));
    Ok(Picture::new(holdings))
}

/// The generations of advertisers that are read, and their slots.
fn load_generations(state: &State, all: &mut BTreeMap<AdvertiserId, Read>) -> Result<(), RegistryError> {
    state.each(GENERATION, PAGE_ROWS, |rest, value| {
        let (id, rest) = split(rest, "generations")?;
        let read = all.get_mut(&id).ok_or_else(|| wrong("generations"))?;
        let (number, row) = (number(rest, "generations")?, parse::<GenerationRow>(value)?);
        if usize::try_from(number).ok() != Some(read.generations.len() + 1) {
            return Err(wrong("generations"));
        }
        let terms = row.made.terms.value;
        let value = row.value.zip(terms).map(|(task, terms)| ValueTask {
            task: task.0,
            unit: terms.unit,
            max_value: terms.max_value,
        });
        let generation = Generation {
            number,
            events: row.events,
            capacity: row.capacity,
            length: row.length,
            slots: Vec::new(),
            conversions: row.conversions,
            value,
            opened: row.opened,
            closed: row.closed,
        };
        read.generations.push((generation, row.made));
        Ok(())
    })?;
    state.each(SLOTS, PAGE_ROWS, |rest, value| {
        let (id, rest) = split(rest, "slots")?;
        let (at, piece) = rest.split_at_checked(4).ok_or_else(|| wrong("slots"))?;
        let (at, piece) =
            (number(at, "slots")?, u16::from_be_bytes(piece.try_into().map_err(|_| wrong("slots"))?));
        let generations = all.get_mut(&id).map(|read| &mut read.generations);
        let index = usize::try_from(at).ok().and_then(|at| at.checked_sub(1));
        let (generation, _) = generations
            .zip(index)
            .and_then(|(all, index)| all.get_mut(index))
            .ok_or_else(|| wrong("slots"))?;
        if usize::from(piece) * PIECE_SLOTS != generation.slots.len() {
            return Err(wrong("slots"));
        }
        for slot in value.chunks(SLOT_BYTES) {
            generation.slots.push(decode_slot(slot)?);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn slots_are_read_as_they_are_written_and_only_added_to() {
        let slot = |byte, touch| Some(Slot { campaign: CampaignId::from_bytes([byte; 12]), touch });
        for all in [None, slot(1, None), slot(2, Some(Touch::View)), slot(3, Some(Touch::Click))] {
            assert_eq!(decode_slot(&encode_slot(all)).unwrap(), all);
        }
        assert!(decode_slot(&[4; SLOT_BYTES]).is_err() && decode_slot(&[1; 5]).is_err());
        let bytes = |slots: &[Option<Slot>]| slots.iter().copied().flat_map(encode_slot).collect::<Vec<u8>>();
        let (one, two) = (slot(1, None), slot(2, None));
        for (old, new, allowed) in [
            (&[][..], &[one][..], true),
            (&[one], &[one, two], true),
            (&[None, one], &[two, one], true),
            (&[one], &[two], false),
            (&[one], &[None], false),
            (&[one, two], &[one], false),
            (&[slot(1, Some(Touch::View))], &[slot(1, Some(Touch::Click))], false),
        ] {
            assert_eq!(only_adds(&bytes(old), &bytes(new)), allowed, "{old:?} {new:?}");
        }
    }
}
