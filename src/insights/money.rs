//! Exact quotients of delivery numbers.

use std::fmt;

use super::measure::PRICE_STEPS;

/// An exact rational number that is not negative: a rate of delivery numbers, such as clicks by impressions.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    numerator: u128,
    denominator: u128,
}

impl Rate {
    /// `numerator / denominator`; `None` if that would divide by 0.
    pub fn new(numerator: u128, denominator: u128) -> Option<Self> {
        (denominator > 0).then_some(Self { numerator, denominator })
    }

    /// The nearest decimal of so many places (at most 18), half up: the only place in which a rate is rounded.
    pub fn decimal(self, places: u8) -> String {
        let places = places.min(18);
        let rounded = self.rounded(10_u128.pow(places.into()));
        crate::registry::decimal_of(rounded.unsigned_abs(), rounded < 0, places)
    }

    /// The nearest whole number of `1/steps`, half up: how often `1/steps` fits. Held at the largest `i128`.
    pub fn rounded(self, steps: u128) -> i128 {
        let (whole, rest) = (self.numerator / self.denominator, self.numerator % self.denominator);
        // `rest < denominator`; halves of numbers that would not fit lose a bit of 128, which no display has.
        let fraction = match rest.checked_mul(steps).and_then(|scaled| scaled.checked_mul(2)) {
            Some(doubled) => doubled.saturating_add(self.denominator) / self.denominator.saturating_mul(2),
            None => rest / (self.denominator / steps).max(1),
        };
        let all = whole.saturating_mul(steps).saturating_add(fraction);
        i128::try_from(all).unwrap_or(i128::MAX)
    }

    /// As a price, in hundredths of what it counts in.
    pub fn price(self) -> u128 {
        self.rounded(PRICE_STEPS.into()).unsigned_abs()
    }

    /// So many times as much; held at what 128 bits hold.
    #[must_use]
    pub(super) fn times(self, factor: u64) -> Self {
        Self { numerator: self.numerator.saturating_mul(factor.into()), ..self }
    }

    /// The whole number below.
    pub(super) fn floor(self) -> u128 {
        self.numerator / self.denominator
    }

    /// The nearest double, for charts and for sorting.
    #[allow(clippy::cast_precision_loss, reason = "display only")]
    pub fn as_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

impl PartialEq for Rate {
    fn eq(&self, other: &Self) -> bool {
        let reduced = |rate: &Self| {
            let divisor = gcd(rate.numerator, rate.denominator);
            (rate.numerator / divisor, rate.denominator / divisor)
        };
        reduced(self) == reduced(other)
    }
}

impl Eq for Rate {}

/// Of numbers of which the second is not 0, so it is not 0 either.
fn gcd(mut one: u128, mut other: u128) -> u128 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.decimal(6))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_rounded_half_up_and_only_when_written() {
        let rate = |n, d| Rate::new(n, d).unwrap();
        assert_eq!(rate(1, 3).decimal(4), "0.3333");
        assert_eq!(rate(2, 3).decimal(4), "0.6667");
        assert_eq!(
            (rate(1, 2).decimal(0), rate(3, 2).decimal(0), rate(5, 1).decimal(2)),
            ("1".into(), "2".into(), "5.00".into())
        );
        assert_eq!(rate(1, 2), rate(2, 4));
        assert_ne!(rate(1, 2), rate(1, 3));
        assert_eq!(rate(0, 7), rate(0, 9));
        assert!(Rate::new(1, 0).is_none());
        assert_eq!(rate(u128::MAX, 1).rounded(1), i128::MAX);
        assert_eq!(rate(u128::MAX - 1, u128::MAX).rounded(1_000), 1_000);
    }

    proptest! {
        #[test]
        fn what_is_written_is_at_most_half_a_step_off(n in 0..u64::MAX, d in 1..u64::MAX, steps in 1_u64..1_000_000_000) {
            let (n, d, steps) = (u128::from(n), u128::from(d), u128::from(steps));
            prop_assume!(n.checked_mul(steps).is_some_and(|scaled| scaled < u128::MAX / 4));
            let found = Rate::new(n, d).unwrap().rounded(steps).unsigned_abs();
            // |found/steps - n/d| <= 1/(2 steps), times 2 d steps
            prop_assume!(found.checked_mul(2 * d).is_some());
            let off = (2 * d * found).abs_diff(2 * n * steps);
            prop_assert!(off <= d, "{found} {n} {d} {steps}");
        }
    }
}
