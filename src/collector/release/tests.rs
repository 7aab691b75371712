#![allow(clippy::unwrap_used)]

use super::*;
use crate::collector::fixture::{CELLS, HISTOGRAM, HOUR, MONDAY, draft, known_task, span, week};

fn release_of(vdaf: &str, cells: &[i128]) -> Release {
    let dir = tempfile::tempdir().unwrap();
    let task = known_task(dir.path(), "http://127.0.0.1:8/", vdaf);
    draft(&task, week(), cells).numbered(7)
}

#[test]
fn the_document_is_the_golden_one() {
    let release = release_of(HISTOGRAM, &CELLS);
    let pretty = serde_json::to_string_pretty(&release).unwrap();
    assert_eq!(pretty.trim_end(), include_str!("golden.json").trim_end());
    assert_eq!(Release::from_json(&release.to_json()).unwrap(), release);
    assert_eq!(Release::from_json(pretty.as_bytes()).unwrap(), release);
}

#[test]
fn what_is_suppressed_leaves_no_trace() {
    // Numbers that nothing else in a release contains.
    let secret = [-7_654_321, 31];
    let cells = [5_000, secret[0], 6_000, secret[1], 7_000];
    let release = release_of(HISTOGRAM, &cells);
    let forms = [
        format!("{release:?}"),
        format!("{release:#?}"),
        String::from_utf8(release.to_json()).unwrap(),
        serde_json::to_string_pretty(&release).unwrap(),
        crate::collector::table(&release, None),
    ];
    for form in forms {
        assert!(!form.contains("7654321"), "{form}");
        assert!(form.to_lowercase().contains("suppressed"), "{form}");
    }
    let suppressed: Vec<_> =
        release.buckets.iter().filter(|bucket| bucket.cell == Cell::Suppressed).collect();
    assert_eq!(suppressed.len(), 2);
    // 31 occurs in other places of a whole document; a suppressed bucket has no digit but its index.
    let json = serde_json::to_string(suppressed[1]).unwrap();
    assert_eq!(json, r#"{"bucket":3,"campaign":"gamma","suppressed":true}"#);
    assert!(format!("{:?}", suppressed[1]).ends_with("cell: Suppressed }"));
    // Any other secret gives the same document, byte for byte.
    let other = release_of(HISTOGRAM, &[5_000, 0, 6_000, 39, 7_000]);
    assert_eq!(other.to_json(), release.to_json());
}

#[test]
fn estimates_are_never_clamped_and_large_ones_are_exact() {
    let large = i128::from(u64::MAX) * 1000 + 1;
    let release = release_of(HISTOGRAM, &[large, 40, 41, 42, 43]);
    let Cell::Shown(estimate) = &release.buckets[0].cell else { panic!("shown") };
    assert_eq!(estimate.estimate, large);
    let text = String::from_utf8(release.to_json()).unwrap();
    assert!(text.contains(&format!("\"{large}\"")));
    assert_eq!(Release::from_json(text.as_bytes()).unwrap(), release);
}

#[test]
fn a_value_bucket_is_held_against_the_threshold_itself() {
    let release =
        release_of("{ type = \"l1-bound-sum\", length = 5, max_value = 1000 }", &[0, 90_000, 39, 40, 0]);
    assert_eq!(release.vdaf, Measured::L1BoundSum { length: 5, max_value: 1000 });
    assert_eq!(release.noise_scale, "2000/1");
    let shown: Vec<bool> =
        release.buckets.iter().map(|bucket| matches!(bucket.cell, Cell::Shown(_))).collect();
    assert_eq!(shown, [false, true, false, true, false]);
    // All zero, not bucket 0, is how a value task says "not attributed".
    assert!(release.buckets.iter().all(|bucket| !bucket.not_attributed));
}

#[test]
fn a_bucket_is_shown_or_suppressed_and_never_both() {
    let shown = r#"{"bucket":1,"campaign":null,"shown":{"estimate":"-1","standard_error":"1.000","low":"0","high":"3"}}"#;
    assert!(serde_json::from_str::<Bucket>(shown).is_ok());
    for wrong in [
        r#"{"bucket":1,"campaign":null}"#.to_owned(),
        r#"{"bucket":1,"campaign":null,"suppressed":false}"#.to_owned(),
        shown.replace("\"campaign\":null", "\"campaign\":null,\"suppressed\":true"),
        shown.replace("\"-1\"", "-1"),
        shown.replace("\"-1\"", "\"-1.5\""),
    ] {
        assert!(serde_json::from_str::<Bucket>(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn another_layout_is_refused_and_new_fields_are_not() {
    let text = String::from_utf8(release_of(HISTOGRAM, &CELLS).to_json()).unwrap();
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert!(matches!(Release::from_json(newer.as_bytes()), Err(ReadError::Version(2))));
    let richer = text.replacen("\"version\":1", "\"version\":1,\"signature\":\"x\"", 1);
    assert!(Release::from_json(richer.as_bytes()).is_ok());
    assert!(matches!(Release::from_json(b"{}"), Err(ReadError::Json(_))));
}

#[test]
fn every_epoch_that_the_window_touches_is_charged() {
    let dir = tempfile::tempdir().unwrap();
    let task = known_task(dir.path(), "http://127.0.0.1:8/", HISTOGRAM);
    let start = MONDAY - 7 * 24 * HOUR;
    let epochs = |window, epoch_start| {
        let charge = Charged::of(&task, window, epoch_start).unwrap();
        assert_eq!(charge.epsilon_per_epoch, "2");
        charge.epochs.map(|epochs| epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<_>>())
    };
    assert_eq!(epochs(week(), Some(start)), Some(vec![1]));
    assert_eq!(epochs(span(MONDAY - HOUR, MONDAY + HOUR), Some(start)), Some(vec![0, 1]));
    assert_eq!(epochs(week(), None), None);
    let before = Charged::of(&task, week(), Some(MONDAY + 1));
    assert!(matches!(before, Err(LedgerError::BeforeFirstEpoch { .. })));
    let years = Charged::of(&task, span(MONDAY, MONDAY + 60 * 7 * 24 * HOUR), Some(start));
    assert!(matches!(years, Err(LedgerError::TooManyEpochs { .. })));
}
