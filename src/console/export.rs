//! The table of campaigns as a file for a spreadsheet (RFC 4180). What people named is no formula there.

use super::campaign_form::status_name;
use super::measures::words;
use super::range::Range;
use crate::insights::{Measure, Table};
use crate::registry::Advertiser;
use crate::text::{csv_cell, csv_writer};

/// Columns, in their order. Noised numbers come with the ends of their interval, or with a note that says why they are missing; the last
/// columns say of how many windows and days they are, and which spend cost and return were made of.
const COLUMNS: [&str; 33] = [
    "from",
    "to",
    "campaign",
    "campaign_id",
    "status",
    "goal",
    "delivery_is_invented",
    "spend_currency",
    "impressions",
    "clicks",
    "spend",
    "conversions",
    "conversions_low",
    "conversions_high",
    "conversions_note",
    "cpa",
    "cpa_low",
    "cpa_high",
    "value_currency",
    "value",
    "value_low",
    "value_high",
    "roas",
    "roas_low",
    "roas_high",
    "windows",
    "windows_released",
    "windows_with_value",
    "days",
    "cpa_days",
    "cpa_spend",
    "roas_days",
    "roas_spend",
];

/// The file.
pub fn campaigns(advertiser: &Advertiser, range: &Range, answer: &Table) -> Result<Vec<u8>, csv::Error> {
    let mut file = csv_writer();
    file.write_record(COLUMNS)?;
    for row in &answer.rows {
        let Some(campaign) = &row.campaign else { continue };
        let count = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let spend = row.spend.map_or_else(String::new, |spend| campaign.currency.decimal(spend.into()));
        let mut cells = vec![
            range.from.to_string(),
            range.to.to_string(),
            csv_cell(campaign.name.as_str()).into_owned(),
            campaign.id.to_string(),
            status_name(campaign.status).to_owned(),
            campaign.goal.to_string(),
            row.invented.to_string(),
            campaign.currency.to_string(),
            count(row.impressions),
            count(row.clicks),
            spend,
        ];
        cells.extend(numbers(&row.conversions));
        cells.push(if row.conversions.shown().is_some() { String::new() } else { words(&row.conversions) });
        cells.extend(numbers(&row.cpa));
        cells.push(advertiser.currency.to_string());
        cells.extend(numbers(&row.value));
        cells.extend(numbers(&row.roas));
        let coverage = &row.coverage;
        let money = |spend: Option<u64>| {
            spend.map_or_else(String::new, |spend| campaign.currency.decimal(spend.into()))
        };
        cells.extend(
            [
                coverage.windows,
                coverage.released,
                coverage.value_released,
                coverage.days,
                coverage.whole_days,
            ]
            .map(|number| number.to_string()),
        );
        cells.extend([money(row.cpa_spend), coverage.whole_value_days.to_string(), money(row.roas_spend)]);
        file.write_record(&cells)?;
    }
    file.into_inner().map_err(|error| error.into_error().into())
}

/// Estimate and both ends; nothing of what is not shown. An estimate below 0 stays: a sum of many such is right.
fn numbers(measure: &Measure) -> [String; 3] {
    measure.shown().map_or_else(Default::default, |number| {
        let end = |end: u128| number.unit.decimal(i128::try_from(end).unwrap_or(i128::MAX));
        [number.unit.decimal(number.estimate), end(number.low), end(number.high)]
    })
}
