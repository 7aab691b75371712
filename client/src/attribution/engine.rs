//! The engine: what callers and the person can have done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rand::{Rng, RngExt as _};
use zeroize::Zeroizing;

use super::budget::{self, Deduction};
use super::credit;
use super::error::AttributionError;
use super::moment::{EpochIndex, Epochs, Moment, days};
use super::options::{Config, ConversionOptions, ImplicitInputs, ImpressionOptions, ValidatedConversion};
use super::report::Prepared;
use super::site::Site;
use super::state::{Change, Impression, MAX_BUDGET_ROWS, State};
use super::storage::{Storage, StorageError};

/// The two draws that attribution makes. Both give doubles from 0 up to but not including 1.
pub trait Randomness {
    /// Where in the last week the device's epochs begin: drawn once in its life.
    fn epoch_start(&mut self) -> f64;

    /// Which of two shares is rounded up, when a value does not divide evenly.
    fn credit_rounding(&mut self) -> f64;
}

/// Draws from a generator of the `rand` crate; give it one that is fit for cryptography, such as `rand::rng()`.
#[derive(Debug)]
pub struct Uniform<R>(
    /// Where the bits come from.
    pub R,
);

impl<R: Rng> Randomness for Uniform<R> {
    fn epoch_start(&mut self) -> f64 {
        self.0.random()
    }

    fn credit_rounding(&mut self) -> f64 {
        self.0.random()
    }
}

/// Whether a conversion that all could be of one epoch costs less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SingleEpoch {
    /// What is in the histogram, as the standard has it: without the impressions of that epoch it would be all zero.
    Norm,
    /// As much as any other: a report of "no match" is not all zero, so with or without the impressions it differs by
    /// twice the value.
    TwiceValue,
}

/// Why a histogram is what it is: for the person's own eyes and for whoever looks for a mistake on the device. Telling it
/// to a site or a server would undo what the report protects.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Impressions matched and the budgets had room. (Their cells may still lie beyond the histogram.)
    Attributed,
    /// No impression matched, or none since history was cleared.
    NoMatch,
    /// Impressions matched, and in none of their epochs was enough left of all budgets.
    NoBudget,
    /// The person has turned attribution off.
    Disabled,
    /// The budget could not be spent durably, so nothing was.
    NotStored(StorageError),
}

/// An attributed conversion: what goes into a report, and what the report is made with. `Debug` shows no histogram, and
/// it is erased when dropped.
pub struct Measured {
    pub(super) histogram: Zeroizing<Vec<u32>>,
    pub(super) aggregation_service: String,
    pub(super) at: Moment,
    pub(super) prepared: Option<Prepared>,
    outcome: Outcome,
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measured").field("cells", &self.histogram.len()).finish_non_exhaustive()
    }
}

impl Measured {
    /// A number for each cell, in clear: for tests, and for the person. Never to be sent.
    pub fn histogram(&self) -> &[u32] {
        &self.histogram
    }

    /// Why it is what it is.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The URL of the aggregation service that was asked for.
    pub fn aggregation_service(&self) -> &str {
        &self.aggregation_service
    }
}

/// What is left in an epoch, in micro-epsilon, for the person to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLeft {
    /// The epoch.
    pub epoch: EpochIndex,
    /// To the conversion site.
    pub site: u32,
    /// To all sites together.
    pub global: u32,
}

/// The attribution of one device, or of one profile of a browser.
pub struct Engine<S> {
    config: Config,
    state: State,
    storage: S,
}

impl<S> fmt::Debug for Engine<S> {
    // What somebody saw and where they bought is not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl<S: Storage> Engine<S> {
    /// Begins where the storage left off.
    pub fn open(config: Config, mut storage: S) -> Result<Self, StorageError> {
        let state = State::of(storage.load()?);
        Ok(Self { config, state, storage })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// `saveImpression()`, after the checks of [`super::Activation::admit`]. While attribution is disabled it does
    /// the same checks, keeps nothing, and says nothing.
    pub fn save_impression(
        &mut self,
        inputs: &ImplicitInputs,
        options: &ImpressionOptions,
    ) -> Result<(), AttributionError> {
        let validated = options.validate(&self.config)?;
        if !self.state.enabled {
            return Ok(self.keep(Vec::new())?);
        }
        let impression = Impression {
            match_value: options.match_value,
            impression_site: inputs.top_level_site.clone(),
            intermediary_site: inputs.intermediary_site.clone(),
            conversion_sites: validated.conversion_sites,
            conversion_callers: validated.conversion_callers,
            timestamp: inputs.timestamp,
            lifetime_days: validated.lifetime_days,
            histogram_index: options.histogram_index,
            priority: options.priority,
        };
        Ok(self.keep(vec![Change::Saved(impression)])?)
    }

    /// `measureConversion()` up to the report, after the checks of [`super::Activation::admit`]: attributes, and
    /// spends the budget durably. There is a histogram whatever was found, all zero if nothing was; from here on the
    /// budget is spent, whether or not a report of it is made and arrives.
    ///
    /// # Errors
    /// The caller's mistakes only, which show nothing of the state; never [`AttributionError::Storage`], for which
    /// there is [`Outcome::NotStored`].
    pub fn measure_conversion(
        &mut self,
        random: &mut impl Randomness,
        inputs: &ImplicitInputs,
        options: &ConversionOptions,
    ) -> Result<Measured, AttributionError> {
        self.measure(random, inputs, options, SingleEpoch::Norm)
    }

    /// The same, for reports of another encoding than the standard's.
    pub(crate) fn measure(
        &mut self,
        random: &mut impl Randomness,
        inputs: &ImplicitInputs,
        options: &ConversionOptions,
        single_epoch: SingleEpoch,
    ) -> Result<Measured, AttributionError> {
        let validated = options.validate(&self.config)?;
        // Before anything is spent: whatever stands in the way of a report shows here.
        let service = self.config.services.get(&options.aggregation_service);
        let prepared = Prepared::of(service.and_then(|service| service.dap.as_ref()), inputs, &validated)?;
        let (histogram, outcome) = if self.state.enabled {
            self.attribute(random, inputs, &validated, single_epoch)
        } else {
            // All the same if it fails: nothing was to be kept.
            let _ = self.keep(Vec::new());
            (None, Outcome::Disabled)
        };
        // A u32 fits: no platform that runs this has a smaller usize.
        let histogram = histogram.unwrap_or_else(|| vec![0; validated.histogram_size as usize]);
        Ok(Measured {
            histogram: Zeroizing::new(histogram),
            aggregation_service: options.aggregation_service.clone(),
            at: inputs.timestamp,
            prepared,
            outcome,
        })
    }

    /// "Do attribution and fill a histogram". No histogram is one of zeros.
    fn attribute(
        &mut self,
        random: &mut impl Randomness,
        inputs: &ImplicitInputs,
        options: &ValidatedConversion,
        single_epoch: SingleEpoch,
    ) -> (Option<Vec<u32>>, Outcome) {
        let now = inputs.timestamp;
        let (epochs, mut changes) = self.epochs(random, now);
        let current = epochs.index(now);
        let start = self.starting_epoch(epochs, now);
        let is_single_epoch =
            single_epoch == SingleEpoch::Norm && epochs.index(now.minus(options.lookback_ms)) == current;
        let matching = self.matching(epochs, inputs, options);
        let mut fill = |impressions: &[&Impression]| {
            let draw = || random.credit_rounding();
            credit::last_n_touch(impressions, options.histogram_size, options.value, &options.credit, draw)
        };
        // The standard fills a second histogram for what was matched, with draws of its own, after it charged for the
        // first. Both are of the same impressions, so here what was charged for is what goes into the report: with an
        // impression beyond the histogram the second could be larger.
        let charged = match matching.get(&current) {
            Some(impressions) if is_single_epoch => Some(fill(impressions)),
            _ => None,
        };
        let deduction = Deduction::of(options, charged.as_ref().map(|cells| cells.iter().sum()));
        // In an epoch that is attributed in.
        let mut found = false;
        let mut matched = Vec::new();
        let within = matching.iter().filter(|(epoch, _)| (start..=current).contains(*epoch));
        for (epoch, impressions) in within {
            let key = (*epoch, &inputs.top_level_site);
            found = true;
            let spent = budget::deduct(&self.state, &self.config, key, impressions, deduction, &changes);
            if let Some(spent) = spent {
                changes.extend(spent);
                matched.extend_from_slice(impressions);
            }
        }
        let outcome = match (found, matched.is_empty()) {
            (false, _) => Outcome::NoMatch,
            (true, true) => Outcome::NoBudget,
            (true, false) => Outcome::Attributed,
        };
        let histogram = (!matched.is_empty()).then(|| charged.unwrap_or_else(|| fill(&matched)));
        match self.keep(changes) {
            Ok(()) => (histogram, outcome),
            Err(error) => (None, Outcome::NotStored(error)),
        }
    }

    /// "Common matching logic" for all epochs at once, in the order in which the impressions were saved.
    fn matching(
        &self,
        epochs: Epochs,
        inputs: &ImplicitInputs,
        options: &ValidatedConversion,
    ) -> BTreeMap<EpochIndex, Vec<&Impression>> {
        let now = inputs.timestamp;
        let includes = |sites: &BTreeSet<Site>, site: &Site| sites.is_empty() || sites.contains(site);
        let matches = |impression: &Impression| {
            let saved_by = impression.intermediary_site.as_ref().unwrap_or(&impression.impression_site);
            !impression.is_expired(now)
                && now <= impression.timestamp.plus(options.lookback_ms)
                && includes(&impression.conversion_sites, &inputs.top_level_site)
                && includes(&impression.conversion_callers, inputs.caller())
                && (options.match_values.is_empty() || options.match_values.contains(&impression.match_value))
                && includes(&options.impression_sites, &impression.impression_site)
                && includes(&options.impression_callers, saved_by)
        };
        let mut matching = BTreeMap::<_, Vec<_>>::new();
        for impression in self.state.impressions.iter().filter(|impression| matches(impression)) {
            matching.entry(epochs.index(impression.timestamp)).or_default().push(impression);
        }
        matching
    }

    /// The device's epochs; their start is drawn when it is first needed, as a change that is yet to be kept.
    fn epochs(&self, random: &mut impl Randomness, t: Moment) -> (Epochs, Vec<Change>) {
        let days = self.config.epoch_days;
        if let Some(start) = self.state.epoch_start {
            return (Epochs::new(start, days), Vec::new());
        }
        let start = Epochs::draw_start(t, days, random.epoch_start());
        (Epochs::new(start, days), vec![Change::EpochStart(start)])
    }

    /// "Get the starting epoch for attribution". Epochs whose budgets were forgotten are over for good, too.
    fn starting_epoch(&self, epochs: Epochs, now: Moment) -> EpochIndex {
        let earliest = epochs.index(now.minus(days(self.config.max_lookback_days)));
        let cleared = self.state.last_clear.map(|clear| epochs.index(clear).saturating_add(1));
        [cleared, self.state.forgotten_before].into_iter().flatten().fold(earliest, EpochIndex::max)
    }

    /// Makes changes durable, then has them happen. No changes are written and synced, too: a call that had nothing to
    /// keep would be told from others by its time ("Side Channel Risks in Implementation").
    fn keep(&mut self, changes: Vec<Change>) -> Result<(), StorageError> {
        self.storage.append(&changes)?;
        for change in changes {
            self.state.apply(change);
        }
        if self.storage.has_grown() {
            // The changes are durable already. A failure here shows at the next call, which the storage refuses.
            let _ = self.storage.replace(&self.state.changes());
        }
        Ok(())
    }

    /// Changes the state in a way of which the storage keeps no trace.
    fn erase(&mut self, erase: impl FnOnce(&mut State)) -> Result<(), StorageError> {
        let mut state = self.state.clone();
        erase(&mut state);
        self.storage.replace(&state.changes())?;
        self.state = state;
        Ok(())
    }

    /// "Clear impressions for a site": what a response with `Clear-Site-Data: "impressions"` asks for.
    pub fn clear_impressions_for_site(&mut self, site: &Site) -> Result<(), StorageError> {
        self.erase(|state| state.clear_impressions_for(site))
    }

    /// "Clear browsing history for attribution" without forgetting visits: a person clears the data of sites, which then
    /// spend nothing more in the epochs that conversions of now reach. If there is no room for a row of each, those epochs
    /// are closed for all sites.
    pub fn clear_site_state(
        &mut self,
        random: &mut impl Randomness,
        sites: &BTreeSet<Site>,
        now: Moment,
    ) -> Result<(), StorageError> {
        let earliest = now.minus(days(self.config.max_lookback_days));
        // The standard asks for the first epoch first.
        let (epochs, mut changes) = self.epochs(random, earliest);
        let (start, current) = (self.starting_epoch(epochs, now), epochs.index(now));
        let reached = usize::try_from(current.saturating_sub(start).saturating_add(1)).unwrap_or(0);
        let rows = self.state.site_budgets.len().saturating_add(sites.len().saturating_mul(reached));
        if rows > MAX_BUDGET_ROWS {
            // Leaving some out would give them budget as soon as there is room again.
            changes.push(Change::Forgotten(current.saturating_add(1)));
        } else {
            for site in sites {
                changes.extend((start..=current).map(|epoch| Change::SiteBudget(epoch, site.clone(), 0)));
            }
        }
        self.keep(changes)
    }

    /// "Clear browsing history for attribution" with forgetting visits: of some sites, or of all if there are none. No
    /// conversion reaches the epoch of `now` or an earlier one any more, at any site, since nobody remembers what was
    /// spent there; nor a later one that was spent from, if the clock is behind.
    pub fn clear_browsing_history(
        &mut self,
        sites: &BTreeSet<Site>,
        now: Moment,
    ) -> Result<(), StorageError> {
        let epochs = self.state.epoch_start.map(|start| Epochs::new(start, self.config.epoch_days));
        self.erase(|state| state.forget_visits(sites, now, epochs.map(|epochs| epochs.index(now))))
    }

    /// Deletes impressions that have expired, and budgets of epochs that no conversion reaches any more, which are closed
    /// for good by that. To be called now and then, by somebody who trusts the clock: one that is far ahead makes all
    /// impressions old, and closes all epochs in which something was spent.
    pub fn maintain(&mut self, now: Moment) -> Result<(), StorageError> {
        let epochs = self.state.epoch_start.map(|start| Epochs::new(start, self.config.epoch_days));
        let first = epochs.map(|epochs| self.starting_epoch(epochs, now));
        self.erase(|state| state.expire(now, first))
    }

    /// The person's choice. While disabled nothing is kept, and all reports are null and look like others. Budgets stay,
    /// and impressions too; to erase, see [`Engine::clear_browsing_history`].
    pub fn set_enabled(&mut self, enabled: bool) -> Result<(), StorageError> {
        self.keep(vec![Change::Enabled(enabled)])
    }

    /// The person's choice.
    pub fn is_enabled(&self) -> bool {
        self.state.enabled
    }

    /// The impressions, for the person to see, in the order in which they were saved.
    pub fn impressions(&self) -> impl Iterator<Item = &Impression> {
        self.state.impressions.iter()
    }

    /// What is left to a site in each epoch that a conversion at `now` reaches, for the person to see; nothing before the
    /// first conversion, when no epoch has begun.
    pub fn budgets(&self, site: &Site, now: Moment) -> Vec<BudgetLeft> {
        let Some(start) = self.state.epoch_start else { return Vec::new() };
        let epochs = Epochs::new(start, self.config.epoch_days);
        (self.starting_epoch(epochs, now)..=epochs.index(now))
            .map(|epoch| BudgetLeft {
                epoch,
                site: budget::site_left(&self.state, &self.config, &(epoch, site.clone()), 0).unwrap_or(0),
                global: budget::global_left(&self.state, &self.config, epoch),
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
