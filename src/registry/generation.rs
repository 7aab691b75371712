//! Which bucket means what: the map of one task of conversions and of its task of values.

use arras_protocol::manifest::VALIDITY_SECONDS_MAX;
use arras_protocol::messages::TaskId;
use serde::{Deserialize, Serialize};

use super::{CampaignId, EventKind, Touch};

/// What a slot counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The campaign.
    pub campaign: CampaignId,
    /// After which kind of touch; both, if they are not told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touch: Option<Touch>,
}

/// The task of values beside that of conversions; its buckets mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueTask {
    /// The task.
    pub task: TaskId,
    /// Minor units of the advertiser's currency that are 1 in its sums.
    pub unit: u64,
    /// The most that one conversion adds, in units.
    pub max_value: u64,
}

/// A task of conversions, its task of values, and what their buckets mean. An advertiser's conversions are counted in one
/// generation at a time; when it is full, or its terms or events change, another is opened.
///
/// Cells are laid out event by event: with C slots, slot s (from 1) of the e-th event (from 0) has bucket `e * C + s`; bucket 0
/// is "not attributed". So a campaign's slot, which devices remember for a month, is the same for every event and in every
/// generation, and the offset of an event in the manifest is `e * C`. A slot that has a meaning never gets another one; free ones
/// are filled from the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Counts an advertiser's generations, from 1.
    pub number: u32,
    /// The events that it counts, in the order of their blocks of cells.
    pub events: Vec<EventKind>,
    /// C: slots of each event.
    pub capacity: u32,
    /// Buckets of the histogram: at least `1 + events * capacity`.
    pub length: u32,
    /// What slots mean, by slot from 1: the first entry is slot 1. `None` is a slot that means nothing here (its campaign ended
    /// before this generation was opened).
    pub slots: Vec<Option<Slot>>,
    /// The task of conversions.
    pub conversions: TaskId,
    /// The task of values, if there is one.
    pub value: Option<ValueTask>,
    /// From when devices are told of it, in POSIX seconds; windows that end before hold nothing of it.
    pub opened: u64,
    /// When the next one was opened; see [`Generation::life_end`].
    pub closed: Option<u64>,
}

/// For how long after the next generation was opened a manifest that names this one may still be signed, in seconds: 31 days. Whoever
/// signs from a file needs time to fetch the next one.
const SIGNED_SECONDS: u64 = 31 * 86_400;

impl Generation {
    /// Until when devices may report to it, in POSIX seconds: those that have not heard of the next one, for as long as the last
    /// manifest that names it holds. Without an end while there is no next one.
    pub fn life_end(&self) -> u64 {
        let end = |closed: u64| closed.saturating_add(SIGNED_SECONDS).saturating_add(VALIDITY_SECONDS_MAX);
        self.closed.map_or(u64::MAX, end)
    }

    /// The offset of an event's cells, if it is counted here.
    pub fn offset(&self, event: EventKind) -> Option<u32> {
        let block = self.events.iter().position(|counted| *counted == event)?;
        u32::try_from(block).ok()?.checked_mul(self.capacity)
    }

    /// The bucket of an event of a slot (from 1).
    pub fn bucket(&self, event: EventKind, slot: u32) -> Option<u32> {
        if slot == 0 || slot > self.capacity {
            return None;
        }
        self.offset(event)?.checked_add(slot).filter(|bucket| *bucket < self.length)
    }

    /// The slots (from 1) of a campaign, with what they count.
    pub fn slots_of(&self, campaign: CampaignId) -> impl Iterator<Item = (u32, Slot)> {
        (1..).zip(&self.slots).filter_map(move |(number, slot)| {
            slot.filter(|slot| slot.campaign == campaign).map(|slot| (number, slot))
        })
    }
}
