//! Facts that keep up with the collector's store.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::facts::{Entry, Facts, Terms};
use crate::collector::{CollectorStore, Summed};
use crate::store::StoreError;

/// Releases that are read before they are put in, so that questions wait for moments only.
const TOGETHER: u64 = 64;

/// The facts of a store. Everything here can be made anew from the store, which is what a restart does.
pub(super) struct Shelf {
    store: Arc<dyn CollectorStore>,
    /// Written to for moments, by whoever holds `known`.
    facts: RwLock<Facts>,
    /// The number of the last release that was looked at. Held while releases are read, so that each is read once.
    known: Mutex<u64>,
}

impl Shelf {
    /// Reads all releases of a store. Blocks for as long as that takes.
    ///
    /// # Errors
    /// If the store fails. A release that cannot be added up is none: it is told in the log, once, and left out.
    pub(super) fn open(store: Arc<dyn CollectorStore>) -> Result<Self, StoreError> {
        let shelf = Self { store, facts: RwLock::default(), known: Mutex::default() };
        shelf.refresh()?;
        shelf.facts.write().unwrap_or_else(PoisonError::into_inner).shrink();
        Ok(shelf)
    }

    /// Takes in what was released since; one look into the store if that is nothing.
    pub(super) fn refresh(&self) -> Result<(), StoreError> {
        // A panic under it leaves facts that are true and a number that is not too high.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.store.last_sequence()?;
        while *known < last {
            let end = last.min(*known + TOGETHER);
            let mut read = Vec::new();
            for sequence in *known + 1..=end {
                read.extend(self.read(sequence)?);
            }
            let mut facts = self.facts.write().unwrap_or_else(PoisonError::into_inner);
            for release in &read {
                put(&mut facts, release);
            }
            *known = end;
        }
        Ok(())
    }

    pub(super) fn facts(&self) -> RwLockReadGuard<'_, Facts> {
        self.facts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A release, if it can be added up.
    fn read(&self, sequence: u64) -> Result<Option<Summed>, StoreError> {
        match self.store.summed(sequence) {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) => {
                left_out(sequence, &"it is from before numbers were kept for sums");
                Ok(None)
            }
            // What is damaged stays so, and holds up no other release. What the disk refuses is tried again.
            Err(
                error @ (StoreError::Corrupt { .. } | StoreError::NoRecord { .. } | StoreError::Prepare(_)),
            ) => {
                left_out(sequence, &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn left_out(sequence: u64, why: &dyn std::fmt::Display) {
    tracing::warn!(sequence, "the numbers of a release are missing from insights: {why}");
}

fn put(facts: &mut Facts, release: &Summed) {
    let scale = match release.policy.scale() {
        Ok(scale) => scale,
        Err(error) => return left_out(release.sequence, &error),
    };
    let terms =
        Terms { scale, threshold: release.policy.threshold, max_of_report: release.vdaf.max_of_report() };
    let entry = Entry {
        task: release.task,
        window: release.window.from().seconds()..release.window.to().seconds(),
        sequence: release.sequence,
        reports: release.report_count,
        conversions: release.conversions,
        terms,
        cells: &release.cells,
    };
    if let Err(error) = facts.insert(&entry) {
        left_out(release.sequence, &error);
    }
}
