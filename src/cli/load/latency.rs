//! When requests are due, and how long they took.
//!
//! An open-loop generator does not slow down with the server: request `n` is due at a time that is fixed before the
//! first is sent, and its latency counts from then. A request that could not be sent because all connections
//! waited for a server that stood still was waiting as well; counted from when it was sent, a stall of a second
//! would show in as many requests as there are connections, and not in all that were due in it ("coordinated
//! omission").

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is told from longer ones, in microseconds: an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Decimal digits of a latency that are kept.
const DIGITS: u8 = 3;

/// When each request is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// At once when a connection is free: as fast as the server answers. Latencies count from the sending.
    Saturate,
    /// One after the other, with this time between two.
    Every(Duration),
}

impl Schedule {
    /// For so many reports a second, 0 being as many as there can be.
    pub(super) fn new(reports_per_second: u32, reports_per_request: u32) -> Self {
        if reports_per_second == 0 {
            return Self::Saturate;
        }
        let nanos = u64::from(reports_per_request) * 1_000_000_000 / u64::from(reports_per_second);
        Self::Every(Duration::from_nanos(nanos.max(1)))
    }

    /// When the n-th request is due, counted from the start and from 0; `None` means at once.
    pub(super) fn due(self, n: usize) -> Option<Duration> {
        match self {
            Self::Saturate => None,
            Self::Every(pause) => {
                let nanos = pause.as_nanos().saturating_mul(n as u128);
                Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
            }
        }
    }

    /// How many requests are due before a time.
    pub(super) fn due_before(self, time: Duration) -> usize {
        match self {
            Self::Saturate => usize::MAX,
            Self::Every(pause) => {
                usize::try_from(time.as_nanos().div_ceil(pause.as_nanos())).unwrap_or(usize::MAX)
            }
        }
    }
}

/// Latencies of answered requests.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_MICROS, DIGITS);
        // Cannot fail: the bounds are constants that it takes, which every test of this module shows.
        Self(histogram.expect("valid bounds"))
    }

    /// Enters a request that was due, or sent if it had no time, and answered at these times after the start.
    pub(super) fn enter(&mut self, due: Duration, answered: Duration) {
        let micros = answered.saturating_sub(due).as_micros();
        self.0.saturating_record(u64::try_from(micros).unwrap_or(LONGEST_MICROS).max(1));
    }

    /// How many were entered.
    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The latency that this part of 1,000 requests did not exceed, in microseconds.
    pub(super) fn quantile_micros(&self, per_mille: f64) -> u64 {
        self.0.value_at_quantile(per_mille / 1_000.0)
    }

    /// The longest, in microseconds.
    pub(super) fn max_micros(&self) -> u64 {
        self.0.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn requests_are_due_at_their_rate() {
        let schedule = Schedule::new(6_400, 64);
        assert_eq!(schedule, Schedule::Every(millis(10)));
        assert_eq!(schedule.due(0), Some(millis(0)));
        assert_eq!(schedule.due(250), Some(millis(2_500)));
        assert_eq!(schedule.due_before(millis(0)), 0);
        assert_eq!(schedule.due_before(millis(1)), 1);
        assert_eq!(schedule.due_before(millis(10)), 1);
        assert_eq!(schedule.due_before(millis(1_001)), 101);
        let fast = Schedule::new(0, 64);
        assert_eq!((fast.due(7), fast.due_before(millis(0))), (None, usize::MAX));
    }

    /// One connection, a request due each 10 ms, each served in 1 ms, but the server stands still from 1 s to 2 s.
    /// Counted from the sending, one request of 200 would have waited; in truth half of them did.
    #[test]
    fn a_stall_shows_in_every_request_that_was_due_in_it() {
        let schedule = Schedule::new(100, 1);
        let (mut corrected, mut naive) = (Latencies::new(), Latencies::new());
        let mut free = Duration::ZERO;
        for n in 0..200 {
            let due = schedule.due(n).unwrap_or_default();
            let sent = due.max(free);
            let begun = if sent >= millis(1_000) && sent < millis(2_000) { millis(2_000) } else { sent };
            free = begun + millis(1);
            corrected.enter(due, free);
            naive.enter(sent, free);
        }
        assert_eq!(naive.quantile_micros(990.0) / 100, 10);
        // The request due at 1.5 s was sent at 2.05 s: behind 50 others, a millisecond each.
        let half_a_second = corrected.quantile_micros(750.0);
        assert!((540_000..560_000).contains(&half_a_second), "{half_a_second}");
        assert!((1_000_000..1_002_000).contains(&corrected.max_micros()), "{}", corrected.max_micros());
    }

    #[test]
    fn quantiles_are_those_of_the_numbers_entered() {
        let mut latencies = Latencies::new();
        for micros in 1..=1_000 {
            latencies.enter(millis(5), millis(5) + Duration::from_micros(micros));
        }
        assert_eq!(latencies.len(), 1_000);
        assert_eq!(latencies.quantile_micros(500.0), 500);
        assert_eq!(latencies.quantile_micros(990.0), 990);
        assert_eq!(latencies.quantile_micros(999.0), 999);
        assert_eq!(latencies.max_micros(), 1_000);
        // Answered before it was due, by a clock's granularity.
        latencies.enter(millis(5), millis(4));
        assert_eq!(latencies.quantile_micros(0.0), 1);
        // Longer than any that is told apart.
        latencies.enter(Duration::ZERO, Duration::from_secs(10_000));
        assert!(latencies.max_micros() >= LONGEST_MICROS);
    }
}
