//! What a state stands on: the watermark, and sled; in simulations a table in memory in sled's place.

use std::{
    collections::BTreeMap,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

#[cfg(any(test, feature = "test-seams"))]
use crate::store::disk::MemoryTable;
use crate::store::{
    Damage, StoreError, StoreId, Watermark,
    disk::{Disk, DiskFile, Open},
};

/// sled divides its cache among 256 shards; below this they hold nothing.
const CACHE_BYTES_MIN: u64 = 1 << 20;

/// How long an opening waits for threads of sled that outlive a store closed just before by
/// this process: they hold its file lock a moment longer.
const ENGINE_LOCK_TRIES: u32 = 100;
const ENGINE_LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Opens the watermark, or makes one if there is no store yet.
pub(super) fn open_watermark(
    dir: &Path,
    log_path: &Path,
    path: &Path,
    disk: &Disk,
) -> Result<Watermark, StoreError> {
    let store_exists = disk.exists(log_path);
    match Watermark::open_on(path, disk.clone()) {
        Ok(watermark) if !store_exists && watermark.commit() > 0 => {
            Err(StoreError::BehindWatermark { dir: dir.to_owned(), store: 0, watermark: watermark.commit() })
        }
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            if store_exists {
                return Err(StoreError::MissingWatermark { path: path.to_owned(), dir: dir.to_owned() });
            }
            // Before the store itself: a crash in between leaves a watermark at 0, with
            // which the next opening goes on.
            Watermark::create_on(path, StoreId::from_bytes(rand::random()), disk.clone())
        }
        other => other,
    }
}

/// The rows of a state and what makes them durable.
pub(super) enum Engine {
    Sled {
        db: sled::Db,
        /// sled's log; opened before anything is written, see the module above.
        log: DiskFile,
        /// Set when a call of sled's panicked, for good.
        broken: AtomicBool,
    },
    #[cfg(any(test, feature = "test-seams"))]
    Memory(MemoryTable),
}

impl Engine {
    /// Opens the rows in `dir`, or makes an empty table of them.
    pub(super) fn open(
        dir: &Path,
        log_path: &Path,
        cache_bytes: u64,
        disk: &Disk,
    ) -> Result<Self, StoreError> {
        #[cfg(any(test, feature = "test-seams"))]
        if let Some(table) = disk.open_table(log_path) {
            return table.map(Self::Memory).map_err(|e| StoreError::io("open", log_path, e));
        }
        let db = open_sled(dir, cache_bytes)?;
        // sled makes it with the store, never syncs it, and does not open without it being whole.
        let conf_path = dir.join("conf");
        let conf = disk.open(&conf_path, Open::Read).map_err(|e| StoreError::io("open", &conf_path, e))?;
        disk.sync_data(&conf, &conf_path).map_err(|e| StoreError::io("sync", &conf_path, e))?;
        let log = disk.open(log_path, Open::Write).map_err(|e| StoreError::io("open", log_path, e))?;
        Ok(Self::Sled { db, log, broken: AtomicBool::new(false) })
    }

    /// The value of a key.
    pub(super) fn get(&self, dir: &Path, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        match self {
            Self::Sled { db, broken, .. } => guarded(dir, broken, || db.get(key)),
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(table) => {
                let value = table.get(key).map_err(|e| StoreError::io("use the store in", dir, e))?;
                Ok(value.map(sled::IVec::from))
            }
        }
    }

    /// Gives the rows from a key on to `each`, until it returns false.
    pub(super) fn scan(
        &self,
        dir: &Path,
        from: Bound<&[u8]>,
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sled { db, broken, .. } => guarded(dir, broken, || {
                for entry in db.range::<&[u8], _>((from, Bound::Unbounded)) {
                    let (key, value) = entry?;
                    if !each(&key, &value) {
                        break;
                    }
                }
                Ok(())
            }),
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(table) => {
                table.scan(from, each).map_err(|e| StoreError::io("use the store in", dir, e))
            }
        }
    }

    /// Changes rows, all or none; not durable yet.
    #[cfg_attr(
        not(any(test, feature = "test-seams")),
        allow(unused_variables, reason = "sled writes to its files by itself")
    )]
    pub(super) fn apply(
        &self,
        dir: &Path,
        log_path: &Path,
        disk: &Disk,
        writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sled { db, broken, .. } => {
                let mut batch = sled::Batch::default();
                for (key, value) in writes {
                    match value {
                        Some(value) => batch.insert(key, value),
                        None => batch.remove(key),
                    }
                }
                guarded(dir, broken, || db.apply_batch(batch))
            }
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(table) => disk
                .write_table(table, log_path, &writes)
                .map_err(|e| StoreError::io("use the store in", dir, e)),
        }
    }

    /// When it returns, what was applied survives a loss of power.
    pub(super) fn make_durable(&self, dir: &Path, log_path: &Path, disk: &Disk) -> Result<(), StoreError> {
        match self {
            Self::Sled { db, log, broken } => {
                guarded(dir, broken, || db.flush())?;
                disk.sync_data(log, log_path).map_err(|e| StoreError::io("sync", log_path, e))
            }
            #[cfg(any(test, feature = "test-seams"))]
            Self::Memory(table) => {
                disk.sync_table(table, log_path).map_err(|e| StoreError::io("sync", log_path, e))
            }
        }
    }
}

/// A call of sled's. At damage that shows only when a page is read it may panic: that is an error here, and nothing more
/// is asked of it, since what the call left in its memory is unknown.
pub(super) fn guarded<T>(
    dir: &Path,
    broken: &AtomicBool,
    call: impl FnOnce() -> Result<T, sled::Error>,
) -> Result<T, StoreError> {
    if broken.load(Ordering::Acquire) {
        return Err(StoreError::InDoubt { what: "call of the storage engine" });
    }
    let done = catch_unwind(AssertUnwindSafe(call)).map_err(|_| {
        broken.store(true, Ordering::Release);
        corrupt(dir, Damage::EngineStopped)
    })?;
    done.map_err(|e| engine_error(dir, e))
}

/// Opens sled. It panics on some damage; that is an error here.
pub(super) fn open_sled(dir: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(cache_bytes.max(CACHE_BYTES_MIN))
        .mode(sled::Mode::LowSpace)
        // Durability is the commit's business; a flush in between would only cost.
        .flush_every_ms(None);
    let mut tries = 1;
    loop {
        // Nothing that a panic leaves half done is used again.
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let opened = opened.map_err(|_| corrupt(dir, Damage::EngineOpening))?;
        match opened.map_err(|e| engine_error(dir, e)) {
            // Our own lock keeps other processes out, so this passes.
            Err(StoreError::Locked { .. }) if tries < ENGINE_LOCK_TRIES => {
                tries += 1;
                thread::sleep(ENGINE_LOCK_PAUSE);
            }
            other => return other,
        }
    }
}

/// Sorts an error of sled in `dir`.
fn engine_error(dir: &Path, e: sled::Error) -> StoreError {
    match e {
        // sled gives its failure to lock no kind of its own.
        sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => {
            StoreError::Locked { path: dir.to_owned() }
        }
        sled::Error::Io(e) => StoreError::io("use the store in", dir, e),
        sled::Error::Corruption { .. } => corrupt(dir, Damage::EngineReports),
        other => StoreError::Engine(other.to_string()),
    }
}

/// Damage to the store in `dir`.
pub(super) fn corrupt(dir: &Path, damage: Damage) -> StoreError {
    StoreError::damaged(dir.join("db"), 0, damage)
}
