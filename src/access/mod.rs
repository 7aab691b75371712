//! Who may see and change what an advertiser has: API keys, users and their sessions.
//!
//! Rows in the collector's state, all in JSON:
//!
//! | key | value |
//! |---|---|
//! | `Kk`, id of a key | whose it is, name, scope, times; an Argon2id hash of its secret |
//! | `Ku`, id of a user | whose it is, email, scope, times; an Argon2id hash of the password |
//! | `Ks`, SHA-256 of a session's token | the user, when it was begun and last seen |
//!
//! No secret is kept: neither the store nor a copy of it lets anybody in. All rows are in memory, too, in a picture that changes
//! once a commit is durable and before the call returns: what was revoked is of no use from then on.
//!
//! Whether an advertiser exists is the registry's to say; here an id is a name for whose things are whose.
//!
//! Calls block, on the disk and on slow hashes: an async caller moves them off the runtime.

mod error;
mod hashing;
mod keys;
mod lockout;
mod password;
mod principal;
mod rows;
mod sessions;
#[cfg(test)]
mod tests;
mod users;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;

use self::hashing::{Hashed, Hasher};
use self::lockout::Lockout;
use self::rows::{Change, Digest, Picture};
use crate::collector::CollectorDisk;
use crate::config::secret::NoRandomness;
use crate::store::{StateBatch, StoreError};

pub use self::error::{AccessError, AccessErrorKind, SignInError};
pub use self::hashing::{
    HASHES_AT_ONCE, HASHES_PER_ADVERTISER, HASHES_WAITING_MAX, LANES, MEMORY_KIB, PASSES,
};
pub use self::keys::{ApiKey, KEYS_MAX, KEYS_PER_ADVERTISER_MAX, KeyInfo};
pub use self::lockout::{
    ATTEMPTS_AT_ONCE, ATTEMPTS_OF_NETWORK_AT_ONCE, ATTEMPTS_OF_NETWORK_PER_SECOND, ATTEMPTS_PER_SECOND,
    FORGOTTEN_AFTER, FREE_FAILURES, PAUSE_FIRST, PAUSE_MAX, STRANGERS_MAX,
};
pub use self::password::{
    EMAIL_BYTES_MAX, Email, EmailError, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, Password, PasswordError,
};
pub use self::principal::{Principal, Scope, Who};
pub use self::sessions::{
    AHEAD_MAX, IDLE_MAX, SEEN_STEP, SESSION_MAX, SESSIONS_MAX, SESSIONS_PER_USER_MAX, Session, SessionToken,
    SessionView, csrf_of,
};
pub use self::users::{USERS_MAX, USERS_PER_ADVERTISER_MAX, UserInfo};

/// Keys, users and sessions. Clones are the same.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    disk: Arc<CollectorDisk>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    /// Turns for passwords and for keys are apart: neither can keep the other waiting.
    passwords: Hasher,
    secrets: Hasher,
    /// What an attempt with an unknown email is compared with.
    nobody: Hashed,
    lockout: Mutex<Lockout>,
    /// Held from before a change is checked until the picture shows it.
    writer: Mutex<()>,
    /// Follows the rows; changed under `writer` alone.
    picture: RwLock<Picture>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// Reads what is kept.
    ///
    /// # Errors
    /// If the store cannot be read, or there is no randomness.
    pub fn open(
        disk: Arc<CollectorDisk>,
        random: Arc<dyn SecureRandom + Send + Sync>,
    ) -> Result<Self, AccessError> {
        let picture = Picture::read(disk.state())?;
        let mut salt = [0; 16];
        random.fill(&mut salt).map_err(|_| NoRandomness)?;
        Ok(Self(Arc::new(Inner {
            disk,
            random,
            passwords: Hasher::new(),
            secrets: Hasher::new(),
            nobody: Hashed::unlike_any(&salt),
            lockout: Mutex::default(),
            writer: Mutex::default(),
            picture: RwLock::new(picture),
        })))
    }

    // Every change under these locks is whole, so that a panic elsewhere spoils nothing.

    fn picture(&self) -> RwLockReadGuard<'_, Picture> {
        self.0.picture.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn picture_mut(&self) -> RwLockWriteGuard<'_, Picture> {
        self.0.picture.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lockout(&self) -> MutexGuard<'_, Lockout> {
        self.0.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> Writer<'_> {
        Writer { access: self, _turn: self.0.writer.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0; N];
        self.0.random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }
}

/// The right to change what is kept, one holder at a time.
struct Writer<'a> {
    access: &'a Access,
    _turn: MutexGuard<'a, ()>,
}

impl Writer<'_> {
    /// Makes changes durable, all or none, and shows them.
    fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut batch = StateBatch::default();
        for change in &changes {
            change.write(&mut batch)?;
        }
        let _receipt = self.access.0.disk.state().lock().commit(batch)?;
        // Durable from here. If the process ends now, the next one reads the same.
        let mut picture = self.access.picture_mut();
        for change in changes {
            picture.apply(change);
        }
        Ok(())
    }
}

fn sha256(text: &str) -> Digest {
    let mut hash = Digest::default();
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}
