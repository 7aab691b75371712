//! Aggregation jobs (DAP-18 section 4.5.3.2): verify every report, then commit exactly once.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use arras_protocol::codec::{CodecError, Encode as _};
use arras_protocol::messages::{
    AggregationJobInitReq, AggregationJobResp, ReportError, TaskId, Time, VerifyInitRef, VerifyResp,
    VerifyResult,
};
use arras_protocol::verification::{BatchBucket, HelperVerification, helper_verify};

use crate::aggregator::api::Problem;
use crate::aggregator::helper::{Helper, too_early};
use crate::aggregator::queries::check_parameters;
use crate::aggregator::work::in_pieces;
use crate::aggregator::{ProvisionedTask, buckets_per_job};
use crate::metrics::JobOutcome;
use crate::net::problem::OwnError;
use crate::store::{JobAnswer, JobSums, PreparedJob, ReportKey, RequestKey, StoreError};

impl Helper {
    /// Answers an aggregation job; an identical request gets the identical answer, without being verified again.
    /// Blocks.
    pub(super) fn aggregate(
        &self,
        task: &ProvisionedTask,
        key: RequestKey,
        body: &[u8],
    ) -> Result<Vec<u8>, Problem> {
        let answer = self.answer(task, key, body);
        self.metrics().job(match &answer {
            Ok((_, outcome)) => *outcome,
            Err(problem) if problem.is_ours() => JobOutcome::Failed,
            Err(_) => JobOutcome::Refused,
        });
        answer.map(|(response, _)| response)
    }

    fn answer(
        &self,
        task: &ProvisionedTask,
        key: RequestKey,
        body: &[u8],
    ) -> Result<(Vec<u8>, JobOutcome), Problem> {
        let parts = self.parts();
        let id = task.task.id();
        if let Some(response) = parts.store.job_response(id, key)? {
            return Ok((response, JobOutcome::Repeated));
        }
        let request =
            AggregationJobInitReq::from_bytes(body, parts.limits.job_size).map_err(|error| match error {
                CodecError::TooMany { .. } => Problem::own(OwnError::TooLarge, error.to_string()).task(id),
                _ => Problem::invalid(format!("the aggregation job does not decode: {error}")).task(id),
            })?;
        check_request(task, &request)?;
        let window = parts.limits.aggregation_window(&task.task, parts.clock.now());
        let started = Instant::now();
        let verified = in_pieces(&request.verify_inits, |piece| {
            helper_verify(&task.task, &task.verify_key, &parts.opener, window, piece)
        });
        self.metrics().verify_took(started);
        let keys: Vec<ReportKey> = request
            .verify_inits
            .iter()
            .zip(&verified)
            .filter(|(_, result)| result.is_ok())
            .map(|(init, _)| key_of(init))
            .collect();
        let mut prepare =
            |claims: &[Result<(), ReportError>]| prepare(task, &request.verify_inits, &verified, claims);
        let started = Instant::now();
        if keys.is_empty() && verified.iter().any(|result| matches!(result, Err(ReportError::ReportTooEarly)))
        {
            // This answer would be another one in time, and an answer is final: kept, it would stay for ever, as a job
            // of the same reports is the same request; given and not kept, the leader could put these reports into
            // another job, and a late copy of this one would then claim them. So there is none yet.
            let detail = "the reports of this job are too early for this helper's clock: send it again later";
            return Err(too_early(detail, id));
        }
        let JobAnswer { response, claimed } =
            parts.store.commit_once(&task.task, key, &keys, &mut prepare)?;
        let Some(claimed) = claimed else { return Ok((response, JobOutcome::Repeated)) };
        self.metrics().commit_took(started);
        self.count(id, &verified, &claimed);
        Ok((response, JobOutcome::Committed))
    }

    /// Counts what became of the reports of a job; `claims` has one entry for each verified one.
    fn count(
        &self,
        task: TaskId,
        verified: &[Result<HelperVerification, ReportError>],
        claims: &[Result<(), ReportError>],
    ) {
        let unverified = verified.iter().filter_map(|result| result.as_ref().err());
        let unclaimed = claims.iter().filter_map(|claim| claim.as_ref().err());
        let rejected: Vec<ReportError> = unverified.chain(unclaimed).copied().collect();
        for error in &rejected {
            self.metrics().rejected.count(*error);
        }
        self.0.rejections.note(task, rejected);
        self.metrics().aggregated.inc_by(claims.iter().filter(|claim| claim.is_ok()).count() as u64);
    }
}

fn key_of(init: &VerifyInitRef<'_>) -> ReportKey {
    ReportKey { report_id: init.report_share.header.report_id, time: init.report_share.header.time }
}

/// What makes a job wrong as a whole.
fn check_request(task: &ProvisionedTask, request: &AggregationJobInitReq<'_>) -> Result<(), Problem> {
    let id = task.task.id();
    if request.verification_key_id != task.verify_secret_id {
        let detail = format!(
            "verification_key_id is {}, this helper opted in with {}",
            request.verification_key_id, task.verify_secret_id
        );
        // Not DAP's invalidMessage: an operator can mend it, and the leader keeps the job until then.
        return Err(Problem::own(OwnError::Conflict, detail).task(id));
    }
    check_parameters(id, request.agg_param, &request.extensions)?;
    if request.verify_inits.is_empty() {
        return Err(Problem::invalid("an aggregation job holds at least one report").task(id));
    }
    let times: HashSet<Time> =
        request.verify_inits.iter().map(|init| init.report_share.header.time).collect();
    if times.len() > buckets_per_job(&task.task) {
        let detail = format!(
            "the reports of one job fall into {} batch buckets, this helper adds to {} at once",
            times.len(),
            buckets_per_job(&task.task)
        );
        return Err(Problem::own(OwnError::TooLarge, detail).task(id));
    }
    let mut ids = HashSet::with_capacity(request.verify_inits.len());
    if !request.verify_inits.iter().all(|init| ids.insert(init.report_share.header.report_id)) {
        return Err(Problem::invalid("a report id occurs twice in the job").task(id));
    }
    Ok(())
}

/// Sums the reports that can be claimed and encodes the response. `claims` has one entry for each verified
/// report, in order.
fn prepare(
    task: &ProvisionedTask,
    inits: &[VerifyInitRef<'_>],
    verified: &[Result<HelperVerification, ReportError>],
    claims: &[Result<(), ReportError>],
) -> Result<PreparedJob, StoreError> {
    let mut buckets: BTreeMap<Time, BatchBucket> = BTreeMap::new();
    let mut reports = Vec::with_capacity(claims.len());
    let mut verify_resps = Vec::with_capacity(inits.len());
    let mut put_off = Vec::new();
    let mut claims = claims.iter();
    for (init, result) in inits.iter().zip(verified) {
        let key = key_of(init);
        // There is one claim for each verified report.
        let claimed = result.as_ref().map_err(|error| *error).and_then(|verification| {
            claims.next().copied().unwrap_or(Err(ReportError::ReportDropped)).map(|()| verification)
        });
        let result = match claimed {
            Ok(verification) => {
                let bucket = buckets.entry(key.time).or_insert_with(|| BatchBucket::empty(&task.task));
                // Both come from the task's own VDAF.
                bucket.add(key.report_id, &verification.output_share).map_err(StoreError::prepare)?;
                reports.push(key);
                VerifyResult::Continue(verification.message.clone())
            }
            Err(error) => {
                if error == ReportError::ReportTooEarly {
                    put_off.push(key.time);
                }
                VerifyResult::Reject(error)
            }
        };
        verify_resps.push(VerifyResp { report_id: key.report_id, result });
    }
    let sums = JobSums { buckets: buckets.into_iter().collect(), reports };
    Ok(PreparedJob { sums, put_off, response: AggregationJobResp { verify_resps }.to_bytes() })
}
