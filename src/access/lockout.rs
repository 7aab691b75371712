//! Pauses after wrong passwords, and a rate for all attempts together.
//!
//! An account that had [`FREE_FAILURES`] wrong passwords in a row rests for [`PAUSE_FIRST`] seconds, after each further one for
//! twice as long, up to [`PAUSE_MAX`]. While it rests no password is looked at, not even the right one, or the answer would
//! tell. A pause always ends by itself: whoever does not know the password can make its owner wait, and not for longer than
//! that at a time; who is signed in already stays signed in. An email without an account rests just the same, so that
//! a pause does not tell that there is one.
//!
//! In memory only: a stranger's attempts cost no write to the disk, and a restart begins anew.

use std::collections::HashMap;
use std::hash::Hash;

use crate::registry::UserId;

/// Wrong passwords in a row that cost nothing: people mistype, and try the one of last year.
pub const FREE_FAILURES: u32 = 5;

/// The first pause, in seconds: longer than anybody who only mistyped wants to wait is not needed.
pub const PAUSE_FIRST: u64 = 30;

/// The longest pause, in seconds: at most some hundred guesses a day for each account, and nobody is kept out for long
/// after the last one.
pub const PAUSE_MAX: u64 = 15 * 60;

/// After so many seconds without an attempt wrong ones are forgotten.
pub const FORGOTTEN_AFTER: u64 = 24 * 3_600;

/// Emails without an account whose attempts are remembered. Beyond that the one whose last attempt is longest ago is forgotten;
/// at [`ATTEMPTS_PER_SECOND`] that is one of half an hour ago.
pub const STRANGERS_MAX: usize = 10_000;

/// Attempts a second, of all accounts together: below what the hashes may take of the machine, far above what people do.
pub const ATTEMPTS_PER_SECOND: u64 = 5;

/// Attempts that may come at once: a company at nine in the morning.
pub const ATTEMPTS_AT_ONCE: u64 = 100;

/// Whose attempts are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// A user.
    Known(UserId),
    /// SHA-256 of an email that no user has.
    Unknown([u8; 32]),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Strikes {
    failures: u32,
    last: u64,
}

impl Strikes {
    /// Until when no password is looked at.
    fn paused_until(self) -> u64 {
        let Some(doublings) = self.failures.checked_sub(FREE_FAILURES) else { return 0 };
        let pause =
            PAUSE_FIRST.checked_shl(doublings.min(32)).map_or(PAUSE_MAX, |pause| pause.min(PAUSE_MAX));
        self.last.saturating_add(pause)
    }
}

/// The attempts that failed lately. Whoever holds it locks it.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    /// At most one for each user.
    known: HashMap<UserId, Strikes>,
    /// At most [`STRANGERS_MAX`].
    unknown: HashMap<[u8; 32], Strikes>,
    rate: Rate,
}

/// Why an attempt is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Of this account, for so many seconds.
    Paused(u64),
    /// Of all.
    Rate,
}

impl Lockout {
    /// Begins an attempt, which counts as failed until [`Lockout::succeeded`] says otherwise: of many at the same moment no
    /// more are made than one after the other.
    pub(super) fn begin(&mut self, account: Account, now: u64) -> Result<(), Refused> {
        let strikes = match account {
            Account::Known(user) => self.known.get(&user),
            Account::Unknown(email) => self.unknown.get(&email),
        };
        let mut strikes = strikes.copied().unwrap_or_default();
        if now.saturating_sub(strikes.last) > FORGOTTEN_AFTER {
            strikes = Strikes::default();
        }
        // A clock that was set back must not make a pause longer than it is.
        strikes.last = strikes.last.min(now);
        if let Some(seconds) = strikes.paused_until().checked_sub(now).filter(|seconds| *seconds > 0) {
            return Err(Refused::Paused(seconds));
        }
        // After the pauses: one account's attempts that are not made take nothing from the others.
        if !self.rate.take(now) {
            return Err(Refused::Rate);
        }
        strikes = Strikes { failures: strikes.failures.saturating_add(1), last: now };
        match account {
            Account::Known(user) => drop(self.known.insert(user, strikes)),
            Account::Unknown(email) => {
                make_room(&mut self.unknown, &email);
                self.unknown.insert(email, strikes);
            }
        }
        Ok(())
    }

    /// The password was right, or another was set.
    pub(super) fn succeeded(&mut self, user: UserId) {
        self.known.remove(&user);
    }

    /// The attempt was not made after all.
    pub(super) fn not_made(&mut self, account: Account) {
        let strikes = match account {
            Account::Known(user) => self.known.get_mut(&user),
            Account::Unknown(email) => self.unknown.get_mut(&email),
        };
        if let Some(strikes) = strikes {
            strikes.failures = strikes.failures.saturating_sub(1);
        }
    }
}

fn make_room<K: Copy + Eq + Hash>(map: &mut HashMap<K, Strikes>, wanted: &K) {
    if map.len() < STRANGERS_MAX || map.contains_key(wanted) {
        return;
    }
    let oldest = map.iter().min_by_key(|(_, strikes)| strikes.last).map(|(key, _)| *key);
    if let Some(oldest) = oldest {
        map.remove(&oldest);
    }
}

/// So many attempts at once, and as many a second.
#[derive(Debug)]
struct Rate {
    left: u64,
    last: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { left: ATTEMPTS_AT_ONCE, last: 0 }
    }
}

impl Rate {
    fn take(&mut self, now: u64) -> bool {
        let more = now.saturating_sub(self.last).saturating_mul(ATTEMPTS_PER_SECOND);
        self.left = self.left.saturating_add(more).min(ATTEMPTS_AT_ONCE);
        self.last = now;
        let taken = self.left.checked_sub(1);
        self.left = taken.unwrap_or(0);
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn known() -> Account {
        Account::Known(UserId::from_bytes([1; 12]))
    }

    fn fails(lockout: &mut Lockout, account: Account, now: u64) -> Option<u64> {
        match lockout.begin(account, now) {
            Ok(()) => None,
            Err(Refused::Paused(seconds)) => Some(seconds),
            Err(Refused::Rate) => panic!("too fast"),
        }
    }

    #[test]
    fn pauses_grow_end_and_are_forgotten() {
        for account in [known(), Account::Unknown([1; 32])] {
            let mut lockout = Lockout::default();
            for _ in 0..FREE_FAILURES {
                assert_eq!(fails(&mut lockout, account, NOW), None);
            }
            let (mut now, mut expected) = (NOW, PAUSE_FIRST);
            for _ in 0..10 {
                assert_eq!(fails(&mut lockout, account, now), Some(expected));
                assert_eq!(fails(&mut lockout, account, now + expected - 1), Some(1), "asking costs nothing");
                now += expected;
                assert_eq!(fails(&mut lockout, account, now), None, "a pause ends");
                expected = (expected * 2).min(PAUSE_MAX);
            }
            assert_eq!(expected, PAUSE_MAX);
            now += FORGOTTEN_AFTER + 1;
            for _ in 0..FREE_FAILURES {
                assert_eq!(fails(&mut lockout, account, now), None);
            }
            assert_eq!(fails(&mut lockout, account, now), Some(PAUSE_FIRST));
        }
    }

    #[test]
    fn the_right_password_clears_and_other_accounts_are_left_alone() {
        let mut lockout = Lockout::default();
        for _ in 0..FREE_FAILURES {
            assert_eq!(fails(&mut lockout, known(), NOW), None);
        }
        let other = UserId::from_bytes([2; 12]);
        assert_eq!(fails(&mut lockout, Account::Known(other), NOW), None);
        lockout.succeeded(UserId::from_bytes([1; 12]));
        assert_eq!(fails(&mut lockout, known(), NOW), None);
        for _ in 0..20 {
            assert_eq!(fails(&mut lockout, Account::Known(other), NOW), None);
            lockout.not_made(Account::Known(other));
        }
    }

    /// A clock that was ahead when the wrong passwords came, and was corrected, would have made them count until then.
    #[test]
    fn a_clock_set_back_makes_no_pause_longer() {
        let mut lockout = Lockout::default();
        for _ in 0..FREE_FAILURES {
            assert_eq!(fails(&mut lockout, known(), NOW + 1_000_000), None);
        }
        assert_eq!(fails(&mut lockout, known(), NOW), Some(PAUSE_FIRST));
    }

    #[test]
    fn strangers_are_remembered_up_to_a_number() {
        let mut lockout = Lockout::default();
        let email = |number: u64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            Account::Unknown(hash)
        };
        for number in 0..STRANGERS_MAX as u64 + 10 {
            assert_eq!(fails(&mut lockout, email(number), NOW + number), None);
        }
        assert_eq!(lockout.unknown.len(), STRANGERS_MAX);
        let Account::Unknown(first) = email(0) else { unreachable!() };
        assert!(!lockout.unknown.contains_key(&first));
    }

    #[test]
    fn all_attempts_together_have_a_rate() {
        let mut lockout = Lockout::default();
        let user = |number: u64| {
            let mut id = [0; 12];
            id[..8].copy_from_slice(&number.to_be_bytes());
            Account::Known(UserId::from_bytes(id))
        };
        let made =
            |lockout: &mut Lockout, now| (0..1_000).filter(|n| lockout.begin(user(*n), now).is_ok()).count();
        assert_eq!(made(&mut lockout, NOW) as u64, ATTEMPTS_AT_ONCE);
        assert_eq!(lockout.begin(user(999), NOW), Err(Refused::Rate));
        assert_eq!(made(&mut lockout, NOW + 1) as u64, ATTEMPTS_PER_SECOND);
        // However long nobody came.
        assert_eq!(made(&mut lockout, NOW + 1_000_000) as u64, ATTEMPTS_AT_ONCE);
    }
}
