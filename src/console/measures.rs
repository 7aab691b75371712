//! Noised numbers on pages: the number, how far off it can be, or why it is not there.
//!
//! What a reader is told of a number near 0 is decided where it is for every table, in the collector's words.

use std::collections::BTreeSet;

use maud::{Markup, Render, html};

use super::format::{self, PRICE_FINE, amount, grouped_u128, price};
use super::layout::Nav;
use super::parts::interval_bar;
use crate::collector::Told;
use crate::insights::{Measure, NullReason, Number, Row, Suppression, Unit};

/// What stands where a number is too small to be shown.
pub const TOO_FEW: &str = "too few to show";

/// A number of a unit, without the unit.
pub fn plain(unit: Unit, number: u128) -> String {
    match unit {
        Unit::Count => grouped_u128(number),
        Unit::Money(currency) => amount(currency, i128::try_from(number).unwrap_or(i128::MAX)),
        Unit::Price(currency) => price(currency, number),
        Unit::Ratio => format::ratio(approximate(number) / 1_000.0),
    }
}

/// An end of an interval. What is shown shorter than it is known is rounded outward: a return of 0.996 is no 1.00, which would be all that
/// was spent.
fn end(unit: Unit, number: u128, upper: bool) -> String {
    let rounded = |by: u128| if upper { number.div_ceil(by) } else { number / by };
    match unit {
        Unit::Count | Unit::Money(_) => plain(unit, number),
        Unit::Price(_) if number < PRICE_FINE => plain(unit, number),
        Unit::Price(currency) => plain(Unit::Money(currency), rounded(unit.steps().into())),
        Unit::Ratio => {
            let hundredths = rounded(10);
            if hundredths >= 10_000 {
                return grouped_u128(rounded(1_000));
            }
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        }
    }
}

/// A number for display and drawing.
#[expect(clippy::cast_precision_loss, reason = "display: pixels and two decimals need few bits")]
pub fn approximate(number: u128) -> f64 {
    number as f64
}

/// What stands where an amount or a return could be nearly anything.
pub const UNCLEAR: &str = "unclear";

/// Whether an amount or a return is too uncertain to say. A count that cannot be told from nothing is small; these are not: much can
/// have been earned by few conversions, and whoever reads "about 0" ends a campaign that pays.
fn is_unclear(number: &Number) -> bool {
    matches!(number.unit, Unit::Money(_) | Unit::Ratio) && matches!(number.told(), Told::AboutNothing { .. })
}

/// The number in words where its interval stands below it.
fn headline(number: &Number) -> String {
    if is_unclear(number) { UNCLEAR.to_owned() } else { number_words(number) }
}

/// The number in words, without its currency.
pub fn number_words(number: &Number) -> String {
    if is_unclear(number) {
        return format!("{UNCLEAR}: {}", interval_words(number));
    }
    match number.told() {
        Told::Number(shown) => plain(number.unit, shown),
        Told::AboutNothing { at_most: 0 } => "about 0".to_owned(),
        Told::AboutNothing { at_most } => format!("about 0, at most {}", end(number.unit, at_most, true)),
    }
}

/// The interval in words: `8,437 to 8,453`.
pub fn interval_words(number: &Number) -> String {
    format!("{} to {}", end(number.unit, number.low, false), end(number.unit, number.high, true))
}

/// What a sentence about suppressed numbers stands beside: [`TOO_FEW`], and which numbers, unless it is about all.
pub fn too_few_of(reason: Suppression) -> String {
    let of = match reason {
        Suppression::BelowThreshold => "",
        Suppression::ConversionsSuppressed => ", of value, cost and return",
        Suppression::ComparedDaysSuppressed => ", of cost and return",
    };
    format!("{TOO_FEW}{of}")
}

/// Any measure in words.
pub fn words(measure: &Measure) -> String {
    match measure {
        Measure::Shown(number) => number_words(number),
        Measure::Suppressed { .. } => TOO_FEW.to_owned(),
        Measure::Null { reason } => short(*reason).to_owned(),
    }
}

/// A reason in the room of a cell; the sentence stands below the table.
pub fn short(reason: NullReason) -> &'static str {
    match reason {
        NullReason::NotAskedFor | NullReason::NotAtThisLevel => "\u{2013}",
        NullReason::NotMeasured => "not measured",
        NullReason::NoLongerCounted => "no longer counted",
        NullReason::EventNotCounted => "not counted",
        NullReason::ValuesNotSummed => "not summed",
        NullReason::NotReleased => "not released",
        NullReason::WindowsAreLonger => "windows are longer",
        NullReason::NoSpend => "no spend",
        NullReason::NoWholeDay => "no whole day",
        NullReason::ConversionsMayBeNone => "no upper end",
        NullReason::CurrenciesDiffer => "currencies differ",
        NullReason::UnitsDiffer => "units differ",
    }
}

/// Low end, number and high end for a drawing, never below 0 and never above what can be.
pub fn drawn(number: &Number) -> (f64, f64, f64) {
    let middle = u128::try_from(number.estimate).unwrap_or(0).min(number.high);
    (approximate(number.low), approximate(middle), approximate(number.high))
}

/// A measure in a cell: the number, its interval, and that as a bar on a scale up to `most` (in the measure's own unit), if there
/// is one.
pub fn cell(measure: &Measure, most: Option<f64>) -> Markup {
    let Some(number) = measure.shown() else {
        return html! { span class="few" { (words(measure)) } };
    };
    let (low, middle, high) = drawn(number);
    html! {
        (headline(number))
        div class="small" { (interval_words(number)) }
        @if let Some(most) = most { (interval_bar(low, middle, high, most)) }
    }
}

/// A measure of money in a cell, with its currency if the table has several.
pub fn money_cell(measure: &Measure, coded: bool) -> Markup {
    match measure {
        Measure::Shown(number @ Number { unit: Unit::Money(currency) | Unit::Price(currency), .. })
            if coded =>
        {
            html! {
                (headline(number)) "\u{a0}" (currency)
                div class="small" { (interval_words(number)) }
            }
        }
        _ => cell(measure, None),
    }
}

/// A measure as the big number of a card: what stands large, and what below it.
pub fn card(label: &str, measure: &Measure, below: impl Render) -> Markup {
    let unit = match measure {
        Measure::Shown(Number { unit: Unit::Money(currency) | Unit::Price(currency), .. }) => {
            currency.code().to_owned()
        }
        _ => String::new(),
    };
    html! {
        div class="card" {
            dt { span { (label) } @if !unit.is_empty() { span class="unit" { (unit) } } }
            dd {
                @match measure {
                    Measure::Shown(number) => {
                        @let near_nothing = matches!(number.told(), Told::AboutNothing { .. });
                        span class=(if near_nothing { "big words" } else { "big" }) { (headline(number)) }
                        span class="small" { a class="why" href=(format!("{}#intervals", Nav::Help.path())) { (interval_words(number)) } }
                    }
                    Measure::Suppressed { reason } => {
                        span class="big words" { (TOO_FEW) }
                        span class="small" { (reason.sentence()) }
                    }
                    Measure::Null { reason } => {
                        span class="big words" { (short(*reason)) }
                        span class="small" { (reason.sentence()) }
                    }
                }
                (below)
            }
        }
    }
}

/// The sentences behind the words of a table's cells, each once.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    few: BTreeSet<Suppression>,
    none: BTreeSet<NullReason>,
    ended_low: bool,
    unclear: bool,
}

impl Notes {
    /// Those of some rows, of the measures that they show.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut notes = Self::default();
        for row in rows {
            for measure in [&row.conversions, &row.value, &row.cpa, &row.roas] {
                notes.add(measure);
            }
        }
        notes
    }

    /// Adds that of one measure.
    pub fn add(&mut self, measure: &Measure) {
        match measure {
            Measure::Shown(number) => {
                let unclear = is_unclear(number);
                self.unclear |= unclear;
                self.ended_low |= !unclear && matches!(number.told(), Told::AboutNothing { .. });
            }
            Measure::Suppressed { reason } => {
                self.few.insert(*reason);
            }
            Measure::Null { reason: NullReason::NotAskedFor | NullReason::NotAtThisLevel } => {}
            Measure::Null { reason } => {
                self.none.insert(*reason);
            }
        }
    }
}

impl Render for Notes {
    fn render(&self) -> Markup {
        html! {
            dl class="facts small notes" {
                dt { "\u{2026} to \u{2026}" }
                dd {
                    "95% interval: the true number is outside of it for one number in twenty at most, more often where a number is only just large enough to be shown. "
                    a href=(format!("{}#intervals", Nav::Help.path())) { "How to read these numbers" }
                }
                @if self.ended_low {
                    dt { "about 0" }
                    dd { "It cannot be told from nothing. Noise makes some of such numbers negative, which no count is." }
                }
                @if self.unclear {
                    dt { (UNCLEAR) }
                    dd { "Too uncertain to say: it can be anything in its interval. It does not mean 0. A longer range says more." }
                }
                @for reason in &self.few {
                    dt { (too_few_of(*reason)) }
                    dd { (reason.sentence()) }
                }
                @for reason in &self.none {
                    dt { (short(*reason)) }
                    dd { (reason.sentence()) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(estimate: i128, low: u128, high: u128, unit: Unit) -> Number {
        Number { estimate, low, high, standard_error: Some(4.0), unit }
    }

    #[test]
    fn numbers_are_told_as_everywhere_else() {
        let (count, euro) = (Unit::Count, Unit::Money("EUR".parse().unwrap()));
        let shown = number(8_445, 8_437, 8_453, count);
        assert_eq!(
            (number_words(&shown), interval_words(&shown)),
            ("8,445".to_owned(), "8,437 to 8,453".to_owned())
        );
        let none = number(-3, 0, 8, count);
        assert_eq!(
            (number_words(&none), interval_words(&none)),
            ("about 0, at most 8".to_owned(), "0 to 8".to_owned())
        );
        assert_eq!(drawn(&none), (0.0, 0.0, 8.0));
        let value = number(123_450, 120_000, 130_000, euro);
        assert_eq!(interval_words(&value), "1,200.00 to 1,300.00");
        assert_eq!(number_words(&number(3_412, 3_000, 4_000, Unit::Ratio)), "3.41");
        let html = card("Value", &Measure::Shown(value), html! {}).into_string();
        assert!(html.contains("1,234.50") && html.contains("EUR"));
    }

    /// A return between 0.996 and 1.204 read "1.00 to 1.20": as if all spend had come back for sure.
    #[test]
    fn the_ends_of_a_return_are_rounded_outward() {
        let words = |low, high| interval_words(&number(1_100, low, high, Unit::Ratio));
        assert_eq!(words(996, 1_204), "0.99 to 1.21");
        assert_eq!(words(1_000, 1_200), "1.00 to 1.20");
        assert_eq!(words(99_999, 100_001), "99.99 to 101");
        assert_eq!(words(1_234_567, 2_345_678), "1,234 to 2,346");
    }

    /// A campaign with 67 to 149 conversions had a return of "about 0, at most 5.75", of 3.6 in truth: whoever believed it ended what
    /// paid. Only a count that reaches 0 is small; an amount or a return is unknown.
    #[test]
    fn a_return_that_may_be_anything_is_not_called_nothing() {
        let euro = Unit::Money("EUR".parse().unwrap());
        let of_spend = number(1_319, 0, 5_746, Unit::Ratio);
        let value = number(18_000, 0, 86_320, euro);
        assert_eq!(number_words(&of_spend), "unclear: 0.00 to 5.75");
        assert_eq!(number_words(&value), "unclear: 0.00 to 863.20");
        for shown in [Measure::Shown(of_spend), Measure::Shown(value)] {
            let mut notes = Notes::default();
            notes.add(&shown);
            for html in [cell(&shown, None), card("Return", &shown, html! {}), notes.render()] {
                let html = html.into_string();
                assert!(html.contains(UNCLEAR) && !html.contains("about 0"), "{html}");
            }
        }
        assert_eq!(number_words(&number(1, 0, 5, Unit::Count)), "about 0, at most 5");
        assert_eq!(number_words(&number(3_000, 0, 5_746, Unit::Ratio)), "3.00");
    }

    /// A page view that costs 0.3 cents was "0.00, 0.00 to 0.01", and called unclear.
    #[test]
    fn prices_below_a_hundred_minor_units_are_told_finer() {
        let price = Unit::Price("EUR".parse().unwrap());
        let of = |estimate, low, high| {
            let number = number(estimate, low, high, price);
            (number_words(&number), interval_words(&number))
        };
        let told = |words: &str, interval: &str| (words.to_owned(), interval.to_owned());
        assert_eq!(of(30, 29, 31), told("0.0030", "0.0029 to 0.0031"));
        assert_eq!(of(0, 0, 1), told("about 0, at most 0.0001", "0.0000 to 0.0001"));
        assert_eq!(of(123_449, 123_401, 123_501), told("12.34", "12.34 to 12.36"));
        let html = card("Cost", &Measure::Shown(number(30, 29, 31, price)), html! {}).into_string();
        assert!(html.contains("EUR") && html.contains("0.0030") && !html.contains(UNCLEAR), "{html}");
    }

    /// Where campaigns spend in different currencies, spend had its code and cost had none.
    #[test]
    fn money_has_its_currency_where_there_are_several() {
        let dollars = Measure::Shown(number(123_450, 120_000, 130_000, Unit::Money("USD".parse().unwrap())));
        assert!(money_cell(&dollars, true).into_string().contains("1,234.50\u{a0}USD"));
        assert!(!money_cell(&dollars, false).into_string().contains("USD"));
        let few = Measure::suppressed(Suppression::BelowThreshold);
        assert!(money_cell(&few, true).into_string().contains(TOO_FEW));
    }

    #[test]
    fn what_is_not_shown_says_why_and_shows_no_number() {
        for reason in Suppression::ALL {
            let html = cell(&Measure::suppressed(reason), Some(10.0)).into_string();
            assert!(html.contains(TOO_FEW) && !html.contains("svg"), "{html}");
            let mut notes = Notes::default();
            notes.add(&Measure::suppressed(reason));
            assert!(notes.render().into_string().contains(reason.sentence()));
        }
        for reason in NullReason::ALL {
            assert!(!words(&Measure::null(reason)).chars().any(|c| c.is_ascii_digit()));
            let html = card("Value", &Measure::null(reason), html! {}).into_string();
            assert!(html.contains(&html! { (reason.sentence()) }.into_string()));
        }
    }
}
