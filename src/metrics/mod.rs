//! What an operator can count and measure: the series behind `/metrics`.
//!
//! There is one [`Metrics`] in a process. It hands out counters, gauges and histograms to the roles; changing one is an
//! atomic addition, a histogram takes a lock for some nanoseconds. Both happen once a request, a job or a commit, never
//! once a report. What is only worth knowing when somebody looks (lengths, sizes, ages) is read at each scrape.
//!
//! A label's value is a `&'static str`: nothing that a request brings can become one. There are no task ids in labels:
//! how often which task is used is a business's secret, scraped numbers travel further than logs do, and the log names
//! the task wherever one of them is in trouble. `docs/metrics.md` says what each series means.

mod http;
mod process;
mod roles;
mod store;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub(crate) use self::http::{Connections, HttpMetrics, observe};
use self::process::ProcessMetrics;
pub(crate) use self::roles::{
    AttemptOutcome, AttemptResult, Backlog, CollectionOutcome, JobOutcome, ShareOutcome, WindowOutcome,
};
pub use self::roles::{CollectorMetrics, HelperMetrics, LeaderMetrics, ScheduleMetrics};
pub use self::store::StoreTimes;

/// The labels of a series: names and values, each out of a closed set.
type Labels<const N: usize> = [(&'static str, &'static str); N];

type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;
type Timings<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// The media type of [`Metrics::encode`]: OpenMetrics, which Prometheus reads.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of all histograms of times, in seconds: half a millisecond, a commit on a fast disk, to
/// a minute, the longest that a request or an attempt may take; each twice the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 18))
}

/// Reads something at a scrape and sets its gauges.
type Sampler = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The metrics of a process. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    families: Families,
    process: ProcessMetrics,
    /// What the roles that were started want to be asked at a scrape; in turns, held while they are asked.
    samplers: Mutex<Vec<Sampler>>,
}

/// Every family that can have series, whichever roles the process plays.
#[derive(Debug)]
struct Families {
    server: ServerFamilies,
    reports: ReportFamilies,
    jobs: JobFamilies,
    collections: CollectionFamilies,
    schedule: ScheduleFamilies,
}

/// What every role has: an HTTP interface and a store.
#[derive(Debug)]
struct ServerFamilies {
    http_requests: Counters<4>,
    http_request_seconds: Timings<2>,
    http_connections: Gauges<1>,
    http_connections_max: Gauges<1>,
    http_connections_refused: Counters<1>,
    body_bytes: Gauges<1>,
    body_bytes_max: Gauges<1>,
    store_seconds: Timings<2>,
    store_bytes: Gauges<1>,
    store_bytes_max: Gauges<1>,
    disk_free_bytes: Gauges<1>,
    tasks: Gauges<1>,
}

#[derive(Debug)]
struct ReportFamilies {
    accepted: Counters<1>,
    refused: Counters<2>,
    aggregated: Counters<1>,
    rejected: Counters<2>,
    put_back: Counters<1>,
    lost: Counters<1>,
    waiting: Gauges<1>,
    oldest_age_seconds: Gauges<1>,
}

#[derive(Debug)]
struct JobFamilies {
    open: Gauges<1>,
    ended: Counters<2>,
    seconds: Timings<2>,
    responses_kept: Gauges<1>,
    responses_not_released: Counters<1>,
}

#[derive(Debug)]
struct ScheduleFamilies {
    attempts: Counters<2>,
    due: Gauges<1>,
    overdue: Gauges<1>,
}

#[derive(Debug)]
struct CollectionFamilies {
    aggregate_shares: Counters<2>,
    open: Gauges<2>,
    ended: Counters<2>,
    refused: Counters<2>,
}

fn counters<const N: usize>(registry: &mut Registry, name: &str, help: &str) -> Counters<N> {
    let family = Counters::default();
    registry.register(name, help, family.clone());
    family
}

fn gauges<const N: usize>(registry: &mut Registry, name: &str, help: &str) -> Gauges<N> {
    let family = Gauges::default();
    registry.register(name, help, family.clone());
    family
}

fn timings<const N: usize>(registry: &mut Registry, name: &str, help: &str) -> Timings<N> {
    let family = Timings::new_with_constructor(seconds as fn() -> Histogram);
    registry.register(name, help, family.clone());
    family
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        Self {
            server: ServerFamilies::register(registry),
            reports: ReportFamilies::register(registry),
            jobs: JobFamilies::register(registry),
            collections: CollectionFamilies::register(registry),
            schedule: ScheduleFamilies::register(registry),
        }
    }
}

impl ServerFamilies {
    fn register(r: &mut Registry) -> Self {
        Self {
            http_requests: counters(
                r,
                "http_requests",
                "Requests that were answered, or given up by their client",
            ),
            http_request_seconds: timings(
                r,
                "http_request_seconds",
                "From a request's header to its answer's",
            ),
            http_connections: gauges(r, "http_connections", "Connections that are open"),
            http_connections_max: gauges(r, "http_connections_max", "Connections that may be open"),
            http_connections_refused: counters(
                r,
                "http_connections_refused",
                "Connections closed for want of a place",
            ),
            body_bytes: gauges(r, "body_bytes", "Bytes of request bodies in memory"),
            body_bytes_max: gauges(r, "body_bytes_max", "Bytes of request bodies that may be in memory"),
            store_seconds: timings(r, "store_seconds", "Time that a write to the store took"),
            store_bytes: gauges(r, "store_bytes", "Bytes on disk that count against max_store_bytes"),
            store_bytes_max: gauges(r, "store_bytes_max", "The limit of store_bytes"),
            disk_free_bytes: gauges(r, "disk_free_bytes", "Free space of the store's file system"),
            tasks: gauges(r, "tasks", "Tasks that the role takes part in"),
        }
    }
}

impl ReportFamilies {
    fn register(r: &mut Registry) -> Self {
        Self {
            accepted: counters(r, "reports_accepted", "Reports that were stored and acknowledged"),
            refused: counters(r, "reports_refused", "Reports that were refused at upload"),
            aggregated: counters(r, "reports_aggregated", "Reports that were added to a batch"),
            rejected: counters(r, "reports_rejected", "Reports that were rejected in an aggregation job"),
            put_back: counters(r, "reports_put_back", "Times that a report was too early for the helper"),
            lost: counters(
                r,
                "reports_lost",
                "Acknowledged reports of jobs that the helper refused for good",
            ),
            waiting: gauges(r, "reports_waiting", "Reports that are queued, put back or in open jobs"),
            oldest_age_seconds: gauges(
                r,
                "oldest_report_age_seconds",
                "Age of the report time that has waited longest, 0 if none waits",
            ),
        }
    }
}

impl JobFamilies {
    fn register(r: &mut Registry) -> Self {
        Self {
            open: gauges(r, "jobs_open", "Aggregation jobs that are not committed"),
            ended: counters(r, "jobs", "Attempts at aggregation jobs by what came of them"),
            seconds: timings(r, "job_seconds", "Time that a step of an aggregation job took"),
            responses_kept: gauges(r, "responses_kept", "Responses to aggregation jobs that are kept"),
            responses_not_released: counters(
                r,
                "responses_not_released",
                "Committed jobs whose response the helper was not told to forget",
            ),
        }
    }
}

impl CollectionFamilies {
    fn register(r: &mut Registry) -> Self {
        Self {
            aggregate_shares: counters(
                r,
                "aggregate_shares",
                "Requests for aggregate shares by what came of them",
            ),
            open: gauges(r, "collections_open", "Collection jobs that are under way"),
            ended: counters(r, "collections", "Attempts at collections by what came of them"),
            refused: counters(r, "collections_refused", "Collections that were refused, by reason"),
        }
    }
}

impl ScheduleFamilies {
    fn register(r: &mut Registry) -> Self {
        Self {
            attempts: counters(r, "schedule_attempts", "Attempts at scheduled windows by what came of them"),
            due: gauges(r, "schedule_windows_due", "Windows that are over and neither released nor given up"),
            overdue: gauges(
                r,
                "schedule_windows_overdue",
                "Windows that have been due for more than 6 hours",
            ),
        }
    }
}

impl Metrics {
    /// Nothing counted yet, no role.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let process = ProcessMetrics::register(&mut registry);
        let families = Families::register(registry.sub_registry_with_prefix("arras"));
        Self(Arc::new(Inner { registry, families, process, samplers: Mutex::default() }))
    }

    /// What a role counts of its HTTP interface; `role` is its name.
    pub(crate) fn http(&self, role: &'static str) -> HttpMetrics {
        HttpMetrics::new(&self.0.families, role)
    }

    /// What a leader counts.
    pub fn leader(&self) -> LeaderMetrics {
        LeaderMetrics::new(&self.0.families)
    }

    /// What a helper counts.
    pub fn helper(&self) -> HelperMetrics {
        HelperMetrics::new(&self.0.families)
    }

    /// What a collector counts.
    pub fn collector(&self) -> CollectorMetrics {
        CollectorMetrics::new(&self.0.families)
    }

    /// What a collector's schedule counts.
    pub fn schedule(&self) -> ScheduleMetrics {
        ScheduleMetrics::new(&self.0.families)
    }

    /// How long the store of a role takes; `role` is its name.
    pub fn store(&self, role: &'static str) -> StoreTimes {
        StoreTimes::new(&self.0.families, role)
    }

    /// Sets what a role's store occupies, and may, in bytes.
    pub(crate) fn set_store(&self, role: &'static str, bytes: u64, max_bytes: u64, free_bytes: u64) {
        let server = &self.0.families.server;
        server.store_bytes.get_or_create(&[("role", role)]).set(gauge(bytes));
        server.store_bytes_max.get_or_create(&[("role", role)]).set(gauge(max_bytes));
        server.disk_free_bytes.get_or_create(&[("role", role)]).set(gauge(free_bytes));
    }

    /// Sets what a role's request bodies occupy, and may, in bytes.
    pub(crate) fn set_bodies(&self, role: &'static str, (held, max): (usize, usize)) {
        let server = &self.0.families.server;
        server.body_bytes.get_or_create(&[("role", role)]).set(gauge(held as u64));
        server.body_bytes_max.get_or_create(&[("role", role)]).set(gauge(max as u64));
    }

    /// Sets in how many tasks a role takes part.
    pub(crate) fn set_tasks(&self, role: &'static str, tasks: usize) {
        self.0.families.server.tasks.get_or_create(&[("role", role)]).set(gauge(tasks as u64));
    }

    /// Adds something that is asked at each scrape; it may block on the disk, and must not wait for this.
    pub(crate) fn at_scrape(&self, sampler: impl Fn(&Self) + Send + Sync + 'static) {
        self.samplers().push(Box::new(sampler));
    }

    /// Everything as text. Blocks while the roles are asked.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.samplers().iter().for_each(|sampler| sampler(self));
        self.0.process.sample();
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }

    // A panic in a sampler leaves the list as it was.
    fn samplers(&self) -> MutexGuard<'_, Vec<Sampler>> {
        self.0.samplers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A number as a gauge holds it.
fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
