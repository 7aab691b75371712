//! `cargo bench -p arras-client --bench measure`: what a conversion costs with 1,000 stored impressions that all
//! match, beside bare sharding and sealing, which a report costs in any case.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints ratios, and may stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use arras_client::attribution::{
    AggregationService, Config, ConversionOptions, DapService, Engine, FileStore, ImplicitInputs,
    ImpressionOptions, MemoryStore, Moment, Outcome, Protocol, Storage, Uniform,
};
use arras_protocol::hpke::{PrivateKey, Sealer};
use arras_protocol::messages::{HpkeConfig, ReportId};
use arras_protocol::vdaf::{Measurement, Vdaf, VdafConfig};
use criterion::{BenchmarkId, Criterion};

const SERVICE: &str = "https://service.example/";
const IMPRESSIONS: u32 = 1_000;
const NOW: u64 = 1_800_000_000;
/// Calls of each kind, one after the other, of which the median is compared.
const ROUNDS: usize = 201;
/// Sizes of the histogram, with the largest value of a conversion.
const SIZES: [(u32, u32); 3] = [(16, 1), (64, 127), (256, 1)];

fn config() -> Config {
    let hpke = |id| HpkeConfig::new(id, &PrivateKey::generate(&mut rand::rng()).public_key());
    let dap = DapService::new("https://leader.example", "https://helper.example", hpke(1), hpke(2)).unwrap();
    let service =
        AggregationService { protocol: Protocol::Dap18Histogram, max_histogram_size: None, dap: Some(dap) };
    Config {
        services: [(SERVICE.to_owned(), service)].into(),
        site_budget: u32::MAX,
        global_budget: u32::MAX,
        impression_site_quota: u32::MAX,
        ..Config::default()
    }
}

fn inputs(host: &str, seconds: u64) -> ImplicitInputs {
    ImplicitInputs::from_hosts(host, None, Moment::from_posix_seconds(seconds)).unwrap()
}

/// A device that has seen many ads over four weeks, on ten sites.
fn engine<S: Storage>(storage: S) -> Engine<S> {
    let mut engine = Engine::open(config(), storage).unwrap();
    for n in 0..IMPRESSIONS {
        let seconds = NOW - 2_400 * u64::from(n);
        let options = ImpressionOptions {
            conversion_sites: vec!["shop.example".to_owned(), "other.example".to_owned()],
            ..ImpressionOptions::new(n % 16)
        };
        engine.save_impression(&inputs(&format!("news-{}.example", n % 10), seconds), &options).unwrap();
    }
    engine
}

fn options(length: u32, max_value: u32) -> ConversionOptions {
    ConversionOptions {
        // The smallest there is, so that no number of rounds spends the budget.
        epsilon: 1e-6,
        value: max_value,
        max_value,
        credit: Some(vec![0.5, 0.25, 0.25]),
        ..ConversionOptions::new(SERVICE, length)
    }
}

fn convert<S: Storage>(engine: &mut Engine<S>, length: u32, max_value: u32) {
    let options = options(length, max_value);
    let (random, rng) = (&mut Uniform(rand::rng()), &mut rand::rng());
    let shop = inputs("shop.example", NOW);
    let (report, measured) = engine.measure_conversion_report(random, rng, &shop, &options).unwrap();
    assert!(matches!(measured.outcome(), Outcome::Attributed));
    black_box(report);
}

/// Sharding and both sealings, with all that does not depend on the report made before.
struct Bare {
    vdaf: Vdaf,
    measurement: Measurement,
    sealers: [Sealer; 2],
}

impl Bare {
    fn new(length: u32, max_value: u32) -> Self {
        let config = VdafConfig::attribution_histogram(length, max_value.into()).unwrap();
        let mut cells = vec![0; usize::try_from(length).unwrap()];
        cells[3] = u64::from(max_value);
        let sealer =
            || Sealer::new(&PrivateKey::generate(&mut rand::rng()).public_key(), b"dap-18 input share");
        Self {
            vdaf: Vdaf::new(config).unwrap(),
            measurement: Measurement::Vector(cells),
            sealers: [sealer(), sealer()],
        }
    }

    fn run(&self) {
        let rng = &mut rand::rng();
        let id = ReportId::random(rng);
        let sharded = self.vdaf.shard(b"dap-18 and a task id", &self.measurement, id.as_bytes()).unwrap();
        for (sealer, share) in self.sealers.iter().zip([&sharded.leader_share, &sharded.helper_share]) {
            black_box(sealer.seal(rng, &sharded.public_share, share).unwrap());
        }
    }
}

/// As `convert`, with the report apart: the time until the histogram is there, and that of its report.
fn parts(engine: &mut Engine<MemoryStore>, length: u32, max_value: u32) -> (Duration, Duration) {
    let (options, shop) = (options(length, max_value), inputs("shop.example", NOW));
    let mut measured = None;
    let attributed = timed(|| {
        measured = Some(engine.measure_conversion(&mut Uniform(rand::rng()), &shop, &options).unwrap());
    });
    let reported = timed(|| drop(black_box(measured.unwrap().report(&mut rand::rng()).unwrap())));
    (attributed, reported)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Both in turns, so that whatever else the machine does meets both.
fn compare(length: u32, max_value: u32) {
    let (bare, mut engine) = (Bare::new(length, max_value), engine(MemoryStore::default()));
    let (of_bare, of_engine): (Vec<_>, Vec<_>) = (0..ROUNDS)
        .map(|_| (timed(|| bare.run()), timed(|| convert(&mut engine, length, max_value))))
        .unzip();
    let (attributed, reported): (Vec<_>, Vec<_>) =
        (0..ROUNDS).map(|_| parts(&mut engine, length, max_value)).unzip();
    let (bare, engine) = (median(of_bare), median(of_engine));
    let allowed = bare.mul_f64(1.3) + Duration::from_micros(500);
    println!(
        "histogram {length}, values to {max_value}: bare {bare:.1?}, measureConversion {engine:.1?} (attribution {:.1?}, \
         report {:.1?}), {:.2} times; of what is allowed (1.3 times and 0.5 ms) {:.2}",
        median(attributed),
        median(reported),
        engine.as_secs_f64() / bare.as_secs_f64(),
        engine.as_secs_f64() / allowed.as_secs_f64()
    );
}

fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("measure_conversion");
    group.sample_size(20);
    for (length, max_value) in SIZES {
        let id = |what| BenchmarkId::new(what, length);
        let bare = Bare::new(length, max_value);
        group.bench_function(id("bare"), |bencher| bencher.iter(|| bare.run()));
        let mut in_memory = engine(MemoryStore::default());
        group.bench_function(id("memory"), |bencher| {
            bencher.iter(|| convert(&mut in_memory, length, max_value));
        });
        // With a sync of the file before the report is handed out: a figure of the disk.
        let folder = tempfile::tempdir().unwrap();
        let mut on_disk = engine(FileStore::open(folder.path().join("attribution")).unwrap());
        group.bench_function(id("file"), |bencher| bencher.iter(|| convert(&mut on_disk, length, max_value)));
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion);
    criterion.final_summary();
    for (length, max_value) in SIZES {
        compare(length, max_value);
    }
}
