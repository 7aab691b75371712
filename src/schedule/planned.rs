//! The windows of a year as a plan asks for them.

use crate::planner::{CalendarWindows, Windows};
use crate::privacy::ledger::{EPOCH_SECONDS, SourceRules, start_of_epoch_at};
use crate::registry::{Cadence, TimeZone};

use super::calendar::Calendar;

/// Epochs whose windows are planned: those of a year, so that all changes of clocks are among them, and one on either
/// side, since windows lie across their ends.
const EPOCHS_PLANNED: u64 = 55;

/// The windows that a schedule makes in a time zone, of each length, from the epoch on that `now` (POSIX seconds) is in,
/// or from the source's first one if that is still to come. None of them begins before that epoch.
pub fn planned_windows(zone: &TimeZone, rules: &SourceRules, now: u64) -> Windows {
    let from = start_of_epoch_at(rules.epoch_start, now).unwrap_or(rules.epoch_start);
    let to = from.saturating_add(EPOCHS_PLANNED * EPOCH_SECONDS);
    let windows = |cadence| {
        let calendar = Calendar::new(zone.clone(), cadence);
        let seconds = calendar.windows(from, to).map(|window| window.from().seconds()..window.to().seconds());
        seconds.filter(|window| window.start >= from).collect()
    };
    Windows::Calendar(CalendarWindows {
        zone: zone.name().to_owned(),
        hours: windows(Cadence::Hour),
        days: windows(Cadence::Day),
        weeks: windows(Cadence::Week),
    })
}
