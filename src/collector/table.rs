//! A release as plain text, for terminals.

use std::fmt::Write as _;

use crate::collector::release::{Bucket, Cell, Measured, Release};
use crate::collector::words;
use crate::text::{counted, printable};

/// Longest name that is printed whole, in characters; longer ones would break the columns of most terminals.
const NAME_CHARACTERS_MAX: usize = 40;

/// One line of the table below the header lines.
struct Row {
    name: String,
    estimate: String,
    interval: String,
    truth: String,
}

/// The table of a release. `truth` holds the exact number of each bucket, for demonstrations with known
/// data: it adds a column. Buckets that no campaign has are left out if others have one, unless they are
/// shown.
pub fn table(release: &Release, truth: Option<&[u64]>) -> String {
    let mut out = String::new();
    for (label, text) in header(release) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{label:<11}{text}");
    }
    out.push('\n');
    let has_campaigns = release.buckets.iter().any(|bucket| bucket.campaign.is_some());
    let (rows, left_out): (Vec<_>, Vec<_>) = release.buckets.iter().partition(|bucket| {
        !has_campaigns
            || bucket.campaign.is_some()
            || bucket.not_attributed
            || matches!(bucket.cell, Cell::Shown(_))
    });
    let mut lines = vec![Row {
        name: if has_campaigns { "campaign" } else { "bucket" }.to_owned(),
        estimate: "estimate".to_owned(),
        interval: format!("{}% interval", release.confidence.trim_start_matches("0.")),
        truth: "true".to_owned(),
    }];
    lines.extend(rows.into_iter().map(|bucket| row(bucket, release, truth)));
    write_rows(&mut out, &lines, truth.is_some());
    if !left_out.is_empty() {
        let _ = writeln!(out, "({} without a campaign, suppressed)", counted(left_out.len(), "bucket"));
    }
    out
}

fn header(release: &Release) -> Vec<(&'static str, String)> {
    let policy = &release.policy;
    let task = match release.name.as_deref().map(short) {
        Some(name) if !name.is_empty() => format!("{name} ({})", release.task),
        _ => release.task.clone(),
    };
    let mut lines = vec![
        ("release", release.sequence.to_string()),
        ("task", task),
        ("window", release.window.to_string()),
        ("reports", format!("{}, from {}", release.report_count, release.reports)),
        ("noise", format!("{}, {}", policy.mechanism, words::scales(&release.noise))),
        (
            "epsilon",
            format!(
                "{} for each report; sensitivity {}, {} from one device",
                policy.epsilon,
                policy.sensitivity,
                counted(policy.contributions, "report"),
            ),
        ),
        ("threshold", words::threshold(release)),
        ("charged", words::charged(&release.charge)),
    ];
    lines.extend(words::spent(&release.charge).map(|spent| ("spent", spent)));
    lines.push(("signed", words::signed(release)));
    lines
}

fn row(bucket: &Bucket, release: &Release, truth: Option<&[u64]>) -> Row {
    let name = match (&bucket.campaign, bucket.not_attributed, release.vdaf) {
        (Some(campaign), ..) => short(campaign),
        (None, true, _) => "(not attributed)".to_owned(),
        (None, false, Measured::Count {}) => "(all)".to_owned(),
        (None, false, _) => format!("(bucket {})", bucket.bucket),
    };
    let (estimate, interval) = match &bucket.cell {
        Cell::Suppressed => ("suppressed".to_owned(), String::new()),
        Cell::Shown(cell) => (words::number(cell), format!("{} to {}", cell.low, cell.high)),
    };
    let exact = truth
        .zip(usize::try_from(bucket.bucket).ok())
        .and_then(|(truth, index)| truth.get(index))
        .map_or_else(String::new, u64::to_string);
    Row { name, estimate, interval, truth: exact }
}

fn write_rows(out: &mut String, rows: &[Row], with_truth: bool) {
    let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
    let names = width(|row| &row.name);
    let estimates = width(|row| &row.estimate);
    let intervals = width(|row| &row.interval);
    let truths = width(|row| &row.truth);
    for Row { name, estimate, interval, truth } in rows {
        let mut line = format!("{name:<names$}  {estimate:>estimates$}  {interval:<intervals$}");
        if with_truth {
            let _ = write!(line, "  {truth:>truths$}");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// A name as it is printed, cut to a length.
pub(super) fn short(name: &str) -> String {
    if name.chars().count() <= NAME_CHARACTERS_MAX {
        return printable(name);
    }
    let cut: String = name.chars().take(NAME_CHARACTERS_MAX - 3).collect();
    format!("{}...", printable(&cut))
}

#[cfg(test)]
mod tests;
