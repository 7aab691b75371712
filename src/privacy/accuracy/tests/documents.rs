//! Numbers in `docs/privacy.md` are computed.

use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/privacy.md");

/// The rows of the table whose head starts so, as cells.
pub(super) fn table(head: &str) -> Vec<Vec<&'static str>> {
    let lines = DOCUMENT.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_table_of_thresholds_is_right() {
    let rows = table("| epsilon | Count | Histogram, 16 buckets |");
    assert_eq!(rows.len(), 6);
    for row in rows {
        let kinds = [(1, 1), (2, 16), (2, 64), (2, 256), (2, 1024), (2, 4096)];
        let expected = kinds.map(|(sensitivity, buckets)| {
            Noise::of_cell(&scale(sensitivity, row[0])).default_threshold(buckets).to_string()
        });
        assert_eq!(row[1..], expected, "epsilon {}", row[0]);
    }
}
