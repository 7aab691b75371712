//! What an operator wants to know of the aggregators' stores.

use super::collections::Row;
use super::helper::HelperDisk;
use super::keys::{self, Kind};
use super::leader::{LeaderDisk, LeaderTask};
use super::uploads::key_of;
use crate::store::{StoreError, Usage, Waiting};

impl LeaderDisk {
    /// Why uploads would be refused now, whoever sends them.
    ///
    /// # Errors
    /// `InDoubt` if memory and disk may disagree, `Full` if there is no room.
    pub fn check(&self) -> Result<(), StoreError> {
        self.core.usable()?;
        self.core.state.check()?;
        self.reports.quota.check()?;
        self.core.entries().iter().try_for_each(|entry| entry.part.reports.check())
    }

    /// What the reports that wait occupy.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let quota = &self.reports.quota;
        Ok(Usage { bytes: quota.used(), max_bytes: quota.max(), free_bytes: self.core.state.free_bytes()? })
    }

    /// What waits, task by task; reads one report of each.
    pub fn waiting(&self) -> Result<Vec<(arras_protocol::messages::TaskId, Waiting)>, StoreError> {
        self.core.usable()?;
        self.core.entries().iter().map(|entry| Ok((entry.id, self.waiting_of(entry)?))).collect()
    }

    fn waiting_of(&self, entry: &LeaderTask) -> Result<Waiting, StoreError> {
        let (mut waiting, head) = {
            let memory = entry.memory();
            let queue = &memory.queue;
            let in_jobs = queue.jobs.values().flat_map(|job| &job.reports).map(|(key, _)| key.time);
            let put_back = queue.put_back.first().map(|(time, _)| *time);
            let oldest = in_jobs.chain(put_back).min();
            (
                Waiting { reports: queue.backlog(), jobs: queue.jobs.len(), oldest, ..Waiting::default() },
                queue.head,
            )
        };
        // Without the lock: the head may be worked off meanwhile, and its segment gone.
        if let Some(Ok((_, encoded))) = entry.part.reports.read_range(head, entry.part.reports.end()).next() {
            let time = key_of(&encoded).map(|key| key.time);
            waiting.oldest = waiting.oldest.into_iter().chain(time).min();
        }
        self.core.rows(&keys::of_task(Kind::Collection, entry.id), None, |_, value| {
            let row = Row::decode(value).ok_or_else(|| self.core.malformed())?;
            waiting.draining += usize::from(row.is_draining());
            waiting.asking += usize::from(row.is_open() && !row.is_draining());
            Ok(true)
        })?;
        Ok(waiting)
    }
}

impl HelperDisk {
    /// Why aggregation jobs would be refused now, whatever is in them.
    ///
    /// # Errors
    /// `InDoubt` if memory and disk may disagree, `Full` if there is no room.
    pub fn check(&self) -> Result<(), StoreError> {
        self.core.usable()?;
        self.core.state.check()?;
        self.responses.records.check()
    }

    /// What the responses that are kept occupy.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let (bytes, max_bytes) = self.responses.records.bytes();
        Ok(Usage { bytes, max_bytes, free_bytes: self.core.state.free_bytes()? })
    }

    /// How many responses are kept, of all tasks.
    pub fn responses_kept(&self) -> usize {
        self.responses.records.len()
    }
}
