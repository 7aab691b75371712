//! What is the same in every run: two tasks, all keys, and a stock of reports, made once a process.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use arras::aggregator::{Collectors, RegisteredCollector, RegisteredSource};
use arras::config::secret::SecretString;
use arras::net::auth::BearerToken;
use arras::net::endpoint::Endpoint;
use arras::privacy::ledger::{BudgetSource, SourceRules, TaskCaps};
use arras::tasks::author::{ProfileChoice, VdafChoice};
use arras::tasks::{TaskFile, TaskFolder};
use arras_protocol::codec::Encode as _;
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{Duration, HpkeConfig, Interval, ReportId, Time};
use arras_protocol::report::ReportMaker;
use arras_protocol::signed::SigningKey;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Hours that reports are of. The last is in the future when a run begins.
pub const HOURS: u8 = 7;

/// Reports of an hour. Each has a cell of its own, among all that there are of its hour and the next one: so in a
/// window of one or two hours a cell above 1 is a report counted twice, and one of 0 a report that is not counted.
pub const SLOTS: u8 = 14;

/// Cells of the tasks: odd hours, even hours; reports and twins.
pub const CELLS: u8 = 4 * SLOTS;

/// Unit of times, in seconds.
pub const PRECISION: u64 = 3_600;

/// The first hour, in the tasks' unit: on a Friday in 2027.
pub const FIRST_HOUR: u64 = 1_800_000_000 / PRECISION;

/// The hour in which a run begins.
pub const CURRENT_HOUR: u8 = 5;

/// When a run begins: that hour has just begun, so that clocks need not differ by much to disagree about it.
pub const NOW: u64 = (FIRST_HOUR + CURRENT_HOUR as u64) * PRECISION + 10;

/// Fewest reports in a batch that is released.
pub const MIN_BATCH: u64 = 10;

/// What a release costs, micro-epsilon. So little that the noise may be as large as the simulation needs it, to tell
/// from a number by whom it was noised how often.
pub const COST: u64 = 100;

/// Epoch 0 begins on the Monday before.
pub const EPOCH_START: u64 = 1_799_625_600;

const COLLECTOR: &str = "advertiser";
const SOURCE: &str = "shop.example";
const LEADER: &str = "https://leader.example/";
const HELPER: &str = "https://helper.example/";

/// A report that waits to be uploaded.
#[derive(Debug)]
pub struct StockReport {
    pub id: ReportId,
    pub encoded: Vec<u8>,
}

/// What is the same in every run.
pub struct World {
    pub tasks: Vec<Task>,
    pub folder: TaskFolder,
    pub leader: Endpoint,
    pub helper: Endpoint,
    pub leader_key: PrivateKey,
    pub helper_key: PrivateKey,
    pub collector_key: PrivateKey,
    pub signer: Arc<SigningKey>,
    pub leader_token: BearerToken,
    pub collector_token: BearerToken,
    /// By task, hour and slot.
    pub reports: Vec<Vec<Vec<StockReport>>>,
    /// The same ids once more, each in the hour after its first one.
    pub twins: Vec<Vec<Vec<StockReport>>>,
    /// Holds the folder of tasks.
    _dir: tempfile::TempDir,
}

/// The HPKE configuration ids of leader, helper and collector.
pub const CONFIG_IDS: [u8; 3] = [1, 2, 3];

/// The only world.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("always: a run needs a temporary folder");
        let folder = TaskFolder::new(&dir.path().join("tasks"));
        let tasks = [ProfileChoice::Arras, ProfileChoice::Plain].map(|profile| {
            let (task, file) = task_file(profile).build().unwrap();
            folder.add(task.id(), &file).unwrap();
            task
        });
        let key = |byte| PrivateKey::from_bytes([byte; 32]);
        let token = |text: &str| BearerToken::new(SecretString::new(text)).unwrap();
        let mut world = Self {
            tasks: tasks.into(),
            folder,
            leader: LEADER.parse().unwrap(),
            helper: HELPER.parse().unwrap(),
            leader_key: key(1),
            helper_key: key(2),
            collector_key: key(3),
            signer: Arc::new(SigningKey::from_bytes(&[4; 32])),
            leader_token: token("the-leaders-token-for-the-helper"),
            collector_token: token("the-collectors-token-for-the-leader"),
            reports: Vec::new(),
            twins: Vec::new(),
            _dir: dir,
        };
        for task in 0..world.tasks.len() {
            let make = |twin| (0..HOURS).map(|hour| world.make(task, hour, twin)).collect();
            let (reports, twins) = (make(false), make(true));
            world.reports.push(reports);
            world.twins.push(twins);
        }
        world
    }

    /// The reports of an hour, or others with the same ids in the hour after it.
    fn make(&self, task: usize, hour: u8, twin: bool) -> Vec<StockReport> {
        let config = |role: usize, key: &PrivateKey| HpkeConfig::new(CONFIG_IDS[role], &key.public_key());
        let (leader, helper) = (config(0, &self.leader_key), config(1, &self.helper_key));
        let maker = ReportMaker::new(&self.tasks[task], &leader, &helper).unwrap();
        let one = |slot: u8| {
            // The id is the first thing that is drawn, so the same seed gives the same id.
            let seed = (task as u64) << 32 | u64::from(hour) << 16 | u64::from(slot);
            let mut rng = StdRng::seed_from_u64(seed);
            let key = Key { task: task as u8, hour, slot, twin };
            let posix = (FIRST_HOUR + u64::from(key.window())) * PRECISION;
            let measurement = Measurement::Bucket(key.cell() as u32);
            let report = maker.make(&mut rng, posix, &measurement, None).unwrap();
            StockReport { id: report.metadata.report_id, encoded: report.to_bytes() }
        };
        (0..SLOTS).map(one).collect()
    }

    /// A report of the stock.
    pub fn report(&self, key: Key) -> &StockReport {
        let stock = if key.twin { &self.twins } else { &self.reports };
        &stock[usize::from(key.task)][usize::from(key.hour)][usize::from(key.slot)]
    }

    /// The collectors that both aggregators know, with a budget of so many releases an epoch.
    pub fn collectors(&self, releases: u64) -> Collectors {
        let rules = SourceRules { epoch_start: EPOCH_START, cap: releases * COST };
        Collectors(vec![RegisteredCollector {
            name: COLLECTOR.to_owned(),
            hpke_config: HpkeConfig::new(CONFIG_IDS[2], &self.collector_key.public_key()),
            token: Some(self.collector_token.hash()),
            budget_sources: vec![RegisteredSource { name: source(), rules, task_caps: TaskCaps::default() }],
        }])
    }
}

/// The budget source of both tasks.
pub fn source() -> BudgetSource {
    BudgetSource::new(SOURCE).unwrap()
}

/// A report: that of a slot in an hour, or its twin, which has its id and is of the next hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub task: u8,
    pub hour: u8,
    pub slot: u8,
    pub twin: bool,
}

impl Key {
    /// The hour that it counts in.
    pub fn window(self) -> u8 {
        self.hour + u8::from(self.twin)
    }

    pub fn cell(self) -> usize {
        usize::from(self.slot)
            + usize::from(SLOTS) * usize::from(self.window() % 2)
            + 2 * usize::from(SLOTS) * usize::from(self.twin)
    }

    /// The other report of the same id.
    pub fn other(self) -> Self {
        Self { twin: !self.twin, ..self }
    }
}

/// A window of hours.
pub fn interval(hour: u8, hours: u8) -> Interval {
    Interval::new(Time(FIRST_HOUR + u64::from(hour)), Duration(u64::from(hours))).unwrap()
}

fn task_file(profile: ProfileChoice) -> TaskFile {
    TaskFile {
        name: format!("{profile:?}"),
        profile,
        leader: LEADER.to_owned(),
        helper: HELPER.to_owned(),
        vdaf: VdafChoice::Histogram { length: CELLS.into() },
        time_precision: PRECISION,
        min_batch_size: MIN_BATCH,
        epsilon: "0.0001".parse().unwrap(),
        contributions: NonZeroU32::MIN,
        threshold: Some(0),
        budget_source: SOURCE.to_owned(),
        collector: COLLECTOR.to_owned(),
        campaigns: Vec::new(),
        conversions: None,
    }
}
