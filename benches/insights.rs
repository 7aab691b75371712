//! `cargo bench --bench insights`: what answers to advertisers cost, beside a bare sum over as many numbers of the same run; both
//! layouts of the numbers; what a request for the console's table costs, from the store to the page; and what it takes to read
//! the numbers when a collector starts. CPU time of the process. Options: `--rounds N`, `--releases N` (of 1,024 buckets, for the
//! start; each is synced), `--dir DIR`.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench prints what it measures"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arras::aggregator::SystemClock;
use arras::cli::demo::cpu_time;
use arras::collector::{
    Bucket, Cell, Charged, CollectorDisk, CollectorStore as _, Draft, Estimate, Keys, Measured, Moment,
    NoiseScales, Policy, RELEASE_VERSION, Release, Span,
};
use arras::insights::{
    Books, Delivery, Entry, Facts, Granularity, Insights, Level, Listed, Noises, Query, Terms, answer,
};
use arras::privacy::noise::Scale;
use arras::registry::{
    Advertiser, AdvertiserId, Cadence, Campaign, CampaignId, Delivered, EventKind, Generation, Registry,
    Setup, Slot, Status, Terms as OfAdvertiser, TimeZone, Touches, ValueTask,
};
use arras::schedule::{Calendar, DayRange};
use arras::tasks::TaskFolder;
use arras_protocol::messages::{Duration as Steps, Interval, TaskId, Time};
use arras_protocol::signed::SigningKey;
use jiff::ToSpan as _;
use jiff::civil::{Date, date};

mod common;
#[path = "insights/running.rs"]
mod running;

/// The first day of everything.
const FIRST: Date = date(2024, 1, 1);

struct Options {
    rounds: u32,
    releases: u64,
    dir: PathBuf,
}

fn main() {
    let options = options();
    layouts(options.rounds);
    println!();
    println!("answers; ms of CPU, the least of {} rounds; cold: no noise is known yet", options.rounds);
    println!(
        "{:<64} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8}",
        "query", "rows", "cells", "cold", "warm", "floor", "ratio"
    );
    // Half of the cells are values.
    let table = Shop::new(Cadence::Day, 90, 1_000, 1_024);
    table.measure(&options, "1,000 campaigns x 90 days, table", Query::clone);
    table.measure(&options, "1,000 campaigns x 90 days, a row a day", daily);
    table.measure(&options, "1,000 campaigns x 90 days, account by day", |query| Query {
        level: Level::Account,
        ..daily(query)
    });
    let one = table.campaigns[500].id;
    table.measure(&options, "1,000 campaigns x 90 days, one campaign by day", |query| Query {
        campaign: Some(one),
        ..daily(query)
    });
    drop(table);
    let hours = Shop::new(Cadence::Hour, 326, 62, 64);
    hours.measure(&options, "62 campaigns x 326 days of hours, table", Query::clone);
    hours.measure(&options, "62 campaigns x 326 days of hours, a row a day", daily);
    drop(hours);
    let days = Shop::new(Cadence::Day, 490, 1_000, 1_024);
    days.measure(&options, "1,000 campaigns x 490 days, table", Query::clone);
    let weekly = |query: &Query| Query { granularity: Granularity::Week, ..query.clone() };
    days.measure(&options, "1,000 campaigns x 490 days, a row a week", weekly);
    drop(days);
    println!();
    running::request(&options);
    start(&options);
}

fn daily(query: &Query) -> Query {
    Query { granularity: Granularity::Day, ..query.clone() }
}

fn options() -> Options {
    let mut options = Options { rounds: 5, releases: 200, dir: common::target_dir() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse().ok()).expect("a number");
        match argument.as_str() {
            "--rounds" => options.rounds = number(),
            "--releases" => options.releases = number().into(),
            "--dir" => options.dir = arguments.next().expect("--dir DIR").into(),
            // What cargo passes to every bench.
            _ => {}
        }
    }
    options
}

/// The least CPU time of some rounds, and the last result.
fn least<T>(rounds: u32, mut work: impl FnMut() -> T) -> (T, f64) {
    let mut least = Duration::MAX;
    let mut result = None;
    for _ in 0..rounds.max(1) {
        let cpu = cpu_time();
        let made = black_box(work());
        least = least.min(cpu_time().saturating_sub(cpu));
        result = Some(made);
    }
    (result.expect("one round at least"), least.as_secs_f64() * 1e3)
}

/// A million numbers of 1,024 buckets and 977 windows in one piece of memory: by bucket, and by window.
fn layouts(rounds: u32) {
    const BUCKETS: usize = 1_024;
    const WINDOWS: usize = 977;
    let cells: Vec<i64> = (0..BUCKETS * WINDOWS).map(|n| i64::try_from(n % 997).expect("small")).collect();
    let columns = |range: Range<usize>| -> Vec<i128> {
        cells
            .chunks(WINDOWS)
            .map(|column| column[range.clone()].iter().map(|cell| i128::from(*cell)).sum())
            .collect()
    };
    let rows = |range: Range<usize>| -> Vec<i128> {
        let mut sums = vec![0_i128; BUCKETS];
        for row in cells.chunks(BUCKETS).skip(range.start).take(range.len()) {
            for (sum, cell) in sums.iter_mut().zip(row) {
                *sum += i128::from(*cell);
            }
        }
        sums
    };
    println!("layouts; us of CPU for 1,024 buckets x 977 windows, 8 MB");
    println!("{:<40} {:>10} {:>10}", "sum of", "by bucket", "by window");
    for (what, range) in [("all buckets, all windows", 0..WINDOWS), ("all buckets, 90 windows", 500..590)] {
        let (_, column) = least(rounds, || columns(range.clone()));
        let (_, row) = least(rounds, || rows(range.clone()));
        println!("{what:<40} {:>10.0} {:>10.0}", column * 1e3, row * 1e3);
    }
    // So short that it is repeated.
    let (_, column) = least(rounds, || {
        (0..BUCKETS)
            .map(|at| cells[at * WINDOWS..(at + 1) * WINDOWS].iter().map(|c| i128::from(*c)).sum::<i128>())
            .sum::<i128>()
    });
    let (_, row) = least(rounds, || {
        (0..BUCKETS)
            .map(|at| (0..WINDOWS).map(|w| i128::from(cells[w * BUCKETS + at])).sum::<i128>())
            .sum::<i128>()
    });
    println!(
        "{:<40} {:>10.1} {:>10.1}",
        "one bucket, all windows",
        column * 1e3 / 1_024.0,
        row * 1e3 / 1_024.0
    );
}

/// An advertiser with delivery numbers of every campaign and day, and releases of conversions and values of every window.
struct Shop {
    advertiser: Advertiser,
    campaigns: Vec<Arc<Campaign>>,
    generations: Vec<Arc<Generation>>,
    facts: Facts,
    delivery: Given,
    listed: Vec<Listed>,
    last: Date,
}

struct Given(HashMap<CampaignId, Vec<Delivered>>);

impl Delivery for Given {
    fn each(&self, campaign: CampaignId, first: Date, last: Date, visit: &mut dyn FnMut(&Delivered)) {
        let rows = self.0.get(&campaign).map_or(&[][..], Vec::as_slice);
        let start = rows.partition_point(|row| row.day < first);
        rows[start..].iter().take_while(|row| row.day <= last).for_each(visit);
    }

    fn span(&self, campaign: CampaignId) -> Option<(Date, Date)> {
        let rows = self.0.get(&campaign)?;
        Some((rows.first()?.day, rows.last()?.day))
    }
}

impl Shop {
    fn new(cadence: Cadence, days: i32, campaigns: u32, length: u32) -> Self {
        let advertiser = advertiser(cadence);
        let last = FIRST.saturating_add((days - 1).days());
        let time = DayRange::new(FIRST, last).expect("in order").seconds(&advertiser.time_zone);
        let windows: Vec<Range<u64>> = Calendar::of(&advertiser)
            .windows(time.start, time.end)
            .map(|window| window.from().seconds()..window.to().seconds())
            .collect();
        let campaigns: Vec<Arc<Campaign>> =
            (0..campaigns).map(|n| Arc::new(campaign(&advertiser, n))).collect();
        let generation = Generation {
            number: 1,
            events: vec![EventKind::OrderCreated],
            capacity: length - 1,
            length,
            slots: campaigns.iter().map(|one| Some(Slot { campaign: one.id, touch: None })).collect(),
            conversions: TaskId::new([1; 32]),
            value: Some(ValueTask { task: TaskId::new([2; 32]), unit: 100, max_value: 500 }),
            opened: advertiser.created,
            closed: None,
        };
        let mut facts = Facts::default();
        for (window, sequence) in windows.iter().zip((1_u64..).step_by(2)) {
            insert(&mut facts, &generation, window, sequence);
        }
        facts.shrink();
        let listed =
            |window: &Range<u64>| Listed { generation: 1, from: window.start, to: window.end, missing: None };
        let delivery = Given(campaigns.iter().map(|one| (one.id, delivered(one.id, days))).collect());
        Self {
            listed: windows.iter().map(listed).collect(),
            generations: vec![Arc::new(generation)],
            advertiser,
            campaigns,
            facts,
            delivery,
            last,
        }
    }

    fn measure(&self, options: &Options, what: &str, change: impl FnOnce(&Query) -> Query) {
        let books = Books {
            advertiser: &self.advertiser,
            campaigns: &self.campaigns,
            generations: &self.generations,
            delivery: &self.delivery,
            listed: &self.listed,
            now: u64::MAX,
        };
        let query = change(&Query::campaigns(self.advertiser.id, FIRST, self.last));
        let ask = |noises: &Noises| answer(&self.facts, noises, &books, &query).expect("an answer");
        let cells: Vec<i64> =
            (0..self.facts.cells()).map(|n| i64::try_from(n % 997).expect("small")).collect();
        let (_, floor) = least(options.rounds, || cells.iter().map(|cell| i128::from(*cell)).sum::<i128>());
        let (_, cold) = least(options.rounds, || ask(&Noises::default()));
        let noises = Noises::default();
        ask(&noises);
        let (table, warm) = least(options.rounds, || ask(&noises));
        println!(
            "{what:<64} {:>8} {:>10} {cold:>8.2} {warm:>8.2} {floor:>8.2} {:>8.1}",
            table.rows.len(),
            self.facts.cells(),
            warm / floor
        );
    }
}

fn advertiser(cadence: Cadence) -> Advertiser {
    let time_zone = TimeZone::UTC;
    let created = DayRange::day(FIRST).seconds(&time_zone).start;
    Advertiser {
        id: AdvertiserId::from_bytes([1; 12]),
        name: "Shop".parse().expect("a name"),
        site: "shop.example".to_owned(),
        time_zone,
        currency: "EUR".parse().expect("a currency"),
        cadence,
        grace_seconds: 7_200,
        events: vec![EventKind::OrderCreated],
        touches: Touches::Together,
        terms: OfAdvertiser {
            epsilon: "1".parse().expect("an epsilon"),
            contributions: NonZeroU32::MIN,
            min_batch_size: 100,
            value: None,
        },
        created,
    }
}

fn campaign(advertiser: &Advertiser, number: u32) -> Campaign {
    let mut id = [0; 12];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Campaign {
        id: CampaignId::from_bytes(id),
        advertiser: advertiser.id,
        name: format!("campaign {number}").parse().expect("a name"),
        status: Status::Active,
        start: FIRST,
        end: None,
        currency: advertiser.currency,
        goal: EventKind::OrderCreated,
        // A tenth came later, at ten different times, as some do: their sums have other noise.
        created: advertiser.created
            + if number.is_multiple_of(10) { u64::from(number / 100) * 86_400 } else { 0 },
    }
}

fn delivered(campaign: CampaignId, days: i32) -> Vec<Delivered> {
    let day = |n: i32| Delivered {
        campaign,
        day: FIRST.saturating_add(n.days()),
        impressions: 1_000,
        clicks: 20,
        spend: 10_000,
        invented: true,
    };
    (0..days).map(day).collect()
}

fn insert(facts: &mut Facts, generation: &Generation, window: &Range<u64>, sequence: u64) {
    let cells: Vec<i128> = (0..generation.length).map(|n| i128::from(n % 97) + 20).collect();
    let mut put = |task, sequence, conversions, max_of_report: u64, cells: &[i128]| {
        let scale = Scale::new(2 * max_of_report, "1".parse().expect("an epsilon")).expect("a scale");
        let terms = Terms { scale, threshold: 40, max_of_report };
        let entry =
            Entry { task, window: window.clone(), sequence, reports: 100_000, conversions, terms, cells };
        facts.insert(&entry).expect("a release that fits");
    };
    put(generation.conversions, sequence, None, 1, &cells);
    let value = generation.value.expect("there is one");
    let values: Vec<i128> = cells.iter().map(|cell| cell * 40).collect();
    put(value.task, sequence + 1, Some(sequence), value.max_value, &values);
}

/// Reading all numbers of a store.
fn start(options: &Options) {
    let dir = tempfile::tempdir_in(&options.dir).expect("a directory for the store");
    let disk =
        CollectorDisk::open(&dir.path().join("store"), &dir.path().join("mark")).expect("an empty store");
    let (disk, signer) = (Arc::new(disk), Arc::new(SigningKey::generate(&mut rand::rng())));
    for number in 0..options.releases {
        let window = Interval::new(Time(number * 24 + 1_000), Steps(24)).expect("a window");
        disk.begin(TaskId::new([1; 32]), window, b"request", 0).expect("a window");
        let draft = Draft::of_parts(release(number), (0..1_024).collect(), Arc::clone(&signer));
        disk.finish(TaskId::new([1; 32]), window, draft).expect("a release");
    }
    let setup = Setup {
        leader: "https://leader.example/".parse().expect("an endpoint"),
        helper: "https://helper.example/".parse().expect("an endpoint"),
        collector: "advertiser".to_owned(),
        tasks: TaskFolder::new(&dir.path().join("tasks")),
    };
    let random = Arc::new(ring::rand::SystemRandom::new());
    let registry = Registry::open(Arc::clone(&disk), setup, random).expect("a registry");
    let open = || {
        Insights::open(Arc::clone(&disk) as _, registry.clone(), None, Arc::new(SystemClock))
            .expect("insights")
    };
    let (insights, opened) = least(options.rounds, open);
    let ((), again) = least(options.rounds, || (0..1_000).for_each(|_| insights.refresh().expect("a store")));
    let cells = options.releases as f64 * 1_024.0;
    println!(
        "start: {} releases of 1,024 buckets in {opened:.0} ms of CPU, {:.0} ms a million cells; a look that finds nothing new: {:.1} us",
        options.releases,
        opened * 1e6 / cells,
        again
    );
}

fn release(number: u64) -> Release {
    let hour =
        |n: u64| Moment::from_seconds((number * 24 + 1_000 + n) * 3_600).expect("before the year 9999");
    let window = Span::new(hour(0), hour(24)).expect("a day");
    let scale = || "2/1".to_owned();
    let bucket = |bucket: u32| Bucket {
        bucket,
        campaign: Some(format!("order_created #{bucket}")),
        not_attributed: false,
        cell: Cell::Shown(Estimate {
            estimate: bucket.into(),
            standard_error: "4.000".to_owned(),
            low: 0,
            high: 2_000,
        }),
    };
    Release {
        version: RELEASE_VERSION,
        sequence: 0,
        task: TaskId::new([1; 32]).to_string(),
        name: Some("shop.example/conversions/1".to_owned()),
        vdaf: Measured::Histogram { length: 1_024 },
        conversions: None,
        window,
        reports: window,
        report_count: 100_000,
        policy: Policy {
            mechanism: "discrete Laplace".to_owned(),
            epsilon: "1".parse().expect("an epsilon"),
            sensitivity: 2,
            contributions: NonZeroU32::MIN,
            threshold: 40,
            bound: true,
        },
        noise: NoiseScales { leader: scale(), helper: scale() },
        confidence: "0.95".to_owned(),
        charge: Charged {
            budget_source: "shop.example".to_owned(),
            epsilon_per_epoch: "1".to_owned(),
            epochs: None,
        },
        leader: "https://leader.example/".to_owned(),
        helper: "https://helper.example/".to_owned(),
        keys: Some(Keys { signing: TaskId::new([9; 32]).to_string(), collector_hpke: 1 }),
        buckets: (0..1_024).map(bucket).collect(),
    }
}
