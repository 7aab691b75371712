#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::attribution::Site;

fn site(n: u32) -> Site {
    Site::parse(&format!("shop-{n}.example")).unwrap()
}

fn spent(n: u32) -> Vec<Change> {
    vec![Change::SiteBudget(0, site(n), n), Change::GlobalBudget(0, n)]
}

fn load(path: &Path) -> Result<Vec<Change>, StorageError> {
    FileStore::open(path)?.load()
}

/// A store of a frame for each of `count` calls.
fn written(path: &Path, count: u32) -> FileStore {
    let mut store = FileStore::open(path).unwrap();
    store.load().unwrap();
    (0..count).for_each(|n| store.append(&spent(n)).unwrap());
    store
}

fn all(count: u32) -> Vec<Change> {
    (0..count).flat_map(spent).collect()
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    assert_eq!(load(&path).unwrap(), []);
    drop(written(&path, 3));
    assert_eq!(load(&path).unwrap(), all(3));
    let mut store = FileStore::open(&path).unwrap();
    store.load().unwrap();
    store.append(&spent(3)).unwrap();
    drop(store);
    assert_eq!(load(&path).unwrap(), all(4));
}

/// A crash leaves any part of the last frame, or zeros in its place. Whatever was synced before is there, and a call that
/// did not return is there as a whole or not at all: the budget is spent, or no report left.
#[test]
fn a_crash_at_any_byte_of_an_append_loses_no_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(written(&path, 2));
    let before = std::fs::read(&path).unwrap().len();
    drop(written(&folder.path().join("longer"), 3));
    let whole = std::fs::read(folder.path().join("longer")).unwrap();
    for cut in before..=whole.len() {
        for zeros in [0, 1, 40] {
            let torn = [&whole[..cut], &vec![0; zeros]].concat();
            std::fs::write(&path, &torn).unwrap();
            let expected = if cut == whole.len() { all(3) } else { all(2) };
            assert_eq!(load(&path).unwrap(), expected, "{cut} {zeros}");
            // What was cut off does not stand in the way of what comes next.
            let mut store = FileStore::open(&path).unwrap();
            store.load().unwrap();
            store.append(&spent(9)).unwrap();
            drop(store);
            assert_eq!(load(&path).unwrap(), [expected, spent(9)].concat());
        }
    }
}

#[test]
fn damage_before_the_last_frame_is_not_taken_for_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(written(&path, 2));
    let earlier = std::fs::read(&path).unwrap().len();
    drop(written(&folder.path().join("longer"), 3));
    let whole = std::fs::read(folder.path().join("longer")).unwrap();
    for at in 0..earlier {
        for flip in [1, 0x80] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            std::fs::write(&path, &damaged).unwrap();
            assert!(matches!(load(&path), Err(StorageError::Damaged(_))), "{at}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged, "a refused file is not changed");
        }
    }
    for cut in 0..MARK.len() + FRAME_HEAD {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(matches!(load(&path), Err(StorageError::Damaged(_))), "{cut}");
    }
}

#[test]
fn what_was_erased_is_in_no_byte_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut store = written(&path, 5);
    let holds = |name: &str| {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let bytes: Vec<u8> = files.flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
        bytes.windows(name.len()).any(|window| window == name.as_bytes())
    };
    assert!(holds("shop-3.example"));
    store.replace(&spent(1)).unwrap();
    assert!(!holds("shop-3.example") && holds("shop-1.example"));
    store.append(&spent(2)).unwrap();
    drop(store);
    assert_eq!(load(&path).unwrap(), [spent(1), spent(2)].concat());
}

#[test]
fn a_crash_while_the_file_is_made_anew_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(written(&path, 2));
    std::fs::write(folder.path().join("state.new"), b"arras").unwrap();
    assert_eq!(load(&path).unwrap(), all(2));
    written(&path, 0).replace(&spent(7)).unwrap();
    assert_eq!(load(&path).unwrap(), spent(7));
}

#[test]
fn a_second_store_of_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let store = written(&path, 1);
    assert!(matches!(FileStore::open(&path), Err(StorageError::InUse)));
    // By another name, too: each had a lock of its own.
    #[cfg(unix)]
    {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(FileStore::open(&link), Err(StorageError::InUse)));
        std::os::unix::fs::symlink(folder.path(), folder.path().join("here")).unwrap();
        assert!(matches!(FileStore::open(folder.path().join("here/state")), Err(StorageError::InUse)));
    }
    drop(store);
    assert_eq!(load(&path).unwrap(), all(1));
}

#[test]
fn nothing_is_appended_before_the_file_was_read_or_after_it_failed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut store = FileStore::open(&path).unwrap();
    assert!(matches!(store.append(&spent(1)), Err(StorageError::Failed)));
    store.load().unwrap();
    // The folder of the new file is gone, so it cannot be made anew.
    let gone = folder.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let mut other = written(&gone.join("state"), 1);
    std::fs::remove_dir_all(&gone).unwrap();
    assert!(matches!(other.replace(&spent(2)), Err(StorageError::Io { .. })));
    assert!(matches!(other.append(&spent(2)), Err(StorageError::Failed)));
}

#[test]
fn a_damaged_file_is_given_up_without_giving_budget_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    std::fs::write(&path, b"something else").unwrap();
    let mut store = FileStore::open(&path).unwrap();
    assert!(matches!(store.load(), Err(StorageError::Damaged(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    let now = Moment::from_millis(5);
    store.replace_damaged(now, false).unwrap();
    assert_eq!(store.load().unwrap(), [Change::Enabled(false), Change::LastClear(now)]);
}

#[test]
fn the_file_is_made_anew_when_it_has_grown() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = written(&folder.path().join("state"), 0);
    assert!(!store.has_grown());
    let frame = FileStore::frame(1, &spent(1)).unwrap().len() as u64;
    for n in 0..MIN_GROWTH / frame + 2 {
        store.append(&spent(u32::try_from(n % 7).unwrap())).unwrap();
    }
    assert!(store.has_grown());
    store.replace(&all(7)).unwrap();
    assert!(!store.has_grown());
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), marked: bool) {
        let bytes = if marked { [&MARK[..], &bytes].concat() } else { bytes };
        let _ = read_frames(&bytes);
        if let Ok(changes) = decode_all(&bytes) {
            let mut again = Vec::new();
            encode_all(&changes, &mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn frames_of_small_bytes_do_no_harm(body in proptest::collection::vec(0..9_u8, 0..60)) {
        let mut frame = vec![0; FRAME_HEAD];
        frame[8..12].copy_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        let crc = checksum(&frame[..12], &body);
        frame[12..].copy_from_slice(&crc.to_be_bytes());
        if let Ok(contents) = read_frames(&[&MARK[..], &frame, &body].concat()) {
            let mut again = Vec::new();
            encode_all(&contents.changes, &mut again);
            prop_assert_eq!(again, body);
        }
    }
}
