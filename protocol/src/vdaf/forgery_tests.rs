//! Dishonest clients against Prio3L1BoundSum.
//!
//! No published vector is negative for this VDAF, so these tests make their own: a
//! client that encodes what it likes, proves it as well as anyone can, and shards it
//! by prio. What verification accepts tells which bound it enforces.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use super::*;
use prio::codec::Encode;
use prio::field::{Field128, FieldElement};
use prio::flp::gadgets::{Mul, ParallelSum};
use prio::flp::types::L1BoundSum;
use prio::flp::{Flp, FlpError, Gadget, Type};
use prio::vdaf::Client;
use prio::vdaf::prio3::Prio3;
use prio::vdaf::xof::XofTurboShake128;

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 16] = [8; 16];
const CTX: &[u8] = b"forgery";

/// L1BoundSum's circuit with a client that skips the encoding: its measurement is
/// the vector of field elements that an honest client would have computed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Raw(L1BoundSum<Field128, ParallelSum<Field128, Mul>>);

impl Flp for Raw {
    type Field = Field128;

    fn gadget(&self) -> Vec<Box<dyn Gadget<Field128>>> {
        self.0.gadget()
    }
    fn num_gadgets(&self) -> usize {
        self.0.num_gadgets()
    }
    fn valid(
        &self,
        gadgets: &mut Vec<Box<dyn Gadget<Field128>>>,
        input: &[Field128],
        joint_rand: &[Field128],
        num_shares: usize,
    ) -> Result<Vec<Field128>, FlpError> {
        self.0.valid(gadgets, input, joint_rand, num_shares)
    }
    fn input_len(&self) -> usize {
        self.0.input_len()
    }
    fn proof_len(&self) -> usize {
        self.0.proof_len()
    }
    fn verifier_len(&self) -> usize {
        self.0.verifier_len()
    }
    fn joint_rand_len(&self) -> usize {
        self.0.joint_rand_len()
    }
    fn eval_output_len(&self) -> usize {
        self.0.eval_output_len()
    }
    fn prove_rand_len(&self) -> usize {
        self.0.prove_rand_len()
    }
}

impl Type for Raw {
    type Measurement = Vec<Field128>;
    type AggregateResult = Vec<u128>;

    fn encode_measurement(&self, measurement: &Vec<Field128>) -> Result<Vec<Field128>, FlpError> {
        Ok(measurement.clone())
    }
    fn truncate(&self, input: Vec<Field128>) -> Result<Vec<Field128>, FlpError> {
        self.0.truncate(input)
    }
    fn decode_result(&self, data: &[Field128], num_measurements: usize) -> Result<Vec<u128>, FlpError> {
        self.0.decode_result(data, num_measurements)
    }
    fn output_len(&self) -> usize {
        self.0.output_len()
    }
}

/// Shards raw elements as a dishonest client would.
fn forge(config: VdafConfig, elements: &[i64]) -> Sharded {
    let VdafConfig::L1BoundSum { length, max_value, chunk_length } = config else { panic!("{config:?}") };
    let circuit = Raw(L1BoundSum::new(max_value.into(), length as usize, chunk_length as usize).unwrap());
    let client = Prio3::<Raw, XofTurboShake128, 32>::new(2, 1, config.vdaf_type(), circuit).unwrap();
    let elements = elements.iter().map(|element| field(*element)).collect();
    let (public, inputs) = client.shard(CTX, &elements, &NONCE).unwrap();
    Sharded {
        public_share: public.get_encoded().unwrap(),
        leader_share: inputs[0].get_encoded().unwrap(),
        helper_share: inputs[1].get_encoded().unwrap(),
    }
}

fn field(integer: i64) -> Field128 {
    let absolute = Field128::from(u128::from(integer.unsigned_abs()));
    if integer < 0 { -absolute } else { absolute }
}

/// Verifies by both aggregators and adds up the result of the single report. Signs are
/// kept and no range is checked, so that a forgery that passes would show as it is.
fn verify(config: VdafConfig, report: &Sharded) -> Result<Vec<i128>, VdafError> {
    let vdaf = Vdaf::new(config).unwrap();
    let (state, init) = vdaf.leader_init(&KEY, CTX, &NONCE, &report.public_share, &report.leader_share)?;
    let (helper, answer) =
        vdaf.helper_init(&KEY, CTX, &NONCE, &report.public_share, &report.helper_share, &init)?;
    let leader = vdaf.leader_finish(CTX, state, &answer)?;
    unshard(&config, &leader.encode(), &helper.encode(), 1, 1 << 60)
}

fn rejected_by_proof(outcome: &Result<Vec<i128>, VdafError>) -> bool {
    matches!(outcome, Err(VdafError::Rejected { step: Step::VerifierSharesToMessage, .. }))
}

#[test]
fn no_encoding_exceeds_max_value() {
    // All ones is the largest encoding. For every bound, powers of two or not, it is
    // accepted and counts exactly max_value: the bound is not rounded up to 2^n - 1.
    for max_value in 1..=17 {
        let config = VdafConfig::l1_bound_sum(2, max_value).unwrap();
        assert_eq!(config.enforced_max(), max_value);
        let bits = (u64::BITS - max_value.leading_zeros()) as usize;
        let elements = [vec![1; bits], vec![0; bits], vec![1; bits]].concat();
        let result = verify(config, &forge(config, &elements));
        assert_eq!(result, Ok(vec![i128::from(max_value), 0]), "max_value {max_value}");
    }
}

#[test]
fn every_bit_pattern_stays_within_the_bound() {
    // max_value 5: three elements of weights 1, 2 and 2.
    let config = VdafConfig::l1_bound_sum(1, 5).unwrap();
    let mut values = std::collections::BTreeSet::new();
    for pattern in 0..8_i64 {
        let bits = [pattern & 1, pattern >> 1 & 1, pattern >> 2];
        let result = verify(config, &forge(config, &[bits, bits].concat())).unwrap();
        values.insert(result[0]);
    }
    assert_eq!(values.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn forged_vectors_are_rejected_by_the_proof() {
    // max_value 5, weights 1, 2, 2; three cells, then the claimed weight.
    let config = VdafConfig::l1_bound_sum(3, 5).unwrap();
    let (zero, one, five) = ([0, 0, 0], [1, 0, 0], [1, 1, 1]);
    let honest = [one, zero, [0, 1, 1], five].concat();
    assert_eq!(verify(config, &forge(config, &honest)), Ok(vec![1, 0, 4]), "the control");

    let cases = [
        ("cells add up to more than the claimed weight", [five, five, zero, five]),
        ("cells add up to less than the claimed weight", [one, zero, zero, five]),
        ("a claimed weight beyond the bound", [five, five, zero, [0, 0, 5]]),
        ("a cell and a weight of 6 by elements that are not bits", [[2, 2, 0], zero, zero, [2, 2, 0]]),
        ("a 5 in one element", [[5, 0, 0], zero, zero, five]),
        ("a negative cell", [[-1, 0, 0], zero, zero, [-1, 0, 0]]),
        ("a negative cell hidden by a positive one", [five, [-5, 0, 0], zero, zero]),
        ("a huge cell cancelled by its negative", [[1 << 62, 0, 0], [-(1 << 62), 0, 0], zero, zero]),
        ("elements that cancel within one cell", [[-2, 1, 0], zero, zero, zero]),
    ];
    for (name, cells) in cases {
        let outcome = verify(config, &forge(config, &cells.concat()));
        assert!(rejected_by_proof(&outcome), "{name}: {outcome:?}");
        assert!(!outcome.unwrap_err().is_malformed(), "{name}");
    }
}

#[test]
fn the_sum_of_two_honest_shares_is_no_share() {
    // Shares are additive, proofs are not: adding a null report's leader share to
    // another's must not yield a second report that passes.
    let config = VdafConfig::l1_bound_sum(3, 5).unwrap();
    let vdaf = Vdaf::new(config).unwrap();
    let shard = |cells: [u64; 3]| vdaf.shard(CTX, &Measurement::Vector(cells.to_vec()), &NONCE).unwrap();
    let (first, null) = (shard([0, 5, 0]), shard([0, 0, 0]));
    assert_eq!(verify(config, &first), Ok(vec![0, 5, 0]), "the control");

    let elements = (first.leader_share.len() - 32) / 16;
    let mut sum = first.clone();
    for index in 0..elements {
        let range = 16 * index..16 * (index + 1);
        let element = |share: &Sharded| Field128::try_from(&share.leader_share[range.clone()]).unwrap();
        let added: Vec<u8> = (element(&first) + element(&null)).into();
        sum.leader_share[range].copy_from_slice(&added);
    }
    assert!(matches!(verify(config, &sum), Err(VdafError::Rejected { .. })));
}

#[test]
fn tampered_reports_are_rejected() {
    for (config, measurement) in [
        (VdafConfig::Count, Measurement::Count(true)),
        (VdafConfig::histogram(4).unwrap(), Measurement::Bucket(2)),
        (VdafConfig::l1_bound_sum(3, 5).unwrap(), Measurement::Vector(vec![1, 0, 4])),
    ] {
        let honest = Vdaf::new(config).unwrap().shard(CTX, &measurement, &NONCE).unwrap();
        assert!(verify(config, &honest).is_ok(), "the control");
        // The lowest bit of each share's first element, its last byte and one in between.
        for at in [0, honest.leader_share.len() / 32 * 16, honest.leader_share.len() - 1] {
            let mut report = honest.clone();
            report.leader_share[at] ^= 1;
            assert!(verify(config, &report).is_err(), "{config:?} leader byte {at}");
        }
        for at in 0..honest.helper_share.len() {
            let mut report = honest.clone();
            report.helper_share[at] ^= 1;
            assert!(matches!(verify(config, &report), Err(VdafError::Rejected { .. })), "helper byte {at}");
        }
        for at in 0..honest.public_share.len() {
            let mut report = honest.clone();
            report.public_share[at] ^= 1;
            assert!(matches!(verify(config, &report), Err(VdafError::Rejected { .. })), "public byte {at}");
        }
    }
}

#[test]
fn a_report_is_bound_to_key_nonce_and_context() {
    let config = VdafConfig::histogram(4).unwrap();
    let vdaf = Vdaf::new(config).unwrap();
    let report = vdaf.shard(CTX, &Measurement::Bucket(1), &NONCE).unwrap();
    let (public, leader, helper) = (&report.public_share, &report.leader_share, &report.helper_share);
    let (state, init) = vdaf.leader_init(&KEY, CTX, &NONCE, public, leader).unwrap();

    let rejected = |outcome: Result<_, VdafError>| {
        assert!(matches!(outcome.map(|(share, _): (OutputShare, _)| share), Err(VdafError::Rejected { .. })));
    };
    rejected(vdaf.helper_init(&[9; 32], CTX, &NONCE, public, helper, &init));
    rejected(vdaf.helper_init(&KEY, b"other task", &NONCE, public, helper, &init));
    rejected(vdaf.helper_init(&KEY, CTX, &[9; 16], public, helper, &init));

    let (_, answer) = vdaf.helper_init(&KEY, CTX, &NONCE, public, helper, &init).unwrap();
    let mut wrong = answer.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert!(matches!(
        vdaf.leader_finish(CTX, state.clone(), &wrong),
        Err(VdafError::Rejected { step: Step::VerifyNext, .. })
    ));
    let other = Vdaf::new(VdafConfig::histogram(5).unwrap()).unwrap();
    assert_eq!(other.leader_finish(CTX, state.clone(), &answer), Err(VdafError::ConfigMismatch));
    assert!(vdaf.leader_finish(CTX, state, &answer).is_ok());
}

#[test]
fn field_helper_is_modular() {
    assert_eq!(field(-1) + field(1), Field128::zero());
}
