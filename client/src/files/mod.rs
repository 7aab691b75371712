//! Where a device keeps what must outlive the app: a handful of small files, each replaced whole.

mod folder;
mod memory;

use std::io;

pub use folder::Folder;
pub use memory::MemoryFiles;

/// A set of named files.
///
/// What the rest of the crate relies on: when [`Files::replace`] has returned, the new bytes survive a crash and a loss of
/// power; when it failed or never returned, the file holds the old bytes or the new ones, never a mixture. Only one
/// process uses a set at a time: two would each spend the same budget.
pub trait Files: Send {
    /// The names of all files, in any order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// The bytes of a file; `None` if there is none of this name.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Makes or replaces a file, durably.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file; none of this name is no error. After a loss of power it may be back.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}
