//! How numbers, money and days are written on pages. Blanks within a number and its unit do not break.

use jiff::civil::Date;

use crate::insights::Unit;
use crate::registry::{Currency, TimeZone};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// A day that has as many seconds as most, in seconds.
pub const DAY: u64 = 24 * HOUR;

/// A whole number with its thousands apart: `12,345`.
pub fn grouped(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let sign = if number < 0 { "\u{2212}" } else { "" };
    format!("{sign}{}", group(&number.unsigned_abs().to_string()))
}

/// A number that is not negative and may be larger than any signed one.
pub fn grouped_u128(number: u128) -> String {
    group(&number.to_string())
}

fn group(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Minor units as an amount of the major unit, without the currency: `1,234.50`. Exact.
pub fn amount(currency: Currency, minor: impl Into<i128>) -> String {
    let minor: i128 = minor.into();
    let decimal = currency.decimal(i128::try_from(minor.unsigned_abs()).unwrap_or(i128::MAX));
    let (whole, fraction) =
        decimal.split_once('.').map_or((decimal.as_str(), None), |(whole, part)| (whole, Some(part)));
    let sign = if minor < 0 { "\u{2212}" } else { "" };
    let fraction = fraction.map_or_else(String::new, |part| format!(".{part}"));
    format!("{sign}{}{fraction}", group(whole))
}

/// An amount with its currency: `1,234.50 EUR`.
pub fn money(currency: Currency, minor: impl Into<i128>) -> String {
    format!("{}\u{a0}{currency}", amount(currency, minor))
}

/// Prices below this many hundredths of a minor unit are written with these: 1 EUR, 100 JPY. Above, they would be more than anybody reads.
pub const PRICE_FINE: u128 = 10_000;

/// A price in hundredths of minor units, without the currency: `12.34`, and below 1 EUR `0.0030`. To the nearest.
pub fn price(currency: Currency, hundredths: u128) -> String {
    let unit = Unit::Price(currency);
    if hundredths < PRICE_FINE {
        return unit.decimal(i128::try_from(hundredths).unwrap_or(i128::MAX));
    }
    let steps = u128::from(unit.steps());
    amount(currency, i128::try_from(hundredths.saturating_add(steps / 2) / steps).unwrap_or(i128::MAX))
}

/// The nearest whole number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` ends at the type's bounds, and no amount is near them"
)]
pub fn nearest(number: f64) -> i128 {
    number.round() as i128
}

/// A part of 1 as a percentage with two decimals: `1.25%`.
pub fn percent(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}

/// A ratio such as a return on spend: `3.42`, `120`.
pub fn ratio(ratio: f64) -> String {
    if ratio.abs() >= 100.0 { grouped(nearest(ratio)) } else { format!("{ratio:.2}") }
}

/// A day: `3 Nov 2026`.
pub fn day(day: Date) -> String {
    format!("{}\u{a0}{}", short_day(day), day.year())
}

/// A day of a year that is known: `3 Nov`.
pub fn short_day(day: Date) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = usize::try_from(day.month()).ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    format!("{}\u{a0}{}", day.day(), month.copied().unwrap_or_default())
}

/// Days from one to another, both included: `27 Oct to 23 Nov 2026`.
pub fn days(from: Date, to: Date) -> String {
    if from == to {
        day(to)
    } else if from.year() == to.year() {
        format!("{} to {}", short_day(from), day(to))
    } else {
        format!("{} to {}", day(from), day(to))
    }
}

/// The day of a moment (in POSIX seconds) in a time zone.
pub fn day_of(posix_seconds: u64, zone: &TimeZone) -> Date {
    zoned(posix_seconds, zone).date()
}

/// A moment (in POSIX seconds) in a time zone: `24 Nov 2026, 14:05`.
pub fn moment(posix_seconds: u64, zone: &TimeZone) -> String {
    let zoned = zoned(posix_seconds, zone);
    format!("{}, {:02}:{:02}", day(zoned.date()), zoned.hour(), zoned.minute())
}

/// A moment beyond what the calendar holds is its last one.
fn zoned(posix_seconds: u64, zone: &TimeZone) -> jiff::Zoned {
    let second =
        i64::try_from(posix_seconds).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    second.unwrap_or(jiff::Timestamp::MAX).to_zoned(zone.rules().clone())
}

/// How long something takes or lasts, in its largest unit: `3 hours`, `2 days`.
pub fn duration(seconds: u64) -> String {
    let (count, noun) = match seconds {
        s if s >= 2 * DAY => (s.div_ceil(DAY), "day"),
        s if s >= 2 * HOUR => (s.div_ceil(HOUR), "hour"),
        s if s >= MINUTE => (s.div_ceil(MINUTE), "minute"),
        s => (s, "second"),
    };
    crate::text::counted(count, noun)
}

/// When something will be or was, seen from now: `in 3 hours`, `2 days ago`, `now`.
pub fn relative(then: u64, now: u64) -> String {
    match (then.saturating_sub(now), now.saturating_sub(then)) {
        (0, 0..MINUTE) => "now".to_owned(),
        (0, ago) => format!("{} ago", duration(ago)),
        (ahead, _) => format!("in {}", duration(ahead)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "\u{2212}1,234,567")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped_u128(u128::MAX), "340,282,366,920,938,463,463,374,607,431,768,211,455");
    }

    #[test]
    fn money_has_the_decimals_of_its_currency() {
        let of = |code: &str, minor: i128| money(code.parse().unwrap(), minor);
        assert_eq!(of("EUR", 123_450), "1,234.50\u{a0}EUR");
        assert_eq!(of("JPY", 123_450), "123,450\u{a0}JPY");
        assert_eq!(of("KWD", -1_234_567), "\u{2212}1,234.567\u{a0}KWD");
        assert_eq!(of("EUR", 0), "0.00\u{a0}EUR");
        let price = |code: &str, hundredths| price(code.parse().unwrap(), hundredths);
        assert_eq!(
            [price("EUR", 40), price("EUR", 9_999), price("EUR", 12_350)],
            ["0.0040", "0.9999", "1.24"]
        );
        assert_eq!([price("JPY", 342), price("JPY", 123_450)], ["3.42", "1,235"]);
        assert_eq!(of("EUR", i128::MIN).chars().next(), Some('\u{2212}'));
    }

    #[test]
    fn days_are_in_the_advertisers_zone() {
        let (berlin, one) = ("Europe/Berlin".parse().unwrap(), 1_793_577_600);
        assert_eq!(moment(one, &berlin), "2\u{a0}Nov\u{a0}2026, 01:00");
        assert_eq!(moment(one, &TimeZone::UTC), "2\u{a0}Nov\u{a0}2026, 00:00");
        assert_eq!(day(day_of(one, &"America/New_York".parse().unwrap())), "1\u{a0}Nov\u{a0}2026");
        let date = |text: &str| text.parse::<Date>().unwrap();
        assert_eq!(days(date("2026-10-27"), date("2026-11-23")), "27\u{a0}Oct to 23\u{a0}Nov\u{a0}2026");
        assert_eq!(
            days(date("2025-12-31"), date("2026-01-01")),
            "31\u{a0}Dec\u{a0}2025 to 1\u{a0}Jan\u{a0}2026"
        );
        assert_eq!(days(date("2026-01-01"), date("2026-01-01")), "1\u{a0}Jan\u{a0}2026");
        assert_eq!(moment(u64::MAX, &TimeZone::UTC), "30\u{a0}Dec\u{a0}9999, 22:00");
    }

    #[test]
    fn durations_are_in_their_largest_unit() {
        let cases = [
            (1, "1 second"),
            (60, "1 minute"),
            (61, "2 minutes"),
            (2 * HOUR, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(
            [relative(100, 30), relative(30, 100), relative(100, 80), relative(100, 130)],
            ["in 2 minutes", "2 minutes ago", "in 20 seconds", "now"]
        );
    }

    #[test]
    fn ratios_are_short() {
        assert_eq!([percent(0.0125), ratio(3.418), ratio(1234.6)], ["1.25%", "3.42", "1,235"]);
    }
}
