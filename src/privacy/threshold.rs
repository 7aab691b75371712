//! The display threshold: which noised cells a reader gets to see.
//!
//! It works on numbers that are noised already, so it costs no budget; and no
//! privacy rests on it. It keeps buckets that are mostly noise from being read
//! as results.

use std::fmt::{self, Display, Formatter};

/// A noised cell as it may be shown.
///
/// A suppressed cell carries nothing, so that neither its estimate nor a
/// misleading 0 can leak into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The noised value, unclamped.
    Estimate {
        /// In units of the counted thing; may be negative for a value cell.
        value: i128,
    },
    /// Below the threshold.
    Suppressed,
}

impl Shown {
    /// The noised value, if the cell is shown.
    pub fn value(self) -> Option<i128> {
        match self {
            Self::Estimate { value } => Some(value),
            Self::Suppressed => None,
        }
    }
}

impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Estimate { value } => write!(f, "{value}"),
            Self::Suppressed => f.write_str("suppressed"),
        }
    }
}

/// The smallest noised count that is shown, from the task's privacy policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold(u64);

impl Threshold {
    /// 0 suppresses negative counts only.
    pub fn new(smallest_shown: u64) -> Self {
        Self(smallest_shown)
    }

    /// The smallest noised count that is shown.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Shows a noised count that is at least the threshold, suppresses any other.
    pub fn show(self, count: i128) -> Shown {
        self.show_value(count, count)
    }

    /// Shows a noised `value` if and only if its bucket's noised conversion
    /// `count` is shown: a value is no count, and small values are no reason to
    /// suppress what many people bought.
    pub fn show_value(self, count: i128, value: i128) -> Shown {
        if count >= i128::from(self.0) { Shown::Estimate { value } } else { Shown::Suppressed }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_threshold_itself_is_shown_and_one_less_is_not() {
        let threshold = Threshold::new(40);
        assert_eq!(threshold.show(40), Shown::Estimate { value: 40 });
        for count in [39, 0, -1, -1000, i128::MIN] {
            assert_eq!(threshold.show(count), Shown::Suppressed);
            assert_eq!(threshold.show(count).value(), None);
        }
        assert_eq!(Threshold::new(0).show(0), Shown::Estimate { value: 0 });
        assert_eq!(Threshold::new(0).show(-1), Shown::Suppressed);
        assert_eq!(Threshold::new(u64::MAX).show(i128::from(u64::MAX) - 1), Shown::Suppressed);
    }

    #[test]
    fn a_suppressed_cell_says_so_and_not_its_number() {
        let shown = Threshold::new(40).show(17);
        assert_eq!(shown.to_string(), "suppressed");
        assert_eq!(format!("{shown:?}"), "Suppressed");
        assert_eq!(Threshold::new(40).show(1234).to_string(), "1234");
    }

    proptest! {
        #[test]
        fn a_value_shows_exactly_when_its_count_does(
            threshold: u64, count in -100_i128..100, offset: bool, value: i128,
        ) {
            let count = if offset { i128::from(threshold) + count } else { count };
            let threshold = Threshold::new(threshold);
            let shown = threshold.show_value(count, value);
            prop_assert_eq!(shown.value().is_some(), threshold.show(count).value().is_some());
            prop_assert_eq!(shown.value(), (count >= i128::from(threshold.get())).then_some(value));
        }
    }
}
