#![allow(clippy::unwrap_used)]

use super::*;
use arras_protocol::signed::{self, DocumentType};

use crate::collector::fixture::{
    CELLS, HISTOGRAM, HOUR, MONDAY, VALUES, draft, draft_following, known_task, known_task_with, signer,
    span, week,
};

/// What the epoch is charged with the release, in micro-epsilon.
const SPENT: [u64; 1] = [6_000_000];

fn published(vdaf: &str, cells: &[i128]) -> Published {
    let dir = tempfile::tempdir().unwrap();
    let task = known_task(dir.path(), "http://127.0.0.1:8/", vdaf);
    draft(&task, week(), cells).issue(7, &SPENT).unwrap().published
}

fn release_of(vdaf: &str, cells: &[i128]) -> Release {
    published(vdaf, cells).into_release()
}

#[test]
fn the_document_is_the_golden_one() {
    let release = release_of(HISTOGRAM, &CELLS);
    let pretty = serde_json::to_string_pretty(&release).unwrap();
    assert_eq!(pretty.trim_end(), include_str!("golden.json").trim_end());
    assert_eq!(Release::from_json(&release.to_json()).unwrap(), release);
    assert_eq!(Release::from_json(pretty.as_bytes()).unwrap(), release);
}

/// The document of the version before, as stores hold it.
#[test]
fn a_release_from_before_they_were_signed_is_read() {
    let release = Release::from_json(include_bytes!("golden_1.json")).unwrap();
    assert_eq!((release.version, release.keys.as_ref(), release.conversions.as_ref()), (1, None, None));
    let both = "2/1".to_owned();
    assert_eq!(release.noise, NoiseScales { leader: both.clone(), helper: both });
    let today = release_of(HISTOGRAM, &CELLS);
    assert_eq!(release.buckets, today.buckets);
    assert_eq!(release.charge.epochs.as_ref().unwrap()[0].spent, None);
    let table = crate::collector::table(&release, None);
    assert!(table.contains("from before releases were signed"), "{table}");
}

#[test]
fn the_exact_bytes_are_signed_and_every_other_byte_is_refused() {
    let published = published(HISTOGRAM, &CELLS);
    let keys = [*signer().public_key()];
    let text = published.signed().unwrap();
    let verified = signed::verify(&keys, DocumentType::Release, text).unwrap();
    assert_eq!(verified.document(), published.document());
    assert_eq!(published.document(), published.release().to_json());
    assert_eq!(published.release().keys.as_ref().unwrap().signing, verified.key().to_string());
    for position in 0..text.len() {
        let mut changed = text.as_bytes().to_vec();
        changed[position] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert!(signed::verify(&keys, DocumentType::Release, &changed).is_err(), "{position}");
    }
    // As a document of another kind it is not accepted.
    assert!(signed::verify(&keys, DocumentType::Sum, text).is_err());
    assert_eq!(Published::from_signed(text.to_owned()).unwrap(), published);
}

/// Signed by another implementation.
#[test]
fn a_signed_release_is_the_vector() {
    let vector = include_str!("../../../protocol/vectors/arras-1/release.jws").trim_end();
    assert_eq!(published(HISTOGRAM, &CELLS).signed(), Some(vector));
    let verified = signed::verify(&[*signer().public_key()], DocumentType::Release, vector).unwrap();
    assert_eq!(Release::from_json(verified.document()).unwrap(), release_of(HISTOGRAM, &CELLS));
}

/// A plain DAP task carries no policy: a collector that was configured with another epsilon than the aggregators signed
/// intervals as exact, without a word about it.
#[test]
fn terms_that_no_task_binds_are_called_the_collectors_own() {
    let dir = tempfile::tempdir().unwrap();
    let plain = |file: &mut crate::tasks::TaskFile| file.profile = crate::tasks::author::ProfileChoice::Plain;
    let task = known_task_with(dir.path(), "http://127.0.0.1:8/", HISTOGRAM, plain);
    let release = draft(&task, week(), &CELLS).issue(7, &SPENT).unwrap().published.into_release();
    let bound = release_of(HISTOGRAM, &CELLS);
    assert!(bound.policy.bound && !release.policy.bound);
    let json = |release: &Release| String::from_utf8(release.to_json()).unwrap();
    assert!(json(&release).contains(r#""threshold":40,"bound":false}"#), "{}", json(&release));
    assert!(!json(&bound).contains("bound\":"), "left out of others");
    assert_eq!(Release::from_json(&release.to_json()).unwrap(), release);
    let words = |release: &Release| {
        crate::collector::how_made(release, crate::collector::Signature::Verified).replace('\n', " ")
    };
    assert!(words(&release).contains("the collector's own terms") && !words(&bound).contains("own terms"));
    assert!(words(&bound).contains("Whether it did cannot be seen from here."), "{}", words(&bound));
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

/// Values were held against the threshold itself: with a maximum of 1,000 a single purchase passed one of 40, and many
/// small ones did not.
#[test]
fn a_value_bucket_shows_exactly_where_its_conversions_do() {
    let conversions = release_of(HISTOGRAM, &[1024, 8451, 40, 39, -3]);
    let dir = tempfile::tempdir().unwrap();
    let task = known_task(dir.path(), "http://127.0.0.1:8/", VALUES);
    let cells = [-5_000, 90_000, 3, 1_000_000, 900];
    let draft = draft_following(&task, week(), &cells, Some(&conversions));
    let release = draft.issue(8, &SPENT).unwrap().published.into_release();
    assert_eq!(release.vdaf, Measured::L1BoundSum { length: 5, max_value: 1000 });
    assert_eq!(release.noise.leader, "2000/1");
    let shown: Vec<bool> = (0..5).map(|bucket| release.shows(bucket)).collect();
    assert_eq!(shown, [true, true, true, false, false]);
    assert_eq!(release.conversions, Some(Conversions { task: conversions.task, sequence: 7 }));
    // All zero, not bucket 0, is how a value task says "not attributed".
    assert!(release.buckets.iter().all(|bucket| !bucket.not_attributed));
    // A value that is shown may be negative; as a number it is in the document only.
    let Cell::Shown(estimate) = &release.buckets[0].cell else { panic!("shown") };
    assert_eq!((estimate.estimate, estimate.low), (-5_000, 0));
    let table = crate::collector::table(&release, None);
    assert!(table.contains("unclear") && !table.contains("-5000"), "{table}");
    assert!(table.contains("where release 7 shows its conversions"), "{table}");
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
    for version in [0, 3] {
        let other = text.replacen("\"version\":2", &format!("\"version\":{version}"), 1);
        assert!(matches!(Release::from_json(other.as_bytes()), Err(ReadError::Version(_))), "{version}");
    }
    let richer = text.replacen("\"version\":2", "\"version\":2,\"more\":\"x\"", 1);
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
