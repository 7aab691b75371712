//! Values of a configuration that are checked when they are read.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};
use time::Date;
use time::macros::format_description;
use zeroize::Zeroizing;

use super::secret::SecretString;

/// The day on which a budget source's first epoch starts, at 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart(Date);

impl EpochStart {
    /// A day since 1970.
    pub fn new(date: Date) -> Option<Self> {
        (date.year() >= 1970).then_some(Self(date))
    }

    /// Seconds since 1970-01-01 00:00 UTC.
    pub fn unix_seconds(self) -> u64 {
        // Not before 1970, by construction.
        self.0.midnight().assume_utc().unix_timestamp().unsigned_abs()
    }
}

impl fmt::Display for EpochStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }
}

impl<'de> Deserialize<'de> for EpochStart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Date::parse(&text, format_description!("[year]-[month]-[day]"))
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| de::Error::custom("expected a day since 1970 in quotes, such as \"2026-01-05\""))
    }
}

/// PEM in the configuration itself or in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// The text.
    Inline(SecretString),
    /// Where the text is.
    File(PathBuf),
}

/// A certificate chain or key has some kB.
const PEM_BYTES_MAX: u64 = 256 * 1024;

impl Pem {
    /// The text, from the configuration or the disk.
    pub fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::Inline(text) => Ok(Zeroizing::new(text.expose().as_bytes().to_vec())),
            Self::File(path) => {
                if fs::metadata(path)?.len() > PEM_BYTES_MAX {
                    return Err(io::Error::other("larger than 256 KiB; this is no PEM file"));
                }
                fs::read(path).map(Zeroizing::new)
            }
        }
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Self::File(path) = self {
            resolve(path, folder);
        }
    }
}

impl<'de> Deserialize<'de> for Pem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SecretString::deserialize(deserializer)?;
        let inline = text.expose().contains("-----BEGIN");
        Ok(if inline { Self::Inline(text) } else { Self::File(PathBuf::from(text.expose())) })
    }
}

/// Makes a path relative to a folder; an absolute one stays.
pub(super) fn resolve(path: &mut PathBuf, folder: &Path) {
    *path = folder.join(&path);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn epoch_start_in_seconds() {
        #[derive(Deserialize)]
        struct File {
            day: EpochStart,
        }
        let parse = |day: &str| toml::from_str::<File>(&format!("day = \"{day}\"")).map(|file| file.day);
        assert_eq!(parse("1970-01-02").unwrap().unix_seconds(), 86_400);
        // 2026-01-05 is 20,458 days after 1970-01-01.
        let day = parse("2026-01-05").unwrap();
        assert_eq!((day.unix_seconds(), day.to_string().as_str()), (20_458 * 86_400, "2026-01-05"));
        for wrong in ["1969-12-31", "2026-02-30", "2026-1-5", "05.01.2026", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
