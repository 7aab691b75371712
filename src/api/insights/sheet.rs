//! Insights as a table for spreadsheets.

use super::RATE_PLACES;
use crate::api::refusal::Refusal;
use crate::api::sheet::{Cell, Sheet};
use crate::insights::{Field, Measure, Query, Rate, Row, Unit};
use crate::registry::{Currency, EventKind};

/// What of a noised field is a column of its own: the estimate has the field's name.
const PARTS: [&str; 4] = ["low", "high", "standard_error", "note"];

/// The last columns: of how many windows and days the numbers are, which spend `cpa` and `roas` were made of, and whether delivery numbers are
/// made up, as in a demo.
const LAST: [&str; 9] = [
    "windows",
    "released",
    "value_released",
    "days",
    "whole_days",
    "whole_value_days",
    "cpa_spend",
    "roas_spend",
    "delivery_is_invented",
];

/// The rows, with the fields that were asked for. Money is decimals of the major unit here: a spreadsheet does not know what a
/// minor unit is.
pub(super) fn sheet(query: &Query, rows: &[&Row], value_currency: Currency) -> Result<Vec<u8>, Refusal> {
    let mut header: Vec<String> =
        ["date_start", "date_stop", "campaign_id", "campaign_name", "event", "currency", "value_currency"]
            .map(str::to_owned)
            .to_vec();
    for field in query.fields.iter() {
        header.push(field.name().to_owned());
        if is_noised(field) {
            header.extend(PARTS.iter().map(|part| format!("{field}_{part}")));
        }
    }
    header.extend(LAST.map(str::to_owned));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut sheet = Sheet::new(&header)?;
    for row in rows {
        let campaign = row.campaign.as_ref();
        let mut cells = vec![
            Cell::of(Some(row.period.0)),
            Cell::of(Some(row.period.1)),
            Cell::of(campaign.map(|campaign| campaign.id)),
            campaign.map_or(Cell::Empty, |campaign| Cell::Text(campaign.name.as_str())),
            Cell::of(row.event.map(EventKind::name)),
            Cell::of(row.currency),
            Cell::of(Some(value_currency)),
        ];
        for field in query.fields.iter() {
            cells_of(row, field, &mut cells);
        }
        let coverage = &row.coverage;
        let counts = [
            coverage.windows,
            coverage.released,
            coverage.value_released,
            coverage.days,
            coverage.whole_days,
            coverage.whole_value_days,
        ];
        cells.extend(counts.map(|count| Cell::of(Some(count))));
        let spend = |spend: Option<u64>| {
            Cell::of(spend.zip(row.currency).map(|(spend, currency)| currency.decimal(spend.into())))
        };
        cells.extend([spend(row.cpa_spend), spend(row.roas_spend), Cell::of(Some(row.invented))]);
        sheet.row(&cells)?;
    }
    sheet.finish()
}

fn is_noised(field: Field) -> bool {
    matches!(field, Field::Conversions | Field::Value | Field::Cpa | Field::Roas)
}

/// The cells of a field: one, or one for each part of a noised number.
fn cells_of(row: &Row, field: Field, cells: &mut Vec<Cell<'_>>) {
    let minor = |minor: i128| row.currency.map(|currency| currency.decimal(minor));
    // A click may cost less than a minor unit.
    let price = |rate: Option<Rate>| {
        let (rate, currency) = rate.zip(row.currency)?;
        Some(Unit::Price(currency).decimal(i128::try_from(rate.price()).unwrap_or(i128::MAX)))
    };
    match field {
        Field::Impressions => cells.push(Cell::of(row.impressions)),
        Field::Clicks => cells.push(Cell::of(row.clicks)),
        Field::Spend => cells.push(Cell::of(row.spend.and_then(|spend| minor(spend.into())))),
        Field::Ctr => cells.push(Cell::of(row.ctr.map(|rate| rate.decimal(RATE_PLACES)))),
        Field::Cpc => cells.push(Cell::of(price(row.cpc))),
        Field::Cpm => cells.push(Cell::of(price(row.cpm))),
        Field::Conversions => measure(&row.conversions, cells),
        Field::Value => measure(&row.value, cells),
        Field::Cpa => measure(&row.cpa, cells),
        Field::Roas => measure(&row.roas, cells),
    }
}

fn measure(measure: &Measure, cells: &mut Vec<Cell<'_>>) {
    let note = match measure {
        Measure::Shown(number) => {
            let decimal = |value: i128| Cell::of(Some(number.unit.decimal(value)));
            let bound = |value: u128| decimal(i128::try_from(value).unwrap_or(i128::MAX));
            let error = number.standard_error.map(|error| {
                let steps = 10_f64.powi(number.unit.decimals().into());
                format!("{:.3}", error / steps)
            });
            cells.extend([
                decimal(number.estimate),
                bound(number.low),
                bound(number.high),
                Cell::of(error),
                Cell::Empty,
            ]);
            return;
        }
        Measure::Suppressed { reason } => format!("suppressed: {}", reason.name()),
        Measure::Null { reason } => reason.name().to_owned(),
    };
    cells.extend([Cell::Empty, Cell::Empty, Cell::Empty, Cell::Empty, Cell::of(Some(note))]);
}
