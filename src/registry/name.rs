//! Names that people give.

use std::fmt;
use std::str::FromStr;

use arras_protocol::manifest::NAME_CHARACTERS_MAX;
use serde::{Deserialize, Serialize};

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to {NAME_CHARACTERS_MAX} characters, begins and ends with one that is seen, and holds no line breaks \
     and no characters that cannot be seen"
)]
pub struct NameError;

/// A name of 1 to [`NAME_CHARACTERS_MAX`] printable characters, without blanks at its ends: it fits a manifest, a line, and a
/// table, and two that look the same are the same more often than not. Any printable character may be in it, `<` and `=` too:
/// whoever writes it into a page or a table escapes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let fits = (1..=NAME_CHARACTERS_MAX).contains(&text.chars().count());
        if fits && text.trim() == text && crate::text::printable(&text) == text {
            Ok(Self(text))
        } else {
            Err(NameError)
        }
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text.to_owned())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_and_short() {
        for right in ["Summer sale", "<b>", "=1+1", "\u{dc}", "\u{590f}"] {
            assert!(right.parse::<Name>().is_ok(), "{right}");
        }
        for wrong in ["", " ", "a ", "a\nb", "a\u{202e}b", "\u{200b}", &"a".repeat(101)] {
            assert_eq!(wrong.parse::<Name>(), Err(NameError), "{wrong:?}");
        }
    }
}
