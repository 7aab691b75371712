//! When the people of the journeys buy: over four weeks, more of them on weekends and in the evening. The same each time.

use crate::cli::demo::journeys::{Journey, Journeys};
use crate::registry::TimeZone;
use crate::schedule::{DayRange, day_start};

/// How many buy on a day of the week, from Monday, against each other.
const WEEKDAYS: [u64; 7] = [92, 88, 90, 98, 110, 126, 116];

/// How many buy in an hour of the day, against each other.
const HOURS: [u64; 24] =
    [4, 2, 1, 1, 1, 2, 5, 10, 14, 16, 17, 18, 20, 18, 17, 17, 18, 20, 24, 28, 30, 26, 16, 8];

/// Percent by which the last day has more than the first: a shop that grows.
const GROWTH: u64 = 20;

const HOUR: u64 = 3_600;

/// Somebody buys.
pub(super) struct Order<'a> {
    pub(super) journey: &'a Journey,
    pub(super) posix_seconds: u64,
    /// What it is worth, in minor units.
    pub(super) value: u64,
}

/// Draws that are the same each time, by splitmix64. Nothing here is secret, and nobody's privacy depends on it.
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The product's upper half is below `bound`.
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).unwrap_or(0)
    }
}

/// What a day has against other days of the range.
pub(super) fn weight(days: DayRange, index: u64, day: jiff::civil::Date) -> u64 {
    let weekday = usize::from(day.weekday().to_monday_zero_offset().unsigned_abs());
    WEEKDAYS[weekday % 7] * (100 * u64::from(days.days()) + GROWTH * index)
}

/// An hour: when it begins, how long it is, and the weights of all hours up to its end.
struct Hour {
    start: u64,
    seconds: u64,
    up_to: u64,
}

fn hours(days: DayRange, zone: &TimeZone) -> Vec<Hour> {
    let (mut all, mut up_to) = (Vec::new(), 0);
    for (index, day) in (0..).zip(days.iter()) {
        let span = DayRange::day(day).seconds(zone);
        let weight = weight(days, index, day);
        let mut start = span.start;
        while start < span.end {
            let seconds = HOUR.min(span.end - start);
            // A day of 25 hours has two last ones.
            let hour =
                usize::try_from((start - day_start(zone, day)) / HOUR).unwrap_or(0).min(HOURS.len() - 1);
            up_to += weight * HOURS[hour];
            all.push(Hour { start, seconds, up_to });
            start += seconds;
        }
    }
    all
}

/// The conversions of all journeys over the days, in the order of the file.
pub(super) fn spread<'a>(journeys: &'a Journeys, days: DayRange, zone: &TimeZone) -> Vec<Order<'a>> {
    let hours = hours(days, zone);
    let total = hours.last().map_or(0, |hour| hour.up_to);
    let mut draws = Draws::new(journeys.conversions());
    let mut orders = Vec::new();
    for journey in &journeys.journeys {
        for index in 0..journey.conversions {
            let drawn = draws.below(total);
            let hour = &hours[hours.partition_point(|hour| hour.up_to <= drawn).min(hours.len() - 1)];
            // What the journey's value leaves over goes to its first conversions.
            let rest = u64::from(index < journey.value % journey.conversions);
            orders.push(Order {
                journey,
                posix_seconds: hour.start + draws.below(hour.seconds),
                value: journey.value / journey.conversions + rest,
            });
        }
    }
    orders
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::date;

    use super::*;
    use crate::cli::demo::JOURNEYS;
    use crate::schedule::day_at;

    fn days() -> DayRange {
        // With the day on which Berlin's clocks go back, of 25 hours.
        DayRange::new(date(2026, 10, 5), date(2026, 11, 1)).unwrap()
    }

    #[test]
    fn every_conversion_has_a_day_and_its_part_of_the_value() {
        let journeys = Journeys::parse(JOURNEYS).unwrap();
        let zone: TimeZone = "Europe/Berlin".parse().unwrap();
        let orders = spread(&journeys, days(), &zone);
        assert_eq!(orders.len() as u64, journeys.conversions());
        let value: u64 = orders.iter().map(|order| order.value).sum();
        assert_eq!(value, journeys.journeys.iter().map(|journey| journey.value).sum::<u64>());
        let within = days().seconds(&zone);
        assert!(orders.iter().all(|order| within.contains(&order.posix_seconds)));
        let on = |day| orders.iter().filter(|order| day_at(&zone, order.posix_seconds) == day).count();
        let counts: Vec<_> = days().iter().map(on).collect();
        assert_eq!(counts.iter().sum::<usize>(), orders.len());
        // Saturdays have more than Tuesdays, and no day is empty.
        let (tuesdays, saturdays) = ([1, 8, 15, 22], [5, 12, 19, 26]);
        let sum = |of: [usize; 4]| of.iter().map(|day| counts[*day]).sum::<usize>();
        assert!(sum(saturdays) > sum(tuesdays) * 5 / 4, "{counts:?}");
        assert!(counts.iter().all(|count| *count > 400), "{counts:?}");
    }

    #[test]
    fn it_is_the_same_each_time() {
        let journeys = Journeys::parse(JOURNEYS).unwrap();
        let zone = TimeZone::UTC;
        let times =
            || spread(&journeys, days(), &zone).iter().map(|order| order.posix_seconds).collect::<Vec<_>>();
        assert_eq!(times(), times());
        let mut draws = Draws::new(0);
        // The generator's published first value for this seed.
        assert_eq!((draws.next(), draws.below(0)), (0xe220_a839_7b1d_cdaf, 0));
    }
}
