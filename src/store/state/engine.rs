//! Opening what a state stands on: the watermark and sled.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread,
    time::Duration,
};

use crate::store::{StoreError, StoreId, Watermark, disk::Disk};

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
    let store_exists = log_path.exists();
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

/// Opens sled. It panics on some damage; that is an error here.
pub(super) fn open_engine(dir: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
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
        let opened = opened.map_err(|_| corrupt(dir, "sled cannot make sense of it"))?;
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
pub(super) fn engine_error(dir: &Path, e: sled::Error) -> StoreError {
    match e {
        // sled gives its failure to lock no kind of its own.
        sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => {
            StoreError::Locked { path: dir.to_owned() }
        }
        sled::Error::Io(e) => StoreError::io("use the store in", dir, e),
        sled::Error::Corruption { .. } => corrupt(dir, "sled reports corruption"),
        other => StoreError::Engine(other.to_string()),
    }
}

/// Damage to the store in `dir`.
pub(super) fn corrupt(dir: &Path, found: &'static str) -> StoreError {
    StoreError::Corrupt {
        file: dir.join("db"),
        offset: 0,
        found,
        advice: "Check the disk. If the file cannot be recovered, start a new, empty store with new keys and tasks",
    }
}
