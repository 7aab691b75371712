//! What each role counts of its own work.

use std::time::Instant;

use arras_protocol::messages::ReportError;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::{Counters, Families, Metrics, gauge};

const LEADER: &str = "leader";
const HELPER: &str = "helper";
const COLLECTOR: &str = "collector";

/// Values of a label that are an enum of ours, each with its text.
macro_rules! label_values {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            const TEXTS: &'static [&'static str] = &[$($text,)*];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label_values! {
    /// What came of one attempt of the leader's at an aggregation job.
    AttemptOutcome {
        /// It is committed.
        Committed "committed",
        /// It is committed, and all its reports are in the queue again: too early for the helper.
        PutBack "put_back",
        /// The helper refused it for good; its reports are lost.
        Lost "lost",
        /// No connection to the helper; the job stays open, as with all that follow.
        Unreachable "unreachable",
        /// The helper did not answer in time.
        TimedOut "timed_out",
        /// The exchange broke off, or what came was no HTTP or too much of it.
        Broken "broken",
        /// The helper puts it off, or answers with an error that may pass.
        PutOff "put_off",
        /// The helper, or whoever answers in its place, answers with what is no response.
        BadAnswer "bad_answer",
        /// It cannot be loaded or committed: the store, a key.
        Failed "failed",
        /// A panic of ours.
        Stopped "stopped",
    }
}

label_values! {
    /// What came of a request for an aggregation job at the helper.
    JobOutcome {
        /// It was verified and committed.
        Committed "committed",
        /// The stored response was the answer.
        Repeated "repeated",
        /// It is wrong as a whole.
        Refused "refused",
        /// The store failed, or is full.
        Failed "failed",
    }
}

label_values! {
    /// What came of a request for an aggregate share at the helper.
    ShareOutcome {
        /// It was charged, noised and sealed.
        Released "released",
        /// The stored answer was the answer.
        Repeated "repeated",
        /// It was refused; nothing was charged.
        Refused "refused",
        /// The store failed, or is full, or noise could not be drawn.
        Failed "failed",
    }
}

label_values! {
    /// What came of one attempt of the leader's to get on with a collection job.
    CollectionOutcome {
        /// Its answer is kept.
        Ready "ready",
        /// It is refused; its window is open again.
        Refused "refused",
        /// It was deleted by the collector.
        Deleted "deleted",
        /// It does not get on now and is tried again.
        NotNow "not_now",
    }
}

label_values! {
    /// What came of one attempt of the collector's at a window.
    WindowOutcome {
        /// There is a release.
        Released "released",
        /// The leader or the helper refuses.
        Refused "refused",
        /// The window or the task is none that can be collected.
        Invalid "invalid",
        /// The leader is not reached, or not done, for as long as was waited.
        Unfinished "unfinished",
        /// An answer, or the shares in it, cannot be used.
        BadAnswer "bad_answer",
        /// The store failed, or is full.
        Failed "failed",
    }
}

label_values! {
    /// What came of one attempt of the schedule's at a window.
    AttemptResult {
        /// There is a release.
        Released "released",
        /// The window holds too few reports.
        TooFewReports "too_few_reports",
        /// A budget does not allow it.
        RefusedByBudget "refused_by_budget",
        /// The leader is not reached, or not done, or the collector has no room for another release.
        Unfinished "unfinished",
        /// Anything else.
        Failed "failed",
    }
}

/// Reasons for which a report is refused or rejected, in the order of [`ReportError::ALL`].
const REASONS: [&str; ReportError::ALL.len()] = [
    "batch_collected",
    "report_replayed",
    "report_dropped",
    "hpke_unknown_config_id",
    "hpke_decrypt_error",
    "vdaf_verify_error",
    "task_expired",
    "invalid_message",
    "report_too_early",
    "task_not_started",
    "outdated_config",
];

/// One counter for each reason.
#[derive(Clone, Debug)]
pub(crate) struct ByReason([Counter; REASONS.len()]);

impl ByReason {
    fn new(family: &Counters<2>, role: &'static str) -> Self {
        Self(REASONS.map(|reason| family.get_or_create_owned(&[("role", role), ("reason", reason)])))
    }

    pub(crate) fn count(&self, error: ReportError) {
        if let Some(index) = ReportError::ALL.iter().position(|known| *known == error) {
            self.0[index].inc();
        }
    }

    /// What was counted, without reasons that did not occur.
    pub(crate) fn values(&self) -> Vec<(ReportError, u64)> {
        let values = ReportError::ALL.into_iter().zip(self.0.iter().map(Counter::get));
        values.filter(|(_, value)| *value > 0).collect()
    }
}

fn by_outcome(family: &Counters<2>, role: &'static str, texts: &[&'static str]) -> Vec<Counter> {
    texts.iter().map(|text| family.get_or_create_owned(&[("role", role), ("outcome", text)])).collect()
}

/// Refusals that have a series before they happen: those that one wants to be told of.
pub(super) const WATCHED: [&str; 3] = ["batchMismatch", "budgetExhausted", "invalidBatchSize"];

/// Refused collections of one role by the error that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Refusals {
    family: Counters<2>,
    role: &'static str,
}

impl Refusals {
    fn new(families: &Families, role: &'static str) -> Self {
        let refusals = Self { family: families.collections.refused.clone(), role };
        for reason in WATCHED {
            drop(refusals.counter(reason));
        }
        refusals
    }

    fn counter(&self, reason: &'static str) -> Counter {
        self.family.get_or_create_owned(&[("role", self.role), ("reason", reason)])
    }

    /// `reason` is the last part of an error type's URI.
    pub(crate) fn count(&self, reason: &'static str) {
        self.counter(reason).inc();
    }
}

/// What a leader counts. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct LeaderMetrics {
    pub(crate) accepted: Counter,
    pub(crate) refused: ByReason,
    pub(crate) aggregated: Counter,
    pub(crate) rejected: ByReason,
    pub(crate) put_back: Counter,
    pub(crate) lost: Counter,
    pub(crate) not_released: Counter,
    pub(crate) collections_refused: Refusals,
    waiting: Gauge,
    oldest_age: Gauge,
    jobs_open: Gauge,
    attempts: Vec<Counter>,
    make: Histogram,
    ask: Histogram,
    commit: Histogram,
    collections: Vec<Counter>,
    draining: Gauge,
    asking: Gauge,
}

/// What waits at a leader when somebody looks; of all tasks together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backlog {
    /// Reports that are queued, put back or in open jobs.
    pub(crate) reports: u64,
    /// Seconds since the oldest time among them; see `store::Waiting`.
    pub(crate) oldest_age: u64,
    pub(crate) jobs: usize,
    pub(crate) collections_draining: usize,
    pub(crate) collections_asking: usize,
}

impl LeaderMetrics {
    pub(super) fn new(families: &Families) -> Self {
        let role = [("role", LEADER)];
        let step = |step| families.jobs.seconds.get_or_create_owned(&[("role", LEADER), ("step", step)]);
        let open =
            |state| families.collections.open.get_or_create_owned(&[("role", LEADER), ("state", state)]);
        Self {
            accepted: families.reports.accepted.get_or_create_owned(&role),
            refused: ByReason::new(&families.reports.refused, LEADER),
            aggregated: families.reports.aggregated.get_or_create_owned(&role),
            rejected: ByReason::new(&families.reports.rejected, LEADER),
            put_back: families.reports.put_back.get_or_create_owned(&role),
            lost: families.reports.lost.get_or_create_owned(&role),
            not_released: families.jobs.responses_not_released.get_or_create_owned(&role),
            collections_refused: Refusals::new(families, LEADER),
            waiting: families.reports.waiting.get_or_create_owned(&role),
            oldest_age: families.reports.oldest_age_seconds.get_or_create_owned(&role),
            jobs_open: families.jobs.open.get_or_create_owned(&role),
            attempts: by_outcome(&families.jobs.ended, LEADER, AttemptOutcome::TEXTS),
            make: step("make"),
            ask: step("ask"),
            commit: step("commit"),
            collections: by_outcome(&families.collections.ended, LEADER, CollectionOutcome::TEXTS),
            draining: open("draining"),
            asking: open("asking_helper"),
        }
    }

    pub(crate) fn attempt(&self, outcome: AttemptOutcome) {
        self.attempts[outcome.index()].inc();
    }

    pub(crate) fn collection(&self, outcome: CollectionOutcome) {
        self.collections[outcome.index()].inc();
    }

    /// A job was made: reports taken, opened, and the request durable.
    pub(crate) fn make_took(&self, since: Instant) {
        self.make.observe(since.elapsed().as_secs_f64());
    }

    /// The helper answered a job.
    pub(crate) fn ask_took(&self, since: Instant) {
        self.ask.observe(since.elapsed().as_secs_f64());
    }

    /// A job was finished and committed.
    pub(crate) fn commit_took(&self, since: Instant) {
        self.commit.observe(since.elapsed().as_secs_f64());
    }

    pub(crate) fn set_backlog(&self, backlog: &Backlog) {
        self.waiting.set(gauge(backlog.reports));
        self.oldest_age.set(gauge(backlog.oldest_age));
        self.jobs_open.set(gauge(backlog.jobs as u64));
        self.draining.set(gauge(backlog.collections_draining as u64));
        self.asking.set(gauge(backlog.collections_asking as u64));
    }
}

/// Metrics that nobody reads.
impl Default for LeaderMetrics {
    fn default() -> Self {
        Metrics::new().leader()
    }
}

/// What a helper counts. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct HelperMetrics {
    pub(crate) aggregated: Counter,
    pub(crate) rejected: ByReason,
    pub(crate) collections_refused: Refusals,
    jobs_under_way: Gauge,
    jobs: Vec<Counter>,
    verify: Histogram,
    commit: Histogram,
    responses: Gauge,
    shares: Vec<Counter>,
}

impl HelperMetrics {
    pub(super) fn new(families: &Families) -> Self {
        let role = [("role", HELPER)];
        let step = |step| families.jobs.seconds.get_or_create_owned(&[("role", HELPER), ("step", step)]);
        Self {
            aggregated: families.reports.aggregated.get_or_create_owned(&role),
            rejected: ByReason::new(&families.reports.rejected, HELPER),
            collections_refused: Refusals::new(families, HELPER),
            jobs_under_way: families.jobs.open.get_or_create_owned(&role),
            jobs: by_outcome(&families.jobs.ended, HELPER, JobOutcome::TEXTS),
            verify: step("verify"),
            commit: step("commit"),
            responses: families.jobs.responses_kept.get_or_create_owned(&role),
            shares: by_outcome(&families.collections.aggregate_shares, HELPER, ShareOutcome::TEXTS),
        }
    }

    pub(crate) fn job(&self, outcome: JobOutcome) {
        self.jobs[outcome.index()].inc();
    }

    pub(crate) fn share(&self, outcome: ShareOutcome) {
        self.shares[outcome.index()].inc();
    }

    /// A job's reports were opened and verified.
    pub(crate) fn verify_took(&self, since: Instant) {
        self.verify.observe(since.elapsed().as_secs_f64());
    }

    /// A job was summed and committed.
    pub(crate) fn commit_took(&self, since: Instant) {
        self.commit.observe(since.elapsed().as_secs_f64());
    }

    /// What is kept, and how many requests are worked on, when somebody looks.
    pub(crate) fn set_state(&self, responses: usize, under_way: usize) {
        self.responses.set(gauge(responses as u64));
        self.jobs_under_way.set(gauge(under_way as u64));
    }
}

/// Metrics that nobody reads.
impl Default for HelperMetrics {
    fn default() -> Self {
        Metrics::new().helper()
    }
}

/// What a collector counts. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct CollectorMetrics {
    windows: Vec<Counter>,
    under_way: Gauge,
}

impl CollectorMetrics {
    pub(super) fn new(families: &Families) -> Self {
        let open = [("role", COLLECTOR), ("state", "under_way")];
        Self {
            windows: by_outcome(&families.collections.ended, COLLECTOR, WindowOutcome::TEXTS),
            under_way: families.collections.open.get_or_create_owned(&open),
        }
    }

    pub(crate) fn window(&self, outcome: WindowOutcome) {
        self.windows[outcome.index()].inc();
    }

    /// How many windows are being collected or waited for, when somebody looks.
    pub(crate) fn set_under_way(&self, windows: usize) {
        self.under_way.set(gauge(windows as u64));
    }
}

/// Metrics that nobody reads.
impl Default for CollectorMetrics {
    fn default() -> Self {
        Metrics::new().collector()
    }
}

/// What the schedule of a collector counts. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct ScheduleMetrics {
    attempts: Vec<Counter>,
    due: Gauge,
    overdue: Gauge,
}

impl ScheduleMetrics {
    pub(super) fn new(families: &Families) -> Self {
        let role = [("role", COLLECTOR)];
        Self {
            attempts: by_outcome(&families.schedule.attempts, COLLECTOR, AttemptResult::TEXTS),
            due: families.schedule.due.get_or_create_owned(&role),
            overdue: families.schedule.overdue.get_or_create_owned(&role),
        }
    }

    pub(crate) fn attempt(&self, result: AttemptResult) {
        self.attempts[result.index()].inc();
    }

    /// What the last round found.
    pub(crate) fn set_windows(&self, due: usize, overdue: usize) {
        self.due.set(gauge(due as u64));
        self.overdue.set(gauge(overdue as u64));
    }
}

/// Metrics that nobody reads.
impl Default for ScheduleMetrics {
    fn default() -> Self {
        Metrics::new().schedule()
    }
}
