//! The page of windows and releases: where each window stands, what that means, and what is to be done about it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::asked::Asked;
use super::format::{self, DAY};
use super::layout::{Nav, Page};
use super::paged;
use super::parts::{self, Column, Table, Tone};
use super::session::{Console, SignedIn};
use crate::collector::Span;
use crate::registry::{Advertiser, Cadence};
use crate::schedule::{Calendar, Measures, WindowState, WindowStatus};
use crate::store::StoreError;

/// Of how long a time a page shows the windows, in seconds: two days of hours, four weeks of days, half a year of weeks.
fn page_seconds(cadence: Cadence) -> u64 {
    match cadence {
        Cadence::Hour => 2 * DAY,
        Cadence::Day => 28 * DAY,
        Cadence::Week => 26 * 7 * DAY,
    }
}

/// A window of one generation of tasks.
#[derive(Clone, Debug)]
struct Row {
    window: Span,
    generation: u32,
    conversions: Option<WindowState>,
    value: Option<WindowState>,
    /// Whether the task of conversions has a release, in any window.
    confirmed: bool,
}

/// What the page shows, the latest window first.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    rows: Vec<Row>,
    calendar: Calendar,
    cadence: Cadence,
    grace: u64,
    /// Whether values are summed in any window, and whether there is more than one generation.
    values: bool,
    generations: bool,
    /// Whether there is any campaign, without which there is no task.
    campaigns: bool,
    now: u64,
    older: Option<String>,
    newer: Option<String>,
}

/// `GET /console/releases`
pub(super) async fn show(
    State(console): State<Console>,
    me: SignedIn,
    Asked(page): Asked<paged::Wanted>,
) -> Response {
    paged::page(console, me, page, "where windows stand", gather, view).await
}

fn gather(
    console: &Console,
    advertiser: &Advertiser,
    before: Option<u64>,
    now: u64,
) -> Result<Windows, StoreError> {
    let advertising = &console.advertising;
    let generations = advertising.registry.generations(advertiser.id);
    let calendar = Calendar::of(advertiser);
    let end = now.saturating_add(1);
    let to = before.unwrap_or(end).min(end);
    // Pages begin where a window does, so that each window is on one of them.
    let back = to.saturating_sub(page_seconds(advertiser.cadence));
    let from = calendar.window_at(back).map_or(back, |window| window.from().seconds());
    let statuses = advertising.schedule.windows(advertiser.id, from, to)?;
    let first = generations.first().map_or(u64::MAX, |generation| generation.opened);
    let address = |before: u64| format!("{}?before={before}", Nav::Releases.path());
    let later = to.saturating_add(page_seconds(advertiser.cadence));
    Ok(Windows {
        rows: rows(statuses.into_iter().filter(|one| (from..to).contains(&one.window.from().seconds()))),
        cadence: advertiser.cadence,
        grace: advertiser.grace_seconds.into(),
        values: generations.iter().any(|generation| generation.value.is_some()),
        generations: generations.len() > 1,
        campaigns: !generations.is_empty(),
        now,
        older: (first < from).then(|| address(from)),
        newer: (to < end).then(|| if later < end { address(later) } else { Nav::Releases.path().to_owned() }),
        calendar,
    })
}

fn rows(statuses: impl Iterator<Item = WindowStatus>) -> Vec<Row> {
    let mut rows: BTreeMap<(u64, u32), Row> = BTreeMap::new();
    for WindowStatus { generation, measures, window, state, confirmed, .. } in statuses {
        let row = rows.entry((window.from().seconds(), generation)).or_insert_with(|| Row {
            window,
            generation,
            conversions: None,
            value: None,
            confirmed,
        });
        match measures {
            Measures::Conversions => (row.conversions, row.confirmed) = (Some(state), confirmed),
            Measures::Value => row.value = Some(state),
        }
    }
    rows.into_values().rev().collect()
}

/// When a window was, as short as its length allows.
pub(super) fn when(calendar: &Calendar, cadence: Cadence, window: Span) -> String {
    let zone = calendar.zone();
    match cadence {
        Cadence::Hour => {
            let moment = format::moment(window.from().seconds(), zone);
            let end = format::moment(window.to().seconds(), zone);
            let end = end.rsplit_once(' ').map_or(end.as_str(), |(_, time)| time);
            format!("{moment} to {end}")
        }
        Cadence::Day | Cadence::Week => {
            let days = calendar.days_of(window);
            format::days(days.first(), days.last())
        }
    }
}

/// The page.
pub(super) fn view(windows: &Windows) -> Page {
    let length = match windows.cadence {
        Cadence::Hour => "an hour",
        Cadence::Day => "a day",
        Cadence::Week => "a week",
    };
    let wait = match windows.grace {
        0 => "at once".to_owned(),
        grace => {
            format!("{} later, so that devices that were offline can still report", format::duration(grace))
        }
    };
    let lead = format!(
        "Conversions are counted in windows of {length}. When one is over, its numbers are fetched once, by \
         themselves, {wait}. A released number never changes."
    );
    Page::new("Windows and releases", Nav::Releases).lead(lead).body(html! {
        @if windows.rows.is_empty() { (nothing(windows)) } @else { (table(windows)) }
        (parts::pager("windows", windows.newer.as_deref(), windows.older.as_deref()))
    })
}

fn table(windows: &Windows) -> Markup {
    let mut columns = vec![Column::text("Window"), Column::text("Conversions")];
    if windows.values {
        columns.push(Column::text("Values"));
    }
    columns.push(Column::text("What this means"));
    let mut table = Table::new("Windows, the latest first", columns);
    for row in &windows.rows {
        let mut cells = vec![
            html! {
                (when(&windows.calendar, windows.cadence, row.window))
                @if windows.generations { " " span class="small soft nowrap" { "tasks " (row.generation) } }
            },
            standing(row.conversions.as_ref()),
        ];
        if windows.values {
            cells.push(standing(row.value.as_ref()));
        }
        cells.push(meaning(row, windows));
        table.row(cells);
    }
    html! { (table) }
}

/// A state as a word, with a link where there is something to see.
pub(super) fn standing(state: Option<&WindowState>) -> Markup {
    let Some(state) = state else { return html! { span class="soft" { "\u{2013}" } } };
    let tone = match state {
        WindowState::Open { .. } => Tone::Info,
        WindowState::Waiting { .. } | WindowState::UnderWay { .. } => Tone::Wait,
        WindowState::TooFewReports { .. } => Tone::Plain,
        WindowState::RefusedByBudget { .. } | WindowState::Failed { .. } => Tone::Bad,
        WindowState::Released { .. } => Tone::Good,
    };
    html! {
        (parts::badge(tone, state.name()))
        @if let Some(sequence) = state.released() {
            " " a href=(format!("{}/{sequence}", Nav::Releases.path())) { "Release\u{a0}" (sequence) }
        }
    }
}

/// What the row comes to: that of conversions, or of values where only those are missing.
fn meaning(row: &Row, windows: &Windows) -> Markup {
    let missing = |state: &&WindowState| state.released().is_none();
    let state = row.conversions.as_ref().filter(missing).or(row.value.as_ref().filter(missing));
    let Some(state) = state.or(row.conversions.as_ref()) else { return html! {} };
    let at = |moment: u64| {
        let (moment, relative) =
            (format::moment(moment, windows.calendar.zone()), format::relative(moment, windows.now));
        format!("{moment} ({relative})")
    };
    let (reason, next) = match state {
        WindowState::Open { closes } => (None, Some(format!("It ends {}.", at(*closes)))),
        WindowState::Waiting { until } => (None, Some(format!("It is collected {}.", at(*until)))),
        WindowState::UnderWay { trouble } => (trouble.as_deref(), None),
        WindowState::TooFewReports { reason, next_try }
        | WindowState::RefusedByBudget { reason, next_try }
        | WindowState::Failed { reason, next_try } => {
            (Some(reason.as_str()), next_try.map(|next| format!("It is asked again {}.", at(next))))
        }
        WindowState::Released { .. } => return html! { span class="soft" { (state.meaning(row.confirmed)) } },
    };
    html! {
        (state.meaning(row.confirmed))
        @if let Some(next) = next { " " (next) }
        @if let Some(reason) = reason { details { summary { "What is in the way" } p class="small" { (reason) } } }
    }
}

fn nothing(windows: &Windows) -> Markup {
    if windows.newer.is_some() {
        let back = html! { a class="button" href=(Nav::Releases.path()) { "The latest windows" } };
        return parts::empty("No windows here", "Nothing was counted before this.", back);
    }
    if windows.campaigns {
        let soon = html! { a class="button" href=(Nav::Overview.path()) { "Overview" } };
        return parts::empty(
            "The first window has not begun",
            "Windows are listed here from their first minute on.",
            soon,
        );
    }
    parts::empty(
        "Nothing is counted yet",
        "Windows are there from the first campaign on: it opens the tasks that count conversions, which the operators of both \
         aggregators then add.",
        html! { a class="button" href="/console/campaigns/new" { "Create a campaign" } },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::check::usable;
    use super::super::tests::{HOSTILE, context, look};
    use super::*;
    use crate::registry::TimeZone;

    /// 2026-11-02T00:00:00Z, a Monday.
    const MONDAY: u64 = 1_793_577_600;

    fn window(day: u64) -> Span {
        let moment = |day: u64| (MONDAY + day * DAY).to_string().parse().unwrap();
        Span::new(moment(day), moment(day + 1)).unwrap()
    }

    fn windows(states: &[(WindowState, Option<WindowState>)]) -> Windows {
        let rows = states.iter().enumerate().map(|(index, (conversions, value))| Row {
            window: window(u64::try_from(index).unwrap()),
            generation: 1,
            conversions: Some(conversions.clone()),
            value: value.clone(),
            confirmed: true,
        });
        Windows {
            rows: rows.rev().collect(),
            calendar: Calendar::new(TimeZone::UTC, Cadence::Day),
            cadence: Cadence::Day,
            grace: 7_200,
            values: states.iter().any(|(_, value)| value.is_some()),
            generations: false,
            campaigns: true,
            now: MONDAY + 9 * DAY,
            older: None,
            newer: None,
        }
    }

    fn html_of(windows: &Windows) -> String {
        let html = view(windows).render(&context()).into_string();
        usable(&html);
        html
    }

    #[test]
    fn every_state_is_in_plain_words_with_what_comes_next() {
        let reason = "the window holds too few reports".to_owned();
        let next_try = Some(MONDAY + 10 * DAY);
        let states = [
            (WindowState::Released { sequence: 7 }, Some(WindowState::Released { sequence: 8 })),
            (
                WindowState::TooFewReports { reason: reason.clone(), next_try },
                Some(WindowState::TooFewReports { reason: reason.clone(), next_try: None }),
            ),
            (
                WindowState::Released { sequence: 9 },
                Some(WindowState::RefusedByBudget { reason: HOSTILE.to_owned(), next_try }),
            ),
            (WindowState::Failed { reason, next_try: None }, None),
            (WindowState::UnderWay { trouble: Some("the leader is away".to_owned()) }, None),
            (WindowState::Waiting { until: MONDAY + 9 * DAY + 7_200 }, None),
            (WindowState::Open { closes: MONDAY + 10 * DAY }, None),
        ];
        let html = html_of(&windows(&states));
        look("releases", &html);
        for (state, _) in &states {
            assert!(html.contains(state.name()), "{}", state.name());
        }
        assert!(html.contains("href=\"/console/releases/8\""));
        assert!(html.contains("It is asked again 12\u{a0}Nov\u{a0}2026, 00:00 (in 24 hours)."), "{html}");
        assert!(html.contains("It ends 12\u{a0}Nov\u{a0}2026, 00:00"));
        assert!(html.contains("It is collected 11\u{a0}Nov\u{a0}2026, 02:00 (in 2 hours)."));
        assert!(html.contains("The privacy budget of this week is spent."), "values alone are missing");
        assert!(!html.contains("<script>"), "a reason is text");
    }

    #[test]
    fn empty_pages_say_what_is_next() {
        let none = Windows { campaigns: false, ..windows(&[]) };
        assert!(html_of(&none).contains("href=\"/console/campaigns/new\""));
        let old = Windows { newer: Some("/console/releases".to_owned()), ..windows(&[]) };
        assert!(html_of(&old).contains("The latest windows"));
        assert!(html_of(&windows(&[])).contains("The first window has not begun"));
    }

    #[test]
    fn windows_are_named_by_their_length() {
        let berlin: TimeZone = "Europe/Berlin".parse().unwrap();
        let of = |cadence| {
            let calendar = Calendar::new(berlin.clone(), cadence);
            when(&calendar, cadence, calendar.window_at(MONDAY).unwrap())
        };
        assert_eq!(of(Cadence::Hour), "2\u{a0}Nov\u{a0}2026, 01:00 to 02:00");
        assert_eq!(of(Cadence::Day), "2\u{a0}Nov\u{a0}2026");
        assert_eq!(of(Cadence::Week), "2\u{a0}Nov to 8\u{a0}Nov\u{a0}2026");
    }
}
