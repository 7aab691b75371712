//! Which VDAF a task runs, with which parameters.

use super::{VdafError, scheme};
use prio::vdaf::prio3::optimal_chunk_length;

/// Prio3Count's number (VDAF-18 section 10).
pub const VDAF_COUNT: u32 = 1;
/// Prio3Histogram's number (VDAF-18 section 10).
pub const VDAF_HISTOGRAM: u32 = 4;
/// Prio3L1BoundSum's number (draft-ietf-ppm-l1-bound-sum-01 section 6).
pub const VDAF_L1_BOUND_SUM: u32 = 7;

/// Most cells of a histogram or vector. Noise is per cell and an aggregator's work
/// per report grows with the cells: verifying a histogram of 4096 takes about a millisecond.
pub const MAX_LENGTH: u32 = 4096;

/// Fewest buckets of a histogram: with one, every report says the same.
pub const MIN_HISTOGRAM_LENGTH: u32 = 2;

/// Largest bound of an L1BoundSum. Below 2^32 neither one report's cells (at most
/// 2^44 together) nor any number of reports that a `u64` counts wraps around
/// Field128, which the proof's comparison of the two sums relies on.
pub const MAX_L1_VALUE: u64 = u32::MAX as u64;

/// Largest leader input share in bytes. A report must fit an upload request many
/// times over; the largest parameters together (4096 cells of 32 bits) would not.
pub const MAX_LEADER_SHARE_LEN: usize = 1 << 20;

/// A VDAF and its parameters. Both aggregators and the clients must agree on it:
/// it is in the associated data of every share (DAP-18, "Task Binding").
///
/// The fields are open; [`VdafConfig::validate`] is called wherever one is used or
/// decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VdafConfig {
    /// Each report is a yes or a no; the result is the number of yeses.
    Count,
    /// Each report names one bucket; the result is a number for each bucket.
    Histogram {
        /// Number of buckets.
        length: u32,
        /// Buckets checked together in one proof step; a matter of speed only.
        chunk_length: u32,
    },
    /// Each report is a vector of non-negative numbers that add up to `max_value`
    /// at most, possibly all zero; the result is their sum.
    L1BoundSum {
        /// Number of cells.
        length: u32,
        /// Bound of a report's sum, inclusive.
        max_value: u64,
        /// Bits checked together in one proof step; a matter of speed only.
        chunk_length: u32,
    },
}

impl VdafConfig {
    /// A histogram with the chunk length that makes the smallest proof. (The square
    /// root of the length, often used, can need twice the time.)
    pub fn histogram(length: u32) -> Result<Self, VdafError> {
        in_range("length", length.into(), MIN_HISTOGRAM_LENGTH.into(), MAX_LENGTH.into())?;
        let config = Self::Histogram { length, chunk_length: best_chunk_length(length.into()) };
        config.validate().map(|()| config)
    }

    /// A bounded vector sum with the chunk length that makes the smallest proof
    /// (draft-ietf-ppm-l1-bound-sum-01 section 3.1).
    pub fn l1_bound_sum(length: u32, max_value: u64) -> Result<Self, VdafError> {
        in_range("length", length.into(), 1, MAX_LENGTH.into())?;
        in_range("max_value", max_value, 1, MAX_L1_VALUE)?;
        let chunk_length = best_chunk_length(l1_input_len(length, max_value));
        let config = Self::L1BoundSum { length, max_value, chunk_length };
        config.validate().map(|()| config)
    }

    /// The histogram of a browser's report (Attribution Level 1, "construct a DAP report"): L1BoundSum whose chunk
    /// length is the rounded square root of (ceil(log2(max + 1)) + 1) * length.
    pub fn attribution_histogram(length: u32, max_value: u64) -> Result<Self, VdafError> {
        in_range("length", length.into(), 1, MAX_LENGTH.into())?;
        in_range("max_value", max_value, 1, MAX_L1_VALUE)?;
        // ceil(log2(max + 1)) is the bit length of max.
        let bits = u64::from(u64::BITS - max_value.leading_zeros());
        let root = rounded_sqrt((bits + 1) * u64::from(length));
        // Cannot fail: the root of at most 33 * 4096.
        let chunk_length = u32::try_from(root).expect("the length was checked");
        let config = Self::L1BoundSum { length, max_value, chunk_length };
        config.validate().map(|()| config)
    }

    /// The type's number in tasks (DAP-18 section 4.2).
    pub fn vdaf_type(&self) -> u32 {
        match self {
            Self::Count => VDAF_COUNT,
            Self::Histogram { .. } => VDAF_HISTOGRAM,
            Self::L1BoundSum { .. } => VDAF_L1_BOUND_SUM,
        }
    }

    /// The parameters as a task carries them: DAP-18, appendix "VDAF Configuration
    /// Encodings", and draft-ietf-ppm-l1-bound-sum-01 section 4.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Count => Vec::new(),
            Self::Histogram { length, chunk_length } => {
                [length.to_be_bytes(), chunk_length.to_be_bytes()].concat()
            }
            Self::L1BoundSum { length, max_value, chunk_length } => {
                [&length.to_be_bytes()[..], &max_value.to_be_bytes(), &chunk_length.to_be_bytes()].concat()
            }
        }
    }

    /// Reads what [`VdafConfig::encode`] writes. Anything more or less, and any
    /// parameter outside the limits of this module, is an error.
    pub fn decode(vdaf_type: u32, bytes: &[u8]) -> Result<Self, VdafError> {
        let wrong_length = |want| VdafError::ConfigLength { vdaf_type, got: bytes.len(), want };
        let config = match vdaf_type {
            VDAF_COUNT if bytes.is_empty() => Self::Count,
            VDAF_COUNT => return Err(wrong_length(0)),
            VDAF_HISTOGRAM => {
                let [l0, l1, l2, l3, c0, c1, c2, c3] = *bytes else { return Err(wrong_length(8)) };
                Self::Histogram {
                    length: u32::from_be_bytes([l0, l1, l2, l3]),
                    chunk_length: u32::from_be_bytes([c0, c1, c2, c3]),
                }
            }
            VDAF_L1_BOUND_SUM => {
                let [l0, l1, l2, l3, m0, m1, m2, m3, m4, m5, m6, m7, c0, c1, c2, c3] = *bytes else {
                    return Err(wrong_length(16));
                };
                Self::L1BoundSum {
                    length: u32::from_be_bytes([l0, l1, l2, l3]),
                    max_value: u64::from_be_bytes([m0, m1, m2, m3, m4, m5, m6, m7]),
                    chunk_length: u32::from_be_bytes([c0, c1, c2, c3]),
                }
            }
            other => return Err(VdafError::UnknownType(other)),
        };
        config.validate().map(|()| config)
    }

    /// Checks every parameter against the limits of this module. A chunk longer than
    /// what it divides only makes the proof longer, so it is refused too.
    pub fn validate(&self) -> Result<(), VdafError> {
        match *self {
            Self::Count => {}
            Self::Histogram { length, chunk_length } => {
                in_range("length", length.into(), MIN_HISTOGRAM_LENGTH.into(), MAX_LENGTH.into())?;
                in_range("chunk_length", chunk_length.into(), 1, length.into())?;
            }
            Self::L1BoundSum { length, max_value, chunk_length } => {
                in_range("length", length.into(), 1, MAX_LENGTH.into())?;
                in_range("max_value", max_value, 1, MAX_L1_VALUE)?;
                in_range("chunk_length", chunk_length.into(), 1, l1_input_len(length, max_value))?;
            }
        }
        let len = scheme::build(self)?.leader_share_len();
        if len > MAX_LEADER_SHARE_LEN {
            return Err(VdafError::ShareTooLong { len, max: MAX_LEADER_SHARE_LEN });
        }
        Ok(())
    }

    /// Number of cells of the result.
    pub fn output_len(&self) -> usize {
        match *self {
            Self::Count => 1,
            // A u32 fits: no platform that runs this has a smaller usize.
            Self::Histogram { length, .. } | Self::L1BoundSum { length, .. } => length as usize,
        }
    }

    /// The largest L1 norm that a report can have and still pass verification.
    ///
    /// For L1BoundSum that is `max_value` itself, not the next `2^n - 1`. Verification
    /// checks that every element of the encoding is 0 or 1, and reads n elements
    /// (n the bit length of `max_value`) with the weights 1, 2, 4, ..., 2^(n-2) and,
    /// for the last, `max_value - (2^(n-1) - 1)`: all ones are `max_value`, and no
    /// larger number has an encoding (VDAF-18 section 7.4.2; prio 0.18.1,
    /// `L1BoundSum::new` in src/flp/types/l1boundsum.rs and `decode_range_checked_int`
    /// in src/flp/types.rs). The cells must add up, in the field, to a claimed weight
    /// of the same encoding. Tests forge reports beyond the bound and see them refused.
    pub fn enforced_max(&self) -> u64 {
        match *self {
            Self::Count | Self::Histogram { .. } => 1,
            Self::L1BoundSum { max_value, .. } => max_value,
        }
    }

    /// How far the result moves, in L1 norm, if one report is substituted by another.
    ///
    /// A vector of one cell moves by its bound; one of several cells can lose the
    /// bound in one and gain it in another.
    pub fn l1_sensitivity(&self) -> u64 {
        match *self {
            Self::Count => 1,
            Self::Histogram { .. } => 2,
            Self::L1BoundSum { length: 1, .. } => self.enforced_max(),
            // No overflow: validate() keeps max_value below 2^32, and an unchecked one saturates.
            Self::L1BoundSum { .. } => self.enforced_max().saturating_mul(2),
        }
    }

    /// Largest contribution of one report to one cell.
    pub fn max_per_cell(&self) -> u64 {
        self.enforced_max()
    }

    /// The configuration in plain English.
    pub fn describe(&self) -> String {
        match *self {
            Self::Count => {
                "Prio3Count: every report is a yes or a no, the result counts the yeses".to_owned()
            }
            Self::Histogram { length, chunk_length } => format!(
                "Prio3Histogram: every report adds 1 to exactly one of {length} buckets (chunk length \
                 {chunk_length})"
            ),
            Self::L1BoundSum { length, max_value, chunk_length } => {
                let cells = if length == 1 { "cell" } else { "cells" };
                format!(
                    "Prio3L1BoundSum: every report adds at most {max_value} in total over {length} {cells} \
                     (chunk length {chunk_length})"
                )
            }
        }
    }
}

/// Elements of an encoded L1BoundSum measurement: every cell and the claimed weight,
/// each as bits (draft-ietf-ppm-l1-bound-sum-01 section 3.2).
fn l1_input_len(length: u32, max_value: u64) -> u64 {
    let bits = u64::from(u64::BITS - max_value.leading_zeros());
    (u64::from(length) + 1) * bits
}

fn best_chunk_length(input_len: u64) -> u32 {
    // Cannot fail: callers pass at most (4096 + 1) * 32.
    let input_len = usize::try_from(input_len).expect("the length was checked");
    // Cannot fail: a chunk is no longer than the input.
    u32::try_from(optimal_chunk_length(input_len)).expect("a chunk is no longer than the input")
}

/// The square root rounded to the nearest integer, exactly. No integer has a root of n + 1/2, so there
/// are no ties.
fn rounded_sqrt(n: u64) -> u64 {
    let floor = n.isqrt();
    if n - floor * floor > floor { floor + 1 } else { floor }
}

fn in_range(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), VdafError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(VdafError::ConfigRange { name, value, min, max }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn encodings_are_those_of_the_drafts() {
        assert!(VdafConfig::Count.encode().is_empty());
        let histogram = VdafConfig::Histogram { length: 0x0102, chunk_length: 0x0a };
        assert_eq!(hex::encode(histogram.encode()), "000001020000000a");
        let sum = VdafConfig::L1BoundSum { length: 20, max_value: 0x0001_0203, chunk_length: 17 };
        assert_eq!(hex::encode(sum.encode()), "00000014000000000001020300000011");
        for config in [VdafConfig::Count, histogram, sum] {
            assert_eq!(VdafConfig::decode(config.vdaf_type(), &config.encode()), Ok(config));
        }
    }

    #[test]
    fn chunk_lengths_are_the_optimal_ones() {
        let chunk = |length| match VdafConfig::histogram(length).unwrap() {
            VdafConfig::Histogram { chunk_length, .. } => chunk_length,
            other => panic!("{other:?}"),
        };
        assert_eq!([16, 64, 256, 1024].map(chunk), [6, 10, 18, 34]);
        let sum = VdafConfig::l1_bound_sum(64, 1000).unwrap();
        assert_eq!(sum, VdafConfig::L1BoundSum { length: 64, max_value: 1000, chunk_length: 21 });
    }

    #[test]
    fn decode_wants_the_exact_length() {
        for config in
            [VdafConfig::Count, VdafConfig::histogram(9).unwrap(), VdafConfig::l1_bound_sum(9, 9).unwrap()]
        {
            let encoded = config.encode();
            let longer = [encoded.as_slice(), &[0]].concat();
            assert!(matches!(
                VdafConfig::decode(config.vdaf_type(), &longer),
                Err(VdafError::ConfigLength { .. })
            ));
            for cut in 0..encoded.len() {
                assert_eq!(
                    VdafConfig::decode(config.vdaf_type(), &encoded[..cut]),
                    Err(VdafError::ConfigLength {
                        vdaf_type: config.vdaf_type(),
                        got: cut,
                        want: encoded.len()
                    })
                );
            }
        }
        for unknown in [0, 2, 3, 5, 6, 8, 0xffff_ffff] {
            assert_eq!(VdafConfig::decode(unknown, &[]), Err(VdafError::UnknownType(unknown)));
        }
    }

    #[test]
    fn parameters_outside_the_limits_are_refused() {
        let histogram = |length, chunk_length| VdafConfig::Histogram { length, chunk_length };
        let sum =
            |length, max_value, chunk_length| VdafConfig::L1BoundSum { length, max_value, chunk_length };
        let refused = [
            (histogram(0, 1), "length"),
            (histogram(1, 1), "length"),
            (histogram(MAX_LENGTH + 1, 64), "length"),
            (histogram(u32::MAX, u32::MAX), "length"),
            (histogram(8, 0), "chunk_length"),
            (histogram(8, 9), "chunk_length"),
            (sum(0, 1, 1), "length"),
            (sum(MAX_LENGTH + 1, 1, 1), "length"),
            (sum(4, 0, 1), "max_value"),
            (sum(4, MAX_L1_VALUE + 1, 1), "max_value"),
            (sum(4, u64::MAX, 1), "max_value"),
            (sum(4, 7, 0), "chunk_length"),
            (sum(4, 7, 16), "chunk_length"),
        ];
        for (config, name) in refused {
            let error = config.validate().unwrap_err();
            assert!(
                matches!(error, VdafError::ConfigRange { name: n, .. } if n == name),
                "{config:?}: {error}"
            );
            assert_eq!(VdafConfig::decode(config.vdaf_type(), &config.encode()), Err(error));
        }
        for accepted in [histogram(8, 8), histogram(MAX_LENGTH, 64), sum(4, 7, 15), sum(1, MAX_L1_VALUE, 1)] {
            assert_eq!(accepted.validate(), Ok(()));
        }
        let large = sum(MAX_LENGTH, MAX_L1_VALUE, 1);
        assert!(matches!(large.validate(), Err(VdafError::ShareTooLong { .. })));
        assert!(VdafConfig::l1_bound_sum(MAX_LENGTH, MAX_L1_VALUE).is_err());
        assert!(VdafConfig::l1_bound_sum(0, 1).is_err());
        assert!(VdafConfig::l1_bound_sum(1, 0).is_err());
        assert!(VdafConfig::histogram(u32::MAX).is_err());
    }

    #[test]
    fn sensitivities_are_those_of_substitution() {
        let cases = [
            (VdafConfig::Count, 1, 1),
            (VdafConfig::histogram(2).unwrap(), 2, 1),
            (VdafConfig::histogram(1000).unwrap(), 2, 1),
            (VdafConfig::l1_bound_sum(1, 5).unwrap(), 5, 5),
            (VdafConfig::l1_bound_sum(2, 5).unwrap(), 10, 5),
            (VdafConfig::l1_bound_sum(64, 1).unwrap(), 2, 1),
        ];
        for (config, sensitivity, per_cell) in cases {
            assert_eq!(config.l1_sensitivity(), sensitivity, "{config:?}");
            assert_eq!(config.max_per_cell(), per_cell, "{config:?}");
        }
    }

    #[test]
    fn descriptions_name_the_parameters() {
        assert!(VdafConfig::Count.describe().contains("yes or a no"));
        assert!(VdafConfig::histogram(20).unwrap().describe().contains("one of 20 buckets"));
        let sum = VdafConfig::l1_bound_sum(20, 4095).unwrap().describe();
        assert!(sum.contains("at most 4095 in total over 20 cells"), "{sum}");
    }
}
