//! Tasks on disk: what an author writes, and what `arras task add` makes of it for each role.

pub mod author;
pub mod explain;
pub mod manifests;
pub mod provisioned;

pub use author::{TaskFile, TaskFileError};
pub use provisioned::{KnownTask, ProvisionedFile, TaskFolder};
