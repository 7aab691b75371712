//! Which slot a campaign gets, and when new tasks are opened: decided here, without a store.
//!
//! A device remembers the slot of a campaign, not the task, for a month; so a campaign has the same slot in every generation,
//! and a slot gets another meaning only after nobody can remember the first any more ([`FORGOTTEN_DAYS`]), and then only in a
//! generation in which it never had it.

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::{Campaign, CampaignId, EventKind, Generation, RegistryError, Slot, Touch, Touches};

/// Lengths of histograms: noise, cost and reports grow with them, so the smallest that fits is taken. The last is the largest
/// that devices take.
pub const LENGTHS: [u32; 4] = [16, 64, 256, 1_024];

/// Days after a campaign's last one for which devices are told of it: until no device remembers an ad of it.
pub const TOLD_DAYS: i64 = 31;

/// Days after a campaign's last one for which its slot stays its own: the last manifest that names it is signed on the last day
/// on which it is told of, holds for 31 days at most, and a device keeps for 31 days what an app still showed under it.
pub const FORGOTTEN_DAYS: i64 = TOLD_DAYS + 31 + 31;

/// What the buckets of a new generation mean, before its tasks are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) events: Vec<EventKind>,
    pub(super) capacity: u32,
    pub(super) length: u32,
    pub(super) slots: Vec<Option<Slot>>,
}

/// Where a new campaign goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into free slots of the newest generation: all its slots, with the campaign.
    Here(Vec<Option<Slot>>),
    /// Into a new generation.
    Next(Layout),
}

/// Whether a campaign's last day is so many days ago.
pub(super) fn over_for(campaign: &Campaign, days: i64, today: Date) -> bool {
    campaign.end.is_some_and(|end| end.saturating_add(days.days()) < today)
}

/// The slots that a campaign takes.
pub(super) fn wanted(campaign: CampaignId, touches: Touches) -> Vec<Slot> {
    match touches {
        Touches::Together => vec![Slot { campaign, touch: None }],
        Touches::Apart => {
            [Touch::View, Touch::Click].map(|touch| Slot { campaign, touch: Some(touch) }).to_vec()
        }
    }
}

/// Puts a campaign into the first free of `capacity` slots; says whether there was room. Without, nothing is changed.
fn fill(slots: &mut Vec<Option<Slot>>, capacity: u32, wanted: &[Slot]) -> bool {
    let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
    let holes = slots.iter().filter(|slot| slot.is_none()).count();
    if holes + capacity.saturating_sub(slots.len()) < wanted.len() {
        return false;
    }
    for new in wanted {
        match slots.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(*new),
            None => slots.push(Some(*new)),
        }
    }
    true
}

/// The slots of the generation after this one: those of campaigns that some device may still remember.
fn carried(newest: Option<&Generation>, gone: impl Fn(CampaignId) -> bool) -> Vec<Option<Slot>> {
    let kept = |slot: &Option<Slot>| slot.filter(|slot| !gone(slot.campaign));
    let mut slots: Vec<_> = newest.map_or(&[][..], |newest| &newest.slots).iter().map(kept).collect();
    while slots.last().is_some_and(Option::is_none) {
        slots.pop();
    }
    slots
}

/// A generation with these slots and, if it is a campaign that needs it, those of a new one: the smallest length that leaves
/// room for a quarter more, or the largest if it has room at all.
fn lay_out(slots: &[Option<Slot>], new: &[Slot], events: &[EventKind]) -> Option<Layout> {
    let blocks = u32::try_from(events.len()).ok().filter(|blocks| *blocks > 0)?;
    let used = slots.iter().flatten().count() + new.len();
    let room = used + used.div_ceil(4);
    let largest = *LENGTHS.last()?;
    LENGTHS.into_iter().find_map(|length| {
        let capacity = (length - 1) / blocks;
        let fits = usize::try_from(capacity).is_ok_and(|capacity| {
            // Campaigns keep their slots, so the last of them decides, too.
            slots.len() <= capacity && (room <= capacity || length == largest)
        });
        let mut filled = slots.to_vec();
        (fits && fill(&mut filled, capacity, new)).then(|| Layout {
            events: events.to_vec(),
            capacity,
            length,
            slots: filled,
        })
    })
}

/// The length of a task of so many slots and kinds of events that is opened now; none if there is none.
pub(super) fn length_for(slots: usize, events: usize) -> Option<u32> {
    let slot = Slot { campaign: CampaignId::from_bytes([0; 12]), touch: None };
    lay_out(&vec![Some(slot); slots], &[], EventKind::ALL.get(..events)?).map(|layout| layout.length)
}

/// Places a new campaign. `gone` says of which campaigns no device remembers an ad.
pub(super) fn place(
    newest: Option<&Generation>,
    events: &[EventKind],
    new: &[Slot],
    gone: impl Fn(CampaignId) -> bool,
) -> Result<Place, RegistryError> {
    if let Some(newest) = newest {
        let mut slots = newest.slots.clone();
        if fill(&mut slots, newest.capacity, new) {
            return Ok(Place::Here(slots));
        }
    }
    let slots = carried(newest, gone);
    let largest = LENGTHS.last().copied().unwrap_or_default();
    lay_out(&slots, new, events).map(Place::Next).ok_or_else(|| {
        RegistryError::Full(format!(
            "all places are taken: the largest task has {largest} cells, for {} kinds of events and {} slots of campaigns each. \
             A campaign's place becomes free {FORGOTTEN_DAYS} days after its last day, when no device remembers its ads any \
             more: end campaigns that are over (set their status to ended, or an end), or create a second advertiser for \
             another host",
            events.len(),
            u32::try_from(events.len()).ok().and_then(|events| (largest - 1).checked_div(events)).unwrap_or(0),
        ))
    })
}

/// The next generation for other events or terms, with the campaigns of before.
pub(super) fn reopen(
    newest: &Generation,
    events: &[EventKind],
    gone: impl Fn(CampaignId) -> bool,
) -> Result<Layout, RegistryError> {
    let slots = carried(Some(newest), gone);
    lay_out(&slots, &[], events).ok_or_else(|| {
        RegistryError::Full(format!(
            "{} kinds of events do not fit: campaigns keep their places, the last of which is number {}, and the largest task \
             has {} cells. Count fewer kinds of events, or end campaigns that are over: a place becomes free {FORGOTTEN_DAYS} \
             days after a campaign's last day",
            events.len(),
            slots.len(),
            LENGTHS.last().copied().unwrap_or_default(),
        ))
    })
}
