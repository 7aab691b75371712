//! Damage to sled's files, and what sled leaves to others.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::store::damage_tests::in_bounds;
use crate::store::state::engine::guarded;

/// Sixty-four damaged bytes anywhere: the store is refused, or nothing is lost.
#[test]
fn damage_in_the_log_is_not_passed_over() {
    let place = Place::new();
    let state = place.open();
    let value = |commit: u8| vec![commit; 4000];
    for commit in 0..40_u8 {
        let mut changes = StateBatch::default();
        (0..20_u8).for_each(|key| changes.insert(&[1, commit, key], &value(commit)).unwrap());
        let _ = state.lock().commit(changes).unwrap();
    }
    drop(state);
    let len = fs::metadata(place.store().join("db")).unwrap().len();
    let mut refused = 0;
    for at in (0..len).step_by(100_003) {
        let damaged = place.copy();
        let log = File::options().write(true).open(damaged.store().join("db")).unwrap();
        log.write_all_at(&[0xff; 64], at).unwrap();
        match damaged.try_open() {
            Ok(state) => {
                let found = state.scan_prefix(&[1], None, 1000).unwrap();
                assert!(found.len() == 800 && found.iter().all(|(key, found)| *found == value(key[1])));
            }
            Err(e) => {
                assert!(matches!(e, StoreError::BehindWatermark { .. } | StoreError::Corrupt { .. }), "{e}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "most places hold something that matters");
}

#[test]
fn a_lost_or_stale_entry_is_noticed() {
    let changes: [fn(&State); 3] = [
        |state| drop(sled_of(state).remove(b"b").unwrap()),
        |state| drop(sled_of(state).insert(b"b", b"1").unwrap()),
        |state| drop(sled_of(state).insert(b"d", b"1").unwrap()),
    ];
    for change in changes {
        let place = Place::new();
        let state = place.open();
        let _ = state.lock().commit(batch(&[(b"a", b"1"), (b"b", b"1")])).unwrap();
        let _ = state.lock().commit(batch(&[(b"b", b"2"), (b"c", b"1")])).unwrap();
        drop(state);
        drop(place.open());
        let state = place.open();
        change(&state);
        drop(state);
        assert!(matches!(place.try_open(), Err(StoreError::Corrupt { .. })));
    }
}

/// Found by cutting the power at each sync: sled makes `conf` with the store and never syncs it, and does not open with an
/// empty one. A power loss soon after the first start left a store that could not be opened.
#[test]
fn sleds_own_configuration_is_durable_before_the_first_commit() {
    let place = Place::new();
    let synced = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&synced);
    let faults = move |op: FileOp<'_>| {
        if let FileOp::Sync(path) = op {
            heard.lock().unwrap().push(path.to_owned());
        }
        None
    };
    drop(
        State::open_on(
            &place.store(),
            &place.watermark(),
            "leader",
            CACHE,
            Disk::with_faults(Arc::new(faults)),
        )
        .unwrap(),
    );
    let synced = synced.lock().unwrap();
    let first = |path: PathBuf| synced.iter().position(|synced| *synced == path).unwrap();
    assert!(first(place.store().join("conf")) < first(place.store().join("db")));
}

/// A page that is not in the cache is read from a file that was damaged after it was opened: sled may panic there, also
/// while it closes. What is read is right, or an error, and then nothing more is asked of it.
#[test]
fn damage_that_shows_after_opening_is_an_error() {
    in_bounds("store::state::tests::damage::damage_that_shows_after_opening_is_an_error", || {
        let value = |key: u16| vec![u8::try_from(key % 251).unwrap(); 4000];
        let row = |key: u16| [&[1], key.to_be_bytes().as_slice()].concat();
        let mut refused = 0;
        for round in 0..8_u64 {
            let place = Place::new();
            let state = place.open();
            for part in 0..10_u16 {
                let mut changes = StateBatch::default();
                (0..50)
                    .for_each(|key| changes.insert(&row(part * 50 + key), &value(part * 50 + key)).unwrap());
                let _ = state.lock().commit(changes).unwrap();
            }
            drop(state);
            let log_path = place.store().join("db");
            // Without what a state reads at its opening.
            let engine = Engine::open(&place.store(), &log_path, CACHE, &Disk::default()).unwrap();
            let log = File::options().write(true).open(&log_path).unwrap();
            let len = log.metadata().unwrap().len();
            for at in (round * 10_007..len).step_by(300_007) {
                log.write_all_at(&[0xff; 300], at).unwrap();
            }
            let mut broken = false;
            for key in 0..500_u16 {
                match engine.get(&place.store(), &row(key)) {
                    Ok(found) => assert_eq!(found.unwrap(), value(key)),
                    Err(StoreError::InDoubt { .. }) => assert!(broken),
                    Err(StoreError::Corrupt { .. }) => (broken, refused) = (true, refused + 1),
                    Err(error) => panic!("{error}"),
                }
            }
            let scanned = engine.scan(&place.store(), Bound::Unbounded, |_, _| true);
            assert_eq!(scanned.is_err(), broken);
            drop(engine);
            assert!(!broken || place.try_open().is_err());
        }
        assert!(refused > 0, "the damage was not met");
    });
}

#[test]
fn a_panic_of_the_engine_is_an_error_and_the_last_call() {
    let (dir, broken) = (Path::new("store"), AtomicBool::new(false));
    assert_eq!(guarded(dir, &broken, || Ok(1)).unwrap(), 1);
    let stopped = guarded::<()>(dir, &broken, || panic!("as sled does"));
    assert!(matches!(stopped, Err(StoreError::Corrupt { damage: Damage::EngineStopped, .. })));
    assert!(matches!(guarded(dir, &broken, || Ok(1)), Err(StoreError::InDoubt { .. })));
}
