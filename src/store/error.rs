//! What can go wrong with a store, and what the operator does about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{Damage, Position, StoreId};

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room. Nothing of the refused write remains; callers answer 503 and the
    /// peer tries again later.
    #[error("no room: {what}; free disk space or raise the limit")]
    Full {
        /// What is full.
        what: String,
    },

    /// The operating system refused a file operation.
    #[error("{doing} {}: {source}; check the disk, and that this user may read and write there", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// What is on disk is not what was written: failing hardware, or another program wrote here.
    #[error("{} is damaged at byte {offset}: {damage}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the damage was noticed, in bytes from the start.
        offset: u64,
        /// What is wrong there; its text says what to do.
        damage: Damage,
    },

    /// The spool holds no record at this position: deleted, not yet durable, or never written.
    #[error(
        "no record at {position}; the spool holds {start} up to {end}. If this goes on, restart the role: it says then \
         whether a file is missing"
    )]
    NoRecord {
        /// What was asked for.
        position: Position,
        /// The first position that the spool still holds.
        start: Position,
        /// The end of what is durable.
        end: Position,
    },

    /// The store is older than what this role has already acted on: an older copy, or a log
    /// whose end is damaged, which sled takes for an earlier end.
    #[error(
        "the store in {} ends at commit {store}, but the watermark says that commit {watermark} was durable: \
         an older copy was put in its place, or its end is damaged. Going on would take reports a second time, count them twice and \
         sample noise again, so it is refused. Put the newest copy back; if it is lost, start a new, empty store \
         with new keys and new tasks",
        dir.display()
    )]
    BehindWatermark {
        /// The store's directory.
        dir: PathBuf,
        /// The last commit in the store; 0 if it is empty.
        store: u64,
        /// The last commit known to have been durable.
        watermark: u64,
    },

    /// A store without its watermark: whether it is the newest copy cannot be known.
    #[error(
        "{} is missing, so nobody can tell whether the store in {} is the newest copy. Put the watermark back \
         (it is never part of a backup); if it is lost, start a new, empty store with new keys and new tasks",
        path.display(), dir.display()
    )]
    MissingWatermark {
        /// Where the watermark should be.
        path: PathBuf,
        /// The store's directory.
        dir: PathBuf,
    },

    /// The watermark belongs to another store.
    #[error(
        "the store in {} has id {found:?}, the watermark has {expected:?}; check that the configured paths belong \
         together",
        dir.display()
    )]
    WrongStore {
        /// The store's directory.
        dir: PathBuf,
        /// The store's id.
        found: StoreId,
        /// The watermark's id.
        expected: StoreId,
    },

    /// The store belongs to another role.
    #[error("the store belongs to the role {found}, not {expected}; every role has a directory of its own")]
    WrongRole {
        /// The role in the store.
        found: String,
        /// The role that wants to use it.
        expected: String,
    },

    /// What the ledger says was spent is not what the collected windows cost.
    #[error(
        "the ledger in {} and the windows that were collected disagree about budget source {budget}: {what}{}. Both \
         are written by one commit, so something else than this program changed the store, or it has a fault; nothing \
         was changed. `arras budget --config FILE` lists both, line by line. Keep a copy of the store, and see \"A ledger \
         that disagrees\" in docs/operating.md",
        dir.display(), if *more == 0 { String::new() } else { format!(" (and {more} more)") }
    )]
    LedgerDisagrees {
        /// The state's directory.
        dir: PathBuf,
        /// The name of the first source about which they disagree.
        budget: String,
        /// The first thing about which they do.
        what: String,
        /// How many more there are.
        more: usize,
    },

    /// A newer version of this program wrote the store.
    #[error("the store has schema {found}, this version reads {expected}; install the version that wrote it")]
    SchemaTooNew {
        /// The schema on disk.
        found: u32,
        /// The schema of this version.
        expected: u32,
    },

    /// An older version of this program wrote the store.
    #[error(
        "the store has schema {found}, this version reads {expected}; finish its batches with the older version"
    )]
    SchemaTooOld {
        /// The schema on disk.
        found: u32,
        /// The schema of this version.
        expected: u32,
    },

    /// Another process (or another handle in this one) uses the files.
    #[error("{} is in use by another process; stop it, or configure another directory", path.display())]
    Locked {
        /// What is locked.
        path: PathBuf,
    },

    /// An earlier write failed in a way that leaves open what is on disk.
    #[error("an earlier {what} failed, so what is durable is unknown; repair the disk and restart")]
    InDoubt {
        /// The write that failed.
        what: &'static str,
    },

    /// The caller passed more than a limit of the store.
    #[error("{what} of {bytes} bytes; the limit is {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The largest size that is taken.
        max: u64,
    },

    /// The caller passed something that can never be stored.
    #[error("not storable: {0}")]
    Invalid(&'static str),

    /// The storage engine reports a fault of its own.
    #[error("the storage engine reports: {0}; keep a copy of the store's directory before anything else")]
    Engine(String),

    /// What was to be stored could not be put together; nothing was stored.
    #[error("could not be put together: {0}")]
    Prepare(String),
}

impl StoreError {
    /// An error of the caller's part of a transaction.
    pub fn prepare(error: impl std::fmt::Display) -> Self {
        Self::Prepare(error.to_string())
    }

    /// Whether the disk is full: the one case that passes by itself. Nothing of the call was kept.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// The same error once more: the callers whose reports were written together all hear of it.
    pub(crate) fn repeat(&self) -> Self {
        match self {
            Self::Full { what } => Self::Full { what: what.clone() },
            Self::Io { doing, path, source } => {
                let source =
                    source.raw_os_error().map_or_else(|| source.kind().into(), io::Error::from_raw_os_error);
                Self::Io { doing, path: path.clone(), source }
            }
            Self::InDoubt { what } => Self::InDoubt { what },
            Self::Corrupt { file, offset, damage } => {
                Self::Corrupt { file: file.clone(), offset: *offset, damage: *damage }
            }
            Self::TooLarge { what, bytes, max } => Self::TooLarge { what, bytes: *bytes, max: *max },
            Self::Invalid(what) => Self::Invalid(what),
            other => Self::Engine(other.to_string()),
        }
    }

    /// Damage to a file, noticed at a byte of it.
    pub(crate) fn damaged(file: impl Into<PathBuf>, offset: u64, damage: Damage) -> Self {
        Self::Corrupt { file: file.into(), offset, damage }
    }

    /// Sorts an error of the operating system: a full disk is its own case, as it is the
    /// one that passes.
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { what: format!("{doing} {}: {source}", path.display()) }
            }
            _ => Self::Io { doing, path: path.to_owned(), source },
        }
    }
}
