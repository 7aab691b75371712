//! How things stand: the last weeks in five numbers, over time and by campaign, what comes next, and what to do.

use std::sync::Arc;

use jiff::civil::Date;
use maud::{Markup, html};

use super::campaigns::{shared_currency, status_badge};
use super::covered;
use super::format;
use super::layout::{Nav, Page, PageContext};
use super::measures::{self, Notes};
use super::parts::{self, Column, Table, Tone, badge, exactness};
use super::range::{self, Range};
use super::series;
use crate::insights::{Coverage, Granularity, Measure, Row, Table as Answer};
use crate::registry::{Advertiser, Cadence, Campaign, TimeZone};
use crate::schedule::{Measures, WindowState, WindowStatus};
use crate::text::counted;

/// Campaigns that are listed; the page of campaigns has all.
const CAMPAIGNS_LISTED: usize = 6;

/// Windows that are listed of each kind of trouble; the page of releases has all.
const TROUBLES_LISTED: usize = 5;

/// What the page is made of.
#[derive(Debug)]
pub struct Overview<'a> {
    /// The advertiser.
    pub advertiser: &'a Advertiser,
    /// Its campaigns.
    pub campaigns: &'a [Arc<Campaign>],
    /// The days it is about.
    pub range: &'a Range,
    /// The day that it is there.
    pub today: Date,
    /// Now, in POSIX seconds.
    pub now: u64,
    /// The account, the whole range.
    pub account: &'a Answer,
    /// The account, as many days before.
    pub before: &'a Answer,
    /// The account over time.
    pub series: &'a Answer,
    /// Its steps.
    pub steps: Granularity,
    /// Each campaign, the whole range.
    pub by_campaign: &'a Answer,
    /// Windows of the range and those that are open.
    pub windows: &'a [WindowStatus],
}

/// The page.
pub fn view(ctx: &PageContext, of: &Overview<'_>) -> Page {
    let page = Page::new("Overview", Nav::Overview);
    let new = html! { a class="button" href="/console/campaigns/new" { "New campaign" } };
    if of.campaigns.is_empty() {
        return page
            .lead(format!("Welcome. {} measures without tracking anybody.", of.advertiser.name))
            .body(html! {
                (no_campaign(ctx))
                (steps_panel(of))
            });
    }
    let page = if ctx.manages { page.actions(new) } else { page };
    page.lead(range::about(of.range, of.advertiser.time_zone.name(), of.today)).body(html! {
        (of.range.picker(Nav::Overview.path(), &[]))
        @if let Some(row) = of.account.rows.first() {
            @if row.invented { (invented_notice()) }
            (covered::line(row))
            (cards(of, row, of.before.rows.first()))
        }
        div class="panel" {
            div class="panel-head" {
                h2 { "Conversions by " (series::step_name(of.steps)) }
                span class="small soft" { "the goal of each campaign, all campaigns together" }
            }
            (series::over_time("conversions", "Conversions of all campaigns", &of.series.rows, |row| &row.conversions))
        }
        div class="split" {
            (top(of))
            div class="stack" {
                (next_numbers(of))
                (steps_panel(of))
            }
        }
    })
}

/// What stands where there is no campaign.
pub fn no_campaign(ctx: &PageContext) -> Markup {
    parts::empty(
        "No campaign yet",
        "A campaign is what conversions are counted for. Create the first one, and devices learn which ads belong to it.",
        html! {
            @if ctx.manages {
                a class="button" href="/console/campaigns/new" { "Create a campaign" }
                a class="button quiet" href=(Nav::Planner.path()) { "Plan first what it can measure" }
            } @else {
                span class="soft" { "Ask somebody who manages campaigns here to create one." }
            }
        },
    )
}

/// The notice over delivery numbers that nobody measured.
pub fn invented_notice() -> Markup {
    html! {
        p class="notice notice-warn" {
            strong { "Impressions, clicks and spend here are invented." }
            " They show what the console does. CPA and ROAS rest on them; conversions and values do not."
        }
    }
}

fn cards(of: &Overview<'_>, row: &Row, before: Option<&Row>) -> Markup {
    let was = |of_row: fn(&Row) -> &Measure, windows: fn(&Coverage) -> u32| {
        was((row, before), of_row, windows, of.range)
    };
    html! {
        dl class="cards" {
            div class="card" {
                dt {
                    span { "Spend" }
                    @if let (Some(_), Some(currency)) = (row.spend, row.currency) { span class="unit" { (currency) } }
                }
                dd {
                    @match (row.spend, row.currency) {
                        (Some(spend), Some(currency)) => {
                            span class="big" { (format::amount(currency, spend)) }
                            span class="small" { (exactness(row)) }
                            (spend_was(spend, row, before, of.range))
                        }
                        (None, None) => {
                            span class="big words" { "different currencies" }
                            span class="small" { "Campaigns spend in currencies that are not converted; see each campaign." }
                        }
                        _ => {
                            span class="big words" { "no delivery numbers" }
                            span class="small" { a href=(Nav::Delivery.path()) { "Upload a CSV" } " to see spend beside conversions." }
                        }
                    }
                }
            }
            (measures::card("Conversions", &row.conversions, was(|row| &row.conversions, |of| of.released)))
            (measures::card("Cost per conversion", &row.cpa, html! {}))
            (measures::card("Value", &row.value, was(|row| &row.value, |of| of.value_released)))
            (measures::card("Return on spend", &row.roas, html! {}))
        }
        @if let Some(measure) = &row.not_attributed {
            p class="small soft" {
                "Beside these, conversions for which no campaign is known (no ad was seen, nobody consented, or a device's limits were reached): "
                (measures::words(measure))
                @if let Some(number) = measure.shown() { " (" (measures::interval_words(number)) ")" }
                "."
            }
        }
    }
}

fn spend_was(spend: u64, row: &Row, before: Option<&Row>, range: &Range) -> Markup {
    let then = before.and_then(|before| before.spend.filter(|_| before.currency == row.currency));
    html! {
        @if let (Some(then), Some(currency)) = (then, row.currency) {
            span class="small" {
                (counted(range.days(), "day")) " before: " (format::amount(currency, then)) " "
                @if spend > then { "(more)" } @else if spend < then { "(less)" }
            }
        }
    }
}

/// What the number was in the days before, and whether the difference is more than noise: whether the intervals are apart. Numbers of more
/// windows than others are not compared.
fn was(
    (row, row_before): (&Row, Option<&Row>),
    measure: fn(&Row) -> &Measure,
    windows: fn(&Coverage) -> u32,
    range: &Range,
) -> Markup {
    let Some(row_before) = row_before else { return html! {} };
    let (Some(now), Some(before)) = (measure(row).shown(), measure(row_before).shown()) else {
        return html! {};
    };
    let whole = |row: &Row| row.coverage.complete() && windows(&row.coverage) == row.coverage.released;
    let both = whole(row) && whole(row_before);
    let change = match covered::comparable(windows(&row.coverage), windows(&row_before.coverage), both) {
        Err(why) => why,
        Ok(()) if now.low > before.high => "more".to_owned(),
        Ok(()) if now.high < before.low => "less".to_owned(),
        Ok(()) => "no clear change".to_owned(),
    };
    html! {
        span class="small" {
            (counted(range.days(), "day")) " before: " (measures::number_words(before)) " (" (change) ")"
        }
    }
}

fn top(of: &Overview<'_>) -> Markup {
    let mut rows: Vec<&Row> = of.by_campaign.rows.iter().filter(|row| row.campaign.is_some()).collect();
    let size = |row: &Row| row.conversions.shown().map_or(i128::MIN, |number| number.estimate);
    rows.sort_by_key(|row| std::cmp::Reverse((size(row), row.spend)));
    let columns = vec![
        Column::text("Campaign"),
        Column::number("Spend"),
        Column::number("Conversions"),
        Column::number("CPA"),
    ];
    let shared = shared_currency(of.advertiser, of.campaigns).is_some();
    let mut table = Table::new("Campaigns with the most conversions", columns).unseen_caption();
    let listed = &rows[..rows.len().min(CAMPAIGNS_LISTED)];
    let most = listed
        .iter()
        .filter_map(|row| row.conversions.shown())
        .map(|n| measures::drawn(n).2)
        .fold(0.0, f64::max);
    for row in listed {
        let Some(campaign) = &row.campaign else { continue };
        let spend = row.spend.zip(row.currency).map(|(spend, currency)| {
            if shared { format::amount(currency, spend) } else { format::money(currency, spend) }
        });
        table.row(vec![
            html! {
                a href=(format!("/console/campaigns/{}?{}", campaign.id, of.range.query())) { (campaign.name) }
                div class="small" { (status_badge(campaign.status)) }
                (covered::mark(row, of.account.rows.first()))
            },
            html! { (spend.unwrap_or_else(|| "\u{2013}".to_owned())) },
            measures::cell(&row.conversions, Some(most)),
            measures::money_cell(&row.cpa, !shared),
        ]);
    }
    html! {
        div class="panel" {
            div class="panel-head" {
                h2 { "Campaigns" }
                a href=(format!("{}?{}", Nav::Campaigns.path(), of.range.query())) {
                    @if of.campaigns.len() == 1 { "It with every number" } @else { "All " (of.campaigns.len()) " with every number" }
                }
            }
            (table)
            (Notes::of(listed.iter().copied()))
        }
    }
}

/// When the next numbers come: the earliest window that will be collected, and when.
pub fn next_release(windows: &[WindowStatus], advertiser: &Advertiser) -> Option<(u64, WindowStatus)> {
    let due = |status: &WindowStatus| match status.state {
        WindowState::Waiting { until } => Some(until),
        WindowState::Open { closes } => closes.checked_add(advertiser.grace_seconds.into()),
        _ => None,
    };
    let counts = windows.iter().filter(|status| status.measures == Measures::Conversions);
    counts.filter_map(|status| due(status).map(|due| (due, status.clone()))).min_by_key(|(due, _)| *due)
}

/// Why numbers come when they do: `windows are daily and wait 6 hours for late reports`.
pub fn rhythm(advertiser: &Advertiser) -> String {
    let windows = match advertiser.cadence {
        Cadence::Hour => "windows are hourly",
        Cadence::Day => "windows are daily",
        Cadence::Week => "windows are weekly",
    };
    match advertiser.grace_seconds {
        0 => windows.to_owned(),
        grace => format!("{windows} and wait {} for late reports", format::duration(grace.into())),
    }
}

fn next_numbers(of: &Overview<'_>) -> Markup {
    let counts = || of.windows.iter().filter(|status| status.measures == Measures::Conversions);
    let trouble = |status: &&WindowStatus| {
        matches!(
            status.state,
            WindowState::TooFewReports { .. }
                | WindowState::RefusedByBudget { .. }
                | WindowState::Failed { .. }
                | WindowState::UnderWay { trouble: Some(_) }
        )
    };
    let zone = &of.advertiser.time_zone;
    html! {
        section class="panel" aria-labelledby="next" {
            div class="panel-head" {
                h2 id="next" { "Next numbers" }
                a href=(Nav::Releases.path()) { "All windows" }
            }
            @match next_release(of.windows, of.advertiser) {
                Some((due, _)) if due <= of.now => p { span class="strong" { "Being collected now" } },
                Some((due, status)) => {
                    p {
                        span class="strong" { (format::moment(due, zone)) } " (" (format::relative(due, of.now)) ")"
                        br;
                        span class="soft small" { "because " (rhythm(of.advertiser)) }
                    }
                    @if !status.confirmed { p class="small" { (status.meaning()) } }
                }
                None => p class="soft" { "No window is open." },
            }
            @if let Some(row) = of.account.rows.first() {
                p class="small" {
                    (row.coverage.released) " of " (counted(row.coverage.windows, "window")) " of these days are released."
                }
            }
            (troubles(counts().filter(trouble), zone))
        }
    }
}

/// Windows without numbers, by what is in the way, the latest first.
fn troubles<'a>(windows: impl Iterator<Item = &'a WindowStatus>, zone: &TimeZone) -> Markup {
    let mut kinds: Vec<(&WindowStatus, Vec<&WindowStatus>)> = Vec::new();
    for status in windows {
        match kinds.iter_mut().find(|(kind, _)| kind.meaning() == status.meaning()) {
            Some((_, all)) => all.push(status),
            None => kinds.push((status, vec![status])),
        }
    }
    html! {
        @if !kinds.is_empty() {
            ul class="plain" {
                @for (kind, all) in kinds.iter().rev() {
                    li {
                        (state_badge(&kind.state))
                        p class="small" {
                            @for (index, status) in all.iter().rev().take(TROUBLES_LISTED).enumerate() {
                                @if index > 0 { ", " }
                                (format::short_day(format::day_of(status.window.from().seconds(), zone)))
                            }
                            @if all.len() > TROUBLES_LISTED { " and " (counted(all.len() - TROUBLES_LISTED, "earlier one")) }
                        }
                        p class="small soft" { (kind.meaning()) }
                    }
                }
            }
        }
    }
}

/// A window's state as a badge.
pub fn state_badge(state: &WindowState) -> Markup {
    let tone = match state {
        WindowState::Open { .. } => Tone::Plain,
        WindowState::Waiting { .. } | WindowState::UnderWay { .. } => Tone::Info,
        WindowState::TooFewReports { .. } => Tone::Wait,
        WindowState::RefusedByBudget { .. } | WindowState::Failed { .. } => Tone::Bad,
        WindowState::Released { .. } => Tone::Good,
    };
    badge(tone, state.name())
}

/// The way from nothing to numbers, until it is gone.
fn steps_panel(of: &Overview<'_>) -> Markup {
    let campaigns = !of.campaigns.is_empty();
    let released = of.account.rows.iter().any(|row| row.coverage.released > 0);
    let delivery = of.account.rows.iter().any(|row| row.impressions.is_some());
    if campaigns && released && delivery {
        return html! {};
    }
    let done = |done: bool| done.then_some("done");
    let first = next_release(of.windows, of.advertiser);
    html! {
        section class="panel" aria-labelledby="todo" {
            h2 id="todo" { "What to do next" }
            ol class="steps" {
                li class=[done(campaigns)] {
                    a class="strong" href="/console/campaigns/new" { "Create a campaign" }
                    span class="soft small" { "one for each ad campaign whose effect you want to know" }
                }
                li class=[done(released)] {
                    span class="strong" { "Let the two aggregators take part" }
                    span class="soft small" {
                        "Whoever runs this collector hands them the files of your tasks. Then devices begin to report."
                    }
                }
                li class=[done(delivery)] {
                    a class="strong" href=(Nav::Delivery.path()) { "Upload delivery numbers" }
                    span class="soft small" { "impressions, clicks and spend by campaign and day, as a CSV file" }
                }
                li class=[done(released)] {
                    span class="strong" { "Wait for the first numbers" }
                    span class="soft small" {
                        @match first {
                            Some((due, _)) if !released => {
                                "not before " (format::moment(due, &of.advertiser.time_zone)) ", because " (rhythm(of.advertiser))
                            }
                            _ => { (rhythm(of.advertiser)) }
                        }
                    }
                }
            }
        }
    }
}
