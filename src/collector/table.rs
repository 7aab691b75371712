//! A release as plain text, for terminals.

use std::fmt::Write as _;

use crate::collector::release::{Bucket, Cell, Measured, Release};
use crate::collector::sums::Sum;
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
    release_table(release, truth, false)
}

/// [`table`] of a release that nobody vouches for: the key is what it claims.
pub fn claimed_table(release: &Release) -> String {
    release_table(release, None, true)
}

fn release_table(release: &Release, truth: Option<&[u64]>, claimed: bool) -> String {
    let mut out = String::new();
    for (label, text) in header(release, claimed) {
        line(&mut out, &format!("{label:<11}{text}"));
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
        line(&mut out, &format!("({} without a campaign, suppressed)", counted(left_out.len(), "bucket")));
    }
    out
}

/// Puts a line into a table. All texts of a document come through here: it may be of a file that nobody vouches for, and a
/// line break or a terminal's control sequence in any of its strings could write what this program would ("verified").
fn line(out: &mut String, text: &str) {
    out.push_str(printable(text).trim_end());
    out.push('\n');
}

/// The table of a sum. What the sum does not cover is named first.
pub fn sum_table(sum: &Sum) -> String {
    table_of_sum(sum, false)
}

/// [`sum_table`] of a sum that nobody vouches for: the key is what it claims.
pub fn claimed_sum_table(sum: &Sum) -> String {
    table_of_sum(sum, true)
}

fn table_of_sum(sum: &Sum, claimed: bool) -> String {
    let mut out = String::new();
    for (label, text) in sum_header(sum, claimed) {
        line(&mut out, &format!("{label:<11}{text}"));
    }
    for gap in &sum.gaps {
        line(&mut out, &format!("{:<11}{}: {}", "not in it", gap.span, words::gap(gap)));
    }
    out.push('\n');
    let has_campaigns = sum.rows.iter().any(|row| row.campaign.is_some());
    let (rows, left_out): (Vec<_>, Vec<_>) = sum.rows.iter().partition(|row| {
        !has_campaigns
            || row.campaign.is_some()
            || row.not_attributed
            || row.buckets.len() > 1
            || matches!(row.cell, Cell::Shown(_))
    });
    let mut lines = vec![Row {
        name: if has_campaigns { "campaign" } else { "bucket" }.to_owned(),
        estimate: "estimate".to_owned(),
        interval: format!("{}% interval", sum.confidence.trim_start_matches("0.")),
        truth: String::new(),
    }];
    lines.extend(rows.into_iter().map(|row| {
        let name = match (&row.campaign, row.not_attributed, &row.buckets[..], sum.vdaf) {
            (Some(campaign), ..) => short(campaign),
            (None, true, ..) => "(not attributed)".to_owned(),
            (None, false, [_], Measured::Count {}) => "(all)".to_owned(),
            (None, false, [bucket], _) => format!("(bucket {bucket})"),
            (None, false, buckets, _) => format!("(the {} campaigns together)", buckets.len()),
        };
        let (estimate, interval) = cell(&row.cell, sum.conversions.is_some());
        Row { name, estimate, interval, truth: String::new() }
    }));
    write_rows(&mut out, &lines, false);
    if !left_out.is_empty() {
        line(&mut out, &format!("({} without a campaign, suppressed)", counted(left_out.len(), "bucket")));
    }
    out
}

fn sum_header(sum: &Sum, claimed: bool) -> Vec<(&'static str, String)> {
    let threshold = |buckets: fn(usize) -> bool| {
        sum.rows.iter().find(|row| buckets(row.buckets.len())).map(|row| row.threshold.to_string())
    };
    let unit = if sum.conversions.is_some() { " of their conversions" } else { "" };
    let thresholds = match (threshold(|buckets| buckets == 1), threshold(|buckets| buckets > 1)) {
        (Some(one), Some(together)) => format!("{one}{unit}, {together} for all together"),
        (one, together) => format!("{}{unit}", one.or(together).unwrap_or_default()),
    };
    let noise: Vec<String> = sum.noise.iter().map(words::noise_share).collect();
    vec![
        ("sum of", counted(sum.windows.len(), "window")),
        ("task", task(sum.name.as_deref(), &sum.task)),
        ("range", sum.range.to_string()),
        ("reports", sum.report_count.to_string()),
        ("noise", format!("{}, from each of the two aggregators", noise.join("; "))),
        ("threshold", format!("{thresholds}; below it a number is suppressed")),
        ("charged", "nothing: it is made of numbers that were released".to_owned()),
        ("signed", words::signed(Some(&sum.keys.signing), claimed)),
    ]
}

fn task(name: Option<&str>, id: &str) -> String {
    match name.map(short) {
        Some(name) if !name.is_empty() => format!("{name} ({})", printable(id)),
        _ => printable(id),
    }
}

fn header(release: &Release, claimed: bool) -> Vec<(&'static str, String)> {
    let policy = &release.policy;
    let mut lines = vec![
        ("release", release.sequence.to_string()),
        ("task", task(release.name.as_deref(), &release.task)),
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
    let key = release.keys.as_ref().map(|keys| keys.signing.as_str());
    lines.push(("signed", words::signed(key, claimed)));
    lines
}

fn row(bucket: &Bucket, release: &Release, truth: Option<&[u64]>) -> Row {
    let name = match (&bucket.campaign, bucket.not_attributed, release.vdaf) {
        (Some(campaign), ..) => short(campaign),
        (None, true, _) => "(not attributed)".to_owned(),
        (None, false, Measured::Count {}) => "(all)".to_owned(),
        (None, false, _) => format!("(bucket {})", bucket.bucket),
    };
    let (estimate, interval) = cell(&bucket.cell, release.conversions.is_some());
    let exact = truth
        .zip(usize::try_from(bucket.bucket).ok())
        .and_then(|(truth, index)| truth.get(index))
        .map_or_else(String::new, u64::to_string);
    Row { name, estimate, interval, truth: exact }
}

/// A number and its interval. Of a value its conversions are known.
fn cell(cell: &Cell, of_values: bool) -> (String, String) {
    match cell {
        Cell::Suppressed => ("suppressed".to_owned(), String::new()),
        Cell::Shown(cell) if of_values => (words::value(cell), words::interval(cell)),
        Cell::Shown(cell) => (words::number(cell), words::interval(cell)),
    }
}

fn write_rows(out: &mut String, rows: &[Row], with_truth: bool) {
    let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
    let names = width(|row| &row.name);
    let estimates = width(|row| &row.estimate);
    let intervals = width(|row| &row.interval);
    let truths = width(|row| &row.truth);
    for Row { name, estimate, interval, truth } in rows {
        let mut text = format!("{name:<names$}  {estimate:>estimates$}  {interval:<intervals$}");
        if with_truth {
            // Writing to a string cannot fail.
            let _ = write!(text, "  {truth:>truths$}");
        }
        line(out, &text);
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
