//! Small things about text that people read.

use std::borrow::Cow;
use std::fmt::Display;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A number of things: `1 report`, `2 reports`.
pub(crate) fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    if count == "1" { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A moment as people and RFC 3339 write it; a number beyond the year 9999 stays one.
pub(crate) fn utc(posix_seconds: u64) -> String {
    let written = i64::try_from(posix_seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok());
    written.unwrap_or_else(|| format!("{posix_seconds} s"))
}

/// Writes a table for others as CSV, its lines as RFC 4180 ends them.
pub(crate) fn csv_writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new())
}

/// A text that others chose, for a cell of a CSV file: spreadsheets take what begins with `=`, `+`, `-`, `@`, a tab or a line
/// break for a formula, and run it (CWE-1236). Such a text gets an apostrophe in front, which they show as text; so does one
/// that only blanks or a quotation mark keep from beginning like that, since some programs pass over those. For names and
/// reasons alone: a number is no text, and keeps its sign. Quoting is the CSV writer's.
pub(crate) fn csv_cell(text: &str) -> Cow<'_, str> {
    let first = text.trim_start_matches([' ', '"', '\'', '\u{a0}', '\u{3000}']).chars().next();
    // Full-width forms are read as the plain ones by spreadsheets of East Asian locales.
    let begins = |c: char| {
        matches!(
            c,
            '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}'
        )
    };
    if first.is_some_and(begins) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// A text that others chose, without the characters that could move a terminal's cursor, turn the direction of a
/// line or hide in it: each becomes a blank.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).collect()
}

/// Characters of what somebody sent that an error repeats: enough to find it by.
const SHOWN_CHARACTERS: usize = 60;

/// The beginning of a text that others sent, for a message, [`printable`].
pub(crate) fn shown(text: &str) -> String {
    printable(&text.chars().take(SHOWN_CHARACTERS).collect::<String>())
}

/// What a parser says of a text that others sent, [`printable`]. It repeats parts of that first and says at the end what it
/// expected instead, so what is too long is cut in the middle.
pub(crate) fn complaint(text: &str) -> String {
    /// Characters of a complaint that stay at its end: the longest list of what could stand there.
    const ENDING_CHARACTERS: usize = 400;
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= SHOWN_CHARACTERS + ENDING_CHARACTERS {
        return printable(text);
    }
    let (from, to) = (&characters[..SHOWN_CHARACTERS], &characters[characters.len() - ENDING_CHARACTERS..]);
    printable(&format!("{} ... {}", from.iter().collect::<String>(), to.iter().collect::<String>()))
}

/// Characters that are not seen but change what is: Unicode's format characters (its category Cf), line and paragraph
/// separators, letters without ink, and selectors of variants.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}'
        | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "error")), ["0 errors", "1 error", "2 errors"]);
    }

    #[test]
    fn moments_are_dates() {
        assert_eq!(utc(1_793_577_600), "2026-11-02T00:00:00Z");
        assert_eq!(utc(u64::MAX), "18446744073709551615 s");
    }

    /// A campaign may be called `=HYPERLINK(...)`, and whoever opens the export of it would be asked to click.
    #[test]
    fn a_cell_is_never_a_formula() {
        for wrong in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            " =1",
            "\"=1",
            "'=1",
            "\u{a0}=1",
            "\u{ff1d}1",
            "-",
        ] {
            assert_eq!(csv_cell(wrong), format!("'{wrong}"), "{wrong:?}");
        }
        for right in ["", "Summer sale", "a=1", "1-2", "'quoted'", "\u{2212}5", "\u{2013} dash"] {
            assert_eq!(csv_cell(right), right, "{right:?}");
        }
    }

    /// Whatever was sent came back in the refusal, up to the size of a request.
    #[test]
    fn what_was_sent_is_not_sent_back_whole() {
        assert_eq!(shown(&"a\u{202e}".repeat(100)), "a ".repeat(30));
        assert_eq!(complaint("unknown field `x`"), "unknown field `x`");
        let long = complaint(&format!("unknown field `{}`, expected `name` at line 1", "x".repeat(10_000)));
        assert!(
            long.starts_with("unknown field `xxx") && long.ends_with("x`, expected `name` at line 1"),
            "{long}"
        );
        assert!(long.chars().count() < 500, "{long}");
    }

    #[test]
    fn control_characters_are_blanked() {
        assert_eq!(printable("a\x1b[31m\u{e9}\nb"), "a [31m\u{e9} b");
    }

    /// A campaign's name could turn the rest of its line round, so that a table showed the number of another, and two
    /// names could look the same.
    #[test]
    fn what_turns_or_hides_text_is_blanked() {
        for c in [
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{200e}',
            '\u{200f}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{2028}',
            '\u{2029}',
            '\u{2060}',
            '\u{feff}',
            '\u{ad}',
            '\u{fe0f}',
            '\u{e0041}',
            '\u{3164}',
        ] {
            assert_eq!(printable(&format!("a{c}b")), "a b", "{c:?}");
        }
        let kept = "\u{5d0}\u{627}\u{4e2d}\u{1f600} e\u{301}\u{a0}x\u{2014}\u{20ac}";
        assert_eq!(printable(kept), kept, "right-to-left letters, emoji, accents and dashes stay");
    }
}
