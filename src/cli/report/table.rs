//! A report as a table: as wide as the terminal, with a sentence for every number that is not there.
//!
//! Numbers and reasons are put as the console puts them, by the same functions.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;

use super::{Measure, Row};
use crate::collector::Told;
use crate::console::covered::{ShownOf, sentences_of};
use crate::console::format::{amount, grouped};
use crate::console::measures::{TOO_FEW, interval_words, number_words, short, too_few_of};
use crate::insights::{Coverage, MissingWhy, NullReason, Suppression, Unit};
use crate::text::printable;

/// Characters of a line where nobody says how wide the terminal is: a wide one, since intervals of amounts take room.
const WIDTH_DEFAULT: usize = 132;

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
    let _ = writeln!(out, "{} to {}; {}\n", first.date_start, first.date_stop, released(coverage));
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

/// How many windows are in the numbers. Of a range to come it is said that nothing can be: "0 of 28" reads as if something lacked.
fn released(row: &Row) -> String {
    let super::Coverage { windows, released, missing, .. } = &row.coverage;
    let to_come = |why: &str| [MissingWhy::Open, MissingWhy::NotMeasured].iter().any(|of| of.name() == why);
    let open = missing.iter().any(|missing| missing.why == MissingWhy::Open.name());
    if *released == 0 && open && missing.iter().all(|missing| to_come(&missing.why)) {
        return "no window of it is over yet".to_owned();
    }
    format!("{released} of {windows} windows released")
}

/// Of how many windows and days numbers are, where that is not all of them; of campaigns where they differ from the whole.
fn covered(out: &mut String, rows: &[Row], whole: &Row) {
    let mut lines = vec![("these numbers".to_owned(), of_row(whole))];
    let others = rows.iter().filter(|row| row.coverage != whole.coverage);
    lines.extend(others.map(|row| (name(row), of_row(row))));
    for (index, (about, words)) in lines.iter().filter(|(_, words)| !words.is_empty()).enumerate() {
        let _ = writeln!(out, "{}{about}: {words}", if index == 0 { "\n" } else { "" });
    }
}

/// What of a row is not whole.
fn of_row(row: &Row) -> String {
    let of = &row.coverage;
    let shown = |measure: &Option<Measure>| matches!(measure, Some(Measure::Shown { .. }));
    let coverage = Coverage {
        windows: of.windows,
        released: of.released,
        value_released: of.value_released,
        days: of.days,
        whole_days: of.whole_days,
        whole_value_days: of.whole_value_days,
        missing: Vec::new(),
    };
    let (value, cpa, roas) = (shown(&row.value), shown(&row.cpa), shown(&row.roas));
    sentences_of(&coverage, ShownOf { value, cpa, roas }).join(" ")
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
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), grouped);
    let spend = row.spend.zip(row.currency);
    let mut cells = vec![
        ("campaign", name),
        ("impressions", number(row.impressions)),
        ("clicks", number(row.clicks)),
        ("spend", spend.map_or_else(|| "-".to_owned(), |(of, in_)| format!("{} {in_}", amount(in_, of)))),
    ];
    cells.extend(noised(row).map(|(field, of)| (field, words(&of))));
    cells
}

/// A noised number of a row, or why there is none.
enum Noised<'a> {
    Shown(crate::insights::Number),
    Few(&'a str),
    /// Why, if that was said.
    None(Option<&'a str>),
}

/// The noised numbers of a row, column by column.
fn noised(row: &Row) -> [(&'static str, Noised<'_>); 4] {
    // What has no currency has no amount either.
    let spent = row.currency.map_or(Unit::Count, Unit::Price);
    [
        ("conversions", Unit::Count, &row.conversions),
        ("cpa", spent, &row.cpa),
        ("value", Unit::Money(row.value_currency), &row.value),
        ("roas", Unit::Ratio, &row.roas),
    ]
    .map(|(field, unit, measure)| {
        let of = match measure {
            None => Noised::None(row.why.get(field).map(String::as_str)),
            Some(Measure::Suppressed { suppressed }) => Noised::Few(suppressed),
            Some(shown) => shown.shown(unit).map_or(Noised::None(None), Noised::Shown),
        };
        (field, of)
    })
}

/// `1,207 (1,201 to 1,217)`, or what stands in its place on pages.
fn words(of: &Noised<'_>) -> String {
    match of {
        Noised::Shown(number) => match number.told() {
            Told::Number(_) => format!("{} ({})", number_words(number), interval_words(number)),
            Told::AboutNothing { .. } => number_words(number),
        },
        Noised::Few(_) => TOO_FEW.to_owned(),
        Noised::None(None) => "-".to_owned(),
        Noised::None(Some(reason)) => {
            known(reason).map_or_else(|| printable(reason), |reason| short(reason).to_owned())
        }
    }
}

/// A reason by its name, unless it is of a newer collector.
fn known(name: &str) -> Option<NullReason> {
    NullReason::ALL.into_iter().find(|reason| reason.name() == name)
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
        for (_, of) in noised(row) {
            match of {
                Noised::Few(reason) => {
                    let known = Suppression::ALL.into_iter().find(|known| known.name() == reason);
                    reasons.insert(match known {
                        Some(known) => (too_few_of(known), known.sentence().to_owned()),
                        None => (words(&of), printable(reason)),
                    });
                }
                Noised::None(Some(reason)) => {
                    let sentence = match known(reason) {
                        None => continue,
                        Some(reason @ NullReason::NotReleased) => {
                            format!("{} `arras admin windows` says both.", reason.sentence())
                        }
                        Some(reason) => reason.sentence().to_owned(),
                    };
                    reasons.insert((words(&of), sentence));
                }
                Noised::Shown(_) | Noised::None(None) => {}
            }
        }
    }
    let _ = writeln!(out, "\nIn brackets: where the truth is, with a probability of 95%.");
    for (about, sentence) in reasons {
        let _ = writeln!(out, "{about}: {sentence}");
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
            row(Some("Autumn"), &shown(-3, 0, 8), &Value::Null),
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
        assert!(text.contains("It does not mean 0."), "{text}");
        assert!(
            line("Spring").contains("not summed") && text.contains("not summed: Values were not"),
            "{text}"
        );
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
        let words = |low| {
            let row = covered_row("Spring", 28, low);
            let [.., (_, of)] = noised(&row);
            words(&of)
        };
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

    /// The report decided a second time, in doubles, what is near nothing and how it is rounded: "at most 7" where pages had "at most 6".
    #[test]
    fn a_report_prints_what_pages_print() {
        let below = json!({ "estimate": -1, "low": 0, "high": 6, "standard_error": 3.1 });
        let text = report(&[row(Some("Spring"), &below, &Value::Null)], None, 140);
        assert!(text.contains("about 0, at most 6"), "{text}");
        let many = json!({ "estimate": 12_345, "low": 12_300, "high": 12_390, "standard_error": 20.0 });
        let text = report(&[row(Some("Spring"), &many, &Value::Null)], None, 140);
        assert!(text.contains("12,345 (12,300 to 12,390)") && text.contains("120,000"), "{text}");
    }

    /// Of a range to come it said "0 of 28 windows released", and it explained a number that has no column.
    #[test]
    fn a_report_of_days_to_come_says_so() {
        let mut of = row(Some("Spring"), &Value::Null, &Value::Null);
        of.why = [("conversions", "not_released"), ("not_attributed", "units_differ"), ("roas", "a_new_one")]
            .map(|(field, why)| (field.to_owned(), why.to_owned()))
            .into();
        of.coverage.released = 0;
        let mut told = |missing: &[&str]| {
            let missing = missing.iter().map(|why| super::super::Missing { why: (*why).to_owned() });
            of.coverage.missing = missing.collect();
            report(std::slice::from_ref(&of), None, 140)
        };
        let text = told(&["not_measured", "open"]);
        assert!(text.starts_with("2026-11-02 to 2026-11-08; no window of it is over yet\n"), "{text}");
        assert!(
            text.contains("not released: Nothing of this period") && text.contains("arras admin windows")
        );
        assert!(text.contains("a_new_one") && !text.contains("different steps"), "{text}");
        for missing in [&["open", "failed"][..], &["not_measured"], &[]] {
            assert!(told(missing).contains("0 of 7 windows released"), "{missing:?}");
        }
    }

    /// A report told of the sum of all campaigns how many windows are in it, and of none which are in its own.
    #[test]
    fn campaigns_with_fewer_windows_or_days_say_so() {
        let rows = [covered_row("Spring", 10, 1.0), covered_row("Autumn", 28, 1.0)];
        let text = report(&rows, Some(&covered_row("", 28, 1.0)), 200);
        let told = "Spring: Conversions are of 10 of 28 windows. CPA and ROAS compare spend with the same 10 of 28 days.";
        assert!(text.contains(told), "{text}");
        assert!(!text.contains("Autumn:") && !text.contains("these numbers:"), "{text}");
    }
}
