//! Delivery numbers as CSV: what spreadsheets and ads platforms export.

use std::collections::HashMap;

use csv::{ReaderBuilder, StringRecord};

use super::errors::Found;
use super::{CSV_BYTES_MAX, DELIVERY_ROWS_MAX, DeliveryError, DeliveryRow};
use crate::registry::{AdvertiserId, Campaign, CampaignId, Registry, RegistryError};
use crate::text::shown;

/// The columns, each needed, in any order.
pub const COLUMNS: [&str; 5] = ["day", "campaign", "impressions", "clicks", "spend"];

/// A column that an export has if numbers in it are invented, as in a demo; a file with it is not taken, so that they do not come back
/// as real ones.
pub const INVENTED_COLUMN: &str = "invented";

/// A row, and the line that it stands in.
pub(super) type Numbered = (usize, DeliveryRow);

/// Reads a file of delivery numbers of an advertiser's campaigns: UTF-8, with commas, with or without a byte order mark,
/// carriage returns and quotes. The first line names the columns. A campaign is given by its id or its name, spend as a
/// decimal of the major unit of its currency, such as `12.50`.
///
/// Rows are checked by themselves here, and all together when they are put into the registry.
///
/// # Errors
/// With every line that is wrong, up to [`super::ROW_ERRORS_MAX`].
pub fn parse_delivery_csv(
    registry: &Registry,
    advertiser: AdvertiserId,
    file: &[u8],
) -> Result<Vec<DeliveryRow>, DeliveryError> {
    let (rows, found) = numbered(registry, advertiser, file)?;
    found.done(true)?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// The rows of a file that are rows, and what is wrong with the others.
pub(super) fn numbered(
    registry: &Registry,
    advertiser: AdvertiserId,
    file: &[u8],
) -> Result<(Vec<Numbered>, Found), DeliveryError> {
    if file.len() > CSV_BYTES_MAX {
        return Err(DeliveryError::TooLarge(file.len()));
    }
    registry.advertiser(advertiser).ok_or(RegistryError::NoAdvertiser)?;
    let campaigns = registry.campaigns(advertiser);
    let by_name: HashMap<&str, &Campaign> =
        campaigns.iter().map(|campaign| (campaign.name.as_str(), &**campaign)).collect();
    let by_id: HashMap<CampaignId, &Campaign> =
        campaigns.iter().map(|campaign| (campaign.id, &**campaign)).collect();
    let find = |text: &str| {
        let by_id = || by_id.get(&text.parse().ok()?);
        // What is exported has an apostrophe before a name that a spreadsheet would take for a formula.
        let unquoted = || by_name.get(text.strip_prefix('\'')?);
        by_id().or_else(|| by_name.get(text)).or_else(unquoted).copied()
    };
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let (mut rows, mut found, mut count) = (Vec::new(), Found::default(), 0);
    let mut columns: Option<[usize; 5]> = None;
    for record in reader.records() {
        // The first one names the columns.
        if count > DELIVERY_ROWS_MAX {
            return Err(DeliveryError::TooManyRows);
        }
        count += 1;
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                found.add(
                    line_of(file, error.position()),
                    "is not UTF-8 text; export the file as CSV in UTF-8".to_owned(),
                );
                continue;
            }
        };
        let line = line_of(file, record.position());
        let Some(places) = columns else {
            columns = Some(header(&record)?);
            continue;
        };
        match row(&record, places, find) {
            Ok(row) => rows.push((line, row)),
            Err(reason) => found.add(line, reason),
        }
    }
    if columns.is_none() {
        found.done(true)?;
        return Err(DeliveryError::File(format!(
            "the file is empty; its first line is: {}",
            COLUMNS.join(",")
        )));
    }
    Ok((rows, found))
}

/// The line in which a record begins. A position is where the one before ended: empty lines come in between.
fn line_of(file: &[u8], position: Option<&csv::Position>) -> usize {
    let Some(position) = position else { return 0 };
    let from = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = file.get(from..).unwrap_or_default();
    let empty =
        rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n').count();
    usize::try_from(position.line()).unwrap_or(usize::MAX).saturating_add(empty)
}

/// Where each of [`COLUMNS`] is.
fn header(record: &StringRecord) -> Result<[usize; 5], DeliveryError> {
    let wrong = |what: String| {
        DeliveryError::File(format!("{what}; the first line names the columns: {}", COLUMNS.join(",")))
    };
    let names: Vec<String> = record.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    if let [one] = names.as_slice()
        && one.contains(';')
    {
        return Err(wrong("the columns are parted by semicolons; export the file with commas".to_owned()));
    }
    if names.iter().any(|name| name == INVENTED_COLUMN) {
        return Err(DeliveryError::File(
            "the file was exported with numbers that are invented, as a demo\u{2019}s are, and would make real ones of them; send a file from your \
             ads platforms instead"
                .to_owned(),
        ));
    }
    if let Some(other) = names.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err(wrong(format!("there is no column {:?}", shown(other))));
    }
    let place = |column: &str| {
        let mut places = names.iter().enumerate().filter(|(_, name)| *name == column).map(|(place, _)| place);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (None, _) => Err(wrong(format!("the column {column:?} is missing"))),
            (Some(_), Some(_)) => Err(wrong(format!("the column {column:?} is there twice"))),
        }
    };
    let [day, campaign, impressions, clicks, spend] = COLUMNS.map(place);
    Ok([day?, campaign?, impressions?, clicks?, spend?])
}

fn row<'a>(
    record: &StringRecord,
    places: [usize; 5],
    find: impl Fn(&str) -> Option<&'a Campaign>,
) -> Result<DeliveryRow, String> {
    if record.len() != COLUMNS.len() {
        return Err(format!(
            "has {} fields and must have {}; a field with a comma in it needs quotes around it",
            record.len(),
            COLUMNS.len()
        ));
    }
    let [day, campaign, impressions, clicks, spend] =
        places.map(|place| record.get(place).unwrap_or_default().trim());
    let day = day.parse().map_err(|_| format!("day {:?} is no day; write it like 2026-11-24", shown(day)))?;
    let campaign = find(campaign).ok_or_else(|| {
        format!(
            "there is no campaign {:?}; give the id or the exact name of one of this advertiser's",
            shown(campaign)
        )
    })?;
    let number = |name: &str, text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse::<u64>().ok() } else { None };
        number.ok_or_else(|| {
            format!("{name} {:?} is no whole number; write it like 1200, without separators", shown(text))
        })
    };
    let currency = campaign.currency;
    let minor = currency.minor(spend).ok_or_else(|| {
        let example = currency.decimal(123_450);
        format!(
            "spend {:?} is no amount of {currency}; write it like {example}, without separators",
            shown(spend)
        )
    })?;
    Ok(DeliveryRow {
        campaign: campaign.id,
        day,
        impressions: number("impressions", impressions)?,
        clicks: number("clicks", clicks)?,
        spend: minor,
    })
}
