//! What the shop paid for its ads: invented, since the journeys say nothing of it, and marked so wherever it is shown.

use jiff::civil::Date;

use super::orders::{Draws, weight};
use crate::cli::demo::journeys::Journeys;
use crate::schedule::DayRange;

/// What a click costs in a channel, and how many there are of it.
struct Market {
    /// Clicks on 10,000 impressions.
    clicks: u64,
    /// Hundredths of a minor unit that a click costs.
    price: u64,
}

/// Markets, which the channels have in turn.
const MARKETS: [Market; 5] = [
    Market { clicks: 210, price: 800 },
    Market { clicks: 42, price: 1_100 },
    Market { clicks: 125, price: 900 },
    Market { clicks: 340, price: 1_400 },
    Market { clicks: 90, price: 1_200 },
];

/// Percent by which a day differs from what its weekday says, either way.
const JITTER: u64 = 12;

/// A day of a channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invented {
    /// As in [`Journeys::channels`].
    pub(super) channel: usize,
    pub(super) day: Date,
    pub(super) impressions: u64,
    pub(super) clicks: u64,
    /// In minor units.
    pub(super) spend: u64,
}

/// Delivery of all channels on all days. Each touch of a journey, bought or not, is a click of it.
pub(super) fn invent(journeys: &Journeys, days: DayRange) -> Vec<Invented> {
    let total: u64 = (0..).zip(days.iter()).map(|(index, day)| weight(days, index, day)).sum();
    let mut draws = Draws::new(journeys.conversions());
    let mut all = Vec::new();
    for ((channel, touches), market) in touches(journeys).into_iter().enumerate().zip(MARKETS.iter().cycle())
    {
        // Shares are cut from the sum up to a day, so that nothing is lost to rounding.
        let (mut up_to, mut given) = (0, 0);
        for (index, day) in (0..).zip(days.iter()) {
            let mut differ = |amount: u64| (amount * (100 - JITTER + draws.below(2 * JITTER + 1)) + 50) / 100;
            up_to += weight(days, index, day);
            let share = touches * up_to / total.max(1) - given;
            given += share;
            let clicks = differ(share);
            all.push(Invented {
                channel,
                day,
                impressions: differ(clicks * 10_000 / market.clicks).max(clicks),
                clicks,
                spend: differ(clicks * market.price / 100),
            });
        }
    }
    all
}

/// Touches of each channel.
fn touches(journeys: &Journeys) -> Vec<u64> {
    let mut counts = vec![0; journeys.channels.len()];
    for journey in &journeys.journeys {
        for channel in &journey.touches {
            counts[*channel] += journey.conversions + journey.others;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::date;

    use super::*;
    use crate::cli::demo::JOURNEYS;

    #[test]
    fn numbers_are_such_as_ads_have() {
        let journeys = Journeys::parse(JOURNEYS).unwrap();
        let days = DayRange::new(date(2026, 10, 5), date(2026, 11, 1)).unwrap();
        let invented = invent(&journeys, days);
        assert_eq!(invented, invent(&journeys, days), "the same each time");
        assert_eq!(invented.len(), 12 * 28);
        assert!(invented.iter().all(|day| day.clicks <= day.impressions));
        for channel in 0..12 {
            let sum = |part: fn(&Invented) -> u64| -> u64 {
                invented.iter().filter(|day| day.channel == channel).map(part).sum()
            };
            let (impressions, clicks, spend) =
                (sum(|day| day.impressions), sum(|day| day.clicks), sum(|day| day.spend));
            let touched = touches(&journeys)[channel];
            assert!(clicks.abs_diff(touched) * 100 <= touched * JITTER, "{channel}: {clicks} of {touched}");
            // The spend of a few clicks a day is mostly rounding.
            if touched > 1_000 {
                assert!((3..=14).contains(&(spend / clicks)), "{channel}: {spend} for {clicks}");
                assert!(
                    (25..=350).contains(&(impressions / clicks)),
                    "{channel}: {impressions} for {clicks}"
                );
            }
        }
    }
}
