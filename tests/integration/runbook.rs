//! docs/operating.md explains each error that an operator may meet: what the enums have and what the runbook has are
//! compared in both directions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use arras::net::problem::{DapError, OwnError};
use arras::store::Damage;

/// Shorter fixed texts explain nothing: `"{0}"` hands on another error's.
const FIXED_TEXT_MIN: usize = 8;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)).unwrap()
}

/// What stands in backticks at the beginning of the rows of a section's tables.
fn rows(runbook: &str, heading: &str) -> Vec<String> {
    let level = heading.split(' ').next().unwrap();
    let start = runbook.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = &runbook[start + heading.len() + 2..];
    let ends = |line: &&str| line.starts_with('#') && line.split(' ').next().unwrap().len() <= level.len();
    let lines = section.lines().take_while(|line| !ends(line));
    let rows: Vec<_> = lines
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(row, _)| row.to_owned())
        .collect();
    assert!(!rows.is_empty(), "no table below {heading}");
    rows
}

/// The texts of the `#[error("...")]` attributes of a source file, as they are shown.
fn error_texts(source: &str) -> Vec<String> {
    let literals = source.split("#[error(").skip(1).filter_map(|rest| {
        let (_, rest) = rest.split_once('"')?;
        let end = rest.match_indices('"').find(|(at, _)| !rest[..*at].ends_with('\\'))?.0;
        Some(&rest[..end])
    });
    // A backslash at the end of a line swallows the indentation of the next one.
    let joined = literals.map(|literal| {
        let mut lines = literal.split("\\\n");
        let first = lines.next().unwrap_or_default().to_owned();
        lines.fold(first, |text, line| text + line.trim_start())
    });
    let fixed = |text: &String| text.split(['{', '}']).step_by(2).map(str::len).sum::<usize>();
    joined.filter(|text| fixed(text) >= FIXED_TEXT_MIN).collect()
}

#[test]
fn every_message_of_stores_and_of_starting_is_explained() {
    let runbook = read("docs/operating.md");
    for (heading, sources) in [
        ("### Stores", vec!["src/store/error.rs"]),
        ("### Starting", vec!["src/service.rs", "src/collector/start.rs"]),
    ] {
        let rows = rows(&runbook, heading);
        let texts: Vec<String> = sources.iter().flat_map(|path| error_texts(&read(path))).collect();
        assert!(texts.len() > 5, "the sources are not read: {texts:?}");
        for text in &texts {
            let found = rows.iter().filter(|row| text.contains(row.as_str())).count();
            assert_eq!(found, 1, "{heading} of docs/operating.md must have one row for: {text}");
        }
        for row in &rows {
            assert!(texts.iter().any(|text| text.contains(row)), "{heading} has a row for no message: {row}");
        }
    }
}

#[test]
fn every_damage_and_every_problem_type_is_explained() {
    let runbook = read("docs/operating.md");
    let set = |texts: Vec<String>| texts.into_iter().collect::<BTreeSet<_>>();
    let damages = Damage::ALL.iter().map(|damage| damage.found().to_owned()).collect();
    assert_eq!(set(rows(&runbook, "## A damaged store")), set(damages));
    let dap = DapError::ALL.iter().map(|error| error.token());
    let own = OwnError::ALL.iter().map(|error| error.token());
    let types = dap.chain(own).map(str::to_owned).collect();
    assert_eq!(set(rows(&runbook, "### Answers (problem documents)")), set(types));
}

/// The searches above find what they look for.
#[test]
fn texts_are_found() {
    let source = "#[error(\"{0}\")]\n#[error(\n    \"one {a} \\\n     two\",\n    x\n)]\n#[error(\"say \\\"it\\\" now\")]";
    assert_eq!(error_texts(source), ["one {a} two", "say \\\"it\\\" now"]);
    assert_eq!(rows("\n# A\n## B\n| `x` | y |\n### C\n| `z` | y |\n## D\n| `w` | |\n", "## B"), ["x", "z"]);
}
