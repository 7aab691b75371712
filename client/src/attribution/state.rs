//! What the engine knows: the impression store and the state of the budgets ("Impression Store", "State For Privacy
//! Budget Management").

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::moment::{EpochIndex, Moment, days};
use super::site::Site;

/// Most impressions that are kept, some megabytes. Beyond it the oldest of the impression site that has most go first, so
/// that a site that saves many does not push out those of others. One site alone may have all of them: the standard asks
/// for 1,000 of each, and more where possible ("Setting Implementation-Defined Values").
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
    pub(crate) impressions: VecDeque<Impression>,
    pub(crate) site_budgets: BTreeMap<(EpochIndex, Site), u32>,
    pub(crate) global_budgets: BTreeMap<EpochIndex, u32>,
    pub(crate) quotas: BTreeMap<(EpochIndex, Site), u32>,
    counts: Counts,
}

/// How many impressions each impression site has, so that a full store is made room in without counting.
#[derive(Clone, Default)]
struct Counts {
    by_site: BTreeMap<Site, usize>,
    ranked: BTreeSet<(usize, Site)>,
}

impl Counts {
    fn change(&mut self, site: &Site, change: impl FnOnce(usize) -> usize) {
        let count = self.by_site.remove(site).unwrap_or(0);
        self.ranked.remove(&(count, site.clone()));
        let count = change(count);
        if count > 0 {
            self.by_site.insert(site.clone(), count);
            self.ranked.insert((count, site.clone()));
        }
    }

    fn fullest(&self) -> Option<Site> {
        self.ranked.last().map(|(_, site)| site.clone())
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            enabled: true,
            epoch_start: None,
            last_clear: None,
            forgotten_before: None,
            impressions: VecDeque::new(),
            site_budgets: BTreeMap::new(),
            global_budgets: BTreeMap::new(),
            quotas: BTreeMap::new(),
            counts: Counts::default(),
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
            Change::Forgotten(before) => self.forget_epochs(before),
            Change::Enabled(enabled) => self.enabled = enabled,
        }
    }

    fn save(&mut self, impression: Impression) {
        if self.impressions.len() >= MAX_IMPRESSIONS
            && let Some(site) = self.counts.fullest()
        {
            self.forget_oldest(&site);
        }
        self.counts.change(&impression.impression_site, |count| count + 1);
        self.impressions.push_back(impression);
    }

    /// The one that was saved first; a clock that was ahead once would make the wrong one the oldest.
    fn forget_oldest(&mut self, site: &Site) {
        if let Some(at) = self.impressions.iter().position(|other| other.impression_site == *site) {
            self.impressions.remove(at);
            self.counts.change(site, |count| count.saturating_sub(1));
        }
    }

    /// Keeps some impressions, which may be changed on the way.
    fn retain(&mut self, keep: impl FnMut(&mut Impression) -> bool) {
        self.impressions.retain_mut(keep);
        self.counts = Counts::default();
        for impression in &self.impressions {
            self.counts.change(&impression.impression_site, |count| count + 1);
        }
    }

    /// Closes the epochs before `before` for good, and with them goes what was spent there.
    fn forget_epochs(&mut self, before: EpochIndex) {
        self.site_budgets.retain(|(epoch, _), _| *epoch >= before);
        self.quotas.retain(|(epoch, _), _| *epoch >= before);
        self.global_budgets.retain(|epoch, _| *epoch >= before);
        self.forgotten_before = self.forgotten_before.max(Some(before));
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

    /// Drops expired impressions ("Maintenance"), and the budgets of epochs before `first`, which are closed by that. Only
    /// those up to the last one that had a budget are: the others have nothing to forget, and one look at a clock that is
    /// years ahead would close all the years.
    pub(crate) fn expire(&mut self, now: Moment, first: Option<EpochIndex>) {
        self.retain(|impression| !impression.is_expired(now));
        let Some(first) = first else { return };
        let of_sites = self.site_budgets.keys().chain(self.quotas.keys()).map(|(epoch, _)| *epoch);
        let spent = of_sites.chain(self.global_budgets.keys().copied());
        if let Some(last) = spent.filter(|epoch| *epoch < first).max() {
            self.forget_epochs(last.saturating_add(1));
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

    /// A site kept 1,000, the least that the standard asks for, while nine tenths of the store were free: an advertiser's
    /// thousand ads pushed out those of all others in the same app.
    #[test]
    fn a_site_keeps_what_there_is_room_for_and_pushes_out_no_other() {
        let mut state = State::default();
        state.apply(Change::Saved(impression("quiet.example", 0)));
        for index in 0..=u32::try_from(MAX_IMPRESSIONS).unwrap() {
            state.apply(Change::Saved(impression("loud.example", index)));
        }
        assert_eq!(state.impressions.len(), MAX_IMPRESSIONS);
        assert_eq!(state.impressions[0].impression_site.as_str(), "quiet.example");
        assert_eq!(state.impressions[1].histogram_index, 2);
    }

    /// Making room counted the whole store each time. What is counted on the way is what counting gives.
    #[test]
    fn counts_are_kept_while_room_is_made() {
        let mut state = State::default();
        for index in 0..u32::try_from(MAX_IMPRESSIONS).unwrap() + 500 {
            state.apply(Change::Saved(impression(&format!("site-{}.example", index % 7), index)));
        }
        let (by_site, ranked) = (state.counts.by_site.clone(), state.counts.ranked.clone());
        assert_eq!(by_site.values().sum::<usize>(), MAX_IMPRESSIONS);
        state.retain(|_| true);
        assert_eq!((&by_site, &ranked), (&state.counts.by_site, &state.counts.ranked));
        state.retain(|_| false);
        assert!(state.counts.by_site.is_empty() && state.counts.ranked.is_empty());
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
            Change::Forgotten(-1),
            Change::Enabled(false),
        ]);
        assert_eq!(State::of(state.changes()).changes(), state.changes());
        assert_eq!(state.changes().len(), 8);
    }
}
