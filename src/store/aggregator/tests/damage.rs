//! Damage to the files of a leader's and a helper's store; see [`crate::store::damage_tests`].

use std::fs;

use super::worlds::{helper_life, leader_life, open_helper, open_leader, view_helper, view_leader, work_off};
use super::*;
use crate::store::Damage;
use crate::store::damage_tests::{damage_everything, files, in_bounds, scratch};
use crate::store::power_tests::Step;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Lives a life; gives the files as they are at the end, and as they were at some moments before.
fn live<S>(open: impl Fn(&Path) -> S, steps: &[Step<S>], close: impl Fn(&S)) -> (Files, Vec<Files>) {
    let home = scratch();
    let mut older = Vec::new();
    let mut store = Some(open(home.path()));
    for (number, step) in steps.iter().enumerate() {
        (step.run)(store.as_ref().unwrap());
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

/// Uploads alone wrote no row: an older copy of a reports file, or an empty folder, lost acknowledged reports in silence.
#[test]
fn an_older_copy_of_a_reports_file_is_missed_once_its_end_was_noted() {
    let task = histogram();
    for (emptied, noted) in [(false, true), (true, true), (false, false)] {
        let place = Place::new();
        let leader = place.leader();
        leader.opt_in(task.id(), &record(&task)).unwrap();
        upload_ok(&leader, &task, &keys(0..5, 0));
        let segment = place.options().dir.join(format!("reports/{}/00000001.seg", task.id()));
        let older = fs::read(&segment).unwrap();
        upload_ok(&leader, &task, &keys(5..9, 0));
        if noted {
            leader.note_reports().unwrap();
        }
        drop(leader);
        if emptied {
            fs::remove_file(&segment).unwrap();
        } else {
            fs::write(&segment, &older).unwrap();
        }
        match place.try_leader() {
            Err(StoreError::Corrupt { damage: Damage::EndsEarly, file, .. }) if noted => {
                assert_eq!(file, segment);
            }
            // What stays unnoticed, as the threat model says: acknowledged after the last note, by a process that was
            // killed before the next one.
            Ok(leader) if !noted => assert_eq!(queued(&leader, &task), keys(0..5, 0)),
            other => panic!("noted: {noted}, emptied: {emptied}: {other:?}"),
        }
    }
}

/// What was acknowledged before a start is noted by it, also after a process that was killed.
#[test]
fn a_start_notes_what_it_finds() {
    let task = histogram();
    let place = Place::new();
    let leader = place.leader();
    leader.opt_in(task.id(), &record(&task)).unwrap();
    upload_ok(&leader, &task, &keys(0..5, 0));
    drop(leader);
    drop(place.leader());
    let segment = place.options().dir.join(format!("reports/{}/00000001.seg", task.id()));
    fs::write(&segment, &fs::read(&segment).unwrap()[..60]).unwrap();
    assert!(matches!(place.try_leader(), Err(StoreError::Corrupt { .. })));
}
