//! Tests of what the traits promise, on real files.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod accounts;
mod collect;
mod condition;
mod damage;
mod decoders;
mod faults;
mod helper;
mod jobs;
mod neighbours;
mod power;
mod uploads;
mod worlds;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arras_protocol::codec::Encode as _;
use arras_protocol::codepoints::BATCH_MODE_TIME_INTERVAL;
use arras_protocol::epsilon::MicroEpsilon;
use arras_protocol::messages::{
    CollectionJobId, Duration, Extensions, Interval, ReportError, ReportId, TaskConfiguration, Time,
    TimePrecision, Url,
};
use arras_protocol::policy::{Mechanism, PrivacyPolicy};
use arras_protocol::task::Task;
use arras_protocol::vdaf::{AggregateShare, VdafConfig};
use arras_protocol::verification::BatchBucket;

use super::{HelperDisk, LeaderDisk, StoreOptions};
use crate::privacy::gate::Terms;
use crate::privacy::ledger::{BudgetSource, SourceRules};
use crate::store::{
    AggregatorStore as _, Disk, Faults, JobNumber, JobSums, LeaderStore as _, NewReport, ReportKey,
    RequestKey, StoreError, TaskRecord,
};

/// Smallest batch of the tests' tasks.
const MIN_BATCH: u64 = 10;
/// An hour.
const PRECISION: u64 = 3600;
/// Where the tests' times begin, in hours: epoch 0 of the tests' budget source begins there too.
const START: u64 = 480_000;
/// Micro-epsilon of one release of the tests' tasks.
const EPSILON: u32 = 1_000_000;
/// Cells of the histogram.
const LENGTH: u32 = 4;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// A store's directory and how it is opened.
struct Place {
    dir: tempfile::TempDir,
    max_bytes: u64,
    segment_bytes: u64,
    faults: Option<Arc<dyn Faults>>,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), max_bytes: 64 << 20, segment_bytes: 8 << 20, faults: None }
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            dir: self.dir.path().join("store"),
            watermark: self.dir.path().join("watermark"),
            max_bytes: self.max_bytes,
            cache_bytes: 4 << 20,
            segment_bytes: Some(self.segment_bytes),
        }
    }

    fn disk(&self) -> Disk {
        self.faults.clone().map_or_else(Disk::default, Disk::with_faults)
    }

    fn try_leader(&self) -> Result<LeaderDisk, StoreError> {
        LeaderDisk::open_on(&self.options(), self.disk())
    }

    fn leader(&self) -> LeaderDisk {
        self.try_leader().unwrap()
    }

    fn helper(&self) -> HelperDisk {
        HelperDisk::open_on(&self.options(), self.disk()).unwrap()
    }
}

fn task_of(vdaf: &VdafConfig, info: &str) -> Task {
    let url = |host: &str| Url::new(format!("https://{host}.example/")).unwrap();
    let configuration = TaskConfiguration::new(
        info.as_bytes(),
        url("leader"),
        url("helper"),
        TimePrecision::from_seconds(PRECISION).unwrap(),
        MIN_BATCH,
        BATCH_MODE_TIME_INTERVAL,
        vdaf,
        Extensions::none(),
    );
    Task::new(configuration.unwrap()).unwrap()
}

fn histogram() -> Task {
    task_of(&VdafConfig::histogram(LENGTH).unwrap(), "histogram")
}

fn record(task: &Task) -> TaskRecord {
    record_of(task, &terms(task))
}

/// As it is opted in under these terms.
fn record_of(task: &Task, terms: &Terms) -> TaskRecord {
    TaskRecord { configuration: task.configuration().to_bytes(), verify_secret_id: 1, terms: terms.pinned() }
}

fn terms_with_cap(task: &Task, cap: u64) -> Terms {
    terms_of(task, EPSILON, cap)
}

/// Both in micro-epsilon.
fn terms_of(task: &Task, epsilon: u32, cap: u64) -> Terms {
    let policy = PrivacyPolicy {
        mechanism: Mechanism::DiscreteLaplace,
        epsilon: MicroEpsilon::from_micro(epsilon).unwrap(),
        sensitivity: task.vdaf().config().l1_sensitivity(),
        contributions: NonZeroU32::MIN,
        threshold: 0,
    };
    Terms::new(task, policy, source(), SourceRules { epoch_start: START * PRECISION, cap })
}

fn terms(task: &Task) -> Terms {
    terms_with_cap(task, 100 * u64::from(EPSILON))
}

fn source() -> BudgetSource {
    BudgetSource::new("shop.example").unwrap()
}

/// Report `number`, `hour` hours after the tests' beginning.
fn key(number: u32, hour: u64) -> ReportKey {
    let mut id = [7; ReportId::LEN];
    id[..4].copy_from_slice(&number.to_be_bytes());
    ReportKey { report_id: ReportId::new(id), time: Time(START + hour) }
}

fn keys(numbers: std::ops::Range<u32>, hour: u64) -> Vec<ReportKey> {
    numbers.map(|number| key(number, hour)).collect()
}

fn hours(from: u64, to: u64) -> Interval {
    Interval::new(Time(START + from), Duration(to - from)).unwrap()
}

/// A report with this key; the store looks at nothing else of it.
fn encoded(key: &ReportKey) -> Vec<u8> {
    let mut report = key.report_id.as_bytes().to_vec();
    report.extend_from_slice(&key.time.0.to_be_bytes());
    report.resize(200, key.report_id.as_bytes()[3]);
    report
}

fn upload(
    leader: &LeaderDisk,
    task: &Task,
    keys: &[ReportKey],
) -> Result<Vec<Result<(), ReportError>>, StoreError> {
    let bodies: Vec<_> = keys.iter().map(encoded).collect();
    let reports: Vec<_> =
        keys.iter().zip(&bodies).map(|(key, encoded)| NewReport { key: *key, encoded }).collect();
    leader.append_reports(task.id(), &reports)
}

fn upload_ok(leader: &LeaderDisk, task: &Task, keys: &[ReportKey]) {
    assert_eq!(upload(leader, task, keys).unwrap(), vec![Ok(()); keys.len()]);
}

/// What reports amount to: each counts one in the cell that its number names.
fn bucket(task: &Task, keys: &[ReportKey]) -> BatchBucket {
    let config = task.vdaf().config();
    let mut cells = vec![0_u128; config.output_len()];
    let mut checksum = [0; 32];
    for key in keys {
        let cell = usize::from(key.report_id.as_bytes()[3]) % cells.len();
        cells[cell] += 1;
        let hash = ring::digest::digest(&ring::digest::SHA256, key.report_id.as_bytes());
        checksum.iter_mut().zip(hash.as_ref()).for_each(|(byte, other)| *byte ^= other);
    }
    let element = if matches!(config, VdafConfig::Count) { 8 } else { 16 };
    let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_le_bytes()[..element].to_vec()).collect();
    let share = AggregateShare::decode(config, &bytes).unwrap();
    BatchBucket { share, report_count: keys.len() as u64, checksum }
}

fn sums(task: &Task, reports: &[ReportKey]) -> JobSums {
    let mut by_time: BTreeMap<Time, Vec<ReportKey>> = BTreeMap::new();
    for report in reports {
        by_time.entry(report.time).or_default().push(*report);
    }
    let buckets = by_time.into_iter().map(|(time, keys)| (time, bucket(task, &keys))).collect();
    JobSums { buckets, reports: reports.to_vec() }
}

/// Checks that exactly these reports are counted in an interval.
#[track_caller]
fn assert_counted(
    store: &impl crate::store::AggregatorStore,
    task: &Task,
    interval: Interval,
    keys: &[ReportKey],
) {
    let (summary, _) = store.summarize(task, interval).unwrap();
    let expected = bucket(task, keys);
    assert_eq!((summary.report_count, summary.checksum), (expected.report_count, expected.checksum));
    let hull = keys.iter().map(|key| Interval::new(key.time, Duration(1)).unwrap()).reduce(Interval::hull);
    assert_eq!(summary.interval, hull);
}

/// The ids of the next reports, without taking them.
fn queued(leader: &LeaderDisk, task: &Task) -> Vec<ReportKey> {
    let draft = leader.next_reports(task.id(), 1000, Time(u64::MAX)).unwrap();
    draft
        .map(|draft| draft.reports.iter().map(|report| key_in(&report.encoded)).collect())
        .unwrap_or_default()
}

fn key_in(encoded: &[u8]) -> ReportKey {
    super::uploads::key_of(encoded).unwrap()
}

/// Makes a job of the next reports, all of them.
fn make_job(leader: &LeaderDisk, task: &Task, max: usize) -> Option<(JobNumber, Vec<ReportKey>)> {
    let draft = leader.next_reports(task.id(), max, Time(u64::MAX)).unwrap()?;
    let included: Vec<usize> = (0..draft.reports.len()).collect();
    let keys: Vec<_> = draft.reports.iter().map(|report| key_in(&report.encoded)).collect();
    let request: &[u8] = if included.is_empty() { b"" } else { b"request" };
    let number = leader.create_job(task.id(), &draft, &included, &[], request).unwrap();
    number.map(|number| (number, keys))
}

/// Runs all reports through jobs.
fn aggregate_all(leader: &LeaderDisk, task: &Task) {
    while let Some((number, keys)) = make_job(leader, task, 100) {
        leader.commit_job(task, number, &sums(task, &keys), &[]).unwrap();
    }
}

fn request_key(number: u8) -> RequestKey {
    [number; 16]
}

fn collection_id(number: u8) -> CollectionJobId {
    CollectionJobId::new(request_key(number))
}
