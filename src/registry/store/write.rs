//! Changing the registry. Each call decides under the writer's lock, makes one commit, shows what became durable, and then
//! puts files of new tasks into the folder.

use std::sync::Arc;

use jiff::civil::Date;

use super::super::allocation::{self, Place};
use super::super::input::day_of;
use super::super::made::{self, Made, Task};
use super::super::{
    Advertiser, AdvertiserChange, AdvertiserId, Campaign, CampaignChange, CampaignId, Generation,
    NewAdvertiser, NewCampaign, RegistryError,
};
use super::picture::{Holding, Picture};
use super::{
    ADVERTISERS_MAX, CAMPAIGNS_LIVE_MAX, CAMPAIGNS_MAX, CAMPAIGNS_OF_ALL_MAX, GENERATIONS_MAX, Registry, rows,
};
use crate::registry::allocation::{TOLD_DAYS, over_for};
use crate::store::StateBatch;

const SITE_TAKEN: &str = "another advertiser has this site: its tasks and its budget are one advertiser's";
const NAME_TAKEN: &str = "another advertiser has this name; choose another";

/// What one commit changes of an advertiser.
#[derive(Default)]
struct Change {
    advertiser: Option<Advertiser>,
    /// With its place by creation.
    campaign: Option<(u32, Campaign)>,
    generations: Vec<(Generation, Made)>,
    /// The tasks of new generations.
    tasks: Vec<Task>,
}

/// What a new campaign would need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextCampaign {
    /// It fits the tasks that there are, and so many more with it.
    Fits {
        /// Campaigns for which there is room, this one included.
        room: u32,
    },
    /// It opens new tasks, which the operators of both aggregators have to take part in before it is counted.
    OpensTasks {
        /// Cells of each.
        length: u32,
        /// How many tasks: 2 with values.
        tasks: u32,
    },
    /// It cannot be created now; why, and what to do.
    Refused(String),
}

impl Registry {
    /// Creates an advertiser. Its tasks are opened with its first campaign.
    ///
    /// # Errors
    /// `Conflict` for a name or site that another has, `Invalid` and `Terms` for what is refused, `Full` beyond
    /// [`ADVERTISERS_MAX`].
    pub fn create_advertiser(&self, new: NewAdvertiser, now: u64) -> Result<Arc<Advertiser>, RegistryError> {
        new.check()?;
        let _turn = self.turn();
        let taken = self.read(|picture| {
            if picture.len() >= ADVERTISERS_MAX {
                return Some(RegistryError::Full(format!(
                    "this collector has {ADVERTISERS_MAX} advertisers, the most that it can have; run another collector"
                )));
            }
            let others = || picture.holdings().map(|holding| &holding.advertiser);
            let site = others().any(|other| other.site == new.site).then_some(SITE_TAKEN);
            site.or_else(|| others().any(|other| other.name == new.name).then_some(NAME_TAKEN))
                .map(|taken| RegistryError::Conflict(taken.to_owned()))
        });
        if let Some(taken) = taken {
            return Err(taken);
        }
        let advertiser = Advertiser {
            id: AdvertiserId::from_bytes(self.new_id(|bytes| {
                self.read(|picture| picture.get(AdvertiserId::from_bytes(bytes)).is_some())
            })?),
            name: new.name,
            site: new.site,
            time_zone: new.time_zone,
            currency: new.currency,
            cadence: new.cadence,
            grace_seconds: new.grace_seconds,
            events: new.events,
            touches: new.touches,
            terms: new.terms,
            created: now,
        };
        self.try_terms(&advertiser)?;
        let holding = Holding::new(advertiser.clone(), Vec::new(), Vec::new());
        self.commit(&holding, Change { advertiser: Some(advertiser), ..Change::default() })
            .map(|holding| Arc::clone(&holding.advertiser))
    }

    /// Changes an advertiser. Other events or terms open new tasks if there are some already: the operators of both
    /// aggregators have to take part in them, and each release of theirs spends what the terms say, as those of the old ones
    /// did. Devices report to the old ones for as long as their manifest holds, 31 days at most, and both are collected: for so
    /// long each window is charged twice.
    pub fn change_advertiser(
        &self,
        id: AdvertiserId,
        change: &AdvertiserChange,
        now: u64,
    ) -> Result<Arc<Advertiser>, RegistryError> {
        let _turn = self.turn();
        let holding = self.holding(id).ok_or(RegistryError::NoAdvertiser)?;
        let changed = change.apply(&holding.advertiser, holding.newest().is_some())?;
        if changed == *holding.advertiser {
            return Ok(changed.into());
        }
        let named =
            |other: &&Arc<Holding>| other.advertiser.id != id && other.advertiser.name == changed.name;
        if self.read(|picture| picture.holdings().any(|other| named(&other))) {
            return Err(RegistryError::Conflict(NAME_TAKEN.to_owned()));
        }
        let mut all = Change::default();
        if let Some((newest, made)) = holding.newest() {
            if newest.events != changed.events || made.terms != changed.terms {
                let today = day_of(&changed.time_zone, now)?;
                let layout =
                    allocation::reopen(newest, &changed.events, |id| forgotten(&holding, id, today))?;
                self.open_next(&mut all, &holding, &changed, &layout, now)?;
            }
        } else {
            self.try_terms(&changed)?;
        }
        all.advertiser = Some(changed);
        self.commit(&holding, all).map(|holding| Arc::clone(&holding.advertiser))
    }

    /// Creates a campaign and gives it its slots; opens new tasks if there are none yet, or none with room.
    ///
    /// # Errors
    /// `Conflict` for a name that another campaign of the advertiser has or had, `Full` if there is no room and what to do
    /// about it.
    pub fn create_campaign(
        &self,
        advertiser: AdvertiserId,
        new: &NewCampaign,
        now: u64,
    ) -> Result<Arc<Campaign>, RegistryError> {
        let _turn = self.turn();
        let holding = self.holding(advertiser).ok_or(RegistryError::NoAdvertiser)?;
        let of = &holding.advertiser;
        let today = day_of(&of.time_zone, now)?;
        let id = CampaignId::from_bytes(self.new_id(|bytes| {
            let id = CampaignId::from_bytes(bytes);
            self.read(|picture| picture.holdings().any(|holding| holding.place_of(id).is_some()))
        })?);
        let campaign = new.checked(id, of, today, now)?;
        if holding.campaigns.iter().any(|other| other.name == campaign.name) {
            return Err(RegistryError::NameTaken(campaign.name.to_string()));
        }
        let all = self.admit(&holding, &campaign, today, now)?;
        let shown = self.commit(&holding, all)?;
        Ok(shown.campaign(id).cloned().unwrap_or_else(|| Arc::new(campaign)))
    }

    /// What a new campaign would need now.
    pub fn next_campaign(&self, advertiser: AdvertiserId, now: u64) -> Result<NextCampaign, RegistryError> {
        let holding = self.holding(advertiser).ok_or(RegistryError::NoAdvertiser)?;
        let of = &holding.advertiser;
        let today = day_of(&of.time_zone, now)?;
        let new = allocation::wanted(CampaignId::from_bytes([0; 12]), of.touches);
        let newest = holding.newest().map(|(newest, _)| &**newest);
        let placed = self
            .room_for_one(&holding, today)
            .and_then(|()| allocation::place(newest, &of.events, &new, |id| forgotten(&holding, id, today)));
        Ok(match (placed, newest) {
            (Ok(Place::Here(slots)), Some(newest)) => {
                let taken = u32::try_from(slots.iter().flatten().count()).unwrap_or(u32::MAX);
                let each = u32::try_from(new.len()).unwrap_or(1);
                NextCampaign::Fits { room: 1 + newest.capacity.saturating_sub(taken) / each }
            }
            (Ok(Place::Next(layout)), _) => NextCampaign::OpensTasks {
                length: layout.length,
                tasks: 1 + u32::from(of.terms.value.is_some()),
            },
            (Ok(Place::Here(_)), None) => NextCampaign::Fits { room: 1 },
            (Err(error), _) => NextCampaign::Refused(error.to_string()),
        })
    }

    /// Changes a campaign. Its slots stay.
    pub fn change_campaign(
        &self,
        advertiser: AdvertiserId,
        id: CampaignId,
        change: &CampaignChange,
        now: u64,
    ) -> Result<Arc<Campaign>, RegistryError> {
        let _turn = self.turn();
        let holding = self.holding(advertiser).ok_or(RegistryError::NoAdvertiser)?;
        let (of, place) = (&holding.advertiser, holding.place_of(id).ok_or(RegistryError::NoCampaign)?);
        let before = &holding.campaigns[place];
        let today = day_of(&of.time_zone, now)?;
        let changed = change.apply(before, of, today)?;
        if changed == **before {
            return Ok(Arc::clone(before));
        }
        let has_place = holding.newest().is_some_and(|(newest, _)| newest.slots_of(id).next().is_some());
        if !has_place && !over_for(&changed, 0, today) {
            return Err(RegistryError::Conflict(
                "this campaign was over for so long that its place was given away, so it cannot run again; create a new \
                 campaign"
                    .to_owned(),
            ));
        }
        let place = u32::try_from(place).map_err(|_| RegistryError::NoCampaign)?;
        let shown =
            self.commit(&holding, Change { campaign: Some((place, changed.clone())), ..Change::default() })?;
        Ok(shown.campaign(id).cloned().unwrap_or_else(|| Arc::new(changed)))
    }

    /// What creating a campaign changes.
    fn admit(
        &self,
        holding: &Holding,
        campaign: &Campaign,
        today: Date,
        now: u64,
    ) -> Result<Change, RegistryError> {
        self.room_for_one(holding, today)?;
        let of = &holding.advertiser;
        let newest = holding.newest().map(|(newest, _)| &**newest);
        let new = allocation::wanted(campaign.id, of.touches);
        let gone = |id| forgotten(holding, id, today);
        let place = u32::try_from(holding.campaigns.len()).map_err(|_| too_many())?;
        let mut all = Change { campaign: Some((place, campaign.clone())), ..Change::default() };
        match (allocation::place(newest, &of.events, &new, gone)?, holding.newest()) {
            (Place::Here(slots), Some((newest, made))) => {
                let filled = Generation { slots, ..Generation::clone(newest) };
                all.generations.push((filled, Made::clone(made)));
            }
            // `place` has no slots to fill without a generation.
            (Place::Here(_), None) => return Err(too_many()),
            (Place::Next(layout), _) => self.open_next(&mut all, holding, of, &layout, now)?,
        }
        Ok(all)
    }

    fn room_for_one(&self, holding: &Holding, today: Date) -> Result<(), RegistryError> {
        if holding.campaigns.len() >= CAMPAIGNS_MAX || self.read(Picture::campaigns) >= CAMPAIGNS_OF_ALL_MAX {
            return Err(too_many());
        }
        let live = holding.campaigns.iter().filter(|campaign| !over_for(campaign, TOLD_DAYS, today)).count();
        if live >= CAMPAIGNS_LIVE_MAX {
            return Err(RegistryError::Full(format!(
                "this advertiser has {CAMPAIGNS_LIVE_MAX} campaigns that devices are told of, the most that their list takes; \
                 end campaigns that are over, and come back {TOLD_DAYS} days later"
            )));
        }
        Ok(())
    }

    /// Adds the next generation, and the end of the one before.
    fn open_next(
        &self,
        all: &mut Change,
        holding: &Holding,
        advertiser: &Advertiser,
        layout: &allocation::Layout,
        now: u64,
    ) -> Result<(), RegistryError> {
        if holding.generations.len() >= GENERATIONS_MAX {
            return Err(RegistryError::Full(format!(
                "this advertiser has had {GENERATIONS_MAX} sets of tasks, the most that one can have; create another advertiser"
            )));
        }
        // A clock that was set back must not open a generation before the one that it follows.
        let opened = holding.newest().map_or(now, |(newest, _)| now.max(newest.opened));
        let number = holding.newest().map_or(1, |(newest, _)| newest.number + 1);
        if let Some((newest, made)) = holding.newest() {
            let closed = Generation { closed: Some(opened), ..Generation::clone(newest) };
            all.generations.push((closed, Made::clone(made)));
        }
        let (generation, made, tasks) = made::make(advertiser, number, layout, &self.0.setup, opened)?;
        all.generations.push((generation, made));
        all.tasks.extend(tasks);
        Ok(())
    }

    /// Refuses terms of which no task can be made, before there is one: of every length that the advertiser may come to need,
    /// so that a campaign is not refused for them later.
    fn try_terms(&self, advertiser: &Advertiser) -> Result<(), RegistryError> {
        let blocks = u32::try_from(advertiser.events.len()).unwrap_or(u32::MAX);
        for length in allocation::LENGTHS {
            let capacity = (length - 1) / blocks;
            let events = advertiser.events.clone();
            let layout = allocation::Layout { events, capacity, length, slots: Vec::new() };
            made::make(advertiser, 1, &layout, &self.0.setup, 0)?;
        }
        Ok(())
    }

    /// Makes a change durable, shows it, and provides the files of its tasks. The holder of the writer's lock calls it.
    fn commit(&self, holding: &Holding, all: Change) -> Result<Holding, RegistryError> {
        let mut guard = self.0.disk.state().lock();
        let mut batch = StateBatch::default();
        let mut shown = holding.clone();
        for (generation, made) in &all.generations {
            rows::put_generation(&mut batch, &guard, holding.advertiser.id, generation, made)?;
        }
        shown = shown.with_generations(&all.generations);
        if let Some(advertiser) = all.advertiser {
            rows::put_advertiser(&mut batch, &advertiser)?;
            shown = shown.with_advertiser(advertiser);
        }
        if let Some((place, campaign)) = all.campaign {
            rows::put_campaign(&mut batch, place, &campaign)?;
            shown = shown.with_campaign(campaign);
        }
        // Durable from here. A crash before the files of its tasks are in the folder leaves them to the next opening, which
        // makes the same files from these rows.
        let _receipt = guard.commit(batch)?;
        drop(guard);
        self.show(shown.clone());
        if self.trouble().is_some() {
            self.provision_missing();
        } else if !all.tasks.is_empty() {
            let folder = &self.0.setup.tasks;
            let put = all.tasks.iter().try_for_each(|task| folder.add(task.id, &task.provisioned).map(drop));
            self.tell_provisioned(put.map_err(|error| error.to_string()));
        }
        Ok(shown)
    }

    /// Twelve random bytes that are not taken.
    fn new_id(&self, taken: impl Fn([u8; 12]) -> bool) -> Result<[u8; 12], RegistryError> {
        loop {
            let mut bytes = [0; 12];
            self.0.random.fill(&mut bytes).map_err(|_| RegistryError::Randomness)?;
            if !taken(bytes) {
                return Ok(bytes);
            }
        }
    }
}

fn too_many() -> RegistryError {
    RegistryError::Full(format!(
        "there is no room for another campaign: an advertiser may have had {CAMPAIGNS_MAX}, all together \
         {CAMPAIGNS_OF_ALL_MAX}; create another advertiser, or run another collector"
    ))
}

/// Whether no device can remember an ad of a campaign.
fn forgotten(holding: &Holding, id: CampaignId, today: Date) -> bool {
    holding.campaign(id).is_none_or(|campaign| over_for(campaign, allocation::FORGOTTEN_DAYS, today))
}
