//! Epsilon as an exact number.
//!
//! Epsilon decides how much noise a release gets, so it never passes through a
//! float: it is a whole number of millionths, written as a decimal string in
//! configuration and JSON and as a `uint32` on the wire.

use std::{
    fmt::{self, Display, Formatter},
    num::NonZeroU32,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How many micro-epsilon make an epsilon of 1.
pub const MICRO_PER_EPSILON: u32 = 1_000_000;

/// Digits behind the point that a millionth needs; more would have to be rounded.
const FRACTION_DIGITS: usize = 6;

/// Digits before the point that a `u32` of millionths can need (4294).
const WHOLE_DIGITS: usize = 4;

/// An error repeats at most this many characters of what was given, so that a
/// wrong file does not end up in a log line.
const QUOTED_CHARS: usize = 40;

/// Why a value is not an epsilon. Each variant names the value that was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EpsilonError {
    /// Not of the form `digits` or `digits.digits`.
    #[error("epsilon {0:?} is not a decimal number; write it like \"1\" or \"0.5\"")]
    NotDecimal(String),
    /// More than six digits behind the point.
    #[error("epsilon {0:?} is finer than a millionth; give at most six digits behind the point")]
    TooFine(String),
    /// More than 4294.967295 (a `uint32` of millionths).
    #[error("epsilon {0:?} is too large; the largest that can be written is 4294.967295")]
    TooLarge(String),
    /// Zero would mean infinite noise.
    #[error("epsilon {0:?} is zero, which would take infinite noise; give a positive number")]
    Zero(String),
}

/// An epsilon, in millionths: 1 to 4,294,967,295.
///
/// Smaller means more noise. The ordering is numerical, so `min` takes the more
/// private of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroEpsilon(NonZeroU32);

impl MicroEpsilon {
    /// 1, which configurations begin with.
    pub const ONE: Self = match NonZeroU32::new(MICRO_PER_EPSILON) {
        Some(micro) => Self(micro),
        None => panic!("a million is not zero"),
    };

    /// From a number of millionths, as it travels on the wire; zero is refused.
    pub fn from_micro(micro_epsilon: u32) -> Result<Self, EpsilonError> {
        NonZeroU32::new(micro_epsilon).map(Self).ok_or_else(|| EpsilonError::Zero("0".to_owned()))
    }

    /// The number of millionths, never zero.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl Display for MicroEpsilon {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        DisplayMicro(u64::from(self.get())).fmt(f)
    }
}

impl FromStr for MicroEpsilon {
    type Err = EpsilonError;

    /// Parses `digits` or `digits.digits` exactly: no sign, no exponent, no
    /// spaces, at most six digits behind the point.
    fn from_str(text: &str) -> Result<Self, EpsilonError> {
        let quoted = || text.chars().take(QUOTED_CHARS).collect::<String>();
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if !is_digits(whole) || !is_digits(fraction) {
            return Err(EpsilonError::NotDecimal(quoted()));
        }
        if fraction.len() > FRACTION_DIGITS {
            return Err(EpsilonError::TooFine(quoted()));
        }
        if whole.len() > WHOLE_DIGITS {
            return Err(EpsilonError::TooLarge(quoted()));
        }
        // Ten digits at the most, so a u64 holds them.
        let micro = format!("{whole}{fraction:0<FRACTION_DIGITS$}")
            .parse::<u64>()
            .map_err(|_| EpsilonError::NotDecimal(quoted()))?;
        let micro = u32::try_from(micro).map_err(|_| EpsilonError::TooLarge(quoted()))?;
        NonZeroU32::new(micro).map(Self).ok_or_else(|| EpsilonError::Zero(quoted()))
    }
}

impl Serialize for MicroEpsilon {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MicroEpsilon {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decimal;

        impl de::Visitor<'_> for Decimal {
            type Value = MicroEpsilon;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("an epsilon as a decimal string in quotes, such as \"0.5\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MicroEpsilon, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Decimal)
    }
}

/// Prints an amount of micro-epsilon (which, unlike [`MicroEpsilon`], may be zero
/// or a sum beyond `u32`) as a decimal number of epsilon without trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplayMicro(pub u64);

impl Display for DisplayMicro {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let unit = u64::from(MICRO_PER_EPSILON);
        let (whole, fraction) = (self.0 / unit, self.0 % unit);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:0FRACTION_DIGITS$}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimal_strings_are_read_exactly() {
        for (text, micro) in [
            ("1", 1_000_000),
            ("0.5", 500_000),
            ("2.25", 2_250_000),
            ("0.000001", 1),
            ("0.1", 100_000),
            ("0.50", 500_000),
            ("1.0", 1_000_000),
            ("4294.967295", u32::MAX),
        ] {
            assert_eq!(text.parse::<MicroEpsilon>().unwrap().get(), micro, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused_by_name() {
        for text in ["", ".", ".5", "5.", "+1", "-1", "1e3", " 1", "1 ", "1,5", "1.2.3", "0x1", "inf", "NaN"]
        {
            let error = text.parse::<MicroEpsilon>().unwrap_err();
            assert_eq!(error, EpsilonError::NotDecimal(text.to_owned()));
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        let refusal = |text: &str| text.parse::<MicroEpsilon>().unwrap_err();
        assert_eq!(refusal("0.0000001"), EpsilonError::TooFine("0.0000001".to_owned()));
        assert_eq!(refusal("4294.967296"), EpsilonError::TooLarge("4294.967296".to_owned()));
        assert_eq!(refusal("10000"), EpsilonError::TooLarge("10000".to_owned()));
        assert_eq!(refusal("0"), EpsilonError::Zero("0".to_owned()));
        assert_eq!(refusal("0.000000"), EpsilonError::Zero("0.000000".to_owned()));
        assert_eq!(MicroEpsilon::from_micro(0), Err(EpsilonError::Zero("0".to_owned())));
        assert_eq!(refusal(&"9".repeat(1000)), EpsilonError::TooLarge("9".repeat(QUOTED_CHARS)));
    }

    #[test]
    fn sums_print_like_a_single_epsilon() {
        assert_eq!(DisplayMicro(0).to_string(), "0");
        assert_eq!(DisplayMicro(10_000_000).to_string(), "10");
        assert_eq!(DisplayMicro(1_000_010).to_string(), "1.00001");
        assert_eq!(DisplayMicro(u64::MAX).to_string(), "18446744073709.551615");
    }

    #[test]
    fn json_holds_a_string_and_no_float() {
        let epsilon: MicroEpsilon = serde_json::from_str("\"0.25\"").unwrap();
        assert_eq!(epsilon.get(), 250_000);
        assert_eq!(serde_json::to_string(&epsilon).unwrap(), "\"0.25\"");
        for number in ["0.25", "1", "null"] {
            let error = serde_json::from_str::<MicroEpsilon>(number).unwrap_err();
            assert!(error.to_string().contains("decimal string in quotes"), "{error}");
        }
        assert!(serde_json::from_str::<MicroEpsilon>("\"0\"").is_err());
    }

    proptest! {
        #[test]
        fn every_value_survives_printing(micro in 1..=u32::MAX) {
            let epsilon = MicroEpsilon::from_micro(micro).unwrap();
            let text = epsilon.to_string();
            prop_assert_eq!(text.parse::<MicroEpsilon>().unwrap(), epsilon);
            prop_assert!(!text.contains('.') || !text.ends_with('0'), "{}", text);
        }
    }
}
