//! Delivery numbers: uploading a file of them, and what arrived last.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::civil::Date;
use maud::{Markup, html};

use super::csrf::UploadPlace;
use super::layout::{self, Nav, Notice, Page, PageContext};
use super::parts::{self, Column, Table};
use super::session::{Console, SignedIn};
use super::sign_in::sentence;
use super::{format, multipart, turn};
use crate::access::Scope;
use crate::aggregator::work::blocking;
use crate::registry::{
    AdvertiserId, COLUMNS, Campaign, Columns, DELIVERY_ROWS_MAX, DeliveryError, ErrorKind, Registry, Status,
    Upserted,
};
use crate::text::{counted, csv_cell, csv_writer};

/// Rows of the table of what arrived last: some screens of a phone.
pub const RECENT_ROWS_MAX: usize = 100;

/// Days of each campaign that are looked at for it.
const RECENT_DAYS: usize = 14;

/// Lines of the template for campaigns; more are made by a program.
pub const TEMPLATE_ROWS_MAX: usize = 1_000;

/// The page.
pub(super) async fn show(State(console): State<Console>, me: SignedIn) -> Response {
    page(console, &me, StatusCode::OK, None, None, String::new()).await
}

async fn page(
    console: Console,
    me: &SignedIn,
    status: StatusCode,
    notice: Option<Notice>,
    error: Option<&DeliveryError>,
    typed: String,
) -> Response {
    let registry = console.advertising.registry.clone();
    let own = me.advertiser.id;
    let (recent, any_campaign) =
        blocking(move || (recent(&registry, own), !registry.campaigns(own).is_empty())).await;
    let ctx = me.context_with(notice);
    let body = html! {
        @if let Some(error) = error { (errors(error)) }
        @if !any_campaign {
            (parts::empty(
                "There is no campaign yet",
                "Delivery numbers belong to campaigns: create one first, then upload what your ads platform counts.",
                html! { a class="button" href=(Nav::Campaigns.path()) { "Go to campaigns" } },
            ))
        } @else if me.may(Scope::Manage) {
            (upload_form(&ctx, &typed))
        }
        @if any_campaign { (recent_section(&recent)) }
    };
    Page::new("Delivery", Nav::Delivery)
        .lead("Impressions, clicks and spend, as your ads platform counts them. They are exact, and what cost per conversion is made of.")
        .body(body)
        .status(status)
        .respond(&ctx)
}

fn upload_form(ctx: &PageContext, typed: &str) -> Markup {
    html! {
        section class="panel" aria-labelledby="upload" {
            h2 id="upload" { "Upload numbers" }
            p {
                "A CSV file whose first line is " code { (COLUMNS.join(",")) } ". A campaign is given by its name or id, a day like "
                code { "2026-11-24" } ", spend like " code { "12.50" } ". Numbers of a day that is there already are replaced, and \
                 the same file twice does no harm. If one line is wrong, nothing is changed."
            }
            p { a href="/console/delivery/template.csv" { "Download a template with your campaigns" } }
            form class="form" method="post" action=(Nav::Delivery.path()) enctype="multipart/form-data" {
                (ctx.csrf())
                div class="field" {
                    label for="file" { "CSV file" }
                    input id="file" name="file" type="file" accept=".csv,text/csv" aria-describedby="file-hint";
                    p class="hint" id="file-hint" {
                        "At most 2 MB and " (format::grouped(DELIVERY_ROWS_MAX as i128)) " lines."
                    }
                }
                div class="field" {
                    label for="text" { "Or paste the lines here" }
                    textarea id="text" name="text" rows="8" spellcheck="false" { "\n" (typed) }
                }
                button class="button" type="submit" { "Upload" }
            }
        }
    }
}

fn errors(error: &DeliveryError) -> Markup {
    let rows = error.rows();
    if rows.is_empty() {
        return html! {};
    }
    let mut table = Table::new("Lines to correct", vec![Column::text("Line"), Column::text("What is wrong")]);
    for row in rows {
        table.row(vec![html! { (row.row) }, html! { (row.reason) }]);
    }
    html! { (table) }
}

/// A line of the table of what arrived last.
struct Recent {
    day: Date,
    campaign: String,
    numbers: [u64; 2],
    spend: String,
    invented: bool,
}

/// The latest days of all campaigns, the latest first.
fn recent(registry: &Registry, own: AdvertiserId) -> Vec<Recent> {
    let mut found: Vec<Recent> = registry
        .campaigns(own)
        .iter()
        .filter_map(|campaign| Some((campaign, registry.delivery_columns(own, campaign.id)?)))
        .flat_map(|(campaign, columns)| latest(campaign, &columns))
        .collect();
    found.sort_by(|one, other| other.day.cmp(&one.day).then_with(|| one.campaign.cmp(&other.campaign)));
    found.truncate(RECENT_ROWS_MAX);
    found
}

fn latest(campaign: &Campaign, columns: &Columns) -> Vec<Recent> {
    let count = columns.days().len();
    (count.saturating_sub(RECENT_DAYS)..count)
        .map(|place| Recent {
            day: columns.days()[place],
            campaign: campaign.name.to_string(),
            numbers: [columns.impressions()[place], columns.clicks()[place]],
            spend: format::money(campaign.currency, columns.spend()[place]),
            invented: columns.invented()[place],
        })
        .collect()
}

fn recent_section(recent: &[Recent]) -> Markup {
    if recent.is_empty() {
        return parts::empty(
            "No delivery numbers yet",
            "Once there are some, cost per conversion and return on ad spend show up beside your conversions.",
            html! {},
        );
    }
    let mut table = Table::new(
        "Latest numbers",
        vec![
            Column::text("Day"),
            Column::text("Campaign"),
            Column::number("Impressions"),
            Column::number("Clicks"),
            Column::number("Spend"),
        ],
    );
    for row in recent {
        let [impressions, clicks] = row.numbers.map(format::grouped);
        table.row(vec![
            html! { (format::day(row.day)) },
            html! { (row.campaign) @if row.invented { " " (parts::invented()) } },
            html! { (impressions) },
            html! { (clicks) },
            html! { (row.spend) },
        ]);
    }
    html! { (table) }
}

/// Takes a file, or lines that were pasted: all, or none.
pub(super) async fn upload(
    State(console): State<Console>,
    me: SignedIn,
    place: Option<Extension<UploadPlace>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(page) = me.must(Scope::Manage, "upload delivery numbers") {
        return *page;
    }
    let refused = |text: &str| Some(Notice::error(text));
    let boundary = multipart::boundary(&headers);
    let Some(parts) = boundary.and_then(|boundary| multipart::parts(&boundary, &body).ok()) else {
        let notice = refused("The form did not arrive whole. Nothing was changed.");
        return page(console, &me, StatusCode::BAD_REQUEST, notice, None, String::new()).await;
    };
    let field = |name| multipart::content(&parts, name).filter(|content| !content.trim_ascii().is_empty());
    let text = field("text").map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    let file = match (field("file"), field("text")) {
        (Some(file), None) | (None, Some(file)) => file.to_vec(),
        (None, None) => {
            let notice = refused("Choose a file, or paste its lines.");
            return page(console, &me, StatusCode::UNPROCESSABLE_ENTITY, notice, None, text).await;
        }
        (Some(_), Some(_)) => {
            let notice = refused("There is a file and there are lines; send one of both.");
            return page(console, &me, StatusCode::UNPROCESSABLE_ENTITY, notice, None, text).await;
        }
    };
    let (registry, own, now) = (console.advertising.registry.clone(), me.advertiser.id, console.now());
    let outcome = turn::keeping(place, move || registry.upload_delivery_csv(own, &file, false, now)).await;
    match outcome {
        Ok(done) => page(console, &me, StatusCode::OK, Some(told(done)), None, String::new()).await,
        Err(error) => {
            if error.kind() == ErrorKind::Store {
                tracing::error!(%error, "delivery numbers cannot be kept");
                return layout::failed(Some(&me.context()));
            }
            let summary = match &error {
                DeliveryError::Rows { errors, more, .. } => {
                    let first = if *more > 0 { " The first are below." } else { "" };
                    format!(
                        "{} cannot be taken, so nothing was changed.{first} Correct them and upload the file again.",
                        counted(errors.len() + more, "line")
                    )
                }
                other => sentence(&other.to_string()),
            };
            let notice = Some(Notice::error(summary));
            page(console, &me, StatusCode::UNPROCESSABLE_ENTITY, notice, Some(&error), text).await
        }
    }
}

fn told(done: Upserted) -> Notice {
    let early = match done.before_start {
        0 => String::new(),
        early => format!(
            " {} before the first day of the campaign: check the file, or the campaign\u{2019}s days.",
            if early == 1 { "1 line is of a day".to_owned() } else { format!("{early} lines are of days") }
        ),
    };
    Notice::done(format!(
        "{} new, {} changed, {} there already.{early}",
        counted(done.inserted, "day"),
        done.changed,
        done.same
    ))
}

/// A file to fill in: a line for each campaign that runs, with yesterday's date. Its numbers are empty, so that it is not taken
/// as it is.
pub(super) async fn template(State(console): State<Console>, me: SignedIn) -> Response {
    let zone = me.advertiser.time_zone.clone();
    let yesterday = format::day_of(console.now().saturating_sub(format::DAY), &zone);
    let campaigns = console.advertising.registry.campaigns(me.advertiser.id);
    let running = campaigns.iter().filter(|campaign| campaign.status == Status::Active);
    let names = running.map(|campaign| campaign.name.as_str()).take(TEMPLATE_ROWS_MAX);
    let Ok(text) = template_of(yesterday, names) else { return layout::failed(Some(&me.context())) };
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let file = HeaderValue::from_static("attachment; filename=\"delivery-template.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, file);
    response
}

fn template_of<'a>(day: Date, names: impl Iterator<Item = &'a str>) -> Result<String, csv::Error> {
    let mut writer = csv_writer();
    writer.write_record(COLUMNS)?;
    let day = day.to_string();
    for name in names {
        writer.write_record([&day, &*csv_cell(name), "", "", ""])?;
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::civil::date;

    use super::*;
    use crate::console::tests::check::usable;
    use crate::console::tests::{HOSTILE, look, signed_in};
    use crate::registry::RowError;
    use crate::registry::fixture::Place;

    #[test]
    fn the_page_takes_a_file_or_lines_and_names_what_is_wrong() {
        let me = signed_in(HOSTILE, Scope::Manage);
        let ctx = me.context_with(Some(Notice::error("1 line cannot be taken")));
        let error = DeliveryError::Rows {
            errors: vec![RowError { row: 2, reason: HOSTILE.to_owned() }],
            more: 3,
            lines: true,
        };
        let row = |invented| Recent {
            day: date(2026, 11, 1),
            campaign: HOSTILE.to_owned(),
            numbers: [1_234_567, 89],
            spend: "12.50 EUR".to_owned(),
            invented,
        };
        let body = html! {
            (errors(&error))
            (upload_form(&ctx, HOSTILE))
            (recent_section(&[row(true), row(false)]))
        };
        let html = Page::new("Delivery", Nav::Delivery).body(body).render(&ctx).into_string();
        usable(&html);
        look("delivery", &html);
        assert!(!html.contains("<script"));
        assert_eq!(html.matches("class=\"invented\"").count(), 1);
        let html = Page::new("Delivery", Nav::Delivery).body(recent_section(&[])).render(&ctx).into_string();
        usable(&html);
        assert!(html.contains("No delivery numbers yet"));
    }

    #[test]
    fn the_template_has_no_formulas_and_is_not_taken_as_it_is() {
        let names = ["Summer, \"sale\"", "=1+1", "spring"];
        let text = template_of(date(2026, 11, 1), names.into_iter()).unwrap();
        assert_eq!(
            text,
            "day,campaign,impressions,clicks,spend\r\n2026-11-01,\"Summer, \"\"sale\"\"\",,,\r\n2026-11-01,'=1+1,,,\r\n\
             2026-11-01,spring,,,\r\n"
        );
        let place = Place::new();
        let registry = place.open();
        let shop = crate::registry::fixture::shop("Shop");
        let own = registry.create_advertiser(shop, crate::registry::fixture::NOW).unwrap().id;
        let error = registry
            .upload_delivery_csv(own, text.as_bytes(), false, crate::registry::fixture::NOW)
            .unwrap_err();
        assert_eq!(error.rows().len(), 3);
    }
}
