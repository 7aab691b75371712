//! The state of a role: small values in one sled tree, changed by atomic, durable commits.
//!
//! What is relied on in sled 0.34.7, as read in its source:
//!
//! * `Tree::apply_batch` on one tree is atomic across a crash. It reserves a manifest
//!   message in the log before the batch's updates and, after the last one, writes into it
//!   the log sequence number up to which the log must be whole (`tree.rs`
//!   `apply_batch_inner`, `pagecache/mod.rs` `pin_log` and `RecoveryGuard::seal_batch`).
//!   Recovery stops at a manifest whose number lies beyond the whole part of the log
//!   (`pagecache/iterator.rs`, `LogRead::BatchManifest`) and wipes the rest
//!   (`pagecache/snapshot.rs` `advance_snapshot`). A test below cuts the log at every place.
//! * `apply_batch` excludes readers while it runs (`concurrency_control::write`).
//! * `flush` writes the log to the file `db` (`config.rs` `db_path`), but ends in
//!   `sync_file_range` (`pagecache/iobuf.rs` `write_to_log`), which syncs neither the
//!   file's length nor the disk's cache. So `sync_data` on a handle of our own follows; a
//!   handle that was opened before the write also hears of its write-back errors.
//! * An item above a quarter of a log segment (128 KiB) goes to a file in `blobs`, which is
//!   never synced (`pagecache/logger.rs`, `pagecache/blob_io.rs`). An item is a leaf of up to
//!   about 20 entries, or an index node of up to 257 keys (`node.rs` `should_split`,
//!   `should_merge`): hence [`MAX_VALUE_BYTES`] and [`MAX_KEY_BYTES`].
//! * Damage in the middle of the log makes entries vanish unnoticed, or sled panic while it
//!   opens. So every commit carries a digest of all entries, and opening reads them all.
//! * After a write error sled refuses everything until it is opened again (`global_error`),
//!   so a commit is refused while there is still some room on the disk.

mod batch;
mod digest;
mod engine;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::Instant,
};

pub use self::batch::{MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, StateBatch};
use self::{
    batch::RESERVED_PREFIX,
    digest::{DIGEST_BYTES, Digest},
    engine::{Engine, corrupt, open_watermark},
};
use super::{
    Damage, StoreError, StoreId, Watermark,
    disk::{Disk, DiskFile},
};
use crate::metrics::StoreTimes;

/// The layout of keys and values that this version reads and writes.
pub const SCHEMA_VERSION: u32 = 4;

/// Commits are refused when the file system has less than this left; see the module's
/// last point. A full batch and sled's own rewriting fit in.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// Schema version, 4 bytes; store id, 16 bytes; the role's name.
const IDENTITY_KEY: &[u8] = b"\0identity";
/// The number of the last commit, 8 bytes; the digest of all other entries. Every batch
/// writes it.
const COMMIT_KEY: &[u8] = b"\0commit";

/// Proof that a commit is durable: it survives a loss of power, and the watermark says so.
/// Whatever leaves the process because of a commit needs one, and it cannot be copied.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Committed {
    commit: u64,
}

impl Committed {
    /// The commit's number, from 1, one higher each time.
    pub const fn number(&self) -> u64 {
        self.commit
    }
}

/// An open store of one role. Any number of threads may share it.
pub struct State {
    engine: Engine,
    dir: PathBuf,
    log_path: PathBuf,
    store_id: StoreId,
    disk: Disk,
    /// Owned by the holder of a [`StateGuard`].
    writer: Mutex<Writer>,
    /// Whether what sled shows is known to be durable. Held exclusively from before a batch
    /// is applied until it is durable, so that no reader sees what a crash could take back.
    shown: RwLock<Shown>,
    /// Keeps other processes out as long as it is open.
    _lock: DiskFile,
}

struct Writer {
    watermark: Watermark,
    commit: u64,
    /// Of all entries but the commit's.
    digest: Digest,
}

struct Shown {
    in_doubt: bool,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

impl State {
    /// Opens the store in `dir`, or makes it if neither it nor its watermark exists.
    /// `cache_bytes` bounds sled's cache.
    ///
    /// # Errors
    /// `BehindWatermark`, `MissingWatermark`, `WrongStore`, `WrongRole`, `SchemaTooNew` and
    /// `SchemaTooOld` refuse a store that must not be used; `Locked` says that it is in use.
    pub fn open(dir: &Path, watermark_path: &Path, role: &str, cache_bytes: u64) -> Result<Self, StoreError> {
        Self::open_on(dir, watermark_path, role, cache_bytes, Disk::default())
    }

    /// As [`State::open`], on this disk.
    pub fn open_on(
        dir: &Path,
        watermark_path: &Path,
        role: &str,
        cache_bytes: u64,
        disk: Disk,
    ) -> Result<Self, StoreError> {
        disk.create_dir(dir)?;
        let lock = disk.lock_dir(dir)?;
        let log_path = dir.join("db");
        let watermark = open_watermark(dir, &log_path, watermark_path, &disk)?;
        let engine = Engine::open(dir, &log_path, cache_bytes, &disk)?;
        let state = Self {
            engine,
            dir: dir.to_owned(),
            log_path,
            store_id: watermark.store_id(),
            disk,
            writer: Mutex::new(Writer { watermark, commit: 0, digest: Digest::default() }),
            shown: RwLock::new(Shown { in_doubt: false }),
            _lock: lock,
        };
        state.check_identity(role)?;
        Ok(state)
    }

    /// Compares what the store says of itself with the role and the watermark.
    fn check_identity(&self, role: &str) -> Result<(), StoreError> {
        // What sled shows may come from the page cache of a process that died before its
        // sync, so nothing is concluded from it before this one.
        self.make_durable()?;
        self.disk.sync_dir(&self.dir)?;
        let mut guard = self.lock();
        let (commit, digest) = match self.engine.get(&self.dir, COMMIT_KEY)? {
            Some(bytes) => {
                let bytes =
                    <[u8; 8 + DIGEST_BYTES]>::try_from(bytes.as_ref()).map_err(|_| self.malformed())?;
                let (commit, digest) = bytes.split_first_chunk::<8>().ok_or_else(|| self.malformed())?;
                (u64::from_be_bytes(*commit), digest.to_vec())
            }
            None => (0, Digest::default().to_bytes().to_vec()),
        };
        let watermark = guard.writer.watermark.commit();
        let identity = self.engine.get(&self.dir, IDENTITY_KEY)?;
        if let Some(identity) = &identity {
            self.compare_identity(identity, role)?;
        }
        if commit < watermark {
            return Err(StoreError::BehindWatermark { dir: self.dir.clone(), store: commit, watermark });
        }
        guard.writer.digest = self.digest_entries()?;
        if guard.writer.digest.to_bytes() != digest.as_slice() {
            return Err(corrupt(&self.dir, Damage::Entries));
        }
        if commit > watermark + 1 {
            // A crash explains one commit, no more; an older copy of the watermark does.
            tracing::warn!(commit, watermark, "the store is several commits ahead of its watermark");
        }
        guard.writer.watermark.advance(commit)?;
        guard.writer.commit = commit;
        if identity.is_some() {
            return Ok(());
        }
        // A new store, or one whose making was interrupted before its first commit.
        let mut first = StateBatch::default();
        let identity =
            [&SCHEMA_VERSION.to_be_bytes(), self.store_id.as_bytes().as_slice(), role.as_bytes()].concat();
        first.insert_reserved(IDENTITY_KEY, &identity);
        guard.commit(first).map(|_| ())
    }

    fn compare_identity(&self, identity: &[u8], role: &str) -> Result<(), StoreError> {
        let (schema, rest) = identity.split_first_chunk::<4>().ok_or_else(|| self.malformed())?;
        let (found, expected) = (u32::from_be_bytes(*schema), SCHEMA_VERSION);
        if found > expected {
            return Err(StoreError::SchemaTooNew { found, expected });
        }
        if found < expected {
            return Err(StoreError::SchemaTooOld { found, expected });
        }
        let (id, found_role) = rest.split_first_chunk::<16>().ok_or_else(|| self.malformed())?;
        let found = StoreId::from_bytes(*id);
        if found != self.store_id {
            return Err(StoreError::WrongStore { dir: self.dir.clone(), found, expected: self.store_id });
        }
        if found_role != role.as_bytes() {
            let found = String::from_utf8_lossy(found_role).into_owned();
            return Err(StoreError::WrongRole { found, expected: role.to_owned() });
        }
        Ok(())
    }

    /// The store's id.
    pub const fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// The value of a key. Waits for a commit that is under way and shows only what is
    /// durable; a decision that a commit is based on belongs under [`State::lock`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let _shown = self.durable()?;
        let value = self.engine.get(&self.dir, key)?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// At most `limit` entries whose keys begin with `prefix`, in order of their keys,
    /// beginning after the key `after` (that of the last entry of the page before).
    ///
    /// One call sees one state; commits may come between two calls unless the caller holds
    /// a [`StateGuard`].
    pub fn scan_prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let _shown = self.durable()?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut entries = Vec::new();
        self.engine.scan(&self.dir, from, |key, value| {
            if entries.len() == limit || !key.starts_with(prefix) {
                return false;
            }
            if key.first() != Some(&RESERVED_PREFIX) {
                entries.push((key.to_vec(), value.to_vec()));
            }
            true
        })?;
        Ok(entries)
    }

    /// Gives on every entry whose key begins with `prefix`, in order of their keys, with what stands behind it in the key. At
    /// most `at_once` entries are in memory.
    ///
    /// Commits may come in between unless the caller holds a [`StateGuard`]. The first error ends it.
    pub fn each<E: From<StoreError>>(
        &self,
        prefix: &[u8],
        at_once: usize,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_until(prefix, None, at_once, |rest, value| take(rest, value).map(|()| true))
    }

    /// As [`State::each`], of the entries behind the key `after`, until `take` says that it has enough.
    pub fn each_until<E: From<StoreError>>(
        &self,
        prefix: &[u8],
        mut after: Option<Vec<u8>>,
        at_once: usize,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        loop {
            let page = self.scan_prefix(prefix, after.as_deref(), at_once)?;
            for (key, value) in &page {
                if !take(key.get(prefix.len()..).unwrap_or_default(), value)? {
                    return Ok(());
                }
            }
            match page.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => return Ok(()),
            }
        }
    }

    /// Waits for its turn to change the store. What is read through the guard cannot change
    /// before its commit, which makes check and commit one transaction. Encoding, summing
    /// and cryptography are done before: all other writers wait.
    pub fn lock(&self) -> StateGuard<'_> {
        // A panic while it was held left `commit` as it was, or `in_doubt` set.
        StateGuard { state: self, writer: self.writer.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The number of the last commit.
    #[cfg(test)]
    pub fn last_commit(&self) -> u64 {
        self.lock().writer.commit
    }

    /// Why a commit would be refused now whatever it brings.
    ///
    /// # Errors
    /// `InDoubt` after a commit that failed, `Full` if the file system has less left than is kept in reserve.
    pub fn check(&self) -> Result<(), StoreError> {
        drop(self.durable()?);
        self.disk.require_free(&self.dir, FREE_BYTES_MIN)
    }

    /// Bytes that the file system has left.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        self.disk.free_bytes(&self.dir).map_err(|e| StoreError::io("free space of", &self.dir, e))
    }

    /// Where the times of this store's writes go.
    pub(super) fn times(&self) -> &StoreTimes {
        self.disk.times()
    }

    fn durable(&self) -> Result<RwLockReadGuard<'_, Shown>, StoreError> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        if shown.in_doubt { Err(IN_DOUBT) } else { Ok(shown) }
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        self.engine.make_durable(&self.dir, &self.log_path, &self.disk)
    }

    /// The digest of what is there, all of it read.
    fn digest_entries(&self) -> Result<Digest, StoreError> {
        let mut digest = Digest::default();
        self.engine.scan(&self.dir, Bound::Unbounded, |key, value| {
            if key != COMMIT_KEY {
                digest.add(key, value);
            }
            true
        })?;
        Ok(digest)
    }

    fn malformed(&self) -> StoreError {
        corrupt(&self.dir, Damage::OwnEntries)
    }
}

const IN_DOUBT: StoreError = StoreError::InDoubt { what: "commit" };

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("dir", &self.dir)
            .field("store_id", &self.store_id)
            .finish_non_exhaustive()
    }
}

/// The right to change a [`State`], one holder at a time.
#[derive(Debug)]
pub struct StateGuard<'a> {
    state: &'a State,
    writer: MutexGuard<'a, Writer>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("commit", &self.commit).finish_non_exhaustive()
    }
}

impl StateGuard<'_> {
    /// As [`State::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.state.get(key)
    }

    /// As [`State::scan_prefix`].
    pub fn scan_prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.state.scan_prefix(prefix, after, limit)
    }

    /// Applies a batch, whole or not at all, and makes it durable.
    ///
    /// # Errors
    /// `Full` because the disk is nearly full changes nothing, and later commits work. After
    /// any other error of a commit what is durable is unknown: every later read and commit
    /// is refused with `InDoubt` until the store is opened again, which finds the batch
    /// there, whole, or not.
    pub fn commit(&mut self, batch: StateBatch) -> Result<Committed, StoreError> {
        let state = self.state;
        drop(state.durable()?);
        state.disk.require_free(&state.dir, FREE_BYTES_MIN)?;
        let started = Instant::now();
        let commit = self.writer.commit + 1;
        let (writes, digest) = self.prepare(batch, commit)?;
        let mut shown = state.shown.write().unwrap_or_else(PoisonError::into_inner);
        // Until the last line, an error or a panic leaves the store in doubt.
        shown.in_doubt = true;
        state.engine.apply(&state.dir, &state.log_path, &state.disk, writes)?;
        state.make_durable()?;
        // The batch is durable. A crash here leaves the store one commit ahead of its
        // watermark, which the next opening takes as it is.
        self.writer.watermark.advance(commit)?;
        self.writer.commit = commit;
        self.writer.digest = digest;
        shown.in_doubt = false;
        state.disk.times().commit_took(started);
        Ok(Committed { commit })
    }

    /// The writes of a batch, with the commit's own entry, and the digest after it.
    fn prepare(&self, batch: StateBatch, commit: u64) -> Result<(Writes, Digest), StoreError> {
        let mut digest = self.writer.digest;
        let mut writes = batch.into_writes();
        for (key, value) in &writes {
            if let Some(old) = self.state.engine.get(&self.state.dir, key)? {
                digest.remove(key, &old);
            }
            if let Some(value) = value {
                digest.add(key, value);
            }
        }
        let last = [commit.to_be_bytes().as_slice(), &digest.to_bytes()].concat();
        writes.insert(COMMIT_KEY.to_vec(), Some(last));
        Ok((writes, digest))
    }
}

/// The new value of each changed key; `None` removes it.
type Writes = std::collections::BTreeMap<Vec<u8>, Option<Vec<u8>>>;
