//! Slow hashes of passwords and keys (Argon2id, RFC 9106), a few at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::AccessError;
use crate::config::secret::NoRandomness;
use crate::places::Places;
use crate::registry::AdvertiserId;
use crate::store::StoreError;

/// Memory of one hash, in KiB. 19 MiB, 2 passes and 1 lane is the least that OWASP's Password Storage Cheat Sheet names for
/// Argon2id (as of 2026). Of the settings that it calls equally strong, little memory and few passes: what hashes at
/// once stays far below what a small machine has.
pub const MEMORY_KIB: u32 = 19_456;

/// Passes over the memory, see [`MEMORY_KIB`].
pub const PASSES: u32 = 2;

/// Lanes, see [`MEMORY_KIB`].
pub const LANES: u32 = 1;

/// Hashes at once, of passwords and of keys each: some 40 MB and two cores at most, whoever asks and however often.
pub const HASHES_AT_ONCE: usize = 2;

/// Whoever waits for a turn holds a thread for calls that block. At some 30 milliseconds a hash the last of so many waits
/// for a second.
pub const HASHES_WAITING_MAX: usize = 64;

/// Of those that hash and wait, how many do so for one advertiser, for its new passwords and for its keys each: it cannot take
/// all places, whatever it sends. Signing in is not counted: there is a rate for it.
pub const HASHES_PER_ADVERTISER: usize = 4;

/// Bytes of salt and of the hash (RFC 9106 section 4: 128 bits of salt are enough for all applications).
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// A slow hash, with everything that it takes to compare: the setting may be raised, and this one stays what it was.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hashed {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    /// In base64url.
    salt: String,
    /// In base64url.
    hash: String,
}

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hashed").finish_non_exhaustive()
    }
}

/// Makes and compares hashes. Calls block, on the processor and for their turn.
pub(super) struct Hasher {
    turns: Mutex<Turns>,
    freed: Condvar,
    /// Taken before a turn is waited for.
    pub(super) places: Places<AdvertiserId>,
}

#[derive(Default)]
struct Turns {
    working: usize,
    waiting: usize,
}

/// A place among those that hash.
pub(super) struct Turn<'a>(&'a Hasher);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.turns().working -= 1;
        self.0.freed.notify_one();
    }
}

impl Hasher {
    pub(super) fn new() -> Self {
        let places = Places::new(HASHES_PER_ADVERTISER, usize::MAX);
        Self { turns: Mutex::default(), freed: Condvar::new(), places }
    }

    // Each change under the lock is whole.
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn turn(&self) -> Result<Turn<'_>, AccessError> {
        let mut turns = self.turns();
        if turns.working >= HASHES_AT_ONCE {
            if turns.waiting >= HASHES_WAITING_MAX {
                return Err(AccessError::Busy);
            }
            turns.waiting += 1;
            while turns.working >= HASHES_AT_ONCE {
                turns = self.freed.wait(turns).unwrap_or_else(PoisonError::into_inner);
            }
            turns.waiting -= 1;
        }
        turns.working += 1;
        Ok(Turn(self))
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.turns().waiting
    }

    /// The hash of a new secret of an advertiser.
    pub(super) fn hash(
        &self,
        advertiser: AdvertiserId,
        secret: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Hashed, AccessError> {
        let _place = self.places.take(advertiser).ok_or(AccessError::Busy)?;
        let _turn = self.turn()?;
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt).map_err(|_| NoRandomness)?;
        let mut hashed = Hashed::unlike_any(&salt);
        let hash = hashed.of(secret)?;
        hashed.hash = URL_SAFE_NO_PAD.encode(hash.as_slice());
        Ok(hashed)
    }

    /// As [`Hasher::matches`], within the advertiser's part.
    pub(super) fn matches_of(
        &self,
        advertiser: AdvertiserId,
        secret: &[u8],
        hashed: &Hashed,
    ) -> Result<bool, AccessError> {
        let _place = self.places.take(advertiser).ok_or(AccessError::Busy)?;
        self.matches(secret, hashed)
    }

    /// Whether a secret is the one of a hash. Takes as long for every secret and every hash of one setting.
    pub(super) fn matches(&self, secret: &[u8], hashed: &Hashed) -> Result<bool, AccessError> {
        let _turn = self.turn()?;
        let expected = URL_SAFE_NO_PAD.decode(&hashed.hash).map_err(StoreError::prepare)?;
        Ok(hashed.of(secret)?.as_slice().ct_eq(&expected).into())
    }
}

impl Hashed {
    /// What no secret has, with this salt: comparing with it costs as much as with any other.
    pub(super) fn unlike_any(salt: &[u8; SALT_BYTES]) -> Self {
        let salt = URL_SAFE_NO_PAD.encode(salt);
        Self { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt, hash: String::new() }
    }

    /// The hash that a secret has under this salt and setting.
    fn of(&self, secret: &[u8]) -> Result<Zeroizing<[u8; HASH_BYTES]>, StoreError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_BYTES))
            .map_err(|error| StoreError::prepare(error.to_string()))?;
        let salt = URL_SAFE_NO_PAD.decode(&self.salt).map_err(StoreError::prepare)?;
        // The first blocks are a hash of the secret alone; whoever reads freed memory could try passwords against them.
        let mut memory = vec![Block::default(); params.block_count()];
        let mut hash = Zeroizing::new([0; HASH_BYTES]);
        let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
            secret,
            &salt,
            hash.as_mut_slice(),
            &mut memory,
        );
        memory.iter_mut().for_each(Block::zeroize);
        done.map_err(|error| StoreError::prepare(error.to_string()))?;
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ring::rand::SystemRandom;

    use super::*;

    const OWN: AdvertiserId = AdvertiserId::from_bytes([1; 12]);

    #[test]
    fn a_hash_knows_its_secret_and_no_other() {
        let hasher = Hasher::new();
        let hashed = hasher.hash(OWN, b"correct horse", &SystemRandom::new()).unwrap();
        assert!(hasher.matches(b"correct horse", &hashed).unwrap());
        assert!(!hasher.matches(b"correct horsf", &hashed).unwrap());
        assert_ne!(
            hashed,
            hasher.hash(OWN, b"correct horse", &SystemRandom::new()).unwrap(),
            "salts are fresh"
        );
        let none = Hashed::unlike_any(&[7; SALT_BYTES]);
        assert!(!hasher.matches(b"", &none).unwrap());
        assert!(!format!("{hashed:?}").contains(&hashed.salt));
    }

    /// The least that was recommended when this was written; a change that lowers the cost should be seen.
    #[test]
    fn hashes_cost_what_is_recommended() {
        let hashed = Hasher::new().hash(OWN, b"x", &SystemRandom::new()).unwrap();
        assert_eq!((hashed.memory_kib, hashed.passes, hashed.lanes), (19 * 1024, 2, 1));
    }

    /// Sign-ins could otherwise take all memory and all cores.
    #[test]
    fn few_hash_at_once_and_few_wait() {
        let hasher = Arc::new(Hasher::new());
        let held: Vec<_> = (0..HASHES_AT_ONCE).map(|_| hasher.turn().unwrap()).collect();
        let through = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..HASHES_WAITING_MAX)
            .map(|_| {
                let (hasher, through) = (Arc::clone(&hasher), Arc::clone(&through));
                std::thread::spawn(move || {
                    let _turn = hasher.turn().unwrap();
                    assert!(hasher.turns().working <= HASHES_AT_ONCE);
                    through.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        while hasher.turns().waiting < HASHES_WAITING_MAX {
            std::thread::yield_now();
        }
        assert_eq!(through.load(Ordering::SeqCst), 0);
        assert!(matches!(hasher.turn(), Err(AccessError::Busy)));
        drop(held);
        for thread in waiting {
            thread.join().unwrap();
        }
        let left = hasher.turns();
        assert_eq!((left.working, left.waiting), (0, 0));
        assert_eq!(through.load(Ordering::SeqCst), HASHES_WAITING_MAX);
    }
}
