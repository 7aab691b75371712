//! The devices of the demo: each conversion is made by a device of its own.

use std::num::NonZeroU32;

use arras_client::device::{Conversion, Device};
use arras_client::upload::{Uploader, fetch_hpke_configs};
use arras_protocol::codec::Encode as _;
use arras_protocol::messages::{HpkeConfig, TaskId};
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use indicatif::ProgressBar;
use rayon::prelude::*;
use tokio::task::JoinSet;

use super::journeys::{Journey, Journeys};
use super::{DAY, Failure};

/// Reports in an upload request, as a relay that gathers reports would send them.
const REPORTS_PER_REQUEST: usize = 100;

/// Requests under way at once.
const UPLOADS_AT_ONCE: usize = 8;

/// Requests between two updates of the bar would be too rare; reports would be too often.
const BAR_STEP: u64 = 100;

pub(super) struct Clients {
    uploader: Uploader,
    leader: HpkeConfig,
    helper: HpkeConfig,
}

impl Clients {
    /// Fetches the aggregators' HPKE configurations.
    pub(super) async fn connect(task: &Task) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(crate::net::tls::client_config(None)?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
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

    /// Lets every journey's people convert, spread over the day; returns encoded upload requests.
    pub(super) fn make_reports(
        &self,
        task: &Task,
        journeys: &Journeys,
        day: u64,
        bar: &ProgressBar,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let maker = ReportMaker::new(task, &self.leader, &self.helper)?;
        let conversions: Vec<&Journey> = journeys
            .journeys
            .iter()
            .flat_map(|journey| {
                std::iter::repeat_n(journey, usize::try_from(journey.conversions).unwrap_or(0))
            })
            .collect();
        let total = conversions.len() as u64;
        conversions
            .par_chunks(REPORTS_PER_REQUEST)
            .enumerate()
            .map(|(chunk, journeys)| {
                let mut body = Vec::new();
                for (index, journey) in journeys.iter().enumerate() {
                    let position = (chunk * REPORTS_PER_REQUEST + index) as u64;
                    // Evenly over the day.
                    convert(task, &maker, journey, day + position * DAY / total, &mut body)?;
                }
                bar.inc(BAR_STEP.min(journeys.len() as u64));
                Ok(body)
            })
            .collect()
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

/// One person: sees the ads of the journey, converts, and the device reports it.
fn convert(
    task: &Task,
    maker: &ReportMaker<'_>,
    journey: &Journey,
    posix_seconds: u64,
    body: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut device = Device::default();
    let touches = journey.touches.len() as u64;
    for (index, channel) in journey.touches.iter().enumerate() {
        // Bucket 0 is "not attributed".
        let bucket = u32::try_from(channel + 1)?;
        device.impressions.remember(bucket, posix_seconds - touches + index as u64);
    }
    let conversion = Conversion { posix_seconds, consent: true };
    let report = device.convert(&mut rand::rng(), task, maker, NonZeroU32::MIN, conversion)?;
    report.encode(body);
    Ok(())
}
