//! What can go wrong in the registry, said to whoever asked.

use crate::store::StoreError;
use crate::tasks::TaskFileError;

/// Why the registry did not do something. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There is no such advertiser.
    #[error("there is no advertiser of this id; ask for the list of advertisers")]
    NoAdvertiser,
    /// The advertiser has no such campaign.
    #[error("this advertiser has no campaign of this id; ask for the list of its campaigns")]
    NoCampaign,
    /// What was given is refused.
    #[error("{0}")]
    Invalid(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Another campaign of the advertiser has, or had, this name.
    #[error("there is a campaign called {0} already, and a name stays a campaign's for good; choose another")]
    NameTaken(String),
    /// A limit is reached.
    #[error("{0}")]
    Full(String),
    /// The terms make no task that aggregators would take.
    #[error("the terms are refused: {0}")]
    Terms(#[from] TaskFileError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A row of the store is not what this version writes.
    #[error(
        "the registry in the collector's store cannot be read: {0}; keep a copy of the store, and report this"
    )]
    Row(String),
    /// The operating system gives no random numbers.
    #[error(
        "the operating system gives no random numbers, so nothing new can be named; restart, and look at its log"
    )]
    Randomness,
}

/// Kinds of [`RegistryError`], for the status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was named is not there.
    NotFound,
    /// What was given is wrong.
    Invalid,
    /// What was given contradicts what is there.
    Conflict,
    /// A limit is reached; the error's text says what to do.
    Full,
    /// The collector's own trouble; the same may be asked again later.
    Store,
}

impl RegistryError {
    /// Which kind it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoAdvertiser | Self::NoCampaign => ErrorKind::NotFound,
            Self::Invalid(_) | Self::Terms(_) => ErrorKind::Invalid,
            Self::Conflict(_) | Self::NameTaken(_) => ErrorKind::Conflict,
            Self::Full(_) => ErrorKind::Full,
            Self::Store(_) | Self::Row(_) | Self::Randomness => ErrorKind::Store,
        }
    }
}
