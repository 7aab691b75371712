//! Sums of everything, against sums that are made one cell at a time.

use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::registry::EventKind;

/// A window that may be released, and its cells: conversions and values by bucket.
type Made = Option<(Vec<i128>, Option<Vec<i128>>)>;

/// Cells are large, so that all sums are shown and can be compared.
fn cells() -> impl Strategy<Value = Vec<i128>> {
    prop::collection::vec(10_000_i128..1_000_000, 16)
}

fn made() -> impl Strategy<Value = Made> {
    prop::option::weighted(0.8, (cells(), prop::option::weighted(0.8, cells())))
}

/// 21 days of two generations, of which the second was opened on a day in between.
#[derive(Clone, Debug)]
struct Story {
    opened: usize,
    created: [usize; 3],
    windows: Vec<[Made; 2]>,
    spend: [u64; 3],
}

fn story() -> impl Strategy<Value = Story> {
    let windows = prop::collection::vec([made(), made()], 21);
    (1_usize..20, [0_usize..21, 0..21, 0..21], windows, [0_u64..1_000, 0..1_000, 0..1_000])
        .prop_map(|(opened, created, windows, spend)| Story { opened, created, windows, spend })
}

fn last() -> Date {
    MONDAY.saturating_add(jiff::Span::new().days(20))
}

fn world(story: &Story) -> (World, Vec<Range<u64>>) {
    let mut world = World::new(Cadence::Day, "America/Sao_Paulo", MONDAY);
    let days = world.windows(MONDAY, last());
    for (created, spend) in story.created.iter().zip(story.spend) {
        let campaign = world.campaign_since(days[*created].start);
        world.deliver(campaign, MONDAY, last(), spend);
    }
    world.open_generation(days[story.opened].start, 250);
    for (at, both) in story.windows.iter().enumerate() {
        for (generation, made) in both.iter().enumerate() {
            // The second has no windows before it was opened; the first goes on for stragglers.
            let Some((conversions, values)) = made.as_ref().filter(|_| generation == 0 || at >= story.opened)
            else {
                continue;
            };
            world.release(generation, days[at].clone(), conversions, values.as_deref());
        }
    }
    (world, days)
}

/// Conversions and value in minor units of a campaign in days, by hand.
fn by_hand(
    story: &Story,
    campaign: usize,
    bucket: usize,
    days: Range<usize>,
) -> (Option<i128>, Option<i128>) {
    let (mut conversions, mut value) = (None, None);
    for at in days.filter(|at| *at >= story.created[campaign]) {
        for (generation, unit) in [(0, 100), (1, 250)] {
            let Some((counts, values)) = &story.windows[at][generation] else { continue };
            if generation == 1 && at < story.opened {
                continue;
            }
            *conversions.get_or_insert(0) += counts[bucket];
            if let Some(values) = values {
                *value.get_or_insert(0) += unit * values[bucket];
            }
        }
    }
    (conversions, value)
}

fn estimate(measure: &Measure) -> Option<i128> {
    measure.shown().map(|number| number.estimate)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sum_is_that_of_its_cells(story in story(), from in 0_usize..21, more in 0_usize..21) {
        let (world, _) = world(&story);
        let days = from..(from + more + 1).min(21);
        let at = |day: usize| MONDAY.saturating_add(jiff::Span::new().days(i64::try_from(day).unwrap()));
        let total = world.query(at(days.start), at(days.end - 1));
        for event in [EventKind::OrderCreated, EventKind::LeadCreated] {
            let block = if event == EventKind::LeadCreated { 7 } else { 0 };
            let rows = world.rows(&Query { event: Some(event), ..total.clone() });
            prop_assert_eq!(rows.len(), 3);
            for (campaign, row) in rows.iter().enumerate() {
                let (conversions, value) = by_hand(&story, campaign, block + campaign + 1, days.clone());
                prop_assert_eq!(estimate(&row.conversions), conversions);
                prop_assert_eq!(estimate(&row.value), value);
            }
            // A total is the sum of its days, and the account that of its campaigns.
            let daily = world.rows(&Query { event: Some(event), granularity: Granularity::Day, ..total.clone() });
            prop_assert_eq!(daily.len(), 3 * days.len());
            for (campaign, row) in rows.iter().enumerate() {
                let of = daily.iter().filter(|one| one.campaign == row.campaign);
                let sum: i128 = of.clone().filter_map(|one| estimate(&one.conversions)).sum();
                prop_assert_eq!(sum, estimate(&row.conversions).unwrap_or(0), "campaign {}", campaign);
                let spend: u64 = of.filter_map(|one| one.spend).sum();
                prop_assert_eq!(Some(spend), row.spend);
            }
            let account = world.rows(&Query { event: Some(event), level: Level::Account, ..total.clone() });
            let sum: i128 = rows.iter().filter_map(|row| estimate(&row.conversions)).sum();
            prop_assert_eq!(estimate(&account[0].conversions).unwrap_or(0), sum);
            let sum: i128 = rows.iter().filter_map(|row| estimate(&row.value)).sum();
            prop_assert_eq!(estimate(&account[0].value).unwrap_or(0), sum);
        }
    }

    /// Cost and return are of the same days above and below the line.
    #[test]
    fn cost_compares_days_with_themselves(story in story()) {
        let (world, _) = world(&story);
        let rows = world.rows(&world.query(MONDAY, last()));
        for (campaign, row) in rows.iter().enumerate() {
            let open = |at: usize| usize::from(at >= story.opened);
            // What devices still send to the first is waited for, if it ever had anything.
            let heard = story.windows.iter().any(|both| both[0].is_some());
            let late = |at: usize| at < story.opened || !heard || story.windows[at][0].is_some();
            let whole = |at: &usize| {
                *at >= story.created[campaign] && story.windows[*at][open(*at)].is_some() && late(*at)
            };
            let days: Vec<usize> = (0..21).filter(whole).collect();
            prop_assert_eq!(usize::try_from(row.coverage.whole_days).unwrap(), days.len());
            let spend = story.spend[campaign] * days.len() as u64;
            let conversions: i128 =
                days.iter().filter_map(|at| by_hand(&story, campaign, campaign + 1, *at..*at + 1).0).sum();
            match row.cpa {
                Measure::Shown(cost) => {
                    prop_assert_eq!(row.cpa_spend, Some(spend));
                    let rate = Rate::new(spend.into(), conversions.unsigned_abs()).unwrap();
                    prop_assert_eq!(cost.estimate.unsigned_abs(), rate.price());
                }
                other => prop_assert!(days.is_empty() || spend == 0, "{:?}", other),
            }
        }
    }
}
