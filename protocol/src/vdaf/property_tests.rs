//! Properties of the whole path, from measurement to signed result, and of every
//! decoder on the way.

#![allow(clippy::unwrap_used)]

use super::*;
use prio::codec::{Encode, ParameterizedDecode};
use prio::field::{Field64, Field128, FieldElementWithInteger};
use prio::vdaf::prio3::{Prio3, Prio3InputShare, Prio3PublicShare};
use proptest::prelude::*;

const KEY: [u8; 32] = [3; 32];
const CTX: &[u8] = b"properties";

/// One report through both aggregators.
fn verify(vdaf: &Vdaf, nonce: [u8; 16], measurement: &Measurement) -> (OutputShare, OutputShare) {
    let report = vdaf.shard(CTX, measurement, &nonce).unwrap();
    let (state, init) =
        vdaf.leader_init(&KEY, CTX, &nonce, &report.public_share, &report.leader_share).unwrap();
    let (helper, answer) =
        vdaf.helper_init(&KEY, CTX, &nonce, &report.public_share, &report.helper_share, &init).unwrap();
    (vdaf.leader_finish(CTX, state, &answer).unwrap(), helper)
}

/// All reports through both aggregators; the encoded aggregate shares.
fn aggregate(vdaf: &Vdaf, measurements: &[Measurement]) -> [Vec<u8>; 2] {
    let mut sums = [AggregateShare::zero(vdaf.config()), AggregateShare::zero(vdaf.config())];
    for (index, measurement) in measurements.iter().enumerate() {
        let (leader, helper) = verify(vdaf, [u8::try_from(index).unwrap(); 16], measurement);
        sums[0].accumulate(&leader).unwrap();
        sums[1].accumulate(&helper).unwrap();
    }
    sums.map(|sum| sum.encode())
}

/// What a report adds, cell by cell.
fn cells(config: &VdafConfig, measurement: &Measurement) -> Vec<i128> {
    match measurement {
        Measurement::Count(value) => vec![i128::from(*value)],
        Measurement::Bucket(bucket) => {
            (0..config.output_len()).map(|cell| i128::from(cell == *bucket as usize)).collect()
        }
        Measurement::Vector(cells) => cells.iter().map(|cell| i128::from(*cell)).collect(),
    }
}

fn any_batch() -> impl Strategy<Value = (VdafConfig, Vec<Measurement>)> {
    let count = prop::collection::vec(any::<bool>().prop_map(Measurement::Count), 1..8)
        .prop_map(|batch| (VdafConfig::Count, batch));
    let histogram = (2_u32..24).prop_flat_map(|length| {
        let config = VdafConfig::histogram(length).unwrap();
        let batch = prop::collection::vec((0..length).prop_map(Measurement::Bucket), 1..6);
        (Just(config), batch)
    });
    let sum = (1_u32..8, prop_oneof![1_u64..20, Just(MAX_L1_VALUE)]).prop_flat_map(|(length, max)| {
        let config = VdafConfig::l1_bound_sum(length, max).unwrap();
        // Each cell takes a part of what is left of the bound, so sums up to it occur.
        let vector = prop::collection::vec(0_u64..=max, length as usize).prop_map(move |mut cells| {
            let mut left = max;
            for cell in &mut cells {
                *cell = (*cell).min(left);
                left -= *cell;
            }
            Measurement::Vector(cells)
        });
        (Just(config), prop::collection::vec(vector, 1..5))
    });
    prop_oneof![count, histogram, sum]
}

fn any_config() -> impl Strategy<Value = VdafConfig> {
    prop_oneof![
        Just(VdafConfig::Count),
        (2_u32..12).prop_map(|length| VdafConfig::histogram(length).unwrap()),
        (1_u32..12, 1_u64..100).prop_map(|(length, max)| VdafConfig::l1_bound_sum(length, max).unwrap()),
    ]
}

/// A share whose cells are these numbers modulo the field.
fn share(config: &VdafConfig, cells: &[i128]) -> AggregateShare {
    let noised = AggregateShare::zero(config).add_noise(cells).unwrap();
    AggregateShare::decode(config, &noised.encode()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sharding_verifying_and_unsharding_adds_up((config, batch) in any_batch()) {
        let vdaf = Vdaf::new(config).unwrap();
        let [leader, helper] = aggregate(&vdaf, &batch);
        let mut expected = vec![0; config.output_len()];
        for measurement in &batch {
            for (sum, cell) in expected.iter_mut().zip(cells(&config, measurement)) {
                *sum += cell;
            }
        }
        let reports = u64::try_from(batch.len()).unwrap();
        prop_assert_eq!(unshard(&config, &leader, &helper, reports, 0), Ok(expected));
    }

    #[test]
    fn input_shares_have_one_encoding((config, batch) in any_batch(), flip in any::<(usize, u8)>()) {
        let vdaf = Vdaf::new(config).unwrap();
        let mut report = vdaf.shard(CTX, &batch[0], &[1; 16]).unwrap();
        let lengths = [report.public_share.len(), report.leader_share.len(), report.helper_share.len()];
        prop_assert_eq!(lengths, [vdaf.public_share_len(), vdaf.leader_share_len(), vdaf.helper_share_len()]);
        prop_assert!(reencode(&config, &report).is_some_and(|again| same(&again, &report)));
        // A changed byte either does not decode or is kept as it is.
        let at = flip.0 % report.leader_share.len();
        report.leader_share[at] ^= flip.1;
        let again = reencode(&config, &report);
        prop_assert!(again.is_none_or(|again| same(&again, &report)));
    }

    #[test]
    fn mutated_configurations_never_change_meaning(config in any_config(), at in 0_usize..16, to in any::<u8>()) {
        let mut bytes = config.encode();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        if let Ok(decoded) = VdafConfig::decode(config.vdaf_type(), &bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
            prop_assert!(Vdaf::new(decoded).is_ok());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn mutated_aggregate_shares_never_change_meaning(
        config in any_config(),
        seed in any::<u64>(),
        at in any::<usize>(),
        to in prop_oneof![any::<u8>(), Just(0xff)],
    ) {
        let cells: Vec<i128> = (0..config.output_len()).map(|cell| i128::from(seed >> (cell % 64 + 1))).collect();
        let mut bytes = share(&config, &cells).encode();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(decoded) = AggregateShare::decode(&config, &bytes) {
            prop_assert_eq!(decoded.encode(), bytes.clone());
            prop_assert_eq!(decoded.len(), config.output_len());
        }
        bytes.push(0);
        prop_assert!(AggregateShare::decode(&config, &bytes).unwrap_err().is_malformed());
        bytes.truncate(bytes.len() - 2);
        prop_assert!(AggregateShare::decode(&config, &bytes).unwrap_err().is_malformed());
    }

    #[test]
    fn noise_is_added_exactly(
        config in any_config(),
        pairs in prop::collection::vec((0_i64..1000, -1_000_000_i64..1_000_000), 12),
    ) {
        let pairs = &pairs[..config.output_len()];
        let exact: Vec<i128> = pairs.iter().map(|pair| pair.0.into()).collect();
        let noise: Vec<i128> = pairs.iter().map(|pair| pair.1.into()).collect();
        let noised = share(&config, &exact).add_noise(&noise).unwrap();
        let zero = AggregateShare::zero(&config).encode();
        let expected: Vec<i128> = exact.iter().zip(&noise).map(|(cell, term)| cell + term).collect();
        prop_assert_eq!(unshard(&config, &noised.encode(), &zero, 1000, 1_000_000), Ok(expected));
    }
}

fn same(left: &Sharded, right: &Sharded) -> bool {
    (&left.public_share, &left.leader_share, &left.helper_share)
        == (&right.public_share, &right.leader_share, &right.helper_share)
}

/// Decodes and encodes again by prio, with the parameters of `config`.
fn reencode(config: &VdafConfig, report: &Sharded) -> Option<Sharded> {
    macro_rules! reencode {
        ($prio3:expr) => {{
            let prio3 = $prio3.unwrap();
            let public = Prio3PublicShare::get_decoded_with_param(&prio3, &report.public_share).ok()?;
            let leader = Prio3InputShare::get_decoded_with_param(&(&prio3, 0), &report.leader_share).ok()?;
            let helper = Prio3InputShare::get_decoded_with_param(&(&prio3, 1), &report.helper_share).ok()?;
            Some(Sharded {
                public_share: public.get_encoded().unwrap(),
                leader_share: leader.get_encoded().unwrap(),
                helper_share: helper.get_encoded().unwrap(),
            })
        }};
    }
    match *config {
        VdafConfig::Count => reencode!(Prio3::new_count(2)),
        VdafConfig::Histogram { length, chunk_length } => {
            reencode!(Prio3::new_histogram(2, length as usize, chunk_length as usize))
        }
        VdafConfig::L1BoundSum { length, max_value, chunk_length } => {
            reencode!(Prio3::new_l1_bound_sum(2, max_value.into(), length as usize, chunk_length as usize))
        }
    }
}

#[test]
fn what_does_not_decode_is_malformed_and_names_its_part() {
    let vdaf = Vdaf::new(VdafConfig::histogram(4).unwrap()).unwrap();
    let nonce = [5; 16];
    let report = vdaf.shard(CTX, &Measurement::Bucket(3), &nonce).unwrap();
    let (public, leader, helper) = (&report.public_share, &report.leader_share, &report.helper_share);
    let (state, init) = vdaf.leader_init(&KEY, CTX, &nonce, public, leader).unwrap();
    let (_, answer) = vdaf.helper_init(&KEY, CTX, &nonce, public, helper, &init).unwrap();
    let longer = |bytes: &[u8]| [bytes, &[0]].concat();
    let shorter = |bytes: &[u8]| bytes[..bytes.len() - 1].to_vec();
    let malformed = |error: VdafError, part| {
        assert!(error.is_malformed());
        assert_eq!(error, VdafError::Malformed(part));
    };

    let mut not_an_element = leader.clone();
    not_an_element[..16].fill(0xff);
    for wrong in [vec![], longer(leader), shorter(leader), helper.clone(), not_an_element] {
        malformed(vdaf.leader_init(&KEY, CTX, &nonce, public, &wrong).unwrap_err(), Part::InputShare);
    }
    for wrong in [vec![], longer(public), shorter(public)] {
        malformed(vdaf.leader_init(&KEY, CTX, &nonce, &wrong, leader).unwrap_err(), Part::PublicShare);
        let outcome = vdaf.helper_init(&KEY, CTX, &nonce, &wrong, helper, &init);
        malformed(outcome.unwrap_err(), Part::PublicShare);
    }
    for wrong in [vec![], longer(helper), shorter(helper), leader.clone()] {
        let outcome = vdaf.helper_init(&KEY, CTX, &nonce, public, &wrong, &init);
        malformed(outcome.unwrap_err(), Part::InputShare);
    }
    // Truncated, too long, of an unknown kind, of the wrong kind, and well framed but too short inside.
    let unknown = [&[3][..], &init[1..]].concat();
    let short_share = [0, 0, 0, 0, 1, 7];
    for wrong in [vec![], longer(&init), shorter(&init), unknown, answer.clone(), short_share.to_vec()] {
        let outcome = vdaf.helper_init(&KEY, CTX, &nonce, public, helper, &wrong);
        malformed(outcome.unwrap_err(), Part::Message);
    }
    let continued = [&[1][..], &answer[1..], &[0, 0, 0, 0]].concat();
    for wrong in [vec![], longer(&answer), shorter(&answer), init.clone(), continued, vec![2, 0, 0, 0, 1, 7]]
    {
        let outcome = vdaf.leader_finish(CTX, state.clone(), &wrong);
        malformed(outcome.unwrap_err(), Part::Message);
    }
    assert!(vdaf.leader_finish(CTX, state, &answer).is_ok());
}

#[test]
fn shares_accumulate_and_merge() {
    let config = VdafConfig::histogram(3).unwrap();
    let vdaf = Vdaf::new(config).unwrap();
    let outputs: Vec<_> =
        (0..3).map(|bucket| verify(&vdaf, [9; 16], &Measurement::Bucket(bucket)).0).collect();
    let sum = |outputs: &[OutputShare]| {
        let mut sum = AggregateShare::zero(&config);
        for output in outputs {
            sum.accumulate(output).unwrap();
        }
        sum
    };
    let all = sum(&outputs);
    let mut merged = sum(&outputs[..1]);
    merged.merge(&sum(&outputs[1..])).unwrap();
    assert_eq!(merged, all);
    assert_ne!(merged, sum(&outputs[..2]));
    assert_eq!(AggregateShare::decode(&config, &all.encode()), Ok(all));
}

#[test]
fn shares_of_different_configurations_do_not_mix() {
    let configs =
        [VdafConfig::Count, VdafConfig::histogram(2).unwrap(), VdafConfig::l1_bound_sum(3, 3).unwrap()];
    for left in &configs {
        for right in configs.iter().filter(|right| *right != left) {
            let mut share = AggregateShare::zero(left);
            assert_eq!(share.merge(&AggregateShare::zero(right)), Err(VdafError::ConfigMismatch));
            assert_eq!(share, AggregateShare::zero(left));
        }
    }
}

#[test]
fn noise_must_fit_the_share_and_the_field() {
    let half = i128::from(Field64::modulus() / 2);
    let add = |noise: &[i128]| AggregateShare::zero(&VdafConfig::Count).add_noise(noise);
    assert!(add(&[half]).is_ok() && add(&[-half]).is_ok());
    for wrong in [half + 1, -half - 1, i128::MAX, i128::MIN] {
        assert_eq!(add(&[wrong]), Err(VdafError::NoiseTooLarge { cell: 0 }));
    }
    assert_eq!(add(&[]), Err(VdafError::NoiseLength { got: 0, want: 1 }));
    assert_eq!(add(&[1, 1]), Err(VdafError::NoiseLength { got: 2, want: 1 }));

    let config = VdafConfig::histogram(2).unwrap();
    let add = |noise: &[i128]| AggregateShare::zero(&config).add_noise(noise);
    let half = i128::try_from(Field128::modulus() / 2).unwrap();
    let both = add(&[half, -half]).unwrap().encode();
    let expected = [half.to_le_bytes(), (half + 1).to_le_bytes()].concat();
    assert_eq!(both, expected, "p - half is half + 1");
    assert_eq!(add(&[0, half + 1]), Err(VdafError::NoiseTooLarge { cell: 1 }));
    assert_eq!(add(&[0, i128::MIN]), Err(VdafError::NoiseTooLarge { cell: 1 }));
}

#[test]
fn debug_prints_no_share() {
    let config = VdafConfig::histogram(2).unwrap();
    let sum = share(&config, &[1234, 5678]);
    let output = OutputShare::new(&[Field128::from(1234)]);
    let noised = share(&config, &[1234, 5678]).add_noise(&[0, 0]).unwrap();
    let vdaf = Vdaf::new(config).unwrap();
    let report = vdaf.shard(CTX, &Measurement::Bucket(1), &[0; 16]).unwrap();
    let (state, _) =
        vdaf.leader_init(&KEY, CTX, &[0; 16], &report.public_share, &report.leader_share).unwrap();
    let text = format!("{sum:?} {output:?} {noised:?} {vdaf:?} {state:?}");
    assert!(!text.contains("1234") && !text.contains("5678"), "{text}");
    assert!(text.contains("AggregateShare { len: 2, .. }"), "{text}");
}

#[test]
fn a_vdaf_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Vdaf>();
    sent::<LeaderState>();
    sent::<OutputShare>();
    sent::<Noised<AggregateShare>>();
}
