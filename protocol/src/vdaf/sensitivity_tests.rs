//! The sensitivity of each VDAF by brute force, and what prio leaves to its caller.
//!
//! The noise of a release protects as much as its sensitivity is right: half of it is half of the privacy. So the
//! formula is held against what it is a formula for: all measurements of small domains, each sharded, verified
//! and unsharded as in operation, and the largest distance between any two. What a dishonest client gets through
//! verification is no larger: `forgery_tests.rs`.

#![allow(clippy::unwrap_used)]

use super::*;
use prio::field::{Field64, FieldElementWithInteger};
use prio::vdaf::{AggregateShare as PrioShare, Collector, prio3::Prio3};

const KEY: [u8; 32] = [5; 32];
const NONCE: [u8; 16] = [6; 16];
const CTX: &[u8] = b"sensitivity";

/// Every configuration with parameters small enough to try all its measurements, every chunk length among them.
///
/// A new kind of VDAF does not compile here until it has its own.
fn small_configs() -> Vec<VdafConfig> {
    let of_kind = |kind: &VdafConfig| -> Vec<VdafConfig> {
        match kind {
            VdafConfig::Count => vec![VdafConfig::Count],
            VdafConfig::Histogram { .. } => (2..=6)
                .flat_map(|length| {
                    (1..=length).map(move |chunk_length| VdafConfig::Histogram { length, chunk_length })
                })
                .collect(),
            VdafConfig::L1BoundSum { .. } => {
                let sizes =
                    [(1, 1), (1, 2), (1, 3), (1, 6), (1, 9), (2, 1), (2, 2), (2, 5), (3, 3), (4, 1), (4, 2)];
                let sums =
                    sizes.map(|(length, max_value)| VdafConfig::l1_bound_sum(length, max_value).unwrap());
                let chunked = (1..=6).map(|chunk_length| VdafConfig::L1BoundSum {
                    length: 2,
                    max_value: 2,
                    chunk_length,
                });
                sums.into_iter().chain(chunked).collect()
            }
        }
    };
    let kinds =
        [VdafConfig::Count, VdafConfig::histogram(2).unwrap(), VdafConfig::l1_bound_sum(1, 1).unwrap()];
    kinds.iter().flat_map(of_kind).collect()
}

/// All measurements that a client may make.
fn measurements(config: &VdafConfig) -> Vec<Measurement> {
    match *config {
        VdafConfig::Count => [false, true].map(Measurement::Count).to_vec(),
        VdafConfig::Histogram { length, .. } => (0..length).map(Measurement::Bucket).collect(),
        VdafConfig::L1BoundSum { length, max_value, .. } => {
            let mut vectors = vec![Vec::new()];
            for _ in 0..length {
                let longer = |vector: &Vec<u64>| {
                    let left = max_value - vector.iter().sum::<u64>();
                    let vector = vector.clone();
                    (0..=left).map(move |cell| [vector.as_slice(), &[cell]].concat()).collect::<Vec<_>>()
                };
                vectors = vectors.iter().flat_map(longer).collect();
            }
            vectors.into_iter().map(Measurement::Vector).collect()
        }
    }
}

/// What one report adds to the result of a batch.
fn contribution(vdaf: &Vdaf, measurement: &Measurement) -> Vec<i128> {
    let report = vdaf.shard(CTX, measurement, &NONCE).unwrap();
    let (state, init) =
        vdaf.leader_init(&KEY, CTX, &NONCE, &report.public_share, &report.leader_share).unwrap();
    let (helper, answer) =
        vdaf.helper_init(&KEY, CTX, &NONCE, &report.public_share, &report.helper_share, &init).unwrap();
    let leader = vdaf.leader_finish(CTX, state, &answer).unwrap();
    unshard(vdaf.config(), &leader.encode(), &helper.encode(), 1, 0).unwrap()
}

/// The L1 distance.
fn distance(left: &[i128], right: &[i128]) -> u128 {
    left.iter().zip(right).map(|(left, right)| left.abs_diff(*right)).sum()
}

#[test]
fn sensitivity_is_the_largest_distance_between_any_two_reports() {
    let configs = small_configs();
    assert!(configs.len() > 35, "{}", configs.len());
    for config in configs {
        let vdaf = Vdaf::new(config).unwrap();
        let contributions: Vec<_> =
            measurements(&config).iter().map(|measurement| contribution(&vdaf, measurement)).collect();
        let pairs =
            contributions.iter().flat_map(|left| contributions.iter().map(move |right| (left, right)));
        let largest = pairs.map(|(left, right)| distance(left, right)).max().unwrap();
        assert_eq!(u128::from(config.l1_sensitivity()), largest, "{config:?}");
        let per_cell = contributions.iter().flatten().max().unwrap();
        assert_eq!(i128::from(config.max_per_cell()), *per_cell, "{config:?}");
    }
}

/// The enumeration above misses none: there are as many vectors of `length` cells with a sum of at most `max_value` as
/// ways to choose `length` things of `max_value + length`.
#[test]
fn all_measurements_are_tried() {
    for config in small_configs() {
        let tried = measurements(&config);
        let expected = match config {
            VdafConfig::Count => 2,
            VdafConfig::Histogram { length, .. } => u64::from(length),
            VdafConfig::L1BoundSum { length, max_value, .. } => {
                (1..=u64::from(length)).fold(1, |ways, cell| ways * (max_value + cell) / cell)
            }
        };
        assert_eq!(tried.len() as u64, expected, "{config:?}");
        for (index, measurement) in tried.iter().enumerate() {
            assert!(!tried[..index].contains(measurement), "{config:?}");
        }
    }
}

/// prio's own unsharding knows neither signs nor ranges and ignores the number of reports: noise of -3 comes back as a
/// number near 2^64, and so would any other nonsense. This test says so of the version in use, and that ours does better.
#[test]
fn unsharding_knows_signs_and_ranges_where_prio_does_not() {
    let prio3 = Prio3::new_count(2).unwrap();
    let p = Field64::modulus();
    let of_prio = |value: u64, reports| {
        let shares = [value, 0].map(|value| PrioShare::from(vec![Field64::from(value)]));
        prio3.unshard(&(), shares, reports).unwrap()
    };
    let ours = |value: u64, reports| {
        let share = |value: u64| value.to_le_bytes();
        unshard(&VdafConfig::Count, &share(value), &share(0), reports, 20)
    };
    assert_eq!((of_prio(p - 3, 1), ours(p - 3, 1)), (18_446_744_069_414_584_318, Ok(vec![-3])));
    // 21 yeses in one report, with noise of 20 at the most.
    assert_eq!((of_prio(21, 1), ours(21, 1)), (21, Ok(vec![21])));
    for reports in [0, 1, 1_000] {
        assert_eq!(of_prio(1_021, reports), 1_021);
        let refused = Err(VdafError::CellOutOfRange { cell: 0 });
        assert_eq!(ours(1_021, reports.try_into().unwrap()), refused, "{reports}");
    }
    assert_eq!(ours(1_021, 1_001), Ok(vec![1_021]));
}
