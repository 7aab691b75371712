//! A report as a table: as wide as the terminal, with a sentence for every number that is not there.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;

use super::{Measure, Row};
use crate::insights::{NullReason, Suppression};
use crate::registry::Currency;
use crate::text::printable;

/// Characters of a line where nobody says how wide the terminal is.
const WIDTH_DEFAULT: usize = 120;

/// Fewer than this hold no table.
const WIDTH_MIN: usize = 60;

/// Characters that a name keeps however narrow the terminal is.
const NAME_CHARACTERS_MIN: usize = 12;

/// Columns that are left out when the terminal is too narrow, the first one first.
const EXPENDABLE: [&str; 4] = ["impressions", "clicks", "value", "roas"];

/// How wide the terminal is, by the variable that shells set.
pub(super) fn width() -> usize {
    let said = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    said.unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN)
}

/// The whole report.
pub(super) fn report(rows: &[Row], total: Option<&Row>, width: usize) -> String {
    let mut out = String::new();
    let Some(first) = rows.first().or(total) else {
        return "no campaign yet: create one with `arras admin campaign create`\n".to_owned();
    };
    let coverage = total.unwrap_or(first);
    let _ = writeln!(
        out,
        "{} to {}; {} of {} windows released\n",
        first.date_start, first.date_stop, coverage.coverage.released, coverage.coverage.windows
    );
    let mut table: Vec<Vec<(&str, String)>> = rows.iter().map(|row| cells(name(row), row)).collect();
    if let Some(total) = total {
        table.push(cells("all campaigns".to_owned(), total));
    }
    let mut columns: Vec<&str> =
        table.first().map_or_else(Vec::new, |row| row.iter().map(|(name, _)| *name).collect());
    let mut expendable = EXPENDABLE.iter();
    while widths(&table, &columns).iter().map(|width| width + 2).sum::<usize>() > width + 2 + spare(&table) {
        let Some(out) = expendable.next() else { break };
        columns.retain(|column| column != out);
    }
    write(&mut out, &table, &columns, width);
    covered(&mut out, rows, coverage);
    notes(&mut out, rows.iter().chain(total));
    out
}

/// Of how many windows and days numbers are, where that is not all of them; of campaigns where they differ from the whole.
fn covered(out: &mut String, rows: &[Row], whole: &Row) {
    let mut lines = of_row(whole).map(|words| vec![("these numbers".to_owned(), words)]).unwrap_or_default();
    let others = rows.iter().filter(|row| row.coverage != whole.coverage);
    lines.extend(others.filter_map(|row| Some((name(row), of_row(row)?))));
    for (index, (about, words)) in lines.iter().enumerate() {
        let _ = writeln!(out, "{}{about}: {words}", if index == 0 { "\n" } else { "" });
    }
}

/// What of a row is not whole.
fn of_row(row: &Row) -> Option<String> {
    let of = &row.coverage;
    let shown = |measure: &Option<Measure>| matches!(measure, Some(Measure::Shown { .. }));
    let mut parts = Vec::new();
    if of.released < of.windows {
        parts.push(format!("conversions of {} of {} windows", of.released, of.windows));
    }
    if shown(&row.value) && of.value_released < of.released {
        parts.push(format!("value of {} of these {}", of.value_released, of.released));
    }
    if shown(&row.cpa) && of.whole_days < of.days {
        parts.push(format!("cpa of {} of {} days", of.whole_days, of.days));
    }
    if shown(&row.roas) && of.whole_value_days < of.days {
        parts.push(format!("roas of {} of {} days", of.whole_value_days, of.days));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What a column of names can give away.
fn spare(table: &[Vec<(&str, String)>]) -> usize {
    let longest = table.iter().filter_map(|row| row.first()).map(|(_, cell)| cell.chars().count()).max();
    longest.unwrap_or(0).saturating_sub(NAME_CHARACTERS_MIN)
}

fn name(row: &Row) -> String {
    printable(row.campaign_name.as_deref().unwrap_or("all campaigns"))
}

fn cells(name: String, row: &Row) -> Vec<(&'static str, String)> {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let money = |minor: Option<u64>| match (minor, row.currency) {
        (Some(minor), Some(currency)) => format!("{} {currency}", currency.decimal(minor.into())),
        _ => "-".to_owned(),
    };
    let whole = |number: &serde_json::Number| number.to_string();
    let amount = |currency: Option<Currency>| {
        move |number: &serde_json::Number| {
            let minor = i128::from(number.as_i64().unwrap_or(0));
            currency.map_or_else(|| minor.to_string(), |currency| currency.decimal(minor))
        }
    };
    vec![
        ("campaign", name),
        ("impressions", number(row.impressions)),
        ("clicks", number(row.clicks)),
        ("spend", money(row.spend)),
        ("conversions", measure(row.conversions.as_ref(), true, whole)),
        ("cpa", measure(row.cpa.as_ref(), false, amount(row.currency))),
        ("value", measure(row.value.as_ref(), false, amount(Some(row.value_currency)))),
        ("roas", returned(row.roas.as_ref())),
    ]
}

/// A return, to two decimals: the best guess to the nearest, the ends of its interval outward.
fn returned(of: Option<&Measure>) -> String {
    let Some(Measure::Shown { estimate, low, high, .. }) = of else {
        return measure(of, false, ToString::to_string);
    };
    let hundredths = |number: &serde_json::Number| number.as_f64().unwrap_or(0.0) * 100.0;
    // It comes with three decimals: what is off by less than a thousandth of a hundredth is binary, not there.
    let (low, high) = ((hundredths(low) + 0.001).floor() / 100.0, (hundredths(high) - 0.001).ceil() / 100.0);
    if reaches_nothing(estimate.as_f64(), Some(low), Some(high)) {
        return format!("unclear: {low:.2} to {high:.2}");
    }
    format!("{:.2} ({low:.2} to {high:.2})", hundredths(estimate) / 100.0)
}

/// Whether a number cannot be told from nothing. A count of which that is true is small; an amount or a return is only unknown.
fn reaches_nothing(estimate: Option<f64>, low: Option<f64>, high: Option<f64>) -> bool {
    low.unwrap_or(0.0) <= 0.0 && estimate.unwrap_or(0.0) * 3.0 <= high.unwrap_or(0.0)
}

/// `1207 (1201 to 1217)`. What cannot be told from nothing is said so, as on pages: a count below 0 is nobody's count.
fn measure(
    measure: Option<&Measure>,
    count: bool,
    written: impl Fn(&serde_json::Number) -> String,
) -> String {
    match measure {
        None => "-".to_owned(),
        Some(Measure::Suppressed { .. }) => "too few to show".to_owned(),
        Some(Measure::Shown { estimate, low, high, standard_error }) => {
            let of = |number: &serde_json::Number| number.as_f64().unwrap_or(0.0);
            if reaches_nothing(estimate.as_f64(), low.as_f64(), high.as_f64()) {
                // Below 0 the upper end comes down with the estimate; it is shown no smaller than for one of 0.
                let least = standard_error.map_or(0.0, |error| 2.0 * error).ceil();
                let high = if of(estimate) < 0.0 && of(high) < least {
                    serde_json::Number::from_f64(least).map_or_else(
                        || written(high),
                        |_| {
                            #[allow(
                                clippy::cast_possible_truncation,
                                reason = "a whole number of standard errors"
                            )]
                            written(&serde_json::Number::from(least as i64))
                        },
                    )
                } else {
                    written(high)
                };
                if !count {
                    return format!("unclear: {} to {high}", written(low));
                }
                return format!("about 0, at most {high}");
            }
            // Noise can lift it above what can be.
            let told = if of(estimate) > of(high) { high } else { estimate };
            format!("{} ({} to {})", written(told), written(low), written(high))
        }
    }
}

fn widths(table: &[Vec<(&str, String)>], columns: &[&str]) -> Vec<usize> {
    let of = |column: &&str| {
        let cells =
            table.iter().flatten().filter(|(name, _)| name == column).map(|(_, cell)| cell.chars().count());
        cells.chain([column.chars().count()]).max().unwrap_or(0)
    };
    columns.iter().map(of).collect()
}

fn write(out: &mut String, table: &[Vec<(&str, String)>], columns: &[&str], width: usize) {
    let mut widths = widths(table, columns);
    let all: usize = widths.iter().map(|width| width + 2).sum::<usize>().saturating_sub(2);
    if let Some(name) = widths.first_mut() {
        *name = name.saturating_sub(all.saturating_sub(width)).max(NAME_CHARACTERS_MIN.min(*name));
    }
    let header = columns.iter().map(|column| (*column, (*column).to_owned())).collect::<Vec<_>>();
    for row in std::iter::once(&header).chain(table) {
        let mut line = String::new();
        for (column, width) in columns.iter().zip(&widths) {
            let cell = row.iter().find(|(name, _)| name == column).map_or("", |(_, cell)| cell);
            let cell = cut(cell, *width);
            let _ = if line.is_empty() {
                write!(line, "{cell:<width$}")
            } else {
                write!(line, "  {cell:>width$}")
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    format!("{kept}...")
}

/// A sentence for each reason for which a number is not there.
fn notes<'a>(out: &mut String, rows: impl Iterator<Item = &'a Row>) {
    let (mut reasons, mut invented) = (BTreeSet::new(), false);
    for row in rows {
        invented |= row.invented;
        for measure in [&row.conversions, &row.value, &row.cpa, &row.roas].into_iter().flatten() {
            if let Measure::Suppressed { suppressed } = measure {
                reasons.insert(("too few to show".to_owned(), suppressed.clone()));
            }
        }
        reasons.extend(row.why.iter().map(|(field, reason)| (field.clone(), reason.clone())));
    }
    let _ = writeln!(out, "\nIn brackets: where the truth is, with a probability of 95%.");
    for (about, reason) in reasons {
        let sentence = Suppression::ALL
            .iter()
            .map(|known| (known.name(), known.sentence()))
            .chain(NullReason::ALL.iter().map(|known| (known.name(), known.sentence())))
            .find(|(name, _)| *name == reason)
            .map_or_else(|| printable(&reason), |(_, sentence)| sentence.to_owned());
        let _ = writeln!(out, "{}: {sentence}", printable(&about));
    }
    if invented {
        let _ = writeln!(out, "Impressions, clicks and spend are invented, for a demo.");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn row(name: Option<&str>, conversions: &Value, cpa: &Value) -> Row {
        serde_json::from_value(json!({
            "date_start": "2026-11-02", "date_stop": "2026-11-08", "campaign_name": name, "currency": "EUR",
            "value_currency": "EUR", "impressions": 120_000, "clicks": 900, "spend": 45_050, "conversions": conversions,
            "value": null, "cpa": cpa, "roas": null, "why": { "value": "values_not_summed" },
            "coverage": { "windows": 7, "released": 6, "value_released": 0, "days": 7, "whole_days": 6, "whole_value_days": 0 },
        }))
        .unwrap()
    }

    fn shown(estimate: i64, low: u64, high: u64) -> Value {
        json!({ "estimate": estimate, "low": low, "high": high, "standard_error": 4.0 })
    }

    /// A number that is not there is never a 0, and one that could be nothing is told so.
    #[test]
    fn a_report_says_what_is_known_of_each_number() {
        let rows = [
            row(
                Some("Spring"),
                &shown(120, 112, 128),
                &json!({ "estimate": 375, "low": 352, "high": 402, "standard_error": null }),
            ),
            row(Some("Summer"), &json!({ "suppressed": "below_threshold" }), &Value::Null),
            row(Some("Autumn"), &shown(-3, 0, 5), &Value::Null),
            row(Some("Winter"), &shown(70, 50, 60), &Value::Null),
        ];
        let text = report(&rows, Some(&row(None, &shown(120, 100, 140), &Value::Null)), 140);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(text.starts_with("2026-11-02 to 2026-11-08; 6 of 7 windows released\n"), "{text}");
        assert!(
            line("Spring").contains("450.50 EUR") && line("Spring").contains("120 (112 to 128)"),
            "{text}"
        );
        assert!(line("Spring").contains("3.75 (3.52 to 4.02)"), "{text}");
        assert!(line("Summer").contains("too few to show"), "{text}");
        assert!(line("Autumn").contains("about 0, at most 8") && !text.contains("-3"), "{text}");
        assert!(line("Winter").contains("60 (50 to 60)"), "{text}");
        assert!(text.contains("It does not mean 0.") && text.contains("Turn them on"), "{text}");
        assert!(report(&[], None, 140).contains("no campaign yet"));
    }

    #[test]
    fn a_report_is_as_wide_as_the_terminal() {
        let long = "a campaign with a name that is far too long for any terminal of eighty characters";
        let rows = [row(Some(long), &shown(120, 112, 128), &Value::Null)];
        for width in [60, 80, 100, 140] {
            let text = report(&rows, None, width);
            let table = text.lines().skip(2).take(2);
            let widest = table.map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width, "{width}: {widest}\n{text}");
            assert!(text.contains("120 (112 to 128)"), "{text}");
        }
        assert!(report(&rows, None, 80).contains("a campaign"));
    }

    fn covered_row(name: &str, released: u32, low: f64) -> Row {
        let shown = |estimate: f64, low: f64, high: f64| json!({ "estimate": estimate, "low": low, "high": high, "standard_error": 1.0 });
        serde_json::from_value(json!({
            "date_start": "2026-11-01", "date_stop": "2026-11-28", "campaign_name": name, "currency": "EUR",
            "value_currency": "EUR", "impressions": 1_000, "clicks": 10, "spend": 5_000,
            "conversions": { "estimate": 100, "low": 90, "high": 110, "standard_error": 4.0 },
            "value": { "estimate": 10_000, "low": 9_000, "high": 11_000, "standard_error": 400.0 },
            "cpa": { "estimate": 50, "low": 45, "high": 56, "standard_error": null },
            "roas": shown(1.1, low, 1.204),
            "coverage": { "windows": 28, "released": released, "value_released": released, "days": 28,
                "whole_days": released, "whole_value_days": released, "missing": [] },
        }))
        .unwrap()
    }

    /// A return between 0.996 and 1.204 read "1.00 to 1.20".
    #[test]
    fn the_ends_of_a_return_are_rounded_outward() {
        let words = |low| returned(covered_row("Spring", 28, low).roas.as_ref());
        assert_eq!(words(0.996), "1.10 (0.99 to 1.21)");
        assert_eq!(words(1.0), "1.10 (1.00 to 1.21)");
        for thousandths in 1_u32..2_000 {
            let low = f64::from(thousandths) / 1_000.0;
            let floor = f64::from(thousandths / 10) / 100.0;
            assert!(words(low).contains(&format!("({floor:.2} to")), "{low}");
        }
    }

    /// A campaign with 67 to 149 conversions had a value and a return of "about 0": whoever believed it ended what paid.
    #[test]
    fn a_value_that_may_be_anything_is_not_called_nothing() {
        let mut of = covered_row("Spring", 28, 0.0);
        of.value = serde_json::from_value(shown(180, 0, 86_320)).unwrap();
        of.roas = serde_json::from_value(
            json!({ "estimate": 1.319, "low": 0.0, "high": 5.746, "standard_error": null }),
        )
        .unwrap();
        let text = report(&[of], None, 200);
        assert!(text.contains("unclear: 0.00 to 5.75") && text.contains("unclear: 0.00 to 863.20"), "{text}");
        assert!(!text.contains("about 0"), "{text}");
    }

    /// A report told of the sum of all campaigns how many windows are in it, and of none which are in its own.
    #[test]
    fn campaigns_with_fewer_windows_or_days_say_so() {
        let rows = [covered_row("Spring", 10, 1.0), covered_row("Autumn", 28, 1.0)];
        let text = report(&rows, Some(&covered_row("", 28, 1.0)), 200);
        assert!(text.contains(
            "Spring: conversions of 10 of 28 windows, cpa of 10 of 28 days, roas of 10 of 28 days"
        ));
        assert!(!text.contains("Autumn:") && !text.contains("these numbers:"), "{text}");
    }
}
