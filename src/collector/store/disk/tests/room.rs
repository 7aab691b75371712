//! Room for releases before they are made.

use super::*;
use crate::collector::fixture::{draft_following, known_task_with, signer};
use crate::collector::release::{Charged, Opened};

/// A bound of two releases of 30,000 bytes, and not of three.
const BOUND: u64 = 70_000;
const BYTES: u64 = 30_000;

fn bounded(place: &Place) -> CollectorDisk {
    let (dir, mark) = place.paths();
    CollectorDisk::open_bounded(&dir, &mark, BOUND, Disk::default()).unwrap()
}

fn is_full(begun: Result<Begun, BeginError>) -> bool {
    matches!(begun, Err(BeginError::Store(error)) if error.is_full())
}

/// Windows were asked for, and so charged, when the store had no room for what they would bring.
#[test]
fn no_window_begins_without_room_for_its_release() {
    let place = Place::new();
    let (id, [first, second, third]) = (place.id(), [0, 1, 2].map(|day| hours(24 * day, 24 * (day + 1))));
    let store = bounded(&place);
    store.check().unwrap();
    store.begin(id, first.1, b"a", BYTES).unwrap();
    store.check().unwrap();
    store.begin(id, second.1, b"b", BYTES).unwrap();
    assert!(is_full(store.begin(id, third.1, b"c", BYTES)));
    assert!(store.check().unwrap_err().is_full(), "/readyz says so");
    // Nothing was kept of it; what fits the state needs no room.
    assert_eq!(store.collections(id, third.1.start().0, 1).unwrap(), []);
    store.begin(id, third.1, b"c", 1_000).unwrap();
    store.fail(id, third.1, "refused").unwrap();

    // A restart knows of what is promised, also after a window's job has got a place.
    store.set_location(id, second.1, Some("http://leader/job")).unwrap();
    drop(store);
    let store = bounded(&place);
    assert!(store.check().unwrap_err().is_full(), "before anything is asked for");
    assert!(is_full(store.begin(id, third.1, b"c", BYTES)));
    // Those that are under way go on.
    assert_eq!(store.begin(id, first.1, b"x", BYTES).unwrap(), under_way(b"a", None));
    // A release takes what it takes, and gives back the rest.
    store.finish(id, first.1, place.draft(first.0)).unwrap();
    store.begin(id, third.1, b"c", BYTES).unwrap();
    let fourth = hours(72, 96).1;
    assert!(is_full(store.begin(id, fourth, b"d", BYTES)));
    store.fail(id, second.1, "refused").unwrap();
    store.begin(id, fourth, b"d", BYTES).unwrap();
}

/// What is kept for a release must do for the largest that can come, or it would be paid for and not be kept.
#[test]
fn no_release_takes_more_than_was_kept_for_it() {
    let place = Place::new();
    let (window, interval) = hours(0, 24);
    for (vdaf, most) in [
        ("{ type = \"count\" }", 1),
        (HISTOGRAM, 1),
        ("{ type = \"histogram\", length = 1024 }", 1),
        ("{ type = \"l1-bound-sum\", length = 64, max_value = 4000000000 }", 4_000_000_000),
    ] {
        let task = known_task_with(&place.dir.path().join("tasks"), "http://127.0.0.1:8/", vdaf, |file| {
            if vdaf.contains("count") {
                file.campaigns.clear();
            }
        });
        let charge = Charged::of(&task, window, Some(MONDAY - 21 * 24 * HOUR)).unwrap();
        let bytes = Draft::bytes_max(&task, (window, interval), charge.clone(), None, &signer()).unwrap();
        let len = task.task.vdaf().config().output_len();
        let all = i128::from(arras_protocol::task::MAX_BATCH_REPORTS) * most;
        let slack = i128::try_from(2 * task.policy.noise_slack()).unwrap();
        for cell in [0, 41, 20_000, all / 2, all, all + slack, -slack] {
            let opened = Opened {
                window,
                reports: interval,
                report_count: arras_protocol::task::MAX_BATCH_REPORTS,
                cells: vec![cell; len].into(),
                charge: charge.clone(),
                collector_hpke: u8::MAX,
            };
            let draft = Draft::new(&task, opened, None, &signer()).unwrap();
            let issued = draft.issue(u64::MAX, &[u64::MAX; 2]).unwrap();
            let signed = issued.published.signed().unwrap();
            let taken = record::encode(signed, &issued.cells).unwrap().len() as u64;
            assert!(taken <= bytes, "{vdaf}, {cell}: {taken} of {bytes}");
        }
        // Not so much more that room would be refused for nothing.
        let usual = draft_following(&task, window, &vec![1_000 * most; len], None).issue(7, &[]).unwrap();
        let usual = record::encode(usual.published.signed().unwrap(), &usual.cells).unwrap().len() as u64;
        assert!(bytes < 2 * usual + 4_096, "{vdaf}: {bytes} for {usual}");
    }
}
