//! From a histogram to a report ("construct a DAP report"), for the protocol `dap-18-histogram`.

use arras_protocol::codec::CodecError;
use arras_protocol::codepoints::{
    BATCH_MODE_COLLECTOR_SELECTED, TASK_EXTENSION_BUDGET_SOURCE, TASK_EXTENSION_COLLECTOR_IDENTITY,
};
use arras_protocol::epsilon::{EpsilonError, MicroEpsilon};
use arras_protocol::hpke::Sealer;
use arras_protocol::messages::{
    Extension, Extensions, HpkeConfig, Report, Role, TaskConfiguration, TimePrecision, Url,
};
use arras_protocol::report::{ReportMaker, ReportMakingError};
use arras_protocol::task::{ATTRIBUTION_MIN_BATCH_SIZE, ATTRIBUTION_TIME_PRECISION, Task, TaskError};
use arras_protocol::vdaf::{Measurement, VdafConfig};
use rand::CryptoRng;

use super::engine::{Measured, Outcome};
use super::error::AttributionError;
use super::options::{ConversionOptions, ImplicitInputs, ValidatedConversion};
use super::storage::Storage;
use super::{Engine, Randomness};

/// The two aggregators of a service, known to the device long before anybody converts.
#[derive(Clone, Debug)]
pub struct DapService {
    leader: Url,
    helper: Url,
    leader_hpke: HpkeConfig,
    helper_hpke: HpkeConfig,
}

/// Why an aggregation service cannot be used, or a report not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// An endpoint is no URL.
    #[error("an aggregator's endpoint is not a URL: {0}")]
    Endpoint(#[from] url::ParseError),
    /// The service has no aggregators in the device's configuration.
    #[error("the device has no configuration for {0:?}; configure its aggregators and their HPKE keys")]
    Unconfigured(String),
    /// The call is refused.
    #[error(transparent)]
    Attribution(#[from] AttributionError),
    /// Leader and helper are one.
    #[error("leader and helper have the same endpoint; they must be two servers of two operators")]
    OneEndpoint,
    /// An endpoint does not fit its field.
    #[error("the aggregation service's configuration: {0}")]
    Codec(#[from] CodecError),
    /// A key cannot be sealed to, or sharding failed.
    #[error("{0}")]
    Report(#[from] ReportMakingError),
}

impl DapService {
    /// From the endpoints, as configured, and the keys. Endpoints are written as the URL serializer does, since they are
    /// part of the task that both aggregators have to agree on.
    ///
    /// # Errors
    /// Whatever would keep a report from being made later, when its budget is spent: an endpoint that is no URL, one
    /// for both, a key of another suite or of the wrong length, a weak one.
    pub fn new(
        leader: &str,
        helper: &str,
        leader_hpke: HpkeConfig,
        helper_hpke: HpkeConfig,
    ) -> Result<Self, ReportError> {
        let serialized = |text: &str| Ok::<_, ReportError>(Url::new(String::from(url::Url::parse(text)?))?);
        let service =
            Self { leader: serialized(leader)?, helper: serialized(helper)?, leader_hpke, helper_hpke };
        if service.leader.as_str() == service.helper.as_str() {
            return Err(ReportError::OneEndpoint);
        }
        for (hpke, role) in [(&service.leader_hpke, Role::Leader), (&service.helper_hpke, Role::Helper)] {
            let key = hpke.public_key().ok_or(ReportMakingError::UnsupportedHpkeConfig(role))?;
            // Only whether it can be sealed to: what is sealed, and the draw, are thrown away.
            Sealer::new(&key, &[]).seal(&mut rand::rng(), &[], &[]).map_err(ReportMakingError::from)?;
        }
        Ok(service)
    }

    /// The task that a conversion's report is for: it follows from the service, the sites and the size of the histogram.
    pub(super) fn task(
        &self,
        inputs: &ImplicitInputs,
        options: &ValidatedConversion,
    ) -> Result<Task, TaskError> {
        let extension = |kind, data: &str| Extension { kind, data: data.as_bytes().to_vec() };
        let extensions = Extensions::new(vec![
            extension(TASK_EXTENSION_COLLECTOR_IDENTITY, inputs.caller().as_str()),
            extension(TASK_EXTENSION_BUDGET_SOURCE, inputs.top_level_site.as_str()),
        ])?;
        let vdaf = VdafConfig::attribution_histogram(options.histogram_size, options.max_value.into())
            .map_err(TaskError::Vdaf)?;
        let configuration = TaskConfiguration::new(
            b"",
            self.leader.clone(),
            self.helper.clone(),
            TimePrecision::from_seconds(ATTRIBUTION_TIME_PRECISION)?,
            ATTRIBUTION_MIN_BATCH_SIZE,
            BATCH_MODE_COLLECTOR_SELECTED,
            &vdaf,
            extensions,
        )?;
        Task::new(configuration)
    }
}

/// What a conversion's report is made with. It is there before anything is spent.
pub(crate) struct Prepared {
    service: DapService,
    pub(super) task: Task,
    spent: MicroEpsilon,
}

impl Prepared {
    /// None if the device knows no aggregators of the service.
    pub(super) fn of(
        service: Option<&DapService>,
        inputs: &ImplicitInputs,
        options: &ValidatedConversion,
    ) -> Result<Option<Self>, AttributionError> {
        let Some(service) = service else { return Ok(None) };
        // The options were held against the VDAF, and sites against the names of tasks.
        let refused = |error: &dyn std::fmt::Display| {
            AttributionError::Range(format!("no report can be made for these options: {error}"))
        };
        let task = service.task(inputs, options).map_err(|error| refused(&error))?;
        let spent = in_micro(options.epsilon).map_err(|error| refused(&error))?;
        Ok(Some(Self { service: service.clone(), task, spent }))
    }
}

/// A conversion whose report was made, for the person's own eyes. There is no second report of it.
#[derive(Debug)]
pub struct Reported(Measured);

impl Reported {
    /// A number for each cell, in clear. Never to be sent.
    pub fn histogram(&self) -> &[u32] {
        self.0.histogram()
    }

    /// Why it is what it is.
    pub fn outcome(&self) -> &Outcome {
        self.0.outcome()
    }
}

impl Measured {
    /// Makes the report, for the service and the options that were asked for. It has the same size whatever is in the
    /// histogram.
    ///
    /// There is one report of a conversion: no aggregator could tell a second one from that of another conversion, and
    /// its budget was spent once ("Anti-Replay Requirements").
    ///
    /// # Errors
    /// [`ReportError::Unconfigured`] if the device knew no aggregators of the service; then no call makes a report.
    pub fn report(self, rng: &mut impl CryptoRng) -> Result<(Report, Reported), ReportError> {
        let Some(Prepared { service, task, spent }) = &self.prepared else {
            return Err(ReportError::Unconfigured(self.aggregation_service));
        };
        let maker = ReportMaker::new(task, &service.leader_hpke, &service.helper_hpke)?;
        let measurement = Measurement::Vector(self.histogram.iter().map(|cell| u64::from(*cell)).collect());
        let report = maker.make(rng, self.at.posix_seconds(), &measurement, Some(*spent))?;
        Ok((report, Reported(self)))
    }
}

/// The epsilon that a report says was spent: rounded up, as the standard has it.
fn in_micro(epsilon: f64) -> Result<MicroEpsilon, EpsilonError> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "validated: above 0 and at most 4,294; and a cast to an integer saturates"
    )]
    let micro = (epsilon * 1_000_000.0).ceil() as u32;
    MicroEpsilon::from_micro(micro)
}

impl<S: Storage> Engine<S> {
    /// `measureConversion()` whole: attributes, spends the budget durably, and makes the report. A service without
    /// aggregators is refused before anything is spent.
    pub fn measure_conversion_report(
        &mut self,
        random: &mut impl Randomness,
        rng: &mut impl CryptoRng,
        inputs: &ImplicitInputs,
        options: &ConversionOptions,
    ) -> Result<(Report, Reported), ReportError> {
        let name = &options.aggregation_service;
        if self.config().services.get(name).is_some_and(|service| service.dap.is_none()) {
            return Err(ReportError::Unconfigured(name.clone()));
        }
        self.measure_conversion(random, inputs, options)?.report(rng)
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
