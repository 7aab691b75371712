//! Collection jobs (DAP-18 section 4.6): close the window, drain it, ask the helper, charge, noise, seal.
//!
//! Each step is durable before the next begins, and each can be taken again: the driver starts from the
//! state in the store, whether it is the first time or after a restart.

use std::sync::Arc;
use std::time::Duration;

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::hpke::{ENC_LEN, TAG_LEN};
use arras_protocol::messages::{
    AggregateShareMessage, AggregateShareReq, CollectionJobId, CollectionJobReq, CollectionJobResp,
    HpkeCiphertext, MediaType, Role,
};
use arras_protocol::vdaf::AggregateShare;
use tokio::time::Instant;

use crate::aggregator::api::Problem;
use crate::aggregator::leader::Leader;
use crate::aggregator::work::blocking;
use crate::aggregator::{ProvisionedTask, next_tick};
use crate::metrics::CollectionOutcome;
use crate::net::client::Reply;
use crate::net::problem::{DapError, ErrorType, OwnError, ProblemDocument};
use crate::privacy::gate::{self, BatchFacts, Envelope};
use crate::store::{CollectRefusal, CollectionJob, CollectionState, RequestKey, StoreError};

/// Longest wait for news while a window drains; news normally wakes the driver.
const DRAIN_POLL: Duration = Duration::from_millis(200);

/// How long a window may drain before its job gives up its place to others of its task, and takes it again.
const DRAIN_TURN: Duration = Duration::from_secs(5);

/// Where a collection job stands after some steps.
pub(super) enum Progress {
    /// It is ready, refused or deleted.
    Ended,
    /// Its window still drains.
    Draining,
    /// It does not get on now; try it again, but not before so long.
    NotNow(Duration),
}

impl Leader {
    /// Takes the steps that are left. A refusal ends the job and opens its window again; a failure leaves it where it
    /// is.
    pub(super) async fn take_steps(&self, task: &Arc<ProvisionedTask>, id: CollectionJobId) -> Progress {
        match self.try_steps(task, id).await {
            Ok(progress) => progress,
            Err(reason) => {
                tracing::error!(reason, "a collection job does not get on; it is tried again");
                Progress::NotNow(Duration::ZERO)
            }
        }
    }

    async fn try_steps(&self, task: &Arc<ProvisionedTask>, id: CollectionJobId) -> Result<Progress, String> {
        let (leader, task_id) = (self.clone(), task.task.id());
        let job = blocking(move || leader.store().collection(task_id, id)).await;
        let Some(job) = job.map_err(|error| error.to_string())? else { return Ok(Progress::Ended) };
        if !matches!(job.state, CollectionState::Draining | CollectionState::AskingHelper { .. }) {
            return Ok(Progress::Ended);
        }
        let (state, outcome) = match self.collect(task, &job).await {
            Ok(readable_from) => (CollectionState::Ready { readable_from }, CollectionOutcome::Ready),
            Err(Stopped::Refused(problem)) => {
                tracing::info!(detail = problem.detail(), "a collection job is refused");
                self.metrics().collections_refused.count(problem.kind().token());
                let problem = encode_problem(&problem);
                (CollectionState::Failed { problem }, CollectionOutcome::Refused)
            }
            Err(Stopped::NotNow(reason)) => return Err(reason),
            Err(Stopped::HelperNotNow(wait)) => return Ok(Progress::NotNow(wait)),
            Err(Stopped::Draining) => return Ok(Progress::Draining),
            Err(Stopped::Deleted) => {
                self.metrics().collection(CollectionOutcome::Deleted);
                return Ok(Progress::Ended);
            }
        };
        let (leader, task) = (self.clone(), Arc::clone(task));
        let kept = blocking(move || {
            leader.store().set_collection_state(task_id, id, &state)?;
            leader.promising(&task, |promising| promising.forget(task_id, id));
            Ok::<_, StoreError>(())
        })
        .await;
        kept.map_err(|error| format!("its state cannot be kept: {error}"))?;
        self.metrics().collection(outcome);
        Ok(Progress::Ended)
    }

    async fn collect(&self, task: &Arc<ProvisionedTask>, job: &CollectionJob) -> Result<u64, Stopped> {
        let key = *job.id.as_bytes();
        if self.answered(task, key).await? {
            // Finished by an earlier run that did not get to say so.
            return Ok(next_tick(self.parts().clock.now()));
        }
        let request = if let CollectionState::AskingHelper { request } = &job.state {
            request.clone()
        } else {
            self.drain(task, job).await?;
            self.prepare_request(task, job).await?
        };
        let asked = AggregateShareReq::from_bytes(&request)
            .map_err(|_| Stopped::NotNow("a stored request does not decode".to_owned()))?;
        let helper_share = self.ask_helper(task, request.into()).await?;
        self.release(task, job, (asked.report_count, asked.checksum), helper_share).await
    }

    async fn answered(&self, task: &ProvisionedTask, key: RequestKey) -> Result<bool, Stopped> {
        let (leader, id) = (self.clone(), task.task.id());
        let answer = blocking(move || leader.store().collection_answer(id, key)).await;
        Ok(answer.map_err(|error| Stopped::NotNow(error.to_string()))?.is_some())
    }

    /// Waits until every report that was accepted for the window has been through a job.
    async fn drain(&self, task: &ProvisionedTask, job: &CollectionJob) -> Result<(), Stopped> {
        let (id, job_id) = (task.task.id(), job.id);
        let started = Instant::now();
        loop {
            let leader = self.clone();
            match blocking(move || leader.store().drained(id, job_id)).await {
                Ok(true) => return Ok(()),
                Ok(false) if started.elapsed() >= DRAIN_TURN => return Err(Stopped::Draining),
                Ok(false) => {}
                Err(StoreError::Invalid(_)) => return Err(Stopped::Deleted),
                Err(error) => return Err(Stopped::NotNow(error.to_string())),
            }
            self.0.work.notify_one();
            tokio::select! {
                biased;
                () = self.0.progress.notified() => {}
                () = tokio::time::sleep(DRAIN_POLL) => {}
            }
        }
    }

    /// Checks what the leader alone can refuse, before its helper spends anything, and makes the exact request
    /// durable.
    async fn prepare_request(
        &self,
        task: &Arc<ProvisionedTask>,
        job: &CollectionJob,
    ) -> Result<Vec<u8>, Stopped> {
        let (leader, task, job) = (self.clone(), Arc::clone(task), job.clone());
        blocking(move || {
            let store = leader.store();
            let (summary, collected) = store.summarize(&task.task, job.interval).map_err(Problem::from)?;
            if collected {
                return Err(
                    Problem::dap(DapError::BatchOverlap, "part of the window was collected before").into()
                );
            }
            let facts =
                BatchFacts { report_count: summary.report_count, charged_before: None, epoch_start: None };
            let collection_job_req = CollectionJobReq::from_bytes(&job.request).map_err(Problem::invalid)?;
            let request = AggregateShareReq::time_interval(
                collection_job_req,
                job.interval,
                summary.report_count,
                summary.checksum,
            )
            .to_bytes();
            let id = task.task.id();
            leader.promising(&task, |promising| {
                let dry_run = promising.admit(&task, job.interval, facts)?;
                store.start_asking(id, job.id, summary, &request)?;
                promising.promise(id, job.id, &dry_run);
                Ok::<_, Problem>(())
            })?;
            Ok(request)
        })
        .await
    }

    /// Asks the helper for its share once; whenever it is asked again, with the same bytes.
    async fn ask_helper(
        &self,
        task: &ProvisionedTask,
        request: bytes::Bytes,
    ) -> Result<HpkeCiphertext, Stopped> {
        let path = format!("tasks/{}/aggregate_shares", task.task.id());
        let media_type = MediaType::AggregateShareReq.as_str();
        let (reason, wait) = match self.parts().helper.post(&path, media_type, request).await {
            Ok(reply) => match judge(task, &reply) {
                Answer::Share(share) => return Ok(share),
                Answer::Refused(problem) => return Err(Stopped::Refused(problem)),
                Answer::Later(reason) => (reason, reply.retry_after(self.wall_clock()).unwrap_or_default()),
            },
            Err(error) => (error.to_string(), Duration::ZERO),
        };
        // Until it does, the window stays closed and the collector waits.
        tracing::error!(reason, "the helper did not give its aggregate share; it is asked again");
        Err(Stopped::HelperNotNow(wait))
    }

    /// Charges, noises, seals and keeps the answer.
    async fn release(
        &self,
        task: &Arc<ProvisionedTask>,
        job: &CollectionJob,
        asked: (u64, [u8; 32]),
        helper_share: HpkeCiphertext,
    ) -> Result<u64, Stopped> {
        let (leader, task, job) = (self.clone(), Arc::clone(task), job.clone());
        blocking(move || {
            let key = *job.id.as_bytes();
            let request = CollectionJobReq::from_bytes(&job.request)
                .map_err(|_| Stopped::NotNow("a stored request does not decode".to_owned()))?;
            let batch = leader.promising(&task, |promising| {
                let batch =
                    leader.store().collect(&task.task, &task.terms, job.interval, key, Some(asked))?;
                promising.forget(task.task.id(), job.id);
                Ok::<_, CollectRefusal>(batch)
            });
            // The helper has charged and closed the window: to open it here would take reports that nobody counts. Its
            // operator may have lowered a cap, and can raise it.
            let batch = batch.map_err(|refusal| {
                Stopped::NotNow(format!(
                    "the helper has given its share, but the leader's is refused: {refusal}"
                ))
            })?;
            let envelope = Envelope {
                task: &task.task,
                sender: Role::Leader,
                collector: &task.collector.hpke_config,
                request: &request,
            };
            let mut noise = (leader.parts().noise)();
            let leader_share = gate::release(envelope, batch.sum, noise.as_mut(), &mut rand::rng())
                .map_err(|error| Stopped::NotNow(error.to_string()))?;
            let response = CollectionJobResp {
                report_count: batch.report_count,
                interval: batch.interval,
                leader_share,
                helper_share,
            };
            leader
                .store()
                .finish_collection(task.task.id(), key, &response.to_bytes())
                .map_err(|error| Stopped::NotNow(error.to_string()))?;
            Ok(next_tick(leader.parts().clock.now()))
        })
        .await
    }
}

/// Why a collection job stopped.
enum Stopped {
    /// For good: the collector hears why, and the window opens again.
    Refused(Box<ProblemDocument>),
    /// For now.
    NotNow(String),
    /// For now: the helper did not answer, or wants to be asked later, after so long. It was logged.
    HelperNotNow(Duration),
    /// Its window still drains.
    Draining,
    /// The collector deleted it; its window is open again.
    Deleted,
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        let document = problem.document().clone();
        // Our own trouble is no answer for the collector.
        if document.status().is_server_error() {
            return Self::NotNow(document.detail().unwrap_or("the store failed").to_owned());
        }
        Self::Refused(Box::new(document))
    }
}

/// What the helper said to a request for its share, as far as it decides what to do.
enum Answer {
    Share(HpkeCiphertext),
    /// The helper has charged and closed nothing, and would say so again.
    Refused(Box<ProblemDocument>),
    /// It may give its share yet, or has charged for it already: the window stays closed.
    Later(String),
}

/// What an HTTP answer to a request for the helper's share means.
///
/// Whoever answered, it need not have been the helper, and the helper may have charged for the batch and closed its
/// window. So nothing but a refusal that says otherwise lets the leader open its own again: reports that came then
/// would be acknowledged and counted by nobody.
fn judge(task: &ProvisionedTask, reply: &Reply) -> Answer {
    if reply.status.is_success() {
        let expected = MediaType::AggregateShare;
        if !expected.matches(reply.content_type().unwrap_or_default()) {
            return Answer::Later(format!("{}, but the answer is no {}", reply.status, expected.as_str()));
        }
        return match helper_share(task, &reply.body) {
            Ok(share) => Answer::Share(share),
            Err(reason) => Answer::Later(format!("{}, but {reason}", reply.status)),
        };
    }
    let problem = reply.problem();
    let reason = problem.as_ref().and_then(|problem| problem.detail()).unwrap_or("it gave no reason");
    let detail = format!("the helper refused: {reason}");
    let refused = |problem: ProblemDocument| Answer::Refused(Box::new(problem.with_detail(detail.as_str())));
    match problem.as_ref().map(ProblemDocument::kind) {
        Some(ErrorType::Dap(error)) if nothing_charged(*error) => refused(ProblemDocument::dap(*error)),
        Some(ErrorType::Own(OwnError::BudgetExhausted)) => {
            refused(ProblemDocument::own(OwnError::BudgetExhausted))
        }
        _ => Answer::Later(format!("{}: {reason}", reply.status)),
    }
}

/// Whether a helper that refuses a batch with this error has left it as it was. Not so with `batchOverlap`: it says that
/// the helper has closed a part of the window. A task that the helper does not have (any more) an operator can mend.
fn nothing_charged(error: DapError) -> bool {
    matches!(
        error,
        DapError::BatchInvalid
            | DapError::BatchMismatch
            | DapError::InvalidBatchSize
            | DapError::InvalidMessage
            | DapError::InvalidAggregationParameter
            | DapError::InvalidExtension
            | DapError::UnsupportedExtension
    )
}

/// The helper's share out of its answer. It cannot be opened here, but whether it can be what it should be shows before
/// the leader spends its own budget on the batch.
fn helper_share(task: &ProvisionedTask, answer: &[u8]) -> Result<HpkeCiphertext, String> {
    let share = AggregateShareMessage::from_bytes(answer)
        .map_err(|error| format!("its share does not decode: {error}"))?
        .encrypted_aggregate_share;
    let expected = AggregateShare::zero(task.task.vdaf().config()).encode().len() + TAG_LEN;
    let found = share.as_ref();
    if found.enc.len() != ENC_LEN || found.payload.len() != expected {
        return Err(format!("its share has {} bytes, the task's has {expected}", found.payload.len()));
    }
    let (key, configured) = (found.config_id, task.collector.hpke_config.id);
    if key != configured {
        return Err(format!(
            "its share is sealed to HPKE configuration {key}, the collector's is {configured}"
        ));
    }
    Ok(share)
}

/// A stored problem: status, a newline, the document.
fn encode_problem(problem: &ProblemDocument) -> Vec<u8> {
    let mut out = format!("{}\n", problem.status().as_u16()).into_bytes();
    out.extend_from_slice(&problem.to_json());
    out
}

/// Reads what [`encode_problem`] wrote.
pub(super) fn decode_problem(bytes: &[u8]) -> ProblemDocument {
    let parsed = || {
        let split = bytes.iter().position(|byte| *byte == b'\n')?;
        let status = std::str::from_utf8(&bytes[..split]).ok()?.parse::<u16>().ok()?;
        let status = axum::http::StatusCode::from_u16(status).ok()?;
        ProblemDocument::parse(status, crate::net::problem::PROBLEM_JSON, &bytes[split + 1..])
    };
    parsed().unwrap_or_else(|| ProblemDocument::own(OwnError::Internal))
}
