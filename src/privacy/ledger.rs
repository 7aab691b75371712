//! The budget ledger's arithmetic: what a release costs, and whether it is left.
//!
//! The ledger bounds what one device, which sends at most k reports to a task in
//! any 7 days, can lose in one epoch (7 days) of its activity. A release of
//! one batch charges k times its epsilon to every epoch that the query interval
//! touches. Losses add up (pure differential privacy), in whole micro-epsilon. Why that bounds them, and what the
//! bound is of, is in docs/privacy.md, "Budget and composition".
//!
//! Charges are held against two caps of the operator's: that of the budget source, and one that each task of the
//! source may have beside it.
//!
//! There is no state here. Whoever keeps it must read what is spent, call
//! [`admit`] and write the charges in one transaction, before a share leaves; an
//! abort after that stays spent.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    num::NonZeroU32,
    ops::{Range, RangeInclusive},
    str::FromStr,
};

use arras_protocol::epsilon::DisplayMicro;
use arras_protocol::messages::{TaskId, Time};
use arras_protocol::task::{NAME_BYTES_MAX, is_name};

use super::noise::MicroEpsilon;
use crate::text::utc;

/// The length of an epoch: 7 days, the rhythm in which devices and operators
/// think of a budget.
pub const EPOCH_SECONDS: u64 = 7 * 24 * 60 * 60;

/// When the epoch that `now` is in started, if the first one has (`epoch_start`); all in POSIX seconds.
pub(crate) fn start_of_epoch_at(epoch_start: u64, now: u64) -> Option<u64> {
    now.checked_sub(epoch_start).map(|since| now - since % EPOCH_SECONDS)
}

/// The most epochs that one query may touch: any interval of a leap year fits,
/// however it lies. It bounds the writes of one collection transaction.
pub const MAX_EPOCHS_PER_QUERY: u64 = 54;

/// Why the ledger does not take a charge. Every variant is the fault of the
/// request, never of the ledger, and nothing was charged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// A query of a time before the budget source existed.
    #[error(
        "the query starts at {}, before the first epoch of its budget source at {}; ask for a later interval",
        utc(*.start), utc(*.epoch_start)
    )]
    BeforeFirstEpoch {
        /// Start of the source's first epoch, POSIX seconds.
        epoch_start: u64,
        /// Start of the query, POSIX seconds.
        start: u64,
    },
    /// A query interval that ends where or before it starts.
    #[error(
        "the query interval from {} to {} is empty; its end must be after its start",
        utc(*.start), utc(*.end)
    )]
    EmptyInterval {
        /// End of the query, exclusive, POSIX seconds.
        end: u64,
        /// Start of the query, POSIX seconds.
        start: u64,
    },
    /// The operator moved the start of a source's epochs after something was spent.
    #[error(
        "the epochs of budget source {source} started at {} when its first release was charged and \
         start at {} in the configuration now; the operator must set epoch_start back, or what \
         is spent would count for other days",
        utc(*.first), utc(*.configured)
    )]
    EpochsMoved {
        /// As the configuration says now, POSIX seconds.
        configured: u64,
        /// As it was when the first charge was made, POSIX seconds.
        first: u64,
        /// Whose epochs.
        r#source: BudgetSource,
    },
    /// A name that is none, see [`is_name`].
    #[error(
        "a budget source is named by 1 to {NAME_BYTES_MAX} visible ASCII characters without spaces, such as \
         shop.example; this name has {length} bytes or another character"
    )]
    Name {
        /// How many bytes were given.
        length: usize,
    },
    /// What is spent and what is asked do not add up within 64 bits.
    #[error(
        "the charges to budget source {source} in epoch {epoch} add up to more than can be recorded; \
         lower epsilon or the contributions per device"
    )]
    Overflow {
        /// The epoch.
        epoch: Epoch,
        /// Whose budget.
        r#source: BudgetSource,
    },
    /// The budget of an epoch does not suffice.
    #[error(
        "this release asks for {} epsilon of budget source {source} in epoch {epoch} (the week from {}), and of its \
         cap of {} only {} is left; nothing was charged or released. Budget does not come back with time: this window \
         stays refused unless the operator of the aggregator that refuses raises `cap` of budget_source {source} to {} \
         or more in its configuration file and restarts it; there, `arras budget` says what was spent on what",
        DisplayMicro(*.asked), utc(*.epoch_start), DisplayMicro(*.cap), DisplayMicro(*.left), DisplayMicro(*.needed)
    )]
    Spent {
        /// What the release would cost this epoch, micro-epsilon.
        asked: u64,
        /// What an epoch of this source may cost in total, micro-epsilon.
        cap: u64,
        /// The first epoch that does not suffice.
        epoch: Epoch,
        /// When that epoch starts, POSIX seconds.
        epoch_start: u64,
        /// What is left of the cap, micro-epsilon.
        left: u64,
        /// The smallest cap that all epochs of the release fit under, micro-epsilon.
        needed: u64,
        /// Whose budget.
        r#source: BudgetSource,
    },
    /// The source has budget left, and the task has none.
    #[error(
        "this release asks for {} epsilon in epoch {epoch} of budget source {source} (the week from {}), and of the {} \
         that task {task} may spend there only {} is left; nothing was charged or released. Budget does not come back \
         with time: this window stays refused unless the operator of the aggregator that refuses raises `task_cap` of \
         budget_source {source}, or what its `task_caps` says of this task, to {} or more in its configuration file and \
         restarts it; there, `arras budget` says what was spent on what",
        DisplayMicro(*.asked), utc(*.epoch_start), DisplayMicro(*.cap), DisplayMicro(*.left), DisplayMicro(*.needed)
    )]
    TaskSpent {
        /// What the release would cost this epoch, micro-epsilon.
        asked: u64,
        /// What the task may cost an epoch in total, micro-epsilon.
        cap: u64,
        /// The first epoch that does not suffice.
        epoch: Epoch,
        /// When that epoch starts, POSIX seconds.
        epoch_start: u64,
        /// What is left to the task, micro-epsilon.
        left: u64,
        /// The smallest cap that all epochs of the release fit under, micro-epsilon.
        needed: u64,
        /// Whose budget.
        r#source: BudgetSource,
        /// The task.
        task: TaskId,
    },
    /// A query of more than [`MAX_EPOCHS_PER_QUERY`] epochs.
    #[error(
        "the query touches {touched} epochs of 7 days and may touch {MAX_EPOCHS_PER_QUERY}; \
         ask for a shorter interval"
    )]
    TooManyEpochs {
        /// How many it touches.
        touched: u64,
    },
}

/// The name of a budget: whoever shares it shares one budget.
///
/// A name as tasks carry it, see [`is_name`]. That it is registered with the
/// operator is for the caller to check; an unregistered one would be a fresh
/// budget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetSource(String);

impl BudgetSource {
    /// Checks a name as it came in configuration or a message.
    pub fn new(name: &str) -> Result<Self, LedgerError> {
        if is_name(name.as_bytes()) {
            Ok(Self(name.to_owned()))
        } else {
            Err(LedgerError::Name { length: name.len() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for BudgetSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BudgetSource {
    type Err = LedgerError;

    fn from_str(name: &str) -> Result<Self, LedgerError> {
        Self::new(name)
    }
}

/// The index of a 7-day epoch, counted from the source's first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Display for Epoch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the operator fixed for a budget source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceRules {
    /// When epoch 0 starts, POSIX seconds. Moving it would mix up what is spent
    /// where, so it never changes once the source has a charge.
    pub epoch_start: u64,
    /// What one epoch may cost, micro-epsilon.
    pub cap: u64,
}

impl SourceRules {
    /// When an epoch starts, POSIX seconds; one that begins after the last second there is begins then.
    pub fn start_of(&self, epoch: Epoch) -> u64 {
        self.epoch_start.saturating_add(epoch.0.saturating_mul(EPOCH_SECONDS))
    }

    /// The seconds of an epoch: POSIX, end excluded.
    pub fn seconds_of(&self, epoch: Epoch) -> Range<u64> {
        let start = self.start_of(epoch);
        start..start.saturating_add(EPOCH_SECONDS)
    }

    /// The epochs that the interval from `start_s` (included) to `end_s`
    /// (excluded) has a second in; POSIX seconds.
    pub fn epochs_touched(&self, start_s: u64, end_s: u64) -> Result<RangeInclusive<Epoch>, LedgerError> {
        let (first, last) = self.epoch_indices(&(start_s..end_s))?;
        Ok(Epoch(first)..=Epoch(last))
    }

    fn epoch_indices(&self, interval: &Range<u64>) -> Result<(u64, u64), LedgerError> {
        let &Range { start, end } = interval;
        let epoch_start = self.epoch_start;
        if start >= end {
            return Err(LedgerError::EmptyInterval { end, start });
        }
        let Some(since) = start.checked_sub(epoch_start) else {
            return Err(LedgerError::BeforeFirstEpoch { epoch_start, start });
        };
        // end > start >= epoch_start, so the last second, end - 1, is not before epoch 0 either.
        let (first, last) = (since / EPOCH_SECONDS, (end - 1 - epoch_start) / EPOCH_SECONDS);
        // A quotient by 604,800 is far from u64's end.
        let touched = last - first + 1;
        if touched > MAX_EPOCHS_PER_QUERY {
            return Err(LedgerError::TooManyEpochs { touched });
        }
        Ok((first, last))
    }
}

/// What each task of a budget source may spend of an epoch, beside the cap of the source. Without an entry a task may
/// spend what the source has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskCaps {
    /// Of each task that is not among the others, micro-epsilon.
    pub each: Option<u64>,
    /// Of these tasks, micro-epsilon.
    pub of: BTreeMap<TaskId, u64>,
}

impl TaskCaps {
    /// The cap of a task, micro-epsilon; none if the operator set none.
    pub fn cap_of(&self, task: TaskId) -> Option<u64> {
        self.of.get(&task).copied().or(self.each)
    }
}

/// Whose spending in an epoch is asked for when a release is held against a cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account<'a> {
    /// All releases of a budget source.
    Source(&'a BudgetSource),
    /// Those releases of the task at hand whose windows share a time with the epoch: with these times, in the task's
    /// precision, end excluded.
    Task(Range<Time>),
}

/// What one release costs one epoch of a budget source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Whose budget.
    pub source: BudgetSource,
    /// Which 7 days.
    pub epoch: Epoch,
    /// How much, micro-epsilon.
    pub micro_epsilon: u64,
}

/// What releasing one batch costs each epoch that it touches, in micro-epsilon: `contributions` times `epsilon`.
pub fn cost(epsilon: MicroEpsilon, contributions: NonZeroU32) -> u64 {
    // Cannot overflow: a u32 times a u32.
    u64::from(contributions.get()) * u64::from(epsilon.get())
}

/// The charges of releasing one batch: `contributions` (k, the reports that one
/// device may send to the task in any 7 days) times `epsilon`, to each
/// epoch that the query `interval` (POSIX seconds, end excluded) touches.
///
/// The whole interval counts, not only the part that holds reports: which part
/// does is not public.
pub fn charges(
    source: &BudgetSource,
    rules: &SourceRules,
    interval: Range<u64>,
    epsilon: MicroEpsilon,
    contributions: NonZeroU32,
) -> Result<Vec<Charge>, LedgerError> {
    let (first, last) = rules.epoch_indices(&interval)?;
    let micro_epsilon = cost(epsilon, contributions);
    let charge = |epoch| Charge { source: source.clone(), epoch: Epoch(epoch), micro_epsilon };
    Ok((first..=last).map(charge).collect())
}

/// Refuses a source whose epochs do not start when they did at its first charge (`first`, POSIX seconds; none before
/// that): what was spent would count for other days than those that it was spent on.
pub fn same_epochs(
    source: &BudgetSource,
    rules: &SourceRules,
    first: Option<u64>,
) -> Result<(), LedgerError> {
    match first {
        Some(first) if first != rules.epoch_start => {
            Err(LedgerError::EpochsMoved { configured: rules.epoch_start, first, r#source: source.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether all charges together fit under the cap of `rules`, given what is `spent` of each
/// epoch so far (micro-epsilon). Either all fit or none is admitted.
pub fn admit(
    charges: &[Charge],
    spent: impl Fn(&BudgetSource, Epoch) -> u64,
    rules: &SourceRules,
) -> Result<(), LedgerError> {
    let cap = rules.cap;
    // Two charges to one epoch must not each be measured against the same rest.
    let mut asked_of: BTreeMap<(&BudgetSource, Epoch), u64> = BTreeMap::new();
    for Charge { source, epoch, micro_epsilon } in charges {
        let asked = asked_of.entry((source, *epoch)).or_default();
        *asked = asked
            .checked_add(*micro_epsilon)
            .ok_or_else(|| LedgerError::Overflow { epoch: *epoch, r#source: source.clone() })?;
    }
    // What stands in the way, if anything does: the first epoch, what it is asked for, and what it has left.
    let (mut needed, mut first) = (0, None);
    for ((source, epoch), asked) in asked_of {
        let spent = spent(source, epoch);
        needed = needed.max(spent.saturating_add(asked));
        // More than the cap may be spent already, if the operator lowered it.
        let left = cap.saturating_sub(spent);
        if asked > left && first.is_none() {
            first = Some((source, epoch, asked, left));
        }
    }
    let Some((source, epoch, asked, left)) = first else { return Ok(()) };
    let (epoch_start, source) = (rules.start_of(epoch), source.clone());
    Err(LedgerError::Spent { asked, cap, epoch, epoch_start, left, needed, source })
}

/// As [`admit`], for what one task may spend beside the cap of its source: `spent` is of the task, `task_cap` the most
/// that an epoch may cost it (micro-epsilon).
pub fn admit_task(
    charges: &[Charge],
    spent: impl Fn(Epoch) -> u64,
    rules: &SourceRules,
    task: TaskId,
    task_cap: u64,
) -> Result<(), LedgerError> {
    let of_task = SourceRules { cap: task_cap, ..*rules };
    admit(charges, |_, epoch| spent(epoch), &of_task).map_err(|error| match error {
        LedgerError::Spent { asked, cap, epoch, epoch_start, left, needed, r#source } => {
            LedgerError::TaskSpent { asked, cap, epoch, epoch_start, left, needed, r#source, task }
        }
        other => other,
    })
}
