//! What a client measures, and what sharding makes of it.

use super::{VdafConfig, VdafError};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// One measurement: the secret that Prio3 protects. Erased when dropped; `Debug`
/// prints its kind only. (prio does not erase its own working copies.)
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub enum Measurement {
    /// For Prio3Count.
    Count(bool),
    /// For Prio3Histogram: the bucket to add 1 to, from 0.
    Bucket(u32),
    /// For Prio3L1BoundSum: one number for each cell.
    Vector(Vec<u64>),
}

impl fmt::Debug for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count(_) => "Measurement::Count(..)",
            Self::Bucket(_) => "Measurement::Bucket(..)",
            Self::Vector(_) => "Measurement::Vector(..)",
        })
    }
}

/// A measurement split for the two aggregators, encoded. Whoever holds both input
/// shares knows the measurement, so `Debug` prints lengths only and a client must
/// seal each share at once.
#[derive(Clone)]
pub struct Sharded {
    /// Known to both aggregators, travels in the clear.
    pub public_share: Vec<u8>,
    /// For the leader alone.
    pub leader_share: Vec<u8>,
    /// For the helper alone.
    pub helper_share: Vec<u8>,
}

impl fmt::Debug for Sharded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded")
            .field("public_share_len", &self.public_share.len())
            .field("leader_share_len", &self.leader_share.len())
            .field("helper_share_len", &self.helper_share.len())
            .finish()
    }
}

pub(super) fn count(_: &VdafConfig, measurement: &Measurement) -> Result<bool, VdafError> {
    match measurement {
        Measurement::Count(value) => Ok(*value),
        _ => Err(VdafError::Measurement("Prio3Count takes a yes or a no".to_owned())),
    }
}

pub(super) fn bucket(config: &VdafConfig, measurement: &Measurement) -> Result<usize, VdafError> {
    let length = config.output_len();
    match measurement {
        // prio would panic on a bucket beyond the end.
        Measurement::Bucket(bucket) if (*bucket as usize) < length => Ok(*bucket as usize),
        _ => Err(VdafError::Measurement(format!("Prio3Histogram takes a bucket from 0 to {}", length - 1))),
    }
}

pub(super) fn vector(config: &VdafConfig, measurement: &Measurement) -> Result<Vec<u128>, VdafError> {
    let (length, max) = (config.output_len(), config.enforced_max());
    let refused = || {
        let cells = if length == 1 { "number" } else { "numbers" };
        VdafError::Measurement(format!(
            "Prio3L1BoundSum takes {length} {cells} that add up to a total from 0 to {max}"
        ))
    };
    let Measurement::Vector(cells) = measurement else { return Err(refused()) };
    let total = cells.iter().try_fold(0_u64, |sum, cell| sum.checked_add(*cell));
    // prio encodes a total beyond the bound modulo the field without complaint; verification would refuse it.
    if cells.len() != length || total.is_none_or(|total| total > max) {
        return Err(refused());
    }
    Ok(cells.iter().map(|cell| u128::from(*cell)).collect())
}

/// How a scheme turns our measurement into prio's. What it returns is erased after use.
pub(super) type ToPrio<M> = fn(&VdafConfig, &Measurement) -> Result<M, VdafError>;

/// Applies `to_prio` and keeps the copy erasable.
pub(super) fn checked<M: Zeroize>(
    to_prio: ToPrio<M>,
    config: &VdafConfig,
    measurement: &Measurement,
) -> Result<Zeroizing<M>, VdafError> {
    to_prio(config, measurement).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::vdaf::Vdaf;

    #[test]
    fn measurements_outside_the_range_are_refused_and_the_range_is_named() {
        let histogram = VdafConfig::histogram(5).unwrap();
        let sum = VdafConfig::l1_bound_sum(3, 10).unwrap();
        let cases = [
            (VdafConfig::Count, Measurement::Bucket(0), "a yes or a no"),
            (VdafConfig::Count, Measurement::Vector(vec![1]), "a yes or a no"),
            (histogram, Measurement::Bucket(5), "from 0 to 4"),
            (histogram, Measurement::Bucket(u32::MAX), "from 0 to 4"),
            (histogram, Measurement::Count(true), "from 0 to 4"),
            (sum, Measurement::Vector(vec![11, 0, 0]), "from 0 to 10"),
            (sum, Measurement::Vector(vec![5, 5, 1]), "from 0 to 10"),
            (sum, Measurement::Vector(vec![u64::MAX, 1, 0]), "from 0 to 10"),
            (sum, Measurement::Vector(vec![1, 1]), "3 numbers"),
            (sum, Measurement::Vector(vec![1, 1, 1, 1]), "3 numbers"),
            (sum, Measurement::Bucket(1), "3 numbers"),
        ];
        for (config, measurement, range) in cases {
            let vdaf = Vdaf::new(config).unwrap();
            let error = vdaf.shard(b"ctx", &measurement, &[0; 16]).unwrap_err();
            assert!(matches!(error, VdafError::Measurement(_)) && !error.is_malformed());
            assert!(error.to_string().contains(range), "{error}");
        }
    }

    #[test]
    fn measurements_at_the_edges_are_taken() {
        let histogram = VdafConfig::histogram(5).unwrap();
        let sum = VdafConfig::l1_bound_sum(3, 10).unwrap();
        for (config, measurement) in [
            (VdafConfig::Count, Measurement::Count(false)),
            (histogram, Measurement::Bucket(4)),
            (sum, Measurement::Vector(vec![0, 0, 0])),
            (sum, Measurement::Vector(vec![10, 0, 0])),
            (sum, Measurement::Vector(vec![3, 3, 4])),
        ] {
            assert!(Vdaf::new(config).unwrap().shard(b"ctx", &measurement, &[0; 16]).is_ok());
        }
    }

    #[test]
    fn debug_tells_nothing() {
        assert_eq!(format!("{:?}", Measurement::Bucket(77)), "Measurement::Bucket(..)");
        assert_eq!(format!("{:?}", Measurement::Count(true)), "Measurement::Count(..)");
        assert_eq!(format!("{:?}", Measurement::Vector(vec![77])), "Measurement::Vector(..)");
        let sharded =
            Sharded { public_share: vec![], leader_share: vec![201; 3], helper_share: vec![202; 2] };
        let text = format!("{sharded:?}");
        assert!(text.contains("leader_share_len: 3") && !text.contains("20"), "{text}");
    }
}
