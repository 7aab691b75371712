//! What is kept, and the picture of it in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::hashing::Hashed;
use super::{Email, KeyInfo, UserInfo};
use crate::registry::{KeyId, UserId};
use crate::store::{State, StateBatch, StoreError};

const KEY_PREFIX: &[u8] = b"Kk";
const USER_PREFIX: &[u8] = b"Ku";
const SESSION_PREFIX: &[u8] = b"Ks";

/// Rows read at once when the store is opened: at most a megabyte.
const PAGE_ROWS: usize = 256;

/// The SHA-256 of a token: what is kept of it.
pub(super) type Digest = [u8; 32];

/// A key's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRow {
    pub(super) info: KeyInfo,
    pub(super) secret: Hashed,
}

/// A user's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserRow {
    pub(super) info: UserInfo,
    pub(super) password: Hashed,
}

/// A session's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionRow {
    pub(super) user: UserId,
    /// When it was begun, in POSIX seconds.
    pub(super) begun: u64,
    /// When it was last seen, up to a few minutes late.
    pub(super) seen: u64,
}

/// A key in memory.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) row: KeyRow,
    /// SHA-256 of its text, once somebody has shown it. There is one right text, so that from then on neither it nor any wrong
    /// one costs a slow hash.
    pub(super) shown: OnceLock<Digest>,
}

/// A session in memory.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) row: SessionRow,
    /// When it was last seen.
    pub(super) seen: AtomicU64,
}

impl Live {
    pub(super) fn new(row: SessionRow) -> Self {
        Self { row, seen: AtomicU64::new(row.seen) }
    }

    pub(super) fn last_seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

/// Everything, in memory.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) keys: HashMap<KeyId, Arc<Key>>,
    pub(super) users: HashMap<UserId, Arc<UserRow>>,
    pub(super) emails: HashMap<Email, UserId>,
    pub(super) sessions: HashMap<Digest, Live>,
}

/// A change of rows and, once it is durable, of the picture.
#[derive(Debug)]
pub(super) enum Change {
    PutKey(Box<KeyRow>),
    RemoveKey(KeyId),
    PutUser(Box<UserRow>),
    RemoveUser(UserId),
    PutSession(Digest, SessionRow),
    RemoveSession(Digest),
}

impl Change {
    pub(super) fn write(&self, batch: &mut StateBatch) -> Result<(), StoreError> {
        match self {
            Self::PutKey(row) => batch.insert(&key_of(row.info.id), &encode(row)?),
            Self::RemoveKey(id) => batch.remove(&key_of(*id)),
            Self::PutUser(row) => batch.insert(&user_of(row.info.id), &encode(row)?),
            Self::RemoveUser(id) => batch.remove(&user_of(*id)),
            Self::PutSession(digest, row) => batch.insert(&session_of(digest), &encode(row)?),
            Self::RemoveSession(digest) => batch.remove(&session_of(digest)),
        }
    }
}

impl Picture {
    /// Reads all rows.
    pub(super) fn read(state: &State) -> Result<Self, StoreError> {
        let mut picture = Self::default();
        each(state, KEY_PREFIX, |_, row: KeyRow| picture.apply(Change::PutKey(Box::new(row))))?;
        each(state, USER_PREFIX, |_, row: UserRow| picture.apply(Change::PutUser(Box::new(row))))?;
        let mut sessions = Vec::new();
        each(state, SESSION_PREFIX, |id, row: SessionRow| sessions.push((Digest::try_from(id), row)))?;
        for (digest, row) in sessions {
            let digest = digest.map_err(|_| StoreError::Invalid("a session whose key is no digest"))?;
            picture.apply(Change::PutSession(digest, row));
        }
        if picture.emails.len() != picture.users.len() {
            return Err(StoreError::Invalid("two users of one email"));
        }
        Ok(picture)
    }

    /// Shows a change that is durable.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::PutKey(row) => {
                let key = Key { row: *row, shown: OnceLock::new() };
                self.keys.insert(key.row.info.id, Arc::new(key));
            }
            Change::RemoveKey(id) => drop(self.keys.remove(&id)),
            Change::PutUser(row) => {
                self.emails.insert(row.info.email.clone(), row.info.id);
                self.users.insert(row.info.id, Arc::from(row));
            }
            Change::RemoveUser(id) => {
                if let Some(row) = self.users.remove(&id) {
                    self.emails.remove(&row.info.email);
                }
            }
            Change::PutSession(digest, row) => drop(self.sessions.insert(digest, Live::new(row))),
            Change::RemoveSession(digest) => drop(self.sessions.remove(&digest)),
        }
    }

    /// The sessions of a user, in no order.
    pub(super) fn sessions_of(&self, user: UserId) -> impl Iterator<Item = (&Digest, &Live)> {
        self.sessions.iter().filter(move |(_, live)| live.row.user == user)
    }

    /// What a reopened store must show, in a fixed order.
    #[cfg(test)]
    pub(super) fn rows(&self) -> Vec<String> {
        let keys = self.keys.values().map(|key| format!("{:?} {}", key.row, text(&key.row)));
        let users = self.users.values().map(|row| format!("{row:?} {}", text(&**row)));
        let sessions = self.sessions.iter().map(|(digest, live)| format!("{digest:?} {:?}", live.row));
        let emails = self.emails.iter().map(|(email, id)| format!("{email} {id}"));
        let mut rows: Vec<_> = keys.chain(users).chain(sessions).chain(emails).collect();
        rows.sort();
        rows
    }
}

#[cfg(test)]
fn text(row: &impl Serialize) -> String {
    serde_json::to_string(row).unwrap_or_default()
}

fn key_of(id: KeyId) -> Vec<u8> {
    [KEY_PREFIX, id.as_bytes()].concat()
}

fn user_of(id: UserId) -> Vec<u8> {
    [USER_PREFIX, id.as_bytes()].concat()
}

fn session_of(digest: &Digest) -> Vec<u8> {
    [SESSION_PREFIX, digest].concat()
}

fn encode(row: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(row).map_err(StoreError::prepare)
}

/// Gives every row below a prefix on, with the rest of its key.
fn each<T: DeserializeOwned>(
    state: &State,
    prefix: &[u8],
    mut give: impl FnMut(&[u8], T),
) -> Result<(), StoreError> {
    state.each(prefix, PAGE_ROWS, |rest, value| {
        give(rest, serde_json::from_slice(value).map_err(StoreError::prepare)?);
        Ok(())
    })
}
