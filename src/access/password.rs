//! Passwords and emails, as people type them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::secret::SecretString;

/// Fewest bytes of a password. Length is the one rule: rules about kinds of characters make passwords that are hard to keep
/// in mind and easy to guess. With the pauses between attempts, twelve that are not on a list of common ones are out of reach.
pub const PASSWORD_BYTES_MIN: usize = 12;

/// Most bytes: a passphrase of some sentences.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// Most bytes of an email address (RFC 5321 section 4.5.3.1.3, without the brackets).
pub const EMAIL_BYTES_MAX: usize = 254;

/// Most bytes before the `@` (RFC 5321 section 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;

/// A text that is no password to choose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a password has at least {PASSWORD_BYTES_MIN} characters and at most {PASSWORD_BYTES_MAX}; several words are easier \
     to keep in mind than many signs"
)]
pub struct PasswordError;

/// A password that somebody chooses: bytes, as they were typed. Erased when it is dropped.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

impl Password {
    /// Checks the length.
    pub fn new(text: SecretString) -> Result<Self, PasswordError> {
        if (PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&text.expose().len()) {
            Ok(Self(text))
        } else {
            Err(PasswordError)
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

/// A text that is no email address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no email address; write it like name@shop.example")]
pub struct EmailError;

/// An email address, in small letters: nobody expects Anna@ and anna@ to be two accounts. Only what every mail system knows
/// is taken, without quotes and letters beyond ASCII; whether mail arrives there is not asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

impl Email {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        let (local, domain) = text.split_once('@').ok_or(EmailError)?;
        let in_local = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&byte);
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let fits = text.len() <= EMAIL_BYTES_MAX
            && (1..=LOCAL_BYTES_MAX).contains(&local.len())
            && local.bytes().all(in_local)
            && domain.split('.').all(label);
        if fits { Ok(Self(text.to_ascii_lowercase())) } else { Err(EmailError) }
    }
}

impl TryFrom<String> for Email {
    type Error = EmailError;

    fn try_from(text: String) -> Result<Self, EmailError> {
        text.parse()
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_have_a_length_and_are_not_shown() {
        let password = |text: String| Password::new(SecretString::new(text));
        assert!(password("a".repeat(12)).is_ok() && password("\u{20ac}".repeat(4)).is_ok());
        assert!(password("a".repeat(1_024)).is_ok());
        for wrong in ["a".repeat(11), String::new(), "a".repeat(1_025)] {
            assert_eq!(password(wrong).unwrap_err(), PasswordError);
        }
        assert!(!format!("{:?}", password("correct horse".to_owned()).unwrap()).contains("horse"));
    }

    #[test]
    fn emails_are_one_whatever_their_case() {
        let email: Email = " Anna.Smith+ads@Shop.Example ".parse().unwrap();
        assert_eq!(email.as_str(), "anna.smith+ads@shop.example");
        for right in ["a@b", "o'neil@x.y", "a@xn--bcher-kva.example"] {
            assert!(right.parse::<Email>().is_ok(), "{right}");
        }
        let (long, longer) = (format!("{}@b.c", "a".repeat(65)), format!("a@{}b", "b.".repeat(130)));
        for wrong in [
            "",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c.d",
            "<a>@b.c",
            "\"a\"@b.c",
            "a@b..c",
            "a@.b",
            "a@-b.c",
            "a@b_c.d",
            "\u{e9}@b.c",
            "a@b.c\nBcc: x",
            &long,
            &longer,
        ] {
            assert_eq!(wrong.parse::<Email>(), Err(EmailError), "{wrong}");
        }
    }
}
