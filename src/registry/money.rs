//! Money: whole minor units of a currency.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no currency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three capital letters of ISO 4217, such as EUR, USD or JPY")]
pub struct CurrencyError;

/// A currency by its code of ISO 4217. Codes that are not assigned are taken: what they mean is the advertiser's matter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Currencies whose minor unit is not a hundredth (ISO 4217, list one, as of 2026), by number of decimals.
const NO_DECIMALS: [&str; 17] = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF",
    "XOF", "XPF",
];
const THREE_DECIMALS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Codes of currencies, funds and metals (ISO 4217, list one, as of 2026).
const ASSIGNED: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD \
    CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD \
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA \
    MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF \
    SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW \
    UZS VED VES VND VUV WST XAD XAF XAG XAU XCD XCG XDR XOF XPD XPF XPT XSU XUA YER ZAR ZMW ZWG";

impl Currency {
    /// Whether ISO 4217 assigns its code, as far as this version knows.
    pub fn is_assigned(&self) -> bool {
        ASSIGNED.split(' ').any(|code| code == self.code())
    }

    /// Its code.
    pub fn code(&self) -> &str {
        // Three ASCII letters, see `try_from`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Decimals of its major unit: 2 for EUR, 0 for JPY.
    pub fn decimals(&self) -> u8 {
        let code = self.code();
        if NO_DECIMALS.contains(&code) {
            0
        } else if THREE_DECIMALS.contains(&code) {
            3
        } else {
            2
        }
    }

    /// An amount of minor units as a decimal of the major unit, without the code: `12.50`. Exact.
    pub fn decimal(&self, minor: i128) -> String {
        decimal_of(minor.unsigned_abs(), minor < 0, self.decimals())
    }

    /// Reads a decimal of the major unit, such as `12.5`, as minor units; `None` for anything else, and for more decimals than
    /// the currency has.
    pub fn minor(&self, decimal: &str) -> Option<u64> {
        let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let decimals = usize::from(self.decimals());
        if fraction.len() > decimals {
            return None;
        }
        format!("{whole}{fraction:0<decimals$}").parse().ok()
    }
}

impl TryFrom<String> for Currency {
    type Error = CurrencyError;

    fn try_from(code: String) -> Result<Self, CurrencyError> {
        code.parse()
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(code: &str) -> Result<Self, CurrencyError> {
        let bytes = <[u8; 3]>::try_from(code.as_bytes()).map_err(|_| CurrencyError)?;
        if bytes.iter().all(u8::is_ascii_uppercase) { Ok(Self(bytes)) } else { Err(CurrencyError) }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A number of steps as a decimal with so many places (at most 38), each of them a digit: 1250 with two is `12.50`.
pub(crate) fn decimal_of(steps: u128, negative: bool, places: u8) -> String {
    let sign = if negative { "-" } else { "" };
    let Some(one) = 10_u128.checked_pow(places.into()).filter(|one| *one > 1) else {
        return format!("{sign}{steps}");
    };
    let places = usize::from(places);
    format!("{sign}{}.{:0places$}", steps / one, steps % one)
}

/// An exact amount that is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Whole minor units: cents of EUR, yen of JPY.
    pub minor: u64,
    /// Of what.
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.currency.decimal(self.minor.into()), self.currency)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn amounts_are_exact_in_every_currency() {
        let of = |code: &str| code.parse::<Currency>().unwrap();
        assert_eq!(Money { minor: 1_250, currency: of("EUR") }.to_string(), "12.50 EUR");
        assert_eq!((of("JPY").decimal(12), of("KWD").decimal(-7)), ("12".to_owned(), "-0.007".to_owned()));
        let read = |code: &str, text: &str| of(code).minor(text);
        assert_eq!(
            (read("EUR", "12.5"), read("EUR", "12"), read("EUR", "0.070")),
            (Some(1_250), Some(1_200), Some(7))
        );
        assert_eq!((read("JPY", "12"), read("JPY", "12.0"), read("JPY", "12.5")), (Some(12), Some(12), None));
        for wrong in ["", ".", "1.", ".5", "-1", "1e3", "1,5", "0.001", "184467440737095516.16"] {
            assert_eq!(read("EUR", wrong), None, "{wrong}");
        }
        assert!(NO_DECIMALS.iter().chain(&THREE_DECIMALS).chain(&["EUR"]).all(|code| of(code).is_assigned()));
        assert!(!of("XXQ").is_assigned() && !of("EUD").is_assigned());
        assert!(["eur", "EURO", "E1R", ""].iter().all(|wrong| wrong.parse::<Currency>().is_err()));
    }
}
