//! Users: people who sign in at the console.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lockout::{Account, Refused};
use super::rows::{Change, UserRow};
use super::{Access, AccessError, Email, Password, Scope, SignInError};
use crate::config::secret::SecretString;
use crate::net::network::Network;
use crate::registry::{AdvertiserId, UserId};

/// Users of one advertiser: whoever looks at its numbers, its agency among them.
pub const USERS_PER_ADVERTISER_MAX: usize = 100;

/// Users of all advertisers, some hundred bytes of memory each.
pub const USERS_MAX: usize = 100_000;

/// What an advertiser's users see of one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserInfo {
    /// The id.
    pub id: UserId,
    /// Whose data the user sees.
    pub advertiser: AdvertiserId,
    /// What the user signs in with; no other user of this collector has it.
    pub email: Email,
    /// What the user may do.
    pub scope: Scope,
    /// When it was created, in POSIX seconds.
    pub created: u64,
    /// When the password was last set, in POSIX seconds.
    pub password_set: u64,
}

impl Access {
    /// Creates a user.
    ///
    /// # Errors
    /// `Conflict` if a user of this collector has the email, `Full` at [`USERS_PER_ADVERTISER_MAX`] and [`USERS_MAX`].
    pub fn create_user(
        &self,
        advertiser: AdvertiserId,
        email: Email,
        password: &Password,
        scope: Scope,
        now: u64,
    ) -> Result<UserInfo, AccessError> {
        let id = UserId::from_bytes(self.random()?);
        // Before the hash, which costs, and again under the lock.
        self.has_room_for_user(advertiser, &email)?;
        let password = self.0.passwords.hash(advertiser, password.bytes(), &*self.0.random)?;
        let info = UserInfo { id, advertiser, email, scope, created: now, password_set: now };
        let writer = self.writer();
        self.has_room_for_user(advertiser, &info.email)?;
        writer.commit(vec![Change::PutUser(Box::new(UserRow { info: info.clone(), password }))])?;
        Ok(info)
    }

    fn has_room_for_user(&self, advertiser: AdvertiserId, email: &Email) -> Result<(), AccessError> {
        let picture = self.picture();
        if picture.emails.contains_key(email) {
            return Err(AccessError::Conflict(
                "somebody signs in with this email already; an email belongs to one user of one advertiser"
                    .to_owned(),
            ));
        }
        let own = picture.users.values().filter(|row| row.info.advertiser == advertiser).count();
        if own >= USERS_PER_ADVERTISER_MAX || picture.users.len() >= USERS_MAX {
            return Err(AccessError::Full(format!(
                "there are {own} users, and no more can be created; remove some who do not sign in any more"
            )));
        }
        Ok(())
    }

    /// The users of an advertiser, by email.
    pub fn users(&self, advertiser: AdvertiserId) -> Vec<UserInfo> {
        let picture = self.picture();
        let own = picture.users.values().map(|row| &row.info).filter(|info| info.advertiser == advertiser);
        let mut users: Vec<_> = own.cloned().collect();
        users.sort_by(|one, other| one.email.cmp(&other.email));
        users
    }

    /// A user of any advertiser, by id.
    pub fn user(&self, id: UserId) -> Option<UserInfo> {
        self.picture().users.get(&id).map(|row| row.info.clone())
    }

    /// Sets a user's password, ends all of the user's sessions, and forgets wrong attempts.
    ///
    /// # Errors
    /// `NotFound` if the advertiser has no such user, whoever else has.
    pub fn set_password(
        &self,
        advertiser: AdvertiserId,
        id: UserId,
        password: &Password,
        now: u64,
    ) -> Result<(), AccessError> {
        self.own_user(advertiser, id)?;
        let hashed = self.0.passwords.hash(advertiser, password.bytes(), &*self.0.random)?;
        let writer = self.writer();
        // Under the lock: the user may be gone by now.
        let mut row = UserRow::clone(&*self.own_user(advertiser, id)?);
        row.password = hashed;
        row.info.password_set = now;
        let mut changes = self.ends_of_sessions(id);
        changes.push(Change::PutUser(Box::new(row)));
        writer.commit(changes)?;
        self.lockout().succeeded(id);
        Ok(())
    }

    /// As [`Access::set_password`], by the user, who knows the one before. A wrong one counts as when signing in.
    ///
    /// # Errors
    /// `Wrong` if `current` is not the password, `Paused` and `Busy` as when signing in.
    pub fn change_password(
        &self,
        id: UserId,
        current: &SecretString,
        password: &Password,
        now: u64,
    ) -> Result<(), SignInError> {
        let row = self.picture().users.get(&id).cloned().ok_or(SignInError::Wrong)?;
        // Of no network: whoever is signed in has an account's pauses before them, and takes nothing from a network's part.
        if !self.attempt(Account::Known(id), current, Some(&row), None, now)? {
            return Err(SignInError::Wrong);
        }
        Ok(self.set_password(row.info.advertiser, id, password, now)?)
    }

    /// Removes a user and ends all of the user's sessions.
    ///
    /// # Errors
    /// `NotFound` if the advertiser has no such user, whoever else has.
    pub fn remove_user(&self, advertiser: AdvertiserId, id: UserId, _now: u64) -> Result<(), AccessError> {
        let writer = self.writer();
        self.own_user(advertiser, id)?;
        let mut changes = self.ends_of_sessions(id);
        changes.push(Change::RemoveUser(id));
        writer.commit(changes)?;
        self.lockout().succeeded(id);
        Ok(())
    }

    fn own_user(&self, advertiser: AdvertiserId, id: UserId) -> Result<Arc<UserRow>, AccessError> {
        let row = self.picture().users.get(&id).cloned();
        row.filter(|row| row.info.advertiser == advertiser).ok_or(AccessError::NotFound("user"))
    }

    /// The changes that end all sessions of a user. Whoever calls it holds the writer.
    fn ends_of_sessions(&self, user: UserId) -> Vec<Change> {
        let picture = self.picture();
        picture.sessions_of(user).map(|(digest, _)| Change::RemoveSession(*digest)).collect()
    }

    /// Whether a password is that of a user; of nobody, it costs as much. Counted, and refused if there were too many.
    pub(super) fn attempt(
        &self,
        account: Account,
        password: &SecretString,
        row: Option<&UserRow>,
        from: Option<Network>,
        now: u64,
    ) -> Result<bool, SignInError> {
        let begun = self.lockout().begin(account, from, now).map_err(|refused| match refused {
            Refused::Paused(seconds) => SignInError::Paused { seconds },
            Refused::Rate => SignInError::Busy,
        })?;
        let hashed = row.map_or(&self.0.nobody, |row| &row.password);
        match self.0.passwords.matches(password.expose().as_bytes(), hashed) {
            Ok(true) => {
                if let Account::Known(user) = account {
                    self.lockout().succeeded(user);
                }
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                // Nobody looked at the password.
                self.lockout().not_made(begun);
                Err(error.into())
            }
        }
    }
}
