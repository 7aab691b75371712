//! Why a command fails, and the exit code that goes with it.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::path::Path;

/// Why a command did not do what it was told.
///
/// Whatever is an error becomes [`Failure::Failed`] by itself; that the command line is wrong has to be said.
#[derive(Debug)]
pub enum Failure {
    /// An option, or what is in a file that it names, makes no sense; the text names the option.
    Usage(String),
    /// Anything else.
    Failed(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// The process's exit code.
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => super::USAGE,
            Self::Failed(_) => super::FAILED,
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(reason) => f.write_str(reason),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// What is wrong with a file that was named, with its name.
pub(super) fn named(path: &Path, error: impl Display) -> String {
    format!("{}: {error}", path.display())
}
