//! The budget page: what was spent of the privacy budget in each week, and what is left, in words and as a bar.
//!
//! It is the collector's view, what its own releases were charged. The ledgers that refuse are the aggregators'; what is left is
//! said only where the collector's configuration repeats their cap.

use arras_protocol::epsilon::DisplayMicro;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::asked::Asked;
use super::format;
use super::layout::{Nav, Page};
use super::paged;
use super::parts::{self, Column, Table, Tone};
use super::session::{Console, SignedIn};
use crate::advertising::Advertising;
use crate::privacy::ledger::{self, EPOCH_SECONDS};
use crate::registry::{Advertiser, TimeZone};
use crate::schedule::{Calendar, Measures, WindowState, WindowStatus};
use crate::store::StoreError;
use crate::text::counted;

/// Weeks on a page: half a year.
const WEEKS_LISTED: usize = 26;

/// For how long back windows are looked at for refusals, in seconds: as long as the schedule asks for them again.
const REFUSALS_SECONDS: u64 = crate::schedule::RARE_ATTEMPTS_SECONDS;

/// What the page shows. Amounts are micro-epsilon, moments POSIX seconds.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    source: String,
    zone: TimeZone,
    /// When this week of the budget began, if the collector was told when weeks begin.
    week: Option<u64>,
    /// What a week may cost, if the collector was told.
    cap: Option<u64>,
    /// What the release of one window costs each week that it touches: conversions, and values if they are summed.
    cost: (u64, Option<u64>),
    /// Weeks that were charged, the latest first, and what.
    weeks: Vec<(u64, u64)>,
    /// Spent this week.
    spent: u64,
    /// Windows that touch this week and are still to be released.
    coming: u64,
    /// Windows without numbers because a budget refused them.
    refused: usize,
    older: Option<String>,
    newer: Option<String>,
}

/// `GET /console/budget`
pub(super) async fn show(
    State(console): State<Console>,
    me: SignedIn,
    Asked(page): Asked<paged::Wanted>,
) -> Response {
    paged::page(console, me, page, "what was spent", gather, view).await
}

fn gather(
    console: &Console,
    advertiser: &Advertiser,
    before: Option<u64>,
    now: u64,
) -> Result<Budget, StoreError> {
    let advertising = &console.advertising;
    let mut weeks = advertising.collector.store().charged(&advertiser.site)?;
    weeks.reverse();
    // Rows are there of weeks that a collector knew; what it is told now decides which is this one.
    let epoch_start = advertising.collector.epoch_start(&advertiser.site);
    let week = epoch_start.and_then(|start| ledger::start_of_epoch_at(start, now));
    let spent = weeks.iter().find(|(start, _)| Some(*start) == week).map_or(0, |(_, spent)| *spent);
    let windows = advertising.schedule.windows(advertiser.id, now.saturating_sub(REFUSALS_SECONDS), now)?;
    let refused = windows.iter().filter(|one| matches!(one.state, WindowState::RefusedByBudget { .. }));
    let terms = advertiser.terms;
    let cost = |epsilon| ledger::cost(epsilon, terms.contributions);
    let first = before.map_or(0, |before| weeks.partition_point(|(start, _)| *start >= before));
    let at =
        |index: usize| weeks.get(index).map(|(start, _)| format!("{}?before={start}", Nav::Budget.path()));
    let newer = match first {
        0 => None,
        first if first <= WEEKS_LISTED => Some(Nav::Budget.path().to_owned()),
        first => at(first - WEEKS_LISTED - 1),
    };
    let last = (first + WEEKS_LISTED).min(weeks.len());
    let older = if last < weeks.len() { at(last - 1) } else { None };
    Ok(Budget {
        source: advertiser.site.clone(),
        zone: advertiser.time_zone.clone(),
        week,
        cap: advertising.caps.get(&advertiser.site).map(|cap| u64::from(cap.get())),
        cost: (cost(terms.epsilon), terms.value.map(|value| cost(value.epsilon))),
        spent,
        coming: week.map_or(0, |start| coming(advertising, advertiser, &windows, start, now)),
        refused: refused.count(),
        older,
        newer,
        weeks: weeks.get(first..last).unwrap_or_default().to_vec(),
    })
}

/// Windows that touch the week and are not settled: those that stand open or wait, and those that will begin.
fn coming(
    advertising: &Advertising,
    advertiser: &Advertiser,
    known: &[WindowStatus],
    week: u64,
    now: u64,
) -> u64 {
    if advertising.registry.generations(advertiser.id).is_empty() {
        return 0;
    }
    let end = week.saturating_add(EPOCH_SECONDS);
    let begun = known.iter().filter(|one| {
        one.measures == Measures::Conversions
            && one.window.to().seconds() > week
            && matches!(
                one.state,
                WindowState::Open { .. } | WindowState::Waiting { .. } | WindowState::UnderWay { .. }
            )
    });
    let calendar = Calendar::of(advertiser);
    let later = calendar.windows(now, end).filter(|window| window.from().seconds() > now);
    u64::try_from(begun.count() + later.count()).unwrap_or(u64::MAX)
}

fn epsilon(micro: u64) -> String {
    DisplayMicro(micro).to_string()
}

impl Budget {
    /// What one window costs.
    fn per_window(&self) -> u64 {
        self.cost.0.saturating_add(self.cost.1.unwrap_or(0))
    }

    fn days(&self, start: u64) -> String {
        let last = start.saturating_add(EPOCH_SECONDS - 1);
        format::days(format::day_of(start, &self.zone), format::day_of(last, &self.zone))
    }
}

/// The page.
pub(super) fn view(budget: &Budget) -> Page {
    let body = html! {
        @if budget.week.is_none() { (unknown_weeks(budget)) }
        @if let Some(week) = budget.week { (this_week(budget, week)) }
        @if budget.refused > 0 { (refusals(budget)) }
        (cost(budget))
        @if budget.weeks.is_empty() { (nothing(budget)) } @else { (weeks(budget)) }
    };
    let lead = "Each released window tells a little about the people in it. The privacy budget bounds how much that may be in a \
                week: what is spent does not come back, and every week starts with a new one.";
    Page::new("Privacy budget", Nav::Budget).lead(lead).body(body)
}

fn unknown_weeks(budget: &Budget) -> Markup {
    html! {
        div class="notice notice-warn" role="status" {
            strong { "When weeks begin is not known here." } " "
            "The aggregators count what is spent all the same, and refuse what is too much. For this page to show it, whoever runs \
             this collector adds " code { "[[collector.budget_source]]" } " with " code { "name = \"" (budget.source) "\"" }
            " and the aggregators' " code { "epoch_start" } " to its configuration."
        }
    }
}

fn this_week(budget: &Budget, week: u64) -> Markup {
    html! {
        section class="panel" aria-labelledby="this-week" {
            div class="panel-head" {
                h2 id="this-week" { "This week" }
                span class="small soft" {
                    (format::moment(week, &budget.zone)) " to " (format::moment(week.saturating_add(EPOCH_SECONDS), &budget.zone))
                }
            }
            @match budget.cap {
                Some(cap) => {
                    p class="strong" { (epsilon(budget.spent)) " of " (epsilon(cap)) " epsilon spent" }
                    (bar(budget.spent, cap))
                    p { (left(budget, cap)) }
                    @if let Some(short) = short(budget, cap) { p class="problem" { (short) } }
                    p class="small soft" { "The cap is what this collector's configuration says that the aggregators have; theirs decide." }
                }
                None => {
                    p class="strong" { (epsilon(budget.spent)) " epsilon spent" }
                    p {
                        "How much is left is not known here: the cap is in the aggregators' configurations. Whoever runs this \
                         collector can repeat it as " code { "cap" } " of its " code { "budget_source" } ", and this page shows it."
                    }
                }
            }
        }
    }
}

/// What is left, as something to count on.
fn left(budget: &Budget, cap: u64) -> String {
    let left = cap.saturating_sub(budget.spent);
    let windows = left.checked_div(budget.per_window()).unwrap_or(0);
    let what = if budget.cost.1.is_some() { "window with its values" } else { "window" };
    match windows {
        0 if budget.cost.1.is_some() && left >= budget.cost.0 => format!(
            "{} left: enough for conversions of one more window of this week, and not for its values.",
            epsilon(left)
        ),
        0 => format!("{} left: not enough for another window of this week.", epsilon(left)),
        windows => {
            let of = if windows == 1 { what.to_owned() } else { what.replacen("window", "windows", 1) };
            let of = if windows > 1 { of.replace("its values", "their values") } else { of };
            format!("{} left: enough for {} more {of} of this week.", epsilon(left), format::grouped(windows))
        }
    }
}

/// That more windows of this week come than it carries, if so.
fn short(budget: &Budget, cap: u64) -> Option<String> {
    let fit = cap.saturating_sub(budget.spent).checked_div(budget.per_window())?;
    let refused = budget.coming.checked_sub(fit).filter(|refused| *refused > 0)?;
    Some(format!(
        "{} of this week are still to come, so {} will be refused, whole or without values. Longer windows, fewer of them, or a \
         larger cap at both aggregators mend that.",
        counted(budget.coming, "window"),
        format::grouped(refused)
    ))
}

/// The part of the cap that is spent, in thousandths, at most all of it.
fn permille(spent: u64, cap: u64) -> u128 {
    u128::from(spent.min(cap)) * 1_000 / u128::from(cap.max(1))
}

/// That part as a bar. What it shows stands in words beside it.
fn bar(spent: u64, cap: u64) -> Markup {
    html! {
        svg class="bar" viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect class="track" width="1000" height="14" {}
            rect class=(if spent >= cap { "full" } else { "spent" }) width=(permille(spent, cap)) height="14" {}
        }
    }
}

fn refusals(budget: &Budget) -> Markup {
    let windows = if budget.refused == 1 { "window has" } else { "windows have" };
    html! {
        div class="notice notice-warn" role="status" {
            strong { (format::grouped(i128::try_from(budget.refused).unwrap_or(i128::MAX))) " " (windows) " no numbers because the budget was spent." } " "
            "Budget of a past week does not come back. Only the operators of the aggregators can raise its cap; fewer kinds of \
             events, longer windows or a smaller epsilon spend less from now on. "
            a href=(Nav::Releases.path()) { "See which" }
        }
    }
}

fn cost(budget: &Budget) -> Markup {
    html! {
        section class="panel" aria-labelledby="costs" {
            h2 id="costs" { "What a window costs" }
            dl class="facts" {
                dt { "Conversions" } dd { (epsilon(budget.cost.0)) " epsilon" }
                dt { "Values" }
                dd { @match budget.cost.1 { Some(value) => { (epsilon(value)) " epsilon" } None => "are not summed" } }
                dt { "Budget of" } dd { (budget.source) }
            }
            p class="small soft" {
                "A window is charged when its numbers are released, to every week that it touches: one that lies across the end of \
                 a week costs both. Windows with too few reports cost nothing."
            }
        }
    }
}

fn weeks(budget: &Budget) -> Markup {
    let mut columns = vec![Column::text("Week"), Column::number("Spent (epsilon)")];
    if budget.cap.is_some() {
        columns.extend([Column::number("Left"), Column::text("Share of the cap")]);
    }
    let mut table = Table::new("What releases were charged, by week", columns);
    for (start, spent) in &budget.weeks {
        let mut row = vec![
            html! { (budget.days(*start)) @if Some(*start) == budget.week { " " (parts::badge(Tone::Info, "this week")) } },
            html! { (epsilon(*spent)) },
        ];
        if let Some(cap) = budget.cap {
            row.push(html! { (epsilon(cap.saturating_sub(*spent))) });
            row.push(html! { (permille(*spent, cap) / 10) "% spent" (bar(*spent, cap)) });
        }
        table.row(row);
    }
    html! {
        (table)
        p class="small soft" {
            "What this collector's releases were charged; weeks without a release are left out. The ledgers that refuse are the \
             aggregators', and know of what was spent without a release, too."
        }
        (parts::pager("weeks", budget.newer.as_deref(), budget.older.as_deref()))
    }
}

fn nothing(budget: &Budget) -> Markup {
    let costs = counted(1_u64, "window");
    parts::empty(
        "Nothing was spent yet",
        format!(
            "The first release is charged when a window is over and has enough reports: {} epsilon for {costs}. The page of \
             releases says when that is.",
            epsilon(budget.per_window())
        ),
        html! { a class="button" href=(Nav::Releases.path()) { "Windows and releases" } },
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::check::usable;
    use super::super::tests::{HOSTILE, context, look};
    use super::*;

    const WEEK: u64 = 1_793_577_600;

    fn budget() -> Budget {
        Budget {
            source: "shop.example".to_owned(),
            zone: TimeZone::UTC,
            week: Some(WEEK),
            cap: Some(14_000_000),
            cost: (1_000_000, Some(1_000_000)),
            weeks: vec![(WEEK, 6_000_000), (WEEK - EPOCH_SECONDS, 14_000_000)],
            spent: 6_000_000,
            coming: 4,
            refused: 0,
            older: None,
            newer: None,
        }
    }

    fn html_of(budget: &Budget) -> String {
        let html = view(budget).render(&context()).into_string();
        usable(&html);
        html
    }

    #[test]
    fn what_is_spent_and_left_is_said_and_drawn() {
        let html = html_of(&budget());
        look("budget", &html);
        assert!(html.contains("6 of 14 epsilon spent"), "{html}");
        assert!(html.contains("8 left: enough for 4 more windows with their values of this week."));
        assert!(html.contains("<rect class=\"spent\" width=\"428\""), "the bar");
        assert!(html.contains("<rect class=\"full\" width=\"1000\""), "a week that is used up");
        for (spent, words) in [
            (12_000_000, "2 left: enough for 1 more window with its values of this week."),
            (
                13_000_000,
                "1 left: enough for conversions of one more window of this week, and not for its values.",
            ),
            (13_500_000, "0.5 left: not enough for another window of this week."),
            // A cap that was lowered below what is spent.
            (20_000_000, "0 left: not enough"),
        ] {
            let html = html_of(&Budget { spent, ..budget() });
            assert!(html.contains(words), "{words}");
        }
    }

    /// Hourly windows with a cap of 10 read "enough for 5 more windows" of the 130 that came, and nobody said that 125 would be refused.
    #[test]
    fn a_week_that_does_not_carry_its_windows_says_so() {
        assert!(!html_of(&budget()).contains("will be refused"));
        let html = html_of(&Budget { coming: 130, ..budget() });
        assert!(
            html.contains("130 windows of this week are still to come, so 126 will be refused"),
            "{html}"
        );
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let html = html_of(&Budget { cap: None, ..budget() });
        assert!(html.contains("How much is left is not known here") && !html.contains("<svg class=\"bar\""));
        let html = html_of(&Budget { week: None, ..budget() });
        assert!(html.contains("When weeks begin is not known here."));
    }

    #[test]
    fn refusals_and_empty_pages_say_what_is_next() {
        let html = html_of(&Budget { refused: 2, source: HOSTILE.to_owned(), week: None, ..budget() });
        assert!(html.contains("2 windows have no numbers") && !html.contains("<script"));
        let html = html_of(&Budget { weeks: Vec::new(), spent: 0, ..budget() });
        assert!(html.contains("Nothing was spent yet") && html.contains("href=\"/console/releases\""));
    }
}
