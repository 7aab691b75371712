//! Why a window was not collected, in words that say what to do next.

use std::time::Duration;

use arras_protocol::collection::CollectError as ShareError;
use arras_protocol::messages::TaskId;

use crate::collector::conversions::ConversionsError;
use crate::collector::release::ReleaseError;
use crate::collector::span::{Moment, Span, SpanError};
use crate::collector::sums::SumError;
use crate::net::problem::{DapError, ErrorType, OwnError, ProblemDocument};
use crate::privacy::ledger::LedgerError;
use crate::store::StoreError;
use crate::tasks::provisioned::ProvisionError;

/// Why there is no release. Whatever the reason, asking for the same window again is safe: it is collected
/// once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The collector has no such task.
    #[error(
        "this collector does not know task {0}: check the id, or put the task's file into the collector's \
         folder of tasks"
    )]
    UnknownTask(TaskId),
    /// The task's file cannot be used.
    #[error("{0}")]
    Task(#[from] ProvisionError),
    /// The task belongs to another leader.
    #[error("the task's leader is {task}, this collector is configured for {configured}")]
    OtherLeader {
        /// The leader's endpoint in the task.
        task: String,
        /// The one in the configuration.
        configured: String,
    },
    /// The window cannot be one of this task.
    #[error("{0}")]
    Window(#[from] SpanError),
    /// The window lies in the future.
    #[error("the window ends at {to}, which is not over yet (it is {now}): ask again then")]
    NotOver {
        /// The window's end.
        to: Moment,
        /// The time.
        now: Moment,
    },
    /// The ledgers would refuse the window.
    #[error("{0}")]
    Epochs(#[from] LedgerError),
    /// The conversions that a value task follows are not there.
    #[error("{0}")]
    Conversions(#[from] ConversionsError),
    /// There is no such sum.
    #[error("{0}")]
    Sum(#[from] SumError),
    /// The window shares a time with one that is under way.
    #[error(
        "the window overlaps that from {0}, which is being collected: ask for that one again, or for one \
         that does not overlap it"
    )]
    OverlapsUnderWay(Span),
    /// The window shares a time with one that was released.
    #[error(
        "the window overlaps that from {window}, which is release {sequence}: what is collected once cannot \
         be collected again; ask for that very window, or for one that does not overlap it"
    )]
    OverlapsReleased {
        /// The released window.
        window: Span,
        /// Its release.
        sequence: u64,
    },
    /// The leader could not be reached for as long as was tried.
    #[error(
        "the leader {leader} could not be reached for {} s: {cause}. Nothing is lost: ask for the same \
         window again when it runs",
        tried.as_secs()
    )]
    Unreachable {
        /// The leader's endpoint.
        leader: String,
        /// For how long it was tried.
        tried: Duration,
        /// What happened last.
        cause: String,
    },
    /// The leader has not finished for as long as was waited.
    #[error(
        "the leader has worked on the window for more than {} s. Nothing is lost: ask for the same window \
         again later, and look into the leader's log if it goes on (it may be waiting for its helper)",
        waited.as_secs()
    )]
    StillPending {
        /// For how long it was waited.
        waited: Duration,
    },
    /// The leader refuses.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The leader answers with something that is no answer.
    #[error(
        "the leader's answer cannot be used: {0}. Check that the collector's leader endpoint is right and \
         that both run the same version of DAP, then ask for the same window again"
    )]
    BadAnswer(String),
    /// The aggregate shares do not open, or do not make a result.
    #[error("{0}. Nothing was released; {advice}", advice = share_advice(.0))]
    Shares(#[from] ShareError),
    /// A batch makes no release.
    #[error("the batch makes no release: {0}")]
    Release(#[from] ReleaseError),
    /// There is no room for the window's release.
    #[error(
        "this collector has no room for another release, so the window was not asked for, and no budget was charged. It is \
         collected once there is room: raise `max_store_bytes` in [collector.limits], or free space on the disk"
    )]
    NoRoom(#[source] StoreError),
    /// The store failed.
    #[error("the collector's store failed: {0}")]
    Store(#[from] StoreError),
}

impl CollectError {
    /// Whether the collection ended with it; otherwise it is still under way and goes on when the window is
    /// asked for again.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::BadAnswer(_) | Self::Shares(_) | Self::Release(_))
    }
}

fn share_advice(error: &ShareError) -> &'static str {
    match error {
        ShareError::Vdaf(_) => {
            "one of the aggregators has failed: their operators must compare versions and logs before this window \
             is of any use"
        }
        _ => {
            "compare this collector's keys with the hpke_config that both aggregators have for it, then ask \
             for the same window again"
        }
    }
}

/// A refusal of the leader's, translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Refused {
    /// What to say and do.
    message: String,
    /// The leader's problem.
    problem: Box<ProblemDocument>,
}

impl Refused {
    /// Translates a problem document.
    pub(super) fn new(problem: ProblemDocument, budget_source: &str) -> Self {
        let said = problem.detail().map_or_else(|| problem.to_string(), str::to_owned);
        let message = match problem.kind() {
            ErrorType::Dap(DapError::InvalidBatchSize) => format!(
                "the window holds too few reports (or too many) to be released. Ask again when more have \
                 come, or for a longer window. The leader says: {said}"
            ),
            ErrorType::Dap(DapError::BatchOverlap) => format!(
                "part of this window was collected before, and what is collected once cannot be collected \
                 again. Ask for a window that starts where the last one ended. The leader says: {said}"
            ),
            ErrorType::Own(OwnError::BudgetExhausted) => format!(
                "the privacy budget of {budget_source} does not allow this release. Ask for a window in other \
                 weeks, or have the operator raise the cap. The leader says: {said}"
            ),
            ErrorType::Dap(DapError::BatchInvalid) => format!(
                "the leader does not take this window: it is not over yet, or not made of whole steps of the \
                 task's time precision. Check this machine's clock, then ask again. The leader says: {said}"
            ),
            ErrorType::Dap(DapError::UnrecognizedTask) => format!(
                "an aggregator does not take part in this task. Put the task's file into the leader's and \
                 the helper's folders of tasks (their logs say why a task is left out), then ask again. It \
                 says: {said}"
            ),
            ErrorType::Dap(DapError::BatchMismatch) => format!(
                "the aggregators disagree about the reports in this window, so neither releases it. Their \
                 operators must compare their logs; a lost or restored store is the usual cause. It says: \
                 {said}"
            ),
            ErrorType::Own(OwnError::Unauthorized) => format!(
                "the leader does not accept this collector's token. Compare `token` in [collector.leader] \
                 with the hash in the leader's configuration, and the collector named in the task. The \
                 leader says: {said}"
            ),
            ErrorType::Own(OwnError::Gone) => format!(
                "this window was collected, and the leader no longer keeps the answer. It cannot be \
                 collected again. The leader says: {said}"
            ),
            _ => format!("the leader refuses: {problem}"),
        };
        Self { message, problem: Box::new(problem) }
    }

    /// The leader's problem, as it came.
    pub fn problem(&self) -> &ProblemDocument {
        &self.problem
    }
}
