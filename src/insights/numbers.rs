//! From sums to what is shown.

use super::lane::Total;
use super::measure::PRICE_STEPS;
use super::noises::Recent;
use super::{Measure, NullReason, Number, Rate, Suppression, Unit};
use crate::collector::judged::{Width, shows};
use crate::privacy::accuracy::Interval;
use crate::registry::Currency;

/// Steps of a ratio, see [`Unit::Ratio`].
const RATIO_STEPS: u128 = 1_000;

/// Conversions: shown from their threshold on.
pub(super) fn conversions(total: &Total, most: u128, recent: &mut Recent<'_>) -> Measure {
    if !shown(total, recent) {
        return Measure::suppressed(Suppression::BelowThreshold);
    }
    let Some(width) = recent.width(&total.draws) else { return Measure::null(NullReason::UnitsDiffer) };
    Measure::Shown(number(total.sum, width, most, Unit::Count))
}

/// A value: shown if and only if the conversions of the same windows are.
pub(super) fn value(
    total: &Total,
    deciding: &Total,
    most: u128,
    currency: Currency,
    recent: &mut Recent<'_>,
) -> Measure {
    if !shown(deciding, recent) {
        return Measure::suppressed(Suppression::ConversionsSuppressed);
    }
    let Some(width) = recent.width(&total.draws) else { return Measure::null(NullReason::UnitsDiffer) };
    Measure::Shown(number(total.sum, width, most, Unit::Money(currency)))
}

fn shown(total: &Total, recent: &mut Recent<'_>) -> bool {
    shows(recent.threshold(&total.draws, total.threshold), total.sum)
}

fn number(estimate: i128, width: Width, most: u128, unit: Unit) -> Number {
    let Interval { low, high } = width.interval(estimate, most);
    Number { estimate, low, high, standard_error: Some(width.standard_error), unit }
}

/// What one conversion cost. The cost falls as conversions grow, so the ends of the interval change places: the truth is between
/// `spend / high` and `spend / low` whenever conversions are between `low` and `high`. Ends are rounded outward, so the interval
/// holds the truth no less often.
pub(super) fn cost(spend: u64, conversions: &Number, currency: Currency) -> Measure {
    let spend = u128::from(spend).saturating_mul(PRICE_STEPS.into());
    let Some(low_rate) = Rate::new(spend, conversions.high).filter(|_| conversions.low > 0) else {
        return Measure::null(NullReason::ConversionsMayBeNone);
    };
    let (low, high) = (low_rate.floor(), spend.div_ceil(conversions.low));
    // Above 0, as the lower end of its interval is.
    let best = Rate::new(spend, conversions.estimate.max(1).unsigned_abs());
    let best = best.map_or(low, |rate| rate.rounded(1).unsigned_abs());
    let unit = Unit::Price(currency);
    Measure::Shown(Number { estimate: signed(best.clamp(low, high)), low, high, standard_error: None, unit })
}

/// How much value came back for each of spend, in thousandths; spend is exact, so everything is divided by it. Ends are rounded
/// outward.
pub(super) fn return_on(spend: u64, value: &Number) -> Measure {
    let spend = u128::from(spend);
    let scaled = |amount: u128| amount.saturating_mul(RATIO_STEPS);
    let Some(low) = Rate::new(scaled(value.low), spend).map(Rate::floor) else {
        return Measure::null(NullReason::NoSpend);
    };
    let high = scaled(value.high).div_ceil(spend);
    let best = Rate::new(scaled(value.estimate.max(0).unsigned_abs()), spend);
    let best = best.map_or(low, |rate| rate.rounded(1).unsigned_abs());
    #[allow(clippy::cast_precision_loss, reason = "display only")]
    let standard_error = value.standard_error.map(|error| error * RATIO_STEPS as f64 / spend as f64);
    Measure::Shown(Number {
        estimate: signed(best.clamp(low, high)),
        low,
        high,
        standard_error,
        unit: Unit::Ratio,
    })
}

fn signed(number: u128) -> i128 {
    i128::try_from(number).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn euro() -> Currency {
        "EUR".parse().unwrap()
    }

    fn count(estimate: i128, low: u128, high: u128) -> Number {
        Number { estimate, low, high, standard_error: Some(4.0), unit: Unit::Count }
    }

    #[test]
    fn a_cost_has_the_ends_of_the_conversions_in_each_others_place() {
        let Measure::Shown(cost) = cost(100_000, &count(100, 90, 110), euro()) else { panic!("shown") };
        assert_eq!((cost.estimate, cost.low, cost.high), (100_000, 90_909, 111_112));
        assert_eq!((cost.standard_error, cost.unit), (None, Unit::Price(euro())));
    }

    /// 331 page views for 1 EUR cost "0, 0 to 1" cents each, and pages called that unclear; it was known to a thirtieth of a cent.
    #[test]
    fn a_cost_below_a_minor_unit_is_no_nothing() {
        let Measure::Shown(cost) = cost(100, &count(331, 323, 339), euro()) else { panic!("shown") };
        assert_eq!((cost.estimate, cost.low, cost.high), (30, 29, 31));
        assert_eq!(cost.unit.decimal(cost.estimate), "0.0030");
    }

    #[test]
    fn a_cost_without_an_upper_end_is_none() {
        let none = Measure::null(NullReason::ConversionsMayBeNone);
        assert_eq!(cost(100, &count(3, 0, 10), euro()), none);
        assert_eq!(cost(100, &count(-3, 0, 0), euro()), none);
    }

    #[test]
    fn a_return_is_in_thousandths_and_has_the_spread_of_its_value() {
        let value = Number { unit: Unit::Money(euro()), ..count(250_000, 200_000, 300_001) };
        let Measure::Shown(found) = return_on(100_000, &value) else { panic!("shown") };
        assert_eq!((found.estimate, found.low, found.high), (2_500, 2_000, 3_001));
        assert_eq!((found.standard_error, found.unit), (Some(0.04), Unit::Ratio));
        assert_eq!(return_on(0, &value), Measure::null(NullReason::NoSpend));
        let Measure::Shown(found) = return_on(7, &count(-9, 0, 3)) else { panic!("shown") };
        assert_eq!((found.estimate, found.low, found.high), (0, 0, 429));
    }

    /// Of values far below 0 the return read "unclear: 0.00 to 0.00", and the API had an upper end of 0; of days with the most reports that
    /// there were a conversion cost "154 to 154".
    #[test]
    fn a_draw_beyond_what_can_be_is_no_certainty_of_a_return_or_a_cost() {
        let width = Width { half: 8, standard_error: 4.0 };
        let value = number(-20, width, 1_000, Unit::Money(euro()));
        assert_eq!((value.low, value.high), (0, 8));
        let Measure::Shown(found) = return_on(4, &value) else { panic!("shown") };
        assert_eq!((found.estimate, found.low, found.high), (0, 0, 2_000));
        let all = number(120, width, 100, Unit::Count);
        assert_eq!((all.low, all.high), (92, 100));
        let Measure::Shown(found) = cost(10_000, &all, euro()) else { panic!("shown") };
        assert_eq!((found.estimate, found.low, found.high), (10_000, 10_000, 10_870));
    }

    proptest! {
        /// Whatever conversions are within their interval, their cost is within its own.
        #[test]
        fn a_cost_holds_the_truth_whenever_the_conversions_do(
            spend in 1..1_u64 << 50, low in 1..1_u128 << 40, more in 0..1_u128 << 40, at in 0.0..=1.0_f64,
        ) {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let truth = low + ((more as f64) * at) as u128;
            let high = low + more;
            let number = count(i128::try_from(truth).unwrap(), low, high);
            let Measure::Shown(cost) = cost(spend, &number, euro()) else { panic!("shown") };
            // cost.low <= spend / truth <= cost.high, without dividing
            let steps = u128::from(spend) * u128::from(PRICE_STEPS);
            prop_assert!(cost.low * truth <= steps && steps <= cost.high * truth);
            prop_assert!(cost.low <= cost.estimate.unsigned_abs() && cost.estimate.unsigned_abs() <= cost.high);
            let Measure::Shown(back) = return_on(spend, &number) else { panic!("shown") };
            let spend = u128::from(spend);
            prop_assert!(back.low * spend <= truth * 1_000 && truth * 1_000 <= back.high * spend);
        }
    }
}
