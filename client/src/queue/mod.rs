//! Reports that wait to be uploaded: on disk, bounded, sent late, in batches, again and again, each under one id.
//!
//! The queue does no network and reads no clock: whoever has an HTTP stack asks for the next request, sends it, and says
//! what came of it. `upload::Courier` (feature `upload`) is one that does.
//!
//! A report is in the queue when [`Queue::push`] has returned, and stays until the leader has answered for it. What
//! is sent is what was kept, byte for byte, so a leader that has it already says `report_replayed`, and that means that it
//! arrived. A crash at any point leads to sending twice at worst, never to two ids.

mod answer;
mod entry;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use arras_protocol::codec::Encode as _;
use arras_protocol::messages::{Report, ReportId, TaskId, Url};
use rand::{CryptoRng, RngExt as _};

pub use answer::HttpAnswer;
#[cfg(feature = "upload")]
pub(crate) use answer::{refused_reports, seconds};
pub use request::{Outcome, SendFailure, UploadRequest, resource};

use crate::files::Files;
use entry::Entry;

/// Most reports that wait. A device makes a few a week; so many wait only if its leader cannot be reached for years.
pub const QUEUE_REPORTS_MAX: usize = 1_000;

/// Most bytes that wait: 16 MiB, what a phone does not miss. A report has 1 to 20 kB.
pub const QUEUE_BYTES_MAX: u64 = 16 << 20;

/// The longest that a report waits before it is sent the first time, in seconds: an hour, so that the moment of the upload
/// is not that of the conversion. Together with the time in the report, which is rounded down, it still narrows it: a
/// report of this hour that comes two minutes after its begin was made in those.
pub const JITTER_SECONDS: u64 = 3_600;

/// The first pause after a failure, in seconds; it doubles with each, and each is shortened by chance.
pub const RETRY_FIRST_SECONDS: u64 = 30;

/// The longest pause, in seconds: 6 hours. A leader that is down gets some fifteen requests for each task of a device on the
/// first day, and four to eight a day from then on; pauses are not kept, so an app that is started anew tries at once.
pub const RETRY_MAX_SECONDS: u64 = 6 * 3_600;

/// The longest pause that a leader can ask for, in seconds: a day.
pub const RETRY_AFTER_MAX_SECONDS: u64 = 24 * 3_600;

/// After this a report is given up by [`Queue::expire`], and gives way to a new one if the queue is full, in seconds: 28
/// days. A leader takes none that is older than 30.
pub const KEEP_SECONDS: u64 = 28 * 24 * 3_600;

/// Reports in one request. More than one saves requests, and tells the leader that they are of one device; behind a relay
/// that hides the address, 1 tells it nothing.
pub const REPORTS_PER_REQUEST: usize = 20;

/// Most bytes of one request: 1 MiB.
pub const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// How much waits, and for how long. See the constants for the defaults and their reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRules {
    /// Most reports; at least 1. [`QUEUE_REPORTS_MAX`].
    pub reports_max: usize,
    /// Most bytes. [`QUEUE_BYTES_MAX`].
    pub bytes_max: u64,
    /// Longest wait before the first attempt. [`JITTER_SECONDS`].
    pub jitter_seconds: u64,
    /// Most reports in one request; at least 1. [`REPORTS_PER_REQUEST`].
    pub reports_per_request: usize,
}

impl Default for QueueRules {
    fn default() -> Self {
        Self {
            reports_max: QUEUE_REPORTS_MAX,
            bytes_max: QUEUE_BYTES_MAX,
            jitter_seconds: JITTER_SECONDS,
            reports_per_request: REPORTS_PER_REQUEST,
        }
    }
}

/// Why a report is not in the queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// It holds as much as it may.
    #[error("{reports} reports of {bytes} bytes wait to be uploaded; wait until the leader can be reached")]
    Full {
        /// How many.
        reports: usize,
        /// How large together.
        bytes: u64,
    },
    /// Reports of a task have one size, whatever is in them; this one has another, and would tell something.
    #[error(
        "reports of this task have {expected} bytes, this one has {found}; make it with the task's `ReportMaker`"
    )]
    Size {
        /// That of the others.
        expected: u64,
        /// This one's.
        found: u64,
    },
    /// The disk.
    #[error("the queue of reports cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// A report in memory: all but its bytes.
#[derive(Clone, Debug)]
struct Waiting {
    task: TaskId,
    leader: Url,
    report_id: ReportId,
    size: u64,
    made: u64,
    not_before: u64,
    attempts: u32,
    under_way: bool,
    /// Of this report alone: the leader says that it comes too early, or its file cannot be read now.
    pause: Pause,
    /// The leader does not have the key that it was sealed to. It is not sent again as it is.
    outdated: bool,
}

/// When a task's leader may be asked again.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    until: u64,
    /// The longest that it may last, by which a clock that was set back is noticed.
    longest: u64,
    failures: u32,
}

impl Pause {
    /// Makes it a pause that doubles with each failure, of which chance takes up to a half, so that devices that failed at one
    /// moment do not come back at one moment. Nor do those that a leader asked to wait: they wait somewhat longer, by
    /// chance, or one that is told another time than others could be known by when it is back.
    fn lengthen(&mut self, rng: &mut impl CryptoRng, asked: Option<u64>, now: u64) {
        let longest = self.next_seconds();
        let wait = match asked.map(|asked| asked.min(RETRY_AFTER_MAX_SECONDS)) {
            Some(asked) if asked > 0 => asked + rng.random_range(0..=longest.max(asked / 4)),
            _ => rng.random_range(longest / 2..=longest),
        };
        self.last(wait, now);
    }

    /// How long the next one lasts at most.
    fn next_seconds(&self) -> u64 {
        let doubled = RETRY_FIRST_SECONDS.checked_shl(self.failures).unwrap_or(RETRY_MAX_SECONDS);
        doubled.min(RETRY_MAX_SECONDS)
    }

    fn last(&mut self, wait: u64, now: u64) {
        let failures = self.failures.saturating_add(1).min(32);
        *self = Self { until: now.saturating_add(wait), longest: wait, failures };
    }

    /// In how many seconds it is over.
    fn left(&self, now: u64) -> u64 {
        if self.over(now) { 0 } else { self.until - now }
    }

    /// Whether it is over. A pause that has longer to go than any pause lasts is one of another clock.
    fn over(&self, now: u64) -> bool {
        now >= self.until || self.until - now > self.longest
    }
}

/// The reports of one device that were not answered for yet.
pub struct Queue<F> {
    files: F,
    rules: QueueRules,
    /// By the number in their file's name, so in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    bytes: u64,
    /// By task; only those whose last request failed.
    pauses: BTreeMap<TaskId, Pause>,
    damaged: usize,
}

impl<F> std::fmt::Debug for Queue<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("reports", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl<F: Files> Queue<F> {
    /// Takes up what an earlier run left. A file that is no report is removed. One that cannot be read at all, or is of a
    /// later version of this crate, is left where it is, for a later start. Both are counted in [`Queue::damaged`]: one
    /// bad block must not keep all other reports from being sent.
    pub fn open(files: F, rules: QueueRules) -> io::Result<Self> {
        let mut queue = Self {
            files,
            rules,
            waiting: BTreeMap::new(),
            next: 0,
            bytes: 0,
            pauses: BTreeMap::new(),
            damaged: 0,
        };
        for name in queue.files.names()? {
            let Some(number) = entry::number(&name) else { continue };
            queue.next = queue.next.max(number.saturating_add(1));
            let bytes = match queue.files.read(&name) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(_) => {
                    queue.damaged += 1;
                    continue;
                }
            };
            match Entry::from_bytes(&bytes) {
                // A second file of one report would be sent after the first was answered for.
                Some(entry) if !queue.has(entry.report_id) => queue.insert(number, &entry),
                None if entry::is_newer(&bytes) => queue.damaged += 1,
                _ => {
                    queue.files.remove(&name)?;
                    queue.damaged += 1;
                }
            }
        }
        Ok(queue)
    }

    fn has(&self, id: ReportId) -> bool {
        self.waiting.values().any(|waiting| waiting.report_id == id)
    }

    fn insert(&mut self, number: u64, entry: &Entry<'_>) {
        let size = entry.report.len() as u64;
        self.bytes += size;
        self.waiting.insert(
            number,
            Waiting {
                task: entry.task,
                leader: entry.leader.clone(),
                report_id: entry.report_id,
                size,
                made: entry.made,
                not_before: entry.not_before,
                attempts: 0,
                under_way: false,
                pause: Pause::default(),
                outdated: false,
            },
        );
    }

    /// How many reports wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The bytes of the reports that wait.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files that could not be read when the queue was opened.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// The ids of the reports that wait, in the order in which they came.
    pub fn report_ids(&self) -> impl Iterator<Item = ReportId> {
        self.waiting.values().map(|waiting| waiting.report_id)
    }

    /// Those whose leader does not have the key that they were sealed to.
    pub fn outdated(&self) -> impl Iterator<Item = ReportId> {
        self.waiting.values().filter(|waiting| waiting.outdated).map(|waiting| waiting.report_id)
    }

    pub(crate) fn files(&self) -> &F {
        &self.files
    }

    pub(crate) fn files_mut(&mut self) -> &mut F {
        &mut self.files
    }

    /// Makes room for some reports of `size` bytes together by dropping those that no leader would take any more, and says which;
    /// call it before the budget for a report is spent.
    ///
    /// # Errors
    /// [`QueueError::Full`] if there is none.
    pub fn make_room(&mut self, reports: usize, size: u64, now: u64) -> Result<Vec<ReportId>, QueueError> {
        let mut dropped = Vec::new();
        while self.waiting.len() + reports > self.rules.reports_max
            || self.bytes + size > self.rules.bytes_max
        {
            let old = self
                .waiting
                .iter()
                .find(|(_, waiting)| !waiting.under_way && now.saturating_sub(waiting.made) > KEEP_SECONDS);
            let Some((&number, waiting)) = old else {
                return Err(QueueError::Full { reports: self.waiting.len(), bytes: self.bytes });
            };
            dropped.push(waiting.report_id);
            self.take_out(number)?;
        }
        Ok(dropped)
    }

    /// Gives up the reports that no leader would take any more, made by a clock that was more than [`KEEP_SECONDS`] off `now` in
    /// either direction, and says which. To be called once a day or so, by somebody who trusts the clock: what nobody takes
    /// is tried for ever otherwise.
    pub fn expire(&mut self, now: u64) -> io::Result<Vec<ReportId>> {
        let old = |waiting: &Waiting| !waiting.under_way && now.abs_diff(waiting.made) > KEEP_SECONDS;
        let over: Vec<_> = self.waiting.iter().filter(|(_, waiting)| old(waiting)).collect();
        let over: Vec<_> = over.into_iter().map(|(number, waiting)| (*number, waiting.report_id)).collect();
        over.iter().try_for_each(|(number, _)| self.take_out(*number))?;
        Ok(over.into_iter().map(|(_, id)| id).collect())
    }

    /// Keeps a report for the leader of its task. When this returns, it survives a crash.
    ///
    /// `made` is the POSIX second of the conversion; the report is first sent up to [`QueueRules::jitter_seconds`] later.
    pub fn push(
        &mut self,
        rng: &mut impl CryptoRng,
        task: TaskId,
        leader: &Url,
        report: &Report,
        made: u64,
    ) -> Result<(), QueueError> {
        let encoded = report.to_bytes();
        let found = encoded.len() as u64;
        let same = self.waiting.values().find(|waiting| waiting.task == task);
        if let Some(expected) = same.map(|waiting| waiting.size).filter(|size| *size != found) {
            return Err(QueueError::Size { expected, found });
        }
        self.make_room(1, found, made)?;
        let entry = Entry {
            task,
            leader: leader.clone(),
            report_id: report.metadata.report_id,
            made,
            not_before: made.saturating_add(rng.random_range(0..=self.rules.jitter_seconds)),
            report: &encoded,
        };
        let number = self.next;
        // Never used again, even if the write fails: it may have happened.
        self.next += 1;
        self.files.replace(&entry::name(number), &entry.to_bytes())?;
        self.insert(number, &entry);
        Ok(())
    }

    /// Puts a report that was made again under the same id in the place of one whose key was outdated. False if there is
    /// none of this id.
    pub fn replace(&mut self, report: &Report) -> Result<bool, QueueError> {
        let id = report.metadata.report_id;
        let Some((&number, waiting)) = self.waiting.iter_mut().find(|(_, waiting)| waiting.report_id == id)
        else {
            return Ok(false);
        };
        let encoded = report.to_bytes();
        if encoded.len() as u64 != waiting.size {
            return Err(QueueError::Size { expected: waiting.size, found: encoded.len() as u64 });
        }
        let entry = Entry {
            task: waiting.task,
            leader: waiting.leader.clone(),
            report_id: id,
            made: waiting.made,
            not_before: waiting.not_before,
            report: &encoded,
        };
        self.files.replace(&entry::name(number), &entry.to_bytes())?;
        waiting.outdated = false;
        Ok(true)
    }

    /// Forgets a report, sent or not.
    pub fn forget(&mut self, id: ReportId) -> io::Result<()> {
        let found = self.waiting.iter().find(|(_, waiting)| waiting.report_id == id);
        let number = found.map(|(number, _)| *number);
        number.map_or(Ok(()), |number| self.take_out(number))
    }

    /// Forgets every report, and removes the files of those that this queue does not know as well: one whose write failed may
    /// be there, and so may one that could not be read. The next start would send them.
    pub fn clear(&mut self) -> io::Result<()> {
        while let Some((&number, _)) = self.waiting.first_key_value() {
            self.take_out(number)?;
        }
        for number in self.files.names()?.iter().filter_map(|name| entry::number(name)) {
            self.take_out(number)?;
        }
        Ok(())
    }

    /// The file first: a report that is forgotten in memory alone would be back after a restart.
    fn take_out(&mut self, number: u64) -> io::Result<()> {
        self.files.remove(&entry::name(number))?;
        if let Some(waiting) = self.waiting.remove(&number) {
            self.bytes -= waiting.size;
        }
        Ok(())
    }
}
