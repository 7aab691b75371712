//! How far a task's reports reach: keeping it, and giving back the space of those that are not needed any more.

use super::leader::{LeaderDisk, LeaderTask};
use super::queue::put_queue;
use super::records::delete_before;
use crate::store::{Position, StateBatch, StoreError};

/// A segment of which everything was worked off is sealed from this size on: below, a new file would cost
/// more than the space is worth.
const SEAL_BYTES: u32 = 1 << 20;

impl LeaderDisk {
    /// Deletes segments in which no report is needed, after a change that is done: whatever fails here is tried
    /// again after the next one. The caller has the turn.
    pub(super) fn trim(&self, entry: &LeaderTask) {
        self.trim_from(entry, SEAL_BYTES);
    }

    /// After an upload found no room: what was worked off lets go of it, however little it is. Else it could fill the
    /// limit, and while nothing is taken in nothing would be trimmed.
    pub(super) fn make_room(&self) {
        for entry in self.core.entries() {
            let _turn = entry.turn();
            self.trim_from(&entry, 0);
        }
    }

    fn trim_from(&self, entry: &LeaderTask, seal_bytes: u32) {
        if let Err(error) = self.leave_worked_off(entry, seal_bytes) {
            tracing::warn!(%error, "the space of reports that were worked off cannot be given back");
        }
        let (head, start) = (entry.memory().queue.head, entry.part.reports.start());
        if head.segment() > start.segment() {
            let first_needed = entry.memory().queue.first_needed();
            // Never the head's own segment: that it is there shows at opening that the spool is the right one.
            delete_before(&entry.part.reports, first_needed.min(beginning_of(head.segment())));
            entry.part.account();
        }
    }

    /// When all reports were taken, moves the head on to a new segment, from a size on: a limit could be filled by what
    /// is not needed any more, and then nothing would come that lets it go.
    fn leave_worked_off(&self, entry: &LeaderTask, seal_bytes: u32) -> Result<(), StoreError> {
        let (head, next_job) = {
            let memory = entry.memory();
            (memory.queue.head, memory.queue.next_job)
        };
        let spool = &entry.part.reports;
        if head < spool.end() || head.offset() < seal_bytes {
            return Ok(());
        }
        spool.seal(seal_bytes)?;
        let mut reader = spool.read_range(head, spool.end());
        // A report may have come before the segment was sealed, or since.
        if reader.next().is_some() || reader.position() <= head {
            return Ok(());
        }
        let next = reader.position();
        let mut batch = StateBatch::default();
        let end = spool.end();
        put_queue(&mut batch, entry.id, next, next_job, end)?;
        let _ = self.core.commit(batch)?;
        let mut memory = entry.memory();
        (memory.queue.head, memory.queue.noted) = (next, end);
        Ok(())
    }

    /// As in the trait.
    pub(super) fn note_ends(&self) -> Result<(), StoreError> {
        self.core.usable()?;
        for entry in self.core.entries() {
            let _turn = entry.turn();
            let end = entry.part.reports.end();
            let (head, next_job, noted) = {
                let queue = &entry.memory().queue;
                (queue.head, queue.next_job, queue.noted)
            };
            if end > noted {
                let mut batch = StateBatch::default();
                put_queue(&mut batch, entry.id, head, next_job, end)?;
                let _ = self.core.commit(batch)?;
                entry.memory().queue.noted = end;
            }
        }
        Ok(())
    }
}

/// Before every record of a segment.
fn beginning_of(segment: u32) -> Position {
    Position::from_bytes((u64::from(segment) << 32).to_be_bytes())
}
