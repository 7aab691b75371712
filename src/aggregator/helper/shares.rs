//! Aggregate shares (DAP-18 section 4.6.4): the helper's own checks, its own charge, its own noise.

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::messages::{AggregateShareMessage, AggregateShareReq, Role};

use crate::aggregator::ProvisionedTask;
use crate::aggregator::api::Problem;
use crate::aggregator::helper::{Helper, too_early};
use crate::aggregator::queries::{is_over, query_problem, window_of};
use crate::metrics::ShareOutcome;
use crate::net::problem::{DapError, OwnError};
use crate::privacy::gate::{self, Envelope};
use crate::store::RequestKey;

impl Helper {
    /// Answers a request for the aggregate share of a batch. What was drawn for it once is what every retry
    /// gets. Blocks, for as long as the sampler takes: the caller answers on a tick.
    pub(super) fn aggregate_share(
        &self,
        task: &ProvisionedTask,
        key: RequestKey,
        body: &[u8],
    ) -> Result<Vec<u8>, Problem> {
        let share = self.share(task, key, body);
        self.metrics().share(match &share {
            Ok((_, outcome)) => *outcome,
            Err(problem) if problem.is_ours() => ShareOutcome::Failed,
            Err(problem) => {
                self.metrics().collections_refused.count(problem.document().kind().token());
                ShareOutcome::Refused
            }
        });
        share.map(|(answer, _)| answer)
    }

    fn share(
        &self,
        task: &ProvisionedTask,
        key: RequestKey,
        body: &[u8],
    ) -> Result<(Vec<u8>, ShareOutcome), Problem> {
        let parts = self.parts();
        let id = task.task.id();
        if let Some(answer) = parts.store.collection_answer(id, key)? {
            return Ok((answer, ShareOutcome::Repeated));
        }
        let request = AggregateShareReq::from_bytes(body).map_err(|error| query_problem(error).task(id))?;
        let query = &request.collection_job_req;
        let interval = window_of(&task.task, query)?;
        let selected =
            request.as_time_interval().map_err(|error| query_problem(error).task(id))?.batch_interval;
        // A leader may select less than was asked for; charged and marked is what was asked for, and the counts
        // must agree for that.
        if !interval.contains_interval(selected) {
            let detail = "the selected batch is not within the query";
            return Err(Problem::dap(DapError::BatchInvalid, detail).task(id));
        }
        // The leader's clock may be ahead.
        if !is_over(&task.task, interval, parts.clock.now().saturating_add(parts.limits.max_clock_skew)) {
            // Not `batchInvalid`: a refusal opens the window again at the leader, and it would be none in time. A copy of
            // this request that came late would then close here what is open there.
            let detail = "the window is not over yet by this helper's clock: ask again when it is";
            return Err(too_early(detail, id));
        }
        let expected = Some((request.report_count, request.checksum));
        let batch = match parts.store.collect(&task.task, &task.terms, interval, key, expected) {
            Ok(batch) => batch,
            Err(refusal) => {
                // An identical request may have finished since the first look: then this is its retry.
                let answer = parts.store.collection_answer(id, key)?;
                let answer = answer.ok_or_else(|| Problem::from(refusal).task(id))?;
                return Ok((answer, ShareOutcome::Repeated));
            }
        };
        let envelope = Envelope {
            task: &task.task,
            sender: Role::Helper,
            collector: &task.collector.hpke_config,
            request: query,
        };
        let mut noise = (parts.noise)();
        let sealed =
            gate::release(envelope, batch.sum, noise.as_mut(), &mut rand::rng()).map_err(|error| {
                tracing::error!(%error, "an admitted share could not be released");
                Problem::own(OwnError::Internal, "the share could not be released; ask again")
            })?;
        let answer = AggregateShareMessage { encrypted_aggregate_share: sealed }.to_bytes();
        Ok((parts.store.finish_collection(id, key, &answer)?, ShareOutcome::Released))
    }
}
