#![allow(clippy::unwrap_used)]

use super::*;
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
