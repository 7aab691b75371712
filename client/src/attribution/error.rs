//! Why a call is refused, by the names that the standard's errors have in JavaScript.

use super::storage::StorageError;

/// Why a call is refused. All but the last are the caller's fault, are decided before anything is read from the device's
/// state, and so say nothing about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttributionError {
    /// A number is outside of what the standard or the device's configuration allows: `RangeError`.
    #[error("{0}")]
    Range(String),
    /// The aggregation service is none that the device knows: `ReferenceError`.
    #[error("{0:?} is not an aggregation service of this device")]
    UnknownService(String),
    /// A number that has to be finite is not, or a list is empty that must not be: `TypeError`.
    #[error("{0}")]
    Type(String),
    /// A text is not the host of a site: `SyntaxError`.
    #[error("{0:?} has no registrable domain; give a host name such as \"shop.example\"")]
    Syntax(String),
    /// The page may not use the API, or no person has acted on it lately: `NotAllowedError`.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The device could not keep what it has to keep. Nothing was changed.
    #[error("the attribution state could not be written: {0}")]
    Storage(#[from] StorageError),
}

impl AttributionError {
    /// The error's name in JavaScript, and whether it is the name of a `DOMException`. A failure of storage has
    /// none: the standard has no error for it.
    pub fn script_name(&self) -> Option<(&'static str, bool)> {
        Some(match self {
            Self::Range(_) => ("RangeError", false),
            Self::UnknownService(_) => ("ReferenceError", false),
            Self::Type(_) => ("TypeError", false),
            Self::Syntax(_) => ("SyntaxError", true),
            Self::NotAllowed(_) => ("NotAllowedError", true),
            Self::Storage(_) => return None,
        })
    }
}
