//! Values of a configuration that are checked when they are read.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use time::Date;
use time::macros::format_description;
use zeroize::Zeroizing;

use super::secret::SecretString;

/// Micro-epsilon in one epsilon.
const MICRO: u64 = 1_000_000;

/// Above this an epsilon protects nobody: e^100 is beyond any likelihood ratio
/// that matters. A larger number is a mistake in the decimal point.
const EPSILON_MAX_MICRO: u64 = 100 * MICRO;

/// An epsilon or a cap on it in micro-epsilon: an exact decimal with at most six
/// places, above 0, at most 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MicroEpsilon(u64);

impl MicroEpsilon {
    /// In units of 10^-6.
    pub fn micro(self) -> u64 {
        self.0
    }
}

/// A text that is no epsilon.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected a decimal above 0 and at most 100 with at most six places, in quotes, such as \"0.5\"")]
#[non_exhaustive]
pub struct EpsilonError;

impl FromStr for MicroEpsilon {
    type Err = EpsilonError;

    fn from_str(text: &str) -> Result<Self, EpsilonError> {
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        // Nine digits cannot overflow below.
        if !digits(whole) || !digits(places) || whole.len() > 9 || places.len() > 6 {
            return Err(EpsilonError);
        }
        let whole: u64 = whole.parse().map_err(|_| EpsilonError)?;
        let micro: u64 = format!("{places:0<6}").parse().map_err(|_| EpsilonError)?;
        let value = whole * MICRO + micro;
        if value == 0 || value > EPSILON_MAX_MICRO { Err(EpsilonError) } else { Ok(Self(value)) }
    }
}

impl fmt::Display for MicroEpsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micro) = (self.0 / MICRO, self.0 % MICRO);
        if micro == 0 {
            write!(f, "{whole}")
        } else {
            write!(f, "{whole}.{}", format!("{micro:06}").trim_end_matches('0'))
        }
    }
}

impl<'de> Deserialize<'de> for MicroEpsilon {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

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
    fn epsilon_is_exact() {
        for (text, micro, shown) in [
            ("10", 10_000_000, "10"),
            ("0.5", 500_000, "0.5"),
            ("0.000001", 1, "0.000001"),
            ("1.10", 1_100_000, "1.1"),
            ("100", 100_000_000, "100"),
        ] {
            let epsilon: MicroEpsilon = text.parse().unwrap();
            assert_eq!((epsilon.micro(), epsilon.to_string().as_str()), (micro, shown));
        }
        for wrong in [
            "",
            "0",
            "0.0",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e1",
            "1,5",
            "0.0000001",
            "100.000001",
            "9999999999",
            " 1",
        ] {
            assert_eq!(wrong.parse::<MicroEpsilon>(), Err(EpsilonError), "{wrong}");
        }
    }

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
