//! How many reports a device may still send to a task.

/// For how long a report counts towards a task's `contributions`, in seconds: 7 days, the length of a
/// budget epoch. A device does not know which windows a collector will ask for; at most k reports in
/// any 7 days are at most k in any epoch, whatever the windows.
pub const CONTRIBUTION_SECONDS: u64 = 7 * 24 * 3600;

/// Times are remembered in whole hours, in seconds: this outlives what a person erases, and must not say when they
/// bought something to the second.
const REMEMBERED_UNIT: u64 = 3600;

/// After this, from the beginning of the hour in which it was made, a report counts no more.
pub(crate) const COUNTS_FOR: u64 = CONTRIBUTION_SECONDS + REMEMBERED_UNIT;

/// How many times k reports are remembered. With clocks that only go forward this is four weeks, so that a
/// conversion by a clock that was set back can still be judged; a leader takes none that is older than 30 days.
const REMEMBERED_WEEKS: usize = 4;

/// Why another report may not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// k reports are within 7 days of it.
    Contributions,
    /// What was sent around that time was forgotten.
    Forgotten,
}

/// The times of the reports that a device made for one task.
///
/// Times come from clocks that are set back and jump ahead, and in any order. So a time is never forgotten because
/// another one is far from it, only because there are too many; and then nothing is sent any more for which it
/// would have counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// POSIX seconds at which the hours of the reports began, in increasing order.
    times: Vec<u64>,
    /// Whatever is forgotten lies at least [`CONTRIBUTION_SECONDS`] before this.
    known_from: u64,
}

impl Sent {
    /// Whether another report fits: then no 7 days hold more than `k`, in whatever order the times came.
    ///
    /// It counts 7 days to both sides, and up to an hour more, since it knows the hours only. With times in order that is
    /// all; otherwise it may refuse a report between two that are less than 14 days apart.
    pub(crate) fn admits(&self, at: u64, k: u32) -> Result<(), Spent> {
        if at < self.known_from {
            return Err(Spent::Forgotten);
        }
        if self.near(at) < as_count(k) { Ok(()) } else { Err(Spent::Contributions) }
    }

    fn near(&self, at: u64) -> usize {
        let at = hour(at);
        self.times.iter().filter(|time| time.abs_diff(at) < COUNTS_FOR).count()
    }

    /// How many of `k` reports fit at a time.
    pub(crate) fn left(&self, at: u64, k: u32) -> u32 {
        if at < self.known_from {
            return 0;
        }
        k.saturating_sub(u32::try_from(self.near(at)).unwrap_or(u32::MAX))
    }

    /// As it was saved, without its times yet.
    pub(crate) fn known_since(known_from: u64) -> Self {
        Self { times: Vec::new(), known_from }
    }

    /// Takes back a time that was saved. They come in order; false if not.
    pub(crate) fn restore(&mut self, at: u64) -> bool {
        let at = hour(at);
        let ordered = self.times.last().is_none_or(|last| *last <= at);
        self.times.push(at);
        ordered
    }

    pub(crate) fn known_from(&self) -> u64 {
        self.known_from
    }

    pub(crate) fn times(&self) -> &[u64] {
        &self.times
    }

    /// Counts a report that was admitted.
    pub(crate) fn count(&mut self, at: u64, k: u32) {
        let at = hour(at);
        let place = self.times.partition_point(|time| *time <= at);
        self.times.insert(place, at);
        let most = as_count(k).saturating_mul(REMEMBERED_WEEKS);
        let beyond = self.times.len().saturating_sub(most);
        if let Some(last) = self.times.drain(..beyond).next_back() {
            self.known_from = self.known_from.max(last.saturating_add(COUNTS_FOR));
        }
    }

    /// Forgets the times that count no more at `now`. Nothing is sent any more for which they would have counted; whole
    /// weeks are kept of that, where they are over, since it says something of when the last one was.
    pub(crate) fn forget(&mut self, now: u64) {
        let over = self.times.partition_point(|time| time.saturating_add(COUNTS_FOR) <= now);
        if let Some(last) = self.times.drain(..over).next_back() {
            let from = last.saturating_add(COUNTS_FOR);
            let week = from.checked_next_multiple_of(CONTRIBUTION_SECONDS).unwrap_or(from);
            self.known_from = self.known_from.max(week.min(now).max(from));
        }
    }
}

fn hour(at: u64) -> u64 {
    at - at % REMEMBERED_UNIT
}

fn as_count(k: u32) -> usize {
    usize::try_from(k).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 3600;
    const NOW: u64 = 1_800_000_000;

    /// The times at which a report was sent, of those at which one was wanted.
    fn sent(times: &[u64], k: u32) -> Vec<u64> {
        let mut sent = Sent::default();
        let mut admitted = Vec::new();
        for at in times {
            if sent.admits(*at, k).is_ok() {
                sent.count(*at, k);
                admitted.push(*at);
            }
            assert!(sent.times.len() <= as_count(k) * REMEMBERED_WEEKS, "memory is bounded");
        }
        admitted
    }

    /// Most reports in any 7 days.
    fn most_in_seven_days(sent: &[u64]) -> usize {
        let within =
            |from: u64| sent.iter().filter(move |at| **at >= from && **at - from < CONTRIBUTION_SECONDS);
        sent.iter().map(|from| within(*from).count()).max().unwrap_or(0)
    }

    /// A device forgot what it had sent whenever a conversion came whose time was 7 days off, in either direction:
    /// days 0, 8, 1, 9, 2, 10, 2, 10, 2 made a report each, although one in 7 days was allowed. A phone that
    /// boots with a wrong clock, or an app that tells events late, gave k reports back with each jump, and the ledger's
    /// bound rests on k.
    #[test]
    fn times_out_of_order_give_no_report_back() {
        let days = [0, 8, 1, 9, 2, 10, 2, 10, 2].map(|day| NOW + day * DAY);
        assert_eq!(sent(&days, 1), [NOW, NOW + 8 * DAY]);
    }

    /// A clock that is far ahead once must not silence the device after it was put right.
    #[test]
    fn a_clock_that_was_ahead_once_costs_later_reports_nothing() {
        let times = [NOW, NOW + 30_000 * DAY, u64::MAX, 0, NOW + 7 * DAY, NOW + 14 * DAY];
        assert_eq!(sent(&times, 2), times);
    }

    #[test]
    fn what_was_forgotten_is_not_sent_again() {
        let mut sent = Sent::default();
        for week in 0..=4 {
            let at = NOW + week * COUNTS_FOR;
            assert_eq!(sent.admits(at, 1), Ok(()));
            sent.count(at, 1);
        }
        assert_eq!(sent.admits(NOW, 1), Err(Spent::Forgotten));
        assert_eq!(sent.admits(NOW + COUNTS_FOR, 1), Err(Spent::Contributions));
    }

    /// The file kept the second of each conversion, for good: what a person had erased said when they bought what.
    #[test]
    fn what_is_remembered_is_hours_and_what_is_over_is_forgotten() {
        let mut sent = Sent::default();
        for at in [NOW + 17, NOW + 30 * DAY + 1_234] {
            sent.count(at, 2);
        }
        sent.forget(NOW + 31 * DAY);
        assert_eq!(sent.times(), [NOW + 30 * DAY]);
        assert_eq!(
            sent.admits(NOW + 6 * DAY, 2),
            Err(Spent::Forgotten),
            "a clock that is set back gives none back"
        );
        assert_eq!(sent.known_from() % CONTRIBUTION_SECONDS, 0, "the week, not the hour");
        assert_eq!(sent.left(NOW + 31 * DAY, 2), 1);
    }

    /// Days around which times gather, so that many are within 7 days of another.
    fn time() -> impl Strategy<Value = u64> {
        prop_oneof![
            8 => (0..40u64, 0..3u64).prop_map(|(day, second)| NOW + day * DAY + second),
            1 => any::<u64>(),
            1 => Just(0),
        ]
    }

    proptest! {
        #[test]
        fn no_sequence_of_times_gets_more_than_k_into_seven_days(
            times in proptest::collection::vec(time(), 0..200),
            k in 1..5u32,
        ) {
            prop_assert!(most_in_seven_days(&sent(&times, k)) <= as_count(k));
        }

        /// The bound refuses nothing that it need not while time goes forward.
        #[test]
        fn with_times_in_order_what_fits_is_sent(
            mut times in proptest::collection::vec(time(), 0..200),
            k in 1..5u32,
        ) {
            times.sort_unstable();
            let sent = sent(&times, k);
            for wanted in times.iter().filter(|at| !sent.contains(at)) {
                let before =
                    sent.iter().filter(|at| **at <= *wanted && hour(*wanted) - hour(**at) < COUNTS_FOR);
                prop_assert!(before.count() >= as_count(k));
            }
        }
    }
}
