//! What goes wrong.

use crate::config::secret::NoRandomness;
use crate::store::StoreError;

/// Why something about keys, users or sessions was not done. The text tells whoever asked what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// There is no such key or user of this advertiser.
    #[error("there is no such {0} any more; look at the list of those that there are")]
    NotFound(&'static str),
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// There are as many as there may be.
    #[error("{0}")]
    Full(String),
    /// Too many passwords and keys are being checked.
    #[error("too many passwords are being checked at the moment; try again in a few seconds")]
    Busy,
    /// The operating system gave no randomness.
    #[error("{0}")]
    Random(#[from] NoRandomness),
    /// The store failed.
    #[error("this cannot be kept at the moment; try again later, and tell whoever runs this collector: {0}")]
    Store(#[from] StoreError),
}

/// What an [`AccessError`] comes to for whoever asked, such as an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessErrorKind {
    /// What it is about is not there.
    NotFound,
    /// The request is wrong.
    Invalid,
    /// The request contradicts what is there.
    Conflict,
    /// A limit is reached.
    Full,
    /// It may work in some seconds.
    Busy,
    /// The collector is at fault.
    Store,
}

impl AccessError {
    /// What it comes to.
    pub fn kind(&self) -> AccessErrorKind {
        match self {
            Self::NotFound(_) => AccessErrorKind::NotFound,
            Self::Invalid(_) => AccessErrorKind::Invalid,
            Self::Conflict(_) => AccessErrorKind::Conflict,
            Self::Full(_) => AccessErrorKind::Full,
            Self::Busy => AccessErrorKind::Busy,
            Self::Random(_) | Self::Store(_) => AccessErrorKind::Store,
        }
    }
}

/// Why nobody is signed in. No variant tells whether there is an account of this email.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// No account has this email and this password.
    #[error("email or password is wrong; check both and try again")]
    Wrong,
    /// Wrong passwords were tried too often, with an account or with an email that has none.
    #[error("there were too many attempts with this email; try again in {}", pause_text(*seconds))]
    Paused {
        /// How long, in seconds.
        seconds: u64,
    },
    /// Too many people sign in at once, or somebody tries a lot of passwords.
    #[error("there are too many attempts to sign in at the moment; try again in a few seconds")]
    Busy,
    /// Something here failed.
    #[error("{0}")]
    Failed(AccessError),
}

impl From<AccessError> for SignInError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Busy => Self::Busy,
            error => Self::Failed(error),
        }
    }
}

/// A pause, rounded up.
fn pause_text(seconds: u64) -> String {
    if seconds < 60 {
        return crate::text::counted(seconds.max(1), "second");
    }
    crate::text::counted(seconds.div_ceil(60), "minute")
}
