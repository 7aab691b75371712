//! API keys.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::rows::{Change, Key, KeyRow};
use super::{Access, AccessError, Principal, Scope, Who, sha256};
use crate::config::secret::{Secret, SecretString};
use crate::registry::{AdvertiserId, KeyId, Name};

/// Keys of one advertiser, those that have expired among them: one for each program and person is far fewer.
pub const KEYS_PER_ADVERTISER_MAX: usize = 100;

/// Keys of all advertisers, some hundred bytes of memory each.
pub const KEYS_MAX: usize = 100_000;

/// What every key begins with, so that scanners for secrets in code find it.
const TEXT_PREFIX: &str = "arras_";

/// Random bytes of a key's secret.
const SECRET_BYTES: usize = 32;

/// What an advertiser's users see of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyInfo {
    /// Its id; no secret.
    pub id: KeyId,
    /// Whose it is.
    pub advertiser: AdvertiserId,
    /// What it is called.
    pub name: Name,
    /// What it may do.
    pub scope: Scope,
    /// When it was made, in POSIX seconds.
    pub created: u64,
    /// From when on it is of no use, in POSIX seconds; never, if `None`.
    pub expires: Option<u64>,
}

impl KeyInfo {
    /// Whether it is of no use any more.
    pub fn has_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

/// The text of a key: `arras_`, its id, `_`, its secret. Shown once, to whoever made it.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// The text. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKey").finish_non_exhaustive()
    }
}

/// The id and the secret of a text, if it looks like a key.
pub(super) fn parts(text: &str) -> Option<(KeyId, &str)> {
    // Base64url may hold underscores itself, so it is lengths that tell where the id ends.
    let id_len = KeyId::PREFIX.len() + 16;
    let (id, secret) = text.strip_prefix(TEXT_PREFIX)?.split_at_checked(id_len)?;
    let secret = secret.strip_prefix('_')?;
    (URL_SAFE_NO_PAD.decode(secret).ok()?.len() == SECRET_BYTES).then_some(())?;
    Some((id.parse().ok()?, secret))
}

impl Access {
    /// Makes a key. Its text is returned and kept nowhere.
    ///
    /// # Errors
    /// `Invalid` if it expires in the past, `Full` at [`KEYS_PER_ADVERTISER_MAX`] and [`KEYS_MAX`].
    pub fn create_key(
        &self,
        advertiser: AdvertiserId,
        name: Name,
        scope: Scope,
        expires: Option<u64>,
        now: u64,
    ) -> Result<(KeyInfo, ApiKey), AccessError> {
        if expires.is_some_and(|expires| expires <= now) {
            return Err(AccessError::Invalid(
                "the key would expire before it is made; choose a day in the future".to_owned(),
            ));
        }
        let id = KeyId::from_bytes(self.random()?);
        let secret = Secret::<SECRET_BYTES>::generate(&*self.0.random)?.to_base64();
        // Before the hash, which costs, and again under the lock.
        self.has_room_for_key(advertiser)?;
        let hashed = self.0.secrets.hash(advertiser, secret.as_bytes(), &*self.0.random)?;
        let info = KeyInfo { id, advertiser, name, scope, created: now, expires };
        let writer = self.writer();
        self.has_room_for_key(advertiser)?;
        writer.commit(vec![Change::PutKey(Box::new(KeyRow { info: info.clone(), secret: hashed }))])?;
        let text = SecretString::new(format!("{TEXT_PREFIX}{id}_{}", secret.as_str()));
        Ok((info, ApiKey(text)))
    }

    fn has_room_for_key(&self, advertiser: AdvertiserId) -> Result<(), AccessError> {
        let picture = self.picture();
        let own = picture.keys.values().filter(|key| key.row.info.advertiser == advertiser).count();
        if own >= KEYS_PER_ADVERTISER_MAX || picture.keys.len() >= KEYS_MAX {
            return Err(AccessError::Full(format!(
                "there are {own} keys, and no more can be made; revoke some that nobody uses"
            )));
        }
        Ok(())
    }

    /// The keys of an advertiser, those that have expired among them, the oldest first.
    pub fn keys(&self, advertiser: AdvertiserId) -> Vec<KeyInfo> {
        let picture = self.picture();
        let own = picture.keys.values().map(|key| &key.row.info).filter(|info| info.advertiser == advertiser);
        let mut keys: Vec<_> = own.cloned().collect();
        keys.sort_by_key(|info| (info.created, info.id));
        keys
    }

    /// Ends a key; it is of no use from the moment that this returns, and forgotten.
    ///
    /// # Errors
    /// `NotFound` if the advertiser has no such key, whoever else has.
    pub fn revoke_key(&self, advertiser: AdvertiserId, id: KeyId, _now: u64) -> Result<(), AccessError> {
        let writer = self.writer();
        let is_own = self.picture().keys.get(&id).is_some_and(|key| key.row.info.advertiser == advertiser);
        if !is_own {
            return Err(AccessError::NotFound("API key"));
        }
        Ok(writer.commit(vec![Change::RemoveKey(id)])?)
    }

    /// Whose key a text is; nobody's if it is none, expired or revoked.
    ///
    /// The first time that a key is shown since the start costs a slow hash; from then on it is known by its SHA-256. A text
    /// with an unknown id is refused at once: that tells that the id is unknown, which is no secret and cannot be guessed.
    ///
    /// # Errors
    /// `Busy` if too many keys, of this advertiser or of all, are being looked at that were not seen since the start.
    pub fn authenticate_key(&self, text: &str, now: u64) -> Result<Option<Principal>, AccessError> {
        let Some((id, secret)) = parts(text) else { return Ok(None) };
        let Some(key) = self.picture().keys.get(&id).cloned() else { return Ok(None) };
        if key.row.info.has_expired(now) || !self.is_secret_of(&key, text, secret)? {
            return Ok(None);
        }
        // It may have been revoked while the hash was made.
        if !self.picture().keys.contains_key(&id) {
            return Ok(None);
        }
        let KeyInfo { advertiser, scope, .. } = key.row.info;
        Ok(Some(Principal { who: Who::Key(id), advertiser: Some(advertiser), scope }))
    }

    fn is_secret_of(&self, key: &Arc<Key>, text: &str, secret: &str) -> Result<bool, AccessError> {
        let digest = sha256(text);
        if let Some(shown) = key.shown.get() {
            return Ok(shown.ct_eq(&digest).into());
        }
        let right = self.0.secrets.matches_of(key.row.info.advertiser, secret.as_bytes(), &key.row.secret)?;
        if right {
            // Another call may have been first, with the same text.
            let _ = key.shown.set(digest);
        }
        Ok(right)
    }
}
