//! The demo's advertiser: a shop whose campaigns are the channels of the journeys.

use std::num::NonZeroU32;
use std::sync::Arc;

use arras_protocol::codec::Encode as _;
use arras_protocol::report::ReportMaker;
use arras_protocol::task::{MIN_MIN_BATCH_SIZE, Task};
use arras_protocol::vdaf::Measurement;
use indicatif::ProgressBar;
use ring::rand::SystemRandom;

use super::delivery;
use super::orders::Order;
use crate::cli::Failure;
use crate::cli::demo::clients::{Clients, attribute, engine_config, in_requests};
use crate::cli::demo::journeys::Journeys;
use crate::collector::CollectorDisk;
use crate::config::Config;
use crate::config::loopback::{BUDGET_SOURCE, COLLECTOR};
use crate::registry::{
    AdvertiserId, Cadence, Currency, DeliveryRow, EventKind, Generation, Name, NewAdvertiser, NewCampaign,
    Registry, Setup, Status, Terms, TimeZone, Touches, ValueTerms,
};
use crate::schedule::DayRange;
use crate::tasks::{TaskFile, TaskFolder};

/// What the advertiser is called.
pub(super) const NAME: &str = "Demo shop";

/// Where its days begin.
pub(super) const ZONE: &str = "Europe/Berlin";

const CURRENCY: &str = "EUR";

/// How long a window waits for late reports, in seconds. There are none here.
const GRACE_SECONDS: u32 = 900;

/// What each window spends of its week's budget, for its conversions and again for their values.
const EPSILON: &str = "1";

/// Minor units that are 1 in a sum of values: 10 cents.
const UNIT: u64 = 10;

/// The most that one order adds, in units: 15 EUR, which 99 of 100 orders of the built-in journeys stay below.
const MAX_VALUE: u64 = 150;

/// Channels that fit the smallest histogram, beside "not attributed". More would open further tasks, which a demo has no use for.
const CHANNELS_MAX: usize = 15;

/// A campaign that brought fewer conversions than this is shown as paused: somebody would have stopped paying for it.
const PAUSED_BELOW: u64 = 10;

/// What devices need of the shop.
pub(super) struct Shop {
    pub(super) advertiser: AdvertiserId,
    /// The bucket of each channel.
    buckets: Vec<u32>,
    pub(super) conversions: Task,
    pub(super) value: Task,
}

fn name(channel: &str) -> Result<Name, String> {
    let named = |error| format!("--journeys: the channel {channel:?} cannot be a campaign: {error}");
    channel.parse().map_err(named)
}

/// Whether the channels can be campaigns of the shop; before anything is written.
pub(super) fn check(journeys: &Journeys) -> Result<(), String> {
    let channels = journeys.channels.len();
    if channels > CHANNELS_MAX {
        return Err(format!(
            "--journeys: {channels} channels, and the demo's console has room for {CHANNELS_MAX} campaigns"
        ));
    }
    journeys.channels.iter().try_for_each(|channel| name(channel).map(drop))
}

/// The registry of a collector that does not run yet.
fn registry(config: &Config) -> Result<Registry, Failure> {
    let collector = config.collector.as_ref().ok_or("the demo's configuration has a collector")?;
    let own = collector.advertising.as_ref().ok_or("the demo's collector has advertisers")?;
    let disk = Arc::new(CollectorDisk::open(&collector.store, &collector.watermark)?);
    let setup = Setup {
        leader: collector.leader.endpoint.clone(),
        helper: own.helper.clone(),
        collector: COLLECTOR.to_owned(),
        tasks: TaskFolder::new(&collector.tasks),
    };
    Ok(Registry::open(disk, setup, Arc::new(SystemRandom::new()))?)
}

/// Makes the shop, as if it had been there since the first of the days, and lets both aggregators take part in its tasks. The
/// roles must not run yet. Blocks.
pub(super) fn open(
    config: &Config,
    journeys: &Journeys,
    (days, zone): (DayRange, &TimeZone),
    now: u64,
) -> Result<Shop, Failure> {
    let registry = registry(config)?;
    let opened = days.seconds(zone).start;
    let currency: Currency = CURRENCY.parse()?;
    let new = NewAdvertiser {
        name: NAME.parse()?,
        site: BUDGET_SOURCE.to_owned(),
        time_zone: zone.clone(),
        currency,
        cadence: Cadence::Day,
        grace_seconds: GRACE_SECONDS,
        events: vec![EventKind::OrderCreated],
        touches: Touches::Together,
        terms: terms()?,
    };
    let advertiser = registry.create_advertiser(new, opened)?.id;
    let mut campaigns = Vec::new();
    for (channel, count) in journeys.channels.iter().zip(journeys.last_touch_counts()) {
        let campaign = NewCampaign {
            name: name(channel)?,
            status: if count < PAUSED_BELOW { Status::Paused } else { Status::Active },
            start: days.first(),
            end: None,
            currency,
            goal: EventKind::OrderCreated,
        };
        campaigns.push(registry.create_campaign(advertiser, &campaign, opened)?);
    }
    let invented = delivery::invent(journeys, days);
    let rows: Vec<_> = invented
        .iter()
        .map(|day| DeliveryRow {
            campaign: campaigns[day.channel].id,
            day: day.day,
            impressions: day.impressions,
            clicks: day.clicks,
            spend: day.spend,
        })
        .collect();
    registry.upsert_delivery(advertiser, &rows, true, now)?;

    let generations = registry.generations(advertiser);
    let generation = generations.last().ok_or("the campaigns opened no tasks")?;
    let bucket = |campaign| bucket(generation, campaign);
    let buckets = campaigns.iter().map(|campaign| bucket(campaign.id)).collect::<Result<_, _>>()?;
    let mut tasks = take_part(config, &registry, advertiser)?;
    let mut task = |id| {
        let at = tasks.iter().position(|task| task.id() == id);
        at.map(|at| tasks.swap_remove(at)).ok_or("a task of the shop has no file")
    };
    let value = generation.value.ok_or("the shop counts no values")?;
    Ok(Shop { advertiser, buckets, conversions: task(generation.conversions)?, value: task(value.task)? })
}

fn terms() -> Result<Terms, Failure> {
    let epsilon = EPSILON.parse()?;
    Ok(Terms {
        epsilon,
        contributions: NonZeroU32::MIN,
        min_batch_size: MIN_MIN_BATCH_SIZE,
        value: Some(ValueTerms { epsilon, unit: UNIT, max_value: MAX_VALUE }),
    })
}

fn bucket(generation: &Generation, campaign: crate::registry::CampaignId) -> Result<u32, Failure> {
    let slot = generation.slots_of(campaign).next().ok_or("a campaign has no slot")?.0;
    Ok(generation.bucket(EventKind::OrderCreated, slot).ok_or("a slot has no bucket")?)
}

/// What the operators of both aggregators do with the files of an advertiser's tasks.
fn take_part(config: &Config, registry: &Registry, advertiser: AdvertiserId) -> Result<Vec<Task>, Failure> {
    let mut tasks = Vec::new();
    for text in registry.task_files(advertiser)? {
        let (task, file) = TaskFile::parse(&text.toml)?.build()?;
        for aggregator in config.aggregators() {
            TaskFolder::new(aggregator.tasks).add(task.id(), &file)?;
        }
        tasks.push(task);
    }
    Ok(tasks)
}

/// Encoded upload requests: of conversions, and of their values.
pub(super) type Bodies = (Vec<u8>, Vec<u8>);

impl Shop {
    /// Lets people buy, each on a device of their own, which sends a report of each task.
    pub(super) fn make_reports(
        &self,
        clients: &Clients,
        orders: &[Order<'_>],
        bar: &ProgressBar,
    ) -> Result<Vec<Bodies>, Failure> {
        let (conversions, value) = (clients.maker(&self.conversions)?, clients.maker(&self.value)?);
        let config = engine_config();
        let cells = self.conversions.vdaf().config().output_len();
        in_requests(orders, bar, |order, bodies: &mut Bodies| {
            let bucket = |channel: usize| Ok(self.buckets[channel]);
            let journey = (order.journey, order.posix_seconds);
            let bucket = attribute(&config, u32::try_from(cells)?, journey, bucket)?;
            write(&conversions, order, &Measurement::Bucket(bucket), &mut bodies.0)?;
            let mut sums = vec![0; cells];
            // What is above the maximum is cut off on the device, and what is below a unit is nothing.
            if let Some(cell) = sums.get_mut(usize::try_from(bucket)?).filter(|_| bucket > 0) {
                *cell = (order.value / UNIT).min(MAX_VALUE);
            }
            write(&value, order, &Measurement::Vector(sums), &mut bodies.1)
        })
    }
}

fn write(
    maker: &ReportMaker<'_>,
    order: &Order<'_>,
    measurement: &Measurement,
    body: &mut Vec<u8>,
) -> Result<(), Failure> {
    maker.make(&mut rand::rng(), order.posix_seconds, measurement, None)?.encode(body);
    Ok(())
}
