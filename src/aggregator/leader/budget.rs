//! What the leader has promised: it asks the helper, which charges its own ledger, only for what it can pay for itself
//! afterwards. Else a budget that two tasks share could be promised to both, and the helper would have charged and
//! closed a window that the leader has to refuse.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arras_protocol::messages::{Interval, TaskId};

use crate::aggregator::ProvisionedTask;
use crate::aggregator::api::Problem;
use crate::aggregator::leader::Leader;
use crate::privacy::gate::{Admission, BatchFacts, Refusal};
use crate::privacy::ledger::{Account, BudgetSource, Charge, Epoch, LedgerError};
use crate::store::{CollectRefusal, CollectionState, StoreError};

/// Held from the decision to ask the helper until that is durable, and while a batch is charged: what is promised
/// and what is spent do not change while they are added up.
#[derive(Debug, Default)]
pub(super) struct Promises(Mutex<()>);

/// The right to promise, while it is held.
pub(super) struct Promising<'a> {
    leader: &'a Leader,
    _guard: MutexGuard<'a, ()>,
}

impl Leader {
    pub(super) fn promising(&self) -> Promising<'_> {
        // There is nothing in it that a panic could have left half done.
        let guard = self.0.promises.0.lock().unwrap_or_else(PoisonError::into_inner);
        Promising { leader: self, _guard: guard }
    }
}

impl Promising<'_> {
    /// Decides as the collection itself will, so long as nothing more is promised.
    pub(super) fn admit(
        &self,
        task: &ProvisionedTask,
        interval: Interval,
        facts: BatchFacts,
    ) -> Result<Admission, Problem> {
        let facts = BatchFacts { epoch_start: self.epoch_start(task)?, ..facts };
        let (result, unreadable) = self.with_spent(task, |spent| task.terms.admit(interval, facts, spent))?;
        refused(result, unreadable)
    }

    /// Whether the budget allows the batch of an interval, as things are.
    pub(super) fn afford(&self, task: &ProvisionedTask, interval: Interval) -> Result<(), Problem> {
        let epoch_start = self.epoch_start(task)?;
        let (result, unreadable) =
            self.with_spent(task, |spent| task.terms.afford(interval, epoch_start, spent))?;
        refused(result.map(|_| ()).map_err(Refusal::from), unreadable)
    }

    fn epoch_start(&self, task: &ProvisionedTask) -> Result<Option<u64>, StoreError> {
        self.leader.store().epoch_start(task.terms.budget_source())
    }

    fn with_spent<T>(
        &self,
        task: &ProvisionedTask,
        decide: impl FnOnce(&dyn Fn(Account<'_>, Epoch) -> u64) -> T,
    ) -> Result<(T, Option<StoreError>), Problem> {
        let promised = self.promised(task.terms.budget_source(), task.task.id())?;
        let unreadable = RefCell::new(None);
        let store = self.leader.store();
        let result = decide(&|account, epoch| {
            let (spent, promised) = match account {
                Account::Source(source) => (store.spent(source, epoch), promised.of_source.get(&epoch)),
                Account::Task(times) => {
                    (store.spent_by_task(task.task.id(), times), promised.of_task.get(&epoch))
                }
            };
            match spent {
                Ok(spent) => spent.saturating_add(promised.copied().unwrap_or(0)),
                Err(error) => {
                    *unreadable.borrow_mut() = Some(error);
                    u64::MAX
                }
            }
        });
        Ok((result, unreadable.into_inner()))
    }

    /// What collections that ask the helper will be charged.
    fn promised(&self, source: &BudgetSource, own: TaskId) -> Result<Promised, Problem> {
        let mut promised = Promised::default();
        let tasks = self.leader.parts().registry.all();
        for task in tasks.iter().filter(|task| task.terms.budget_source() == source) {
            let id = task.task.id();
            for interval in self.asked_for(task, id)? {
                for charge in task.terms.charges(interval).map_err(|error| ledger_problem(&error))? {
                    add(&mut promised.of_source, &charge);
                    if id == own {
                        add(&mut promised.of_task, &charge);
                    }
                }
            }
        }
        Ok(promised)
    }

    /// The windows of a task that the helper is being asked for and that are not charged yet.
    fn asked_for(&self, task: &ProvisionedTask, id: TaskId) -> Result<Vec<Interval>, StoreError> {
        let store = self.leader.store();
        let mut windows = Vec::new();
        for job in store.open_collections(id)? {
            if matches!(job.state, CollectionState::AskingHelper { .. })
                && !store.summarize(&task.task, job.interval)?.1
            {
                windows.push(job.interval);
            }
        }
        Ok(windows)
    }
}

/// Micro-epsilon by epoch, of all tasks of a budget source and of the one that asks.
#[derive(Default)]
struct Promised {
    of_source: HashMap<Epoch, u64>,
    of_task: HashMap<Epoch, u64>,
}

fn add(sums: &mut HashMap<Epoch, u64>, charge: &Charge) {
    let sum = sums.entry(charge.epoch).or_default();
    *sum = sum.saturating_add(charge.micro_epsilon);
}

/// A ledger that cannot be read decides nothing.
fn refused<T>(result: Result<T, Refusal>, unreadable: Option<StoreError>) -> Result<T, Problem> {
    match (unreadable, result) {
        (Some(error), _) => Err(error.into()),
        (None, Err(Refusal::Ledger(error))) => Err(ledger_problem(&error)),
        (None, result) => result.map_err(|refusal| CollectRefusal::Refused(refusal).into()),
    }
}

/// Says who refuses: of the two aggregators, each with a ledger and caps of its own, only one can be helped by its
/// operator.
fn ledger_problem(error: &LedgerError) -> Problem {
    Problem::ledger(error, format!("the leader refuses: {error}"))
}
