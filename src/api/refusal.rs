//! What is said to whoever asks for something that is not given.

use axum::response::{IntoResponse, Response};

use crate::access::{AccessError, AccessErrorKind};
use crate::net::problem::{OwnError, ProblemDocument};
use crate::registry::{ErrorKind, RegistryError};
use crate::store::StoreError;

/// A problem document as an error; boxed for its size.
#[derive(Debug)]
pub(super) struct Refusal(Box<ProblemDocument>);

impl Refusal {
    /// An error of a kind, in words of the reader.
    pub(super) fn new(kind: OwnError, detail: impl Into<String>) -> Self {
        ProblemDocument::own(kind).with_detail(detail).into()
    }

    /// The request is not as documented.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(OwnError::InvalidRequest, detail)
    }

    /// There is no such thing, or not for whoever asks: nothing tells the two apart.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(OwnError::NotFound, detail)
    }

    /// No token, a wrong one, one that was revoked, one that is too old: the answer is the same.
    pub(super) fn unauthorized() -> Self {
        Self::new(
            OwnError::Unauthorized,
            "send an API key of the advertiser as a bearer token: Authorization: Bearer arras_...",
        )
    }

    /// An advertiser that there is not, or that is another's.
    pub(super) fn no_advertiser() -> Self {
        Self::not_found("there is no such advertiser, or the key is not of this advertiser")
    }

    /// Whatever is not the caller's fault; what happened stands in the log.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "a request of the advertisers' interface failed");
        Self::new(OwnError::Internal, "the collector failed; its operator finds the reason in its log")
    }

    /// Names what is there already, if this is a conflict with it.
    pub(super) fn naming(self, id: Option<impl std::fmt::Display>) -> Self {
        match id {
            Some(id) if *self.0.kind() == OwnError::Conflict.into() => Self(Box::new(self.0.with_id(id))),
            _ => self,
        }
    }

    /// The document.
    #[cfg(test)]
    pub(super) fn document(&self) -> &ProblemDocument {
        &self.0
    }
}

impl From<ProblemDocument> for Refusal {
    fn from(document: ProblemDocument) -> Self {
        Self(Box::new(document))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if error.is_full() {
            return Self::new(
                OwnError::Overloaded,
                "the collector's store is full; its operator has to make room",
            );
        }
        Self::internal(&error)
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => OwnError::NotFound,
            ErrorKind::Invalid => OwnError::InvalidRequest,
            ErrorKind::Conflict | ErrorKind::Full => OwnError::Conflict,
            ErrorKind::Store => {
                return match error {
                    RegistryError::Store(error) => error.into(),
                    error => Self::internal(&error),
                };
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        let kind = match error.kind() {
            AccessErrorKind::NotFound => OwnError::NotFound,
            AccessErrorKind::Invalid => OwnError::InvalidRequest,
            AccessErrorKind::Conflict | AccessErrorKind::Full => OwnError::Conflict,
            AccessErrorKind::Busy => OwnError::Overloaded,
            AccessErrorKind::Store => {
                return match error {
                    AccessError::Store(error) => error.into(),
                    error => Self::internal(&error),
                };
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
