//! The days that a page is about, and how they are chosen.

use jiff::ToSpan as _;
use jiff::civil::Date;
use maud::{Markup, html};
use serde::Deserialize;

use super::format;
use super::layout::Nav;
use super::parts::Field;
use crate::insights::{QUERY_DAYS_DEFAULT, QUERY_DAYS_MAX, last_day};
use crate::registry::Cadence;

/// Ranges by their number of days.
const LAST: [i64; 3] = [7, 28, 90];

/// The range in a page's address.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RangeQuery {
    /// How many days, up to the last that can have numbers.
    pub days: Option<String>,
    /// The first day, for a range of one's own.
    pub from: Option<String>,
    /// The last day of it.
    pub to: Option<String>,
}

/// Days from one to another, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub from: Date,
    /// The last.
    pub to: Date,
    /// Of how many days, if it is one of those that end with the last day that can have numbers.
    pub last: Option<i64>,
    /// Why another range than the one asked for is shown.
    pub problem: Option<String>,
}

impl Range {
    /// The range that is asked for. Ranges of so many days end with the last day that can have a whole number. Where numbers
    /// are released by the week they are whole weeks: a week that the range cuts has no number.
    pub fn new(query: &RangeQuery, today: Date, cadence: Cadence) -> Self {
        let mut range = Self::up_to(query, last_day(today, cadence));
        let over = if cadence == Cadence::Week { range.days() % 7 } else { 0 };
        if range.last.is_some() && over > 0 {
            range.from = range.from.saturating_sub((7 - over).days());
        }
        range
    }

    fn up_to(query: &RangeQuery, to: Date) -> Self {
        let asked = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (asked(&query.from), asked(&query.to)) {
            (None, None) => match asked(&query.days).map(|days| days.parse::<i64>()) {
                None => Self::last(QUERY_DAYS_DEFAULT, to, None),
                Some(Ok(days)) if LAST.contains(&days) => Self::last(days, to, None),
                Some(_) => Self::last(QUERY_DAYS_DEFAULT, to, Some("There is no such range.".to_owned())),
            },
            (first, last) => Self::between(first.as_deref(), last.as_deref(), to),
        }
    }

    /// So many days up to one.
    pub fn last(days: i64, to: Date, problem: Option<String>) -> Self {
        Self { from: to.saturating_sub((days - 1).days()), to, last: Some(days), problem }
    }

    fn between(from: Option<&str>, to: Option<&str>, last: Date) -> Self {
        let default = |problem: String| Self::last(QUERY_DAYS_DEFAULT, last, Some(problem));
        let read = |text: Option<&str>| text.and_then(|text| text.parse::<Date>().ok());
        let (Some(from), Some(to)) = (read(from), read(to)) else {
            return default("A range has a first and a last day, written as 2026-11-24.".to_owned());
        };
        if to < from {
            return default("The last day is before the first; swap them.".to_owned());
        }
        let range = Self { from, to, last: None, problem: None };
        if usize::try_from(range.days()).map_or(true, |days| days > QUERY_DAYS_MAX) {
            return default(format!("A range has at most {QUERY_DAYS_MAX} days; choose a shorter one."));
        }
        range
    }

    /// How many days it has.
    pub fn days(&self) -> i64 {
        self.from.until(self.to).map_or(0, |span| i64::from(span.get_days())) + 1
    }

    /// The range of as many days before this one.
    pub fn before(&self) -> (Date, Date) {
        let days = self.days();
        (self.from.saturating_sub(days.days()), self.to.saturating_sub(days.days()))
    }

    /// As in an address, without a question mark.
    pub fn query(&self) -> String {
        match self.last {
            Some(days) => format!("days={days}"),
            None => format!("from={}&to={}", self.from, self.to),
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        format::days(self.from, self.to)
    }

    /// The form that chooses another one: links for those up to yesterday, two fields for any other. `keep` goes with both.
    pub fn picker(&self, path: &str, keep: &[(&str, &str)]) -> Markup {
        let kept: Vec<String> = keep.iter().map(|(name, value)| format!("&{name}={value}")).collect();
        let kept = kept.concat();
        let (from, to) = (self.from.to_string(), self.to.to_string());
        html! {
            form class="filter" method="get" action=(path) {
                ul class="choices" aria-label="Range" {
                    @for days in LAST {
                        li {
                            a href=(format!("{path}?days={days}{kept}")) aria-current=[(self.last == Some(days)).then_some("true")] {
                                "Last " (days) " days"
                            }
                        }
                    }
                }
                (Field::new("from", "From", "date", &from))
                (Field::new("to", "To", "date", &to))
                @for (name, value) in keep { input type="hidden" name=(name) value=(value); }
                button class="button quiet" type="submit" { "Show" }
            }
            @if let Some(problem) = &self.problem {
                p class="problem" role="status" { (problem) " These are the last " (self.days()) " days." }
            }
        }
    }
}

/// The sentence below a title that says what range it is about, and that one of today has no numbers yet.
pub fn about(range: &Range, zone: &str, today: Date) -> Markup {
    html! {
        (range.words()) ", days in " (zone) "."
        @if range.to >= today {
            " Today is not over: its numbers come when it is. "
            a href=(Nav::Releases.path()) { "When?" }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::date;

    use super::*;

    fn asked(days: &str, from: &str, to: &str) -> Range {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let query = RangeQuery { days: some(days), from: some(from), to: some(to) };
        Range::new(&query, date(2026, 11, 24), Cadence::Day)
    }

    #[test]
    fn ranges_end_yesterday_unless_asked_otherwise() {
        let range = asked("", "", "");
        assert_eq!((range.from, range.to, range.days()), (date(2026, 10, 27), date(2026, 11, 23), 28));
        assert_eq!(range.before(), (date(2026, 9, 29), date(2026, 10, 26)));
        assert_eq!(asked("7", "", "").from, date(2026, 11, 17));
        let own = asked("", "2026-11-01", "2026-11-24");
        assert_eq!((own.from, own.to, own.last), (date(2026, 11, 1), date(2026, 11, 24), None));
        assert_eq!(own.query(), "from=2026-11-01&to=2026-11-24");
        assert!(about(&own, "UTC", date(2026, 11, 24)).into_string().contains("Today is not over"));
    }

    /// With weekly windows the last 7 days had a number on Mondays alone, and 28 days held three weeks of conversions and four of spend.
    #[test]
    fn ranges_of_weekly_numbers_are_whole_weeks() {
        // The 24th is a Tuesday.
        for (days, from) in [("7", date(2026, 11, 16)), ("28", date(2026, 10, 26)), ("90", date(2026, 8, 24))]
        {
            let query = RangeQuery { days: Some(days.to_owned()), ..RangeQuery::default() };
            for today in [date(2026, 11, 23), date(2026, 11, 24), date(2026, 11, 29)] {
                let range = Range::new(&query, today, Cadence::Week);
                assert_eq!((range.from, range.to), (from, date(2026, 11, 22)), "{days} {today}");
                assert_eq!((range.query(), range.days() % 7), (format!("days={days}"), 0));
            }
        }
        let own = RangeQuery {
            from: Some("2026-11-03".to_owned()),
            to: Some("2026-11-05".to_owned()),
            ..RangeQuery::default()
        };
        let range = Range::new(&own, date(2026, 11, 24), Cadence::Week);
        assert_eq!((range.from, range.to), (date(2026, 11, 3), date(2026, 11, 5)));
    }

    #[test]
    fn what_is_no_range_says_so_and_shows_another() {
        for (days, from, to) in [
            ("8", "", ""),
            ("x", "", ""),
            ("-7", "", ""),
            ("", "2026-11-02", ""),
            ("", "", "2026-11-02"),
            ("", "2026-11-02", "2026-11-01"),
            ("", "<script>", "2026-11-01"),
            ("", "0001-01-01", "9999-12-31"),
            ("", "2026-02-30", "2026-03-01"),
        ] {
            let range = asked(days, from, to);
            assert!(range.problem.is_some() && range.last == Some(28), "{days} {from} {to}");
            assert!(range.picker("/console/campaigns", &[]).into_string().contains("class=\"problem\""));
        }
    }

    #[test]
    fn the_years_at_the_ends_of_the_calendar_are_no_panic() {
        let range = Range::new(&RangeQuery::default(), Date::MIN, Cadence::Week);
        assert!(range.from <= range.to);
        assert!(range.before().0 <= range.from);
    }
}
