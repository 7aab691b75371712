//! What an attempt came to, and when the next one is.
//!
//! | what was in the way | the next attempt |
//! |---|---|
//! | the leader is away or not done | after a minute, twice as long each time, at most an hour; for ever |
//! | an aggregator does not know the task, a token, a folder: what an operator mends | after 5 minutes, twice as long each time, at most 6 hours; for ever |
//! | this collector has no room for the release | after 5 minutes; for ever |
//! | too few reports | after an hour, twice as long each time, at most a day; the last one when late reports are refused |
//! | a budget, aggregators that disagree, shares that do not open: what hardly changes | once a day; for 62 days after the window |
//! | what never changes | none |
//!
//! Pauses are up to an eighth longer or shorter, by chance, so that windows that failed together do not come back together.

use ring::rand::SecureRandom;

use crate::collector::{CollectError, ConversionsError, REASON_CHARACTERS_MAX, Span};
use crate::config::roles::REPORT_AGE_SECONDS_DEFAULT;
use crate::net::problem::{DapError, ErrorType, OwnError};
use crate::schedule::rows::{Kind, Row};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// For how long after a window's end the leader may still take reports of it, in seconds: what it refuses older ones by unless
/// configured otherwise. A leader that takes them for longer has its windows given up too early, by one that has too few reports.
pub const LATE_REPORTS_SECONDS: u64 = REPORT_AGE_SECONDS_DEFAULT;

/// For how long after a window's end it is asked again for what hardly changes, in seconds: 62 days. An operator who wants to
/// raise a cap has done so by then; what remains is `arras collect`.
pub const RARE_ATTEMPTS_SECONDS: u64 = 62 * DAY;

/// The first and the longest pause after the leader could not be reached, in seconds.
pub const AWAY_PAUSES_SECONDS: (u64, u64) = (MINUTE, HOUR);

/// The same after what an operator has to mend.
pub const OPERATOR_PAUSES_SECONDS: (u64, u64) = (5 * MINUTE, 6 * HOUR);

/// The pause while this collector has no room for another release, in seconds. Nobody is asked then, so it need not grow.
pub const ROOM_PAUSE_SECONDS: u64 = 5 * MINUTE;

/// The same after too few reports.
pub const LATE_PAUSES_SECONDS: (u64, u64) = (HOUR, DAY);

/// The pause after what hardly changes, in seconds.
pub const RARE_PAUSE_SECONDS: u64 = DAY;

/// How soon it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Away,
    Operator,
    Room,
    Late,
    Rare,
    Never,
    At(u64),
}

/// An attempt without a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) kind: Kind,
    pub(super) pace: Pace,
    pub(super) reason: String,
}

impl Verdict {
    /// The attempt gave up its place while the leader works on it.
    pub(super) fn unfinished(trouble: Option<String>) -> Self {
        let reason = trouble.unwrap_or_else(|| {
            "the leader works on the window; it waits until its helper has all reports of it".to_owned()
        });
        Self { kind: Kind::Unfinished, pace: Pace::Away, reason }
    }

    /// The attempt broke off by a fault of ours.
    pub(super) fn broke() -> Self {
        let reason = "collecting the window broke off; the collector's log says more".to_owned();
        Self { kind: Kind::Failed, pace: Pace::Operator, reason }
    }

    /// Of an attempt that ended with an error.
    pub(super) fn of(error: &CollectError) -> Self {
        let (kind, pace) = match error {
            CollectError::Refused(refused) => of_refusal(refused.problem().kind()),
            CollectError::Unreachable { .. }
            | CollectError::StillPending { .. }
            | CollectError::OverlapsUnderWay(_) => (Kind::Unfinished, Pace::Away),
            // Nothing is lost: it was not asked for, or the leader keeps its answer.
            CollectError::NoRoom(_) => (Kind::Unfinished, Pace::Room),
            CollectError::Store(error) if error.is_full() => (Kind::Unfinished, Pace::Room),
            CollectError::NotOver { to, .. } => (Kind::Unfinished, Pace::At(to.seconds())),
            // A sum is never asked for here.
            CollectError::Window(_) | CollectError::OverlapsReleased { .. } | CollectError::Sum(_) => {
                (Kind::Failed, Pace::Never)
            }
            CollectError::Conversions(ConversionsError::NotReleased { .. }) => (Kind::Failed, Pace::Away),
            CollectError::UnknownTask(_)
            | CollectError::Task(_)
            | CollectError::OtherLeader { .. }
            | CollectError::Conversions(_)
            | CollectError::BadAnswer(_)
            | CollectError::Store(_) => (Kind::Failed, Pace::Operator),
            CollectError::Epochs(_) | CollectError::Shares(_) | CollectError::Release(_) => {
                (Kind::Failed, Pace::Rare)
            }
        };
        Self { kind, pace, reason: error.to_string() }
    }

    /// What is kept of it. `attempts` were there before, this one not counted.
    pub(super) fn row(self, attempts: u32, window: Span, now: u64, random: &dyn SecureRandom) -> Row {
        let (end, doubled) = (window.to().seconds(), |(first, most): (u64, u64)| {
            first.saturating_mul(1_u64.checked_shl(attempts).unwrap_or(u64::MAX)).min(most)
        });
        let after = |pause: u64| Some(now.saturating_add(jittered(pause, random)));
        let next = match self.pace {
            Pace::Away => after(doubled(AWAY_PAUSES_SECONDS)),
            Pace::Operator => after(doubled(OPERATOR_PAUSES_SECONDS)),
            Pace::Room => after(ROOM_PAUSE_SECONDS),
            Pace::Late => {
                let last = end.saturating_add(LATE_REPORTS_SECONDS);
                after(doubled(LATE_PAUSES_SECONDS)).map(|next| next.min(last)).filter(|_| now < last)
            }
            Pace::Rare => {
                let last = end.saturating_add(RARE_ATTEMPTS_SECONDS);
                after(RARE_PAUSE_SECONDS).filter(|_| now < last)
            }
            Pace::Never => None,
            Pace::At(moment) => Some(moment.max(now.saturating_add(1))),
        };
        let reason = self.reason.chars().take(REASON_CHARACTERS_MAX).collect();
        Row { attempts: attempts.saturating_add(1), kind: self.kind, reason, next, at: now }
    }
}

fn of_refusal(kind: &ErrorType) -> (Kind, Pace) {
    match kind {
        ErrorType::Dap(DapError::InvalidBatchSize) => (Kind::TooFew, Pace::Late),
        ErrorType::Own(OwnError::BudgetExhausted) => (Kind::Budget, Pace::Rare),
        // Collected by somebody else; it cannot be collected again.
        ErrorType::Dap(DapError::BatchOverlap) | ErrorType::Own(OwnError::Gone) => {
            (Kind::Failed, Pace::Never)
        }
        ErrorType::Dap(DapError::BatchMismatch) => (Kind::Failed, Pace::Rare),
        // Clocks that differ, a task that is not there yet, a token: whatever else a leader says can be mended.
        _ => (Kind::Failed, Pace::Operator),
    }
}

/// A pause, longer or shorter by up to an eighth.
fn jittered(pause: u64, random: &dyn SecureRandom) -> u64 {
    let mut bytes = [0; 8];
    // Without chance pauses are what they are; the generator fails when the system has none.
    if random.fill(&mut bytes).is_err() {
        return pause;
    }
    let eighth = pause / 8;
    pause - eighth + u64::from_be_bytes(bytes) % (2 * eighth + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ring::rand::SystemRandom;

    fn window() -> Span {
        Span::new("1793577600".parse().unwrap(), "1793664000".parse().unwrap()).unwrap()
    }

    fn next(pace: Pace, attempts: u32, since_end: u64) -> Option<u64> {
        let end = window().to().seconds();
        let verdict = Verdict { kind: Kind::Failed, pace, reason: "x".repeat(2 * REASON_CHARACTERS_MAX) };
        let row = verdict.row(attempts, window(), end + since_end, &SystemRandom::new());
        assert_eq!((row.attempts, row.reason.len()), (attempts.saturating_add(1), REASON_CHARACTERS_MAX));
        row.next.map(|next| next - end - since_end)
    }

    fn near(pause: Option<u64>, expected: u64) -> bool {
        pause.is_some_and(|pause| (expected - expected / 8..=expected + expected / 8).contains(&pause))
    }

    #[test]
    fn pauses_grow_up_to_a_limit_and_end_where_nothing_can_change() {
        assert!(near(next(Pace::Away, 0, 0), MINUTE) && near(next(Pace::Away, 3, 0), 8 * MINUTE));
        assert!(near(next(Pace::Away, u32::MAX, 900 * DAY), HOUR), "for ever");
        assert!(near(next(Pace::Operator, 1, 0), 10 * MINUTE) && near(next(Pace::Operator, 40, 0), 6 * HOUR));
        assert!(near(next(Pace::Late, 0, 0), HOUR) && near(next(Pace::Late, 9, DAY), DAY));
        assert!(near(next(Pace::Room, 40, 900 * DAY), 5 * MINUTE), "for ever");
        // The last attempt is when late reports are refused, and then there is none.
        assert_eq!(next(Pace::Late, 9, LATE_REPORTS_SECONDS - 7), Some(7));
        assert_eq!(next(Pace::Late, 9, LATE_REPORTS_SECONDS), None);
        assert!(near(next(Pace::Rare, 9, RARE_ATTEMPTS_SECONDS - 1), DAY));
        assert_eq!(next(Pace::Rare, 9, RARE_ATTEMPTS_SECONDS), None);
        assert_eq!(next(Pace::Never, 0, 0), None);
        assert_eq!(next(Pace::At(0), 0, 0), Some(1), "never at once, in a loop");
    }

    #[test]
    fn windows_that_failed_together_come_back_apart() {
        let pauses: std::collections::BTreeSet<_> = (0..64).map(|_| next(Pace::Rare, 0, 0)).collect();
        assert!(pauses.len() > 32, "{} different pauses", pauses.len());
    }
}
