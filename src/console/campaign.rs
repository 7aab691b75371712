//! A campaign: its numbers, over time, by event and by kind of touch, and which windows are in them.

use maud::{Markup, html};

use jiff::civil::Date;

use super::campaigns::{ctr_words, status_badge};
use super::covered;
use super::format;
use super::layout::{Nav, Page, PageContext};
use super::measures::{self, Notes};
use super::overview::{invented_notice, next_release, rhythm};
use super::parts::{Column, Table, exactness, invented};
use super::range::{self, Range};
use super::series;
use crate::insights::{Coverage, Granularity, Measure, NullReason, Row, Table as Answer};
use crate::registry::{Advertiser, Campaign, Currency, EventKind, Touch, ValueTask};
use crate::schedule::WindowStatus;
use crate::text::counted;

/// Gaps that are listed; the page of releases has every window.
const GAPS_LISTED: usize = 10;

/// What the page is made of.
#[derive(Debug)]
pub struct CampaignPage<'a> {
    /// The advertiser.
    pub advertiser: &'a Advertiser,
    /// The campaign.
    pub campaign: &'a Campaign,
    /// The days it is about.
    pub range: &'a Range,
    /// The day that it is there.
    pub today: Date,
    /// Now, in POSIX seconds.
    pub now: u64,
    /// The campaign, the whole range.
    pub total: &'a Answer,
    /// The campaign over time.
    pub series: &'a Answer,
    /// Its steps.
    pub steps: Granularity,
    /// By kind of event, the whole range.
    pub events: &'a Answer,
    /// After views and after clicks, where they are told apart.
    pub touches: &'a [(Touch, Answer)],
    /// How values are counted now, if they are.
    pub value_task: Option<ValueTask>,
    /// Windows that are open or waiting.
    pub windows: &'a [WindowStatus],
}

/// The page.
pub fn view(ctx: &PageContext, of: &CampaignPage<'_>) -> Page {
    let path = format!("/console/campaigns/{}", of.campaign.id);
    let page = Page::new(of.campaign.name.as_str(), Nav::Campaigns)
        .below("Campaigns", format!("{}?{}", Nav::Campaigns.path(), of.range.query()))
        .lead(html! {
            (status_badge(of.campaign.status)) " \u{b7} goal: " (of.campaign.goal.label().to_lowercase())
            " \u{b7} " (runs(of.campaign))
        });
    let page = if ctx.manages {
        page.actions(html! { a class="button quiet" href=(format!("{path}/edit")) { "Edit" } })
    } else {
        page
    };
    let row = of.total.rows.first();
    page.body(html! {
        (of.range.picker(&path, &[]))
        p class="small soft" { (range::about(of.range, of.advertiser.time_zone.name(), of.today)) }
        @if let Some(row) = row {
            @if row.invented { (invented_notice()) }
            (cards(row, of.campaign))
            @if row.coverage.released == 0 { (nothing_yet(of)) }
        }
        (chart(&path, of))
        div class="split" {
            div class="stack" { (events(of)) (touches(of)) }
            div class="stack" { (delivery(row)) (coverage(of, row)) (facts(of)) }
        }
        (Notes::of(of.total.rows.iter().chain(&of.series.rows).chain(&of.events.rows)))
    })
}

fn runs(campaign: &Campaign) -> String {
    match campaign.end {
        Some(end) => format!("runs {}", format::days(campaign.start, end)),
        None => format!("runs since {}", format::day(campaign.start)),
    }
}

fn cards(row: &Row, campaign: &Campaign) -> Markup {
    html! {
        dl class="cards" {
            div class="card" {
                dt {
                    span { "Spend" }
                    @if row.spend.is_some() { span class="unit" { (campaign.currency) } }
                }
                dd {
                    @if let Some(spend) = row.spend {
                        span class="big" { (format::amount(campaign.currency, spend)) }
                        span class="small" { (exactness(row)) }
                    } @else {
                        span class="big words" { "no delivery numbers" }
                        span class="small" { a href=(Nav::Delivery.path()) { "Upload a CSV" } }
                    }
                }
            }
            (measures::card("Conversions", &row.conversions, html! {}))
            (measures::card("Cost per conversion", &row.cpa, html! {}))
            (measures::card("Value", &row.value, html! {}))
            (measures::card("Return on spend", &row.roas, html! {}))
        }
    }
}

fn nothing_yet(of: &CampaignPage<'_>) -> Markup {
    let due = next_release(of.windows, of.advertiser);
    html! {
        p class="notice" {
            strong { "No numbers of these days yet." } " "
            @match due {
                Some((due, _)) => {
                    "The next come on " (format::moment(due, &of.advertiser.time_zone)) " (" (format::relative(due, of.now))
                    "), because " (rhythm(of.advertiser)) ". "
                },
                None => "No window is open for this campaign. ",
            }
            a href=(Nav::Releases.path()) { "Where each window stands" }
        }
    }
}

fn chart(path: &str, of: &CampaignPage<'_>) -> Markup {
    let values = of.series.rows.iter().any(|row| {
        !matches!(
            row.value,
            Measure::Null {
                reason: NullReason::ValuesNotSummed | NullReason::NotAtThisLevel | NullReason::NotAskedFor
            }
        )
    });
    let name = series::step_name(of.steps);
    html! {
        section class="panel" aria-labelledby="over-time" {
            div class="panel-head" {
                h2 id="over-time" { "Conversions by " (name) }
                (series::step_picker(path, of.range, of.advertiser.cadence, of.steps))
            }
            (series::over_time("conversions", "Conversions of this campaign", &of.series.rows, |row| &row.conversions))
        }
        @if values {
            section class="panel" aria-labelledby="value-over-time" {
                h2 id="value-over-time" { "Value by " (name) ", in " (of.advertiser.currency) }
                (series::over_time("value", "Value of this campaign's conversions", &of.series.rows, |row| &row.value))
            }
        }
    }
}

fn events(of: &CampaignPage<'_>) -> Markup {
    let columns = vec![Column::text("Event"), Column::number("Conversions"), Column::number("Value")];
    let mut table = Table::new("Conversions by kind of event", columns).unseen_caption();
    let most = of.events.rows.iter().filter_map(|row| row.conversions.shown());
    let most = most.map(|number| measures::drawn(number).2).fold(0.0, f64::max);
    for row in &of.events.rows {
        let label = row.event.map_or("\u{2013}", EventKind::label);
        let goal = row.event == Some(of.campaign.goal);
        table.row(vec![
            html! { (label) @if goal { div class="small soft" { "the goal" } } },
            measures::cell(&row.conversions, Some(most)),
            measures::cell(&row.value, None),
        ]);
    }
    html! {
        @if !table.is_empty() {
            section class="panel" aria-labelledby="events" { h2 id="events" { "By kind of event" } (table) }
        }
    }
}

fn touches(of: &CampaignPage<'_>) -> Markup {
    let columns = vec![Column::text("After a"), Column::number("Conversions"), Column::number("Value")];
    let mut table = Table::new("Conversions after views and after clicks", columns).unseen_caption();
    for (touch, answer) in of.touches {
        for row in &answer.rows {
            table.row(vec![
                html! { (touch.name()) },
                measures::cell(&row.conversions, None),
                measures::cell(&row.value, None),
            ]);
        }
    }
    html! {
        @if !table.is_empty() {
            section class="panel" aria-labelledby="touches" {
                h2 id="touches" { "After a view, after a click" }
                p class="small soft" { "Of the campaign's goal. Each number has noise of its own, so the two need not add up to the one above." }
                (table)
            }
        }
    }
}

fn delivery(row: Option<&Row>) -> Markup {
    let Some(row) = row.filter(|row| row.impressions.is_some()) else { return html! {} };
    let money = |rate: Option<crate::insights::Rate>| match (rate, row.currency) {
        (Some(rate), Some(currency)) => {
            format!("{}\u{a0}{currency}", format::price(currency, rate.price()))
        }
        _ => "\u{2013}".to_owned(),
    };
    html! {
        section class="panel" aria-labelledby="delivery" {
            h2 id="delivery" { "Delivery" @if row.invented { " " (invented()) } }
            dl class="facts" {
                dt { "Impressions" } dd { (format::grouped(row.impressions.unwrap_or_default())) }
                dt { "Clicks" } dd { (format::grouped(row.clicks.unwrap_or_default())) }
                dt { "CTR" } dd { (row.ctr.map_or_else(|| "\u{2013}".to_owned(), ctr_words)) }
                dt { "Cost per click" } dd { (money(row.cpc)) }
                dt { "Per 1,000 impressions" } dd { (money(row.cpm)) }
            }
        }
    }
}

fn coverage(of: &CampaignPage<'_>, row: Option<&Row>) -> Markup {
    let Some(row) = row else { return html! {} };
    let Coverage { windows, released, missing, .. } = &*row.coverage;
    let zone = &of.advertiser.time_zone;
    html! {
        section class="panel" aria-labelledby="coverage" {
            div class="panel-head" {
                h2 id="coverage" { "What is in these numbers" }
                a href=(Nav::Releases.path()) { "All windows" }
            }
            p class="small" { (released) " of " (counted(windows, "window")) " of these days are released." }
            @for sentence in covered::sentences(row) { p class="small" { (sentence) } }
            p class="small soft" {
                "Costs and returns are of days that are released whole and for which this campaign's spend is known. "
                a href=(format!("{}#costs", Nav::Help.path())) { "How" }
            }
            @if !missing.is_empty() {
                p class="small strong" { "Not in them, and not 0:" }
                ul class="bullets small" {
                    @for gap in missing.iter().take(GAPS_LISTED) {
                        li {
                            (format::moment(gap.span.from().seconds(), zone)) " to " (format::moment(gap.span.to().seconds(), zone))
                            ": " (gap.why.sentence())
                        }
                    }
                    @if missing.len() > GAPS_LISTED { li { "and " (counted(missing.len() - GAPS_LISTED, "other gap")) } }
                }
            }
        }
    }
}

/// How devices count what an order is worth. No interval holds what that leaves out.
fn steps(value: ValueTask, currency: Currency) -> String {
    format!(
        "in whole steps of {}, at most {} an order; what is above is not counted",
        format::money(currency, value.unit),
        format::money(currency, i128::from(value.unit) * i128::from(value.max_value))
    )
}

fn facts(of: &CampaignPage<'_>) -> Markup {
    let campaign = of.campaign;
    html! {
        section class="panel" aria-labelledby="facts" {
            h2 id="facts" { "Campaign" }
            dl class="facts small" {
                dt { "Id, for the API" } dd class="id" { (campaign.id) }
                dt { "Currency of spend" } dd { (campaign.currency) }
                dt { "First day" } dd { (format::day(campaign.start)) }
                dt { "Last day" } dd { (campaign.end.map_or_else(|| "open".to_owned(), format::day)) }
                @if let Some(value) = of.value_task {
                    dt { "Value of an order" } dd { (steps(value, of.advertiser.currency)) }
                }
            }
        }
    }
}
