//! Neighbours: two worlds that differ in what one device's reports say, and in nothing else.
//!
//! Differential privacy is a statement about noise on sums that are close. It holds if nothing but those sums depends on
//! what reports say: not how often noise is drawn, not its scale, not whether a batch is refused, what a refusal
//! says, what is charged. So both aggregators' stores and the gate go through the same requests in both worlds, with a
//! source of noise that writes down what it is asked. The two records must be equal, and what the noise is added to
//! must differ by no more than the sensitivity.

use super::*;
use crate::privacy::gate::{self, Envelope};
use crate::privacy::ledger::Epoch;
use crate::privacy::noise::{NoiseError, NoiseSource, Scale};
use crate::store::{CollectedBatch, HelperStore as _, PreparedJob};
use arras_protocol::collection::open_and_unshard;
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{CollectionJobReq, CollectionJobResp, HpkeCiphertext, HpkeConfig, Role};
use arras_protocol::vdaf::{Measurement, unshard};

const VERIFY_KEY: [u8; 32] = [9; 32];
const CTX: &[u8] = b"neighbours";

/// Six reports in each of the hours 0 and 1.
const REPORTS: u32 = 12;

/// No sum of the fixed noise gets this far.
const SLACK: u128 = 1_000;

/// Writes down what it is asked and answers with the same numbers in each world.
struct Recording {
    asked: Vec<Scale>,
    drawn: Vec<i128>,
    /// Fails from this draw on.
    fails_at: usize,
}

impl Recording {
    fn new(fails_at: usize) -> Self {
        Self { asked: Vec::new(), drawn: Vec::new(), fails_at }
    }
}

impl NoiseSource for Recording {
    fn discrete_laplace(&mut self, scale: &Scale) -> Result<i128, NoiseError> {
        let turn = self.asked.len();
        self.asked.push(scale.clone());
        if turn >= self.fails_at {
            return Err(NoiseError::OutOfRange);
        }
        let value = i128::try_from(turn * 37 % 83).unwrap() - 41;
        self.drawn.push(value);
        Ok(value)
    }
}

/// What a request brought about at one aggregator, apart from the sum and what was sealed of it.
#[derive(Debug, PartialEq)]
struct Record {
    /// In words: a refusal as the peer reads it, or how many bytes were sealed.
    outcome: String,
    /// What noise was drawn, in order.
    asked: Vec<Scale>,
    /// Of the budget, afterwards.
    spent: u64,
    /// Reports, checksum, interval of the batch, if there is one.
    batch: Option<(u64, [u8; 32], Interval)>,
}

/// A request and the circumstances.
struct Request {
    window: Interval,
    key: u8,
    epsilon: u32,
    cap: u64,
    /// What the peer counted, if it is wrong.
    peer: Option<u64>,
    fails_at: usize,
}

const COST: u64 = EPSILON as u64;
const NEVER: usize = usize::MAX;

/// Each way to be refused, then a release, then asking again.
fn requests() -> Vec<Request> {
    let good =
        || Request { window: hours(0, 2), key: 1, epsilon: EPSILON, cap: COST, peer: None, fails_at: NEVER };
    vec![
        // Too few.
        Request { window: hours(0, 1), ..good() },
        // The aggregators disagree.
        Request { peer: Some(11), ..good() },
        // No budget.
        Request { cap: COST - 1, ..good() },
        // Charged, but there is no noise: not from the first draw on, ...
        Request { fails_at: 0, ..good() },
        // ... not for the last cell of two or more, ...
        Request { fails_at: 1, ..good() },
        // ... and not under other terms.
        Request { epsilon: 2 * EPSILON, cap: 2 * COST, ..good() },
        good(),
        // Collected.
        Request { key: 2, ..good() },
    ]
}

/// What both aggregators made of all requests.
struct Trace {
    records: Vec<[Record; 2]>,
    /// What the noise was added to, in the clear.
    exact: Vec<i128>,
    /// What the collector reads, without what was drawn.
    released: Vec<i128>,
}

/// The output shares of a report, of the leader and of the helper.
fn output_shares(task: &Task, key: &ReportKey, measurement: &Measurement) -> [AggregateShare; 2] {
    let (vdaf, nonce) = (task.vdaf(), key.report_id.as_bytes());
    let report = vdaf.shard(CTX, measurement, nonce).unwrap();
    let (state, init) =
        vdaf.leader_init(&VERIFY_KEY, CTX, nonce, &report.public_share, &report.leader_share).unwrap();
    let (helper, answer) =
        vdaf.helper_init(&VERIFY_KEY, CTX, nonce, &report.public_share, &report.helper_share, &init).unwrap();
    let leader = vdaf.leader_finish(CTX, state, &answer).unwrap();
    [leader, helper].map(|share| {
        let mut sum = AggregateShare::zero(vdaf.config());
        sum.accumulate(&share).unwrap();
        sum
    })
}

/// What an aggregator adds up for reports, each with its own share.
fn shares_summed(task: &Task, reports: &BTreeMap<ReportId, AggregateShare>, keys: &[ReportKey]) -> JobSums {
    let mut sums = sums(task, keys);
    for (time, bucket) in &mut sums.buckets {
        bucket.share = AggregateShare::zero(task.vdaf().config());
        for key in keys.iter().filter(|key| key.time == *time) {
            bucket.share.merge(&reports[&key.report_id]).unwrap();
        }
    }
    sums
}

/// Both stores with these reports aggregated.
fn aggregated(task: &Task, measurements: &[Measurement], places: &[Place; 2]) -> (LeaderDisk, HelperDisk) {
    let keys: Vec<ReportKey> = (0..REPORTS).map(|number| key(number, u64::from(number / 6))).collect();
    let mut of_leader = BTreeMap::new();
    let mut of_helper = BTreeMap::new();
    for (key, measurement) in keys.iter().zip(measurements) {
        let [leader, helper] = output_shares(task, key, measurement);
        of_leader.insert(key.report_id, leader);
        of_helper.insert(key.report_id, helper);
    }
    let (leader, helper) = (places[0].leader(), places[1].helper());
    leader.opt_in(task.id(), &record(task)).unwrap();
    upload_ok(&leader, task, &keys);
    while let Some((number, keys)) = make_job(&leader, task, 100) {
        leader.commit_job(task, number, &shares_summed(task, &of_leader, &keys), &[]).unwrap();
    }
    helper.opt_in(task.id(), &record(task)).unwrap();
    let sums = shares_summed(task, &of_helper, &keys);
    helper
        .commit_once(task, request_key(1), &keys, &mut |claims| {
            assert!(claims.iter().all(Result::is_ok));
            Ok(PreparedJob { sums: sums.clone(), put_off: Vec::new(), response: vec![1] })
        })
        .unwrap();
    (leader, helper)
}

/// One aggregator's part of a world.
struct Party<'a> {
    role: Role,
    store: &'a dyn crate::store::AggregatorStore,
    task: &'a Task,
    collector: &'a HpkeConfig,
}

/// An answer that left: the sum in it, what was drawn for it, and the sealed share.
struct Left {
    exact: Vec<u8>,
    drawn: Vec<i128>,
    sealed: HpkeCiphertext,
}

impl Party<'_> {
    /// Collects, noises, seals and keeps the answer, as the roles do.
    fn ask(&self, request: &Request) -> (Record, Option<Left>) {
        let Self { task, store, .. } = *self;
        let mut noise = Recording::new(request.fails_at);
        let checksum = store.summarize(task, request.window).unwrap().0.checksum;
        let terms = terms_of(task, request.epsilon, request.cap);
        let expected = request.peer.map(|count| (count, checksum));
        let mut left = None;
        let (outcome, batch) =
            match store.collect(task, &terms, request.window, request_key(request.key), expected) {
                Err(refusal) => (refusal.to_string(), None),
                Ok(batch) => {
                    let facts = (batch.report_count, batch.checksum, batch.interval);
                    (self.release(request, batch, &mut noise, &mut left), Some(facts))
                }
            };
        if left.is_some() {
            store.finish_collection(task.id(), request_key(request.key), b"answer").unwrap();
        }
        let spent = store.spent(&source(), Epoch(0)).unwrap();
        (Record { outcome, asked: noise.asked, spent, batch }, left)
    }

    fn release(
        &self,
        request: &Request,
        batch: CollectedBatch,
        noise: &mut Recording,
        left: &mut Option<Left>,
    ) -> String {
        let query = CollectionJobReq::time_interval(request.window);
        let Self { role: sender, task, collector, .. } = *self;
        let exact = batch.sum.exact().encode();
        let envelope = Envelope { task, sender, collector, request: &query };
        match gate::release(envelope, batch.sum, noise, &mut rand::rng()) {
            Err(error) => error.to_string(),
            Ok(sealed) => {
                let bytes = sealed.to_bytes().len();
                *left = Some(Left { exact, drawn: noise.drawn.clone(), sealed });
                format!("sealed {bytes} bytes")
            }
        }
    }
}

/// Everything that happens in a world.
fn run(task: &Task, measurements: &[Measurement]) -> Trace {
    let places = [Place::new(), Place::new()];
    let (leader, helper) = aggregated(task, measurements, &places);
    let key = PrivateKey::generate(&mut rand::rng());
    let collector = HpkeConfig::new(1, &key.public_key());
    let party = |role, store| Party { role, store, task, collector: &collector };
    let parties = [party(Role::Leader, &leader), party(Role::Helper, &helper)];
    let (mut records, mut answers) = (Vec::new(), Vec::new());
    for request in requests() {
        let [(one, leader), (other, helper)] = [&parties[0], &parties[1]].map(|party| party.ask(&request));
        records.push([one, other]);
        answers.extend(leader.zip(helper));
    }
    let [(leader, helper)] = answers.try_into().unwrap_or_else(|_| panic!("one release leaves"));
    let config = task.vdaf().config();
    let exact = unshard(config, &leader.exact, &helper.exact, u64::from(REPORTS), 0).unwrap();
    let query = CollectionJobReq::time_interval(hours(0, 2));
    let response = CollectionJobResp {
        report_count: u64::from(REPORTS),
        interval: hours(0, 2),
        leader_share: leader.sealed,
        helper_share: helper.sealed,
    };
    let noised = open_and_unshard(task, &key, 1, &query, &response, SLACK).unwrap();
    let noise = leader.drawn.iter().zip(&helper.drawn).map(|(one, other)| one + other);
    let released = noised.iter().zip(noise).map(|(cell, noise)| cell - noise).collect();
    Trace { records, exact, released }
}

fn distance(left: &[i128], right: &[i128]) -> u128 {
    left.iter().zip(right).map(|(left, right)| left.abs_diff(*right)).sum()
}

/// Runs a batch and each of its neighbours, in which a device's `replaced` reports say something else. Reports of 12 by turns.
#[track_caller]
fn check(config: VdafConfig, turns: &[Measurement], replaced: &[usize], others: &[Measurement]) {
    let task = task_of(&config, "neighbours");
    let batch: Vec<_> = turns.iter().cycle().take(REPORTS as usize).cloned().collect();
    let world = run(&task, &batch);
    assert_eq!(world.released, world.exact, "the noise that was drawn is the noise that was added");
    let sensitivity = u128::from(config.l1_sensitivity()) * replaced.len() as u128;
    let mut furthest = 0;
    for other in others {
        let mut neighbour = batch.clone();
        for report in replaced {
            neighbour[*report] = other.clone();
        }
        let neighbour = run(&task, &neighbour);
        assert_eq!(neighbour.records, world.records, "something else than the sum tells neighbours apart");
        assert_eq!(neighbour.released, neighbour.exact);
        let moved = distance(&neighbour.exact, &world.exact);
        assert!(moved <= sensitivity, "the sum moved by {moved}, the sensitivity is {sensitivity}");
        furthest = furthest.max(moved);
    }
    assert_eq!(furthest, sensitivity, "the furthest neighbour is none of these");
    check_records(&world.records, &config);
}

/// The records are of what they are meant to be of, or their equality would say little.
#[track_caller]
fn check_records(records: &[[Record; 2]], config: &VdafConfig) {
    let scale = Scale::new(config.l1_sensitivity(), MicroEpsilon::from_micro(EPSILON).unwrap()).unwrap();
    let cells = config.output_len();
    for role in [0, 1] {
        let of = |request: usize| &records[request][role];
        let expected = [
            ("fewer than", 0, 0),
            ("disagree", 0, 0),
            ("left", 0, 0),
            ("drawing noise", 1, COST),
            // A single cell is drawn already, and released; the rest then finds it collected.
            (if cells > 1 { "drawing noise" } else { "sealed" }, cells.min(2), COST),
            ("other terms", 0, COST),
            (if cells > 1 { "sealed" } else { "overlaps" }, if cells > 1 { cells } else { 0 }, COST),
            ("overlaps", 0, COST),
        ];
        assert_eq!(records.len(), expected.len());
        for (request, (words, draws, spent)) in expected.into_iter().enumerate() {
            let record = of(request);
            assert!(record.outcome.contains(words), "request {request}: {}", record.outcome);
            assert_eq!(
                (&record.asked, record.spent),
                (&vec![scale.clone(); draws], spent),
                "request {request}"
            );
        }
    }
}

#[test]
fn neighbouring_counts_differ_in_their_sums_alone() {
    let turns = [true, false, true].map(Measurement::Count);
    check(VdafConfig::Count, &turns, &[3], &[false, true].map(Measurement::Count));
}

#[test]
fn neighbouring_histograms_differ_in_their_sums_alone() {
    let config = VdafConfig::histogram(4).unwrap();
    let buckets = [0, 1, 2, 3].map(Measurement::Bucket);
    check(config, &buckets, &[5], &buckets);
}

/// A device that sends k reports to a window moves its sum by k sensitivities, and is charged k epsilon for it.
#[test]
fn neighbours_in_two_reports_differ_by_twice_the_sensitivity() {
    let turns = [0, 1, 2].map(Measurement::Bucket);
    check(VdafConfig::histogram(3).unwrap(), &turns, &[3, 9], &[1, 2].map(Measurement::Bucket));
}

#[test]
fn neighbouring_values_differ_in_their_sums_alone() {
    let vector = |cells: [u64; 3]| Measurement::Vector(cells.to_vec());
    let turns = [vector([7, 0, 0]), vector([2, 0, 5]), vector([0, 0, 0])];
    let others = [vector([0, 0, 0]), vector([1, 4, 2]), vector([0, 0, 7])];
    check(VdafConfig::l1_bound_sum(3, 7).unwrap(), &turns, &[6], &others);
    let value = |value: u64| Measurement::Vector(vec![value]);
    let config = VdafConfig::l1_bound_sum(1, 7).unwrap();
    check(config, &[value(7), value(3)], &[4], &[value(2), value(0)]);
}
