//! The journeys that the demo replays: what channels people saw, and how many of them bought.

use std::collections::BTreeMap;

/// Most conversions in one file: a demo is over within a minute, and this many take some.
const MAX_CONVERSIONS: u64 = 1_000_000;

/// Most channels: with "not attributed" they must fit a histogram that one report carries.
const MAX_CHANNELS: usize = 255;

/// Longest name of a channel, in characters: it has to fit a column.
const MAX_CHANNEL_CHARS: usize = 40;

/// Most touches of one journey that are replayed, counted from the end: the last one counts, and a device remembers them
/// all.
const MAX_TOUCHES: usize = 1_000;
const _: () = assert!(MAX_TOUCHES <= arras_client::attribution::MAX_IMPRESSIONS);

/// What one row's conversions may be worth together: more is a slip, and sums of all rows stay far below 2^64.
const VALUE_MAX: u64 = 1_000_000_000;

/// Why a file cannot be replayed, naming the line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub(super) enum JourneysError {
    #[error(
        "line 1: the columns must be path, total_conversions, total_conversion_value, total_null; found {0}"
    )]
    Header(String),
    #[error("line {line}: {reason}")]
    Line { line: u64, reason: String },
    #[error("{0}")]
    File(String),
}

/// A sequence of channels and how many people who went it converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Journey {
    /// Indices into [`Journeys::channels`], first touch first.
    pub(super) touches: Vec<usize>,
    pub(super) conversions: u64,
    /// What all of its conversions were worth, in hundredths of the file's unit.
    pub(super) value: u64,
    /// How many people went it and did not convert.
    pub(super) others: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Journeys {
    /// In alphabetical order; a channel plays a campaign.
    pub(super) channels: Vec<String>,
    pub(super) journeys: Vec<Journey>,
}

const COLUMNS: [&str; 4] = ["path", "total_conversions", "total_conversion_value", "total_null"];

impl Journeys {
    pub(super) fn parse(text: &[u8]) -> Result<Self, JourneysError> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut rows = Vec::new();
        let mut total = 0_u64;
        for (index, record) in reader.records().enumerate() {
            let record = record.map_err(|error| csv_error(&error))?;
            if index == 0 {
                check_header(&record)?;
                continue;
            }
            let line = record.position().map_or(0, csv::Position::line);
            let fail = |reason: String| JourneysError::Line { line, reason };
            let row = parse_row(&record).map_err(fail)?;
            total = total.saturating_add(row.conversions);
            if total > MAX_CONVERSIONS {
                return Err(fail(format!("more than {MAX_CONVERSIONS} conversions; use a shorter file")));
            }
            for name in &row.path {
                names.entry(name.clone()).or_default();
            }
            if names.len() > MAX_CHANNELS {
                return Err(fail(format!(
                    "more than {MAX_CHANNELS} channels; a demo task has room for so many"
                )));
            }
            rows.push(row);
        }
        if total == 0 {
            return Err(JourneysError::File("there is no conversion in the file".to_owned()));
        }
        for (index, value) in names.values_mut().enumerate() {
            *value = index;
        }
        let journeys = rows
            .into_iter()
            .map(|row| Journey {
                touches: row.path.iter().map(|name| names[name]).collect(),
                conversions: row.conversions,
                value: row.value,
                others: row.others,
            })
            .collect();
        Ok(Self { channels: names.into_keys().collect(), journeys })
    }

    /// What last touch gives each channel, in the order of [`Self::channels`].
    pub(super) fn last_touch_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.channels.len()];
        for journey in &self.journeys {
            // A path has at least one touch.
            if let Some(last) = journey.touches.last() {
                counts[*last] += journey.conversions;
            }
        }
        counts
    }

    pub(super) fn conversions(&self) -> u64 {
        self.journeys.iter().map(|journey| journey.conversions).sum()
    }
}

fn check_header(record: &csv::StringRecord) -> Result<(), JourneysError> {
    if record.iter().map(str::trim).eq(COLUMNS) {
        return Ok(());
    }
    Err(JourneysError::Header(record.iter().take(8).map(shown).collect::<Vec<_>>().join(", ")))
}

struct Row {
    path: Vec<String>,
    conversions: u64,
    value: u64,
    others: u64,
}

fn parse_row(record: &csv::StringRecord) -> Result<Row, String> {
    if record.len() != COLUMNS.len() {
        return Err(format!("{} columns, expected {}", record.len(), COLUMNS.len()));
    }
    let mut path = Vec::new();
    for name in record[0].split('>').map(str::trim) {
        if name.is_empty() || name.chars().count() > MAX_CHANNEL_CHARS || name.chars().any(char::is_control) {
            return Err(format!(
                "path {}: channels are separated by \" > \" and have 1 to {MAX_CHANNEL_CHARS} printable \
                 characters",
                shown(&record[0])
            ));
        }
        path.push(name.to_owned());
    }
    path.drain(..path.len().saturating_sub(MAX_TOUCHES));
    let whole = |column: usize| -> Result<u64, String> {
        let number = record[column].trim().parse();
        number.map_err(|_| {
            format!("{} must be a whole number, found {}", COLUMNS[column], shown(&record[column]))
        })
    };
    let value = hundredths(record[2].trim()).ok_or_else(|| {
        format!(
            "{} must be a number such as 12.5, below {VALUE_MAX}, found {}",
            COLUMNS[2],
            shown(&record[2])
        )
    });
    Ok(Row { path, conversions: whole(1)?, value: value?, others: whole(3)? })
}

/// The hundredths of a decimal, those below cut off: a conversion is never worth more than the file says. `None` for anything
/// but digits with or without a point between them, and for [`VALUE_MAX`] and more.
fn hundredths(text: &str) -> Option<u64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = whole.parse::<u64>().ok().filter(|whole| *whole < VALUE_MAX)?;
    let cut: u64 = format!("{fraction}0").get(..2)?.parse().ok()?;
    Some(whole * 100 + cut)
}

fn csv_error(error: &csv::Error) -> JourneysError {
    let line = error.position().map_or(1, csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8 text".to_owned(),
        _ => error.to_string(),
    };
    JourneysError::Line { line, reason }
}

/// A value for a message: quoted, and cut if it is long.
fn shown(value: &str) -> String {
    let cut: String = value.chars().take(40).collect();
    if cut.len() < value.len() { format!("{cut:?}...") } else { format!("{cut:?}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEADER: &str = "path,total_conversions,total_conversion_value,total_null\n";

    fn parse(rows: &str) -> Result<Journeys, JourneysError> {
        Journeys::parse(format!("{HEADER}{rows}").as_bytes())
    }

    #[test]
    fn channels_are_sorted_and_paths_kept_in_order() {
        let journeys = parse("b > a > b,2,1.5,3\nc,1,0.1,0\n").unwrap();
        assert_eq!(journeys.channels, ["a", "b", "c"]);
        let first = Journey { touches: vec![1, 0, 1], conversions: 2, value: 150, others: 3 };
        assert_eq!(journeys.journeys[0], first);
        assert_eq!(journeys.conversions(), 3);
    }

    #[test]
    fn errors_name_the_line() {
        let line = |rows: &str| match parse(rows).unwrap_err() {
            JourneysError::Line { line, reason } => (line, reason),
            other => panic!("{other}"),
        };
        assert_eq!(line("a,1,1,1\nb,x,1,1\n").0, 3);
        assert_eq!(line("a,-1,1,1\n").0, 2);
        assert_eq!(line("a,1.5,1,1\n").0, 2);
        assert_eq!(line("a,1,1\n").0, 2);
        assert_eq!(line("a > > b,1,1,1\n").0, 2);
        assert_eq!(line(",1,1,1\n").0, 2);
        assert_eq!(line("a,99999999,1,1\n").0, 2);
        assert!(line("a\x1b[31m,1,1,1\n").1.contains("printable"));
    }

    #[test]
    fn values_are_cut_to_hundredths() {
        for (text, value) in [
            ("0", 0),
            ("12", 1_200),
            ("12.5", 1_250),
            ("2.4019999999999997", 240),
            ("0.009", 0),
            ("7.05", 705),
        ] {
            assert_eq!(hundredths(text), Some(value), "{text}");
        }
        for wrong in ["", ".", "1.", ".5", "-1", "1e3", "1,5", "NaN", "1000000000", "99999999999999999999"] {
            assert_eq!(hundredths(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_wrong_header_an_empty_file_and_no_conversion_are_said() {
        assert!(matches!(Journeys::parse(b"x,y\n1,2\n"), Err(JourneysError::Header(_))));
        assert!(matches!(Journeys::parse(b""), Err(JourneysError::File(_))));
        assert!(matches!(parse("a,0,0,5\n"), Err(JourneysError::File(_))));
        assert!(matches!(Journeys::parse(b"\xff\xfe\n"), Err(JourneysError::Line { line: 1, .. })));
    }

    /// Figures of the data set as its origin states them, last touch.
    #[test]
    fn the_bundled_journeys_are_the_known_ones() {
        let journeys = Journeys::parse(super::super::JOURNEYS).unwrap();
        assert_eq!(
            (journeys.channels.len(), journeys.journeys.len(), journeys.conversions()),
            (12, 10_000, 19_785)
        );
        let counts = journeys.last_touch_counts();
        let last = |name: &str| counts[journeys.channels.iter().position(|channel| channel == name).unwrap()];
        let expected =
            [("alpha", 8447), ("eta", 4167), ("iota", 3355), ("lambda", 1207), ("beta", 989), ("theta", 653)];
        for (name, count) in expected {
            assert_eq!(last(name), count, "{name}");
        }
    }
}
