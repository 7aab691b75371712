//! Moments, and the weeks that budgets are counted in (W3C Attribution Level 1, "Epoch Start Time").

/// Milliseconds of a day of 86,400 seconds, as the standard defines one.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// Milliseconds of an hour: epochs begin at a whole one.
const HOUR_MS: i64 = 3_600_000;

/// A point in time: whole milliseconds since the Unix epoch, negative before it. Arithmetic saturates, so that a
/// clock that is far off cannot stop an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From POSIX seconds.
    pub fn from_posix_seconds(seconds: u64) -> Self {
        Self(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// POSIX seconds, rounded down; 0 before 1970.
    pub fn posix_seconds(self) -> u64 {
        u64::try_from(self.0.div_euclid(1_000)).unwrap_or(0)
    }

    pub(crate) fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    pub(crate) fn minus(self, millis: i64) -> Self {
        Self(self.0.saturating_sub(millis))
    }
}

/// A whole number of days in milliseconds.
pub(crate) fn days(count: u32) -> i64 {
    i64::from(count) * DAY_MS
}

/// The number of an epoch, counted from the device's own start; negative before it.
pub type EpochIndex = i64;

/// How moments become epochs on one device ("get the current epoch").
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epochs {
    start: Moment,
    period_ms: i64,
}

impl Epochs {
    pub(crate) fn new(start: Moment, epoch_days: u32) -> Self {
        // At least a day, so that the division below has a divisor; `Config` says what it should be.
        Self { start, period_ms: days(epoch_days.max(1)) }
    }

    /// A start within the epoch before `t`, at a whole hour. `fraction` is random, from 0 up to but not including 1.
    ///
    /// The standard rounds the hour towards zero. Before 1970 that is upwards, and could place the start after `t`; down
    /// is meant, and what the reference implementation does.
    pub(crate) fn draw_start(t: Moment, epoch_days: u32, fraction: f64) -> Moment {
        let period_ms = days(epoch_days.max(1));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "a period has fewer than 53 bits, and a cast to an integer saturates"
        )]
        let back = (fraction.clamp(0.0, 1.0) * period_ms as f64) as i64;
        let within = t.minus(back.min(period_ms - 1));
        Moment(within.0.div_euclid(HOUR_MS).saturating_mul(HOUR_MS))
    }

    pub(crate) fn index(self, t: Moment) -> EpochIndex {
        t.0.saturating_sub(self.start.0).div_euclid(self.period_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_a_week_from_the_start() {
        let week = days(7);
        let epochs = Epochs::new(Moment(HOUR_MS), 7);
        for (millis, index) in [(0, 0), (week - 1, 0), (week, 1), (-1, -1), (-week, -1), (-week - 1, -2)] {
            assert_eq!(epochs.index(Moment(HOUR_MS + millis)), index, "{millis}");
        }
        assert!(epochs.index(Moment(i64::MIN)) < 0 && epochs.index(Moment(i64::MAX)) > 0);
    }

    #[test]
    fn the_start_is_a_whole_hour_of_the_last_week() {
        let now = Moment::from_posix_seconds(1_800_000_123);
        for step in 0..1_000_i32 {
            let start = Epochs::draw_start(now, 7, f64::from(step) / 1_000.0);
            assert_eq!(start.0 % HOUR_MS, 0);
            assert!(start <= now && now.0 - start.0 < days(7) + HOUR_MS);
        }
        let first = Epochs::draw_start(now, 7, 0.0);
        assert!(now.0 - first.0 < HOUR_MS, "a fraction of 0 is the hour of the call");
    }

    /// Rounded towards zero, as the text has it, the start came to lie after the moment that asked for it.
    #[test]
    fn before_1970_the_hour_is_rounded_down() {
        let start = Epochs::draw_start(Moment(3_000), 7, 0.5);
        assert_eq!(start.0, -84 * HOUR_MS);
    }
}
