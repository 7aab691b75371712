//! What this collector's releases have charged each source and epoch, kept beside the releases so that a release can say
//! it without reading all others.
//!
//! It is display: the ledgers that refuse are the aggregators'. Rows are written in the transaction of their release. A
//! store from before there were rows gets them from its releases when it is opened.

use ring::digest;

use super::{CollectorDisk, RELEASE_PREFIX, SEQUENCE_KEY};
use crate::collector::release::EpochCharge;
use crate::store::{StateBatch, StoreError};

/// Says that the rows cover every release.
const COMPLETE_KEY: &[u8] = b"s";

/// Releases read at once while rows are made: each has at most some megabytes.
const PAGE_ROWS: usize = 16;

fn row_key(charge: &EpochCharge) -> Vec<u8> {
    // A name may be longer than a key.
    let source = digest::digest(&digest::SHA256, charge.source.as_bytes());
    [b"b", source.as_ref(), &charge.start_seconds.to_be_bytes()].concat()
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

    /// Puts the totals of [`CollectorDisk::spent_with`] into a transaction.
    pub(super) fn keep_spent(
        batch: &mut StateBatch,
        charges: &[EpochCharge],
        totals: &[u64],
    ) -> Result<(), StoreError> {
        for (charge, total) in charges.iter().zip(totals) {
            batch.insert(&row_key(charge), &total.to_be_bytes())?;
        }
        batch.insert(COMPLETE_KEY, &[])
    }

    /// Makes the rows of a store that has releases and no rows. In one transaction each, ended by the mark: broken off,
    /// the rows are made anew from the first release on.
    pub(super) fn make_rows_of_spent(&self) -> Result<(), StoreError> {
        if self.state.get(COMPLETE_KEY)?.is_some() || self.state.get(SEQUENCE_KEY)?.is_none() {
            return Ok(());
        }
        let mut totals: Vec<(EpochCharge, u64)> = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.state.scan_prefix(RELEASE_PREFIX, after.as_deref(), PAGE_ROWS)?;
            for (_, value) in &page {
                for charge in EpochCharge::of(self.published(value)?.release()) {
                    let same = |(other, _): &&mut (EpochCharge, u64)| {
                        other.source == charge.source && other.start_seconds == charge.start_seconds
                    };
                    match totals.iter_mut().find(same) {
                        Some((_, total)) => *total = total.saturating_add(charge.micro),
                        None => totals.push((charge.clone(), charge.micro)),
                    }
                }
            }
            match page.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        // A source has 52 epochs a year: a thousand rows are 50 kB, within one transaction.
        for part in totals.chunks(1000) {
            let mut batch = StateBatch::default();
            for (charge, total) in part {
                batch.insert(&row_key(charge), &total.to_be_bytes())?;
            }
            let _receipt = self.state.lock().commit(batch)?;
        }
        let mut batch = StateBatch::default();
        batch.insert(COMPLETE_KEY, &[])?;
        let _receipt = self.state.lock().commit(batch)?;
        Ok(())
    }
}
