//! Where the state is kept. The engine asks for two things, and both are done before it answers its caller.

use std::sync::{Arc, Mutex, PoisonError};

use super::state::Change;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file system's answer.
        #[source]
        source: std::io::Error,
    },
    /// What was kept is damaged. To begin anew without giving spent budget back, see `FileStore::replace_damaged`.
    #[error("the attribution state is damaged: {0}")]
    Damaged(&'static str),
    /// Another process has it open: two would spend the same budget.
    #[error("the attribution state is in use by another process")]
    InUse,
    /// A write failed earlier, and what is kept is only known after the store was opened again.
    #[error("an earlier write failed; open the attribution state again")]
    Failed,
}

/// Keeps the state of one device.
///
/// Whoever implements it promises: when `append` or `replace` returns `Ok`, a loss of power or a killed process
/// changes nothing; and of a call that did not return, either all its changes are there afterwards or none. If
/// one returns an error, every later call does too, until the state was loaded again. Budgets rest on this: what a
/// conversion spends is appended before its report exists.
pub trait Storage {
    /// All changes that were kept, in order; none for a new device. Called once, first.
    fn load(&mut self) -> Result<Vec<Change>, StorageError>;

    /// Keeps more changes. There may be none; the call then takes as long as with some, so that its time tells nothing.
    fn append(&mut self, changes: &[Change]) -> Result<(), StorageError>;

    /// Keeps these changes in place of all earlier ones, of which no trace may be left: this is how a person's history
    /// is erased.
    fn replace(&mut self, changes: &[Change]) -> Result<(), StorageError>;

    /// Whether so much was appended that the engine should call `replace` with what is left of it.
    fn has_grown(&self) -> bool {
        false
    }
}

/// Keeps the state in memory, for tests and for private windows that leave no trace. Clones share one state, so that a test can
/// open it a second time.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    changes: Vec<Change>,
    /// How many there were when the list was last replaced.
    made: usize,
}

impl MemoryStore {
    fn with<T>(&self, f: impl FnOnce(&mut Kept) -> T) -> T {
        // A panic in between leaves a whole list: it is changed by one call.
        f(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Storage for MemoryStore {
    fn load(&mut self) -> Result<Vec<Change>, StorageError> {
        Ok(self.with(|kept| kept.changes.clone()))
    }

    fn append(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.with(|kept| kept.changes.extend_from_slice(changes));
        Ok(())
    }

    fn replace(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.with(|kept| *kept = Kept { changes: changes.to_vec(), made: changes.len() });
        Ok(())
    }

    fn has_grown(&self) -> bool {
        self.with(|kept| kept.changes.len() - kept.made > kept.made.max(super::state::MAX_IMPRESSIONS))
    }
}
