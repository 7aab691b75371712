//! Delivery numbers in the collector's store.
//!
//! | key | value |
//! |---|---|
//! | `D`, advertiser, campaign, month (`u16`: year * 12 + month - 1) | [`LAYOUT`]; then of each day with numbers, in order: the day of the month, 1 if the numbers are invented, impressions, clicks, spend (`u64` each) |
//!
//! A month has at most 807 bytes. What one upload changes is one commit; days are set and never removed.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::Date;

use super::Columns;
use super::columns::DayNumbers;
use crate::registry::{AdvertiserId, CampaignId, RegistryError};
use crate::store::{State, StateBatch};

const PREFIX: &[u8] = b"D";

/// The first byte of a value.
const LAYOUT: u8 = 1;

const ID_BYTES: usize = 12;
const DAY_BYTES: usize = 26;

/// Months read at once when the store is opened: below a megabyte.
const PAGE_ROWS: usize = 1_024;

/// A campaign with its advertiser.
pub(crate) type Whose = (AdvertiserId, CampaignId);

pub(super) fn month_of(day: Date) -> u16 {
    // Years are 2000 to 2199.
    u16::try_from(i32::from(day.year()) * 12 + i32::from(day.month()) - 1).unwrap_or_default()
}

fn days_of(month: u16) -> Option<std::ops::RangeInclusive<Date>> {
    let (year, month) = (i16::try_from(month / 12).ok()?, i8::try_from(month % 12 + 1).ok()?);
    let first = Date::new(year, month, 1).ok()?;
    Some(first..=first.last_of_month())
}

/// Writes a month of a campaign as it is in its columns.
pub(super) fn put_month(
    batch: &mut StateBatch,
    (advertiser, campaign): Whose,
    month: u16,
    columns: &Columns,
) -> Result<(), RegistryError> {
    let days = days_of(month).ok_or_else(wrong)?;
    let mut value = vec![LAYOUT];
    for place in columns.places(&days) {
        value.push(u8::try_from(columns.days()[place].day()).unwrap_or_default());
        value.push(u8::from(columns.invented()[place]));
        for number in [columns.impressions()[place], columns.clicks()[place], columns.spend()[place]] {
            value.extend_from_slice(&number.to_be_bytes());
        }
    }
    let key = [PREFIX, advertiser.as_bytes(), campaign.as_bytes(), &month.to_be_bytes()].concat();
    Ok(batch.insert(&key, &value)?)
}

/// Reads all months of all campaigns.
pub(crate) fn load(state: &State) -> Result<HashMap<Whose, Arc<Columns>>, RegistryError> {
    let mut all: HashMap<Whose, Columns> = HashMap::new();
    state.each(PREFIX, PAGE_ROWS, |rest, value| {
        let (whose, month) = split(rest).ok_or_else(wrong)?;
        read_month(month, value, all.entry(whose).or_default()).ok_or_else(wrong)
    })?;
    Ok(all.into_iter().map(|(whose, columns)| (whose, Arc::new(columns))).collect())
}

fn wrong() -> RegistryError {
    RegistryError::Row("a month of delivery numbers is not what is written there".to_owned())
}

/// What stands behind the prefix in a key.
fn split(rest: &[u8]) -> Option<(Whose, u16)> {
    let (advertiser, rest) = rest.split_first_chunk::<ID_BYTES>()?;
    let (campaign, month) = rest.split_first_chunk::<ID_BYTES>()?;
    let whose = (AdvertiserId::from_bytes(*advertiser), CampaignId::from_bytes(*campaign));
    Some((whose, u16::from_be_bytes(month.try_into().ok()?)))
}

fn read_month(month: u16, value: &[u8], columns: &mut Columns) -> Option<()> {
    let first = *days_of(month)?.start();
    let days = value.strip_prefix(&[LAYOUT])?;
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    for entry in days.chunks(DAY_BYTES) {
        let (head, numbers) = entry.split_first_chunk::<2>()?;
        let day = Date::new(first.year(), first.month(), i8::try_from(head[0]).ok()?).ok()?;
        let invented = match head[1] {
            0 => false,
            1 => true,
            _ => return None,
        };
        let [impressions, clicks, spend] = [0, 8, 16].map(|at| numbers.get(at..at + 8).and_then(number));
        let numbers = DayNumbers { impressions: impressions?, clicks: clicks?, spend: spend?, invented };
        columns.put(day, numbers);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn months_are_of_their_days() {
        for day in [date(2000, 1, 1), date(2024, 2, 29), date(2199, 12, 31)] {
            assert!(days_of(month_of(day)).unwrap().contains(&day));
        }
        assert_eq!(days_of(month_of(date(2024, 2, 3))).unwrap(), date(2024, 2, 1)..=date(2024, 2, 29));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(month: u16, value: Vec<u8>) {
            let _ = read_month(month, &value, &mut Columns::default());
        }
    }
}
