//! The registry as it is in memory: what every reader sees. It is loaded when the store opens and changed after a commit is
//! durable, one advertiser at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::made::Made;
use super::super::{Advertiser, AdvertiserId, Campaign, CampaignId, Generation};

/// What an advertiser has. Never changed: a change makes another one, so that whoever holds this sees one state.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub(super) advertiser: Arc<Advertiser>,
    pub(super) campaigns: Arc<[Arc<Campaign>]>,
    /// Places in `campaigns`.
    places: Arc<HashMap<CampaignId, usize>>,
    pub(super) generations: Arc<[Arc<Generation>]>,
    /// What the tasks of each generation are made of.
    pub(super) made: Arc<[Arc<Made>]>,
}

impl Holding {
    pub(super) fn new(
        advertiser: Advertiser,
        campaigns: Vec<Campaign>,
        generations: Vec<(Generation, Made)>,
    ) -> Self {
        let places = campaigns.iter().enumerate().map(|(place, campaign)| (campaign.id, place)).collect();
        let (generations, made): (Vec<_>, Vec<_>) =
            generations.into_iter().map(|(generation, made)| (Arc::new(generation), Arc::new(made))).unzip();
        Self {
            advertiser: Arc::new(advertiser),
            campaigns: campaigns.into_iter().map(Arc::new).collect(),
            places: Arc::new(places),
            generations: generations.into(),
            made: made.into(),
        }
    }

    pub(super) fn place_of(&self, id: CampaignId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    pub(super) fn campaign(&self, id: CampaignId) -> Option<&Arc<Campaign>> {
        self.campaigns.get(self.place_of(id)?)
    }

    /// The newest generation with what its tasks are made of.
    pub(super) fn newest(&self) -> Option<(&Arc<Generation>, &Arc<Made>)> {
        self.generations.last().zip(self.made.last())
    }

    pub(super) fn with_advertiser(&self, advertiser: Advertiser) -> Self {
        Self { advertiser: Arc::new(advertiser), ..self.clone() }
    }

    /// With a new campaign at the end, or a changed one in its place.
    pub(super) fn with_campaign(&self, campaign: Campaign) -> Self {
        let (mut campaigns, mut places) = (self.campaigns.to_vec(), Arc::clone(&self.places));
        let id = campaign.id;
        if let Some(place) = places.get(&id) {
            campaigns[*place] = Arc::new(campaign);
        } else {
            Arc::make_mut(&mut places).insert(id, campaigns.len());
            campaigns.push(Arc::new(campaign));
        }
        Self { campaigns: campaigns.into(), places, ..self.clone() }
    }

    /// With changed generations, and new ones behind them.
    pub(super) fn with_generations(&self, changed: &[(Generation, Made)]) -> Self {
        let mut generations = self.generations.to_vec();
        let mut all_made = self.made.to_vec();
        for (generation, made) in changed {
            let (generation, made) = (Arc::new(generation.clone()), Arc::new(made.clone()));
            if let Some(place) = generations.iter().position(|one| one.number == generation.number) {
                generations[place] = generation;
            } else {
                generations.push(generation);
                all_made.push(made);
            }
        }
        Self { generations: generations.into(), made: all_made.into(), ..self.clone() }
    }
}

/// All advertisers.
#[derive(Debug, Default)]
pub(super) struct Picture {
    all: BTreeMap<AdvertiserId, Arc<Holding>>,
    /// Campaigns of all of them.
    campaigns: usize,
}

impl Picture {
    pub(super) fn new(holdings: impl Iterator<Item = Holding>) -> Self {
        let mut picture = Self::default();
        for holding in holdings {
            picture.put(holding);
        }
        picture
    }

    pub(super) fn put(&mut self, holding: Holding) {
        self.campaigns += holding.campaigns.len();
        if let Some(before) = self.all.insert(holding.advertiser.id, Arc::new(holding)) {
            self.campaigns -= before.campaigns.len();
        }
    }

    pub(super) fn get(&self, id: AdvertiserId) -> Option<&Arc<Holding>> {
        self.all.get(&id)
    }

    pub(super) fn holdings(&self) -> impl Iterator<Item = &Arc<Holding>> {
        self.all.values()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn campaigns(&self) -> usize {
        self.campaigns
    }
}
