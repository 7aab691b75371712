//! Which reports of a task are known, and which of its windows are collected: in memory.
//!
//! A set on disk would cost a random read or two for every report that is new, which is nearly every
//! one. In memory it costs some 40 bytes a report that may still count: the ids of a window are dropped when it is
//! collected, since from then on the window refuses the report. On disk the ids are lists, written with the job
//! that counted them and only read when the store is opened.
//!
//! An id is known whatever time a report carries with it: two reports of one id and different times are two
//! copies to DAP (section 4.5.4.3), and a job that held both would be refused as a whole.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use arras_protocol::messages::{Interval, ReportId, Time};

use super::keys::SourceKey;
use crate::store::{ReportKey, RequestKey};

/// Where a known report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// In the queue, or put back.
    Queued,
    /// In a job that is open.
    InJob,
    /// In a bucket.
    Counted,
}

/// A window that was collected; nothing can be added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Collected {
    pub(super) interval: Interval,
    /// For which request.
    pub(super) key: RequestKey,
    /// Whether its answer is kept; its buckets are gone then.
    pub(super) finished: bool,
    /// How often it was taken up again before it was finished.
    pub(super) resumed: u32,
    /// What each epoch was charged for it, in micro-epsilon.
    pub(super) paid: u64,
    /// Whose budget was charged.
    pub(super) source: SourceKey,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Ids are chosen by clients: the map's keyed hash keeps them from colliding on purpose.
    reports: HashMap<ReportId, (Time, Stage)>,
    /// By start; they do not overlap.
    collected: BTreeMap<Time, Collected>,
}

impl Seen {
    pub(super) fn stage(&self, key: &ReportKey) -> Option<Stage> {
        self.reports.get(&key.report_id).map(|(_, stage)| *stage)
    }

    /// Whether this very report, not one of its id with another time, waits in the queue.
    pub(super) fn is_queued(&self, key: &ReportKey) -> bool {
        self.reports.get(&key.report_id) == Some(&(key.time, Stage::Queued))
    }

    pub(super) fn set(&mut self, key: &ReportKey, stage: Stage) {
        if !self.is_collected(key.time) {
            self.reports.insert(key.report_id, (key.time, stage));
        }
    }

    /// For a report that counts nowhere and is kept nowhere.
    pub(super) fn forget(&mut self, key: &ReportKey) {
        if self.reports.get(&key.report_id).is_some_and(|(time, _)| *time == key.time) {
            self.reports.remove(&key.report_id);
        }
    }

    pub(super) fn is_collected(&self, time: Time) -> bool {
        self.window_of(time).is_some()
    }

    fn window_of(&self, time: Time) -> Option<&Collected> {
        let (_, window) = self.collected.range(..=time).next_back()?;
        window.interval.contains(time).then_some(window)
    }

    /// The collected windows that share a time with an interval.
    pub(super) fn collected_in(&self, interval: Interval) -> Vec<Collected> {
        // The one that starts before it may reach into it.
        let first = self.collected.range(..=interval.start()).next_back().map(|(start, _)| *start);
        let from = first.unwrap_or(interval.start());
        let candidates = self.collected.range(from..).map(|(_, window)| *window);
        candidates
            .take_while(|window| window.interval.start() < interval.end())
            .filter(|window| window.interval.overlaps(interval))
            .collect()
    }

    /// What the windows that share a time with `times` (end excluded) were charged, each once, in micro-epsilon.
    pub(super) fn paid_in(&self, times: &Range<Time>) -> u64 {
        // They do not overlap, so the first one backwards that ends before the beginning is the last to look at.
        let windows = self.collected.range(..times.end).rev().map(|(_, window)| window);
        let windows = windows.take_while(|window| window.interval.end() > times.start);
        windows.fold(0, |sum: u64, window| sum.saturating_add(window.paid))
    }

    /// Whether every time from one up to another (included) is in a finished window.
    pub(super) fn all_finished(&self, first: Time, last: Time) -> bool {
        let mut time = first;
        while time <= last {
            match self.window_of(time) {
                Some(window) if window.finished => time = window.interval.end(),
                _ => return false,
            }
        }
        true
    }

    pub(super) fn collected_for(&self, key: &RequestKey) -> Option<Collected> {
        self.collected.values().find(|window| window.key == *key).copied()
    }

    pub(super) fn finished(&self) -> Vec<Interval> {
        self.collected.values().filter(|window| window.finished).map(|window| window.interval).collect()
    }

    /// Enters a collected window, or what has changed of it, and drops the ids in it.
    pub(super) fn mark(&mut self, window: Collected) {
        self.collected.insert(window.interval.start(), window);
        self.reports.retain(|_, (time, _)| !window.interval.contains(*time));
    }
}
