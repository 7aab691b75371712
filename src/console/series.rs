//! Rows of an answer as a series over time, and which steps of time suit a range.

use maud::{Markup, html};

use super::chart::{Mark, Point, Series, figure};
use super::format;
use super::measures::{approximate, drawn, interval_words, plain, words};
use super::range::Range;
use crate::insights::{Granularity, Measure, Row, Unit};
use crate::registry::Cadence;

/// Days up to which a range is drawn day by day; beyond, points would cover each other.
const BY_DAY_MAX: i64 = 92;

/// The steps of time in which a range is drawn: as fine as windows are released and points can be told apart.
pub fn steps(cadence: Cadence, range: &Range) -> Granularity {
    match cadence {
        Cadence::Hour | Cadence::Day if range.days() <= BY_DAY_MAX => Granularity::Day,
        _ => Granularity::Week,
    }
}

/// In words: `day`, `week`.
pub fn step_name(steps: Granularity) -> &'static str {
    match steps {
        Granularity::Day => "day",
        Granularity::Week => "week",
        Granularity::Total => "range",
    }
}

/// The picture of one measure of rows that follow each other in time.
pub fn over_time(id: &str, title: &str, rows: &[Row], of: impl Fn(&Row) -> &Measure) -> Markup {
    let points: Vec<Point> = rows.iter().map(|row| point(row, of(row))).collect();
    let unit = rows.iter().find_map(|row| of(row).shown()).map_or(Unit::Count, |number| number.unit);
    let write = move |value: f64| axis(unit, value);
    figure(&Series { id, title, points: &points, write: &write })
}

fn point(row: &Row, measure: &Measure) -> Point {
    let (from, to) = row.period;
    let mark = match measure {
        Measure::Shown(number) => {
            let (low, estimate, high) = drawn(number);
            Mark::Shown { low, estimate, high }
        }
        Measure::Suppressed { .. } => Mark::Suppressed,
        Measure::Null { .. } => Mark::Missing,
    };
    Point {
        short: format::short_day(from),
        full: format::days(from, to),
        mark,
        words: words(measure),
        interval: measure.shown().map(interval_words).unwrap_or_default(),
    }
}

/// A number at the axis: whole ones, without decimals of money.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an axis begins at 0 and ends far below"
)]
fn axis(unit: Unit, value: f64) -> String {
    let value = value.max(0.0).round() as u128;
    match unit {
        Unit::Money(currency) => {
            format::grouped(format::nearest(approximate(value) / 10_f64.powi(currency.decimals().into())))
        }
        _ => plain(unit, value),
    }
}

/// Links that choose the steps of time, where there is a choice.
pub fn step_picker(path: &str, range: &Range, cadence: Cadence, chosen: Granularity) -> Markup {
    html! {
        @if steps(cadence, range) == Granularity::Day {
            ul class="choices small" aria-label="Steps" {
                @for (steps, label) in [(Granularity::Day, "By day"), (Granularity::Week, "By week")] {
                    li {
                        a href=(format!("{path}?{}&by={}", range.query(), step_name(steps)))
                            aria-current=[(steps == chosen).then_some("true")] { (label) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::console::range::RangeQuery;

    #[test]
    fn steps_are_no_finer_than_windows() {
        let range = |days: &str| {
            let query = RangeQuery { days: Some(days.to_owned()), ..RangeQuery::default() };
            Range::new(&query, jiff::civil::date(2026, 11, 24), Cadence::Day)
        };
        assert_eq!(steps(Cadence::Hour, &range("28")), Granularity::Day);
        assert_eq!(steps(Cadence::Day, &range("90")), Granularity::Day);
        assert_eq!(steps(Cadence::Week, &range("28")), Granularity::Week);
        let years = Range { last: None, ..Range::last(400, jiff::civil::date(2026, 11, 24), None) };
        assert_eq!(steps(Cadence::Day, &years), Granularity::Week);
        assert!(step_picker("/x", &range("28"), Cadence::Week, Granularity::Week).into_string().is_empty());
        assert_eq!(axis(Unit::Money("EUR".parse().unwrap()), 123_450.0), "1,235");
        assert_eq!(axis(Unit::Count, 1_500.0), "1,500");
    }
}
