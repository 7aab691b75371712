//! What the leader has promised: it asks the helper, which charges its own ledger, only for what it can pay for itself
//! afterwards. Else a budget that two tasks share could be promised to both, and the helper would have charged and
//! closed a window that the leader has to refuse.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arras_protocol::epsilon::DisplayMicro;
use arras_protocol::messages::{CollectionJobId, Interval, TaskId};

use crate::aggregator::ProvisionedTask;
use crate::aggregator::api::Problem;
use crate::aggregator::leader::Leader;
use crate::net::problem::OwnError;
use crate::privacy::gate::{Admission, BatchFacts, Refusal};
use crate::privacy::ledger::{Account, BudgetSource, Charge, Epoch, LedgerError};
use crate::store::{CollectRefusal, CollectionState, StoreError};
use crate::text::utc;

/// After how many seconds to ask again for what is promised to others: they wait for the helper, which is asked again
/// after some seconds itself.
const PROMISED_RETRY_AFTER: u32 = 10;

/// By budget source, so that one collector's asking holds up nobody else's. The outer lock is held for moments.
#[derive(Debug, Default)]
pub(super) struct Promises(Mutex<HashMap<BudgetSource, Arc<Mutex<Book>>>>);

/// What is promised of a source: for each collection that asks the helper, what it will be charged. Locked from the
/// decision to ask until that is durable, and while a batch is charged: what is promised and what is spent do not change
/// while they are added up. A picture of the store, which a task enters when it is first looked at.
#[derive(Debug, Default)]
struct Book(HashMap<TaskId, HashMap<CollectionJobId, Vec<Charge>>>);

/// The right to promise, while it is there.
pub(super) struct Promising<'a> {
    leader: &'a Leader,
    book: &'a mut Book,
}

impl Leader {
    /// Decides on a task's budget source, and acts on it, with nobody else doing so meanwhile.
    pub(super) fn promising<T>(
        &self,
        task: &ProvisionedTask,
        act: impl FnOnce(&mut Promising<'_>) -> T,
    ) -> T {
        let book = {
            let mut books = self.0.promises.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(books.entry(task.terms.budget_source().clone()).or_default())
        };
        let mut book = book.lock().unwrap_or_else(|poisoned| {
            // Something may be durable that is not entered: it is read again.
            let mut book = poisoned.into_inner();
            book.0.clear();
            book
        });
        act(&mut Promising { leader: self, book: &mut book })
    }
}

impl Promising<'_> {
    /// Decides as the collection itself will, so long as nothing more is promised.
    pub(super) fn admit(
        &mut self,
        task: &ProvisionedTask,
        interval: Interval,
        facts: BatchFacts,
    ) -> Result<Admission, Problem> {
        let facts = BatchFacts { epoch_start: self.epoch_start(task)?, ..facts };
        self.decide(task, |spent| task.terms.admit(interval, facts, spent))
    }

    /// Whether the budget allows the batch of an interval, as things are.
    pub(super) fn afford(&mut self, task: &ProvisionedTask, interval: Interval) -> Result<(), Problem> {
        let epoch_start = self.epoch_start(task)?;
        self.decide(task, |spent| Ok(task.terms.afford(interval, epoch_start, spent).map(drop)?))
    }

    /// Enters what a collection was promised, once that it asks the helper is durable.
    pub(super) fn promise(&mut self, task: TaskId, job: CollectionJobId, admission: &Admission) {
        self.book.0.entry(task).or_default().insert(job, admission.charges().to_vec());
    }

    /// For a collection that was charged, or that ended without: it is promised nothing any more.
    pub(super) fn forget(&mut self, task: TaskId, job: CollectionJobId) {
        self.book.0.entry(task).or_default().remove(&job);
    }

    fn epoch_start(&self, task: &ProvisionedTask) -> Result<Option<u64>, StoreError> {
        self.leader.store().epoch_start(task.terms.budget_source())
    }

    /// Counts what is promised as spent. If that alone is in the way, the answer is another one: it may come free again.
    fn decide<T>(
        &mut self,
        task: &ProvisionedTask,
        decide: impl Fn(&dyn Fn(Account<'_>, Epoch) -> u64) -> Result<T, Refusal>,
    ) -> Result<T, Problem> {
        self.enter(task.terms.budget_source())?;
        let (id, store) = (task.task.id(), self.leader.store());
        let unreadable = RefCell::new(None);
        let spent = |account: &Account<'_>, epoch| {
            let spent = match account {
                Account::Source(source) => store.spent(source, epoch),
                Account::Task(times) => store.spent_by_task(id, times.clone()),
            };
            // A ledger that cannot be read decides nothing.
            spent.unwrap_or_else(|error| {
                *unreadable.borrow_mut() = Some(error);
                u64::MAX
            })
        };
        let promised = decide(&|account, epoch| {
            let only = matches!(account, Account::Task(_)).then_some(id);
            spent(&account, epoch).saturating_add(self.book.promised(only, epoch))
        });
        let result = match promised {
            Err(Refusal::Ledger(error)) => match decide(&|account, epoch| spent(&account, epoch)) {
                Ok(_) => Err(promised_problem(&error)),
                Err(Refusal::Ledger(error)) => Err(ledger_problem(&error)),
                Err(refusal) => Err(CollectRefusal::Refused(refusal).into()),
            },
            result => result.map_err(|refusal| CollectRefusal::Refused(refusal).into()),
        };
        unreadable.into_inner().map_or(result, |error| Err(error.into()))
    }

    /// Reads what tasks of the source were promised before this process began.
    fn enter(&mut self, source: &BudgetSource) -> Result<(), StoreError> {
        for task in self.leader.parts().tasks.all() {
            let id = task.task.id();
            if task.terms.budget_source() == source && !self.book.0.contains_key(&id) {
                let promised = self.asked_for(&task, id)?;
                self.book.0.insert(id, promised);
            }
        }
        Ok(())
    }

    /// The collections of a task that ask the helper and are not charged yet.
    fn asked_for(
        &self,
        task: &ProvisionedTask,
        id: TaskId,
    ) -> Result<HashMap<CollectionJobId, Vec<Charge>>, StoreError> {
        let store = self.leader.store();
        let mut promised = HashMap::new();
        for job in store.open_collections(id)? {
            if !matches!(job.state, CollectionState::AskingHelper { .. })
                || store.summarize(&task.task, job.interval)?.1
            {
                continue;
            }
            match task.terms.charges(job.interval) {
                Ok(charges) => drop(promised.insert(job.id, charges)),
                // The operator moved the epochs since; it is no reason to refuse others.
                Err(error) => {
                    tracing::warn!(%error, task = %id, "a collection that is under way cannot be charged");
                }
            }
        }
        Ok(promised)
    }
}

impl Book {
    /// Micro-epsilon that is promised of an epoch: to one task, or to all.
    fn promised(&self, only: Option<TaskId>, epoch: Epoch) -> u64 {
        let tasks = self.0.iter().filter(|(task, _)| only.is_none_or(|only| **task == only));
        let charges = tasks.flat_map(|(_, jobs)| jobs.values().flatten());
        charges
            .filter(|charge| charge.epoch == epoch)
            .fold(0, |sum, charge| sum.saturating_add(charge.micro_epsilon))
    }
}

/// Says who refuses: of the two aggregators, each with a ledger and caps of its own, only one can be helped by its
/// operator.
fn ledger_problem(error: &LedgerError) -> Problem {
    Problem::ledger(error, format!("the leader refuses: {error}"))
}

/// For what would fit if collections that are under way did not need it.
fn promised_problem(error: &LedgerError) -> Problem {
    let (LedgerError::Spent { asked, left, epoch_start, source, .. }
    | LedgerError::TaskSpent { asked, left, epoch_start, source, .. }) = error
    else {
        return ledger_problem(error);
    };
    let detail = format!(
        "the leader refuses for now: this release asks for {} epsilon of budget source {source} in the week from {}, and \
         all but {} of what is left there is promised to collections that are under way; ask again when they are done",
        DisplayMicro(*asked),
        utc(*epoch_start),
        DisplayMicro(*left)
    );
    Problem::own(OwnError::Overloaded, detail).retry_after(PROMISED_RETRY_AFTER)
}
