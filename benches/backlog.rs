//! `cargo bench --bench backlog`: what waiting reports cost an aggregator's store, from 10,000 to 1,000,000 of them:
//! CPU time a report, memory, time to open the store again, disk. Real fsync; the reports are 2 kB of filler, since the
//! store does not look into them. Options: `--reports N` (one number instead of three), `--dir DIR`.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints what it measures"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arras::cli::demo::cpu_time;
use arras::privacy::gate::Pinned;
use arras::privacy::ledger::BudgetSource;
use arras::store::{
    HelperDisk, HelperStore as _, JobSums, LeaderDisk, LeaderStore as _, NewReport, PreparedJob, ReportKey,
    StoreOptions, TaskRecord,
};
use arras::tasks::author::VdafChoice;
use arras_protocol::codec::Encode as _;
use arras_protocol::messages::{ReportId, Time};
use arras_protocol::task::Task;
use arras_protocol::vdaf::AggregateShare;
use arras_protocol::verification::BatchBucket;

mod common;

/// A report as it waits, and a response to one, as a histogram of 64 buckets has them.
const REPORT_BYTES: usize = 2_048;
const RESPONSE_BYTES: usize = 64;

const REPORTS_PER_UPLOAD: usize = 64;
const UPLOADS_AT_ONCE: usize = 8;
const REPORTS_PER_JOB: usize = 500;

/// Buckets that reports fall into: a day of hours.
const BUCKETS: usize = 24;

fn main() {
    let (counts, dir) = options();
    let file = common::task_file(
        "backlog",
        VdafChoice::Histogram { length: 64 },
        "https://leader.example/",
        "https://helper.example/",
    );
    let (task, _) = file.build().expect("a valid task");
    println!(
        "{:24} {:>9} {:>10} {:>12} {:>9} {:>9}",
        "stage", "reports", "seconds", "CPU us/report", "RSS MB", "disk MB"
    );
    for count in counts {
        let dir = tempfile::tempdir_in(&dir).expect("a directory for the stores");
        leader(&task, count, dir.path());
        helper(&task, count, dir.path());
    }
}

fn options() -> (Vec<usize>, PathBuf) {
    let mut counts = vec![10_000, 100_000, 1_000_000];
    let mut dir = common::target_dir();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--reports" => {
                counts = vec![arguments.next().and_then(|n| n.parse().ok()).expect("--reports N")];
            }
            "--dir" => dir = arguments.next().expect("--dir DIR").into(),
            // What cargo passes to every bench.
            _ => {}
        }
    }
    (counts, dir)
}

fn store_options(dir: &Path, role: &str) -> StoreOptions {
    StoreOptions {
        dir: dir.join(role),
        watermark: dir.join(format!("{role}.watermark")),
        max_bytes: 8 << 30,
        cache_bytes: 32 << 20,
        segment_bytes: None,
    }
}

/// The key of the n-th report: ids are random in reality, here they are spread as if they were.
fn key(n: usize) -> ReportKey {
    let mut id = [0; ReportId::LEN];
    id[..8].copy_from_slice(&(n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&(n as u64).to_be_bytes());
    ReportKey { report_id: ReportId::new(id), time: Time(500_000 + (n % BUCKETS) as u64) }
}

fn encoded(key: ReportKey) -> Vec<u8> {
    let mut bytes = key.report_id.as_bytes().to_vec();
    bytes.extend_from_slice(&key.time.0.to_be_bytes());
    bytes.resize(REPORT_BYTES, 0xa5);
    bytes
}

/// What the reports of a job add. The cells are zero: what the store does with them does not depend on them.
fn sums(task: &Task, keys: &[ReportKey]) -> JobSums {
    let mut buckets = std::collections::BTreeMap::new();
    for key in keys {
        let empty = || BatchBucket {
            share: AggregateShare::zero(task.vdaf().config()),
            report_count: 0,
            checksum: [0; 32],
        };
        buckets.entry(key.time).or_insert_with(empty).report_count += 1;
    }
    JobSums { buckets: buckets.into_iter().collect(), reports: keys.to_vec() }
}

fn opt_in(store: &impl arras::store::AggregatorStore, task: &Task) {
    let policy = *task.policy().expect("an Arras task");
    let budget_source = BudgetSource::new(task.budget_source().expect("an Arras task")).expect("a name");
    let terms = Pinned { policy, budget_source };
    let record = TaskRecord { configuration: task.configuration().to_bytes(), verify_secret_id: 1, terms };
    store.opt_in(task.id(), &record).expect("a new task");
}

fn leader(task: &Task, count: usize, dir: &Path) {
    let options = store_options(dir, "leader");
    let store = LeaderDisk::open(&options).expect("an empty store");
    opt_in(&store, task);
    stage("leader: take in", count, dir, || {
        let share = count.div_ceil(UPLOADS_AT_ONCE);
        std::thread::scope(|scope| {
            for first in (0..count).step_by(share) {
                let store = &store;
                scope.spawn(move || upload(store, task, first, (first + share).min(count)));
            }
        });
    });
    drop(store);
    let store = stage("leader: open again", count, dir, || LeaderDisk::open(&options).expect("the store"));
    opt_in(&store, task);
    assert_eq!(store.backlog(task.id()).expect("a backlog"), count as u64);
    stage("leader: work off", count, dir, || {
        while let Some(draft) =
            store.next_reports(task.id(), REPORTS_PER_JOB, Time(u64::MAX)).expect("the head of the queue")
        {
            let keys: Vec<_> = draft.reports.iter().map(|report| key_of(&report.encoded)).collect();
            let all: Vec<usize> = (0..draft.reports.len()).collect();
            let request = vec![0x5a; draft.reports.len() * REPORT_BYTES / 2];
            let number = store.create_job(task.id(), &draft, &all, &[], &request).expect("a job");
            let number = number.expect("a job of reports");
            store.commit_job(task, number, &sums(task, &keys), &[]).expect("its end");
        }
    });
    assert_eq!(store.backlog(task.id()).expect("a backlog"), 0);
}

fn upload(store: &LeaderDisk, task: &Task, first: usize, end: usize) {
    for from in (first..end).step_by(REPORTS_PER_UPLOAD) {
        let keys: Vec<_> = (from..(from + REPORTS_PER_UPLOAD).min(end)).map(key).collect();
        let bytes: Vec<_> = keys.iter().map(|key| encoded(*key)).collect();
        let reports: Vec<_> =
            keys.iter().zip(&bytes).map(|(key, encoded)| NewReport { key: *key, encoded }).collect();
        let results = store.append_reports(task.id(), &reports).expect("room");
        assert!(results.iter().all(Result::is_ok));
    }
}

fn key_of(encoded: &[u8]) -> ReportKey {
    let id = encoded[..ReportId::LEN].try_into().expect("16 bytes");
    let time = encoded[ReportId::LEN..ReportId::LEN + 8].try_into().expect("8 bytes");
    ReportKey { report_id: ReportId::new(id), time: Time(u64::from_be_bytes(time)) }
}

fn helper(task: &Task, count: usize, dir: &Path) {
    let options = store_options(dir, "helper");
    let store = HelperDisk::open(&options).expect("an empty store");
    opt_in(&store, task);
    stage("helper: commit jobs", count, dir, || {
        for (number, first) in (0..count).step_by(REPORTS_PER_JOB).enumerate() {
            let keys: Vec<_> = (first..(first + REPORTS_PER_JOB).min(count)).map(key).collect();
            let request = (number as u128).to_be_bytes();
            let mut prepare = |_: &[_]| {
                let response = vec![0x5a; keys.len() * RESPONSE_BYTES];
                Ok(PreparedJob { sums: sums(task, &keys), put_off: Vec::new(), response })
            };
            store.commit_once(task, request, &keys, &mut prepare).expect("a job");
        }
    });
    drop(store);
    let store = stage("helper: open again", count, dir, || HelperDisk::open(&options).expect("the store"));
    drop(store);
}

/// Runs a stage and prints what it took.
fn stage<T>(name: &str, count: usize, dir: &Path, work: impl FnOnce() -> T) -> T {
    let (started, cpu) = (Instant::now(), cpu_time());
    let result = work();
    let (elapsed, cpu): (Duration, Duration) = (started.elapsed(), cpu_time().saturating_sub(cpu));
    println!(
        "{name:24} {count:>9} {:>10.2} {:>12.2} {:>9.0} {:>9.0}",
        elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / count as f64,
        resident_bytes() as f64 / 1e6,
        bytes_below(dir) as f64 / 1e6,
    );
    result
}

/// Memory of this process now, from Linux's /proc; zero elsewhere.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
