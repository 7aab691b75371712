//! Which campaign a conversion is counted for: the last one that the person saw.

/// A cell of a task's histogram. Campaigns are given buckets by the advertiser's collector.
pub type Bucket = u32;

/// The bucket of conversions that no impression led to. They make a report like all others, so that the
/// existence of a report says nothing about ads.
pub const NOT_ATTRIBUTED: Bucket = 0;

/// Most impressions that a device keeps. The oldest go first; more would only ever matter to a device
/// that saw this many ads within the lookback.
pub const MAX_IMPRESSIONS: usize = 1_000;

/// For how long an impression leads to conversions, in seconds: 30 days, as ads platforms look back for clicks.
pub const LOOKBACK_SECONDS: u64 = 30 * 24 * 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Impression {
    bucket: Bucket,
    posix_seconds: u64,
}

/// The ads that a device remembers, in the order in which they were seen.
#[derive(Clone, Default)]
pub struct Impressions {
    seen: std::collections::VecDeque<Impression>,
}

impl std::fmt::Debug for Impressions {
    // What somebody saw is not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Impressions").finish_non_exhaustive()
    }
}

impl Impressions {
    /// Remembers that an ad of a campaign was seen. What is too old is not forgotten here, since one time from a
    /// clock that is ahead would make everything old; see [`Impressions::forget_before`].
    pub fn remember(&mut self, bucket: Bucket, posix_seconds: u64) {
        if self.seen.len() == MAX_IMPRESSIONS {
            self.seen.pop_front();
        }
        self.seen.push_back(Impression { bucket, posix_seconds });
    }

    /// The bucket of the last impression before a conversion, within the lookback.
    pub fn last_touch(&self, posix_seconds: u64) -> Bucket {
        let earliest = posix_seconds.saturating_sub(LOOKBACK_SECONDS);
        self.seen
            .iter()
            .rev()
            .filter(|impression| (earliest..=posix_seconds).contains(&impression.posix_seconds))
            // Of two at the same second the later call is the later touch; `rev` finds it first.
            .reduce(|best, other| if other.posix_seconds > best.posix_seconds { other } else { best })
            .map_or(NOT_ATTRIBUTED, |impression| impression.bucket)
    }

    /// All of them, in the order in which they were seen.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Bucket, u64)> {
        self.seen.iter().map(|impression| (impression.bucket, impression.posix_seconds))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.seen.len() >= MAX_IMPRESSIONS
    }

    /// Forgets everything, as a person may ask at any time.
    pub fn clear(&mut self) {
        self.seen.clear();
    }

    /// Forgets what was seen before a time. An app that trusts its clock calls this now and then with
    /// [`LOOKBACK_SECONDS`] before now; what is older leads to no conversion any more.
    pub fn forget_before(&mut self, posix_seconds: u64) {
        self.seen.retain(|impression| impression.posix_seconds >= posix_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn impressions(touches: &[(Bucket, u64)]) -> Impressions {
        let mut impressions = Impressions::default();
        for (bucket, time) in touches {
            impressions.remember(*bucket, *time);
        }
        impressions
    }

    #[test]
    fn the_last_touch_gets_the_conversion() {
        assert_eq!(impressions(&[(3, NOW - 20), (5, NOW - 10), (3, NOW - 5)]).last_touch(NOW), 3);
        assert_eq!(impressions(&[(3, NOW - 20), (5, NOW - 10)]).last_touch(NOW), 5);
    }

    #[test]
    fn of_two_touches_in_one_second_the_later_call_counts() {
        assert_eq!(impressions(&[(3, NOW), (5, NOW)]).last_touch(NOW), 5);
    }

    #[test]
    fn a_clock_that_went_back_does_not_reorder_what_it_says() {
        assert_eq!(impressions(&[(3, NOW - 5), (5, NOW - 10)]).last_touch(NOW), 3);
    }

    #[test]
    fn no_match_is_the_bucket_for_it() {
        assert_eq!(impressions(&[]).last_touch(NOW), NOT_ATTRIBUTED);
        assert_eq!(
            impressions(&[(3, NOW + 1)]).last_touch(NOW),
            NOT_ATTRIBUTED,
            "an impression after the conversion"
        );
        assert_eq!(
            impressions(&[(3, NOW - LOOKBACK_SECONDS - 1)]).last_touch(NOW),
            NOT_ATTRIBUTED,
            "too old"
        );
        assert_eq!(
            impressions(&[(3, NOW - LOOKBACK_SECONDS)]).last_touch(NOW),
            3,
            "just within the lookback"
        );
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut all = Impressions::default();
        for index in 0..=MAX_IMPRESSIONS {
            all.remember(u32::try_from(index).expect("small"), NOW);
        }
        assert_eq!(all.seen.len(), MAX_IMPRESSIONS);
        assert_eq!(all.seen.front().map(|impression| impression.bucket), Some(1));
    }

    /// Each impression made the device forget what was 30 days older than it, so one that came from a clock that was
    /// a month ahead left no other.
    #[test]
    fn one_impression_from_the_future_forgets_no_other() {
        let mut all = impressions(&[(3, NOW - 20), (5, NOW + 2 * LOOKBACK_SECONDS), (7, NOW - 30)]);
        assert_eq!(all.last_touch(NOW), 3);
        all.forget_before(NOW - 25);
        assert_eq!(all.seen.iter().map(|impression| impression.bucket).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn clearing_forgets() {
        let mut all = impressions(&[(3, NOW)]);
        all.clear();
        assert_eq!(all.last_touch(NOW), NOT_ATTRIBUTED);
    }
}
