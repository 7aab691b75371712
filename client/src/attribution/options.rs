//! What callers may ask for, with the standard's defaults, limits and errors.

use std::collections::{BTreeMap, BTreeSet};

use arras_protocol::vdaf::VdafConfig;

use super::error::AttributionError;
use super::moment::{Moment, days};
use super::report::DapService;
use super::site::Site;

/// Largest epsilon of a conversion ("maximum epsilon"): the largest whole number whose micro-epsilon fit 32 bits.
pub const MAX_EPSILON: f64 = 4_294.0;

/// How reports travel to an aggregation service. The standard speaks of two protocols and defines this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `dap-18-histogram`: DAP-18 with Prio3L1BoundSum.
    Dap18Histogram,
}

impl Protocol {
    /// Its name in the standard.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dap18Histogram => "dap-18-histogram",
        }
    }
}

/// An aggregation service that the device knows. All of it is configured: nothing is fetched when somebody converts.
#[derive(Clone, Debug)]
pub struct AggregationService {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its own limit for histograms, if any ("maximum aggregation-service histogram size").
    pub max_histogram_size: Option<u32>,
    /// Its aggregators and their keys. Without them conversions are attributed, but no report can be made.
    pub dap: Option<DapService>,
}

/// The values that the standard leaves to the implementation. `Default` gives its minimums where it has some, and for
/// the budgets what the fields say.
#[derive(Clone, Debug)]
pub struct Config {
    /// By the URL that names each.
    pub services: BTreeMap<String, AggregationService>,
    /// Most conversion sites of an impression; at least 5.
    pub max_conversion_sites: usize,
    /// Most conversion callers of an impression; at least 10.
    pub max_conversion_callers: usize,
    /// Most impression sites of a conversion; at least 30.
    pub max_impression_sites: usize,
    /// Most impression callers of a conversion; at least 10.
    pub max_impression_callers: usize,
    /// Most credit values; at least 10.
    pub max_credit_values: usize,
    /// Most match values of a conversion; at least 30.
    pub max_match_values: usize,
    /// Longest lifetime and lookback, in days; at least 30.
    pub max_lookback_days: u32,
    /// Most cells of a histogram. 1,024: noise is per cell, and a report grows with them.
    pub max_histogram_size: u32,
    /// What a conversion site may spend in an epoch, in micro-epsilon. 1,000,000: the most private that the
    /// standard calls reasonable (1 to 10 epsilon).
    pub site_budget: u32,
    /// What all sites together may spend in an epoch, in micro-epsilon. 8 times a site's.
    pub global_budget: u32,
    /// What the impressions of one site may set free in an epoch, in micro-epsilon. 4 times a conversion site's.
    pub impression_site_quota: u32,
    /// Length of an epoch, in days. The standard fixes it at 7; other values are for tests. It must never change for a
    /// device: what was spent is kept by the numbers of epochs.
    pub epoch_days: u32,
    /// For how long an activation lets a page begin to use the API, in milliseconds. 5,000, the common duration of
    /// a transient activation, which the standard asks for at least.
    pub activation_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            max_conversion_sites: 5,
            max_conversion_callers: 10,
            max_impression_sites: 30,
            max_impression_callers: 10,
            max_credit_values: 10,
            max_match_values: 30,
            max_lookback_days: 30,
            max_histogram_size: 1_024,
            site_budget: 1_000_000,
            global_budget: 8_000_000,
            impression_site_quota: 4_000_000,
            epoch_days: 7,
            activation_ms: 5_000,
        }
    }
}

/// `AttributionImpressionOptions`. `Default` is the standard's, except that a histogram index is always needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpressionOptions {
    /// The cell of the histogram that a conversion's value is added to.
    pub histogram_index: u32,
    /// By which conversions can choose.
    pub match_value: u32,
    /// Hosts of the sites where it may be attributed; anywhere if empty.
    pub conversion_sites: Vec<String>,
    /// Hosts of the sites that may ask for that; anybody if empty.
    pub conversion_callers: Vec<String>,
    /// For how many days it may be attributed. Longer than the device allows is as long as it allows.
    pub lifetime_days: u32,
    /// Higher comes first.
    pub priority: i32,
}

impl ImpressionOptions {
    /// The standard's defaults for a cell of the histogram.
    pub fn new(histogram_index: u32) -> Self {
        Self {
            histogram_index,
            match_value: 0,
            conversion_sites: Vec::new(),
            conversion_callers: Vec::new(),
            lifetime_days: 30,
            priority: 0,
        }
    }
}

/// `AttributionConversionOptions`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversionOptions {
    /// The URL that names the aggregation service.
    pub aggregation_service: String,
    /// The budget to spend: above 0, up to [`MAX_EPSILON`]. The standard has it as a double.
    pub epsilon: f64,
    /// Cells of the histogram.
    pub histogram_size: u32,
    /// How old impressions may be, in days; as old as the device allows if absent.
    pub lookback_days: Option<u32>,
    /// Match values of impressions that count; all if empty.
    pub match_values: Vec<u32>,
    /// Hosts of impression sites that count; all if empty.
    pub impression_sites: Vec<String>,
    /// Hosts of sites whose saved impressions count; all if empty.
    pub impression_callers: Vec<String>,
    /// Proportions in which the last impressions get the value; all to the last one if absent.
    pub credit: Option<Vec<f64>>,
    /// The conversion's value.
    pub value: u32,
    /// The largest value of any conversion that is aggregated with it.
    pub max_value: u32,
}

impl ConversionOptions {
    /// The standard's defaults for a service and a size.
    pub fn new(aggregation_service: impl Into<String>, histogram_size: u32) -> Self {
        Self {
            aggregation_service: aggregation_service.into(),
            epsilon: 1.0,
            histogram_size,
            lookback_days: None,
            match_values: Vec::new(),
            impression_sites: Vec::new(),
            impression_callers: Vec::new(),
            credit: None,
            value: 1,
            max_value: 1,
        }
    }
}

/// What the standard takes from the page beside the options ("implicit API inputs"). An app is a page of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImplicitInputs {
    /// The site that the person is at.
    pub top_level_site: Site,
    /// The site that called, if it is another one.
    pub intermediary_site: Option<Site>,
    /// When, by the wall clock.
    pub timestamp: Moment,
}

impl ImplicitInputs {
    /// From the hosts of the top-level page and, if a frame called, of that frame.
    ///
    /// # Errors
    /// [`AttributionError::Syntax`] if one has no registrable domain.
    pub fn from_hosts(
        top_level: &str,
        caller: Option<&str>,
        timestamp: Moment,
    ) -> Result<Self, AttributionError> {
        let top_level_site = Site::parse(top_level)?;
        let caller = caller.map(Site::parse).transpose()?;
        let intermediary_site = caller.filter(|site| *site != top_level_site);
        Ok(Self { top_level_site, intermediary_site, timestamp })
    }

    /// Who calls: the intermediary, or the top-level site itself.
    pub fn caller(&self) -> &Site {
        self.intermediary_site.as_ref().unwrap_or(&self.top_level_site)
    }
}

/// "Validated conversion options".
#[derive(Clone, Debug)]
pub(crate) struct ValidatedConversion {
    pub(crate) epsilon: f64,
    pub(crate) histogram_size: u32,
    pub(crate) lookback_ms: i64,
    pub(crate) match_values: BTreeSet<u32>,
    pub(crate) impression_sites: BTreeSet<Site>,
    pub(crate) impression_callers: BTreeSet<Site>,
    pub(crate) credit: Vec<f64>,
    pub(crate) value: u32,
    pub(crate) max_value: u32,
}

fn require(condition: bool, refusal: impl FnOnce() -> String) -> Result<(), AttributionError> {
    if condition { Ok(()) } else { Err(AttributionError::Range(refusal())) }
}

fn at_most<T>(name: &str, list: &[T], max: usize) -> Result<(), AttributionError> {
    require(list.len() <= max, || format!("{name} has {} entries, the most allowed is {max}", list.len()))
}

/// Most sites of a list, whatever the configuration says: the store counts them with two bytes.
const SITES_MAX: usize = 65_535;

fn sites(name: &str, hosts: &[String], max: usize) -> Result<BTreeSet<Site>, AttributionError> {
    at_most(name, hosts, max.min(SITES_MAX))?;
    hosts.iter().map(|host| Site::parse(host)).collect()
}

/// What is left of impression options after validation: the lifetime and two sets of sites.
pub(crate) struct ValidatedImpression {
    pub(crate) lifetime_days: u32,
    pub(crate) conversion_sites: BTreeSet<Site>,
    pub(crate) conversion_callers: BTreeSet<Site>,
}

impl ImpressionOptions {
    /// The checks of "save an impression", in its order.
    pub(crate) fn validate(&self, config: &Config) -> Result<ValidatedImpression, AttributionError> {
        let size = config.max_histogram_size;
        require(self.histogram_index < size, || {
            format!("histogramIndex is {}, it must be below {size}", self.histogram_index)
        })?;
        require(self.lifetime_days > 0, || "lifetimeDays must not be 0".to_owned())?;
        Ok(ValidatedImpression {
            lifetime_days: self.lifetime_days.min(config.max_lookback_days),
            conversion_sites: sites("conversionSites", &self.conversion_sites, config.max_conversion_sites)?,
            conversion_callers: sites(
                "conversionCallers",
                &self.conversion_callers,
                config.max_conversion_callers,
            )?,
        })
    }
}

impl ConversionOptions {
    /// "Validate AttributionConversionOptions", in its order, after the checks that JavaScript makes by type.
    pub(crate) fn validate(&self, config: &Config) -> Result<ValidatedConversion, AttributionError> {
        let not_finite = |name: &str| AttributionError::Type(format!("{name} must be a finite number"));
        if !self.epsilon.is_finite() {
            return Err(not_finite("epsilon"));
        }
        let credit = self.credit.clone().unwrap_or_else(|| vec![1.0]);
        if !credit.iter().all(|item| item.is_finite()) {
            return Err(not_finite("each credit"));
        }
        let service = config
            .services
            .get(&self.aggregation_service)
            .ok_or_else(|| AttributionError::UnknownService(self.aggregation_service.clone()))?;
        require(self.epsilon > 0.0 && self.epsilon <= MAX_EPSILON, || {
            format!("epsilon must be above 0 and at most {MAX_EPSILON}")
        })?;
        let most = service.max_histogram_size.unwrap_or(u32::MAX).min(config.max_histogram_size);
        require((1..=most).contains(&self.histogram_size), || {
            format!("histogramSize is {}, it must be 1 to {most}", self.histogram_size)
        })?;
        if service.dap.is_some() {
            self.check_report(service.protocol)?;
        }
        require(self.value > 0, || "value must not be 0".to_owned())?;
        require(self.value <= self.max_value, || {
            format!("value is {}, above maxValue, {}", self.value, self.max_value)
        })?;
        require(!credit.is_empty(), || "credit must not be empty".to_owned())?;
        require(credit.iter().all(|item| *item > 0.0), || "each credit must be above 0".to_owned())?;
        at_most("credit", &credit, config.max_credit_values)?;
        let lookback = self.lookback_days.unwrap_or(config.max_lookback_days).min(config.max_lookback_days);
        require(lookback > 0, || "lookbackDays must not be 0".to_owned())?;
        at_most("matchValues", &self.match_values, config.max_match_values)?;
        let (of_sites, of_callers) = (config.max_impression_sites, config.max_impression_callers);
        let impression_sites = sites("impressionSites", &self.impression_sites, of_sites)?;
        let impression_callers = sites("impressionCallers", &self.impression_callers, of_callers)?;
        Ok(ValidatedConversion {
            epsilon: self.epsilon,
            histogram_size: self.histogram_size,
            lookback_ms: days(lookback),
            match_values: self.match_values.iter().copied().collect(),
            impression_sites,
            impression_callers,
            credit,
            value: self.value,
            max_value: self.max_value,
        })
    }

    /// Whether a report can hold it: "maximum aggregation-service histogram size", which here depends on `maxValue`, too.
    /// What it cannot hold is refused before any budget is spent on it.
    fn check_report(&self, protocol: Protocol) -> Result<(), AttributionError> {
        match protocol {
            Protocol::Dap18Histogram => {
                let vdaf = VdafConfig::attribution_histogram(self.histogram_size, self.max_value.into());
                vdaf.map(drop).map_err(|error| {
                    AttributionError::Range(format!(
                        "no report holds this histogramSize and maxValue together: {error}"
                    ))
                })
            }
        }
    }
}
