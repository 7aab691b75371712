//! Damage to the files of a collector's store, and loss of power; see `damage_tests` and `power_tests` of the store.

#![allow(clippy::format_push_string, reason = "a picture is put together line by line")]

use super::*;
use crate::store::damage_tests::{damage_everything, files, in_bounds, scratch};
use crate::store::power_tests::{Step, cut_power_everywhere};

/// Documents of the second task go through the spool.
const LARGE: &str = "{ type = \"histogram\", length = 64 }";

fn open(home: &Path, faults: Option<Arc<dyn Faults>>) -> Result<CollectorDisk, StoreError> {
    let (dir, mark) = (home.join("store"), home.join("mark"));
    CollectorDisk::open_on(&dir, &mark, faults.map_or_else(Disk::default, Disk::with_faults))
}

fn tasks() -> [Place; 2] {
    [Place::new(), Place::with(LARGE)]
}

fn finish(task: usize, from: u64, to: u64) -> Step<CollectorDisk> {
    Step::new(move |store: &CollectorDisk| {
        let place = &tasks()[task];
        let (window, interval) = hours(from, to);
        let cells: Vec<i128> =
            (0..place.task.task.vdaf().config().output_len()).map(|cell| 1000 + cell as i128).collect();
        store.finish(place.id(), interval, draft(&place.task, window, &cells)).unwrap();
    })
}

fn begin(task: usize, from: u64, to: u64) -> Step<CollectorDisk> {
    Step::new(move |store: &CollectorDisk| {
        store.begin(tasks()[task].id(), hours(from, to).1, b"request", 0).unwrap();
    })
}

/// Windows released, large and small, refused, and under way.
fn life() -> Vec<Step<CollectorDisk>> {
    let locate = Step::new(|store: &CollectorDisk| {
        store.set_location(tasks()[0].id(), hours(0, 24).1, Some("http://leader/job")).unwrap();
    });
    let fail = Step::new(|store: &CollectorDisk| {
        store.fail(tasks()[0].id(), hours(24, 48).1, "the reason").unwrap();
    });
    let mut steps = vec![begin(0, 0, 24), locate, finish(0, 0, 24), begin(0, 24, 48), fail];
    for day in 0..4 {
        steps.extend([begin(1, day * 24, day * 24 + 24), finish(1, day * 24, day * 24 + 24)]);
    }
    steps.extend([begin(1, 100, 124), begin(0, 72, 96), finish(0, 72, 96)]);
    steps
}

fn view(store: &CollectorDisk) -> Result<String, StoreError> {
    let mut view = String::new();
    for sequence in 0..9 {
        let release = store.release(sequence)?;
        view += &format!(
            "{:?} {:?}\n",
            release.as_ref().map(Published::signed),
            store.with_cells(sequence)?.map(|(_, cells)| cells)
        );
    }
    for place in tasks() {
        let (collections, failures) =
            (store.collections(place.id(), 0, 100)?, store.failures(place.id(), 100)?);
        view += &format!("{collections:?} {failures:?}\n");
    }
    Ok(view)
}

#[test]
fn a_damaged_collectors_store_is_refused_or_whole() {
    let name = "collector::store::disk::tests::files::a_damaged_collectors_store_is_refused_or_whole";
    in_bounds(name, || {
        let home = scratch();
        let mut older = Vec::new();
        for (number, step) in life().iter().enumerate() {
            (step.run)(&open(home.path(), None).unwrap());
            if number % 5 == 2 {
                older.push(files(home.path()));
            }
        }
        damage_everything(&files(home.path()), &older, |home| view(&open(home, None)?));
    });
}

#[test]
fn a_collector_survives_a_loss_of_power() {
    cut_power_everywhere(open, &life(), view);
}

/// Found by reading: when the end of the documents' file was lost, the next document was given the lost one's place, and
/// the earlier release then showed the later one's numbers.
#[test]
fn a_lost_document_gives_its_place_to_no_other() {
    let home = scratch();
    for step in [begin(1, 0, 24), finish(1, 0, 24)] {
        (step.run)(&open(home.path(), None).unwrap());
    }
    let segment = home.path().join("store/releases/00000001.seg");
    fs::write(&segment, &fs::read(&segment).unwrap()[..40]).unwrap();
    let before = files(home.path());
    let refused = open(home.path(), None).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { damage: Damage::EndsEarly, .. }), "{refused}");
    assert_eq!(files(home.path())[Path::new("store/releases/00000001.seg")].len(), 40);
    assert_eq!(before.len(), files(home.path()).len());
}
