//! What of a range no window covers, and why, as far as that is known.

use arras_protocol::messages::{TaskId, TimePrecision};

use super::{FAILURES_MAX, Gap, GapReason};
use crate::collector::Collector;
use crate::collector::errors::CollectError;
use crate::collector::span::{Moment, Span, SpanError};
use crate::collector::store::Stage;

/// What is known of time that was not collected.
pub(super) struct Uncollected {
    /// When somebody tried, in order and apart.
    failed: Vec<Span>,
    /// The first attempt in the range, and what came of it; for the administrator, never for a document.
    first: Option<(Span, String)>,
    /// What ends later is not over.
    over: Moment,
}

impl Uncollected {
    /// Reads the failures once, however many gaps there are.
    pub(super) fn read(
        collector: &Collector,
        id: TaskId,
        precision: TimePrecision,
        range: Span,
    ) -> Result<Self, CollectError> {
        let now = collector.now();
        let mut failures = Vec::new();
        for failure in collector.store().failures(id, FAILURES_MAX)? {
            let Stage::Failed { reason } = failure.stage else { continue };
            // What is kept was a span before.
            let Some(span) = Span::of(failure.interval, precision) else { continue };
            if span.from() < range.to() && range.from() < span.to() {
                failures.push((span, reason));
            }
        }
        failures.sort_unstable_by_key(|(span, _)| span.from());
        Ok(Self {
            failed: united(failures.iter().map(|(span, _)| *span))?,
            first: failures.into_iter().next(),
            // Whole steps: the same question has the same answer while a step lasts.
            over: Moment::from_seconds(now.seconds() - now.seconds() % precision.seconds().max(1))
                .unwrap_or(now),
        })
    }

    /// The parts of a time that no window covers. An attempt gives its reason to what it asked for and to nothing beside.
    pub(super) fn parts(&self, from: Moment, to: Moment) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut push = |from, to, why| {
            // Between two attempts that touch there is nothing.
            if let Ok(span) = Span::new(from, to) {
                gaps.push(Gap { span, why, release: None });
            }
        };
        let end = to.min(self.over);
        let mut at = from;
        let first = self.failed.partition_point(|span| span.to() <= from);
        for span in self.failed[first..].iter().take_while(|span| span.from() < end) {
            push(at, span.from(), GapReason::NotCollected);
            at = span.to().min(end);
            push(span.from().max(from), at, GapReason::Failed);
        }
        push(at, end, GapReason::NotCollected);
        push(from.max(self.over), to, GapReason::NotOver);
        gaps
    }

    /// What an attempt at this gap came to.
    pub(super) fn reason(&self, gap: &Gap) -> Option<&str> {
        let (span, reason) = self.first.as_ref().filter(|_| gap.why == GapReason::Failed)?;
        (span.from() < gap.span.to() && gap.span.from() < span.to()).then_some(reason)
    }
}

/// Spans in the order of their beginnings as spans that neither overlap nor touch.
fn united(spans: impl Iterator<Item = Span>) -> Result<Vec<Span>, SpanError> {
    let mut all: Vec<Span> = Vec::new();
    for span in spans {
        match all.last_mut() {
            Some(last) if span.from() <= last.to() => {
                *last = Span::new(last.from(), last.to().max(span.to()))?;
            }
            _ => all.push(span),
        }
    }
    Ok(all)
}
