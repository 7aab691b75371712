//! Collecting a batch: check, charge and mark in one commit; keep the answer in another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use arras_protocol::messages::{Interval, TaskId, Time};
use arras_protocol::task::Task;

use super::core::{Core, Entry, Memory, put_collected};
use super::keys::{self, Fields, Kind};
use super::seen::Collected;
use crate::privacy::gate::{BatchFacts, BigEnough, BudgetSpent, Refusal, Releasable, Terms};
use crate::privacy::ledger::{Account, BudgetSource, Charge, Epoch, LedgerError};
use crate::store::{BatchSummary, CollectRefusal, CollectedBatch, RequestKey, StateBatch, StoreError};

impl<M: Memory, P> Core<M, P> {
    pub(super) fn summarize(
        &self,
        task: TaskId,
        interval: Interval,
    ) -> Result<(BatchSummary, bool), StoreError> {
        let entry = self.entry(task)?;
        let _turn = entry.turn();
        let collected = entry.memory().seen().collected_in(interval);
        // The rows of a finished window are being deleted.
        let gone = |time| collected.iter().any(|window| window.finished && window.interval.contains(time));
        Ok((self.count(task, interval, gone)?, !collected.is_empty()))
    }

    pub(super) fn spent(&self, source: &BudgetSource, epoch: Epoch) -> Result<u64, StoreError> {
        match self.state.get(&keys::ledger(source, epoch))? {
            Some(value) => Fields(&value).u64().ok_or_else(|| self.malformed()),
            None => Ok(0),
        }
    }

    /// As in the trait.
    pub(super) fn spent_by_task(&self, task: TaskId, times: &Range<Time>) -> Result<u64, StoreError> {
        Ok(self.entry(task)?.memory().seen().paid_in(times))
    }

    pub(super) fn collect(
        &self,
        task: &Task,
        terms: &Terms,
        interval: Interval,
        key: RequestKey,
        expected: Option<(u64, [u8; 32])>,
    ) -> Result<CollectedBatch, CollectRefusal> {
        let entry = self.entry(task.id())?;
        let pinned = &entry.record().terms;
        if !pinned.same(&terms.pinned()) {
            return Err(Refusal::OtherTerms(pinned.clone()).into());
        }
        // No job can change a bucket, and nobody can finish the batch, until the sums are read.
        let _turn = entry.turn();
        let earlier = entry.memory().seen().collected_in(interval);
        let window = match earlier.as_slice() {
            [] => {
                let source = keys::source_key(terms.budget_source());
                Collected { interval, key, finished: false, resumed: 0, paid: 0, source }
            }
            [own] if own.key == key && own.interval == interval && !own.finished => {
                Collected { resumed: own.resumed.saturating_add(1), ..*own }
            }
            _ => return Err(CollectRefusal::Overlap),
        };
        let summary = self.count(task.id(), interval, |_| false)?;
        let charged_before = earlier.first().map(|own| own.paid);
        let facts = BatchFacts { report_count: summary.report_count, charged_before, epoch_start: None };
        let agrees = |report_count| match expected {
            Some((theirs, checksum)) if (theirs, checksum) != (report_count, summary.checksum) => {
                Err(CollectRefusal::Mismatch)
            }
            _ => Ok(()),
        };
        let (window, proofs) = self.admit(&entry, terms, window, facts, agrees)?;
        // Durable: the window takes nothing any more, whatever happens next.
        entry.memory().seen().mark(window);
        let sum = self.sum(task, interval)?;
        Ok(CollectedBatch {
            sum: Releasable::new(sum.share, proofs),
            report_count: sum.report_count,
            checksum: sum.checksum,
            // A batch that is big enough has reports, so it has an interval.
            interval: summary.interval.unwrap_or(interval),
        })
    }

    /// Reads the ledger, decides, and commits charges and mark, with all other commits waiting: budgets are
    /// shared by tasks.
    fn admit(
        &self,
        entry: &Entry<M, P>,
        terms: &Terms,
        window: Collected,
        facts: BatchFacts,
        agrees: impl FnOnce(u64) -> Result<(), CollectRefusal>,
    ) -> Result<(Collected, (BigEnough, BudgetSpent)), CollectRefusal> {
        let mut guard = self.state.lock();
        let facts = BatchFacts { epoch_start: self.epoch_start(terms.budget_source())?, ..facts };
        let unreadable = RefCell::new(None);
        let admitted = terms.admit(window.interval, facts, |account, epoch| match account {
            Account::Source(source) => self.spent(source, epoch).unwrap_or_else(|error| {
                *unreadable.borrow_mut() = Some(error);
                u64::MAX
            }),
            // The caller has the turn: no other window of the task is marked meanwhile.
            Account::Task(times) => entry.memory().seen().paid_in(&times),
        });
        if let Some(error) = unreadable.into_inner() {
            return Err(error.into());
        }
        // DAP-18 section 4.6.4: a batch that is too small is that first, whatever the peer counted.
        if let Err(refusal @ Refusal::TooFew { .. }) = admitted {
            return Err(refusal.into());
        }
        agrees(facts.report_count)?;
        let admission = admitted?;
        let mut batch = StateBatch::default();
        if !admission.charges().is_empty() {
            // With the first charge; the same afterwards, which the admission made sure of.
            let start = terms.rules().epoch_start.to_be_bytes();
            batch.insert(&keys::epochs(terms.budget_source()), &start)?;
        }
        self.put_charges(&mut batch, admission.charges())?;
        let window = Collected { paid: admission.paid(), ..window };
        put_collected(&mut batch, entry.id, &window)?;
        let receipt = self.commit_with(&mut guard, batch)?;
        Ok((window, admission.committed(receipt)))
    }

    /// When epoch 0 of a source started at its first charge.
    pub(super) fn epoch_start(&self, source: &BudgetSource) -> Result<Option<u64>, StoreError> {
        let kept = self.state.get(&keys::epochs(source))?;
        kept.map(|kept| Fields(&kept).u64().ok_or_else(|| self.malformed())).transpose()
    }

    fn put_charges(&self, batch: &mut StateBatch, charges: &[Charge]) -> Result<(), CollectRefusal> {
        let mut totals: BTreeMap<(&BudgetSource, Epoch), u64> = BTreeMap::new();
        for Charge { source, epoch, micro_epsilon } in charges {
            let so_far = match totals.get(&(source, *epoch)) {
                Some(total) => *total,
                None => self.spent(source, *epoch)?,
            };
            let total = so_far.checked_add(*micro_epsilon).ok_or_else(|| {
                Refusal::Ledger(LedgerError::Overflow { epoch: *epoch, r#source: source.clone() })
            })?;
            totals.insert((source, *epoch), total);
        }
        for ((source, epoch), total) in totals {
            let value = [&total.to_be_bytes(), source.as_str().as_bytes()].concat();
            batch.insert(&keys::ledger(source, epoch), &value)?;
        }
        Ok(())
    }

    /// As in the trait, with the window that is finished by it; none if it was before.
    pub(super) fn finish_collection(
        &self,
        task: TaskId,
        key: RequestKey,
        answer: &[u8],
    ) -> Result<(Vec<u8>, Option<Interval>), StoreError> {
        let entry = self.entry(task)?;
        let turn = entry.turn();
        if let Some(first) = self.collection_answer(task, key)? {
            return Ok((first, None));
        }
        let window = match entry.memory().seen().collected_for(&key) {
            Some(window) if !window.finished => Collected { finished: true, ..window },
            Some(_) => return Err(StoreError::Invalid("a second answer after the first one was deleted")),
            None => return Err(StoreError::Invalid("an answer to a batch that was not collected")),
        };
        let record = self.answers.append(&[answer])?;
        let mut batch = StateBatch::default();
        batch.insert(&keys::of_request(Kind::Answer, task, &key), &record.to_bytes())?;
        put_collected(&mut batch, task, &window)?;
        let _ = self.commit_with_record(batch, &self.answers, Some(record))?;
        entry.memory().seen().mark(window);
        drop(turn);
        // The answer is kept, whatever comes of this; the next start does what is left.
        if let Err(error) = self.purge(task, window.interval) {
            tracing::warn!(%error, "the buckets of a finished batch cannot be deleted");
        }
        Ok((answer.to_vec(), Some(window.interval)))
    }

    pub(super) fn collection_answer(
        &self,
        task: TaskId,
        key: RequestKey,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.usable()?;
        match self.state.get(&keys::of_request(Kind::Answer, task, &key))? {
            Some(value) => {
                let position = Fields(&value).position().ok_or_else(|| self.malformed())?;
                self.answers.read(position).map(Some)
            }
            None => Ok(None),
        }
    }
}
