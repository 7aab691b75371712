//! Windows, how they lie to the epochs of a budget, and how many of them it carries.
//!
//! An epoch begins at 00:00 UTC, and a window of an advertiser with its own midnight: one that lies across the end of an
//! epoch is charged to both, in full. Which epochs a window touches and what fits under a cap, the ledger says.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

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

/// When windows begin and end.
#[derive(Clone, Debug)]
pub enum Windows {
    /// Where epochs begin, or as soon after that as the time precision allows: whoever asks for windows by hand may.
    WithEpochs,
    /// By the calendar of a time zone, as an advertiser's schedule asks for them.
    Calendar(CalendarWindows),
}

impl Windows {
    /// The name of the time zone whose calendar they follow, if they follow one.
    pub fn zone(&self) -> Option<&str> {
        match self {
            Self::WithEpochs => None,
            Self::Calendar(windows) => Some(&windows.zone),
        }
    }
}

/// The windows of a calendar, in POSIX seconds, end excluded: of each length those of a year or more, in order and one
/// behind the other, none of them before the first epoch of the budget.
#[derive(Clone, Debug)]
pub struct CalendarWindows {
    /// The time zone's name.
    pub zone: String,
    /// Hours.
    pub hours: Vec<Range<u64>>,
    /// Days, from midnight to midnight.
    pub days: Vec<Range<u64>>,
    /// Weeks, from Monday to Monday.
    pub weeks: Vec<Range<u64>>,
}

impl CalendarWindows {
    /// Those of one length.
    pub fn of(&self, window: Window) -> &[Range<u64>] {
        match window {
            Window::Hour => &self.hours,
            Window::Day => &self.days,
            Window::Week => &self.weeks,
        }
    }
}

/// Epochs that are played if windows begin with them. If they begin later they lie across the ends of epochs; what the
/// ledger admits then goes in turns of two (a window that is refused leaves both of its epochs to its neighbours), so
/// that a few show the poorest.
const EPOCHS_PLAYED: u64 = 6;

/// The id serves the text of a refusal, which nobody reads here.
const NO_TASK: TaskId = TaskId::new([0; 32]);

/// Windows that follow each other and touch the same epochs.
#[derive(Clone, Debug)]
struct Run {
    epochs: RangeInclusive<u64>,
    windows: u64,
}

/// How the windows of one length lie to the epochs of a budget source: which epochs the ledger charges each of them to.
#[derive(Clone, Debug)]
pub(super) struct Alignment {
    /// The length.
    pub(super) window: Window,
    runs: Vec<Run>,
}

impl Alignment {
    pub(super) fn new(setting: &Setting, window: Window) -> Result<Self, LedgerError> {
        let mut runs: Vec<Run> = Vec::new();
        let mut add = |interval: Range<u64>| {
            let touched = setting.rules.epochs_touched(interval.start, interval.end)?;
            let epochs = touched.start().0..=touched.end().0;
            match runs.last_mut() {
                Some(run) if run.epochs == epochs => run.windows += 1,
                _ => runs.push(Run { epochs, windows: 1 }),
            }
            Ok(())
        };
        match &setting.windows {
            Windows::WithEpochs => with_epochs(setting, window).try_for_each(&mut add)?,
            Windows::Calendar(windows) => windows.of(window).iter().cloned().try_for_each(&mut add)?,
        }
        Ok(Self { window, runs })
    }

    /// How many windows each epoch is charged for, without the first and the last, which lack a neighbour.
    fn by_epoch(&self) -> BTreeMap<u64, u64> {
        let mut by_epoch: BTreeMap<u64, u64> = BTreeMap::new();
        for run in &self.runs {
            for epoch in run.epochs.clone() {
                *by_epoch.entry(epoch).or_default() += run.windows;
            }
        }
        by_epoch.pop_first();
        by_epoch.pop_last();
        by_epoch
    }

    /// The most windows that an epoch is charged for.
    pub(super) fn most(&self) -> u64 {
        self.by_epoch().into_values().max().unwrap_or(0)
    }

    /// Whether a window lies across the end of an epoch.
    fn straddles(&self) -> bool {
        self.runs.iter().any(|run| run.epochs.start() != run.epochs.end())
    }
}

/// The day and time at which epochs begin: `Monday at 00:00 UTC`.
pub(super) fn epochs_begin(epoch_start: u64) -> String {
    // 1970 began on a Thursday.
    const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    let (days, seconds) = (epoch_start / 86_400, epoch_start % 86_400);
    // Of seven, so it is one of them.
    let day = usize::try_from(days % 7).ok().and_then(|day| DAYS.get(day)).copied().unwrap_or_default();
    format!("{day} at {:02}:{:02} UTC", seconds / 3_600, seconds % 3_600 / 60)
}

/// The windows of [`EPOCHS_PLAYED`] epochs, from the first one on.
fn with_epochs(setting: &Setting, window: Window) -> impl Iterator<Item = Range<u64>> {
    let epoch_start = setting.rules.epoch_start;
    // Windows are whole multiples of the precision since 1970, so the first may begin after the epoch does.
    let precision = setting.time_precision.unwrap_or(1).max(1);
    let late = (precision - epoch_start % precision) % precision % window.seconds();
    (0..EPOCHS_PLAYED * window.in_epoch()).map(move |index| {
        let start = epoch_start.saturating_add(late + index * window.seconds());
        start..start.saturating_add(window.seconds())
    })
}

/// Windows that an epoch is charged for, and how many of them are released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Windows that touch the epoch.
    pub of: u64,
    /// How many of them the budget carries.
    pub admitted: u64,
}

impl Share {
    fn refused(self) -> u64 {
        self.of.saturating_sub(self.admitted)
    }
}

/// What becomes of the windows of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Of the epoch that most windows are refused in.
    pub poorest: Share,
    /// Of most epochs: where clocks change, windows of a part of the year may lie otherwise.
    pub usual: Share,
    /// The most windows that an epoch is charged for.
    pub most: u64,
    /// Whether a window lies across the end of an epoch, and so is charged to two.
    pub straddles: bool,
    /// What a release of all tasks for one window costs each epoch that it touches, micro-epsilon.
    pub cost: u64,
}

impl Carried {
    /// Whether every window is released.
    pub fn is_whole(&self) -> bool {
        self.poorest.refused() == 0
    }

    /// Plays the ledger, one window after the other as they end, all tasks of each.
    pub(super) fn play(
        setting: &Setting,
        alignment: &Alignment,
        tasks: &[Terms],
    ) -> Result<Self, LedgerError> {
        let charged = alignment.by_epoch();
        let most = charged.values().copied().max().unwrap_or(0);
        // Each window costs the same: an epoch takes them as they come until so many are in it.
        let fit = fitting(setting, tasks, most)?;
        let mut admitted = BTreeMap::<u64, u64>::new();
        for run in &alignment.runs {
            let left = |epoch| fit.saturating_sub(admitted.get(&epoch).copied().unwrap_or(0));
            let released = run.epochs.clone().map(left).min().unwrap_or(0).min(run.windows);
            for epoch in run.epochs.clone() {
                *admitted.entry(epoch).or_default() += released;
            }
        }
        let mut shares: BTreeMap<Share, u64> = BTreeMap::new();
        for (epoch, of) in charged {
            let admitted = admitted.get(&epoch).copied().unwrap_or(0);
            *shares.entry(Share { of, admitted }).or_default() += 1;
        }
        let none = Share { of: 0, admitted: 0 };
        let poorer = |share: &Share| (share.refused(), share.of);
        let poorest = shares.keys().copied().max_by_key(poorer).unwrap_or(none);
        // Of two that are as frequent, the poorer one.
        let usual = shares.iter().max_by_key(|(share, epochs)| (**epochs, poorer(share)));
        Ok(Self {
            poorest,
            usual: usual.map_or(none, |(share, _)| *share),
            most,
            straddles: alignment.straddles(),
            cost: cost(tasks),
        })
    }

    /// The most that an epoch is charged if every window is released, micro-epsilon.
    pub fn epoch_cost(&self) -> u64 {
        self.cost.saturating_mul(self.most)
    }

    /// What most epochs are charged if every window is released, micro-epsilon.
    pub fn usual_epoch_cost(&self) -> u64 {
        self.cost.saturating_mul(self.usual.of)
    }
}

/// What a release of all tasks for one window costs an epoch, micro-epsilon.
pub(super) fn cost(tasks: &[Terms]) -> u64 {
    tasks.iter().map(|task| ledger::cost(task.epsilon, task.contributions)).sum()
}

/// Whether every window is released.
pub(super) fn is_carried(
    setting: &Setting,
    alignment: &Alignment,
    tasks: &[Terms],
) -> Result<bool, LedgerError> {
    let most = alignment.most();
    Ok(fitting(setting, tasks, most)? == most)
}

/// How many windows the ledger admits to one epoch, if no more than `most` are asked for.
fn fitting(setting: &Setting, tasks: &[Terms], most: u64) -> Result<u64, LedgerError> {
    let mut ledger = Played { setting, tasks, spent: BTreeMap::new(), spent_by: BTreeMap::new() };
    // All epochs are alike, and so are all windows within one.
    let first = setting.rules.seconds_of(Epoch(0));
    let mut fit = 0;
    while fit < most && ledger.release(first.clone())? {
        fit += 1;
    }
    Ok(fit)
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
