//! Aggregation jobs (DAP-18 section 4.5.3.1).
//!
//! A job exists from the transaction that keeps its exact request. From then on it may have reached the
//! helper, so it is never made anew: the same bytes are sent until they are answered, and after a restart the
//! leader's states are computed again from the same reports. Rebuilt, it could differ (clock, keys,
//! version), and the helper would call every report replayed and the batch mismatched for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::messages::{
    AggregationJobInitReq, AggregationJobResp, Extensions, MediaType, ReportError, ReportId, ReportRef,
    ReportShareRef, TaskId, Time, VerifyInitRef,
};
use arras_protocol::task::Task;
use arras_protocol::vdaf::VdafError;
use arras_protocol::verification::{
    BatchBucket, LeaderVerification, PendingReport, check_response, leader_finish, leader_init,
};
use tokio::time::Instant;

use crate::aggregator::leader::Leader;
use crate::aggregator::work::{blocking, in_pieces};
use crate::aggregator::{ANY_TIME, Limits, ProvisionedTask, buckets_per_job, report_len};
use crate::metrics::AttemptOutcome;
use crate::net::client::{ClientError, Reply};
use crate::net::problem::{DapError, ErrorType, ProblemDocument};
use crate::store::{JobDraft, JobNumber, JobSums, OpenJob, Position, QueuedReport, ReportKey, StoreError};

/// Shortest and longest pause between two polls of a job that the helper puts off.
const POLL_SHORTEST: Duration = Duration::from_millis(250);
const POLL_LONGEST: Duration = Duration::from_secs(60);

/// How long a job is polled before it gives up its place to others; it is sent again later, and a helper that has
/// worked on it answers that at once.
const POLL_DEADLINE: Duration = Duration::from_secs(300);

/// A job with the leader's states, ready to be sent.
pub(super) struct ReadyJob {
    task: Arc<ProvisionedTask>,
    number: JobNumber,
    request: bytes::Bytes,
    pending: Vec<PendingReport>,
    /// Where each report is kept, to put it back if the helper finds it too early.
    positions: Vec<Position>,
}

/// What came of sending a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It is done; whether all of its reports count.
    Committed { all_counted: bool },
    /// It is done, and all its reports are in the queue again: the helper's clock is behind. To make the next job of
    /// them at once would go round and round.
    PutBack,
    /// It stays open, and the same bytes are sent again, not before the helper's wish is over.
    Open { wait: Duration },
}

impl Attempt {
    /// It stays open, and nobody asked for patience.
    pub(super) const OPEN: Self = Self::Open { wait: Duration::ZERO };
}

/// Why a job cannot go on now.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Vdaf(#[from] VdafError),
    #[error("a stored job does not decode; the store was changed from outside")]
    Stored,
    /// What was opened once does not open any more.
    #[error(
        "a report of an open job cannot be opened ({0}): put back the HPKE key {1} that it is sealed to, and remove it \
         when no job is open"
    )]
    KeyGone(ReportError, u8),
}

/// What the helper said to a job, as far as it decides what to do.
enum Answer {
    Response(AggregationJobResp),
    /// It will never take this job.
    Refused(String),
    /// It may take it later; what that counts as, and why.
    Later(AttemptOutcome, String),
}

/// What came back to a job.
struct Heard {
    answer: Answer,
    /// Where the helper keeps its answer.
    location: Option<String>,
    /// How long it asks to be left alone before the job comes again.
    wait: Duration,
}

impl Heard {
    fn nothing(error: &ClientError) -> Self {
        let answer = Answer::Later(outcome_of(error), error.to_string());
        Self { answer, location: None, wait: Duration::ZERO }
    }
}

impl ReadyJob {
    /// Names it in the store.
    pub(super) fn number(&self) -> JobNumber {
        self.number
    }
}

impl Leader {
    /// Takes reports from the queue, opens and checks them, and makes the job durable. Blocks.
    pub(super) fn make_job(&self, task: &Arc<ProvisionedTask>) -> Result<Made, JobError> {
        let parts = self.parts();
        let started = std::time::Instant::now();
        let now = parts.clock.now();
        let id = task.task.id();
        let precision = task.task.configuration().time_precision;
        let Some(draft) =
            parts.store.next_reports(id, job_size(&task.task, parts.limits), precision.truncate(now))?
        else {
            return Ok(Made::Nothing);
        };
        let verified = self.verify(task, &draft, now)?;
        let included: Vec<usize> = verified.initialised.iter().map(|(index, _)| *index).collect();
        let request = encode_request(task, &draft.reports, &verified.initialised)?;
        let number = parts.store.create_job(id, &draft, &included, &verified.put_back, &request)?;
        self.rejected(id, &verified.rejected);
        let Some(number) = number else { return Ok(Made::OnlyRejections) };
        let positions = included.iter().map(|index| draft.reports[*index].position).collect();
        let pending = pending(&draft.reports, verified.initialised)?;
        self.metrics().make_took(started);
        Ok(Made::Job(ReadyJob {
            task: Arc::clone(task),
            number,
            request: request.into(),
            pending,
            positions,
        }))
    }

    fn verify(&self, task: &ProvisionedTask, draft: &JobDraft, now: u64) -> Result<Verified, JobError> {
        let parts = self.parts();
        let reports = decode(&draft.reports)?;
        let mut verified = Verified::default();
        // Reports of more buckets than a commit can write wait for the next job.
        let mut times = BTreeSet::new();
        let max_times = buckets_per_job(&task.task);
        let (mut taken, mut indices) = (Vec::with_capacity(reports.len()), Vec::with_capacity(reports.len()));
        for (index, report) in reports.into_iter().enumerate() {
            if times.len() == max_times && !times.contains(&report.header.time) {
                verified.put_back.push(index);
                continue;
            }
            times.insert(report.header.time);
            taken.push(report);
            indices.push(index);
        }
        let window = parts.limits.aggregation_window(&task.task, now);
        let results = in_pieces(&taken, |piece| {
            leader_init(&task.task, &task.verify_key, &parts.opener, window, piece)
        });
        for (index, result) in indices.into_iter().zip(results) {
            match result {
                Ok(verification) => verified.initialised.push((index, verification)),
                Err(ReportError::ReportTooEarly) => verified.put_back.push(index),
                Err(error) => verified.rejected.push(error),
            }
        }
        Ok(verified)
    }

    /// Reads a job of an earlier run and computes its states again. They were checked when the job was
    /// made, so their times are not judged again. Blocks.
    pub(super) fn load(&self, task: &Arc<ProvisionedTask>, number: JobNumber) -> Result<ReadyJob, JobError> {
        let OpenJob { number, request, reports } = self.store().load_job(task.task.id(), number)?;
        let decoded = decode(&reports)?;
        let parts = self.parts();
        let results = in_pieces(&decoded, |piece| {
            leader_init(&task.task, &task.verify_key, &parts.opener, ANY_TIME, piece)
        });
        let initialised = results
            .into_iter()
            .enumerate()
            .map(|(index, result)| {
                let gone = |error| JobError::KeyGone(error, decoded[index].leader_share.config_id);
                Ok((index, result.map_err(gone)?))
            })
            .collect::<Result<Vec<_>, JobError>>()?;
        let positions = reports.iter().map(|report| report.position).collect();
        let pending = pending(&reports, initialised)?;
        Ok(ReadyJob { task: Arc::clone(task), number, request: request.into(), pending, positions })
    }

    /// Sends a job once and commits what comes of it.
    pub(super) async fn attempt(&self, job: ReadyJob) -> Attempt {
        let number = job.number;
        let started = std::time::Instant::now();
        let Heard { answer, location, wait } = self.send(&job).await;
        let answer = match answer {
            Answer::Response(response) => Ok(response),
            Answer::Refused(reason) => Err(reason),
            Answer::Later(kind, reason) => {
                tracing::warn!(reason, job = number.0, "the helper did not take a job; it is sent again");
                self.metrics().attempt(kind);
                return Attempt::Open { wait };
            }
        };
        self.metrics().ask_took(started);
        let leader = self.clone();
        let committed = blocking(move || {
            let started = std::time::Instant::now();
            let attempt = match answer {
                Ok(response) => leader.finish(job, &response),
                Err(reason) => leader.lose(&job, &reason),
            };
            attempt.inspect(|_| leader.metrics().commit_took(started))
        });
        let attempt = committed.await.unwrap_or_else(|error| {
            tracing::error!(%error, job = number.0, "a job cannot be committed; it is tried again");
            self.metrics().attempt(AttemptOutcome::Failed);
            Attempt::OPEN
        });
        // A report that was put back or rejected could verify after all when a late copy of this request comes, if clocks,
        // keys or secrets were mended meanwhile; a helper that did not know the request any more would count it alone.
        if let (Attempt::Committed { all_counted: true }, Some(location)) = (attempt, location) {
            self.let_helper_forget(location);
        }
        attempt
    }

    /// Tells the helper that its response is not needed any more (DAP-18 section 4.5.5). Once and without waiting, and
    /// only if few are being told: what it does not hear it forgets when the window is collected.
    fn let_helper_forget(&self, location: String) {
        let metrics = self.metrics().clone();
        let Ok(turn) = Arc::clone(&self.0.forgetting).try_acquire_owned() else {
            metrics.not_released.inc();
            return;
        };
        let helper = self.parts().helper.clone();
        tokio::spawn(async move {
            let _turn = turn;
            if let Err(error) = helper.delete(&location).await {
                metrics.not_released.inc();
                tracing::debug!(%error, "the helper was not told that a job is done");
            }
        });
    }

    async fn send(&self, job: &ReadyJob) -> Heard {
        let helper = &self.parts().helper;
        let path = format!("tasks/{}/aggregation_jobs", job.task.task.id());
        let media_type = MediaType::AggregationJobInitReq.as_str();
        let reply = match helper.post(&path, media_type, job.request.clone()).await {
            Ok(reply) => reply,
            Err(error) => return Heard::nothing(&error),
        };
        match self.poll(reply).await {
            Ok(reply) => {
                let wait = reply.retry_after(self.wall_clock()).unwrap_or_default();
                Heard { answer: judge(&reply), location: reply.location, wait }
            }
            Err(error) => Heard::nothing(&error),
        }
    }

    /// A helper may put off its answer: then its body is empty, and the job is polled (DAP-18 section 3.1).
    async fn poll(&self, mut reply: Reply) -> Result<Reply, ClientError> {
        let started = Instant::now();
        while reply.status.is_success() && reply.body.is_empty() && started.elapsed() < POLL_DEADLINE {
            let Some(location) = reply.location.clone() else { break };
            let pause = reply.retry_after(self.wall_clock()).unwrap_or(POLL_SHORTEST);
            tokio::time::sleep(pause.clamp(POLL_SHORTEST, POLL_LONGEST)).await;
            let mut next = self.parts().helper.get(&location).await?;
            next.location.get_or_insert(location);
            reply = next;
        }
        Ok(reply)
    }

    /// Finishes verification and commits. Blocks.
    fn finish(&self, job: ReadyJob, response: &AggregationJobResp) -> Result<Attempt, JobError> {
        let ids: Vec<ReportId> = job.pending.iter().map(|report| report.report_id).collect();
        if let Err(mismatch) = check_response(&ids, response) {
            return self.lose(&job, &mismatch.to_string());
        }
        let results: Vec<_> = response.verify_resps.iter().map(|resp| resp.result.clone()).collect();
        let finished = leader_finish(&job.task.task, job.pending, &results);
        let mut buckets: BTreeMap<Time, BatchBucket> = BTreeMap::new();
        let mut sums = JobSums::default();
        let (mut put_back, mut rejected) = (Vec::new(), Vec::new());
        for (report, position) in finished.into_iter().zip(job.positions) {
            match report.outcome {
                Ok(output_share) => {
                    let bucket =
                        buckets.entry(report.time).or_insert_with(|| BatchBucket::empty(&job.task.task));
                    bucket.add(report.report_id, &output_share)?;
                    sums.reports.push(ReportKey { report_id: report.report_id, time: report.time });
                }
                Err(ReportError::ReportTooEarly) => put_back.push((report.time, position)),
                Err(error) => rejected.push(error),
            }
        }
        sums.buckets = buckets.into_iter().collect();
        let aggregated = sums.reports.len() as u64;
        self.store().commit_job(&job.task.task, job.number, &sums, &put_back)?;
        // Counted once, however often the commit was tried.
        self.metrics().aggregated.inc_by(aggregated);
        self.metrics().put_back.inc_by(put_back.len() as u64);
        let all_counted = put_back.is_empty() && rejected.is_empty();
        let fruitless = aggregated == 0 && rejected.is_empty();
        self.rejected(job.task.task.id(), &rejected);
        self.metrics().attempt(if fruitless { AttemptOutcome::PutBack } else { AttemptOutcome::Committed });
        Ok(if fruitless { Attempt::PutBack } else { Attempt::Committed { all_counted } })
    }

    fn rejected(&self, task: TaskId, errors: &[ReportError]) {
        for error in errors {
            self.metrics().rejected.count(*error);
        }
        self.0.rejections.note(task, errors.iter().copied());
    }

    /// Ends a job that the helper will never take. Its reports are lost; that is counted and said.
    fn lose(&self, job: &ReadyJob, reason: &str) -> Result<Attempt, JobError> {
        let reports = job.pending.len();
        tracing::error!(
            reason,
            reports,
            job = job.number.0,
            "the helper refused a job; its reports are lost"
        );
        self.store().commit_job(&job.task.task, job.number, &JobSums::default(), &[])?;
        self.metrics().lost.inc_by(reports as u64);
        self.metrics().attempt(AttemptOutcome::Lost);
        Ok(Attempt::Committed { all_counted: false })
    }
}

/// Reports in a job of a task: the operator's number, or as many as surely fit a request.
fn job_size(task: &Task, limits: Limits) -> usize {
    limits.job_size.min(limits.max_body / report_len(task)).max(1)
}

pub(super) enum Made {
    Job(ReadyJob),
    /// Every report of the draft was rejected or put back.
    OnlyRejections,
    Nothing,
}

#[derive(Default)]
struct Verified {
    initialised: Vec<(usize, LeaderVerification)>,
    put_back: Vec<usize>,
    rejected: Vec<ReportError>,
}

fn decode(reports: &[QueuedReport]) -> Result<Vec<ReportRef<'_>>, JobError> {
    reports
        .iter()
        .map(|report| ReportRef::from_bytes(&report.encoded).map_err(|_| JobError::Stored))
        .collect()
}

fn encode_request(
    task: &ProvisionedTask,
    reports: &[QueuedReport],
    initialised: &[(usize, LeaderVerification)],
) -> Result<Vec<u8>, JobError> {
    if initialised.is_empty() {
        return Ok(Vec::new());
    }
    let mut verify_inits = Vec::with_capacity(initialised.len());
    for (index, verification) in initialised {
        let report = ReportRef::from_bytes(&reports[*index].encoded).map_err(|_| JobError::Stored)?;
        verify_inits.push(VerifyInitRef {
            report_share: ReportShareRef {
                header: report.header,
                encrypted_input_share: report.helper_share,
            },
            payload: &verification.message,
        });
    }
    let request = AggregationJobInitReq {
        verification_key_id: task.verify_secret_id,
        agg_param: &[],
        extensions: Extensions::none(),
        verify_inits,
    };
    Ok(request.to_bytes())
}

fn pending(
    reports: &[QueuedReport],
    initialised: Vec<(usize, LeaderVerification)>,
) -> Result<Vec<PendingReport>, JobError> {
    initialised
        .into_iter()
        .map(|(index, LeaderVerification { state, .. })| {
            let report = ReportRef::from_bytes(&reports[index].encoded).map_err(|_| JobError::Stored)?;
            Ok(PendingReport { report_id: report.header.report_id, time: report.header.time, state })
        })
        .collect()
}

/// What an HTTP answer to a job means.
fn judge(reply: &Reply) -> Answer {
    if reply.status.is_success() {
        let expected = MediaType::AggregationJobResp;
        // Nobody sends a job of no reports, yet an empty body would decode as the response to one.
        if reply.body.is_empty() || !expected.matches(reply.content_type().unwrap_or_default()) {
            let kind = if reply.body.is_empty() { AttemptOutcome::PutOff } else { AttemptOutcome::BadAnswer };
            return Answer::Later(
                kind,
                format!("{}, but the answer is no {}", reply.status, expected.as_str()),
            );
        }
        return match AggregationJobResp::from_bytes(&reply.body) {
            Ok(response) => Answer::Response(response),
            // Whoever answered, it need not have been the helper; reports are not given up for it.
            Err(error) => {
                let reason = format!("the answer is no response to a job: {error}");
                Answer::Later(AttemptOutcome::BadAnswer, reason)
            }
        };
    }
    let problem = reply.problem();
    let detail = problem.as_ref().and_then(|problem| problem.detail()).unwrap_or_default().to_owned();
    let reason = format!("{}: {detail}", reply.status);
    match problem.as_ref().map(ProblemDocument::kind) {
        // The helper says that the job itself is wrong, and would say it again. An unknown task or a token that it does
        // not know is different: an operator can mend that, and no report need be lost.
        Some(ErrorType::Dap(error)) if definite(*error) => Answer::Refused(reason),
        _ => Answer::Later(AttemptOutcome::PutOff, reason),
    }
}

fn outcome_of(error: &ClientError) -> AttemptOutcome {
    match error {
        ClientError::TimedOut(_) => AttemptOutcome::TimedOut,
        ClientError::Broken { .. } => AttemptOutcome::Broken,
        ClientError::TooLarge(_) | ClientError::OtherOrigin(_) => AttemptOutcome::BadAnswer,
        _ => AttemptOutcome::Unreachable,
    }
}

fn definite(error: DapError) -> bool {
    matches!(
        error,
        DapError::InvalidMessage
            | DapError::InvalidAggregationParameter
            | DapError::UnsupportedExtension
            | DapError::InvalidExtension
            | DapError::StepMismatch
    )
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

    use super::*;

    fn reply(status: StatusCode, content_type: Option<&'static str>, body: &'static [u8]) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Reply { status, headers, body: body.into(), location: None }
    }

    /// An empty body decodes as a response of no reports, which is not the job's: whoever answered 200 or 204 in the
    /// helper's place, a proxy for one, made the leader give up acknowledged reports.
    #[test]
    fn a_success_that_is_no_response_gives_up_nothing() {
        let response = Some(MediaType::AggregationJobResp.as_str());
        for answer in [
            reply(StatusCode::OK, None, b""),
            reply(StatusCode::NO_CONTENT, None, b""),
            reply(StatusCode::ACCEPTED, None, b""),
            reply(StatusCode::OK, Some("text/html"), b"<h1>It works</h1>"),
            reply(StatusCode::OK, response, b""),
            reply(StatusCode::OK, response, b"cut"),
            reply(StatusCode::BAD_GATEWAY, None, b""),
            reply(StatusCode::BAD_REQUEST, Some("text/html"), b"no"),
        ] {
            assert!(matches!(judge(&answer), Answer::Later(..)), "{answer:?}");
        }
    }
}
