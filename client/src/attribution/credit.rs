//! Who gets how much of a conversion: last-N-touch attribution with whole numbers ("Last-N-Touch Attribution").
//!
//! Doubles are what the standard computes with here, step by step in the same order, so that all devices agree. They
//! divide a value on the device; no noise and no budget of an aggregator depends on them.

use std::cmp::Reverse;

use super::state::Impression;

/// "Fairly allocate credit": divides a value in proportion to the credits, in whole numbers that add up to the value and
/// of which each has the exact share as its expectation. `random` gives doubles from 0 up to but not including 1.
///
/// The standard's draw includes 1. At 1 a number that is already whole would be changed and a fraction kept, so the
/// end is left out.
///
/// `credit` must not be empty, and each of it finite and above 0.
pub(crate) fn fairly_allocate(credit: &[f64], value: u32, mut random: impl FnMut() -> f64) -> Vec<u32> {
    let credit = within_doubles(credit, value);
    let sum: f64 = credit.iter().sum();
    let mut rounded: Vec<f64> = credit.iter().map(|item| f64::from(value) * item / sum).collect();
    // Of the two that are compared, the one that may still have a fraction.
    let mut first = 0;
    for next in 1..rounded.len() {
        let mut second = next;
        let fraction1 = rounded[first] - rounded[first].floor();
        let fraction2 = rounded[second] - rounded[second].floor();
        if fraction1 == 0.0 && fraction2 == 0.0 {
            continue;
        }
        let (increment1, increment2) = if fraction1 + fraction2 > 1.0 {
            (1.0 - fraction1, 1.0 - fraction2)
        } else {
            (-fraction1, -fraction2)
        };
        let probability1 = increment2 / (increment1 + increment2);
        let increment = if random() < probability1 {
            std::mem::swap(&mut first, &mut second);
            increment1
        } else {
            increment2
        };
        rounded[second] += increment;
        rounded[first] -= increment;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole numbers from 0 to the value, and a cast to an integer saturates"
    )]
    rounded.into_iter().map(|share| share.round() as u32).collect()
}

/// The credits as they are, unless their sum or a product with the value is beyond what a double holds. The standard's
/// steps would then divide by infinity; credits are proportions, so all are made smaller by the same power of two.
fn within_doubles(credit: &[f64], value: u32) -> Vec<f64> {
    /// 2 to the power of -96: brings the largest double so far down that any number of credits times any value is
    /// finite.
    const SHRINK: f64 = 1.0 / 79_228_162_514_264_337_593_543_950_336.0;
    let finite = credit.iter().sum::<f64>().is_finite()
        && credit.iter().all(|item| (f64::from(value) * item).is_finite());
    credit.iter().map(|item| if finite { *item } else { item * SHRINK }).collect()
}

/// "Fill a histogram with last-n-touch attribution". `matched` must not be empty; it is in the order in which the
/// impressions were saved.
pub(crate) fn last_n_touch(
    matched: &[&Impression],
    histogram_size: u32,
    value: u32,
    credit: &[f64],
    random: impl FnMut() -> f64,
) -> Vec<u32> {
    // Of two with the same priority and the same millisecond the one that was saved first comes first: "sorted in
    // descending order" leaves what sorts the same in its order (Infra, "list/sort in descending order").
    let mut sorted: Vec<_> = matched.iter().enumerate().collect();
    let rank = |(saved, impression): &(usize, &&Impression)| {
        (Reverse(impression.priority), Reverse(impression.timestamp), *saved)
    };
    // Few get credit, and many may match: only those few are put in order.
    let credit = &credit[..credit.len().min(sorted.len())];
    if credit.len() < sorted.len() {
        sorted.select_nth_unstable_by_key(credit.len(), rank);
        sorted.truncate(credit.len());
    }
    sorted.sort_unstable_by_key(rank);
    let shares = fairly_allocate(credit, value, random);
    // A u32 fits: no platform that runs this has a smaller usize.
    let mut histogram = vec![0_u32; histogram_size as usize];
    for ((_, impression), share) in sorted.into_iter().zip(shares) {
        if let Some(cell) = histogram.get_mut(impression.histogram_index as usize) {
            // No overflow: shares add up to the value, a u32.
            *cell = cell.saturating_add(share);
        }
    }
    histogram
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn never() -> f64 {
        panic!("nothing is left to chance here")
    }

    /// The cases of the reference implementation that need no chance (w3c/attribution 9fab4e8, allocate.test.ts).
    #[test]
    fn what_divides_evenly_is_divided_without_chance() {
        assert_eq!(fairly_allocate(&[1.0], 1, never), [1]);
        assert_eq!(fairly_allocate(&[2.0], 3, never), [3]);
        assert_eq!(fairly_allocate(&[1.0, 1.0], 8, never), [4, 4]);
        assert_eq!(fairly_allocate(&[3.0, 1.0], 8, never), [6, 2]);
        assert_eq!(fairly_allocate(&[0.25, 0.25, 0.5], 4, never), [1, 1, 2]);
    }

    #[test]
    fn the_draw_decides_who_gets_the_rest() {
        // 1.5 and 1.5: each is rounded down with probability one half.
        assert_eq!(fairly_allocate(&[1.0, 1.0], 3, || 0.49), [1, 2]);
        assert_eq!(fairly_allocate(&[1.0, 1.0], 3, || 0.5), [2, 1]);
    }

    /// Credits near the largest double made a sum of infinity, and every share 0 or not a number.
    #[test]
    fn credits_beyond_a_double_are_proportions_still() {
        assert_eq!(fairly_allocate(&[f64::MAX, f64::MAX], 8, never), [4, 4]);
        assert_eq!(fairly_allocate(&[f64::MAX], u32::MAX, never), [u32::MAX]);
        assert_eq!(fairly_allocate(&[f64::MAX, f64::MIN_POSITIVE], 7, || 0.5), [7, 0]);
        assert_eq!(fairly_allocate(&[f64::from_bits(1)], 7, never), [7]);
    }

    fn credit() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => 0.001..1_000.0,
            2 => (1..100_u32).prop_map(f64::from),
            1 => any::<f64>().prop_map(f64::abs).prop_filter("positive", |x| x.is_finite() && *x > 0.0),
        ]
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_off_by_less_than_one(
            credit in proptest::collection::vec(credit(), 1..40),
            value in prop_oneof![1..50_u32, any::<u32>().prop_map(|value| value.max(1))],
            draws in proptest::collection::vec(0.0..1.0, 40),
        ) {
            let mut draws = draws.into_iter();
            let shares = fairly_allocate(&credit, value, || draws.next().unwrap_or(0.0));
            prop_assert_eq!(shares.iter().map(|share| u64::from(*share)).sum::<u64>(), u64::from(value));
            let scale = credit.iter().fold(0.0_f64, |most, item| most.max(*item));
            let sum: f64 = credit.iter().map(|item| item / scale).sum();
            for (share, item) in shares.iter().zip(&credit) {
                let exact = f64::from(value) * (item / scale / sum);
                prop_assert!((f64::from(*share) - exact).abs() < 1.0 + 1e-6 * exact.max(1.0), "{} {}", share, exact);
            }
        }
    }

    /// The expectation of each share is exact: over equally spaced draws of a single choice it comes out as the mean.
    #[test]
    fn the_expectation_is_the_exact_share() {
        const DRAWS: u32 = 1_000;
        let mut totals = [0_u32; 2];
        for step in 0..DRAWS {
            let shares = fairly_allocate(&[3.0, 7.0], 5, || f64::from(step) / f64::from(DRAWS));
            totals[0] += shares[0];
            totals[1] += shares[1];
        }
        // 1.5 and 3.5.
        assert_eq!(totals, [1_500, 3_500]);
    }
}
