//! Batch buckets and lists of report ids as rows.

use std::collections::BTreeMap;

use arras_protocol::messages::{ReportId, TaskId, Time};
use arras_protocol::task::Task;
use arras_protocol::vdaf::AggregateShare;
use arras_protocol::verification::BatchBucket;

use super::core::{Core, Memory};
use super::keys::{self, Fields, Kind};
use crate::store::{BatchSummary, JobSums, MAX_VALUE_BYTES, ReportKey, RequestKey, StateBatch, StoreError};
use arras_protocol::messages::{Duration, Interval};

/// Ids in one row: as many as a value holds, less one.
const IDS_PER_ROW: usize = MAX_VALUE_BYTES / ReportId::LEN - 1;

/// A count row: reports and checksum.
pub(super) fn decode_count(value: &[u8]) -> Option<(u64, [u8; 32])> {
    let mut fields = Fields(value);
    let count = (fields.u64()?, fields.array()?);
    fields.end().map(|()| count)
}

/// Checks that the sums of a job are of the reports that it names. A bucket whose count and ids disagree
/// would never agree with the peer's again.
pub(super) fn check_sums(sums: &JobSums) -> Result<(), StoreError> {
    let mut counts: BTreeMap<Time, u64> = BTreeMap::new();
    for report in &sums.reports {
        *counts.entry(report.time).or_default() += 1;
    }
    let buckets: BTreeMap<Time, u64> =
        sums.buckets.iter().map(|(time, bucket)| (*time, bucket.report_count)).collect();
    if buckets.len() == sums.buckets.len() && buckets == counts {
        Ok(())
    } else {
        Err(StoreError::Invalid("a job whose buckets do not have the reports that it names"))
    }
}

/// Writes the ids that a job counted.
pub(super) fn put_ids(
    batch: &mut StateBatch,
    task: TaskId,
    job: &RequestKey,
    reports: &[ReportKey],
) -> Result<(), StoreError> {
    let mut by_time: BTreeMap<Time, Vec<ReportId>> = BTreeMap::new();
    for report in reports {
        by_time.entry(report.time).or_default().push(report.report_id);
    }
    for (time, ids) in by_time {
        for (part, ids) in ids.chunks(IDS_PER_ROW).enumerate() {
            let part = u16::try_from(part).map_err(|_| StoreError::Invalid("a job of too many reports"))?;
            let row: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
            batch.insert(&keys::ids(task, time, job, part), &row)?;
        }
    }
    Ok(())
}

impl<M: Memory, P> Core<M, P> {
    /// Adds the sums of a job to the buckets as they are now. The caller has the task's turn, so they stay so
    /// until its commit.
    pub(super) fn add_sums(
        &self,
        batch: &mut StateBatch,
        task: &Task,
        sums: &[(Time, BatchBucket)],
    ) -> Result<(), StoreError> {
        for (time, sum) in sums {
            let mut bucket = self.bucket(task, *time)?.unwrap_or_else(|| BatchBucket::empty(task));
            bucket.merge(sum).map_err(StoreError::prepare)?;
            let count = [bucket.report_count.to_be_bytes().as_slice(), &bucket.checksum].concat();
            batch.insert(&keys::at_time(Kind::Count, task.id(), *time), &count)?;
            for (slice, bytes) in bucket.share.encode().chunks(MAX_VALUE_BYTES).enumerate() {
                let slice =
                    u16::try_from(slice).map_err(|_| StoreError::Invalid("a share of too many cells"))?;
                batch.insert(&keys::share_slice(task.id(), *time, slice), bytes)?;
            }
        }
        Ok(())
    }

    /// A bucket, if it has reports.
    pub(super) fn bucket(&self, task: &Task, time: Time) -> Result<Option<BatchBucket>, StoreError> {
        let Some(count) = self.state.get(&keys::at_time(Kind::Count, task.id(), time))? else {
            return Ok(None);
        };
        let (report_count, checksum) = decode_count(&count).ok_or_else(|| self.malformed())?;
        let mut encoded = Vec::new();
        let prefix = keys::at_time(Kind::Share, task.id(), time);
        self.rows(&prefix, None, |_, slice| {
            encoded.extend_from_slice(slice);
            Ok(true)
        })?;
        let share = AggregateShare::decode(task.vdaf().config(), &encoded).map_err(|_| self.malformed())?;
        Ok(Some(BatchBucket { share, report_count, checksum }))
    }

    /// The sum of all buckets of an interval.
    pub(super) fn sum(&self, task: &Task, interval: Interval) -> Result<BatchBucket, StoreError> {
        let mut times = Vec::new();
        self.rows_in(Kind::Count, task.id(), interval, |time, _, _| {
            times.push(time);
            Ok(true)
        })?;
        let mut total = BatchBucket::empty(task);
        for time in times {
            if let Some(bucket) = self.bucket(task, time)? {
                total.merge(&bucket).map_err(StoreError::prepare)?;
            }
        }
        Ok(total)
    }

    /// Counts and checksums of an interval. It may be astronomically long: only rows that exist are read.
    /// Times that are `gone` are left out.
    pub(super) fn count(
        &self,
        task: TaskId,
        interval: Interval,
        gone: impl Fn(Time) -> bool,
    ) -> Result<BatchSummary, StoreError> {
        let mut summary = BatchSummary { report_count: 0, checksum: [0; 32], interval: None };
        self.rows_in(Kind::Count, task, interval, |time, _, value| {
            if gone(time) {
                return Ok(true);
            }
            let (report_count, checksum) = decode_count(value).ok_or_else(|| self.malformed())?;
            summary.report_count = summary.report_count.saturating_add(report_count);
            summary.checksum.iter_mut().zip(checksum).for_each(|(byte, other)| *byte ^= other);
            // The time lies before the interval's end, so it has a successor.
            let one = Interval::new(time, Duration(1)).map_err(|_| self.malformed())?;
            summary.interval = Some(summary.interval.map_or(one, |interval| interval.hull(one)));
            Ok(true)
        })?;
        Ok(summary)
    }
}
