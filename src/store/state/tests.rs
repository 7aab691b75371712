#![allow(clippy::unwrap_used)]

mod damage;

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use super::engine::open_sled;
use super::*;
use crate::store::{Fault, FileOp};

const CACHE: u64 = 4 << 20;

fn sled_of(state: &State) -> &sled::Db {
    match &state.engine {
        Engine::Sled { db, .. } => db,
        Engine::Memory(_) => panic!("these tests are about sled"),
    }
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("stores/leader")
    }

    fn watermark(&self) -> PathBuf {
        self.dir.path().join("marks/leader")
    }

    fn try_open(&self) -> Result<State, StoreError> {
        State::open(&self.store(), &self.watermark(), "leader", CACHE)
    }

    fn open(&self) -> State {
        self.try_open().unwrap()
    }

    /// Puts a copy of this place's files elsewhere.
    fn copy(&self) -> Self {
        let copy = Self::new();
        copy_tree(self.dir.path(), copy.dir.path());
        copy
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn batch(entries: &[(&[u8], &[u8])]) -> StateBatch {
    let mut batch = StateBatch::default();
    for (key, value) in entries {
        batch.insert(key, value).unwrap();
    }
    batch
}

fn put(state: &State, key: &[u8], value: &[u8]) -> u64 {
    state.lock().commit(batch(&[(key, value)])).unwrap().number()
}

#[test]
fn a_commit_is_there_after_reopening() {
    let place = Place::new();
    let state = place.open();
    let id = state.store_id();
    let first = put(&state, b"a", b"1");
    let mut changes = batch(&[(b"b", b"2"), (b"c", b"3")]);
    changes.remove(b"a").unwrap();
    assert_eq!(state.lock().commit(changes).unwrap().number(), first + 1);
    drop(state);
    let state = place.open();
    assert_eq!((state.store_id(), state.last_commit()), (id, first + 1));
    assert_eq!(state.get(b"a").unwrap(), None);
    assert_eq!(state.get(b"b").unwrap(), Some(b"2".to_vec()));
    assert_eq!(put(&state, b"d", b"4"), first + 2);
}

#[test]
fn pages_through_a_prefix() {
    let place = Place::new();
    let state = place.open();
    let keys: Vec<Vec<u8>> = (0..250_u32).map(|i| [b"job/".as_slice(), &i.to_be_bytes()].concat()).collect();
    let mut changes =
        batch(&[(b"joa", b"before"), (b"job", b"before"), (b"job0", b"after"), (b"\xff", b"last")]);
    for key in &keys {
        changes.insert(key, &key[4..]).unwrap();
    }
    let _ = state.lock().commit(changes).unwrap();
    let mut found = Vec::new();
    loop {
        let after = found.last().map(|(key, _): &Entry| key.clone());
        let page = state.scan_prefix(b"job/", after.as_deref(), 60).unwrap();
        assert!(page.len() <= 60);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, keys.iter().map(|key| (key.clone(), key[4..].to_vec())).collect::<Vec<_>>());
    // The store's own entries do not show.
    assert_eq!(state.scan_prefix(b"", None, 1000).unwrap().len(), 254);
    assert_eq!(state.scan_prefix(b"zz", None, 9).unwrap(), []);
}

#[test]
fn refuses_what_sled_would_put_into_unsynced_files() {
    let mut changes = StateBatch::default();
    let value = vec![1; MAX_VALUE_BYTES + 1];
    changes.insert(b"k", &value[1..]).unwrap();
    assert!(matches!(changes.insert(b"k", &value), Err(StoreError::TooLarge { what: "a value", .. })));
    let key = [2; MAX_KEY_BYTES + 1];
    assert!(matches!(changes.insert(&key, b""), Err(StoreError::TooLarge { what: "a key", .. })));
    assert!(matches!(changes.remove(&key), Err(StoreError::TooLarge { what: "a key", .. })));
    assert!(matches!(changes.insert(COMMIT_KEY, b""), Err(StoreError::Invalid(_))));
    assert!(matches!(changes.remove(b""), Err(StoreError::Invalid(_))));
    assert_eq!(changes.bytes(), 1 + MAX_VALUE_BYTES);
    let filled = (0..).find_map(|_| changes.insert(b"k", &value[1..]).err());
    assert!(matches!(filled, Some(StoreError::TooLarge { what: "a batch", .. })));
}

#[test]
fn the_largest_entries_make_no_blobs() {
    let place = Place::new();
    let state = place.open();
    let value = [0xa5; MAX_VALUE_BYTES];
    // Keys that share nothing, so that index nodes hold them at full length, in a spread
    // order, many commits; then most are removed, so that leaves merge.
    let key =
        |i: u32| [i.wrapping_mul(2_654_435_769) | 1 << 24; MAX_KEY_BYTES / 4].map(u32::to_be_bytes).concat();
    for commit in 0..40 {
        let mut changes = StateBatch::default();
        (0..100).for_each(|i| changes.insert(&key(commit * 100 + i), &value).unwrap());
        let _ = state.lock().commit(changes).unwrap();
    }
    let mut changes = StateBatch::default();
    (0..4000).filter(|i| i % 7 != 0).for_each(|i| changes.remove(&key(i)).unwrap());
    let _ = state.lock().commit(changes).unwrap();
    assert_eq!(fs::read_dir(place.store().join("blobs")).unwrap().count(), 0);
    drop(state);
    let state = place.open();
    assert!((0..4000).step_by(7).all(|i| state.get(&key(i)).unwrap().as_deref() == Some(value.as_slice())));
    assert_eq!(state.scan_prefix(b"", None, 5000).unwrap().len(), 572);
}

/// The crash that `apply_batch` must survive: the log is cut, or zero, from some byte on.
#[test]
fn a_batch_is_whole_or_absent_wherever_the_log_is_cut() {
    let place = Place::new();
    let state = place.open();
    let entries = |value: u8| {
        let mut changes = StateBatch::default();
        // Enough keys to split leaves within the batch.
        (0..60_u8).for_each(|key| changes.insert(&[1, key], &[value; 40]).unwrap());
        changes
    };
    let _ = state.lock().commit(entries(1)).unwrap();
    let before = place.copy();
    let old = fs::read(before.store().join("db")).unwrap();
    let _ = state.lock().commit(entries(2)).unwrap();
    let new = fs::read(place.store().join("db")).unwrap();
    let start = old.iter().zip(&new).position(|(a, b)| a != b).unwrap_or(old.len());
    assert!(new.len() > start);
    let step = ((new.len() - start) / 60).max(1);
    let mut seen = [0, 0];
    for cut in (start..new.len()).step_by(step).chain(new.len() - 40..=new.len()) {
        for zeros in [false, true] {
            let crashed = before.copy();
            let mut log = new[..cut].to_vec();
            if zeros {
                log.resize(new.len(), 0);
            }
            fs::write(crashed.store().join("db"), log).unwrap();
            // The watermark is still that of the commit before, as after a real crash.
            let state = crashed.open();
            let found = state.scan_prefix(&[1], None, 100).unwrap();
            let value = found[0].1[0];
            assert!(found.len() == 60 && found.iter().all(|(_, v)| v == &[value; 40]), "mixed at {cut}");
            assert_eq!(state.last_commit(), u64::from(value) + 1);
            seen[usize::from(value) - 1] += 1;
        }
    }
    assert!(seen[0] > 20 && seen[1] > 0, "both outcomes must occur: {seen:?}");
}

#[test]
fn an_older_copy_is_refused() {
    let place = Place::new();
    let state = place.open();
    put(&state, b"a", b"1");
    let backup = place.copy();
    let commit = put(&state, b"a", b"2");
    drop(state);
    fs::remove_dir_all(place.store()).unwrap();
    copy_tree(&backup.store(), &place.store());
    let refused = place.try_open().unwrap_err();
    assert!(matches!(
        refused,
        StoreError::BehindWatermark { store, watermark, .. } if store == commit - 1 && watermark == commit
    ));
    // No store at all is older still.
    fs::remove_dir_all(place.store()).unwrap();
    for _ in 0..2 {
        assert!(matches!(place.try_open(), Err(StoreError::BehindWatermark { store: 0, .. })));
    }
    fs::create_dir_all(place.store()).unwrap();
    fs::write(place.store().join("db"), b"").unwrap();
    assert!(matches!(place.try_open(), Err(StoreError::BehindWatermark { store: 0, .. })));
}

#[test]
fn a_store_one_commit_ahead_goes_on() {
    let place = Place::new();
    let state = place.open();
    let mark = fs::read(place.watermark()).unwrap();
    let commit = put(&state, b"a", b"1");
    drop(state);
    fs::write(place.watermark(), mark).unwrap();
    let state = place.open();
    assert_eq!(state.last_commit(), commit);
    drop(state);
    assert_eq!(Watermark::open(&place.watermark()).unwrap().commit(), commit);
}

#[test]
fn a_store_without_its_watermark_or_with_another_ones_is_refused() {
    let place = Place::new();
    drop(place.open());
    fs::remove_file(place.watermark()).unwrap();
    for _ in 0..2 {
        assert!(matches!(place.try_open(), Err(StoreError::MissingWatermark { .. })));
    }
    let other = Place::new();
    drop(other.open());
    fs::copy(other.watermark(), place.watermark()).unwrap();
    assert!(matches!(place.try_open(), Err(StoreError::WrongStore { .. })));
}

#[test]
fn an_interrupted_making_goes_on() {
    let place = Place::new();
    let id = StoreId::from_bytes([9; 16]);
    drop(Watermark::create(&place.watermark(), id).unwrap());
    let state = place.open();
    assert_eq!((state.store_id(), state.last_commit()), (id, 1));
    drop(state);
    assert_eq!(place.open().last_commit(), 1);
}

#[test]
fn one_process_one_role_one_schema() {
    let place = Place::new();
    let state = place.open();
    assert!(matches!(place.try_open(), Err(StoreError::Locked { .. })));
    let identity = sled_of(&state).get(IDENTITY_KEY).unwrap().unwrap().to_vec();
    drop(state);
    let wrong_role = State::open(&place.store(), &place.watermark(), "helper", CACHE);
    assert!(matches!(wrong_role, Err(StoreError::WrongRole { found, .. }) if found == "leader"));
    for schema in [SCHEMA_VERSION + 1, SCHEMA_VERSION - 1] {
        let state = place.open();
        let other = [&schema.to_be_bytes(), &identity[4..]].concat();
        sled_of(&state).insert(IDENTITY_KEY, other).unwrap();
        drop(state);
        let refused = place.try_open().unwrap_err();
        assert!(match refused {
            StoreError::SchemaTooNew { found, expected } => found > expected && found == schema,
            StoreError::SchemaTooOld { found, expected } => found < expected && found == schema,
            _ => false,
        });
        let db = open_sled(&place.store(), CACHE).unwrap();
        db.insert(IDENTITY_KEY, identity.as_slice()).unwrap();
    }
    drop(place.open());
}

#[test]
fn a_failed_commit_stops_everything_until_reopened() {
    // 1: sled's log; 2 and 3: the watermark.
    for fault in [1, 2, 3] {
        let place = Place::new();
        drop(place.open());
        let plan = Arc::new(AtomicU8::new(0));
        let switch = Arc::clone(&plan);
        let log = place.store().join("db");
        let mark = place.watermark();
        let faults = move |op: FileOp<'_>| match (switch.load(Ordering::SeqCst), op) {
            (1, FileOp::Sync(path)) if path == log => Some(Fault::Errno(5)),
            (2, FileOp::Sync(path)) if path == mark => Some(Fault::Errno(5)),
            (3, FileOp::Write(path, bytes)) if path == mark => Some(Fault::Short(bytes / 2, 28)),
            (4, FileOp::FreeSpace(_)) => Some(Fault::Errno(28)),
            _ => None,
        };
        let state = State::open_on(
            &place.store(),
            &place.watermark(),
            "leader",
            CACHE,
            Disk::with_faults(Arc::new(faults)),
        )
        .unwrap();
        put(&state, b"a", b"1");
        // A disk that is nearly full is noticed in time, and does no harm.
        plan.store(4, Ordering::SeqCst);
        assert!(matches!(state.lock().commit(batch(&[(b"a", b"2")])), Err(StoreError::Full { .. })));
        assert_eq!(state.get(b"a").unwrap(), Some(b"1".to_vec()));
        plan.store(fault, Ordering::SeqCst);
        assert!(state.lock().commit(batch(&[(b"a", b"3")])).is_err());
        plan.store(0, Ordering::SeqCst);
        assert!(matches!(state.lock().commit(batch(&[(b"a", b"4")])), Err(StoreError::InDoubt { .. })));
        assert!(matches!(state.get(b"a"), Err(StoreError::InDoubt { .. })));
        assert!(matches!(state.scan_prefix(b"a", None, 1), Err(StoreError::InDoubt { .. })));
        drop(state);
        let state = place.open();
        // The batch reached sled's log before the fault; nothing of the ones after did.
        assert_eq!(state.get(b"a").unwrap(), Some(b"3".to_vec()));
        put(&state, b"a", b"5");
    }
}

#[test]
fn check_and_commit_are_one_transaction() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 25;
    let place = Place::new();
    let state = place.open();
    let before = state.last_commit();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let mut guard = state.lock();
                    let count =
                        guard.get(b"count").unwrap().map_or(0, |v| u64::from_be_bytes(v.try_into().unwrap()));
                    let next = (count + 1).to_be_bytes();
                    let _ = guard.commit(batch(&[(b"count", &next), (b"twin", &next)])).unwrap();
                    drop(guard);
                    // Two keys of one batch never differ within one scan.
                    let both = state.scan_prefix(b"", None, 9).unwrap();
                    assert_eq!(both[0].1, both[1].1);
                }
            });
        }
    });
    assert_eq!(state.get(b"count").unwrap(), Some((THREADS * ROUNDS).to_be_bytes().to_vec()));
    assert_eq!(state.last_commit(), before + THREADS * ROUNDS);
}
