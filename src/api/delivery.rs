//! Delivery numbers: impressions, clicks and spend of a campaign on a day, as the advertiser or its ads manager counts them.

use std::collections::HashMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accept::Media;
use super::answer::Answer;
use super::guard::{Call, Handled, Manage, Read, Tenant};
use super::page::{Page, Wanted, next_link};
use super::refusal::Refusal;
use super::sheet::{Cell, Sheet};
use super::when::Days;
use crate::net::problem::{OwnError, ProblemDocument, ProblemPart};
use crate::registry::{
    COLUMNS, CSV_BYTES_MAX, Campaign, CampaignId, Delivered, DeliveryError, DeliveryRow, INVENTED_COLUMN,
    RowError, Upserted,
};

/// Largest body with delivery numbers, in bytes: the largest file, and as much as JSON.
pub(super) const BODY_BYTES_MAX: usize = CSV_BYTES_MAX;

/// What a row of a request says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDelivery)]
pub(super) struct NewDeliveryJson {
    /// The campaign's id, or its name.
    #[schema(example = "cmp_AbCdEfGhIjKlMnOp")]
    campaign: String,
    /// The day, in the advertiser's time zone.
    #[schema(value_type = String, format = Date)]
    day: Date,
    /// How often its ads were shown.
    impressions: u64,
    /// How often they were clicked.
    clicks: u64,
    /// What they cost, in minor units of the campaign's currency (cents of EUR).
    spend: u64,
}

/// Delivery numbers of a campaign on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(super) struct DeliveryJson {
    /// The campaign's id.
    campaign: String,
    /// The day, in the advertiser's time zone.
    #[schema(format = Date)]
    day: String,
    /// How often its ads were shown.
    impressions: u64,
    /// How often they were clicked.
    clicks: u64,
    /// What they cost, in minor units of `currency`.
    spend: u64,
    /// The campaign's currency.
    currency: String,
    /// Whether the numbers are invented, as in a demo; left out if they are not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invented: bool,
}

/// What became of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DeliveryTaken)]
pub(super) struct TakenJson {
    /// Rows of a campaign and day that had none.
    inserted: usize,
    /// Rows that replaced others.
    changed: usize,
    /// Rows that say what was known.
    same: usize,
    /// Rows among them, of days before their campaign's first day: a slip in the file, or in the campaign.
    before_start: usize,
}

/// Lists delivery numbers
///
/// By campaign in the order of creation, then by day. As CSV (`Accept: text/csv`) the file can be sent back as it is, unless any of its
/// numbers are invented, as in a demo: then a column says so, and the file is not taken.
#[utoipa::path(get, path = "/v1/advertisers/{advertiser}/delivery", tag = "delivery", operation_id = "list_delivery",
    params(super::document::AdvertiserPath, super::document::DayParams, super::document::CampaignParam,
        super::document::PageParams),
    responses((status = 200, description = "A page of delivery numbers.",
        content((Page<DeliveryJson> = "application/json"), (String = "text/csv")))))]
pub(super) fn list(tenant: &Tenant<Read>, call: &mut Call) -> Handled {
    let media = call.accept(&[Media::Json, Media::Csv])?;
    let days = Days::take(tenant.advertiser(), call)?;
    let campaign: Option<CampaignId> = call.query.parse("campaign", "the id of a campaign")?;
    let wanted = Wanted::take(&mut call.query)?;
    call.query.finish(&["from", "to", "campaign", "limit", "cursor"])?;
    let registry = tenant.api().registry();
    let campaigns = registry.campaigns(tenant.id());
    let after = wanted.after(|text| {
        let (id, day) = text.split_once(' ')?;
        let at = campaigns.iter().position(|one| one.id.to_string() == id)?;
        Some((at, day.parse::<Date>().ok()?))
    })?;
    if campaign.is_some_and(|id| campaigns.iter().all(|one| one.id != id)) {
        return Err(Refusal::invalid(format!("campaign: {}", super::campaigns::NO_CAMPAIGN)));
    }
    let mut found: Vec<(&Campaign, Delivered)> = Vec::new();
    for (at, one) in campaigns.iter().enumerate().skip(after.map_or(0, |(at, _)| at)) {
        if campaign.is_some_and(|id| id != one.id) || found.len() > wanted.limit {
            continue;
        }
        let rows = registry.delivery(tenant.id(), one.id, &(days.from..=days.to));
        let unseen = |row: &Delivered| after.is_none_or(|(seen, day)| at > seen || row.day > day);
        found.extend(rows.into_iter().filter(unseen).map(|row| (one.as_ref(), row)));
    }
    let page = wanted.page(found, |(campaign, row)| format!("{} {}", campaign.id, row.day));
    if media == Media::Json {
        return Answer::json(&page.map(|(campaign, row)| DeliveryJson {
            campaign: campaign.id.to_string(),
            day: row.day.to_string(),
            impressions: row.impressions,
            clicks: row.clicks,
            spend: row.spend,
            currency: campaign.currency.to_string(),
            invented: row.invented,
        }));
    }
    let mut rest = days.parameters();
    rest.extend(campaign.map(|id| ("campaign", id.to_string())));
    let path = format!("/v1/advertisers/{}/delivery", tenant.id());
    let next = next_link(&path, &wanted, page.next.as_ref(), &rest);
    Ok(Answer::csv(sheet(&page)?, "delivery.csv").with_next(next))
}

/// The columns that an upload has, campaigns by id: names would be changed if they look like formulas.
fn sheet(page: &Page<(&Campaign, Delivered)>) -> Result<Vec<u8>, Refusal> {
    // An upload takes no such column: what is made up must not come back as if it were real.
    let invented = page.data.iter().any(|(_, row)| row.invented);
    let header: Vec<&str> = COLUMNS.into_iter().chain(invented.then_some(INVENTED_COLUMN)).collect();
    let mut sheet = Sheet::new(&header)?;
    for (campaign, row) in &page.data {
        let mut cells = vec![
            Cell::of(Some(row.day)),
            Cell::of(Some(campaign.id)),
            Cell::of(Some(row.impressions)),
            Cell::of(Some(row.clicks)),
            Cell::of(Some(campaign.currency.decimal(row.spend.into()))),
        ];
        cells.extend(invented.then(|| Cell::of(Some(row.invented))));
        sheet.row(&cells)?;
    }
    sheet.finish()
}

/// Takes delivery numbers
///
/// A row replaces what was known of its campaign and day; sending the same again changes nothing. All rows are taken, or none:
/// if some are wrong, `errors` names each of them. No rows at all are taken, too, and change nothing. As CSV (`Content-Type: text/csv`) the columns are `day`, `campaign` (name or
/// id), `impressions`, `clicks` and `spend`, which is a decimal of the major unit there, such as `12.50`.
#[utoipa::path(put, path = "/v1/advertisers/{advertiser}/delivery", tag = "delivery", operation_id = "put_delivery",
    params(super::document::AdvertiserPath),
    request_body(content((Vec<NewDeliveryJson> = "application/json"), (String = "text/csv"))),
    responses(
        (status = 200, description = "All rows were taken.", body = TakenJson),
        (status = 400, description = "No row was taken; `errors` says why, row by row.", body = super::document::Problem, content_type = "application/problem+json")))]
pub(super) fn put(tenant: &Tenant<Manage>, call: &mut Call) -> Handled {
    call.query.finish(&[])?;
    let registry = tenant.api().registry();
    let (id, now) = (tenant.id(), call.now);
    let taken = match call.content_type().as_str() {
        "text/csv" => registry.upload_delivery_csv(id, call.body(), false, now),
        "" | "application/json" => {
            let (rows, wrong) = from_json(tenant, call.json()?);
            registry.upsert_delivery_numbered(id, &rows, wrong, false, now)
        }
        _ => return Err(Refusal::new(OwnError::UnsupportedMediaType, "send application/json or text/csv")),
    };
    let taken = taken.map_err(refusal)?;
    let Upserted { inserted, changed, same, before_start } = taken;
    Answer::json(&TakenJson { inserted, changed, same, before_start })
}

/// Rows with the campaigns that they name, by their numbers, and those that name none.
fn from_json(
    tenant: &Tenant<Manage>,
    rows: Vec<NewDeliveryJson>,
) -> (Vec<(usize, DeliveryRow)>, Vec<RowError>) {
    let campaigns = tenant.api().registry().campaigns(tenant.id());
    let by_name: HashMap<&str, CampaignId> =
        campaigns.iter().map(|one| (one.name.as_str(), one.id)).collect();
    let by_id: HashMap<String, CampaignId> =
        campaigns.iter().map(|one| (one.id.to_string(), one.id)).collect();
    let (mut found, mut wrong) = (Vec::with_capacity(rows.len()), Vec::new());
    for (number, row) in (1..).zip(rows) {
        let NewDeliveryJson { campaign, day, impressions, clicks, spend } = row;
        match by_id.get(&campaign).or_else(|| by_name.get(campaign.as_str())) {
            Some(id) => found.push((number, DeliveryRow { campaign: *id, day, impressions, clicks, spend })),
            None => wrong.push(RowError { row: number, reason: super::campaigns::NO_CAMPAIGN.to_owned() }),
        }
    }
    (found, wrong)
}

fn refusal(error: DeliveryError) -> Refusal {
    // The rows stand in `errors`.
    let detail = error.summary();
    match error {
        DeliveryError::Rows { errors, .. } => {
            let part =
                |error: RowError| ProblemPart { row: u64::try_from(error.row).ok(), detail: error.reason };
            of_rows(detail, errors.into_iter().map(part).collect())
        }
        DeliveryError::TooLarge(_) => Refusal::new(OwnError::TooLarge, detail),
        DeliveryError::Registry(error) => error.into(),
        _ => Refusal::invalid(detail),
    }
}

fn of_rows(detail: String, errors: Vec<ProblemPart>) -> Refusal {
    ProblemDocument::own(OwnError::InvalidRequest).with_detail(detail).with_errors(errors).into()
}
