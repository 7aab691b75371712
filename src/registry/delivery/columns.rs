//! A campaign's delivery numbers in memory: a column for each number, sorted by day, so that a total over a range is a walk
//! over neighbouring memory. A day takes 29 bytes.

use std::ops::{Range, RangeInclusive};

use jiff::civil::Date;

use super::Delivered;
use crate::registry::CampaignId;

/// The numbers of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DayNumbers {
    pub(crate) impressions: u64,
    pub(crate) clicks: u64,
    pub(crate) spend: u64,
    pub(crate) invented: bool,
}

/// All days of a campaign that have numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    days: Vec<Date>,
    impressions: Vec<u64>,
    clicks: Vec<u64>,
    spend: Vec<u64>,
    invented: Vec<bool>,
}

impl Columns {
    /// Days with numbers, ascending.
    pub fn days(&self) -> &[Date] {
        &self.days
    }

    /// How often the campaign's ads were shown on each of [`Columns::days`].
    pub fn impressions(&self) -> &[u64] {
        &self.impressions
    }

    /// How often they were clicked.
    pub fn clicks(&self) -> &[u64] {
        &self.clicks
    }

    /// What they cost, in minor units of the campaign's currency.
    pub fn spend(&self) -> &[u64] {
        &self.spend
    }

    /// Whether the numbers of a day are made up, as in the demo.
    pub fn invented(&self) -> &[bool] {
        &self.invented
    }

    /// Where in the columns a range of days is.
    pub fn places(&self, days: &RangeInclusive<Date>) -> Range<usize> {
        let from = self.days.partition_point(|day| day < days.start());
        let to = self.days.partition_point(|day| day <= days.end());
        from..to.max(from)
    }

    pub(super) fn rows(&self, campaign: CampaignId, days: &RangeInclusive<Date>) -> Vec<Delivered> {
        self.places(days)
            .map(|place| Delivered {
                campaign,
                day: self.days[place],
                impressions: self.impressions[place],
                clicks: self.clicks[place],
                spend: self.spend[place],
                invented: self.invented[place],
            })
            .collect()
    }

    pub(super) fn get(&self, day: Date) -> Option<DayNumbers> {
        let place = self.days.binary_search(&day).ok()?;
        Some(DayNumbers {
            impressions: self.impressions[place],
            clicks: self.clicks[place],
            spend: self.spend[place],
            invented: self.invented[place],
        })
    }

    /// Sets the numbers of a day.
    pub(super) fn put(&mut self, day: Date, numbers: DayNumbers) {
        let DayNumbers { impressions, clicks, spend, invented } = numbers;
        match self.days.binary_search(&day) {
            Ok(place) => {
                self.impressions[place] = impressions;
                self.clicks[place] = clicks;
                self.spend[place] = spend;
                self.invented[place] = invented;
            }
            Err(place) => {
                self.days.insert(place, day);
                self.impressions.insert(place, impressions);
                self.clicks.insert(place, clicks);
                self.spend.insert(place, spend);
                self.invented.insert(place, invented);
            }
        }
    }
}
