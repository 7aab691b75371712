//! What the engine knows: the impression store and the state of the budgets ("Impression Store", "State For Privacy
//! Budget Management").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::moment::{EpochIndex, Moment, days};
use super::site::Site;

/// Most impressions that are kept of one impression site: the number that the standard asks for. Beyond it the oldest
/// of that site go first.
pub const MAX_IMPRESSIONS_PER_SITE: usize = 1_000;

/// Most impressions that are kept at all, some megabytes. Beyond it the oldest of the impression site that has most go
/// first, so that a site that saves many does not push out those of others.
pub const MAX_IMPRESSIONS: usize = 10_000;

/// Most rows of the per-site budgets and of the quotas, each. A row is made by a conversion site, or an impression site,
/// that spends in an epoch. When there is no room a new row counts as one with nothing left: the report is null.
pub const MAX_BUDGET_ROWS: usize = 50_000;

/// A saved impression.
#[derive(Clone, PartialEq, Eq)]
pub struct Impression {
    /// Lets conversions choose among impressions.
    pub match_value: u32,
    /// Where it was shown.
    pub impression_site: Site,
    /// Who saved it, if that was not the impression site.
    pub intermediary_site: Option<Site>,
    /// Where it may be attributed; anywhere if empty.
    pub conversion_sites: BTreeSet<Site>,
    /// Who may ask for that; anybody if empty.
    pub conversion_callers: BTreeSet<Site>,
    /// When it was saved.
    pub timestamp: Moment,
    /// For how many days after that it may be attributed.
    pub lifetime_days: u32,
    /// The cell of the histogram that it adds to.
    pub histogram_index: u32,
    /// Higher comes first.
    pub priority: i32,
}

impl fmt::Debug for Impression {
    // What somebody saw is not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Impression").finish_non_exhaustive()
    }
}

impl Impression {
    pub(crate) fn is_expired(&self, now: Moment) -> bool {
        now > self.timestamp.plus(days(self.lifetime_days))
    }

    /// Takes a site out of it ("clear impressions for a site"); false if nothing of it is left to keep.
    fn without(&mut self, site: &Site) -> bool {
        if self.intermediary_site.as_ref().unwrap_or(&self.impression_site) == site {
            return false;
        }
        // A set that becomes empty would let everybody match.
        for sites in [&mut self.conversion_sites, &mut self.conversion_callers] {
            if sites.remove(site) && sites.is_empty() {
                return false;
            }
        }
        true
    }
}

/// One step of the state, as it is kept. Budgets are what is left, in micro-epsilon, as in the standard.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// An impression was saved.
    Saved(Impression),
    /// The epochs of this device begin then, for good.
    EpochStart(Moment),
    /// What is left to a conversion site in an epoch.
    SiteBudget(EpochIndex, Site, u32),
    /// What is left to all sites together in an epoch.
    GlobalBudget(EpochIndex, u32),
    /// What an impression site may still set free in an epoch.
    ImpressionQuota(EpochIndex, Site, u32),
    /// When browsing history was cleared.
    LastClear(Moment),
    /// Epochs before this one were forgotten: nothing is attributed in them any more.
    Forgotten(EpochIndex),
    /// Whether the person lets the API do anything.
    Enabled(bool),
}

impl fmt::Debug for Change {
    // What somebody saw, and where they bought, is not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Saved(_) => "Saved(..)",
            Self::EpochStart(_) => "EpochStart(..)",
            Self::SiteBudget(..) => "SiteBudget(..)",
            Self::GlobalBudget(..) => "GlobalBudget(..)",
            Self::ImpressionQuota(..) => "ImpressionQuota(..)",
            Self::LastClear(_) => "LastClear(..)",
            Self::Forgotten(_) => "Forgotten(..)",
            Self::Enabled(_) => "Enabled(..)",
        })
    }
}

/// Everything that the engine knows. It is changed by applying [`Change`]s that were kept before.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) enabled: bool,
    pub(crate) epoch_start: Option<Moment>,
    pub(crate) last_clear: Option<Moment>,
    pub(crate) forgotten_before: Option<EpochIndex>,
    /// In the order in which they were saved.
    pub(crate) impressions: Vec<Impression>,
    pub(crate) site_budgets: BTreeMap<(EpochIndex, Site), u32>,
    pub(crate) global_budgets: BTreeMap<EpochIndex, u32>,
    pub(crate) quotas: BTreeMap<(EpochIndex, Site), u32>,
    /// How many impressions each impression site has, so that a full store is made room in without counting.
    counts: BTreeMap<Site, usize>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            enabled: true,
            epoch_start: None,
            last_clear: None,
            forgotten_before: None,
            impressions: Vec::new(),
            site_budgets: BTreeMap::new(),
            global_budgets: BTreeMap::new(),
            quotas: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl State {
    pub(crate) fn of(changes: impl IntoIterator<Item = Change>) -> Self {
        let mut state = Self::default();
        for change in changes {
            state.apply(change);
        }
        state
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Saved(impression) => self.save(impression),
            Change::EpochStart(start) => self.epoch_start = Some(start),
            Change::SiteBudget(epoch, site, left) => drop(self.site_budgets.insert((epoch, site), left)),
            Change::GlobalBudget(epoch, left) => drop(self.global_budgets.insert(epoch, left)),
            Change::ImpressionQuota(epoch, site, left) => drop(self.quotas.insert((epoch, site), left)),
            // Never back: a clock that is behind would open what an earlier clearing closed.
            Change::LastClear(at) => self.last_clear = self.last_clear.max(Some(at)),
            Change::Forgotten(before) => self.forgotten_before = self.forgotten_before.max(Some(before)),
            Change::Enabled(enabled) => self.enabled = enabled,
        }
    }

    fn save(&mut self, impression: Impression) {
        let of_site = self.counts.get(&impression.impression_site).copied().unwrap_or(0);
        if of_site >= MAX_IMPRESSIONS_PER_SITE {
            self.forget_oldest(&impression.impression_site.clone());
        } else if self.impressions.len() >= MAX_IMPRESSIONS {
            let fullest = self.counts.iter().max_by_key(|(_, count)| **count).map(|(site, _)| site.clone());
            if let Some(site) = fullest {
                self.forget_oldest(&site);
            }
        }
        *self.counts.entry(impression.impression_site.clone()).or_default() += 1;
        self.impressions.push(impression);
    }

    /// The one that was saved first; a clock that was ahead once would make the wrong one the oldest.
    fn forget_oldest(&mut self, site: &Site) {
        if let Some(at) = self.impressions.iter().position(|other| other.impression_site == *site) {
            self.impressions.remove(at);
            self.count();
        }
    }

    fn count(&mut self) {
        self.counts.clear();
        for impression in &self.impressions {
            *self.counts.entry(impression.impression_site.clone()).or_default() += 1;
        }
    }

    /// Keeps some impressions, which may be changed on the way.
    fn retain(&mut self, keep: impl FnMut(&mut Impression) -> bool) {
        self.impressions.retain_mut(keep);
        self.count();
    }

    /// "Clear impressions for a site", as a site asks for with `Clear-Site-Data`.
    pub(crate) fn clear_impressions_for(&mut self, site: &Site) {
        self.retain(|impression| impression.without(site));
    }

    /// The part of "clear browsing history for attribution" that forgets visits. `last_closed` is the epoch of `now`, the
    /// last one that it closes by itself.
    ///
    /// A clock that is behind leaves epochs open that were spent from. They are closed by a global budget of nothing, which
    /// names no site.
    pub(crate) fn forget_visits(
        &mut self,
        sites: &BTreeSet<Site>,
        now: Moment,
        last_closed: Option<EpochIndex>,
    ) {
        let of_sites = self.site_budgets.keys().chain(self.quotas.keys()).map(|(epoch, _)| *epoch);
        let spent: BTreeSet<_> = of_sites.chain(self.global_budgets.keys().copied()).collect();
        if sites.is_empty() {
            self.retain(|_| false);
            self.site_budgets.clear();
            self.quotas.clear();
            self.global_budgets.clear();
        } else {
            self.retain(|impression| !sites.contains(&impression.impression_site));
            self.site_budgets.retain(|(_, site), _| !sites.contains(site));
            self.quotas.retain(|(_, site), _| !sites.contains(site));
        }
        let open = |epoch: &EpochIndex| last_closed.is_none_or(|closed| *epoch > closed);
        self.global_budgets.extend(spent.into_iter().filter(open).map(|epoch| (epoch, 0)));
        self.apply(Change::LastClear(now));
    }

    /// Drops expired impressions ("Maintenance"), and the budgets of epochs before `first`, which is then the first
    /// that anything is attributed in.
    pub(crate) fn expire(&mut self, now: Moment, first: Option<EpochIndex>) {
        self.retain(|impression| !impression.is_expired(now));
        if let Some(first) = first {
            self.site_budgets.retain(|(epoch, _), _| *epoch >= first);
            self.quotas.retain(|(epoch, _), _| *epoch >= first);
            self.global_budgets.retain(|epoch, _| *epoch >= first);
            self.apply(Change::Forgotten(first));
        }
    }

    /// The changes that make this state out of an empty one.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = vec![Change::Enabled(self.enabled)];
        changes.extend(self.epoch_start.map(Change::EpochStart));
        changes.extend(self.last_clear.map(Change::LastClear));
        changes.extend(self.forgotten_before.map(Change::Forgotten));
        let site = |((epoch, site), left): (&(EpochIndex, Site), &u32)| (*epoch, site.clone(), *left);
        changes.extend(self.site_budgets.iter().map(site).map(|(e, s, left)| Change::SiteBudget(e, s, left)));
        changes.extend(self.global_budgets.iter().map(|(epoch, left)| Change::GlobalBudget(*epoch, *left)));
        changes.extend(self.quotas.iter().map(site).map(|(e, s, left)| Change::ImpressionQuota(e, s, left)));
        changes.extend(self.impressions.iter().cloned().map(Change::Saved));
        changes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn impression(site: &str, index: u32) -> Impression {
        Impression {
            match_value: 0,
            impression_site: Site::parse(site).unwrap(),
            intermediary_site: None,
            conversion_sites: BTreeSet::new(),
            conversion_callers: BTreeSet::new(),
            timestamp: Moment::from_millis(i64::from(index)),
            lifetime_days: 30,
            histogram_index: index,
            priority: 0,
        }
    }

    #[test]
    fn a_site_keeps_its_newest_and_pushes_out_no_other() {
        let mut state = State::default();
        state.apply(Change::Saved(impression("quiet.example", 0)));
        for index in 0..=u32::try_from(MAX_IMPRESSIONS_PER_SITE).unwrap() {
            state.apply(Change::Saved(impression("loud.example", index)));
        }
        assert_eq!(state.impressions.len(), MAX_IMPRESSIONS_PER_SITE + 1);
        assert_eq!(state.impressions[0].impression_site.as_str(), "quiet.example");
        assert_eq!(state.impressions[1].histogram_index, 1);
    }

    #[test]
    fn a_full_store_makes_room_where_most_are() {
        let mut state = State::default();
        for site in 0..11 {
            let count = if site == 3 { 999 } else { 900 };
            for index in 0..count {
                state.apply(Change::Saved(impression(&format!("s{site}.example"), index)));
            }
        }
        state.apply(Change::Saved(impression("new.example", 7)));
        assert!(state.impressions.len() <= MAX_IMPRESSIONS);
        for index in 0..100 {
            state.apply(Change::Saved(impression("new.example", index)));
        }
        assert_eq!(state.impressions.len(), MAX_IMPRESSIONS);
        let of_new = state.impressions.iter().filter(|i| i.impression_site.as_str() == "new.example");
        assert_eq!(of_new.count(), 101);
    }

    #[test]
    fn a_state_is_made_again_from_its_changes() {
        let shop = Site::parse("shop.example").unwrap();
        let state = State::of([
            Change::Saved(impression("news.example", 1)),
            Change::EpochStart(Moment::from_millis(-5)),
            Change::SiteBudget(-1, shop.clone(), 7),
            Change::GlobalBudget(2, 8),
            Change::ImpressionQuota(3, shop, 9),
            Change::LastClear(Moment::from_millis(4)),
            Change::Forgotten(-9),
            Change::Enabled(false),
        ]);
        assert_eq!(State::of(state.changes()).changes(), state.changes());
        assert_eq!(state.changes().len(), 8);
    }
}
