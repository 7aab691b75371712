//! The drafts' test vectors through our dispatch and our encodings.
//!
//! A vector is a list of operations with an expected outcome. We run it by the
//! ping-pong topology: `helper_init` combines the helper's `verify_init`,
//! `verifier_shares_to_message` and the helper's `verify_next`, so an operation that
//! must fail is compared with the step our error names.

#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::Value;
use std::collections::HashMap;

const COUNT: [&str; 7] = [
    include_str!("../../vectors/vdaf-18/Prio3Count_0.json"),
    include_str!("../../vectors/vdaf-18/Prio3Count_1.json"),
    include_str!("../../vectors/vdaf-18/Prio3Count_2.json"),
    include_str!("../../vectors/vdaf-18/Prio3Count_bad_gadget_poly.json"),
    include_str!("../../vectors/vdaf-18/Prio3Count_bad_helper_seed.json"),
    include_str!("../../vectors/vdaf-18/Prio3Count_bad_meas_share.json"),
    include_str!("../../vectors/vdaf-18/Prio3Count_bad_wire_seed.json"),
];

const HISTOGRAM: [&str; 7] = [
    include_str!("../../vectors/vdaf-18/Prio3Histogram_0.json"),
    include_str!("../../vectors/vdaf-18/Prio3Histogram_1.json"),
    include_str!("../../vectors/vdaf-18/Prio3Histogram_2.json"),
    include_str!("../../vectors/vdaf-18/Prio3Histogram_bad_helper_jr_blind.json"),
    include_str!("../../vectors/vdaf-18/Prio3Histogram_bad_leader_jr_blind.json"),
    include_str!("../../vectors/vdaf-18/Prio3Histogram_bad_public_share.json"),
    include_str!("../../vectors/vdaf-18/Prio3Histogram_bad_verifier_message.json"),
];

const L1_BOUND_SUM: [&str; 1] = [include_str!("../../vectors/l1-bound-sum-01/Prio3L1BoundSum_0.json")];

/// What was run, so that a vector skipped by mistake shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    skipped_not_two_aggregators: usize,
    positive: usize,
    negative: usize,
    reports: usize,
    operations: usize,
}

#[test]
fn prio3_count_vectors() {
    let tally = run_all(&COUNT, |_| VdafConfig::Count);
    assert_eq!(
        tally,
        Tally { skipped_not_two_aggregators: 1, positive: 2, negative: 4, reports: 10, operations: 54 }
    );
}

#[test]
fn prio3_histogram_vectors() {
    let tally = run_all(&HISTOGRAM, |vector| VdafConfig::Histogram {
        length: number(&vector["length"]),
        chunk_length: number(&vector["chunk_length"]),
    });
    assert_eq!(
        tally,
        Tally { skipped_not_two_aggregators: 1, positive: 2, negative: 4, reports: 15, operations: 83 }
    );
}

#[test]
fn prio3_l1_bound_sum_vectors() {
    let tally = run_all(&L1_BOUND_SUM, |vector| VdafConfig::L1BoundSum {
        length: number(&vector["length"]),
        max_value: number(&vector["max_value"]),
        chunk_length: number(&vector["chunk_length"]),
    });
    assert_eq!(
        tally,
        Tally { skipped_not_two_aggregators: 0, positive: 1, negative: 0, reports: 5, operations: 33 }
    );
}

fn run_all(vectors: &[&str], config: impl Fn(&Value) -> VdafConfig) -> Tally {
    let mut tally = Tally::default();
    for text in vectors {
        let vector: Value = serde_json::from_str(text).unwrap();
        if vector["shares"] != 2 {
            tally.skipped_not_two_aggregators += 1;
            continue;
        }
        let config = config(&vector);
        // The task's own encoding must be able to carry the vector's parameters.
        assert_eq!(VdafConfig::decode(config.vdaf_type(), &config.encode()), Ok(config));
        let mut runner = Runner::new(config, &vector);
        let mut failures = 0;
        for operation in vector["operations"].as_array().unwrap() {
            runner.run(operation);
            failures += usize::from(operation["success"] == false);
            tally.operations += 1;
        }
        match failures {
            0 => tally.positive += 1,
            _ => tally.negative += 1,
        }
        tally.reports += vector["reports"].as_array().unwrap().len();
    }
    tally
}

struct Runner<'a> {
    vector: &'a Value,
    vdaf: Vdaf,
    verify_key: [u8; 32],
    ctx: Vec<u8>,
    leader_states: HashMap<usize, LeaderState>,
    helper_outcomes: HashMap<usize, Result<OutputShare, VdafError>>,
    output_shares: [Vec<OutputShare>; 2],
    aggregates: [Option<AggregateShare>; 2],
}

impl<'a> Runner<'a> {
    fn new(config: VdafConfig, vector: &'a Value) -> Self {
        Self {
            vector,
            vdaf: Vdaf::new(config).unwrap(),
            verify_key: bytes(&vector["verify_key"]).try_into().unwrap(),
            ctx: bytes(&vector["ctx"]),
            leader_states: HashMap::new(),
            helper_outcomes: HashMap::new(),
            output_shares: [Vec::new(), Vec::new()],
            aggregates: [None, None],
        }
    }

    fn run(&mut self, operation: &Value) {
        let success = operation["success"].as_bool().unwrap();
        let index = || number::<usize>(&operation["report_index"]);
        let aggregator = || number::<usize>(&operation["aggregator_id"]);
        match operation["operation"].as_str().unwrap() {
            "shard" => self.shard(index()),
            "verify_init" if aggregator() == 0 => self.leader_init(index(), success),
            "verify_init" => self.helper_init(index(), success),
            "verifier_shares_to_message" => self.combined(index(), success),
            "verify_next" if aggregator() == 0 => self.leader_finish(index(), success),
            "verify_next" => self.helper_finish(index(), success),
            "aggregate" => self.aggregate(aggregator(), success),
            "unshard" => self.unshard(success),
            other => panic!("unknown operation {other}"),
        }
    }

    /// prio's public API cannot shard with given randomness, so sharding is checked by
    /// its result: the shares have our lengths and the measurement is one we would take.
    fn shard(&self, index: usize) {
        let report = &self.vector["reports"][index];
        assert_eq!(bytes(&report["public_share"]).len(), self.vdaf.public_share_len());
        assert_eq!(bytes(&report["input_shares"][0]).len(), self.vdaf.leader_share_len());
        assert_eq!(bytes(&report["input_shares"][1]).len(), self.vdaf.helper_share_len());
        let measurement = match self.vdaf.config() {
            VdafConfig::Count => Measurement::Count(report["measurement"] == 1),
            VdafConfig::Histogram { .. } => Measurement::Bucket(number(&report["measurement"])),
            VdafConfig::L1BoundSum { .. } => {
                Measurement::Vector(report["measurement"].as_array().unwrap().iter().map(number).collect())
            }
        };
        let nonce = bytes(&report["nonce"]).try_into().unwrap();
        let ours = self.vdaf.shard(&self.ctx, &measurement, &nonce).unwrap();
        assert_eq!(ours.public_share.len(), self.vdaf.public_share_len());
        assert_eq!(ours.leader_share.len(), self.vdaf.leader_share_len());
        assert_eq!(ours.helper_share.len(), self.vdaf.helper_share_len());
    }

    fn leader_init(&mut self, index: usize, success: bool) {
        assert!(success, "no vector fails here");
        let report = &self.vector["reports"][index];
        let (state, message) = self
            .vdaf
            .leader_init(
                &self.verify_key,
                &self.ctx,
                &bytes(&report["nonce"]).try_into().unwrap(),
                &bytes(&report["public_share"]),
                &bytes(&report["input_shares"][0]),
            )
            .unwrap();
        assert_eq!(message, initialize(&bytes(&report["verifier_shares"][0][0])));
        self.leader_states.insert(index, state);
    }

    fn helper_init(&mut self, index: usize, success: bool) {
        assert!(success, "no vector fails here");
        let report = &self.vector["reports"][index];
        let outcome = self.vdaf.helper_init(
            &self.verify_key,
            &self.ctx,
            &bytes(&report["nonce"]).try_into().unwrap(),
            &bytes(&report["public_share"]),
            &bytes(&report["input_shares"][1]),
            &initialize(&bytes(&report["verifier_shares"][0][0])),
        );
        let outcome = outcome.map(|(output_share, message)| {
            assert_eq!(message, finish(&bytes(&report["verifier_messages"][0])));
            output_share
        });
        self.helper_outcomes.insert(index, outcome);
    }

    fn combined(&self, index: usize, success: bool) {
        let failed_here = matches!(
            self.helper_outcomes[&index],
            Err(VdafError::Rejected { step: Step::VerifierSharesToMessage, .. })
        );
        assert_eq!(failed_here, !success, "{:?}", self.helper_outcomes[&index]);
    }

    fn leader_finish(&mut self, index: usize, success: bool) {
        let report = &self.vector["reports"][index];
        let state = self.leader_states.remove(&index).unwrap();
        let outcome =
            self.vdaf.leader_finish(&self.ctx, state, &finish(&bytes(&report["verifier_messages"][0])));
        if success {
            self.take_output_share(0, index, outcome.unwrap());
        } else {
            let error = outcome.unwrap_err();
            assert!(matches!(error, VdafError::Rejected { step: Step::VerifyNext, .. }), "{error}");
        }
    }

    fn helper_finish(&mut self, index: usize, success: bool) {
        assert!(success, "no vector fails here");
        let output_share = self.helper_outcomes.remove(&index).unwrap().unwrap();
        self.take_output_share(1, index, output_share);
    }

    fn take_output_share(&mut self, aggregator: usize, index: usize, share: OutputShare) {
        let expected = &self.vector["reports"][index]["out_shares"][aggregator];
        assert_eq!(share.encode(), bytes(expected));
        self.output_shares[aggregator].push(share);
    }

    fn aggregate(&mut self, aggregator: usize, success: bool) {
        assert!(success, "no vector fails here");
        let mut sum = AggregateShare::zero(self.vdaf.config());
        for share in &self.output_shares[aggregator] {
            sum.accumulate(share).unwrap();
        }
        let expected = bytes(&self.vector["agg_shares"][aggregator]);
        assert_eq!(sum.encode(), expected);
        assert_eq!(AggregateShare::decode(self.vdaf.config(), &expected), Ok(sum.clone()));
        self.aggregates[aggregator] = Some(sum);
    }

    fn unshard(&self, success: bool) {
        assert!(success, "no vector fails here");
        let [leader, helper] = self.aggregates.each_ref().map(|share| share.as_ref().unwrap().encode());
        let reports = self.output_shares[0].len().try_into().unwrap();
        let result = unshard(self.vdaf.config(), &leader, &helper, reports, 0).unwrap();
        let expected: Vec<i128> = match &self.vector["agg_result"] {
            Value::Array(cells) => cells.iter().map(number).collect(),
            single => vec![number(single)],
        };
        assert_eq!(result, expected);
    }
}

/// The framing of VDAF-18 section 5.7.1: a type and length-prefixed fields.
fn initialize(verifier_share: &[u8]) -> Vec<u8> {
    frame(0, verifier_share)
}

fn finish(verifier_message: &[u8]) -> Vec<u8> {
    frame(2, verifier_message)
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn number<T: TryFrom<u64>>(value: &Value) -> T
where
    T::Error: std::fmt::Debug,
{
    value.as_u64().unwrap().try_into().unwrap()
}
