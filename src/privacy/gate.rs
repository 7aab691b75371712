//! The release gate: the only way by which a sum leaves an aggregator.
//!
//! A share can be sealed to the collector only as `Noised<AggregateShare>`; noising consumes two
//! proofs, [`BigEnough`] and [`BudgetSpent`]; the proofs come from an [`Admission`] together with the
//! receipt of the durable commit that charged the ledger and marked the batch collected. Admissions and
//! proofs are made in this module alone, receipts by the store's commit alone, and none can be copied. The
//! store hands out a batch's sum only as [`Releasable`], together with its proofs, and [`release`] alone takes
//! it out. So there is no path, synchronous or not, on which a share leaves without having been checked, paid
//! for and noised. What types cannot say, a test reads in the sources: nothing else in the service adds
//! noise, and the store's collection is the one place that exchanges an admission for its proofs and joins
//! them to a sum.

use std::fmt;
use std::ops::Range;

use arras_protocol::collection::{SealError, seal_aggregate_share};
use arras_protocol::epsilon::DisplayMicro;
use arras_protocol::messages::{CollectionJobReq, HpkeCiphertext, HpkeConfig, Interval, Role, TaskId, Time};
use arras_protocol::policy::PrivacyPolicy;
use arras_protocol::task::{MAX_BATCH_REPORTS, Task};
use arras_protocol::vdaf::{AggregateShare, Noised, VdafError};
use rand::CryptoRng;

use crate::privacy::ledger::{self, Account, BudgetSource, Charge, Epoch, LedgerError, SourceRules};
use crate::privacy::noise::{NoiseError, NoiseSource, Scale, noise_vector};
use crate::store::Committed;

/// Why a batch is not released. The batch stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Too few reports (DAP's `invalidBatchSize`). How many there are is not said: asked again and again, the
    /// answers would count reports of windows too small to be released.
    #[error(
        "the batch has fewer than the {needed} reports that it needs: ask again when more have come, or ask for a \
         longer window"
    )]
    TooFew {
        /// The task's `min_batch_size`.
        needed: u64,
    },
    /// More reports than sums can hold.
    #[error(
        "the batch has {found} reports, more than the {MAX_BATCH_REPORTS} that can be summed safely: ask for \
         a shorter window"
    )]
    TooMany {
        /// Reports in the batch.
        found: u64,
    },
    /// The budget does not allow it, now or ever.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The task was opted in under other terms: its reports were made, and may have been charged for, under those.
    #[error(
        "the task is to be released under other terms than those under which this aggregator first took part in it \
         ({0}): the operator must set them back, or make a new task"
    )]
    OtherTerms(Pinned),
}

/// What a release of a task costs and is noised by, as it was when this aggregator first took part in the task. Its
/// reports are made under it, so it holds for the task's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The policy. The threshold in it binds nobody here: it is the collector's.
    pub policy: PrivacyPolicy,
    /// Whose budget is spent.
    pub budget_source: BudgetSource,
}

impl Pinned {
    /// Whether a release under `other` costs the same, whom it did, and gets the same noise.
    pub fn same(&self, other: &Self) -> bool {
        let threshold = self.policy.threshold;
        self.budget_source == other.budget_source
            && self.policy == PrivacyPolicy { threshold, ..other.policy }
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, budget_source } = self;
        let (epsilon, contributions) = (DisplayMicro(policy.epsilon.get().into()), policy.contributions);
        write!(f, "epsilon {epsilon}, contributions {contributions}, budget source {budget_source}")
    }
}

/// Under which terms the batches of a task are released, as one aggregator's operator and the task
/// itself set them.
#[derive(Clone, Debug)]
pub struct Terms {
    task: TaskId,
    policy: PrivacyPolicy,
    budget_source: BudgetSource,
    rules: SourceRules,
    task_cap: Option<u64>,
    min_batch_size: u64,
    time_precision: arras_protocol::messages::TimePrecision,
}

/// What a store knows of the batch that is asked for, read in the transaction that collects it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchFacts {
    /// Reports in the batch.
    pub(crate) report_count: u64,
    /// What each epoch was charged for this very request, in micro-epsilon, if it was admitted before and its
    /// share never left (a restart came between). It is not charged again.
    pub(crate) charged_before: Option<u64>,
    /// When epoch 0 of the budget source started at its first charge, POSIX seconds.
    pub(crate) epoch_start: Option<u64>,
}

impl Terms {
    /// The policy must have been checked against the task (see [`arras_protocol::task::check_policy`]).
    pub fn new(task: &Task, policy: PrivacyPolicy, budget_source: BudgetSource, rules: SourceRules) -> Self {
        Self {
            task: task.id(),
            policy,
            budget_source,
            rules,
            task_cap: None,
            min_batch_size: task.configuration().min_batch_size,
            time_precision: task.configuration().time_precision,
        }
    }

    /// With a cap for this task beside that of its source: micro-epsilon an epoch.
    #[must_use]
    pub fn with_task_cap(self, task_cap: Option<u64>) -> Self {
        Self { task_cap, ..self }
    }

    /// The policy.
    pub fn policy(&self) -> &PrivacyPolicy {
        &self.policy
    }

    /// Whose budget is spent.
    pub fn budget_source(&self) -> &BudgetSource {
        &self.budget_source
    }

    /// The operator's rules for that budget.
    pub fn rules(&self) -> &SourceRules {
        &self.rules
    }

    /// What must not change for as long as the task lives.
    pub fn pinned(&self) -> Pinned {
        Pinned { policy: self.policy, budget_source: self.budget_source.clone() }
    }

    /// Decides whether the batch of an interval may be released. Called within the store's collection
    /// transaction with what that transaction reads; the charges take effect when it commits them. `spent` is in
    /// micro-epsilon.
    pub(crate) fn admit(
        &self,
        interval: Interval,
        facts: BatchFacts,
        spent: impl Fn(Account<'_>, Epoch) -> u64,
    ) -> Result<Admission, Refusal> {
        let needed = self.min_batch_size;
        let found = facts.report_count;
        if found < needed {
            return Err(Refusal::TooFew { needed });
        }
        if found > MAX_BATCH_REPORTS {
            return Err(Refusal::TooMany { found });
        }
        let (charges, paid) = match facts.charged_before {
            // Under these very terms, which the store pins: there is nothing to decide any more.
            Some(paid) => (Vec::new(), paid),
            None => (self.afford(interval, facts.epoch_start, spent)?, self.cost()),
        };
        Ok(Admission { charges, paid, task: self.task, policy: self.policy })
    }

    /// What a release costs each epoch that it touches, in micro-epsilon.
    fn cost(&self) -> u64 {
        ledger::cost(self.policy.epsilon, self.policy.contributions)
    }

    /// What the batch of an interval is charged.
    pub(crate) fn charges(&self, interval: Interval) -> Result<Vec<Charge>, LedgerError> {
        let start = interval.start().posix_seconds(self.time_precision);
        let end = interval.end().posix_seconds(self.time_precision);
        ledger::charges(
            &self.budget_source,
            &self.rules,
            start..end,
            self.policy.epsilon,
            self.policy.contributions,
        )
    }

    /// The charges, if they fit under the cap of the source and under that of the task. `epoch_start` is as in
    /// [`BatchFacts`].
    pub(crate) fn afford(
        &self,
        interval: Interval,
        epoch_start: Option<u64>,
        spent: impl Fn(Account<'_>, Epoch) -> u64,
    ) -> Result<Vec<Charge>, LedgerError> {
        ledger::same_epochs(&self.budget_source, &self.rules, epoch_start)?;
        let charges = self.charges(interval)?;
        ledger::admit(&charges, |source, epoch| spent(Account::Source(source), epoch), &self.rules)?;
        if let Some(cap) = self.task_cap {
            let of_task = |epoch| spent(Account::Task(self.times_of(epoch)), epoch);
            ledger::admit_task(&charges, of_task, &self.rules, self.task, cap)?;
        }
        Ok(charges)
    }

    /// The times, in the task's precision, that share a second with an epoch. A window shares one with the epoch just
    /// when it shares a time with these, also if the epoch begins within a step.
    fn times_of(&self, epoch: Epoch) -> Range<Time> {
        let (seconds, step) = (self.rules.seconds_of(epoch), self.time_precision.seconds());
        Time(seconds.start / step)..Time(seconds.end.div_ceil(step))
    }
}

/// A batch may be released once these charges are durable. Made by `Terms::admit` alone.
#[derive(Debug)]
#[must_use = "an admission that is not committed releases nothing"]
pub struct Admission {
    charges: Vec<Charge>,
    paid: u64,
    task: TaskId,
    policy: PrivacyPolicy,
}

impl Admission {
    /// What the transaction must write.
    pub(crate) fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// What each epoch is charged, now or when the batch was first admitted, in micro-epsilon.
    pub(crate) fn paid(&self) -> u64 {
        self.paid
    }

    /// The proofs, in exchange for the receipt of the commit that wrote the charges and marked the
    /// batch collected.
    pub(crate) fn committed(self, receipt: Committed) -> (BigEnough, BudgetSpent) {
        let Self { task, policy, .. } = self;
        // Used up here, as the admission is: one commit, one pair of proofs.
        drop(receipt);
        (BigEnough(()), BudgetSpent { task, policy })
    }
}

/// Proof that a batch has its task's `min_batch_size`.
#[derive(Debug)]
pub struct BigEnough(());

/// Proof that a release of a task is paid for, durably, under a policy: the one that it is noised by.
#[derive(Debug)]
pub struct BudgetSpent {
    task: TaskId,
    policy: PrivacyPolicy,
}

/// The sum of a batch that was admitted and paid for, without noise yet. Only [`release`] takes it out.
pub struct Releasable {
    share: AggregateShare,
    size: BigEnough,
    budget: BudgetSpent,
}

impl Releasable {
    /// Joins the sum of the very batch that the proofs are of; made by the store's collection alone.
    pub(crate) fn new(share: AggregateShare, (size, budget): (BigEnough, BudgetSpent)) -> Self {
        Self { share, size, budget }
    }

    /// The exact sum, for tests of what a store kept.
    #[cfg(test)]
    pub(crate) fn exact(&self) -> &AggregateShare {
        &self.share
    }
}

impl fmt::Debug for Releasable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Releasable").field("task", &self.budget.task).finish_non_exhaustive()
    }
}

/// Why an admitted share could not be noised or sealed. The charge stays spent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// The noise could not be drawn.
    #[error("drawing noise: {0}")]
    Noise(#[from] NoiseError),
    /// The noise could not be added.
    #[error("adding noise: {0}")]
    Vdaf(#[from] VdafError),
    /// The budget was spent for another task: a fault of ours.
    #[error("the share is of another task than the one that was charged")]
    OtherTask,
    /// The share could not be sealed.
    #[error("{0}")]
    Seal(#[from] SealError),
}

/// The scale of the noise that each aggregator adds to each cell.
pub fn noise_scale(policy: &PrivacyPolicy) -> Result<Scale, NoiseError> {
    Scale::new(policy.sensitivity, policy.epsilon)
}

/// Adds this aggregator's own full noise, so that one honest aggregator suffices.
fn add_noise(
    share: AggregateShare,
    _size: BigEnough,
    BudgetSpent { policy, .. }: BudgetSpent,
    source: &mut dyn NoiseSource,
) -> Result<Noised<AggregateShare>, GateError> {
    let noise = noise_vector(source, &noise_scale(&policy)?, share.len())?;
    Ok(share.add_noise(&noise)?)
}

/// To whom and as what a share is sealed.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The task.
    pub task: &'a Task,
    /// Leader or helper.
    pub sender: Role,
    /// The collector's configuration.
    pub collector: &'a HpkeConfig,
    /// The collector's request.
    pub request: &'a CollectionJobReq,
}

/// Noises and seals one aggregate share. The caller makes the result durable before anyone hears of it
/// and answers retries with the stored bytes: drawn again, noise could be averaged away.
///
/// Takes as long as the sampler takes, which is not constant: call it outside of timed answers, which
/// come on a fixed tick.
pub fn release(
    envelope: Envelope<'_>,
    Releasable { share, size, budget }: Releasable,
    source: &mut dyn NoiseSource,
    rng: &mut impl CryptoRng,
) -> Result<HpkeCiphertext, GateError> {
    let Envelope { task, sender, collector, request } = envelope;
    if budget.task != task.id() {
        return Err(GateError::OtherTask);
    }
    let noised = add_noise(share, size, budget, source)?;
    Ok(seal_aggregate_share(rng, task, sender, collector, request, &noised)?)
}

#[cfg(test)]
mod epsilon_tests;
