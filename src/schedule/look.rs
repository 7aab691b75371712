//! Where windows stand, and which are due: one reading of the calendar, the collector's releases and the rows, for those who look
//! and for the driver alike.

use std::ops::Range;
use std::sync::Arc;

use arras_protocol::messages::{TaskId, TimePrecision};

use super::calendar::{Calendar, STEP_SECONDS};
use super::judge::{RARE_ATTEMPTS_SECONDS, RARE_PAUSE_SECONDS};
use super::rows::{Kind, Row};
use super::state::{Measures, WindowState, WindowStatus};
use super::{Cursor, Live, Schedule, lock, running_key};
use crate::collector::{Span, Stage};
use crate::registry::{Advertiser, AdvertiserId, Generation};
use crate::store::StoreError;

/// For how long a window may be due, in seconds, before that is trouble for `/readyz`: 6 hours. Windows with too few reports and
/// those that a budget refuses are not meant.
pub const OVERDUE_SECONDS: u64 = 6 * 3_600;

/// For how long what is settled is passed over, in seconds: a day. Then it is looked at anew, since whoever runs the collector may
/// have collected conversions by hand that were given up, and their values follow.
pub const PASSED_OVER_SECONDS: u64 = 86_400;

/// From how far ahead of now a generation's beginning is trouble for `/readyz`, in seconds: an hour, more than clocks that are kept
/// differ by.
pub const AHEAD_SECONDS: u64 = 3_600;

/// Due windows of one task that a look lists; it is looked again whenever one of them has ended.
const DUE_MAX: usize = 8;

/// A window that is to be collected now.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) advertiser: AdvertiserId,
    pub(super) task: TaskId,
    pub(super) measures: Measures,
    pub(super) window: Span,
    /// The number of its tasks.
    pub(super) generation: u32,
    /// Attempts before.
    pub(super) attempts: u32,
}

/// What a look at an advertiser found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// What is due, oldest first for each task.
    pub(super) due: Vec<Due>,
    /// When something becomes due, in POSIX seconds, if anything will.
    pub(super) next: Option<u64>,
    /// Windows whose grace is over and which are not settled.
    pub(super) open: usize,
    /// Those that are overdue.
    pub(super) overdue: usize,
    /// Since when the oldest of them is due, and what is in its way.
    pub(super) oldest: Option<(u64, String)>,
    /// When tasks begin that were opened by a clock that was ahead, if any were.
    pub(super) ahead: Option<u64>,
}

/// A task of a generation.
#[derive(Clone, Copy)]
struct Line {
    task: TaskId,
    measures: Measures,
}

fn lines(generation: &Generation) -> impl Iterator<Item = Line> {
    let conversions = Line { task: generation.conversions, measures: Measures::Conversions };
    let value = generation.value.map(|value| Line { task: value.task, measures: Measures::Value });
    std::iter::once(conversions).chain(value)
}

/// When windows of a generation may hold reports: from when devices hear of it until the last manifest that names it has run out.
fn lifetime(generation: &Generation) -> Range<u64> {
    generation.opened..generation.life_end()
}

/// What is known of a window.
struct Known {
    window: Span,
    /// When it is over and late reports have had their time.
    ready: u64,
    stage: Option<Stage>,
    /// What came of attempts, as far as it counts.
    row: Option<Arc<Row>>,
}

/// What the driver has to do about a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing, for ever.
    Settled,
    /// An attempt, from then on.
    At(u64),
    /// Nothing before its conversions are released.
    Follows,
}

impl Known {
    fn is_released(&self) -> bool {
        matches!(self.stage, Some(Stage::Released { .. }))
    }

    /// `conversions` are those of the same window, if this one is of values.
    fn step(&self, conversions: Option<&Self>, now: u64) -> Step {
        match &self.stage {
            Some(Stage::Released { .. }) => return Step::Settled,
            // Somebody asked for it, however it was judged before.
            Some(_) => {
                let rests = |row: &Arc<Row>| row.next.unwrap_or(row.at.saturating_add(RARE_PAUSE_SECONDS));
                return Step::At(self.row.as_ref().map_or(0, rests));
            }
            None => {}
        }
        if let Some(conversions) = conversions.filter(|conversions| !conversions.is_released()) {
            // Whoever runs the collector may still collect them by hand.
            let given_up = now > self.window.to().seconds().saturating_add(RARE_ATTEMPTS_SECONDS);
            let settled = given_up && conversions.step(None, now) == Step::Settled;
            return if settled { Step::Settled } else { Step::Follows };
        }
        match &self.row {
            Some(row) => row.next.map_or(Step::Settled, Step::At),
            None => Step::At(self.ready),
        }
    }

    fn state(&self, conversions: Option<&Self>, running: Option<&Live>, now: u64) -> WindowState {
        let unfinished = self.row.as_ref().filter(|row| row.kind == Kind::Unfinished);
        match &self.stage {
            Some(Stage::Released { sequence }) => return WindowState::Released { sequence: *sequence },
            Some(_) => {
                let kept = || unfinished.map(|row| row.reason.clone());
                let trouble = running.map_or_else(kept, |live| live.trouble.clone());
                return WindowState::UnderWay { trouble };
            }
            None => {}
        }
        if let Some(live) = running {
            return WindowState::UnderWay { trouble: live.trouble.clone() };
        }
        if now < self.window.to().seconds() {
            return WindowState::Open { closes: self.window.to().seconds() };
        }
        if let Some(conversions) = conversions.filter(|conversions| !conversions.is_released()) {
            return following(conversions.state(None, None, now));
        }
        match &self.row {
            None if now < self.ready => WindowState::Waiting { until: self.ready },
            None => WindowState::UnderWay { trouble: None },
            Some(row) => {
                let (reason, next_try) = (row.reason.clone(), row.next);
                match row.kind {
                    Kind::TooFew => WindowState::TooFewReports { reason, next_try },
                    Kind::Budget => WindowState::RefusedByBudget { reason, next_try },
                    Kind::Unfinished | Kind::Failed => WindowState::Failed { reason, next_try },
                }
            }
        }
    }
}

/// Where values stand whose conversions are not released: where those do.
fn following(conversions: WindowState) -> WindowState {
    let of_conversions = |reason: String| {
        format!(
            "Values are collected after the conversions of the same window, and those are not there: {reason}"
        )
    };
    match conversions {
        WindowState::TooFewReports { reason, next_try } => {
            WindowState::TooFewReports { reason: of_conversions(reason), next_try }
        }
        WindowState::RefusedByBudget { reason, next_try } => {
            WindowState::RefusedByBudget { reason: of_conversions(reason), next_try }
        }
        WindowState::Failed { reason, next_try } => {
            WindowState::Failed { reason: of_conversions(reason), next_try }
        }
        WindowState::UnderWay { .. } => WindowState::UnderWay {
            trouble: Some("the conversions of this window are collected first".to_owned()),
        },
        other => other,
    }
}

impl Schedule {
    /// What is known of a task's windows that share a time with the range.
    fn known(
        &self,
        calendar: &Calendar,
        grace: u64,
        line: Line,
        range: &Range<u64>,
        now: u64,
    ) -> Result<Vec<Known>, StoreError> {
        // All tasks of advertisers have it; not zero.
        let precision = TimePrecision::from_seconds(STEP_SECONDS).map_err(StoreError::prepare)?;
        let windows: Vec<Span> = calendar.windows(range.start, range.end).collect();
        let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Ok(Vec::new()) };
        let covered = first.from().seconds()..last.to().seconds();
        let mut collected =
            self.0.parts.collector.windows_within(line.task, precision, &covered)?.into_iter().peekable();
        let known = windows.into_iter().map(|window| {
            // Both are in order; what lies before, or across, was collected by hand and is no window of the calendar.
            while collected.next_if(|(span, _)| span.to() < window.to()).is_some() {}
            let stage = collected.next_if(|(span, _)| *span == window).map(|(_, stage)| stage);
            Known {
                window,
                ready: window.to().seconds().saturating_add(grace),
                stage,
                row: self.0.rows.get(line.task, window).filter(|row| row.counts(window, now)),
            }
        });
        Ok(known.collect())
    }

    /// What is known of all tasks of a generation, window by window, each with its conversions if it is of values.
    fn known_of(
        &self,
        advertiser: &Advertiser,
        generation: &Generation,
        range: &Range<u64>,
        now: u64,
    ) -> Result<Vec<(Line, Vec<Known>)>, StoreError> {
        let (calendar, life) = (Calendar::of(advertiser), lifetime(generation));
        let range = range.start.max(life.start)..range.end.min(life.end);
        let grace = advertiser.grace_seconds.into();
        lines(generation).map(|line| Ok((line, self.known(&calendar, grace, line, &range, now)?))).collect()
    }

    pub(super) fn statuses(
        &self,
        advertiser: &Advertiser,
        generation: &Generation,
        range: &Range<u64>,
        now: u64,
    ) -> Result<Vec<WindowStatus>, StoreError> {
        let known = self.known_of(advertiser, generation, range, now)?;
        let running = lock(&self.0.running).clone();
        let mut statuses = Vec::new();
        for (line, windows) in &known {
            let confirmed =
                windows.iter().any(Known::is_released) || self.0.parts.collector.has_released(line.task)?;
            for (index, one) in windows.iter().enumerate() {
                let live = running.get(&running_key(line.task, one.window));
                statuses.push(WindowStatus {
                    generation: generation.number,
                    task: line.task,
                    measures: line.measures,
                    window: one.window,
                    state: one.state(conversions_of(&known, line, index), live, now),
                    confirmed,
                });
            }
        }
        Ok(statuses)
    }

    /// What of an advertiser is due, and when something will be.
    pub(super) fn look(&self, advertiser: &Advertiser, now: u64) -> Result<Look, StoreError> {
        let mut look = Look::default();
        for generation in self.0.parts.registry.generations(advertiser.id).iter() {
            let key = (advertiser.id, generation.number);
            let life = lifetime(generation);
            // What a clock that was ahead passed over counts as little as what it wrote.
            let counts = |cursor: &Cursor| cursor.at <= now && now - cursor.since < PASSED_OVER_SECONDS;
            let cursor = lock(&self.0.cursors).get(&key).copied().filter(counts);
            let (from, since) = cursor.map_or((life.start, now), |cursor| (cursor.from, cursor.since));
            if life.start > now.saturating_add(AHEAD_SECONDS) {
                look.ahead = look.ahead.max(Some(life.start));
            }
            let known = self.known_of(advertiser, generation, &(from..now.saturating_add(1)), now)?;
            let mut unsettled = None;
            for (line, windows) in &known {
                let mut due = 0;
                for (index, one) in windows.iter().enumerate() {
                    let step = one.step(conversions_of(&known, line, index), now);
                    if step == Step::Settled {
                        continue;
                    }
                    let from = one.window.from().seconds();
                    unsettled = Some(unsettled.map_or(from, |least: u64| least.min(from)));
                    self.note(&mut look, one, step, now);
                    if let Step::At(moment) = step
                        && moment <= now
                        && due < DUE_MAX
                    {
                        due += 1;
                        look.due.push(Due {
                            advertiser: advertiser.id,
                            task: line.task,
                            measures: line.measures,
                            window: one.window,
                            generation: generation.number,
                            attempts: one.row.as_ref().map_or(0, |row| row.attempts),
                        });
                    }
                }
            }
            // The window that runs is never settled: nothing unsettled means that the last one is over.
            let from = unsettled.unwrap_or(from.max(now.min(life.end)));
            lock(&self.0.cursors).insert(key, Cursor { from, at: now, since });
        }
        Ok(look)
    }

    /// Counts a window that is not settled.
    fn note(&self, look: &mut Look, one: &Known, step: Step, now: u64) {
        if let Step::At(moment) = step
            && moment > now
        {
            look.next = Some(look.next.map_or(moment, |next| next.min(moment)));
        }
        if now < one.ready {
            return;
        }
        look.open += 1;
        let since = one.ready.max(self.0.started);
        let foreseen = one.row.as_ref().is_some_and(|row| matches!(row.kind, Kind::TooFew | Kind::Budget));
        if step == Step::Follows || foreseen || now.saturating_sub(since) <= OVERDUE_SECONDS {
            return;
        }
        look.overdue += 1;
        if look.oldest.as_ref().is_none_or(|(oldest, _)| since < *oldest) {
            let reason = one.row.as_ref().map_or("their turn has not come", |row| row.reason.as_str());
            look.oldest = Some((since, reason.to_owned()));
        }
    }
}

/// The conversions of a window of values. Lines of a generation have the same windows, conversions first.
fn conversions_of<'a>(known: &'a [(Line, Vec<Known>)], line: &Line, index: usize) -> Option<&'a Known> {
    if line.measures == Measures::Conversions {
        return None;
    }
    known.first().and_then(|(_, conversions)| conversions.get(index))
}
