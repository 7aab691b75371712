//! What a request for the console's table of campaigns costs: the questions to a collector's store, registry and schedule, the page and the
//! file that are made of the answers.

use std::num::NonZeroU32;
use std::sync::Arc;

use arras::aggregator::SystemClock;
use arras::collector::{
    Collector, CollectorDisk, CollectorParts, CollectorStore as _, Draft, Moment, Release, Span, Timing,
};
use arras::console::campaigns::{Campaigns, Order, view};
use arras::console::layout::PageContext;
use arras::console::range::Range as Days;
use arras::console::{export, format};
use arras::insights::{Insights, Level, Query};
use arras::metrics::{CollectorMetrics, ScheduleMetrics};
use arras::net::auth::TokenHash;
use arras::net::client::PeerClient;
use arras::registry::{
    Advertiser, Cadence, DELIVERY_ROWS_MAX, DeliveryRow, EventKind, NewAdvertiser, NewCampaign, Registry,
    Setup, Status, TIME_PRECISION_SECONDS, Terms, TimeZone, Touches,
};
use arras::schedule::{DayRange, Schedule, ScheduleParts};
use arras::tasks::TaskFolder;
use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::{Duration as Steps, Interval, Time};
use arras_protocol::signed::SigningKey;
use jiff::ToSpan as _;
use ring::rand::SystemRandom;

use super::{FIRST, Options, least, release};

/// Days of the table.
const DAYS: i64 = 90;

/// Campaigns of it.
const CAMPAIGNS: u32 = 1_000;

/// Every so many days one is not released, so that the schedule is asked about gaps, too.
const MISSING_EVERY: i64 = 10;

/// A collector on a disk.
struct Running {
    disk: Arc<CollectorDisk>,
    registry: Registry,
    signer: Arc<SigningKey>,
    tasks: TaskFolder,
}

/// Measures it.
pub(super) fn request(options: &Options) {
    let dir = tempfile::tempdir_in(&options.dir).expect("a directory for the store");
    let disk =
        CollectorDisk::open(&dir.path().join("store"), &dir.path().join("mark")).expect("an empty store");
    let disk = Arc::new(disk);
    let tasks = TaskFolder::new(&dir.path().join("tasks"));
    let setup = Setup {
        leader: "http://127.0.0.1:8/".parse().expect("an endpoint"),
        helper: "http://127.0.0.1:9/".parse().expect("an endpoint"),
        collector: "advertiser".to_owned(),
        tasks: tasks.clone(),
    };
    let registry =
        Registry::open(Arc::clone(&disk), setup, Arc::new(SystemRandom::new())).expect("a registry");
    let running = Running { disk, registry, signer: Arc::new(SigningKey::generate(&mut rand::rng())), tasks };
    let advertiser = running.fill();
    let insights = Insights::open(
        Arc::clone(&running.disk) as _,
        running.registry.clone(),
        Some(running.schedule()),
        Arc::new(SystemClock),
    )
    .expect("insights");
    let to = FIRST.saturating_add((DAYS - 1).days());
    let query = Query::campaigns(advertiser.id, FIRST, to);
    let account = Query { level: Level::Account, ..query.clone() };
    let ask = |query: &Query| insights.query(query).expect("an answer");
    let (answer, asked) = least(options.rounds, || ask(&query));
    let (total, asked_total) = least(options.rounds, || ask(&account));
    let campaigns = running.registry.campaigns(advertiser.id);
    let ctx = PageContext {
        advertiser: advertiser.name.to_string(),
        user: "ada@shop.example".to_owned(),
        csrf: "token".to_owned(),
        manages: true,
        administers: true,
        notice: None,
    };
    let range = Days { from: FIRST, to, last: None, problem: None };
    let page = Campaigns {
        advertiser: &advertiser,
        range: &range,
        today: to.saturating_add(1.day()),
        order: Order::new(None, None),
        page: 1,
        campaigns: &campaigns,
        answer: &answer,
        account: &total,
    };
    let (html, rendered) = least(options.rounds, || view(&ctx, &page).render(&ctx).into_string());
    let (file, exported) =
        least(options.rounds, || export::campaigns(&advertiser, &range, &answer).expect("a file"));
    let coverage = &total.rows[0].coverage;
    println!(
        "a request for the table of {CAMPAIGNS} campaigns x {DAYS} days, {} of {} windows released; ms of CPU: campaigns {asked:.1}, \
         account {asked_total:.1}, page of {} {rendered:.1}; as CSV of {} {exported:.1}",
        coverage.released,
        coverage.windows,
        format::grouped(i128::try_from(html.len()).expect("bytes")),
        format::grouped(i128::try_from(file.len()).expect("bytes")),
    );
}

impl Running {
    /// An advertiser with campaigns, their delivery numbers, and releases of most days.
    fn fill(&self) -> Arc<Advertiser> {
        let zone = TimeZone::UTC;
        let now = DayRange::day(FIRST).seconds(&zone).start;
        let new = NewAdvertiser {
            name: "Shop".parse().expect("a name"),
            site: "shop.example".to_owned(),
            time_zone: zone,
            currency: "EUR".parse().expect("a currency"),
            cadence: Cadence::Day,
            grace_seconds: 7_200,
            events: vec![EventKind::OrderCreated],
            touches: Touches::Together,
            terms: Terms {
                epsilon: "1".parse().expect("an epsilon"),
                contributions: NonZeroU32::MIN,
                min_batch_size: 100,
                value: None,
            },
        };
        let advertiser = self.registry.create_advertiser(new, now).expect("an advertiser");
        for number in 0..CAMPAIGNS {
            let new = NewCampaign {
                name: format!("campaign {number}").parse().expect("a name"),
                status: Status::Active,
                start: FIRST,
                end: None,
                currency: advertiser.currency,
                goal: EventKind::OrderCreated,
            };
            self.registry.create_campaign(advertiser.id, &new, now).expect("a campaign");
        }
        let days: Vec<_> = (0..DAYS).map(|day| FIRST.saturating_add(day.days())).collect();
        let campaigns = self.registry.campaigns(advertiser.id);
        let row =
            |campaign, day| DeliveryRow { campaign, day, impressions: 1_000, clicks: 20, spend: 10_000 };
        let rows: Vec<_> =
            campaigns.iter().flat_map(|one| days.iter().map(move |day| row(one.id, *day))).collect();
        for part in rows.chunks(DELIVERY_ROWS_MAX) {
            let later = now + (DAYS.unsigned_abs() + 1) * 86_400;
            self.registry.upsert_delivery(advertiser.id, part, true, later).expect("rows that are taken");
        }
        for (number, day) in (0..DAYS).zip(&days) {
            if number % MISSING_EVERY != 3 {
                self.release(&advertiser, DayRange::day(*day).seconds(&advertiser.time_zone));
            }
        }
        advertiser
    }

    fn release(&self, advertiser: &Advertiser, time: std::ops::Range<u64>) {
        let generations = self.registry.generations(advertiser.id);
        let generation = generations.last().expect("there is one");
        let steps = |seconds: u64| seconds / TIME_PRECISION_SECONDS;
        let interval = Interval::new(Time(steps(time.start)), Steps(steps(time.end) - steps(time.start)));
        let moment = |second| Moment::from_seconds(second).expect("before the year 9999");
        let window = Span::new(moment(time.start), moment(time.end)).expect("a day");
        let released =
            Release { task: generation.conversions.to_string(), window, reports: window, ..release(0) };
        let interval = interval.expect("a window");
        self.disk.begin(generation.conversions, interval, b"request", 0).expect("a window");
        let draft = Draft::of_parts(released, (0..1_024).collect(), Arc::clone(&self.signer));
        self.disk.finish(generation.conversions, interval, draft).expect("a release");
    }

    /// A schedule that collects nothing: it knows where windows stand.
    fn schedule(&self) -> Schedule {
        let collector = Collector::new(CollectorParts {
            store: Arc::clone(&self.disk) as _,
            tasks: self.tasks.clone(),
            manifests: None,
            leader: PeerClient::new("http://127.0.0.1:8/".parse().expect("an endpoint"), None, None)
                .expect("a client"),
            keys: vec![(1, PrivateKey::generate(&mut rand::rng()))],
            signer: Arc::clone(&self.signer),
            former_keys: Vec::new(),
            epoch_starts: Vec::new(),
            admin_token: TokenHash::of("admin"),
            clock: Arc::new(SystemClock),
            timing: Timing::default(),
            metrics: CollectorMetrics::default(),
        });
        Schedule::open(ScheduleParts {
            collector,
            disk: Arc::clone(&self.disk),
            registry: self.registry.clone(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom::new()),
            metrics: ScheduleMetrics::default(),
        })
        .expect("a schedule")
    }
}
