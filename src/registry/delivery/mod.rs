//! Delivery numbers: how often ads were shown and clicked and what that cost, of each campaign and day, as the platform counts
//! them. They are exact, and say nothing about a person.

mod columns;
mod csv;
mod errors;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, PoisonError};

use jiff::ToSpan as _;
use jiff::civil::Date;

pub use self::columns::Columns;
use self::columns::DayNumbers;
use self::csv::Numbered;
pub use self::csv::{COLUMNS, INVENTED_COLUMN, parse_delivery_csv};
use self::errors::Found;
pub use self::errors::{DeliveryError, RowError};
pub(super) use self::rows::{Whose, load};
use super::input::{YEARS, day_of};
use super::{AdvertiserId, CampaignId, Registry, RegistryError};
use crate::store::StateBatch;

/// Most rows of one upload: a year of 27 campaigns, or a day of all that an advertiser may have had. All rows of an upload are
/// one commit of at most 9 MB.
pub const DELIVERY_ROWS_MAX: usize = 10_000;

/// Most bytes of a file of delivery numbers: 200 for each of [`DELIVERY_ROWS_MAX`] rows.
pub const CSV_BYTES_MAX: usize = 2_000_000;

/// Most days with numbers of all campaigns: some 150 MB in memory.
pub const DELIVERY_DAYS_MAX: usize = 5_000_000;

/// Most days with numbers of one advertiser's campaigns: a thousand campaigns for a year and more, and a tenth of what all may have,
/// for there is no way to remove a day.
pub const DELIVERY_DAYS_PER_ADVERTISER_MAX: usize = 500_000;

/// Most errors of rows that an answer has: a file of the wrong kind has one in each row.
pub const ROW_ERRORS_MAX: usize = 100;

/// Most impressions, and most clicks, of a campaign on a day: a hundred for everybody on earth. Sums of all days fit 64 bits.
pub const IMPRESSIONS_MAX: u64 = 1_000_000_000_000;

/// Most that a campaign may cost on a day, in minor units of its currency.
pub const SPEND_MAX: u64 = 1_000_000_000_000;

/// A campaign's numbers on a day, as they are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The campaign.
    pub campaign: CampaignId,
    /// The day, in the advertiser's time zone.
    pub day: Date,
    /// How often its ads were shown; at most [`IMPRESSIONS_MAX`].
    pub impressions: u64,
    /// How often they were clicked; not more often than they were shown.
    pub clicks: u64,
    /// What that cost, in minor units of the campaign's currency; at most [`SPEND_MAX`].
    pub spend: u64,
}

/// A campaign's numbers on a day, as they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The campaign.
    pub campaign: CampaignId,
    /// The day, in the advertiser's time zone.
    pub day: Date,
    /// How often its ads were shown.
    pub impressions: u64,
    /// How often they were clicked.
    pub clicks: u64,
    /// What that cost, in minor units of the campaign's currency.
    pub spend: u64,
    /// Whether these numbers are made up, as in the demo; wherever they are shown it is said.
    pub invented: bool,
}

/// What an upload did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upserted {
    /// Rows of days that had no numbers.
    pub inserted: usize,
    /// Rows of days that had others.
    pub changed: usize,
    /// Rows that were there already.
    pub same: usize,
    /// Rows of days before their campaign's first: taken, and likely a slip.
    pub before_start: usize,
}

impl Registry {
    /// Sets the numbers of days, all or none. The same rows again change nothing.
    ///
    /// # Errors
    /// `Rows` with every row that cannot be taken, counted from 1; `TooManyRows` beyond [`DELIVERY_ROWS_MAX`]; a registry's
    /// `NoAdvertiser`, `Full` beyond [`DELIVERY_DAYS_PER_ADVERTISER_MAX`] and [`DELIVERY_DAYS_MAX`], and `Store`.
    pub fn upsert_delivery(
        &self,
        advertiser: AdvertiserId,
        rows: &[DeliveryRow],
        invented: bool,
        now: u64,
    ) -> Result<Upserted, DeliveryError> {
        let numbered: Vec<Numbered> = (1..).zip(rows.iter().copied()).collect();
        self.upsert_delivery_numbered(advertiser, &numbered, Vec::new(), invented, now)
    }

    /// As [`Registry::upsert_delivery`], of rows with their numbers; what is known to be wrong with others is told together with what is
    /// wrong with these.
    pub fn upsert_delivery_numbered(
        &self,
        advertiser: AdvertiserId,
        rows: &[(usize, DeliveryRow)],
        wrong: Vec<RowError>,
        invented: bool,
        now: u64,
    ) -> Result<Upserted, DeliveryError> {
        let mut found = Found::default();
        for error in wrong {
            found.add(error.row, error.reason);
        }
        self.upsert(advertiser, rows, invented, now, (found, false))
    }

    /// As [`Registry::upsert_delivery`], from a file; see [`parse_delivery_csv`]. Errors name lines.
    pub fn upload_delivery_csv(
        &self,
        advertiser: AdvertiserId,
        file: &[u8],
        invented: bool,
        now: u64,
    ) -> Result<Upserted, DeliveryError> {
        let (numbered, found) = csv::numbered(self, advertiser, file)?;
        self.upsert(advertiser, &numbered, invented, now, (found, true))
    }

    /// A campaign's numbers on days of a range, both ends included, by day; none of a campaign that is not the advertiser's.
    pub fn delivery(
        &self,
        advertiser: AdvertiserId,
        campaign: CampaignId,
        days: &RangeInclusive<Date>,
    ) -> Vec<Delivered> {
        self.delivery_columns(advertiser, campaign)
            .map_or_else(Vec::new, |columns| columns.rows(campaign, days))
    }

    /// All numbers of a campaign, as they are now: later uploads do not change what this returns.
    pub fn delivery_columns(&self, advertiser: AdvertiserId, campaign: CampaignId) -> Option<Arc<Columns>> {
        let all = self.columns().read().unwrap_or_else(PoisonError::into_inner);
        all.get(&(advertiser, campaign)).cloned()
    }

    fn upsert(
        &self,
        advertiser: AdvertiserId,
        rows: &[Numbered],
        invented: bool,
        now: u64,
        (mut found, lines): (Found, bool),
    ) -> Result<Upserted, DeliveryError> {
        if rows.len() + found.count() > DELIVERY_ROWS_MAX {
            return Err(DeliveryError::TooManyRows);
        }
        let of = self.advertiser(advertiser).ok_or(RegistryError::NoAdvertiser)?;
        let last = day_of(&of.time_zone, now)?.saturating_add(1.day());
        self.check(advertiser, rows, last, if lines { "line" } else { "row" }, &mut found);
        found.done(lines)?;
        let _turn = self.turn();
        let mut changed: HashMap<CampaignId, (Columns, Option<Date>)> = HashMap::new();
        let (mut upserted, mut months) = (Upserted::default(), BTreeSet::new());
        for (_, row) in rows {
            let (columns, start) = changed.entry(row.campaign).or_insert_with(|| {
                let columns = self.delivery_columns(advertiser, row.campaign);
                let start = self.campaign(advertiser, row.campaign).map(|campaign| campaign.start);
                (columns.map_or_else(Columns::default, |columns| (*columns).clone()), start)
            });
            let numbers =
                DayNumbers { impressions: row.impressions, clicks: row.clicks, spend: row.spend, invented };
            let before = columns.get(row.day);
            upserted.before_start += usize::from(start.is_some_and(|start| row.day < start));
            if before == Some(numbers) {
                upserted.same += 1;
                continue;
            }
            *(if before.is_some() { &mut upserted.changed } else { &mut upserted.inserted }) += 1;
            columns.put(row.day, numbers);
            months.insert((row.campaign, rows::month_of(row.day)));
        }
        if months.is_empty() {
            return Ok(upserted);
        }
        self.has_room_for_days(advertiser, upserted.inserted)?;
        let mut batch = StateBatch::default();
        for (campaign, month) in months {
            if let Some((columns, _)) = changed.get(&campaign) {
                rows::put_month(&mut batch, (advertiser, campaign), month, columns)?;
            }
        }
        // Durable from here, all rows or none.
        let _receipt = self.state().lock().commit(batch)?;
        let mut all = self.columns().write().unwrap_or_else(PoisonError::into_inner);
        let changed = changed.into_iter();
        all.extend(changed.map(|(campaign, (columns, _))| ((advertiser, campaign), Arc::new(columns))));
        Ok(upserted)
    }

    /// Whether so many more days fit. Corrections always do.
    fn has_room_for_days(&self, advertiser: AdvertiserId, more: usize) -> Result<(), RegistryError> {
        let columns = self.columns().read().unwrap_or_else(PoisonError::into_inner);
        let (mut own, mut all) = (more, more);
        for ((whose, _), columns) in columns.iter() {
            all += columns.days().len();
            if *whose == advertiser {
                own += columns.days().len();
            }
        }
        if more > 0 && own > DELIVERY_DAYS_PER_ADVERTISER_MAX {
            return Err(RegistryError::Full(format!(
                "delivery numbers of at most {DELIVERY_DAYS_PER_ADVERTISER_MAX} days of campaigns are kept for an advertiser; \
                 upload fewer days of campaigns that have ended, or create another advertiser for new campaigns"
            )));
        }
        if more > 0 && all > DELIVERY_DAYS_MAX {
            return Err(RegistryError::Full(format!(
                "this collector keeps delivery numbers of {DELIVERY_DAYS_MAX} days of campaigns at most; run another collector \
                 for some of its advertisers"
            )));
        }
        Ok(())
    }

    /// What is wrong with rows, by themselves and together. `what` is what numbers count.
    fn check(&self, advertiser: AdvertiserId, rows: &[Numbered], last: Date, what: &str, found: &mut Found) {
        let mut seen: HashMap<(CampaignId, Date), usize> = HashMap::with_capacity(rows.len());
        for (number, row) in rows {
            if let Some(reason) = self.wrong(advertiser, row, last) {
                found.add(*number, reason);
            } else if let Some(first) = seen.insert((row.campaign, row.day), *number) {
                found.add(
                    *number,
                    format!(
                        "is about the same campaign and day as {what} {first}; keep one of both, or add them up"
                    ),
                );
            }
        }
    }

    fn wrong(&self, advertiser: AdvertiserId, row: &DeliveryRow, last: Date) -> Option<String> {
        let DeliveryRow { campaign, day, impressions, clicks, spend } = *row;
        if self.campaign(advertiser, campaign).is_none() {
            return Some(format!(
                "this advertiser has no campaign {campaign}; ask for the list of its campaigns"
            ));
        }
        if day > last {
            return Some(format!(
                "{day} is still to come; numbers are taken for days up to {last} in the advertiser's time zone"
            ));
        }
        if day.year() < *YEARS.start() {
            return Some(format!("{day} is before the year {}; correct it", YEARS.start()));
        }
        if impressions > IMPRESSIONS_MAX {
            return Some(format!("{impressions} impressions are more than {IMPRESSIONS_MAX}; correct it"));
        }
        if clicks > impressions {
            return Some(format!(
                "there are more clicks ({clicks}) than impressions ({impressions}), and an ad is shown before it is clicked; \
                 check that columns are not swapped, and send both numbers of a day together"
            ));
        }
        if spend > SPEND_MAX {
            return Some(format!(
                "a spend of {spend} minor units is more than {SPEND_MAX}; correct it: it may be in a smaller unit"
            ));
        }
        None
    }
}
