//! A window as a row of the state.

use arras_protocol::messages::{Duration, Interval, Time};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::collector::store::{Collection, Stage};
use crate::store::StoreError;

/// A window as the state keeps it, in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowRecord {
    start: u64,
    duration: u64,
    /// In base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// Bytes of the spool that its release may take; none for one that fits the state, and in rows from before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) room: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

impl WindowRecord {
    /// `room` is what the release of a window that is under way may take of the spool.
    pub(super) fn encode(collection: &Collection, room: u64) -> Result<Vec<u8>, StoreError> {
        let mut record = Self {
            room: Some(room).filter(|room| *room > 0),
            start: collection.interval.start().0,
            duration: collection.interval.duration().0,
            request: None,
            location: None,
            sequence: None,
            failed: None,
        };
        match &collection.stage {
            Stage::UnderWay { request, location } => {
                record.request = Some(URL_SAFE_NO_PAD.encode(request));
                record.location.clone_from(location);
            }
            Stage::Released { sequence } => record.sequence = Some(*sequence),
            Stage::Failed { reason } => record.failed = Some(reason.clone()),
        }
        serde_json::to_vec(&record).map_err(StoreError::prepare)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Collection, StoreError> {
        Self::read(bytes)?.collection()
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(bytes).map_err(StoreError::prepare)
    }

    pub(super) fn collection(self) -> Result<Collection, StoreError> {
        let record = self;
        let interval =
            Interval::new(Time(record.start), Duration(record.duration)).map_err(StoreError::prepare)?;
        let stage = match (record.request, record.sequence, record.failed) {
            (Some(request), None, None) => {
                let request = URL_SAFE_NO_PAD.decode(request).map_err(StoreError::prepare)?;
                Stage::UnderWay { request, location: record.location }
            }
            (None, Some(sequence), None) => Stage::Released { sequence },
            (None, None, Some(reason)) => Stage::Failed { reason },
            _ => return Err(StoreError::prepare("a window of the collector's store has no clear stage")),
        };
        Ok(Collection { interval, stage })
    }
}
