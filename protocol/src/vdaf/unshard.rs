//! From two aggregate shares to signed, checked numbers.

use super::share::{AggregateShare, half_of_field};
use super::{VdafConfig, VdafError};

/// Adds the two aggregate shares of a batch and reads the cells as signed numbers.
///
/// Noise makes small sums negative, and a negative sum is a huge number modulo the
/// field: the upper half of the field is mapped back to negative numbers. `slack` is
/// how far noise may carry a cell beyond what `report_count` reports can add up to;
/// with 40 times the scale of discrete Laplace noise, honest shares fail with a
/// probability of about e^-40 a cell.
///
/// Nothing is clamped: a negative cell is an honest estimate, and sums over several
/// batches would be biased without it.
///
/// # Errors
/// [`VdafError::Malformed`] if a share is not one of this configuration;
/// [`VdafError::FieldTooSmall`] if the batch could wrap ([`fits_field`]);
/// [`VdafError::CellOutOfRange`] if a cell is outside
/// `[-slack, report_count * max_per_cell + slack]`, so that a share must be wrong.
pub fn unshard(
    config: &VdafConfig,
    leader: &[u8],
    helper: &[u8],
    report_count: u64,
    slack: u128,
) -> Result<Vec<i128>, VdafError> {
    let mut sum = AggregateShare::decode(config, leader)?;
    sum.merge(&AggregateShare::decode(config, helper)?)?;
    let too_small = VdafError::FieldTooSmall { reports: report_count };
    // At most half of the field, so below i128's maximum: the conversions are exact.
    let highest = highest_sum(config, report_count, slack).ok_or(too_small.clone())?;
    let highest = i128::try_from(highest).map_err(|_| too_small.clone())?;
    let lowest = -i128::try_from(slack).map_err(|_| too_small)?;

    let (cells, modulus) = sum.into_integers();
    let signed = |(cell, value)| {
        let out_of_range = VdafError::CellOutOfRange { cell };
        let value = signed(value, modulus).ok_or(out_of_range.clone())?;
        if (lowest..=highest).contains(&value) { Ok(value) } else { Err(out_of_range) }
    };
    cells.into_iter().enumerate().map(signed).collect()
}

/// True if `max_reports` reports with noise of at most `slack` stay below half of the
/// VDAF's field, so that [`unshard`] can tell negative sums from large ones. A task
/// for which this does not hold must be refused.
pub fn fits_field(config: &VdafConfig, max_reports: u64, slack: u128) -> bool {
    highest_sum(config, max_reports, slack).is_some()
}

/// The largest sum with noise, if it is below half of the field.
fn highest_sum(config: &VdafConfig, reports: u64, slack: u128) -> Option<u128> {
    // The product of two u64 fits a u128.
    let exact = u128::from(reports) * u128::from(config.max_per_cell());
    exact.checked_add(slack).filter(|highest| *highest <= half_of_field(config))
}

/// Maps 0..modulus to the numbers around zero.
fn signed(value: u128, modulus: u128) -> Option<i128> {
    if value <= modulus / 2 {
        i128::try_from(value).ok()
    } else {
        i128::try_from(modulus.checked_sub(value)?).ok().map(|distance| -distance)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use prio::field::{Field64, Field128, FieldElementWithInteger};

    fn count_share(value: u64) -> Vec<u8> {
        value.to_le_bytes().to_vec()
    }

    fn vector_share(values: &[u128]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn the_upper_half_of_the_field_is_negative() {
        let p = Field64::modulus();
        let run = |a, b| unshard(&VdafConfig::Count, &count_share(a), &count_share(b), 100, 50);
        assert_eq!(run(p - 3, 0), Ok(vec![-3]));
        assert_eq!(run(p - 10, 7), Ok(vec![-3]));
        assert_eq!(run(p - 1, 5), Ok(vec![4]));
        assert_eq!(run(0, 0), Ok(vec![0]));

        let p = Field128::modulus();
        let config = VdafConfig::histogram(3).unwrap();
        let leader = vector_share(&[p - 3, p - 1, 12]);
        let helper = vector_share(&[0, 5, 30]);
        assert_eq!(unshard(&config, &leader, &helper, 100, 50), Ok(vec![-3, 4, 42]));
    }

    #[test]
    fn a_cell_no_noise_explains_is_an_error_that_names_the_cell() {
        let p = Field64::modulus();
        let run = |a| unshard(&VdafConfig::Count, &count_share(a), &count_share(0), 100, 50);
        assert_eq!(run(150), Ok(vec![150]));
        assert_eq!(run(151), Err(VdafError::CellOutOfRange { cell: 0 }));
        assert_eq!(run(p - 50), Ok(vec![-50]));
        assert_eq!(run(p - 51), Err(VdafError::CellOutOfRange { cell: 0 }));
        assert_eq!(run(p / 2), Err(VdafError::CellOutOfRange { cell: 0 }));
        assert_eq!(run(p / 2 + 1), Err(VdafError::CellOutOfRange { cell: 0 }));

        let config = VdafConfig::l1_bound_sum(3, 7).unwrap();
        let zero = vector_share(&[0; 3]);
        let run = |cells: &[u128]| unshard(&config, &vector_share(cells), &zero, 10, 5);
        assert_eq!(run(&[75, 0, Field128::modulus() - 5]), Ok(vec![75, 0, -5]));
        assert_eq!(run(&[0, 0, 76]), Err(VdafError::CellOutOfRange { cell: 2 }));
        assert_eq!(run(&[0, Field128::modulus() - 6, 0]), Err(VdafError::CellOutOfRange { cell: 1 }));
        assert!(!run(&[0, 76, 0]).unwrap_err().to_string().contains("76"));
    }

    #[test]
    fn wrong_shares_do_not_decode() {
        let config = VdafConfig::histogram(3).unwrap();
        let zero = vector_share(&[0; 3]);
        let p = Field128::modulus();
        for wrong in [vec![], vector_share(&[0; 2]), vector_share(&[0; 4]), vector_share(&[0, p, 0])] {
            assert!(unshard(&config, &wrong, &zero, 1, 0).unwrap_err().is_malformed());
            assert!(unshard(&config, &zero, &wrong, 1, 0).unwrap_err().is_malformed());
        }
    }

    #[test]
    fn a_batch_must_fit_the_field() {
        let half = Field64::modulus() / 2;
        assert!(fits_field(&VdafConfig::Count, half, 0));
        assert!(!fits_field(&VdafConfig::Count, half, 1));
        assert!(!fits_field(&VdafConfig::Count, half + 1, 0));
        assert!(!fits_field(&VdafConfig::Count, 0, u128::MAX));
        let sum = VdafConfig::l1_bound_sum(4, crate::vdaf::MAX_L1_VALUE).unwrap();
        assert!(fits_field(&sum, u64::MAX, 1 << 100));
        assert!(!fits_field(&sum, 1, Field128::modulus() / 2));
        // The largest batch that fits still reads as positive, and its noise as negative.
        let run = |share| unshard(&VdafConfig::Count, &count_share(share), &count_share(0), half - 9, 9);
        assert_eq!(run(half), Ok(vec![i128::from(half)]));
        assert_eq!(run(half + 1), Err(VdafError::CellOutOfRange { cell: 0 }));
        assert_eq!(run(Field64::modulus() - 9), Ok(vec![-9]));
        assert_eq!(
            unshard(&VdafConfig::Count, &count_share(1), &count_share(0), u64::MAX, 0),
            Err(VdafError::FieldTooSmall { reports: u64::MAX })
        );
    }
}
