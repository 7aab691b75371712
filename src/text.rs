//! Small things about text that people read.

use std::fmt::Display;

/// A number of things: `1 report`, `2 reports`.
pub(crate) fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    if count == "1" { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A text that others chose, without the control characters that could move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "error")), ["0 errors", "1 error", "2 errors"]);
    }

    #[test]
    fn control_characters_are_blanked() {
        assert_eq!(printable("a\x1b[31m\u{e9}\nb"), "a [31m\u{e9} b");
    }
}
