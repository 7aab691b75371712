//! What this collector's releases have charged each source and epoch, kept beside the releases so that a release can say
//! it without reading all others.
//!
//! It is display: the ledgers that refuse are the aggregators'. Rows are written in the transaction of their release. A
//! store from before there were rows gets them from its releases when it is opened.
//!
//! A release that was made before this collector was told when the source's epochs start is in no row, and one that was
//! made under another start is in rows of other epochs. A release is signed, so what cannot be added up is not said: one
//! such release, and the source's releases say nothing of what was spent.

use std::collections::BTreeMap;

use ring::digest;

use super::{CollectorDisk, RELEASE_PREFIX, SEQUENCE_KEY};
use crate::collector::release::EpochCharge;
use crate::privacy::ledger::EPOCH_SECONDS;
use crate::store::{StateBatch, StoreError};

/// Says that the rows cover every release: there, with this version of the rows.
const COMPLETE_KEY: &[u8] = b"s";
const ROWS_VERSION: &[u8] = &[2];

/// Releases read at once while rows are made: each has at most some megabytes.
const PAGE_ROWS: usize = 16;

/// Epochs read at once: five years.
const EPOCHS_AT_ONCE: usize = 260;

/// When in a week the epochs of a source start, by its releases; `None` if they differ, or one does not say.
type WeekStart = Option<u64>;

fn week_start(charges: &[EpochCharge]) -> WeekStart {
    charges.first().map(|charge| charge.start_seconds % EPOCH_SECONDS)
}

/// With one release more.
fn joined(before: Option<WeekStart>, charges: &[EpochCharge]) -> WeekStart {
    let now = week_start(charges);
    if before.is_none_or(|before| before == now) { now } else { None }
}

fn week_key(source: &str) -> Vec<u8> {
    [b"p", digest::digest(&digest::SHA256, source.as_bytes()).as_ref()].concat()
}

fn encode_week(start: WeekStart) -> Vec<u8> {
    start.map_or_else(Vec::new, |start| start.to_be_bytes().to_vec())
}

/// What the rows of a source begin with. A name may be longer than a key.
fn row_prefix(source: &str) -> Vec<u8> {
    [b"b", digest::digest(&digest::SHA256, source.as_bytes()).as_ref()].concat()
}

fn row_key(charge: &EpochCharge) -> Vec<u8> {
    [row_prefix(&charge.source).as_slice(), &charge.start_seconds.to_be_bytes()].concat()
}

impl CollectorDisk {
    /// What each of these epochs is charged with the charges added, in micro-epsilon.
    pub(super) fn spent_with(&self, charges: &[EpochCharge]) -> Result<Vec<u64>, StoreError> {
        let total = |charge: &EpochCharge| {
            let before = match self.state.get(&row_key(charge))? {
                None => 0,
                Some(bytes) => u64::from_be_bytes(bytes.try_into().map_err(|_| self.malformed())?),
            };
            Ok(before.saturating_add(charge.micro))
        };
        charges.iter().map(total).collect()
    }

    /// What each epoch of a source was charged, in the order of time: its start, and micro-epsilon.
    pub(super) fn spent_of(&self, source: &str) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut all = Vec::new();
        self.state.each(&row_prefix(source), EPOCHS_AT_ONCE, |start, value| {
            let number = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes).ok();
            all.push(number(start).zip(number(value)).ok_or_else(|| self.malformed())?);
            Ok::<_, StoreError>(())
        })?;
        Ok(all)
    }

    /// Whether [`CollectorDisk::spent_with`] knows of everything that the source's releases have charged, one with these
    /// charges included.
    pub(super) fn all_counted(&self, source: &str, charges: &[EpochCharge]) -> Result<WeekStart, StoreError> {
        let before = match self.state.get(&week_key(source))? {
            None => None,
            Some(bytes) if bytes.is_empty() => Some(None),
            Some(bytes) => {
                let bytes = <[u8; 8]>::try_from(bytes.as_slice()).map_err(|_| self.malformed())?;
                Some(Some(u64::from_be_bytes(bytes)))
            }
        };
        Ok(joined(before, charges))
    }

    /// Puts the totals of [`CollectorDisk::spent_with`] into a transaction.
    pub(super) fn keep_spent(
        batch: &mut StateBatch,
        (source, week): (&str, WeekStart),
        charges: &[EpochCharge],
        totals: &[u64],
    ) -> Result<(), StoreError> {
        batch.insert(&week_key(source), &encode_week(week))?;
        for (charge, total) in charges.iter().zip(totals) {
            batch.insert(&row_key(charge), &total.to_be_bytes())?;
        }
        batch.insert(COMPLETE_KEY, ROWS_VERSION)
    }

    /// Makes the rows of a store that has releases and no rows, or those of another version. In one transaction each, ended by the mark: broken off,
    /// the rows are made anew from the first release on.
    pub(super) fn make_rows_of_spent(&self) -> Result<(), StoreError> {
        if self.state.get(COMPLETE_KEY)?.is_some_and(|version| version == ROWS_VERSION)
            || self.state.get(SEQUENCE_KEY)?.is_none()
        {
            return Ok(());
        }
        let mut totals: Vec<(EpochCharge, u64)> = Vec::new();
        let mut weeks: BTreeMap<String, WeekStart> = BTreeMap::new();
        self.state.each(RELEASE_PREFIX, PAGE_ROWS, |_, value| {
            let published = self.published(value)?;
            let charges = EpochCharge::of(published.release());
            let source = &published.release().charge.budget_source;
            let week = joined(weeks.get(source).copied(), &charges);
            weeks.insert(source.clone(), week);
            for charge in charges {
                let same = |(other, _): &&mut (EpochCharge, u64)| {
                    other.source == charge.source && other.start_seconds == charge.start_seconds
                };
                match totals.iter_mut().find(same) {
                    Some((_, total)) => *total = total.saturating_add(charge.micro),
                    None => totals.push((charge.clone(), charge.micro)),
                }
            }
            Ok::<_, StoreError>(())
        })?;
        // A source has 52 epochs a year: a thousand rows are 50 kB, within one transaction.
        for part in totals.chunks(1000) {
            let mut batch = StateBatch::default();
            for (charge, total) in part {
                batch.insert(&row_key(charge), &total.to_be_bytes())?;
            }
            let _receipt = self.state.lock().commit(batch)?;
        }
        let mut batch = StateBatch::default();
        // Sources are registered one by one by operators: a few rows.
        for (source, week) in weeks {
            batch.insert(&week_key(&source), &encode_week(week))?;
        }
        batch.insert(COMPLETE_KEY, ROWS_VERSION)?;
        let _receipt = self.state.lock().commit(batch)?;
        Ok(())
    }
}
