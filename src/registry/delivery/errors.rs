//! Why delivery numbers are refused, row by row.

use std::fmt;

use super::{CSV_BYTES_MAX, DELIVERY_ROWS_MAX, ROW_ERRORS_MAX};
use crate::registry::{ErrorKind, RegistryError};
use crate::store::StoreError;
use crate::text::counted;

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Which row of a list, or line of a file, from 1.
    pub row: usize,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Why no delivery number was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeliveryError {
    /// Rows are wrong.
    Rows {
        /// The first [`ROW_ERRORS_MAX`], in their order.
        errors: Vec<RowError>,
        /// How many more there are.
        more: usize,
        /// Whether they are lines of a file.
        lines: bool,
    },
    /// There are more rows than are taken at once.
    TooManyRows,
    /// The file has more bytes than are taken.
    TooLarge(usize),
    /// The file is not a table of delivery numbers.
    File(String),
    /// No such advertiser, or the store failed.
    Registry(RegistryError),
}

impl DeliveryError {
    /// What is wrong with rows, if it is about rows.
    pub fn rows(&self) -> &[RowError] {
        match self {
            Self::Rows { errors, .. } => errors,
            _ => &[],
        }
    }

    /// What is wrong, without the rows that [`DeliveryError::rows`] has.
    pub fn summary(&self) -> String {
        match self {
            Self::Rows { errors, more, lines } => {
                let what = if *lines { "line" } else { "row" };
                format!("nothing was changed, since {} cannot be taken", counted(errors.len() + more, what))
            }
            other => other.to_string(),
        }
    }

    /// Which kind it is, for the status of an answer.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Rows { .. } | Self::TooManyRows | Self::TooLarge(_) | Self::File(_) => ErrorKind::Invalid,
            Self::Registry(error) => error.kind(),
        }
    }
}

impl From<RegistryError> for DeliveryError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<StoreError> for DeliveryError {
    fn from(error: StoreError) -> Self {
        Self::Registry(error.into())
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows { errors, more, lines } => {
                let what = if *lines { "line" } else { "row" };
                f.write_str(&self.summary())?;
                for error in errors {
                    write!(f, "; {what} {}: {}", error.row, error.reason)?;
                }
                if *more > 0 {
                    write!(f, "; and {more} more")?;
                }
                Ok(())
            }
            Self::TooManyRows => write!(
                f,
                "these are more than the {DELIVERY_ROWS_MAX} rows that are taken at once, so that all or none are; nothing \
                 was changed. Send them in parts: what is sent twice does no harm"
            ),
            Self::TooLarge(bytes) => write!(
                f,
                "{bytes} bytes are more than the {CSV_BYTES_MAX} that a file may have; nothing was changed. Split it: what is \
                 sent twice does no harm"
            ),
            Self::File(reason) => write!(f, "{reason}; nothing was changed"),
            Self::Registry(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for DeliveryError {}

/// Errors of rows, as they are found.
#[derive(Debug, Default)]
pub(super) struct Found {
    errors: Vec<RowError>,
    more: usize,
}

impl Found {
    /// How many rows are wrong.
    pub(super) fn count(&self) -> usize {
        self.errors.len() + self.more
    }

    pub(super) fn add(&mut self, row: usize, reason: String) {
        if self.errors.len() < ROW_ERRORS_MAX {
            self.errors.push(RowError { row, reason });
        } else {
            self.more += 1;
        }
    }

    pub(super) fn done(mut self, lines: bool) -> Result<(), DeliveryError> {
        if self.errors.is_empty() {
            return Ok(());
        }
        self.errors.sort_by_key(|error| error.row);
        Err(DeliveryError::Rows { errors: self.errors, more: self.more, lines })
    }
}
