#![allow(clippy::unwrap_used)]

use super::*;
use crate::collector::Signature;
use crate::collector::fixture::{CELLS, HISTOGRAM, draft, known_task, week};

fn release(vdaf: &str, cells: &[i128]) -> Release {
    let dir = tempfile::tempdir().unwrap();
    let task = known_task(dir.path(), "http://127.0.0.1:8/", vdaf);
    draft(&task, week(), cells).issue(7, &[6_000_000]).unwrap().published.into_release()
}

#[test]
fn the_table_is_the_golden_one() {
    let release = release(HISTOGRAM, &CELLS);
    assert_eq!(table(&release, None), include_str!("golden.txt"));
    assert_eq!(table(&release, Some(&[1022, 8447, 43, 36, 0])), include_str!("golden_true.txt"));
}

#[test]
fn names_cannot_move_the_cursor_or_break_columns() {
    let mut release = release(HISTOGRAM, &CELLS);
    release.name = Some("a\u{1b}[2J\nb".to_owned());
    release.buckets[1].campaign = Some(format!("x\u{1b}{}", "y".repeat(100)));
    let text = table(&release, None);
    assert!(!text.contains('\u{1b}') && text.contains("yyy..."), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn without_campaigns_every_bucket_has_a_line() {
    let mut release = release(HISTOGRAM, &CELLS);
    for bucket in &mut release.buckets {
        (bucket.campaign, bucket.not_attributed) = (None, false);
    }
    let text = table(&release, None);
    assert!(text.contains("(bucket 0)") && text.contains("(bucket 4)"), "{text}");
    release.vdaf = Measured::Count {};
    release.buckets.truncate(1);
    assert!(table(&release, None).contains("(all)"));
}

/// `arras release show --explain` ended "The signature shows that this is what the collector published, unchanged", also of a
/// file whose signature is broken, and had the line "signed by key".
#[test]
fn nothing_is_said_of_a_signature_that_was_not_checked() {
    let release = release(HISTOGRAM, &CELLS);
    let sum = Sum::from_json(include_bytes!("../sums/golden.json").trim_ascii()).unwrap();
    let texts = |signature| {
        [crate::collector::how_made(&release, signature), crate::collector::how_summed(&sum, signature)]
            .map(|text| text.replace('\n', " "))
    };
    for text in texts(Signature::Unchecked) {
        assert!(
            text.contains("No signature was checked here") && !text.contains("signature shows"),
            "{text}"
        );
    }
    for text in texts(Signature::Verified) {
        assert!(text.contains("The signature shows") && !text.contains("was checked"), "{text}");
    }
    let pairs =
        [(table(&release, None), claimed_table(&release)), (sum_table(&sum), claimed_sum_table(&sum))];
    for (known, claimed) in pairs {
        let line = known.lines().find(|line| line.starts_with("signed     by key ")).unwrap();
        assert_eq!(claimed, known.replace(line, &format!("{line}, it says; not checked")));
    }
}

/// What a text says that would pass for this program's own.
const POISON: &str = "\u{1b}[2J\u{202e}x\r\nverified: signed by key A";

/// Every document that differs from this one in one string.
fn poisoned(json: &serde_json::Value) -> Vec<serde_json::Value> {
    fn strings(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
        match value {
            serde_json::Value::String(_) => found.push(at.to_owned()),
            serde_json::Value::Array(all) => {
                all.iter().enumerate().for_each(|(n, value)| strings(value, &format!("{at}/{n}"), found));
            }
            serde_json::Value::Object(all) => {
                all.iter().for_each(|(key, value)| strings(value, &format!("{at}/{key}"), found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    strings(json, "", &mut found);
    let change = |at: String| {
        let mut json = json.clone();
        *json.pointer_mut(&at).unwrap() = POISON.into();
        json
    };
    found.into_iter().map(change).collect()
}

/// `arras release show` is for files that nobody vouches for. It held back control characters in names alone: a file whose
/// `mechanism`, `confidence`, `noise` or epochs had them could wipe "NOT verified" from the terminal and write the
/// opposite, and so could the error about a `vdaf` of an unknown type.
#[test]
fn no_string_of_a_document_reaches_a_terminal_as_it_is() {
    let check = |text: &str| {
        assert!(text.chars().all(|c| c == '\n' || printable(&c.to_string()) == c.to_string()), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("verified")), "{text}");
    };
    let (mut read, mut refused) = (0, 0);
    let golden = serde_json::from_str(include_str!("../release/golden.json")).unwrap();
    for json in poisoned(&golden) {
        match Release::from_json(&serde_json::to_vec(&json).unwrap()) {
            Ok(release) => {
                check(&table(&release, None));
                check(&claimed_table(&release));
                check(&crate::collector::how_made(&release, Signature::Unchecked));
                read += 1;
            }
            Err(error) => {
                check(&format!("a\n{error}"));
                refused += 1;
            }
        }
    }
    // Names, campaigns, endpoints, the source.
    assert!(read >= 7 && refused >= 25, "{read} {refused}");
    let golden = serde_json::from_str(include_str!("../sums/golden.json")).unwrap();
    let (mut read, mut refused) = (0, 0);
    for json in poisoned(&golden) {
        match Sum::from_json(&serde_json::to_vec(&json).unwrap()) {
            Ok(sum) => {
                check(&sum_table(&sum));
                check(&claimed_sum_table(&sum));
                check(&crate::collector::how_summed(&sum, Signature::Unchecked));
                read += 1;
            }
            Err(error) => {
                check(&format!("a\n{error}"));
                refused += 1;
            }
        }
    }
    assert!(read == 3 && refused >= 25, "{read} {refused}");
}
