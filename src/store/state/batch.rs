//! What one commit changes, within the limits that the engine sets.

use std::{collections::BTreeMap, fmt};

use crate::store::StoreError;

/// The largest value: about 20 of them share a leaf, which must stay below 128 KiB.
pub const MAX_VALUE_BYTES: usize = 4096;

/// The largest key: 257 of them share an index node, which must stay below 128 KiB.
pub const MAX_KEY_BYTES: usize = 256;

/// The most that one batch may carry, keys and values. Readers wait while it is applied,
/// and the log cannot be trimmed behind it.
pub const MAX_BATCH_BYTES: usize = 32 << 20;

/// Keys that begin with this byte are the store's own.
pub(super) const RESERVED_PREFIX: u8 = 0;
/// Changes that happen together or not at all.
#[derive(Clone, Default)]
pub struct StateBatch {
    /// The new value of each changed key; `None` removes it.
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl StateBatch {
    /// Sets a key; the last change of a key in a batch counts.
    ///
    /// # Errors
    /// `TooLarge` beyond [`MAX_KEY_BYTES`], [`MAX_VALUE_BYTES`] or [`MAX_BATCH_BYTES`];
    /// `Invalid` for an empty key, or one that begins with a zero byte.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(too_large("a value", value.len(), MAX_VALUE_BYTES));
        }
        self.account(key, value.len())?;
        self.writes.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    /// Removes a key, if it is there. Errors as in [`StateBatch::insert`].
    pub fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.account(key, 0)?;
        self.writes.insert(key.to_vec(), None);
        Ok(())
    }

    /// Bytes of the keys and values so far; a key changed twice counts twice.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets one of the store's own keys.
    pub(super) fn insert_reserved(&mut self, key: &[u8], value: &[u8]) {
        self.writes.insert(key.to_vec(), Some(value.to_vec()));
    }

    /// The changes, in order of their keys.
    pub(super) fn into_writes(self) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        self.writes
    }

    fn account(&mut self, key: &[u8], value_len: usize) -> Result<(), StoreError> {
        match key.first() {
            None => return Err(StoreError::Invalid("an empty key")),
            Some(&RESERVED_PREFIX) => return Err(StoreError::Invalid("a key that begins with a zero byte")),
            Some(_) if key.len() > MAX_KEY_BYTES => return Err(too_large("a key", key.len(), MAX_KEY_BYTES)),
            Some(_) => {}
        }
        let bytes = self.bytes + key.len() + value_len;
        if bytes > MAX_BATCH_BYTES {
            return Err(too_large("a batch", bytes, MAX_BATCH_BYTES));
        }
        self.bytes = bytes;
        Ok(())
    }
}

fn too_large(what: &'static str, bytes: usize, max: usize) -> StoreError {
    StoreError::TooLarge { what, bytes: bytes as u64, max: max as u64 }
}

/// Shows no content: values may be shares.
impl fmt::Debug for StateBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateBatch").field("keys", &self.writes.len()).field("bytes", &self.bytes).finish()
    }
}
