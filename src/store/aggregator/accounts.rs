//! What the rows of an aggregator's store say of budgets: what each epoch has spent, and the windows that it was spent
//! on. One commit writes both, so they agree in any store that this program wrote, whenever it was interrupted; here
//! they are read side by side, and held against each other when a store is opened.
//!
//! Reading costs a pass over the ledger's rows and over one row for each window that was ever collected: a part of what
//! opening a state reads anyway, which is all of it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use arras_protocol::codec::Decode as _;
use arras_protocol::epsilon::DisplayMicro;
use arras_protocol::messages::{TaskConfiguration, TaskId, TimePrecision};

use super::core::{decode_collected, decode_task, malformed, rows_of};
use super::keys::{self, Fields, Kind, SourceKey};
use super::{Setup, StoreOptions};
use crate::privacy::ledger::{BudgetSource, Epoch, LedgerError, SourceRules};
use crate::store::{Disk, State, StoreError};
use crate::text::utc;

/// The folder of the state, below the store's.
pub(super) const STATE: &str = "state";

/// A window that was charged for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargedWindow {
    /// Of which task.
    pub task: TaskId,
    /// Where it starts, POSIX seconds.
    pub start: u64,
    /// Where it ends, excluded, POSIX seconds.
    pub end: u64,
    /// What each epoch that it touches was charged, micro-epsilon.
    pub micro_epsilon: u64,
    /// Whether the answer was kept; if not, it is charged and its noise is not drawn yet.
    pub answered: bool,
}

/// What the rows say of one budget source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceAccount {
    /// Its name; none only if rows are missing that this program writes.
    pub name: Option<BudgetSource>,
    /// When epoch 0 started at the first charge, POSIX seconds; none as the name.
    pub epoch_start: Option<u64>,
    /// What the ledger says each epoch has spent, micro-epsilon.
    pub spent: BTreeMap<Epoch, u64>,
    /// The windows that were charged, by task and time.
    pub windows: Vec<ChargedWindow>,
}

/// Something about which ledger and windows disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// What an epoch has spent.
    Epoch {
        /// Which.
        epoch: Epoch,
        /// When it starts, POSIX seconds; 0 if that is not known.
        start: u64,
        /// What the ledger says, micro-epsilon.
        ledger: u64,
        /// What the windows add up to, micro-epsilon.
        windows: u64,
    },
    /// A window that cannot have been charged.
    Window {
        /// Which.
        window: ChargedWindow,
        /// Why not.
        reason: String,
    },
}

impl Display for Disagreement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch { epoch, start, ledger, windows } => write!(
                f,
                "in epoch {epoch} (the week from {}) the ledger has {} epsilon spent, and the windows cost {}",
                utc(*start),
                DisplayMicro(*ledger),
                DisplayMicro(*windows)
            ),
            Self::Window { window: ChargedWindow { task, start, end, .. }, reason } => {
                write!(f, "the window of task {task} from {} to {}: {reason}", utc(*start), utc(*end))
            }
        }
    }
}

/// What the rows say of all budget sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts(BTreeMap<SourceKey, SourceAccount>);

impl Accounts {
    /// Reads the store of a role that is not running, as starting it would: refused are the same stores, but for a
    /// ledger that disagrees. `None` if there is no store yet. `role` is `leader` or `helper`.
    pub fn of_stopped(options: &StoreOptions, role: &str) -> Result<Option<Self>, StoreError> {
        let dir = options.dir.join(STATE);
        if !dir.exists() {
            return Ok(None);
        }
        let state = Setup { options, disk: Disk::default() }.state(&dir, role)?;
        Self::read(&state, &dir).map(Some)
    }

    /// Reads all of it. Commits wait meanwhile.
    pub(super) fn read(state: &State, dir: &Path) -> Result<Self, StoreError> {
        // Between two pages no commit may come, or charges and windows would be of different moments.
        let _no_commit = state.lock();
        let malformed = || malformed(dir);
        let mut accounts = Self::default();
        rows_of(state, &[Kind::Ledger as u8], None, |key, value| {
            let (source, epoch) = source_and_epoch(key).ok_or_else(malformed)?;
            let mut fields = Fields(value);
            let spent = fields.u64().ok_or_else(malformed)?;
            let name = std::str::from_utf8(fields.rest()).ok().and_then(|name| BudgetSource::new(name).ok());
            let name = name.filter(|name| keys::source_key(name) == source).ok_or_else(malformed)?;
            let account = accounts.0.entry(source).or_default();
            account.spent.insert(epoch, spent);
            account.name = Some(name);
            Ok(true)
        })?;
        rows_of(state, &[Kind::Epochs as u8], None, |key, value| {
            let source = <SourceKey>::try_from(key).map_err(|_| malformed())?;
            let start = Fields(value).u64().ok_or_else(malformed)?;
            accounts.0.entry(source).or_default().epoch_start = Some(start);
            Ok(true)
        })?;
        let precisions = precisions(state, dir)?;
        rows_of(state, &[Kind::Collected as u8], None, |key, value| {
            let (task, start) = key.split_first_chunk::<{ TaskId::LEN }>().ok_or_else(malformed)?;
            let collected = decode_collected(start, value).ok_or_else(malformed)?;
            let task = TaskId::new(*task);
            let precision = *precisions.get(&task).ok_or_else(malformed)?;
            let window = ChargedWindow {
                task,
                start: collected.interval.start().posix_seconds(precision),
                end: collected.interval.end().posix_seconds(precision),
                micro_epsilon: collected.paid,
                answered: collected.finished,
            };
            accounts.0.entry(collected.source).or_default().windows.push(window);
            Ok(true)
        })?;
        Ok(accounts)
    }

    /// The budget sources that something was ever spent of, in no order that means anything, with their names; one whose
    /// name no row says has its hash instead.
    pub fn named(&self) -> impl Iterator<Item = (String, &SourceAccount)> {
        self.0.iter().map(|(key, account)| (account.name_or(key), account))
    }

    /// Everything about which ledger and windows disagree, each with the name of its source.
    pub fn disagreements(&self) -> Vec<(String, Disagreement)> {
        let of = |(key, account): (&SourceKey, &SourceAccount)| {
            let name = account.name_or(key);
            account.disagreements().into_iter().map(move |what| (name.clone(), what)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// Refuses accounts that disagree; `dir` is the state's.
    pub(super) fn check(&self, dir: &Path) -> Result<(), StoreError> {
        let found = self.disagreements();
        let Some((budget, what)) = found.first() else { return Ok(()) };
        let (budget, what) = (budget.clone(), what.to_string());
        Err(StoreError::LedgerDisagrees { dir: dir.to_owned(), budget, what, more: found.len() - 1 })
    }
}

impl SourceAccount {
    fn name_or(&self, key: &SourceKey) -> String {
        self.name.as_ref().map_or_else(|| hex(key), ToString::to_string)
    }

    /// What each epoch has spent if it is added up from the windows, and the windows that no epoch can be found for.
    pub fn recomputed(&self) -> (BTreeMap<Epoch, u64>, Vec<Disagreement>) {
        let (mut spent, mut wrong) = (BTreeMap::<Epoch, u64>::new(), Vec::new());
        let rules = self.epoch_start.map(|epoch_start| SourceRules { epoch_start, cap: 0 });
        for window in &self.windows {
            match epochs_of(rules, window) {
                Ok(epochs) => {
                    for epoch in epochs {
                        let sum = spent.entry(epoch).or_default();
                        *sum = sum.checked_add(window.micro_epsilon).unwrap_or_else(|| {
                            let reason = "it cost more than can be added up".to_owned();
                            wrong.push(Disagreement::Window { window: window.clone(), reason });
                            u64::MAX
                        });
                    }
                }
                Err(reason) => wrong.push(Disagreement::Window { window: window.clone(), reason }),
            }
        }
        (spent, wrong)
    }

    fn disagreements(&self) -> Vec<Disagreement> {
        let (windows, mut found) = self.recomputed();
        let of = |book: &BTreeMap<Epoch, u64>, epoch| book.get(epoch).copied().unwrap_or(0);
        let epochs: std::collections::BTreeSet<&Epoch> = self.spent.keys().chain(windows.keys()).collect();
        let rules = SourceRules { epoch_start: self.epoch_start.unwrap_or(0), cap: 0 };
        found.extend(epochs.into_iter().filter_map(|epoch| {
            let (ledger, windows) = (of(&self.spent, epoch), of(&windows, epoch));
            let start = self.epoch_start.map_or(0, |_| rules.start_of(*epoch));
            (ledger != windows).then_some(Disagreement::Epoch { epoch: *epoch, start, ledger, windows })
        }));
        found
    }
}

/// The epochs that a window was charged to.
fn epochs_of(
    rules: Option<SourceRules>,
    window: &ChargedWindow,
) -> Result<impl Iterator<Item = Epoch> + use<>, String> {
    let rules = rules.ok_or("when the source's epochs start is not known")?;
    let touched = rules.epochs_touched(window.start, window.end);
    let touched = touched.map_err(|error: LedgerError| error.to_string())?;
    Ok((touched.start().0..=touched.end().0).map(Epoch))
}

/// The time precision of each task.
fn precisions(state: &State, dir: &Path) -> Result<BTreeMap<TaskId, TimePrecision>, StoreError> {
    let mut precisions = BTreeMap::new();
    rows_of(state, &[Kind::Task as u8], None, |id, value| {
        let id = <[u8; TaskId::LEN]>::try_from(id).map_err(|_| malformed(dir))?;
        let record = decode_task(value).ok_or_else(|| malformed(dir))?;
        let configuration =
            TaskConfiguration::from_bytes(&record.configuration).map_err(|_| malformed(dir))?;
        precisions.insert(TaskId::new(id), configuration.time_precision);
        Ok(true)
    })?;
    Ok(precisions)
}

fn source_and_epoch(key: &[u8]) -> Option<(SourceKey, Epoch)> {
    let mut fields = Fields(key);
    let (source, epoch) = (fields.array()?, Epoch(fields.u64()?));
    fields.end()?;
    Some((source, epoch))
}

/// For a source whose name no row says.
fn hex(key: &SourceKey) -> String {
    let (halves, _) = key.as_chunks::<16>();
    halves.iter().fold(String::new(), |text, half| format!("{text}{:032x}", u128::from_be_bytes(*half)))
}
