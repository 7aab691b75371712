//! The table of campaigns: every number of each, sortable by links, a page at a time.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::civil::Date;
use maud::{Markup, html};
use serde::Deserialize;

use super::covered;
use super::format;
use super::layout::{Nav, Page, PageContext};
use super::measures::{self, Notes};
use super::overview::{invented_notice, no_campaign};
use super::parts::{self, Column, Sort, Table, Tone, badge, invented};
use super::range::{self, Range, RangeQuery};
use crate::insights::{Measure, Rate, Row, Table as Answer};
use crate::registry::{Advertiser, Campaign, Currency, Status};
use crate::text::counted;

/// Rows of a page: what still scrolls, and renders in a few milliseconds.
pub const CAMPAIGNS_PER_PAGE: usize = 100;

/// The address of the table, with what it shows.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CampaignsQuery {
    /// The range.
    #[serde(flatten)]
    pub range: RangeQuery,
    /// By which column.
    pub sort: Option<String>,
    /// `asc` or `desc`.
    pub order: Option<String>,
    /// The page, from 1.
    pub page: Option<String>,
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The campaign's name.
    Name,
    /// What it cost.
    Spend,
    /// How often its ads were shown.
    Impressions,
    /// How often they were clicked.
    Clicks,
    /// Clicks by impressions.
    Ctr,
    /// How many conversions.
    Conversions,
    /// Spend by conversions.
    Cpa,
    /// What conversions were worth.
    Value,
    /// Value by spend.
    Roas,
}

impl Key {
    /// All of them, in the order of columns.
    pub const ALL: [Self; 9] = [
        Self::Name,
        Self::Spend,
        Self::Impressions,
        Self::Clicks,
        Self::Ctr,
        Self::Conversions,
        Self::Cpa,
        Self::Value,
        Self::Roas,
    ];

    /// As in an address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Spend => "spend",
            Self::Impressions => "impressions",
            Self::Clicks => "clicks",
            Self::Ctr => "ctr",
            Self::Conversions => "conversions",
            Self::Cpa => "cpa",
            Self::Value => "value",
            Self::Roas => "roas",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Name => "Campaign",
            Self::Spend => "Spend",
            Self::Impressions => "Impressions",
            Self::Clicks => "Clicks",
            Self::Ctr => "CTR",
            Self::Conversions => "Conversions",
            Self::Cpa => "CPA",
            Self::Value => "Value",
            Self::Roas => "ROAS",
        }
    }
}

/// By what the table is sorted, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// By which column.
    pub key: Key,
    /// The largest first.
    pub descending: bool,
}

impl Order {
    /// The order that is asked for; most spend first, where none is that there is.
    pub fn new(sort: Option<&str>, order: Option<&str>) -> Self {
        let key = Key::ALL.into_iter().find(|key| Some(key.name()) == sort).unwrap_or(Key::Spend);
        let descending = match order {
            Some("asc") => false,
            Some("desc") => true,
            _ => key != Key::Name,
        };
        Self { key, descending }
    }

    /// Sorts rows; those that have no number are last whichever way, and of equal ones the name decides.
    pub fn sort(self, rows: &mut [&Row]) {
        rows.sort_by(|left, right| self.compare(left, right).then_with(|| by_name(left, right)));
    }

    fn compare(self, left: &Row, right: &Row) -> Ordering {
        if self.key == Key::Name {
            let order = by_name(left, right);
            return if self.descending { order.reverse() } else { order };
        }
        match (self.number(left), self.number(right)) {
            (Some(left), Some(right)) if self.descending => right.total_cmp(&left),
            (Some(left), Some(right)) => left.total_cmp(&right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "order: numbers that a double cannot tell apart may stand either way"
    )]
    fn number(self, row: &Row) -> Option<f64> {
        let exact = |number: Option<u64>| number.map(|number| number as f64);
        let noised = |measure: &Measure| measure.shown().map(|number| number.estimate as f64);
        match self.key {
            Key::Name => None,
            Key::Spend => exact(row.spend),
            Key::Impressions => exact(row.impressions),
            Key::Clicks => exact(row.clicks),
            Key::Ctr => row.ctr.map(Rate::as_f64),
            Key::Conversions => noised(&row.conversions),
            Key::Cpa => noised(&row.cpa),
            Key::Value => noised(&row.value),
            Key::Roas => noised(&row.roas),
        }
    }
}

fn by_name(left: &Row, right: &Row) -> Ordering {
    let name = |row: &Row| row.campaign.as_ref().map(|campaign| campaign.name.as_str().to_lowercase());
    name(left).cmp(&name(right))
}

/// What the page is made of.
#[derive(Debug)]
pub struct Campaigns<'a> {
    /// The advertiser.
    pub advertiser: &'a Advertiser,
    /// The days it is about.
    pub range: &'a Range,
    /// The day that it is there.
    pub today: Date,
    /// The order of rows.
    pub order: Order,
    /// The page, from 1.
    pub page: usize,
    /// All campaigns.
    pub campaigns: &'a [Arc<Campaign>],
    /// A row each.
    pub answer: &'a Answer,
    /// The account, for the totals.
    pub account: &'a Answer,
}

/// The page.
pub fn view(ctx: &PageContext, of: &Campaigns<'_>) -> Page {
    let page = Page::new("Campaigns", Nav::Campaigns);
    if of.campaigns.is_empty() {
        return page.lead("Every campaign with every number.").body(no_campaign(ctx));
    }
    let mut rows: Vec<&Row> = of.answer.rows.iter().filter(|row| row.campaign.is_some()).collect();
    of.order.sort(&mut rows);
    let pages = rows.len().div_ceil(CAMPAIGNS_PER_PAGE).max(1);
    let at = of.page.clamp(1, pages);
    let from = (at - 1) * CAMPAIGNS_PER_PAGE;
    let listed = &rows[from..rows.len().min(from + CAMPAIGNS_PER_PAGE)];
    let turn = |page: usize| (1..=pages).contains(&page).then(|| address(of, of.order, page));
    let keep = [("sort", of.order.key.name()), ("order", order_name(of.order.descending))];
    let delivered = of.account.rows.iter().any(|row| row.impressions.is_some());
    page.lead(range::about(of.range, of.advertiser.time_zone.name(), of.today))
        .actions(html! {
            a class="button quiet" href=(format!("/console/campaigns.csv?{}", of.range.query())) { "Export as CSV" }
            @if ctx.manages { a class="button" href="/console/campaigns/new" { "New campaign" } }
        })
        .body(html! {
            (of.range.picker(Nav::Campaigns.path(), &keep))
            @if of.account.rows.iter().any(|row| row.invented) { (invented_notice()) }
            @if !delivered {
                p class="notice" {
                    strong { "No delivery numbers for these days yet." } " "
                    a href=(Nav::Delivery.path()) { "Upload a CSV" }
                    " with impressions, clicks and spend, and CPA and ROAS appear beside conversions."
                }
            }
            @if let Some(row) = of.account.rows.first() { (covered::line(row)) }
            (sort_form(of))
            (table(of, listed, from))
            (parts::pager("campaigns", turn(at - 1).as_deref(), turn(at + 1).as_deref()))
            (Notes::of(listed.iter().copied()))
        })
}

fn order_name(descending: bool) -> &'static str {
    if descending { "desc" } else { "asc" }
}

fn address(of: &Campaigns<'_>, order: Order, page: usize) -> String {
    let mut text = format!(
        "{}?{}&sort={}&order={}",
        Nav::Campaigns.path(),
        of.range.query(),
        order.key.name(),
        order_name(order.descending)
    );
    if page > 1 {
        // Writing to a string cannot fail.
        let _ = write!(text, "&page={page}");
    }
    text
}

fn table(of: &Campaigns<'_>, listed: &[&Row], from: usize) -> Table {
    let column = |key: Key| {
        let sorted = (of.order.key == key).then_some(of.order.descending);
        let next = Order { key, descending: sorted.map_or(key != Key::Name, |descending| !descending) };
        let column = if key == Key::Name { Column::text(key.label()) } else { Column::number(key.label()) };
        column.sorted(Sort { href: address(of, next, 1), descending: sorted })
    };
    let shared = shared_currency(of.advertiser, of.campaigns);
    let money = shared.map_or_else(String::new, |currency| format!("; amounts in {currency}"));
    let shown = if listed.len() < of.campaigns.len() {
        format!("{} to {} of {}", from + 1, from + listed.len(), counted(of.campaigns.len(), "campaign"))
    } else {
        counted(of.campaigns.len(), "campaign")
    };
    let mut table = Table::new(
        format!("{shown}, {}{money}", of.range.words()),
        Key::ALL.into_iter().map(column).collect(),
    );
    let most = listed.iter().filter_map(|row| row.conversions.shown());
    let most = most.map(|number| measures::drawn(number).2).fold(0.0, f64::max);
    for row in listed {
        if let Some(campaign) = &row.campaign {
            let name = html! {
                a href=(format!("/console/campaigns/{}?{}", campaign.id, of.range.query())) { (campaign.name) }
                div class="small" { (status_badge(campaign.status)) }
                (covered::mark(row, of.account.rows.first()))
            };
            table.row(cells(row, name, shared, Some(most)));
        }
    }
    if let Some(row) = of.account.rows.first() {
        table.foot(cells(row, html! { "All campaigns" }, shared, None));
    }
    table
}

/// The order of rows as a form, for where rows are cards and have no head to sort by.
fn sort_form(of: &Campaigns<'_>) -> Markup {
    let keys: Vec<_> =
        Key::ALL.into_iter().map(|key| (key.name().to_owned(), key.label().to_owned())).collect();
    let orders = [("desc", "largest first"), ("asc", "smallest first")];
    let orders = orders.map(|(value, text)| (value.to_owned(), text.to_owned()));
    let dates = [("from", of.range.from.to_string()), ("to", of.range.to.to_string())];
    let days = of.range.last.map(|days| ("days", days.to_string()));
    let range = days.map_or_else(|| dates.to_vec(), |days| vec![days]);
    html! {
        form class="filter sort-by" method="get" action=(Nav::Campaigns.path()) {
            @for (name, value) in range { input type="hidden" name=(name) value=(value); }
            (parts::select("sort", "Sort by", &keys, of.order.key.name(), None))
            (parts::select("order", "Order", &orders, order_name(of.order.descending), None))
            button class="button quiet" type="submit" { "Sort" }
        }
    }
}

/// The currency of all amounts of campaigns, if it is one. Otherwise each amount stands with its own.
pub fn shared_currency(advertiser: &Advertiser, campaigns: &[Arc<Campaign>]) -> Option<Currency> {
    let own = advertiser.currency;
    campaigns.iter().all(|campaign| campaign.currency == own).then_some(own)
}

fn cells(row: &Row, name: Markup, shared: Option<Currency>, most: Option<f64>) -> Vec<Markup> {
    let nothing = || html! { span class="soft" { "\u{2013}" } };
    let mark = || html! { @if row.invented { div class="small" { (invented()) } } };
    let count =
        |number: Option<u64>| number.map_or_else(nothing, |number| html! { (format::grouped(number)) });
    let spend = match (row.spend, row.currency) {
        (Some(spend), Some(currency)) if shared.is_some() => {
            html! { (format::amount(currency, spend)) (mark()) }
        }
        (Some(spend), Some(currency)) => html! { (format::money(currency, spend)) (mark()) },
        _ => nothing(),
    };
    let ctr = row.ctr.map_or_else(nothing, |ctr| html! { (ctr_words(ctr)) });
    vec![
        name,
        spend,
        count(row.impressions),
        count(row.clicks),
        ctr,
        measures::cell(&row.conversions, most),
        measures::money_cell(&row.cpa, shared.is_none()),
        measures::money_cell(&row.value, shared.is_none()),
        measures::cell(&row.roas, None),
    ]
}

/// A rate of clicks as a percentage with two decimals.
pub fn ctr_words(ctr: Rate) -> String {
    let hundredths = ctr.rounded(10_000);
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// Where a campaign stands.
pub fn status_badge(status: Status) -> Markup {
    match status {
        Status::Active => badge(Tone::Good, "active"),
        Status::Paused => badge(Tone::Wait, "paused"),
        Status::Ended => badge(Tone::Plain, "ended"),
    }
}
