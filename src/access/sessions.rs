//! Sessions of users who signed in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::lockout::Account;
use super::rows::{Change, Live, Picture, SessionRow};
use super::{Access, AccessError, Email, PASSWORD_BYTES_MAX, Principal, SignInError, UserInfo, Who, sha256};
use crate::config::secret::{Secret, SecretString};
use crate::net::network::Network;

/// After so many seconds without a request a session is over: a break, and not a night.
pub const IDLE_MAX: u64 = 2 * 3_600;

/// After so many seconds a session is over, whatever it does: a working day.
pub const SESSION_MAX: u64 = 12 * 3_600;

/// A session that begins, or was last seen, more than so many seconds from now is over: the clock was ahead, and how old the session is
/// nobody knows. A clock that is put right by less ends none.
pub const AHEAD_MAX: u64 = 300;

/// A session that is used writes when it was last seen so many seconds after it did before: after a crash it may be over so much
/// earlier.
pub const SEEN_STEP: u64 = 300;

/// Sessions of one user: some browsers on some devices. The one that was not used for longest ends when there are more.
pub const SESSIONS_PER_USER_MAX: usize = 10;

/// Sessions of all users, a hundred bytes of memory each. The one that was not used for longest ends when there are more.
pub const SESSIONS_MAX: usize = 100_000;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// What makes the CSRF token of a session another than the session's.
const CSRF_CONTEXT: &str = "arras console csrf v1 ";

/// The token of a session: 256 random bits, kept by the browser alone.
#[derive(Clone)]
pub struct SessionToken(SecretString);

impl SessionToken {
    /// The text. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionToken").finish_non_exhaustive()
    }
}

/// What a form of whoever holds a token must carry. It says nothing of the token, and whoever cannot read the page does not have
/// it.
pub fn csrf_of(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(&format!("{CSRF_CONTEXT}{token}")))
}

/// A session that was begun.
#[derive(Debug)]
pub struct Session {
    /// For the browser's cookie.
    pub token: SessionToken,
    /// Who signed in.
    pub user: UserInfo,
    /// When it ends at the latest, in POSIX seconds.
    pub expires: u64,
}

/// A session that goes on.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Whose it is.
    pub user: UserInfo,
    /// What every form of it must carry.
    pub csrf: String,
    /// When it ends at the latest, in POSIX seconds.
    pub expires: u64,
}

impl SessionRow {
    fn is_over(self, seen: u64, now: u64) -> bool {
        let latest = now.saturating_add(AHEAD_MAX);
        let ahead = self.begun > latest || seen > latest;
        ahead || now.saturating_sub(self.begun) >= SESSION_MAX || now.saturating_sub(seen) >= IDLE_MAX
    }
}

impl Access {
    /// 256 random bits as a text.
    ///
    /// # Errors
    /// If the operating system has no randomness.
    pub fn new_token(&self) -> Result<SessionToken, AccessError> {
        let bytes = Secret::<TOKEN_BYTES>::generate(&*self.0.random)?;
        Ok(SessionToken(SecretString::new(bytes.to_base64().as_str())))
    }

    /// Begins a session. Its token is a new one, whatever the browser sent before.
    ///
    /// An email without an account costs as much as a wrong password, and is paused as one with an account is. `from` is where the
    /// attempt comes from, if not from this machine: one network has a part of all attempts.
    pub fn sign_in(
        &self,
        email: &str,
        password: &SecretString,
        from: Option<Network>,
        now: u64,
    ) -> Result<Session, SignInError> {
        if password.expose().len() > PASSWORD_BYTES_MAX {
            // Nobody's, whoever it is.
            return Err(SignInError::Wrong);
        }
        let row = email.parse::<Email>().ok().and_then(|email| {
            let picture = self.picture();
            picture.emails.get(&email).and_then(|id| picture.users.get(id)).cloned()
        });
        let account = match &row {
            Some(row) => Account::Known(row.info.id),
            None => Account::Unknown(sha256(&email.trim().to_ascii_lowercase())),
        };
        let is_right = self.attempt(account, password, row.as_deref(), from, now)?;
        let row = row.filter(|_| is_right).ok_or(SignInError::Wrong)?;
        let token = self.new_token()?;
        let writer = self.writer();
        let user = row.info.id;
        // The password may have been changed, or the user removed, since it was looked at; that ended all sessions.
        if !self.picture().users.get(&user).is_some_and(|current| Arc::ptr_eq(current, &row)) {
            return Err(SignInError::Wrong);
        }
        let mut changes = ends_for_one_more(&self.picture(), user, now);
        let session = SessionRow { user, begun: now, seen: now };
        changes.push(Change::PutSession(sha256(token.expose()), session));
        writer.commit(changes).map_err(AccessError::from)?;
        Ok(Session { token, user: row.info.clone(), expires: now.saturating_add(SESSION_MAX) })
    }

    /// Who holds a token, if its session is not over. Using it keeps it from being idle.
    pub fn session(&self, token: &str, now: u64) -> Option<(Principal, SessionView)> {
        let digest = sha256(token);
        let (user, row) = {
            let picture = self.picture();
            let live = picture.sessions.get(&digest)?;
            if live.row.is_over(live.last_seen(), now) {
                return None;
            }
            live.seen.fetch_max(now, Ordering::Relaxed);
            (picture.users.get(&live.row.user)?.info.clone(), live.row)
        };
        if now.saturating_sub(row.seen) >= SEEN_STEP {
            self.keep_seen(digest, now);
        }
        let principal =
            Principal { who: Who::User(user.id), advertiser: Some(user.advertiser), scope: user.scope };
        let expires = row.begun.saturating_add(SESSION_MAX);
        Some((principal, SessionView { user, csrf: csrf_of(token), expires }))
    }

    /// Ends a session, if there is one of this token.
    pub fn sign_out(&self, token: &str) -> Result<(), AccessError> {
        let digest = sha256(token);
        let writer = self.writer();
        if !self.picture().sessions.contains_key(&digest) {
            return Ok(());
        }
        Ok(writer.commit(vec![Change::RemoveSession(digest)])?)
    }

    /// Writes down that a session is used. The session goes on if that fails; after a restart it may be over sooner.
    fn keep_seen(&self, digest: [u8; 32], now: u64) {
        let writer = self.writer();
        // It may have ended, or another request may have written it down.
        let row = self.picture().sessions.get(&digest).map(|live| live.row);
        let Some(row) = row.filter(|row| now.saturating_sub(row.seen) >= SEEN_STEP) else { return };
        if let Err(error) = writer.commit(vec![Change::PutSession(digest, SessionRow { seen: now, ..row })]) {
            tracing::warn!(%error, "when a session was last used could not be kept");
        }
    }
}

/// Ends the sessions of a user that are over, and those that are too many with one more.
fn ends_for_one_more(picture: &Picture, user: crate::registry::UserId, now: u64) -> Vec<Change> {
    let is_over = |live: &Live| live.row.is_over(live.last_seen(), now);
    let mut own: Vec<_> = picture.sessions_of(user).collect();
    // Those that are over first, then those that were not used for longest.
    own.sort_by_key(|(digest, live)| (!is_over(live), live.last_seen(), **digest));
    let over = own.iter().filter(|(_, live)| is_over(live)).count();
    let too_many = (own.len() + 1).saturating_sub(SESSIONS_PER_USER_MAX);
    let mut ended: Vec<_> = own.iter().take(over.max(too_many)).map(|(digest, _)| **digest).collect();
    if ended.is_empty() && picture.sessions.len() >= SESSIONS_MAX {
        let longest = picture.sessions.iter().min_by_key(|(_, live)| (!is_over(live), live.last_seen()));
        ended.extend(longest.map(|(digest, _)| *digest));
    }
    ended.into_iter().map(Change::RemoveSession).collect()
}
