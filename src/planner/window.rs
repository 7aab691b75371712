//! Windows, and how many of them a budget carries.

use std::collections::BTreeMap;
use std::ops::Range;

use arras_protocol::messages::TaskId;

use super::setting::{Setting, Terms};
use crate::privacy::ledger::{self, Charge, EPOCH_SECONDS, Epoch, LedgerError};

/// How often numbers are released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// Every hour.
    Hour,
    /// Every day.
    Day,
    /// Every week.
    Week,
}

impl Window {
    /// All, the shortest first.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// Its length.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 604_800,
        }
    }

    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    /// A window of it, in a sentence.
    pub fn one(self) -> &'static str {
        match self {
            Self::Hour => "an hour",
            Self::Day => "a day",
            Self::Week => "a week",
        }
    }

    /// How many of it an epoch of 7 days has.
    pub fn in_epoch(self) -> u64 {
        EPOCH_SECONDS / self.seconds()
    }
}

/// Epochs that are played if windows lie across their ends. What the ledger admits then goes in turns of two (a window
/// that is refused leaves both of its epochs to its neighbours), so that a few show the poorest.
const EPOCHS_PLAYED: u64 = 6;

/// The id serves the text of a refusal, which nobody reads here.
const NO_TASK: TaskId = TaskId::new([0; 32]);

/// What becomes of the windows of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Windows that begin in the epoch.
    pub of: u64,
    /// How many of them the budget carries; in the poorest epoch, if epochs differ.
    pub admitted: u64,
    /// Whether a window lies across the end of an epoch, and so is charged to two.
    pub straddles: bool,
    /// What a release of all tasks for one window costs each epoch that it touches, micro-epsilon.
    pub cost: u64,
}

impl Carried {
    /// Whether every window is released.
    pub fn is_whole(&self) -> bool {
        self.admitted == self.of
    }

    /// Plays the ledger, one window after the other as they end, all tasks of each.
    pub fn play(setting: &Setting, window: Window, tasks: &[Terms]) -> Result<Self, LedgerError> {
        let rules = &setting.rules;
        // Windows are whole multiples of the precision since 1970, so the first may begin after the epoch does.
        let precision = setting.time_precision.unwrap_or(1).max(1);
        let late = (precision - rules.epoch_start % precision) % precision % window.seconds();
        let straddles = late != 0;
        let epochs = if straddles { EPOCHS_PLAYED } else { 1 };
        let mut ledger = Played { setting, tasks, spent: BTreeMap::new(), spent_by: BTreeMap::new() };
        let mut admitted: BTreeMap<u64, u64> = BTreeMap::new();
        for epoch in 0..epochs {
            for index in 0..window.in_epoch() {
                let since = epoch * EPOCH_SECONDS + index * window.seconds() + late;
                let start = rules.epoch_start.saturating_add(since);
                let released = ledger.release(start..start.saturating_add(window.seconds()))?;
                *admitted.entry(epoch).or_default() += u64::from(released);
            }
        }
        // The first and the last epoch of several lack a neighbour.
        let poorest = if straddles { admitted.range(1..epochs - 1).map(|(_, n)| *n).min() } else { None };
        let cost = tasks.iter().map(|task| ledger::cost(task.epsilon, task.contributions)).sum();
        Ok(Self {
            of: window.in_epoch(),
            admitted: poorest.unwrap_or_else(|| admitted.get(&0).copied().unwrap_or(0)),
            straddles,
            cost,
        })
    }

    /// What an epoch is charged if every window is released: one that begins in the epoch before is, too, if windows
    /// lie across the ends of epochs. Micro-epsilon.
    pub fn epoch_cost(&self) -> u64 {
        self.cost.saturating_mul(self.of + u64::from(self.straddles))
    }
}

/// A ledger of nothing but the planned tasks.
struct Played<'a> {
    setting: &'a Setting,
    tasks: &'a [Terms],
    spent: BTreeMap<Epoch, u64>,
    /// The same of each task, by its index.
    spent_by: BTreeMap<(usize, Epoch), u64>,
}

impl Played<'_> {
    /// Releases all tasks for a window, if the caps of the source and of each task allow it.
    fn release(&mut self, interval: Range<u64>) -> Result<bool, LedgerError> {
        let Setting { source, rules, .. } = self.setting;
        let mut all: Vec<(usize, Charge)> = Vec::new();
        for (index, task) in self.tasks.iter().enumerate() {
            let charges = ledger::charges(source, rules, interval.clone(), task.epsilon, task.contributions)?;
            if let Some(cap) = task.cap {
                let so_far = |epoch| self.spent_by.get(&(index, epoch)).copied().unwrap_or(0);
                if ledger::admit_task(&charges, so_far, rules, NO_TASK, cap).is_err() {
                    return Ok(false);
                }
            }
            all.extend(charges.into_iter().map(|charge| (index, charge)));
        }
        let charges: Vec<Charge> = all.iter().map(|(_, charge)| charge.clone()).collect();
        let so_far = |_: &_, epoch| self.spent.get(&epoch).copied().unwrap_or(0);
        if ledger::admit(&charges, so_far, rules).is_err() {
            return Ok(false);
        }
        for (index, Charge { epoch, micro_epsilon, .. }) in all {
            *self.spent.entry(epoch).or_default() += micro_epsilon;
            *self.spent_by.entry((index, epoch)).or_default() += micro_epsilon;
        }
        Ok(true)
    }
}
