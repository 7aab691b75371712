//! The devices of the demo: each conversion is made by a device of its own.

use std::num::TryFromIntError;

use arras_client::attribution::{
    AggregationService, Config, ConversionOptions, Engine, ImplicitInputs, ImpressionOptions, MemoryStore,
    Moment, NOT_ATTRIBUTED, Protocol, Uniform,
};
use arras_client::upload::{Uploader, fetch_hpke_configs};
use arras_protocol::codec::Encode as _;
use arras_protocol::messages::{HpkeConfig, TaskId};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;
use indicatif::ProgressBar;
use rayon::prelude::*;
use tokio::task::JoinSet;

use super::DAY;
use super::journeys::{Journey, Journeys};
use crate::cli::Failure;

/// Reports in an upload request, as a relay that gathers reports would send them.
const REPORTS_PER_REQUEST: usize = 100;

/// Requests under way at once.
const UPLOADS_AT_ONCE: usize = 8;

/// Reports that are made before they are uploaded; a whole number of requests. At 5.5 kB, those of the largest
/// histogram here, they take 275 MB of memory; a file of a million conversions at once would take 20 times that.
pub(super) const REPORTS_AT_ONCE: usize = 50_000;

pub(super) struct Clients {
    uploader: Uploader,
    leader: HpkeConfig,
    helper: HpkeConfig,
}

impl Clients {
    /// Fetches the aggregators' HPKE configurations.
    pub(super) async fn connect(task: &Task) -> Result<Self, Failure> {
        let http = crate::net::client::device_client(None)?;
        let configuration = task.configuration();
        let leader = fetch_hpke_configs(&http, &configuration.leader).await?;
        let helper = fetch_hpke_configs(&http, &configuration.helper).await?;
        let supported = "an aggregator offers no HPKE configuration that this client speaks";
        Ok(Self {
            uploader: Uploader::new(http, configuration.leader.clone()),
            leader: leader.supported().ok_or(supported)?.clone(),
            helper: helper.supported().ok_or(supported)?.clone(),
        })
    }

    /// Lets the people of some conversions convert; returns encoded upload requests.
    pub(super) fn make_reports(
        &self,
        task: &Task,
        conversions: &[Dated<'_>],
        bar: &ProgressBar,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let maker = self.maker(task)?;
        let config = engine_config();
        in_requests(conversions, bar, |conversion, body| convert(task, &maker, &config, conversion, body))
    }

    /// Makes reports of a task.
    pub(super) fn maker<'a>(&'a self, task: &'a Task) -> Result<ReportMaker<'a>, Failure> {
        Ok(ReportMaker::new(task, &self.leader, &self.helper)?)
    }

    /// Uploads the requests; every report must be accepted.
    pub(super) async fn upload(&self, task: TaskId, requests: Vec<Vec<u8>>) -> Result<(), Failure> {
        let mut requests = requests.into_iter();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < UPLOADS_AT_ONCE {
                let Some(body) = requests.next() else { break };
                let uploader = self.uploader.clone();
                under_way.spawn(async move { uploader.upload_encoded(task, body).await });
            }
            let Some(uploaded) = under_way.join_next().await else { return Ok(()) };
            if let Some(refused) = uploaded??.first() {
                return Err(format!("the leader refused a report: {}", refused.error).into());
            }
        }
    }
}

/// Has reports written into the bodies of upload requests, on all cores.
pub(super) fn in_requests<T: Sync, B: Default + Send>(
    items: &[T],
    bar: &ProgressBar,
    write: impl Fn(&T, &mut B) -> Result<(), Failure> + Sync,
) -> Result<Vec<B>, Failure> {
    items
        .par_chunks(REPORTS_PER_REQUEST)
        .map(|items| {
            let mut body = B::default();
            for item in items {
                write(item, &mut body)?;
            }
            bar.inc(items.len() as u64);
            Ok(body)
        })
        .collect()
}

/// The end of a journey, at a time.
pub(super) struct Dated<'a> {
    journey: &'a Journey,
    posix_seconds: u64,
}

/// The conversions of all journeys, evenly over the day.
pub(super) fn over_the_day(journeys: &Journeys, day: u64) -> Vec<Dated<'_>> {
    let total = journeys.conversions();
    let each = journeys.journeys.iter().flat_map(|journey| (0..journey.conversions).map(move |_| journey));
    (0..).zip(each).map(|(at, journey)| Dated { journey, posix_seconds: day + at * DAY / total }).collect()
}

/// Where the people of the demo see ads, and where they convert.
const SITES: (&str, &str) = ("chat.example", crate::config::loopback::BUDGET_SOURCE);

/// How the devices' engine names the aggregators of the demo.
const SERVICE: &str = "arras:demo";

/// Each device converts once, so its budget is not what the demo shows: it has room for any epsilon.
pub(super) fn engine_config() -> Config {
    let service =
        AggregationService { protocol: Protocol::Dap18Histogram, max_histogram_size: None, dap: None };
    Config {
        services: [(SERVICE.to_owned(), service)].into(),
        site_budget: u32::MAX,
        global_budget: u32::MAX,
        impression_site_quota: u32::MAX,
        ..Config::default()
    }
}

/// One person: sees the ads of the journey in order, converts; the device's engine attributes, and a report is made.
fn convert(
    task: &Task,
    maker: &ReportMaker<'_>,
    config: &Config,
    dated: &Dated<'_>,
    body: &mut Vec<u8>,
) -> Result<(), Failure> {
    let cells = u32::try_from(task.vdaf().config().output_len())?;
    // Bucket 0 is "not attributed".
    let bucket = |channel| u32::try_from(channel + 1);
    let measurement =
        Measurement::Bucket(attribute(config, cells, (dated.journey, dated.posix_seconds), bucket)?);
    let report = maker.make(&mut rand::rng(), dated.posix_seconds, &measurement, None)?;
    report.encode(body);
    Ok(())
}

/// The bucket of the ad that the engine of a new device gives a conversion to: the end of a journey, at a POSIX second.
/// `bucket` says which one an ad of a channel has.
pub(super) fn attribute(
    config: &Config,
    cells: u32,
    (journey, posix_seconds): (&Journey, u64),
    bucket: impl Fn(usize) -> Result<u32, TryFromIntError>,
) -> Result<u32, Failure> {
    let mut engine = Engine::open(config.clone(), MemoryStore::default())?;
    let at = |site, seconds| ImplicitInputs::from_hosts(site, None, Moment::from_posix_seconds(seconds));
    let touches = journey.touches.len() as u64;
    for (index, channel) in journey.touches.iter().enumerate() {
        let options = ImpressionOptions::new(bucket(*channel)?);
        engine.save_impression(&at(SITES.0, posix_seconds - touches + index as u64)?, &options)?;
    }
    let options = ConversionOptions::new(SERVICE, cells);
    let inputs = at(SITES.1, posix_seconds)?;
    let measured = engine.measure_conversion(&mut Uniform(rand::rng()), &inputs, &options)?;
    // The whole credit goes to the last touch.
    let bucket = measured.histogram().iter().position(|cell| *cell > 0).map(u32::try_from).transpose()?;
    Ok(bucket.unwrap_or(NOT_ATTRIBUTED))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn conversions_are_spread_over_the_day() {
        let journey = |touch, conversions| Journey { touches: vec![touch], conversions, value: 0, others: 0 };
        let journeys = Journeys {
            channels: vec!["a".to_owned(), "b".to_owned()],
            journeys: vec![journey(0, 1), journey(1, 3)],
        };
        let dated: Vec<_> = over_the_day(&journeys, 10 * DAY)
            .iter()
            .map(|one| (one.journey.touches[0], one.posix_seconds - 10 * DAY))
            .collect();
        assert_eq!(dated, [(0, 0), (1, DAY / 4), (1, DAY / 2), (1, DAY / 4 * 3)]);
        assert!(REPORTS_AT_ONCE.is_multiple_of(REPORTS_PER_REQUEST));
    }

    /// What the demo prints as true is last touch by the file; what is released is last touch by the engine.
    #[test]
    fn the_engine_gives_each_conversion_to_its_last_touch() {
        let journeys = Journeys::parse(super::super::JOURNEYS).unwrap();
        let config = engine_config();
        // Every 20th: each with an engine of its own, whose weeks begin at another moment.
        for journey in journeys.journeys.iter().step_by(20) {
            let last = journey.touches.last().unwrap();
            // A bucket that is another than its place in the file.
            let bucket = |channel| u32::try_from(channel + 3);
            let given = attribute(&config, 16, (journey, 20_000 * DAY), bucket).unwrap();
            assert_eq!(given as usize, last + 3);
        }
    }
}
