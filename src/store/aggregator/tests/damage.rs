//! Damage to the files of a leader's and a helper's store; see [`crate::store::damage_tests`].

use super::worlds::{
    Act, helper_life, leader_life, open_helper, open_leader, view_helper, view_leader, work_off,
};
use super::*;
use crate::store::damage_tests::{damage_everything, files, in_bounds};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Lives a life; gives the files as they are at the end, and as they were at some moments before.
fn live<S>(open: impl Fn(&Path) -> S, acts: &[Act<S>], close: impl Fn(&S)) -> (Files, Vec<Files>) {
    let home = tempfile::tempdir().unwrap();
    let mut older = Vec::new();
    let mut store = Some(open(home.path()));
    for (number, act) in acts.iter().enumerate() {
        act(store.as_ref().unwrap());
        if number % 5 == 4 {
            // sled writes some of its files at their end only when it is closed.
            close(store.as_ref().unwrap());
            drop(store.take());
            older.push(files(home.path()));
            store = Some(open(home.path()));
        }
    }
    close(store.as_ref().unwrap());
    drop(store);
    (files(home.path()), older)
}

#[test]
fn a_damaged_leaders_store_is_refused_or_whole() {
    in_bounds("store::aggregator::tests::damage::a_damaged_leaders_store_is_refused_or_whole", || {
        let (now, older) = live(
            |home| open_leader(home, None).unwrap(),
            &leader_life(),
            |leader| leader.note_reports().unwrap(),
        );
        damage_everything(&now, &older, |home| {
            let leader = open_leader(home, None)?;
            let view = view_leader(&leader)?;
            Ok(view + &work_off(&leader)?)
        });
    });
}

#[test]
fn a_damaged_helpers_store_is_refused_or_whole() {
    in_bounds("store::aggregator::tests::damage::a_damaged_helpers_store_is_refused_or_whole", || {
        let (now, older) = live(|home| open_helper(home, None).unwrap(), &helper_life(), |_| {});
        damage_everything(&now, &older, |home| view_helper(&open_helper(home, None)?));
    });
}
