//! What the schedule asks of a collector: to collect a window, and which it has collected.

use std::ops::Range;

use arras_protocol::messages::{TaskId, TimePrecision};

use crate::collector::errors::CollectError;
use crate::collector::span::Span;
use crate::collector::store::Stage;
use crate::collector::{Collector, PAGE};
use crate::store::StoreError;

impl Collector {
    /// Collects a window as [`Collector::collect`] does, and returns the number of its release; `tell` hears what is in the way
    /// while it goes on trying. May be dropped at any point, as that.
    pub(crate) async fn collect_scheduled(
        &self,
        task: TaskId,
        window: Span,
        tell: &(dyn Fn(String) + Send + Sync),
    ) -> Result<u64, CollectError> {
        let published = self.collect_telling(task, window, tell).await?;
        Ok(published.release().sequence)
    }

    /// Whether a window of a task was ever released: the proof that both aggregators take part in it. Blocks.
    pub(crate) fn has_released(&self, task: TaskId) -> Result<bool, StoreError> {
        let mut after = 0;
        loop {
            let page = self.store().collections(task, after, PAGE)?;
            if page.iter().any(|collection| matches!(collection.stage, Stage::Released { .. })) {
                return Ok(true);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.interval.end().0,
                _ => return Ok(false),
            }
        }
    }

    /// The windows of a task that are under way or released and share a time with a range of POSIX seconds, in order. Blocks.
    pub(crate) fn windows_within(
        &self,
        task: TaskId,
        precision: TimePrecision,
        range: &Range<u64>,
    ) -> Result<Vec<(Span, Stage)>, StoreError> {
        let mut found = Vec::new();
        let mut after = precision.truncate(range.start).0;
        loop {
            let page = self.store().collections(task, after, PAGE)?;
            let full = page.len() == PAGE;
            for collection in page {
                after = collection.interval.end().0;
                // What is kept was a span before.
                let Some(window) = Span::of(collection.interval, precision) else { continue };
                if window.from().seconds() >= range.end {
                    return Ok(found);
                }
                found.push((window, collection.stage));
            }
            if !full {
                return Ok(found);
            }
        }
    }
}
