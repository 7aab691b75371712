//! Pauses after wrong passwords, and a rate for all attempts together, of which one network has a part.
//!
//! An account that had [`FREE_FAILURES`] wrong passwords in a row rests for [`PAUSE_FIRST`] seconds, after each further one for
//! twice as long, up to [`PAUSE_MAX`]. While it rests no password is looked at, not even the right one, or the answer would
//! tell. A pause always ends by itself: whoever does not know the password can make its owner wait, and not for longer than
//! that at a time; who is signed in already stays signed in. An email without an account rests just the same, so that
//! a pause does not tell that there is one.
//!
//! In memory only: a stranger's attempts cost no write to the disk, and a restart begins anew. A network is remembered for the half
//! minute in which its attempts count.

use std::collections::HashMap;
use std::hash::Hash;

use crate::net::network::{Network, PARTS};
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

/// Attempts of one network that may come at once: a part of all, so that whoever wants to use up the rate needs as many networks.
pub const ATTEMPTS_OF_NETWORK_AT_ONCE: u64 = ATTEMPTS_AT_ONCE / PARTS as u64;

/// Attempts a second of one network: a company that hides behind one address signs in at that pace, once those are used up.
pub const ATTEMPTS_OF_NETWORK_PER_SECOND: u64 = ATTEMPTS_PER_SECOND / PARTS as u64;

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
    /// Of networks that made attempts lately, what is left of their part. In none of them is it whole, so that there are at most as
    /// many as attempts may be made while one fills up.
    networks: HashMap<Network, Rate>,
}

/// Why an attempt is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Of this account, for so many seconds.
    Paused(u64),
    /// Of all, or of the network that it comes from.
    Rate,
}

/// An attempt that was begun.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct Begun {
    account: Account,
    /// As it was before.
    strikes: Strikes,
}

impl Lockout {
    /// Begins an attempt, which counts as failed until [`Lockout::succeeded`] says otherwise: of many at the same moment no
    /// more are made than one after the other. What comes from this machine is of no network.
    pub(super) fn begin(
        &mut self,
        account: Account,
        from: Option<Network>,
        now: u64,
    ) -> Result<Begun, Refused> {
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
        if !self.take(from, now) {
            return Err(Refused::Rate);
        }
        let begun = Begun { account, strikes };
        strikes = Strikes { failures: strikes.failures.saturating_add(1), last: now };
        match account {
            Account::Known(user) => drop(self.known.insert(user, strikes)),
            Account::Unknown(email) => {
                make_room(&mut self.unknown, &email);
                self.unknown.insert(email, strikes);
            }
        }
        Ok(begun)
    }

    /// Takes an attempt from the rates: from both, or from neither.
    fn take(&mut self, from: Option<Network>, now: u64) -> bool {
        // Those of a clock that was ahead, too, or they would be kept until then.
        self.networks.retain(|_, rate| rate.last <= now && !rate.is_whole(&OF_NETWORK, now));
        let Some(network) = from else { return self.rate.take(&OF_ALL, now) };
        let mut part = self.networks.get(&network).copied().unwrap_or(Rate::new(&OF_NETWORK));
        if !part.take(&OF_NETWORK, now) || !self.rate.take(&OF_ALL, now) {
            return false;
        }
        self.networks.insert(network, part);
        true
    }

    /// The password was right, or another was set.
    pub(super) fn succeeded(&mut self, user: UserId) {
        self.known.remove(&user);
    }

    /// The attempt was not made after all: no strike more, and no pause that begins anew.
    pub(super) fn not_made(&mut self, begun: Begun) {
        let strikes = match begun.account {
            Account::Known(user) => self.known.get_mut(&user),
            Account::Unknown(email) => self.unknown.get_mut(&email),
        };
        let Some(strikes) = strikes else { return };
        strikes.failures = strikes.failures.saturating_sub(1);
        // Others may have been begun meanwhile; the pause is theirs then.
        if strikes.failures == begun.strikes.failures {
            strikes.last = begun.strikes.last;
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

/// So many attempts at once, and so many a second.
struct Limits {
    at_once: u64,
    per_second: u64,
}

const OF_ALL: Limits = Limits { at_once: ATTEMPTS_AT_ONCE, per_second: ATTEMPTS_PER_SECOND };

const OF_NETWORK: Limits =
    Limits { at_once: ATTEMPTS_OF_NETWORK_AT_ONCE, per_second: ATTEMPTS_OF_NETWORK_PER_SECOND };

/// What is left of a rate.
#[derive(Clone, Copy, Debug)]
struct Rate {
    left: u64,
    last: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self::new(&OF_ALL)
    }
}

impl Rate {
    fn new(limits: &Limits) -> Self {
        Self { left: limits.at_once, last: 0 }
    }

    fn left(self, limits: &Limits, now: u64) -> u64 {
        let more = now.saturating_sub(self.last).saturating_mul(limits.per_second);
        self.left.saturating_add(more).min(limits.at_once)
    }

    fn is_whole(self, limits: &Limits, now: u64) -> bool {
        self.left(limits, now) == limits.at_once
    }

    fn take(&mut self, limits: &Limits, now: u64) -> bool {
        let taken = self.left(limits, now).checked_sub(1);
        *self = Self { left: taken.unwrap_or(0), last: now };
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn known() -> Account {
        Account::Known(UserId::from_bytes([1; 12]))
    }

    fn fails(lockout: &mut Lockout, account: Account, now: u64) -> Option<u64> {
        match lockout.begin(account, None, now) {
            Ok(_) => None,
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
    }

    /// Five wrong passwords, the pause, and then a moment in which too much was being hashed: the account paused anew, and longer,
    /// though nobody had looked at a password.
    #[test]
    fn an_attempt_that_was_not_made_costs_nothing() {
        for account in [known(), Account::Unknown([1; 32])] {
            let mut lockout = Lockout::default();
            for _ in 0..FREE_FAILURES {
                assert_eq!(fails(&mut lockout, account, NOW), None);
            }
            let later = NOW + PAUSE_FIRST;
            for n in 0..20 {
                let begun = lockout.begin(account, None, later + n).unwrap();
                assert_eq!(
                    fails(&mut lockout, account, later + n),
                    Some(2 * PAUSE_FIRST),
                    "while it is made"
                );
                lockout.not_made(begun);
            }
            assert_eq!(fails(&mut lockout, account, later + 20), None);
            assert_eq!(fails(&mut lockout, account, later + 20), Some(2 * PAUSE_FIRST));
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
        let made = |lockout: &mut Lockout, now| {
            (0..1_000).filter(|n| lockout.begin(user(*n), None, now).is_ok()).count()
        };
        assert_eq!(made(&mut lockout, NOW) as u64, ATTEMPTS_AT_ONCE);
        assert_eq!(lockout.begin(user(999), None, NOW).unwrap_err(), Refused::Rate);
        assert_eq!(made(&mut lockout, NOW + 1) as u64, ATTEMPTS_PER_SECOND);
        // However long nobody came.
        assert_eq!(made(&mut lockout, NOW + 1_000_000) as u64, ATTEMPTS_AT_ONCE);
    }

    /// Thirty attempts a second from one address, each with another email, kept everybody else from signing in.
    #[test]
    fn one_network_leaves_attempts_to_others() {
        let mut lockout = Lockout::default();
        let network = |last: u8| Network::of([192, 0, 2, last].into());
        let mut emails = 0_u64;
        let mut attempt = |lockout: &mut Lockout, from, now| {
            emails += 1;
            let mut email = [0; 32];
            email[..8].copy_from_slice(&emails.to_be_bytes());
            lockout.begin(Account::Unknown(email), from, now).is_ok()
        };
        for now in NOW..NOW + 100 {
            let made = (0..30).filter(|_| attempt(&mut lockout, network(1), now)).count() as u64;
            let part = if now == NOW { ATTEMPTS_OF_NETWORK_AT_ONCE } else { ATTEMPTS_OF_NETWORK_PER_SECOND };
            assert_eq!(made, part);
            assert!(attempt(&mut lockout, network(2), now), "somebody else signs in");
            assert!(attempt(&mut lockout, None, now), "and from this machine");
            assert_eq!(lockout.networks.len(), 2);
        }
        // An address is remembered while its attempts count, and no longer.
        assert!(attempt(&mut lockout, None, NOW + 1_000));
        assert!(lockout.networks.is_empty());
        // However many networks, all have the rate of all.
        let made = (0..=255).filter(|last| attempt(&mut lockout, network(*last), NOW + 2_000)).count();
        assert_eq!((made as u64, lockout.networks.len() as u64), (ATTEMPTS_AT_ONCE, ATTEMPTS_AT_ONCE));
    }
}
