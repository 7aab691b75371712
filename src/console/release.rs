//! A release: its numbers, campaign by campaign, and how they were made.
//!
//! Only releases of the advertiser's own tasks are found; another's is as absent as one that never was.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::asked::Named;
use super::layout::{self, Nav, Page};
use super::parts::{Column, Table};
use super::session::{Console, SignedIn};
use super::turn::in_turn;
use super::{format, measures, releases};
use crate::advertising::Advertising;
use crate::collector::{self, Cell, Estimate, Published, Release, Signature};
use crate::insights::{Measure, Number, Suppression, Unit};
use crate::registry::{
    Advertiser, Campaign, CampaignId, Currency, EventKind, Generation, TimeZone, Touch, ValueTask,
};
use crate::schedule::{Calendar, Measures};
use crate::store::StoreError;

/// A release of an advertiser, with what its buckets mean.
#[derive(Clone, Debug)]
pub(super) struct Found {
    published: Published,
    generation: Arc<Generation>,
    measures: Measures,
}

/// A release by the number in an address, if it is one of the advertiser's. Blocks.
pub(super) fn find(
    advertising: &Advertising,
    advertiser: &Advertiser,
    sequence: &str,
) -> Result<Option<Found>, StoreError> {
    let Ok(sequence) = sequence.parse() else { return Ok(None) };
    let Some(published) = advertising.collector.store().release(sequence)? else { return Ok(None) };
    let task = published.release().task.parse().ok();
    let found = advertising.registry.generations(advertiser.id).iter().find_map(|generation| {
        let measures = if Some(generation.conversions) == task {
            Measures::Conversions
        } else {
            generation.value.filter(|value| Some(value.task) == task).map(|_| Measures::Value)?
        };
        Some((Arc::clone(generation), measures))
    });
    Ok(found.map(|(generation, measures)| Found { published, generation, measures }))
}

async fn gather<T: Send + 'static>(
    console: Console,
    me: &SignedIn,
    sequence: String,
    make: impl FnOnce(&Console, &Advertiser, Found) -> T + Send + 'static,
) -> Result<T, Response> {
    let (advertiser, of) = (Arc::clone(&me.advertiser), console.clone());
    let found = in_turn(&console, me, move || {
        let found = find(&of.advertising, &advertiser, &sequence)?;
        Ok::<_, StoreError>(found.map(|found| make(&of, &advertiser, found)))
    });
    match found.await {
        Ok(Ok(found)) => found.ok_or_else(|| layout::not_found(&me.context())),
        Err(busy) => Err(*busy),
        Ok(Err(error)) => {
            tracing::error!(%error, "a release cannot be read");
            Err(layout::failed(Some(&me.context())))
        }
    }
}

/// `GET /console/releases/{sequence}`
pub(super) async fn show(State(console): State<Console>, me: SignedIn, Named(sequence): Named) -> Response {
    let page = gather(console, &me, sequence, |console, advertiser, found| {
        let campaigns = console.advertising.registry.campaigns(advertiser.id);
        view(&Shown::new(advertiser, &campaigns, &found))
    });
    match page.await {
        Ok(page) => page.respond(&me.context()),
        Err(response) => response,
    }
}

/// `GET /console/releases/{sequence}/signed`: the signed document, as a file.
pub(super) async fn signed(State(console): State<Console>, me: SignedIn, Named(sequence): Named) -> Response {
    let text = gather(console, &me, sequence, |_, _, found| {
        (found.published.release().sequence, found.published.signed().map(str::to_owned))
    });
    let (sequence, text) = match text.await {
        Ok((sequence, Some(text))) => (sequence, text),
        // From before releases were signed.
        Ok((_, None)) => return layout::not_found(&me.context()),
        Err(response) => return response,
    };
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jose"));
    let name = format!("attachment; filename=\"release-{sequence}.jws\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

/// A number of the release.
#[derive(Clone, Debug)]
struct Line {
    campaign: String,
    id: CampaignId,
    event: EventKind,
    touch: Option<Touch>,
    measure: Measure,
}

/// What the page shows.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    release: Release,
    signed: bool,
    when: String,
    measures: Measures,
    unit: Unit,
    lines: Vec<Line>,
    /// What no campaign gets.
    unattributed: Option<Measure>,
    touches: bool,
    generation: u32,
    zone: TimeZone,
}

impl Shown {
    fn new(advertiser: &Advertiser, campaigns: &[Arc<Campaign>], found: &Found) -> Self {
        let (release, generation) = (found.published.release(), &found.generation);
        let calendar = Calendar::of(advertiser);
        let value = generation.value.filter(|_| found.measures == Measures::Value);
        let measure = |bucket: usize| {
            release.buckets.get(bucket).map(|bucket| measured(&bucket.cell, value, advertiser.currency))
        };
        let mut lines = Vec::new();
        for event in &generation.events {
            for (slot, meaning) in (1..).zip(&generation.slots) {
                let bucket = generation.bucket(*event, slot).and_then(|bucket| usize::try_from(bucket).ok());
                let (Some(meaning), Some(measure)) = (meaning, bucket.and_then(measure)) else { continue };
                let campaign = campaigns.iter().find(|campaign| campaign.id == meaning.campaign);
                lines.push(Line {
                    campaign: campaign
                        .map_or_else(|| meaning.campaign.to_string(), |one| one.name.to_string()),
                    id: meaning.campaign,
                    event: *event,
                    touch: meaning.touch,
                    measure,
                });
            }
        }
        Self {
            when: releases::when(&calendar, advertiser.cadence, release.window),
            signed: found.published.signed().is_some(),
            measures: found.measures,
            unit: if value.is_some() { Unit::Money(advertiser.currency) } else { Unit::Count },
            unattributed: measure(0),
            touches: lines.iter().any(|line| line.touch.is_some()),
            generation: generation.number,
            zone: advertiser.time_zone.clone(),
            lines,
            release: release.clone(),
        }
    }
}

/// A bucket's number in the units that people read.
fn measured(cell: &Cell, value: Option<ValueTask>, currency: Currency) -> Measure {
    match cell {
        Cell::Suppressed if value.is_some() => {
            Measure::Suppressed { reason: Suppression::ConversionsSuppressed }
        }
        Cell::Suppressed => Measure::Suppressed { reason: Suppression::BelowThreshold },
        Cell::Shown(Estimate { estimate, standard_error, low, high }) => {
            let (unit, of) = match value {
                Some(value) => (value.unit, Unit::Money(currency)),
                None => (1, Unit::Count),
            };
            let step = measures::approximate(unit.into());
            Measure::Shown(Number {
                estimate: estimate.saturating_mul(unit.into()),
                low: low.saturating_mul(unit.into()),
                high: high.saturating_mul(unit.into()),
                standard_error: standard_error.parse().ok().map(|error: f64| error * step),
                unit: of,
            })
        }
    }
}

/// The page.
pub(super) fn view(shown: &Shown) -> Page {
    let title = format!("Release {}", shown.release.sequence);
    let what = match shown.measures {
        Measures::Conversions => "Conversions",
        Measures::Value => "What conversions were worth",
    };
    let body = html! {
        (numbers(shown))
        (made(shown))
        (check(shown))
    };
    let below = (Nav::Releases.path(), "Windows and releases");
    Page::new(title, Nav::Releases).below(below.1, below.0).lead(format!("{what}, {}", shown.when)).body(body)
}

fn numbers(shown: &Shown) -> Markup {
    let unit = match shown.unit {
        Unit::Money(currency) => format!("Value ({currency})"),
        _ => "Conversions".to_owned(),
    };
    let mut columns = vec![Column::text("Campaign"), Column::text("Event")];
    if shown.touches {
        columns.push(Column::text("After a"));
    }
    columns.push(Column::number(unit));
    let mut table = Table::new("Numbers of this release, with their 95% intervals", columns);
    let most = shown.lines.iter().filter_map(|line| line.measure.shown());
    let most = most.map(|number| measures::drawn(number).2).fold(0.0, f64::max);
    for line in &shown.lines {
        let mut cells = vec![
            html! { a href=(format!("{}/{}", Nav::Campaigns.path(), line.id)) { (line.campaign) } },
            html! { (line.event.label()) },
        ];
        if shown.touches {
            cells.push(html! { (line.touch.map_or("view or click", Touch::name)) });
        }
        cells.push(measures::cell(&line.measure, Some(most)));
        table.row(cells);
    }
    let few = shown.lines.iter().any(|line| matches!(line.measure, Measure::Suppressed { .. }));
    html! {
        (table)
        @if let Some(unattributed) = &shown.unattributed {
            p class="small" {
                strong { "Not from a campaign: " } (measures::words(unattributed))
                @if let Some(number) = unattributed.shown() { " (" (measures::interval_words(number)) ")" }
                ". People who converted without having met an ad that counts, or whose devices had no budget left."
            }
        }
        @if few {
            p class="small soft" {
                (match shown.measures {
                    Measures::Conversions => Suppression::BelowThreshold,
                    Measures::Value => Suppression::ConversionsSuppressed,
                }.sentence())
            }
        }
    }
}

fn made(shown: &Shown) -> Markup {
    let release = &shown.release;
    let told = collector::how_made(release, Signature::Unchecked);
    html! {
        section class="panel" aria-labelledby="made" {
            h2 id="made" { "How were these numbers made?" }
            dl class="facts" {
                dt { "Window" } dd { (shown.when) ", that is " (release.window.from()) " to " (release.window.to()) }
                dt { "Reports" } dd { (format::grouped(release.report_count)) ", exactly, whether or not from a campaign" }
                dt { "Noise" } dd { (release.policy.mechanism) ", " (collector::words::scales(&release.noise)) }
                dt { "Shown from" } dd { (collector::words::threshold(release)) }
                dt { "Interval" } dd { "at least " (release.confidence.trim_start_matches("0.")) " of 100 such numbers have the truth in theirs" }
                dt { "Charged" } dd { (collector::words::charged(&release.charge)) (epochs_here(shown)) }
                @if let Some(spent) = collector::words::spent(&release.charge) { dt { "Spent" } dd { (spent) } }
                dt { "Promise" }
                dd {
                    "epsilon " (release.policy.epsilon) " for each window, at most "
                    (crate::text::counted(release.policy.contributions, "report")) " of a device in any 7 days"
                }
                @if let Some(keys) = &release.keys { dt { "Signed by" } dd { code { (keys.signing) } } }
                dt { "Task" } dd { code { (release.task) } ", generation " (shown.generation) }
                dt { "Aggregators" } dd { (release.leader) ", " (release.helper) }
            }
            details {
                summary { "In sentences" }
                div class="prose" {
                    @for paragraph in told.trim().split("\n\n") { p { (paragraph.replace('\n', " ")) } }
                }
            }
        }
    }
}

/// When the epochs that were charged started, by the clock of the advertiser, whose weeks they are not.
fn epochs_here(shown: &Shown) -> Markup {
    let epochs = shown.release.charge.epochs.iter().flatten();
    let starts: Vec<_> = epochs.map(|epoch| format::moment(epoch.start_seconds, &shown.zone)).collect();
    html! {
        @if !starts.is_empty() { span class="soft" { " (" (starts.join("; ")) " in " (shown.zone.name()) ")" } }
    }
}

fn check(shown: &Shown) -> Markup {
    let sequence = shown.release.sequence;
    html! {
        section class="panel" aria-labelledby="check" {
            h2 id="check" { "Check it yourself" }
            @if shown.signed {
                p {
                    "The release is signed. Anybody who has the collector's keys, which are public at "
                    a href="/keys" { code { "/keys" } } ", can see that it is what the collector published, unchanged:"
                }
                pre { code { "arras release verify release-" (sequence) ".jws --keys keys.json --explain" } }
                div class="actions" {
                    a class="button quiet" href=(format!("{}/{sequence}/signed", Nav::Releases.path())) { "Download the signed release" }
                }
            } @else {
                p { "This release is from before releases were signed: it can be read, and not be verified." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::check::usable;
    use super::super::tests::{context, look};
    use super::*;
    use crate::registry::fixture::{NOW, shop};
    use crate::schedule::tests::fixture::World;

    const HOSTILE: &str = "<script>alert(1)</script>";

    #[tokio::test]
    async fn a_release_says_how_it_was_made_and_is_nobody_elses() {
        let world = World::new().await;
        let mut running = world.start();
        let own = running.advertiser_with(shop("Shop"), &["Summer", HOSTILE]);
        let other = running.advertiser_with(shop("Other"), &["Winter"]);
        world.clock.set(NOW + 86_400 + 7_200);
        running.catch_up().await;
        let advertising = running.advertising();
        let advertiser = |id| advertising.registry.advertiser(id).unwrap();
        let page = |id, sequence: &str| {
            let advertiser = advertiser(id);
            let found = find(&advertising, &advertiser, sequence).unwrap()?;
            let campaigns = advertising.registry.campaigns(id);
            let html = view(&Shown::new(&advertiser, &campaigns, &found)).render(&context()).into_string();
            usable(&html);
            Some(html)
        };
        let of = |id, measures| {
            let windows = advertising.schedule.windows(id, 0, u64::MAX).unwrap();
            let first = windows.iter().find(|one| one.measures == measures).unwrap();
            first.state.released().unwrap().to_string()
        };
        let (counts, values) = (of(own, Measures::Conversions), of(own, Measures::Value));
        let html = page(own, &counts).unwrap();
        look("release", &html);
        assert!(html.contains("Summer") && html.contains("10,000") && html.contains("Order created"));
        assert!(!html.contains(HOSTILE) && !html.contains("Winter"));
        assert!(html.contains("20,000, exactly") && html.contains("1 epsilon to shop.example"));
        // In UTC it had been alone, beside the advertiser's days.
        assert!(html.contains(" in Europe/Berlin)") && html.contains("when this was released"), "{html}");
        assert!(html.contains(&format!("href=\"/console/releases/{counts}/signed\"")));
        // Ten thousand steps of a euro.
        let html = page(own, &values).unwrap();
        look("release-value", &html);
        assert!(html.contains("Value (EUR)") && html.contains("10,000.00"));
        // Another's, none, and what is no number.
        for sequence in [of(other, Measures::Conversions).as_str(), "0", "99", "-1", "x", ""] {
            assert_eq!(page(own, sequence), None, "{sequence}");
        }
        assert!(page(other, &counts).is_none() && page(other, &values).is_none());
    }
}
