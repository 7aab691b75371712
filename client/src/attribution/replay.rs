//! Scenario files in the format of the W3C reference implementation's end-to-end tests (w3c/attribution 9fab4e8,
//! `impl/e2e.schema.json`): events at given seconds, and what is expected of each.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::engine::{Engine, Randomness};
use super::error::AttributionError;
use super::moment::Moment;
use super::options::{
    AggregationService, Config, ConversionOptions, ImplicitInputs, ImpressionOptions, Protocol,
};
use super::site::Site;
use super::storage::MemoryStore;

/// Reads a [`Scenario`] or a [`ScenarioConfig`]. Of a name that occurs twice in an object the last one counts, as in
/// JavaScript; one of the published files has two comments.
///
/// # Errors
/// What of it is not of the format.
pub fn from_json<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    T::deserialize(whole_numbers(serde_json::from_slice(bytes)?))
}

/// A schema's integer may be written as `1.0`.
fn whole_numbers(value: Value) -> Value {
    /// Up to here each whole number is a double of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|double| number.is_f64() && double.fract() == 0.0 && double.abs() <= EXACT);
            #[expect(clippy::cast_possible_truncation, reason = "whole, and exact as a double")]
            whole.map_or(Value::Number(number), |double| Value::from(double as i64))
        }
        Value::Array(values) => values.into_iter().map(whole_numbers).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, whole_numbers(value))).collect()
        }
        other => other,
    }
}

/// Most events of a scenario: the published ones have some tens.
pub const MAX_EVENTS: usize = 100_000;

/// Longest lookback of a configuration, in days: ten years.
const MAX_LOOKBACK_DAYS: u32 = 3_660;

/// Most cells of a configuration's histograms: more than any VDAF has, and four megabytes.
const MAX_CELLS: u32 = 1 << 20;

/// Most cells that a scenario's histograms have together; they are kept until its result is written. The published ones
/// have some hundreds.
const MAX_OUTPUT_CELLS: usize = 1 << 22;

/// A configuration file: the values that the standard leaves open, and the draws, which are the same each time.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioConfig {
    #[serde(rename = "$comment", default)]
    _comment: Option<Comment>,
    #[expect(
        clippy::zero_sized_map_values,
        reason = "the format has room for more protocols than there are"
    )]
    aggregation_services: BTreeMap<String, ProtocolName>,
    #[serde(default, deserialize_with = "fraction")]
    epoch_start: f64,
    #[serde(default, deserialize_with = "fraction")]
    fairly_allocate_credit_fraction: f64,
    global_privacy_budget_per_epoch: u32,
    impression_site_quota_per_epoch: u32,
    max_conversion_callers_per_impression: usize,
    max_conversion_sites_per_impression: usize,
    max_credit_size: usize,
    max_histogram_size: u32,
    max_impression_sites_for_conversion: usize,
    max_impression_callers_for_conversion: usize,
    #[serde(default = "default_lookback")]
    max_lookback_days: u32,
    max_match_values: usize,
    per_site_privacy_budget: u32,
    privacy_budget_epoch_days: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum ProtocolName {
    #[serde(rename = "dap-18-histogram")]
    Dap18Histogram,
}

/// Text for people, one or several lines.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Comment {
    Line(#[expect(dead_code, reason = "read so that only texts pass")] String),
    Lines(#[expect(dead_code, reason = "read so that only texts pass")] Vec<String>),
}

fn default_lookback() -> u32 {
    Config::default().max_lookback_days
}

/// From 0 up to but not including 1.
fn fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    if (0.0..1.0).contains(&value) {
        Ok(value)
    } else {
        Err(serde::de::Error::custom(format!("{value} is not a fraction from 0 up to but not including 1")))
    }
}

impl ScenarioConfig {
    /// What of it is against the schema's minimums or beyond any use, if something is: files come from anywhere.
    fn wrong(&self) -> Option<String> {
        const ANY: u32 = u32::MAX;
        let credits = u32::try_from(self.max_credit_size).unwrap_or(ANY);
        let values = [
            ("globalPrivacyBudgetPerEpoch", self.global_privacy_budget_per_epoch, ANY),
            ("impressionSiteQuotaPerEpoch", self.impression_site_quota_per_epoch, ANY),
            ("maxCreditSize", credits, ANY),
            ("maxHistogramSize", self.max_histogram_size, MAX_CELLS),
            ("maxLookbackDays", self.max_lookback_days, MAX_LOOKBACK_DAYS),
            ("perSitePrivacyBudget", self.per_site_privacy_budget, ANY),
            ("privacyBudgetEpochDays", self.privacy_budget_epoch_days, ANY),
        ];
        let wrong = values.into_iter().find(|(_, value, most)| !(1..=*most).contains(value));
        wrong.map(|(name, _, most)| format!("the configuration's {name} must be 1 to {most}"))
    }

    fn to_engine(&self) -> Config {
        let service = |(url, name): (&String, &ProtocolName)| {
            let protocol = match name {
                ProtocolName::Dap18Histogram => Protocol::Dap18Histogram,
            };
            (url.clone(), AggregationService { protocol, max_histogram_size: None, dap: None })
        };
        Config {
            services: self.aggregation_services.iter().map(service).collect(),
            max_conversion_sites: self.max_conversion_sites_per_impression,
            max_conversion_callers: self.max_conversion_callers_per_impression,
            max_impression_sites: self.max_impression_sites_for_conversion,
            max_impression_callers: self.max_impression_callers_for_conversion,
            max_credit_values: self.max_credit_size,
            max_match_values: self.max_match_values,
            max_lookback_days: self.max_lookback_days,
            max_histogram_size: self.max_histogram_size,
            site_budget: self.per_site_privacy_budget,
            global_budget: self.global_privacy_budget_per_epoch,
            impression_site_quota: self.impression_site_quota_per_epoch,
            epoch_days: self.privacy_budget_epoch_days,
            ..Config::default()
        }
    }
}

/// A scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    #[serde(rename = "$comment", default)]
    _comment: Option<Comment>,
    #[serde(default)]
    config: Option<ScenarioConfig>,
    events: Vec<Event>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Event {
    #[serde(rename = "$comment", default)]
    _comment: Option<Comment>,
    seconds: i64,
    #[serde(rename = "event")]
    kind: Kind,
    site: Option<String>,
    intermediary_site: Option<String>,
    options: Option<Value>,
    expected: Option<Outcome>,
    expected_error: Option<Outcome>,
    sites: Option<Vec<String>>,
    forget_visits: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
enum Kind {
    #[serde(rename = "saveImpression")]
    SaveImpression,
    #[serde(rename = "measureConversion")]
    MeasureConversion,
    #[serde(rename = "clearImpressionsForSite")]
    ClearImpressionsForSite,
    #[serde(rename = "clearBrowsingHistoryForAttribution")]
    ClearBrowsingHistory,
    #[serde(rename = "enableAPI")]
    EnableApi,
    #[serde(rename = "disableAPI")]
    DisableApi,
}

/// What an event led to, in the form in which scenarios say what they expect. `Display` is its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
enum Outcome {
    Histogram(Vec<u32>),
    Error(String),
    DomException {
        error: String,
        name: String,
    },
    /// Nothing to be seen: `null`.
    Nothing,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Outcome {
    fn of_error(error: &AttributionError) -> Self {
        match error.script_name() {
            Some((name, true)) => {
                Self::DomException { error: "DOMException".to_owned(), name: name.to_owned() }
            }
            Some((name, false)) => Self::Error(name.to_owned()),
            None => Self::Error(error.to_string()),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ImpressionFields {
    #[serde(rename = "$comment", default)]
    _comment: Option<Comment>,
    histogram_index: u32,
    match_value: Option<u32>,
    conversion_sites: Option<Vec<String>>,
    conversion_callers: Option<Vec<String>>,
    lifetime_days: Option<u32>,
    priority: Option<i32>,
}

impl From<ImpressionFields> for ImpressionOptions {
    fn from(fields: ImpressionFields) -> Self {
        let default = Self::new(fields.histogram_index);
        Self {
            histogram_index: default.histogram_index,
            match_value: fields.match_value.unwrap_or(default.match_value),
            conversion_sites: fields.conversion_sites.unwrap_or(default.conversion_sites),
            conversion_callers: fields.conversion_callers.unwrap_or(default.conversion_callers),
            lifetime_days: fields.lifetime_days.unwrap_or(default.lifetime_days),
            priority: fields.priority.unwrap_or(default.priority),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConversionFields {
    #[serde(rename = "$comment", default)]
    _comment: Option<Comment>,
    aggregation_service: String,
    epsilon: Option<f64>,
    histogram_size: u32,
    lookback_days: Option<u32>,
    match_values: Option<Vec<u32>>,
    impression_sites: Option<Vec<String>>,
    impression_callers: Option<Vec<String>>,
    credit: Option<Vec<f64>>,
    value: Option<u32>,
    max_value: Option<u32>,
}

impl From<ConversionFields> for ConversionOptions {
    fn from(fields: ConversionFields) -> Self {
        let default = Self::new(fields.aggregation_service, fields.histogram_size);
        Self {
            epsilon: fields.epsilon.unwrap_or(default.epsilon),
            lookback_days: fields.lookback_days,
            match_values: fields.match_values.unwrap_or_default(),
            impression_sites: fields.impression_sites.unwrap_or_default(),
            impression_callers: fields.impression_callers.unwrap_or_default(),
            credit: fields.credit,
            value: fields.value.unwrap_or(default.value),
            max_value: fields.max_value.unwrap_or(default.max_value),
            aggregation_service: default.aggregation_service,
            histogram_size: default.histogram_size,
        }
    }
}

/// The configuration's draws.
struct Constant<'a>(&'a ScenarioConfig);

impl Randomness for Constant<'_> {
    fn epoch_start(&mut self) -> f64 {
        self.0.epoch_start
    }

    fn credit_rounding(&mut self) -> f64 {
        self.0.fairly_allocate_credit_fraction
    }
}

/// What one event led to, as `--print` shows it.
#[derive(Debug, Serialize)]
pub struct Output {
    seconds: i64,
    event: Kind,
    #[serde(rename = "output")]
    outcome: Outcome,
}

/// What a scenario led to.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Of each event, up to one that is malformed.
    pub outputs: Vec<Output>,
    /// The first difference from what was expected, or what is wrong with the scenario.
    pub difference: Option<String>,
}

/// Runs a scenario's events in order, with its own configuration or else `config`. `expectations` says that each
/// conversion must say what it expects.
pub fn replay(config: &ScenarioConfig, scenario: &Scenario, expectations: bool) -> Replayed {
    let config = scenario.config.as_ref().unwrap_or(config);
    let mut replayed = Replayed::default();
    let too_many = (scenario.events.len() > MAX_EVENTS).then(|| format!("more than {MAX_EVENTS} events"));
    if let Some(wrong) = config.wrong().or(too_many) {
        replayed.difference = Some(wrong);
        return replayed;
    }
    let mut engine = match Engine::open(config.to_engine(), MemoryStore::default()) {
        Ok(engine) => engine,
        Err(error) => {
            replayed.difference = Some(error.to_string());
            return replayed;
        }
    };
    let (mut last, mut cells) = (0, 0_usize);
    for (number, event) in (1..).zip(&scenario.events) {
        let place = format!("event {number} ({} at {} s)", event.kind.name(), event.seconds);
        if event.seconds <= last {
            replayed.difference = Some(format!("{place}: seconds must go up, the event before has {last}"));
            return replayed;
        }
        last = event.seconds;
        let output = match event.run(&mut engine, &mut Constant(config)) {
            Ok(output) => output,
            Err(wrong) => {
                replayed.difference.get_or_insert(format!("{place}: {wrong}"));
                return replayed;
            }
        };
        if let Some(difference) = event.difference(&output, expectations) {
            replayed.difference.get_or_insert(format!("{place}: {difference}"));
        }
        if let Outcome::Histogram(histogram) = &output {
            cells = cells.saturating_add(histogram.len());
        }
        if cells > MAX_OUTPUT_CELLS {
            let excess = format!("{place}: all histograms together have more than {MAX_OUTPUT_CELLS} cells");
            replayed.difference.get_or_insert(excess);
            return replayed;
        }
        replayed.outputs.push(Output { seconds: event.seconds, event: event.kind, outcome: output });
    }
    replayed
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::SaveImpression => "saveImpression",
            Self::MeasureConversion => "measureConversion",
            Self::ClearImpressionsForSite => "clearImpressionsForSite",
            Self::ClearBrowsingHistory => "clearBrowsingHistoryForAttribution",
            Self::EnableApi => "enableAPI",
            Self::DisableApi => "disableAPI",
        }
    }
}

impl Event {
    /// How the output differs from what was expected, if it does.
    fn difference(&self, output: &Outcome, expectations: bool) -> Option<String> {
        let expected = match self.kind {
            Kind::MeasureConversion => match &self.expected {
                Some(expected) => expected,
                None if expectations => return Some("it does not say what is expected".to_owned()),
                None => return None,
            },
            _ => self.expected_error.as_ref().unwrap_or(&Outcome::Nothing),
        };
        (expected != output).then(|| format!("expected {expected}, computed {output}"))
    }

    /// Runs it. An error says what is wrong with the event itself.
    fn run(&self, engine: &mut Engine<MemoryStore>, random: &mut Constant<'_>) -> Result<Outcome, String> {
        self.check_fields()?;
        let now = Moment::from_millis(self.seconds.checked_mul(1_000).ok_or("its time is out of range")?);
        let site = || self.site.as_deref().ok_or("it has no site");
        let done = match self.kind {
            Kind::SaveImpression => self.options::<ImpressionFields>().and_then(|options| {
                let inputs = ImplicitInputs::from_hosts(site()?, self.intermediary_site.as_deref(), now);
                let saved = inputs.and_then(|inputs| engine.save_impression(&inputs, &options.into()));
                Ok(saved.map(|()| Outcome::Nothing))
            })?,
            Kind::MeasureConversion => self.options::<ConversionFields>().and_then(|options| {
                let inputs = ImplicitInputs::from_hosts(site()?, self.intermediary_site.as_deref(), now);
                let measured =
                    inputs.and_then(|inputs| engine.measure_conversion(random, &inputs, &options.into()));
                Ok(measured.map(|measured| Outcome::Histogram(measured.histogram().to_vec())))
            })?,
            // A host that is no site has no impressions: nothing is cleared, and nothing is wrong.
            Kind::ClearImpressionsForSite => Site::parse(site()?)
                .map_or(Ok(()), |site| Ok(engine.clear_impressions_for_site(&site)?))
                .map(|()| Outcome::Nothing),
            Kind::ClearBrowsingHistory => self.clear_history(engine, random, now)?,
            Kind::EnableApi | Kind::DisableApi => {
                let enabled = self.kind == Kind::EnableApi;
                engine.set_enabled(enabled).map(|()| Outcome::Nothing).map_err(AttributionError::from)
            }
        };
        Ok(done.unwrap_or_else(|error| Outcome::of_error(&error)))
    }

    fn clear_history(
        &self,
        engine: &mut Engine<MemoryStore>,
        random: &mut Constant<'_>,
        now: Moment,
    ) -> Result<Result<Outcome, AttributionError>, String> {
        let hosts = self.sites.as_ref().ok_or("it has no sites")?;
        let forget = self.forget_visits.ok_or("it has no forgetVisits")?;
        let sites = match hosts.iter().map(|host| Site::parse(host)).collect() {
            Ok(sites) => sites,
            Err(error) => return Ok(Err(error)),
        };
        let cleared = if forget {
            engine.clear_browsing_history(&sites, now)
        } else if sites.is_empty() {
            return Err("sites must not be empty unless visits are forgotten".to_owned());
        } else {
            engine.clear_site_state(random, &sites, now)
        };
        Ok(cleared.map(|()| Outcome::Nothing).map_err(AttributionError::from))
    }

    fn options<T: for<'de> Deserialize<'de>>(&self) -> Result<T, String> {
        let options = self.options.as_ref().ok_or("it has no options")?;
        T::deserialize(options).map_err(|error| format!("its options: {error}"))
    }

    /// The schema's rule that an event has no fields but its own.
    fn check_fields(&self) -> Result<(), String> {
        let save = self.kind == Kind::SaveImpression;
        let measure = self.kind == Kind::MeasureConversion;
        let clear = self.kind == Kind::ClearBrowsingHistory;
        let fields = [
            ("site", self.site.is_some(), save || measure || self.kind == Kind::ClearImpressionsForSite),
            ("intermediarySite", self.intermediary_site.is_some(), save || measure),
            ("options", self.options.is_some(), save || measure),
            ("expected", self.expected.is_some(), measure),
            ("expectedError", self.expected_error.is_some(), save),
            ("sites", self.sites.is_some(), clear),
            ("forgetVisits", self.forget_visits.is_some(), clear),
        ];
        match fields.iter().find(|(_, present, allowed)| *present && !allowed) {
            Some((name, ..)) => Err(format!("it must not have the field {name}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
