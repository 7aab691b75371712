//! Lists as people read them.

use std::io::{self, Write};

use serde_json::Value;

use crate::text::printable;

/// A column: its heading, and the member of an entry that it shows.
pub(super) type Column = (&'static str, &'static str);

/// Prints entries, as JSON or as columns that are as wide as their widest cell.
pub(super) fn entries(
    out: &mut dyn Write,
    entries: &[Value],
    columns: &[Column],
    json: bool,
    none: &str,
) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", serde_json::to_string_pretty(entries)?);
    }
    if entries.is_empty() {
        return writeln!(out, "{none}");
    }
    let header = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let rows = entries.iter().map(|entry| columns.iter().map(|(_, member)| cell(&entry[*member])).collect());
    table(out, &std::iter::once(header).chain(rows).collect::<Vec<Vec<String>>>())
}

/// Prints rows in columns.
pub(super) fn table(out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// One entry: a line for each member.
pub(super) fn entry(out: &mut dyn Write, entry: &Value, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{}", serde_json::to_string_pretty(entry)?);
    }
    let mut rows = Vec::new();
    members("", entry, &mut rows);
    table(out, &rows)?;
    warnings(out, entry)
}

/// What the interface warns of, apart from the other members, where it is seen.
pub(super) fn warnings(out: &mut dyn Write, entry: &Value) -> io::Result<()> {
    for warning in entry["warnings"].as_array().into_iter().flatten() {
        writeln!(out, "\nwarning: {}", cell(warning))?;
    }
    Ok(())
}

fn members(prefix: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    let Value::Object(map) = value else { return };
    // Told below all others, each on a line of its own.
    for (name, value) in map.iter().filter(|(name, _)| *name != "warnings") {
        let name = format!("{prefix}{}", name.replace('_', " "));
        match value {
            Value::Object(_) => members(&format!("{name}: "), value, rows),
            value => rows.push(vec![printable(&name), cell(value)]),
        }
    }
}

/// What others chose is shown without what could move the cursor.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}
