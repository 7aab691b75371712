//! For which days spend is known: what is not uploaded yet is not 0.
//!
//! Platforms are uploaded one by one, and some later than others. So each campaign is known from its own first day with delivery
//! numbers to its own last one, whatever is known of others; a day between them without a row is one on which nothing was spent. Only a
//! campaign that is known up to its last day spends nothing after it: for that the account may have numbers of later days. A
//! day for which no campaign at all has a row was left out of every upload, and is not known of any.

use std::ops::Range;

use super::answer::Books;
use super::period::Periods;

/// For which days of a query spend is known.
pub(super) struct Spent {
    /// Of each campaign, in the order of [`Books::campaigns`], in POSIX seconds.
    pub(super) of: Vec<Range<u64>>,
    /// The days for which any campaign has a row, by place.
    pub(super) told: Vec<bool>,
}

impl Spent {
    pub(super) fn of(books: &Books<'_>, periods: &Periods) -> Self {
        let days = &periods.days;
        let mut told = vec![false; days.len()];
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            return Self { of: vec![0..0; books.campaigns.len()], told };
        };
        for campaign in books.campaigns {
            // Mostly after the first: every day has something.
            if told.iter().all(|told| *told) {
                break;
            }
            books.delivery.each(campaign.id, first.date, last.date, &mut |row| {
                if let Some(told) = periods.place(row.day).and_then(|place| told.get_mut(place)) {
                    *told = true;
                }
            });
        }
        let spans: Vec<_> = books.campaigns.iter().map(|campaign| books.delivery.span(campaign.id)).collect();
        let newest = spans.iter().flatten().map(|(_, last)| *last).max();
        let known = |(campaign, span): (&std::sync::Arc<crate::registry::Campaign>, &Option<_>)| {
            let Some((first, last)) = *span else { return 0..0 };
            let over = campaign.end.is_some_and(|end| end <= last);
            let last = newest.filter(|_| over).unwrap_or(last);
            let start = days.partition_point(|day| day.date < first);
            let end = days.partition_point(|day| day.date <= last).max(start);
            let days = days.get(start..end).unwrap_or_default();
            days.first().map_or(0..0, |first| first.from..days.last().map_or(first.to, |last| last.to))
        };
        Self { of: books.campaigns.iter().zip(&spans).map(known).collect(), told }
    }
}
