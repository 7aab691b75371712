//! What an operator wants to know of budgets: what was spent of each source, in which epochs, by which tasks and on which
//! windows, and what is left. An aggregator tells what its ledger holds; a collector, which keeps none, what its releases
//! cost.
//!
//! `GET /budget` answers it as JSON, and `arras budget` prints it, from a running process or from a store at rest. Amounts
//! are decimal strings in epsilon. Nothing in it is about reports or people.

use std::collections::BTreeMap;

use arras_protocol::epsilon::DisplayMicro;
use arras_protocol::messages::TaskId;
use serde::{Deserialize, Serialize};

use crate::aggregator::{Collectors, RegisteredSource};
use crate::collector::{CollectorStore, Release};
use crate::privacy::ledger::{self, EPOCH_SECONDS, Epoch, SourceRules, TaskCaps};
use crate::store::{Accounts, ChargedWindow, SourceAccount, StoreError};
use crate::tasks::{TaskFolder, explain};
use crate::text::utc;

/// Windows that are listed of one source, the latest ones: five years of days, or twelve weeks of hours. All count in the
/// sums. They are half a megabyte of an answer.
pub(crate) const WINDOWS_LISTED_MAX: usize = 2_000;

/// Epochs that are listed of one source, the latest ones that something was spent in: two years. With 200 tasks in each,
/// they are 4 megabytes of an answer, which may have 32; of one source among many an answer can be asked for alone.
pub(crate) const EPOCHS_LISTED_MAX: usize = 104;

/// What `/budget` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetReports {
    /// One for each role that the process plays.
    pub(crate) roles: Vec<BudgetReport>,
}

impl BudgetReports {
    /// Of every other source than this one only what stands in its line: name, cap, start.
    pub(crate) fn details_of(mut self, wanted: &str) -> Self {
        let sources = self.roles.iter_mut().flat_map(|role| &mut role.sources);
        for other in sources.filter(|source| source.source != wanted) {
            other.epochs.clear();
            other.windows.clear();
        }
        self
    }
}

/// The budgets that a role knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetReport {
    /// `leader`, `helper` or `collector`.
    pub(crate) role: String,
    /// Of an aggregator those of its configuration first, then others that something was spent of; by name.
    pub(crate) sources: Vec<SourceReport>,
    /// Where an aggregator's ledger and the windows that it collected disagree; empty in a store that can be used.
    pub(crate) disagreements: Vec<String>,
}

/// A budget source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceReport {
    /// Its name.
    pub(crate) source: String,
    /// Whose it is; `null` at a collector, and if it is not in the configuration (any more).
    pub(crate) collector: Option<String>,
    /// What an epoch may cost; `null` as the collector.
    pub(crate) cap: Option<String>,
    /// When epoch 0 starts, in RFC 3339; `null` if a collector was not told.
    pub(crate) epoch_start: Option<String>,
    /// When the configuration says that epoch 0 starts, if that is another time: then every release is refused.
    pub(crate) moved_to: Option<String>,
    /// The epochs that something was spent in; at most [`EPOCHS_LISTED_MAX`], the latest.
    pub(crate) epochs: Vec<EpochReport>,
    /// How many earlier epochs are not listed.
    #[serde(default)]
    pub(crate) epochs_left_out: usize,
    /// The windows that were charged, by time; at most [`WINDOWS_LISTED_MAX`], the latest.
    pub(crate) windows: Vec<WindowReport>,
    /// How many earlier windows are not listed.
    pub(crate) windows_left_out: usize,
}

/// What an epoch has spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EpochReport {
    /// Counted from the source's first one, which is 0.
    pub(crate) epoch: u64,
    /// When it starts, in RFC 3339.
    pub(crate) start: String,
    /// When it ends.
    pub(crate) end: String,
    /// What was spent, as the ledger has it.
    pub(crate) spent: String,
    /// What is left of the source's cap.
    pub(crate) left: Option<String>,
    /// What each task has spent, as its windows add up.
    pub(crate) tasks: Vec<TaskReport>,
}

/// What a task has spent in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskReport {
    /// Its id.
    pub(crate) task: String,
    /// Its name, if its file is still there.
    pub(crate) name: Option<String>,
    /// What it has spent.
    pub(crate) spent: String,
    /// What it may spend by a cap of its own, if it has one.
    pub(crate) cap: Option<String>,
    /// What is left of that.
    pub(crate) left: Option<String>,
}

/// A window that was charged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WindowReport {
    /// The task's id.
    pub(crate) task: String,
    /// The task's name, if its file is still there.
    pub(crate) name: Option<String>,
    /// Where it starts, in RFC 3339.
    pub(crate) from: String,
    /// Where it ends.
    pub(crate) to: String,
    /// The first epoch that it was charged to; `null` if epochs are not known.
    pub(crate) first_epoch: Option<u64>,
    /// The last one.
    pub(crate) last_epoch: Option<u64>,
    /// What each of these epochs was charged.
    pub(crate) epsilon_per_epoch: String,
    /// Whether its answer is kept; if not, it was paid for and is on its way, or waits for a restart.
    pub(crate) answered: bool,
}

/// What an aggregator's rows say, beside its configuration. `accounts` is none if it has no store yet.
pub(crate) fn of_aggregator(
    role: &str,
    accounts: Option<&Accounts>,
    collectors: &Collectors,
    tasks: &TaskFolder,
) -> BudgetReport {
    let mut names = Names::new(tasks);
    let mut spent: BTreeMap<String, &SourceAccount> =
        accounts.into_iter().flat_map(Accounts::named).collect();
    let mut sources = Vec::new();
    for collector in &collectors.0 {
        for source in &collector.budget_sources {
            let account = spent.remove(source.name.as_str());
            let of = Some((collector.name.as_str(), source));
            sources.push(of_source(source.name.as_str(), of, account, &mut names));
        }
    }
    sources
        .extend(spent.into_iter().map(|(name, account)| of_source(&name, None, Some(account), &mut names)));
    let disagreements = accounts.map(Accounts::disagreements).unwrap_or_default();
    let disagreements = disagreements.into_iter().map(|(source, what)| format!("{source}: {what}")).collect();
    BudgetReport { role: role.to_owned(), sources, disagreements }
}

/// What a collector's releases cost, which is what it can know: a window whose answer it never got is charged, too.
/// `epoch_start` is when epoch 0 of a source starts as far as the collector's configuration says so (POSIX seconds).
pub(crate) fn of_collector(
    store: &dyn CollectorStore,
    tasks: &TaskFolder,
    epoch_start: impl Fn(&str) -> Option<u64>,
) -> Result<BudgetReport, StoreError> {
    let mut names = Names::new(tasks);
    let mut accounts: BTreeMap<String, SourceAccount> = BTreeMap::new();
    for sequence in 1.. {
        let Some(published) = store.release(sequence)? else { break };
        let release = published.release();
        let account = accounts.entry(release.charge.budget_source.clone()).or_default();
        add_release(account, release);
    }
    let sources = accounts.iter_mut().map(|(name, account)| {
        // A release knows it if the collector did when it made it.
        account.epoch_start = account.epoch_start.or_else(|| epoch_start(name));
        account.spent = account.recomputed().0;
        of_source(name, None, Some(account), &mut names)
    });
    let sources = sources.collect();
    Ok(BudgetReport { role: "collector".to_owned(), sources, disagreements: Vec::new() })
}

fn add_release(account: &mut SourceAccount, release: &Release) {
    // A task whose id does not parse is none of ours.
    let Ok(task) = release.task.parse() else { return };
    let charged = release.charge.epochs.as_ref().and_then(|epochs| epochs.first());
    let epoch_start =
        charged.map(|epoch| epoch.start_seconds.saturating_sub(epoch.epoch.saturating_mul(EPOCH_SECONDS)));
    account.epoch_start = account.epoch_start.or(epoch_start);
    account.windows.push(ChargedWindow {
        task,
        start: release.window.from().seconds(),
        end: release.window.to().seconds(),
        micro_epsilon: ledger::cost(release.policy.epsilon, release.policy.contributions),
        answered: true,
    });
}

/// The names of tasks, each looked up once.
struct Names<'a> {
    folder: &'a TaskFolder,
    known: BTreeMap<TaskId, Option<String>>,
}

impl<'a> Names<'a> {
    fn new(folder: &'a TaskFolder) -> Self {
        Self { folder, known: BTreeMap::new() }
    }

    fn of(&mut self, task: TaskId) -> Option<String> {
        // A file that cannot be read costs a name, and its own error stands in the log.
        let load = || Some(explain::name(&self.folder.load(task).ok()??.task));
        self.known.entry(task).or_insert_with(load).clone()
    }
}

fn epsilon(micro: u64) -> String {
    DisplayMicro(micro).to_string()
}

fn of_source(
    name: &str,
    registered: Option<(&str, &RegisteredSource)>,
    account: Option<&SourceAccount>,
    names: &mut Names<'_>,
) -> SourceReport {
    let configured = registered.map(|(_, source)| source.rules);
    let kept = account.and_then(|account| account.epoch_start);
    let epoch_start = kept.or(configured.map(|rules| rules.epoch_start));
    let cap = configured.map(|rules| rules.cap);
    let rules = epoch_start.map(|epoch_start| SourceRules { epoch_start, cap: cap.unwrap_or(0) });
    let none = TaskCaps::default();
    let task_caps = registered.map_or(&none, |(_, source)| &source.task_caps);
    let moved_to =
        configured.map(|rules| rules.epoch_start).filter(|start| kept.is_some_and(|kept| kept != *start));
    let mut windows: Vec<&ChargedWindow> = account.iter().flat_map(|account| &account.windows).collect();
    windows.sort_by_key(|window| (window.start, window.task));
    let (epochs, epochs_left_out) = match (account, rules) {
        (Some(account), Some(rules)) => of_epochs(account, &rules, cap, task_caps, names),
        _ => (Vec::new(), 0),
    };
    let left_out = windows.len().saturating_sub(WINDOWS_LISTED_MAX);
    let windows = windows[left_out..].iter().map(|window| of_window(window, rules, names)).collect();
    SourceReport {
        source: name.to_owned(),
        collector: registered.map(|(collector, _)| collector.to_owned()),
        cap: cap.map(epsilon),
        epoch_start: epoch_start.map(utc),
        moved_to: moved_to.map(utc),
        epochs,
        epochs_left_out,
        windows,
        windows_left_out: left_out,
    }
}

fn of_epochs(
    account: &SourceAccount,
    rules: &SourceRules,
    cap: Option<u64>,
    task_caps: &TaskCaps,
    names: &mut Names<'_>,
) -> (Vec<EpochReport>, usize) {
    let mut by_task: BTreeMap<Epoch, BTreeMap<TaskId, u64>> = BTreeMap::new();
    for window in &account.windows {
        let Ok(epochs) = rules.epochs_touched(window.start, window.end) else { continue };
        for epoch in (epochs.start().0..=epochs.end().0).map(Epoch) {
            let spent = by_task.entry(epoch).or_default().entry(window.task).or_default();
            *spent = spent.saturating_add(window.micro_epsilon);
        }
    }
    // Also those that only one side knows, where the two disagree.
    let all: std::collections::BTreeSet<Epoch> =
        account.spent.keys().chain(by_task.keys()).copied().collect();
    let mut of_task = |(task, spent): (TaskId, u64)| {
        let cap = task_caps.cap_of(task);
        TaskReport {
            task: task.to_string(),
            name: names.of(task),
            spent: epsilon(spent),
            cap: cap.map(epsilon),
            left: cap.map(|cap| epsilon(cap.saturating_sub(spent))),
        }
    };
    let of_epoch = |epoch: Epoch| {
        let spent = account.spent.get(&epoch).copied().unwrap_or(0);
        let std::ops::Range { start, end } = rules.seconds_of(epoch);
        EpochReport {
            epoch: epoch.0,
            start: utc(start),
            end: utc(end),
            spent: epsilon(spent),
            left: cap.map(|cap| epsilon(cap.saturating_sub(spent))),
            tasks: by_task.remove(&epoch).unwrap_or_default().into_iter().map(&mut of_task).collect(),
        }
    };
    let left_out = all.len().saturating_sub(EPOCHS_LISTED_MAX);
    (all.into_iter().skip(left_out).map(of_epoch).collect(), left_out)
}

fn of_window(window: &ChargedWindow, rules: Option<SourceRules>, names: &mut Names<'_>) -> WindowReport {
    let epochs = rules.and_then(|rules| rules.epochs_touched(window.start, window.end).ok());
    WindowReport {
        task: window.task.to_string(),
        name: names.of(window.task),
        from: utc(window.start),
        to: utc(window.end),
        first_epoch: epochs.as_ref().map(|epochs| epochs.start().0),
        last_epoch: epochs.as_ref().map(|epochs| epochs.end().0),
        epsilon_per_epoch: epsilon(window.micro_epsilon),
        answered: window.answered,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What the configuration says now and what was charged under it before need not agree, and both are shown.
    #[test]
    fn sources_that_were_moved_or_removed_are_told() {
        let folder = TaskFolder::new(std::path::Path::new("/nowhere"));
        let (task, start) = (TaskId::new([1; TaskId::LEN]), 1_800_000_000);
        let window = ChargedWindow { task, start, end: start + 1, micro_epsilon: 3_000_000, answered: false };
        let spent = BTreeMap::from([(Epoch(0), 3_000_000)]);
        let account = SourceAccount { epoch_start: Some(start), windows: vec![window], spent, name: None };
        let source = |epoch_start| RegisteredSource {
            name: "shop.example".parse().unwrap(),
            rules: SourceRules { epoch_start, cap: 2_000_000 },
            task_caps: TaskCaps { each: Some(9_000_000), of: BTreeMap::from([(task, 3_500_000)]) },
        };
        let report = |registered: Option<&RegisteredSource>| {
            let registered = registered.map(|source| ("advertiser", source));
            of_source("shop.example", registered, Some(&account), &mut Names::new(&folder))
        };
        let same = report(Some(&source(start)));
        assert_eq!((same.moved_to, same.epoch_start), (None, Some(utc(start))));
        // The cap was lowered below what is spent: nothing is left.
        assert_eq!((same.cap.as_deref(), same.epochs[0].left.as_deref()), (Some("2"), Some("0")));
        let of_task = &same.epochs[0].tasks[0];
        assert_eq!((of_task.cap.as_deref(), of_task.left.as_deref()), (Some("3.5"), Some("0.5")));
        let moved = report(Some(&source(start + 86_400)));
        assert_eq!((moved.moved_to, moved.epoch_start), (Some(utc(start + 86_400)), Some(utc(start))));
        let removed = report(None);
        assert_eq!((removed.collector, removed.cap, removed.epochs.len()), (None, None, 1));
    }

    #[test]
    fn the_latest_windows_are_listed_and_all_are_counted() {
        let start = 1_800_000_000;
        let windows = (0..WINDOWS_LISTED_MAX as u64 + 3).map(|hour| ChargedWindow {
            task: TaskId::new([1; TaskId::LEN]),
            start: start + hour * 3_600,
            end: start + (hour + 1) * 3_600,
            micro_epsilon: 10,
            answered: true,
        });
        let mut account = SourceAccount {
            epoch_start: Some(start),
            windows: windows.rev().collect(),
            ..SourceAccount::default()
        };
        account.spent = account.recomputed().0;
        let folder = TaskFolder::new(std::path::Path::new("/nowhere"));
        let report = of_source("shop.example", None, Some(&account), &mut Names::new(&folder));
        assert_eq!((report.windows.len(), report.windows_left_out), (WINDOWS_LISTED_MAX, 3));
        assert_eq!(report.windows[0].from, utc(start + 3 * 3_600));
        // 168 hours of a week; the name of a task without a file is not known.
        let first = &report.epochs[0];
        assert_eq!((first.spent.as_str(), first.tasks[0].spent.as_str()), ("0.00168", "0.00168"));
        assert_eq!((&first.tasks[0].name, &first.left, &report.cap), (&None, &None, &None));
    }
    /// What is told of a source would grow without end, until nobody could read the answer.
    #[test]
    fn the_latest_epochs_are_listed_and_others_can_be_left_out() {
        let start = 1_800_000_000;
        let spent = (0..EPOCHS_LISTED_MAX as u64 + 2).map(|epoch| (Epoch(epoch), 10)).collect();
        let account = SourceAccount { epoch_start: Some(start), spent, ..SourceAccount::default() };
        let folder = TaskFolder::new(std::path::Path::new("/nowhere"));
        let report = |name| of_source(name, None, Some(&account), &mut Names::new(&folder));
        let one = report("shop.example");
        assert_eq!((one.epochs.len(), one.epochs_left_out, one.epochs[0].epoch), (EPOCHS_LISTED_MAX, 2, 2));
        let sources = vec![one.clone(), report("other.example")];
        let role = BudgetReport { role: "helper".to_owned(), sources, disagreements: Vec::new() };
        let reports = BudgetReports { roles: vec![role] }.details_of("shop.example");
        let [first, second] = &reports.roles[0].sources[..] else { panic!("{reports:?}") };
        assert_eq!((first, second.source.as_str(), second.epochs.len()), (&one, "other.example", 0));
    }
}
