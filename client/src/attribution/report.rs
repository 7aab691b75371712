//! From a histogram to a report ("construct a DAP report"), for the protocol `dap-18-histogram`.

use arras_protocol::codec::CodecError;
use arras_protocol::codepoints::{
    BATCH_MODE_COLLECTOR_SELECTED, TASK_EXTENSION_BUDGET_SOURCE, TASK_EXTENSION_COLLECTOR_IDENTITY,
};
use arras_protocol::epsilon::{EpsilonError, MicroEpsilon};
use arras_protocol::messages::{
    Extension, Extensions, HpkeConfig, Report, TaskConfiguration, TimePrecision, Url,
};
use arras_protocol::report::{ReportMaker, ReportMakingError};
use arras_protocol::task::{ATTRIBUTION_MIN_BATCH_SIZE, ATTRIBUTION_TIME_PRECISION, Task, TaskError};
use arras_protocol::vdaf::{Measurement, VdafConfig};
use rand::CryptoRng;

use super::engine::Measured;
use super::error::AttributionError;
use super::options::{ConversionOptions, ImplicitInputs};
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
    /// The service's fields do not make a task.
    #[error("the aggregation service's configuration: {0}")]
    Task(#[from] TaskError),
    /// A value does not fit its field.
    #[error("the aggregation service's configuration: {0}")]
    Codec(#[from] CodecError),
    /// The epsilon does not fit its field.
    #[error("{0}")]
    Epsilon(#[from] EpsilonError),
    /// Sharding or sealing failed.
    #[error("{0}")]
    Report(#[from] ReportMakingError),
}

impl DapService {
    /// From the endpoints, as configured, and the keys. Endpoints are written as the URL serializer does, since they are
    /// part of the task that both aggregators have to agree on.
    pub fn new(
        leader: &str,
        helper: &str,
        leader_hpke: HpkeConfig,
        helper_hpke: HpkeConfig,
    ) -> Result<Self, ReportError> {
        let serialized = |text: &str| Ok::<_, ReportError>(Url::new(String::from(url::Url::parse(text)?))?);
        Ok(Self { leader: serialized(leader)?, helper: serialized(helper)?, leader_hpke, helper_hpke })
    }

    /// The task that a conversion's report is for: it follows from the service, the sites and the size of the histogram.
    fn task(&self, measured: &Measured) -> Result<Task, ReportError> {
        let extension = |kind, data: &str| Extension { kind, data: data.as_bytes().to_vec() };
        let inputs = &measured.inputs;
        let extensions = Extensions::new(vec![
            extension(TASK_EXTENSION_COLLECTOR_IDENTITY, inputs.caller().as_str()),
            extension(TASK_EXTENSION_BUDGET_SOURCE, inputs.top_level_site.as_str()),
        ])?;
        let options = &measured.options;
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
        Ok(Task::new(configuration)?)
    }

    /// Makes the report of an attributed conversion. It has the same size whatever is in the histogram.
    pub fn report(&self, rng: &mut impl CryptoRng, measured: &Measured) -> Result<Report, ReportError> {
        let task = self.task(measured)?;
        let maker = ReportMaker::new(&task, &self.leader_hpke, &self.helper_hpke)?;
        let measurement =
            Measurement::Vector(measured.histogram.iter().map(|cell| u64::from(*cell)).collect());
        let spent = in_micro(measured.options.epsilon)?;
        Ok(maker.make(rng, measured.inputs.timestamp.posix_seconds(), &measurement, Some(spent))?)
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
    ) -> Result<(Report, Measured), ReportError> {
        let name = &options.aggregation_service;
        let configured = self.config().services.get(name).map(|service| service.dap.clone());
        if let Some(None) = configured {
            return Err(ReportError::Unconfigured(name.clone()));
        }
        let measured = self.measure_conversion(random, inputs, options)?;
        let dap = configured.flatten().ok_or_else(|| ReportError::Unconfigured(name.clone()))?;
        Ok((dap.report(rng, &measured)?, measured))
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
