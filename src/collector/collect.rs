//! Collecting one window (DAP-18 section 4.6): ask, wait, open, suppress, keep.
//!
//! Every step can be taken again. The exact request is durable before it is sent; the leader gives the same
//! job to the same request, and the same bytes to every reader of the job; the first release stays.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::collection::open_and_unshard;
use arras_protocol::messages::{CollectionJobReq, CollectionJobResp, Interval, MediaType, TaskId};
use arras_protocol::task::MAX_BATCH_REPORTS;
use axum::http::StatusCode;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::aggregator::work::blocking;
use crate::collector::Collector;
use crate::collector::errors::{CollectError, Refused};
use crate::collector::release::{Charged, Draft, Opened, Published, Release};
use crate::collector::span::{Moment, Span};
use crate::collector::store::{BeginError, Begun, Collection, LOCATION_BYTES_MAX, Stage};
use crate::metrics::WindowOutcome;
use crate::net::client::{ClientError, Reply};
use crate::net::problem::{DapError, ErrorType};
use crate::tasks::provisioned::KnownTask;

/// Shortest pause between two looks at a job. A leader that says "at once" must not be asked in a loop.
pub const POLL_MIN: Duration = Duration::from_millis(500);

/// Longest pause between two looks, whatever the leader asks for: people wait for the answer.
pub const POLL_MAX: Duration = Duration::from_secs(60);

/// The pause if the leader names none. Collections take seconds.
pub const POLL_DEFAULT: Duration = Duration::from_secs(2);

/// First pause after the leader could not be reached; it doubles each time.
pub const RETRY_FIRST: Duration = Duration::from_millis(500);

/// Longest pause after the leader could not be reached.
pub const RETRY_MAX: Duration = Duration::from_secs(15);

/// For how long the leader may be out of reach before the caller hears of it. A restart of a leader that
/// reads its store takes less.
pub const UNREACHABLE_MAX: Duration = Duration::from_secs(60);

/// For how long a job may be pending before the caller hears of it. Draining a window with millions of
/// reports takes many minutes.
pub const PENDING_MAX: Duration = Duration::from_secs(3600);

/// How long a request of the collector's own interface waits for its release before it is answered with 202.
/// Below the time in which most clients and proxies give up.
pub const ANSWER_MAX: Duration = Duration::from_secs(25);

/// Windows that are collected at once after a restart; the others wait their turn. Each is a request to the leader every
/// other second.
const RESUMED_AT_ONCE: usize = 16;

/// How often a job may be gone at the place that the leader gave for it before that is an error: once is a
/// leader that lost its jobs, more is a leader that makes none.
const LOST_MAX: u32 = 2;

/// How long to wait for what; [`Default`] gives the constants of this module.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Timing {
    /// See [`POLL_MIN`].
    pub poll_min: Duration,
    /// See [`POLL_MAX`].
    pub poll_max: Duration,
    /// See [`POLL_DEFAULT`].
    pub poll_default: Duration,
    /// See [`RETRY_FIRST`].
    pub retry_first: Duration,
    /// See [`RETRY_MAX`].
    pub retry_max: Duration,
    /// See [`UNREACHABLE_MAX`].
    pub unreachable_max: Duration,
    /// See [`PENDING_MAX`].
    pub pending_max: Duration,
    /// See [`ANSWER_MAX`].
    pub answer_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll_min: POLL_MIN,
            poll_max: POLL_MAX,
            poll_default: POLL_DEFAULT,
            retry_first: RETRY_FIRST,
            retry_max: RETRY_MAX,
            unreachable_max: UNREACHABLE_MAX,
            pending_max: PENDING_MAX,
            answer_max: ANSWER_MAX,
        }
    }
}

/// A collection that is under way.
struct Job {
    task: Arc<KnownTask>,
    window: Span,
    interval: Interval,
    charge: Charged,
    /// Of a value task: the release that says which buckets are shown.
    conversions: Option<Arc<Published>>,
    request: Vec<u8>,
    location: Option<String>,
}

/// What one exchange with the leader came to.
enum Step {
    /// The answer.
    Ready(Box<CollectionJobResp>),
    /// Not yet; the job is there.
    Pending { location: Option<String>, wait: Option<Duration> },
    /// The job is not where it was.
    Lost,
    /// No answer now.
    Trouble { cause: String, wait: Option<Duration> },
}

impl Collector {
    /// Collects a window of a task, or returns the release that was made of it before.
    ///
    /// It may be called again at any time, by several callers at once, and dropped at any point: what was
    /// begun goes on with the next call for the same window, also after a restart.
    pub async fn collect(&self, task: TaskId, window: Span) -> Result<Release, CollectError> {
        self.collect_telling(task, window, &|_| ()).await.map(Published::into_release)
    }

    /// As [`Self::collect`]; `tell` hears what is in the way while it goes on trying.
    pub(super) async fn collect_telling(
        &self,
        task: TaskId,
        window: Span,
        tell: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Published, CollectError> {
        let _turn = self.turn(task, window).await;
        let collector = self.clone();
        let begun = blocking(move || collector.begin(task, window)).await;
        let mut job = match begun.inspect_err(|error| self.count(error))? {
            Started::Released(release) => return Ok(*release),
            Started::UnderWay(job) => job,
        };
        let outcome = match self.answer(&mut job, tell).await {
            Ok(response) => self.release(&job, response).await,
            Err(error) => Err(error),
        };
        if outcome.is_ok() {
            self.metrics().window(WindowOutcome::Released);
        }
        if let Err(error) = &outcome {
            self.count(error);
            tracing::warn!(%task, window = %job.window, %error, "a window was not released");
            if error.is_final() {
                let (collector, interval, reason) = (self.clone(), job.interval, error.to_string());
                blocking(move || collector.store().fail(task, interval, &reason)).await?;
            }
        }
        outcome
    }

    fn count(&self, error: &CollectError) {
        self.metrics().window(match error {
            CollectError::Refused(_) => WindowOutcome::Refused,
            CollectError::Unreachable { .. } | CollectError::StillPending { .. } => WindowOutcome::Unfinished,
            CollectError::BadAnswer(_) | CollectError::Shares(_) | CollectError::Release(_) => {
                WindowOutcome::BadAnswer
            }
            CollectError::NoRoom(_) | CollectError::Store(_) => WindowOutcome::Failed,
            CollectError::UnknownTask(_)
            | CollectError::Task(_)
            | CollectError::OtherLeader { .. }
            | CollectError::Window(_)
            | CollectError::NotOver { .. }
            | CollectError::Epochs(_)
            | CollectError::Conversions(_)
            | CollectError::Sum(_)
            | CollectError::OverlapsUnderWay(_)
            | CollectError::OverlapsReleased { .. } => WindowOutcome::Invalid,
        });
    }

    /// Goes on with everything that was under way when the process ended; returns when all of it has come to
    /// an end. What fails is logged, and can be asked for again.
    pub async fn resume(&self) -> Result<(), CollectError> {
        let collector = self.clone();
        let open = blocking(move || collector.under_way()).await?;
        let mut running = tokio::task::JoinSet::new();
        for (task, window) in open {
            if running.len() >= RESUMED_AT_ONCE {
                let _ = running.join_next().await;
            }
            let collector = self.clone();
            // Its outcome is in the log and in the store.
            running.spawn(async move { collector.collect(task, window).await.is_ok() });
        }
        while running.join_next().await.is_some() {}
        Ok(())
    }

    fn under_way(&self) -> Result<Vec<(TaskId, Span)>, CollectError> {
        let mut open = Vec::new();
        for id in self.tasks().ids()? {
            // A file that cannot be read is reported to whoever asks for its task.
            let Ok(Some(known)) = self.tasks().load(id) else { continue };
            let precision = known.task.configuration().time_precision;
            for collection in self.all_collections(id)? {
                if let (Stage::UnderWay { .. }, Some(window)) =
                    (&collection.stage, Span::of(collection.interval, precision))
                {
                    open.push((id, window));
                }
            }
        }
        Ok(open)
    }

    /// A task of the folder whose leader is ours.
    pub(super) fn known_task(&self, id: TaskId) -> Result<KnownTask, CollectError> {
        let known = self.tasks().load(id)?.ok_or(CollectError::UnknownTask(id))?;
        let configured = self.leader().endpoint().as_str();
        let endpoint = known.task.configuration().leader.as_str();
        if endpoint != configured {
            let (task, configured) = (endpoint.to_owned(), configured.to_owned());
            return Err(CollectError::OtherLeader { task, configured });
        }
        Ok(known)
    }

    /// Checks the window and makes the request durable.
    fn begin(&self, id: TaskId, window: Span) -> Result<Started, CollectError> {
        let task = self.known_task(id)?;
        let precision = task.task.configuration().time_precision;
        let interval = window.interval(precision)?;
        let now = self.now();
        if window.to() > now {
            return Err(CollectError::NotOver { to: window.to(), now });
        }
        let charge = Charged::of(&task, window, self.epoch_start(&task.budget_source))?;
        let conversions = match self.conversions_of(&task, window) {
            Ok(conversions) => conversions.map(Arc::new),
            // A release that is there stays, whatever became of the task that it followed.
            Err(error) => return self.released(id, interval)?.map(Started::Released).ok_or(error),
        };
        let request = CollectionJobReq::time_interval(interval).to_bytes();
        let follows = conversions.as_ref().map(|published| published.release());
        let bytes = Draft::bytes_max(&task, (window, interval), charge.clone(), follows, self.signer())?;
        match self.store().begin(id, interval, &request, bytes) {
            Ok(Begun::Released(release)) => Ok(Started::Released(release)),
            Ok(Begun::UnderWay { request, location }) => {
                let task = Arc::new(task);
                Ok(Started::UnderWay(Job { task, window, interval, charge, conversions, request, location }))
            }
            Err(BeginError::Overlap(other)) => Err(overlap(&other, &task, window)),
            Err(BeginError::Store(error)) if error.is_full() => Err(CollectError::NoRoom(error)),
            Err(BeginError::Store(error)) => Err(error.into()),
        }
    }

    /// Asks the leader until there is an answer.
    async fn answer(
        &self,
        job: &mut Job,
        tell: &(dyn Fn(String) + Send + Sync),
    ) -> Result<CollectionJobResp, CollectError> {
        let timing = self.timing();
        let started = Instant::now();
        let mut out_of_reach: Option<Instant> = None;
        let mut pause = timing.retry_first;
        let mut lost = 0;
        loop {
            let wait = match self.step(job).await? {
                Step::Ready(response) => return Ok(*response),
                Step::Lost => {
                    lost += 1;
                    if lost > LOST_MAX {
                        let reason = "its collection job is not found at the address that it gave";
                        return Err(CollectError::BadAnswer(reason.to_owned()));
                    }
                    self.keep_location(job, None).await?;
                    timing.poll_min
                }
                Step::Pending { location, wait } => {
                    (out_of_reach, pause) = (None, timing.retry_first);
                    if location.is_some() && location != job.location {
                        self.keep_location(job, location).await?;
                    }
                    if started.elapsed() >= timing.pending_max {
                        return Err(CollectError::StillPending { waited: timing.pending_max });
                    }
                    wait.unwrap_or(timing.poll_default).clamp(timing.poll_min, timing.poll_max)
                }
                Step::Trouble { cause, wait } => {
                    let since = *out_of_reach.get_or_insert_with(Instant::now);
                    if since.elapsed() >= timing.unreachable_max {
                        let leader = self.leader().endpoint().as_str().to_owned();
                        return Err(CollectError::Unreachable {
                            leader,
                            tried: timing.unreachable_max,
                            cause,
                        });
                    }
                    tracing::info!(cause, "the leader is asked again");
                    tell(cause);
                    let next = wait.unwrap_or(pause).clamp(pause, timing.poll_max);
                    pause = (pause * 2).min(timing.retry_max);
                    next
                }
            };
            sleep(wait).await;
        }
    }

    /// One exchange: follows the job if its place is known, otherwise sends the request.
    async fn step(&self, job: &Job) -> Result<Step, CollectError> {
        let reply = if let Some(location) = &job.location {
            self.leader().get(location).await
        } else {
            let path = format!("tasks/{}/collection_jobs", job.task.task.id());
            let media_type = MediaType::CollectionJobReq.as_str();
            self.leader().post(&path, media_type, job.request.clone()).await
        };
        match reply {
            Ok(reply) => self.judge(&reply, job),
            Err(error @ (ClientError::OtherOrigin(_) | ClientError::TooLarge(_))) => {
                Err(CollectError::BadAnswer(error.to_string()))
            }
            Err(error) => Ok(Step::Trouble { cause: error.to_string(), wait: None }),
        }
    }

    fn judge(&self, reply: &Reply, job: &Job) -> Result<Step, CollectError> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(self.now().seconds());
        let wait = reply.retry_after(now);
        if !reply.status.is_success() {
            return judge_refusal(reply, wait, job);
        }
        if !reply.body.is_empty() {
            return read_answer(reply, job).map(|response| Step::Ready(Box::new(response)));
        }
        let location = reply.location.clone();
        let bad = |reason: &str| Err(CollectError::BadAnswer(reason.to_owned()));
        match &location {
            None if job.location.is_none() => bad("it accepted the request without saying where the job is"),
            Some(location) if location.len() > LOCATION_BYTES_MAX => {
                bad("the address of its collection job is longer than 2048 bytes")
            }
            Some(location) if self.leader().endpoint().resource(location).is_none() => {
                bad("the address of its collection job is not below its endpoint")
            }
            _ => Ok(Step::Pending { location, wait }),
        }
    }

    async fn keep_location(&self, job: &mut Job, location: Option<String>) -> Result<(), CollectError> {
        let (collector, id, interval) = (self.clone(), job.task.task.id(), job.interval);
        job.location.clone_from(&location);
        Ok(blocking(move || collector.store().set_location(id, interval, location.as_deref())).await?)
    }

    /// Opens, suppresses, signs and keeps. Without suppression nothing is returned.
    async fn release(&self, job: &Job, response: CollectionJobResp) -> Result<Published, CollectError> {
        let (collector, task) = (self.clone(), Arc::clone(&job.task));
        let (interval, window) = (job.interval, job.window);
        let (request, charge) = (job.request.clone(), job.charge.clone());
        let conversions = job.conversions.clone();
        blocking(move || {
            let request = CollectionJobReq::from_bytes(&request)
                .map_err(|error| CollectError::BadAnswer(format!("the stored request: {error}")))?;
            let (collector_hpke, cells) = collector.open_shares(&task, &request, &response)?;
            let CollectionJobResp { report_count, interval: reports, .. } = response;
            let opened = Opened { window, reports, report_count, cells, charge, collector_hpke };
            let conversions = conversions.as_ref().map(|published| published.release());
            let draft = Draft::new(&task, opened, conversions, collector.signer())?;
            Ok(collector.store().finish(task.task.id(), interval, draft)?)
        })
        .await
    }

    fn open_shares(
        &self,
        task: &KnownTask,
        request: &CollectionJobReq,
        response: &CollectionJobResp,
    ) -> Result<(u8, Zeroizing<Vec<i128>>), CollectError> {
        // Both aggregators add noise, so a cell may be two noises away from any sum.
        let slack = task.policy.noise_slack().saturating_mul(2);
        let named = response.leader_share.as_ref().config_id;
        let keys = self.keys();
        // A share for none of our keys is tried with the first, which then says so.
        let key = keys.iter().find(|(id, _)| *id == named).or_else(|| keys.first());
        let (id, key) = key.ok_or_else(|| CollectError::BadAnswer("this collector has no key".to_owned()))?;
        let cells = open_and_unshard(&task.task, key, *id, request, response, slack)?;
        Ok((*id, Zeroizing::new(cells)))
    }

    pub(super) fn now(&self) -> Moment {
        // A clock after the year 9999 is broken; then every window is in the future.
        Moment::from_seconds(self.clock().now()).unwrap_or_default()
    }
}

enum Started {
    Released(Box<Published>),
    UnderWay(Job),
}

fn overlap(other: &Collection, task: &KnownTask, asked: Span) -> CollectError {
    // What is kept was a span before.
    let window = Span::of(other.interval, task.task.configuration().time_precision).unwrap_or(asked);
    match other.stage {
        Stage::Released { sequence } => CollectError::OverlapsReleased { window, sequence },
        _ => CollectError::OverlapsUnderWay(window),
    }
}

/// Tells a refusal from trouble that passes.
fn judge_refusal(reply: &Reply, wait: Option<Duration>, job: &Job) -> Result<Step, CollectError> {
    let problem = reply.problem();
    let kind = problem.as_ref().map(|problem| problem.kind().clone());
    let busy = matches!(reply.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if busy || reply.status.is_server_error() {
        let cause = problem.map_or_else(|| reply.status.to_string(), |problem| problem.to_string());
        return Ok(Step::Trouble { cause, wait });
    }
    let unknown_task = kind == Some(ErrorType::Dap(DapError::UnrecognizedTask));
    if reply.status == StatusCode::NOT_FOUND && job.location.is_some() && !unknown_task {
        return Ok(Step::Lost);
    }
    match problem {
        Some(problem) => Err(Refused::new(problem, &job.task.budget_source).into()),
        None => Err(CollectError::BadAnswer(format!("it answers {} and says no more", reply.status))),
    }
}

/// Reads an answer and checks that it answers what was asked.
fn read_answer(reply: &Reply, job: &Job) -> Result<CollectionJobResp, CollectError> {
    let bad = |reason: String| Err(CollectError::BadAnswer(reason));
    if !reply.content_type().is_some_and(|given| MediaType::CollectionJobResp.matches(given)) {
        return bad(format!("its Content-Type is not {}", MediaType::CollectionJobResp.as_str()));
    }
    let response = match CollectionJobResp::from_bytes(&reply.body) {
        Ok(response) => response,
        Err(error) => return bad(error.to_string()),
    };
    if !job.interval.contains_interval(response.interval) || response.interval.duration().0 == 0 {
        return bad("its interval of reports is not within the window".to_owned());
    }
    let needed = job.task.task.configuration().min_batch_size;
    let count = response.report_count;
    if !(needed..=MAX_BATCH_REPORTS).contains(&count) {
        return bad(format!(
            "it released {count} reports, and a batch of this task has {needed} to {MAX_BATCH_REPORTS}"
        ));
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
