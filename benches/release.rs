//! `cargo bench --bench release`: what a release costs an aggregator, per bucket, beside the bare sampler of the same
//! run; and what it costs the collector. 1,000 tasks of 64 buckets, several rounds. CPU time of one thread. Options:
//! `--tasks N`, `--rounds N`, `--dir DIR`.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints what it measures"
)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arras::cli::demo::cpu_time;
use arras::privacy::accuracy::{Confidence, Interval as Accuracy, Noise};
use arras::privacy::gate::{self, Envelope, Terms};
use arras::privacy::ledger::{BudgetSource, SourceRules};
use arras::privacy::noise::{OpendpNoise, Scale};
use arras::privacy::threshold::Threshold;
use arras::store::{
    AggregatorStore as _, CollectedBatch, HelperDisk, HelperStore as _, JobSums, PreparedJob, ReportKey,
    StoreOptions, TaskRecord,
};
use arras::tasks::author::VdafChoice;
use arras_protocol::codec::Encode as _;
use arras_protocol::collection::open_and_unshard;
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{
    CollectionJobReq, CollectionJobResp, Duration as Steps, HpkeCiphertext, HpkeConfig, Interval, ReportId,
    Role, Time,
};
use arras_protocol::policy::PrivacyPolicy;
use arras_protocol::signed::{self, DocumentType, SigningKey};
use arras_protocol::task::Task;
use arras_protocol::vdaf::AggregateShare;
use arras_protocol::verification::BatchBucket;
use dashu::integer::{IBig, UBig};
use dashu::rational::RBig;
use opendp::traits::samplers::sample_discrete_laplace;

mod common;

const BUCKETS: u32 = 64;

/// Reports in each batch: as many as the tasks of the benches ask for.
const REPORTS: u64 = 100;

/// The first window, in steps of the task: an hour in 2027.
const FIRST: u64 = 500_000;

/// A release's document has some 100 bytes a bucket, and this much around them.
const DOCUMENT_BYTES: usize = 64 * 100 + 1_500;

struct Options {
    tasks: usize,
    rounds: u64,
    dir: PathBuf,
}

/// What one round took.
#[derive(Default)]
struct Round {
    sampler: Duration,
    collect: Duration,
    release: Duration,
    unshard: Duration,
    judge: Duration,
    sign: Duration,
}

fn main() {
    let options = options();
    let dir = tempfile::tempdir_in(&options.dir).expect("a directory for the stores");
    let mut bench = Bench::new(&options, dir.path());
    println!(
        "CPU seconds for {} tasks of {BUCKETS} buckets: the bare sampler once a bucket; one aggregator's reading, charging \
         and marking of the batches (with syncs), and its noising and sealing; the collector's opening and unsharding of \
         both shares, threshold and intervals, signature.",
        options.tasks
    );
    println!(
        "{:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} | {:>17} {:>17}",
        "round",
        "sampler",
        "collect",
        "release",
        "unshard",
        "judge",
        "sign",
        "us a bucket",
        "release / sampler"
    );
    let cells = options.tasks as f64 * f64::from(BUCKETS);
    for round in 0..options.rounds {
        let took = bench.round(round);
        let [sampler, collect, release, unshard, judge, sign] =
            [took.sampler, took.collect, took.release, took.unshard, took.judge, took.sign]
                .map(|time| time.as_secs_f64());
        println!(
            "{round:>5} {sampler:>9.3} {collect:>9.3} {release:>9.3} {unshard:>9.3} {judge:>9.3} {sign:>9.3} | {:>7.2} of {:>6.2} {:>17.2}",
            sampler * 1e6 / cells,
            release * 1e6 / cells,
            release / sampler
        );
    }
}

fn options() -> Options {
    let mut options = Options { tasks: 1_000, rounds: 5, dir: common::target_dir() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse().ok()).expect("a number");
        match argument.as_str() {
            "--tasks" => options.tasks = number(),
            "--rounds" => options.rounds = number() as u64,
            "--dir" => options.dir = arguments.next().expect("--dir DIR").into(),
            // What cargo passes to every bench.
            _ => {}
        }
    }
    options
}

struct Bench {
    tasks: Vec<(Task, Terms)>,
    scale: Scale,
    policy: PrivacyPolicy,
    /// Both aggregators' stores. The leader's collects in the same code, so that a helper's stands for it.
    stores: [HelperDisk; 2],
    key: PrivateKey,
    collector: HpkeConfig,
    signer: SigningKey,
    document: Vec<u8>,
}

impl Bench {
    /// Tasks that both stores know, each with a batch for each round.
    fn new(options: &Options, dir: &Path) -> Self {
        let rules = SourceRules { epoch_start: 0, cap: u64::MAX };
        let tasks: Vec<(Task, Terms)> = (0..options.tasks)
            .map(|n| {
                let name = format!("release-{n}");
                let endpoints = ("https://leader.example/", "https://helper.example/");
                let vdaf = VdafChoice::Histogram { length: BUCKETS };
                let (task, _) =
                    common::task_file(&name, vdaf, endpoints.0, endpoints.1).build().expect("a valid task");
                let source = BudgetSource::new("shop.example").expect("a name");
                let policy = *task.policy().expect("a policy");
                let terms = Terms::new(&task, policy, source, rules);
                (task, terms)
            })
            .collect();
        let policy = *tasks[0].1.policy();
        let stores = ["leader", "helper"].map(|role| {
            let store = HelperDisk::open(&StoreOptions {
                dir: dir.join(role),
                watermark: dir.join(format!("{role}.watermark")),
                max_bytes: 1 << 30,
                cache_bytes: 32 << 20,
                segment_bytes: None,
            });
            store.expect("an empty store")
        });
        for task in &tasks {
            for store in &stores {
                fill(store, task, options.rounds);
            }
        }
        let key = PrivateKey::generate(&mut rand::rng());
        let collector = HpkeConfig::new(1, &key.public_key());
        let signer = SigningKey::generate(&mut rand::rng());
        let scale = gate::noise_scale(&policy).expect("a scale");
        Self { tasks, scale, policy, stores, key, collector, signer, document: vec![b'0'; DOCUMENT_BYTES] }
    }

    fn round(&mut self, round: u64) -> Round {
        let window = Interval::new(Time(FIRST + round), Steps(1)).expect("a window");
        let request = CollectionJobReq::time_interval(window);
        let mut took = Round::default();
        let samples = self.tasks.len() * usize::try_from(BUCKETS).expect("small");
        // Halves before and after, so that a change of the machine's speed touches both.
        took.sampler += timed(|| bare_sampler(&self.scale, samples / 2)).1;
        let (leader, collect) = timed(|| self.collect(0, window, round));
        took.collect = collect;
        let helper = self.collect(1, window, round);
        let (leader, release) = timed(|| self.release(leader, Role::Leader, &request));
        took.release = release;
        took.sampler += timed(|| bare_sampler(&self.scale, samples - samples / 2)).1;
        let helper = self.release(helper, Role::Helper, &request);
        let responses: Vec<CollectionJobResp> = leader
            .into_iter()
            .zip(helper)
            .map(|(leader_share, helper_share)| CollectionJobResp {
                report_count: REPORTS,
                interval: window,
                leader_share,
                helper_share,
            })
            .collect();
        let (cells, unshard) = timed(|| self.unshard(&request, &responses));
        took.unshard = unshard;
        took.judge = timed(|| self.judge(&cells)).1;
        took.sign = timed(|| self.sign()).1;
        took
    }

    fn collect(&self, store: usize, window: Interval, round: u64) -> Vec<CollectedBatch> {
        let collect = |(task, terms): &(Task, Terms)| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&round.to_be_bytes());
            self.stores[store].collect(task, terms, window, key, None).expect("a batch to release")
        };
        self.tasks.iter().map(collect).collect()
    }

    /// The release path of an aggregator.
    fn release(
        &self,
        batches: Vec<CollectedBatch>,
        sender: Role,
        request: &CollectionJobReq,
    ) -> Vec<HpkeCiphertext> {
        let release = |(batch, (task, _)): (CollectedBatch, &(Task, Terms))| {
            let envelope = Envelope { task, sender, collector: &self.collector, request };
            gate::release(envelope, batch.sum, &mut OpendpNoise, &mut rand::rng()).expect("a release")
        };
        batches.into_iter().zip(&self.tasks).map(release).collect()
    }

    fn unshard(&self, request: &CollectionJobReq, responses: &[CollectionJobResp]) -> Vec<Vec<i128>> {
        let slack = 2 * self.policy.noise_slack();
        let open = |((task, _), response): (&(Task, Terms), &CollectionJobResp)| {
            open_and_unshard(task, &self.key, 1, request, response, slack).expect("both shares")
        };
        self.tasks.iter().zip(responses).map(open).collect()
    }

    /// What a release says of each cell.
    fn judge(&self, releases: &[Vec<i128>]) {
        for cells in releases {
            let noise = Noise::of_cell(&self.scale);
            let (width, error) = (noise.half_width(Confidence::P95), noise.standard_error());
            let threshold = Threshold::new(self.policy.threshold);
            let judged = cells
                .iter()
                .map(|cell| (threshold.show(*cell), Accuracy::around(*cell, width, REPORTS.into()), error));
            black_box(judged.collect::<Vec<_>>());
        }
    }

    fn sign(&self) {
        for _ in &self.tasks {
            black_box(signed::sign(&self.signer, DocumentType::Release, &self.document).expect("small"));
        }
    }
}

/// Batches of one step each, as aggregation would have left them. The cells are zero: what a release costs does not depend
/// on them.
fn fill(store: &HelperDisk, (task, terms): &(Task, Terms), rounds: u64) {
    let (configuration, terms) = (task.configuration().to_bytes(), terms.pinned());
    let record = TaskRecord { configuration, verify_secret_id: 1, terms };
    store.opt_in(task.id(), &record).expect("a new task");
    let key = |n: u64| {
        let mut id = [0; ReportId::LEN];
        id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        ReportKey { report_id: ReportId::new(id), time: Time(FIRST + n / REPORTS) }
    };
    let reports: Vec<ReportKey> = (0..rounds * REPORTS).map(key).collect();
    let bucket = |round| {
        let share = AggregateShare::zero(task.vdaf().config());
        (Time(FIRST + round), BatchBucket { share, report_count: REPORTS, checksum: [0; 32] })
    };
    let mut prepare = |_: &[_]| {
        let sums = JobSums { buckets: (0..rounds).map(bucket).collect(), reports: reports.clone() };
        Ok(PreparedJob { sums, put_off: Vec::new(), response: vec![0] })
    };
    store.commit_once(task, [7; 16], &reports, &mut prepare).expect("a job");
}

/// What the sampler's own library needs, with nothing of ours around it.
fn bare_sampler(scale: &Scale, samples: usize) {
    let scale = RBig::from_parts(IBig::from(scale.numerator()), UBig::from(scale.denominator()));
    for _ in 0..samples {
        black_box(sample_discrete_laplace(scale.clone()).expect("a sample"));
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let cpu = cpu_time();
    let result = work();
    (result, cpu_time().saturating_sub(cpu))
}
