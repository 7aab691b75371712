//! Serving manifests to devices: signed files of a folder, as they are, to everybody.
//!
//! They are signed by `arras manifest`, not here, so that the folder can as well be copied to any web server or cache:
//! devices trust the signature, not who hands it out.

use std::io;
use std::path::PathBuf;

use arras_protocol::manifest::entity_tag;
use arras_protocol::signed::SIGNED_BYTES_MAX;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Collector;
use super::http::{Failure, not_found, store_problem};
use crate::aggregator::work::blocking;
use crate::store::StoreError;
use crate::tasks::manifests::file_name;

/// For how long a cache may keep a manifest, in seconds: an hour. Longer only delays new campaigns; a device that has a
/// newer one refuses what an older cache says.
const MANIFEST_MAX_AGE: u32 = 3_600;

/// `GET /manifests/{advertiser}`.
pub(super) async fn manifest(
    State(collector): State<Collector>,
    Path(advertiser): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let none = || not_found("there is no manifest of this advertiser here; make one with `arras manifest`");
    let folder = collector.0.parts.manifests.clone().ok_or_else(none)?;
    // Only names of hosts have one: nothing that leads out of the folder.
    let name = file_name(&advertiser).ok_or_else(none)?;
    let read = blocking(move || read(&folder.join(name))).await;
    let text = read.map_err(|error| store_problem(&StoreError::prepare(error)))?.ok_or_else(none)?;
    let etag = entity_tag(&text);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.trim_start_matches("W/") == etag
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/jose"))];
        (StatusCode::OK, content_type, text).into_response()
    };
    let cache = format!("public, max-age={MANIFEST_MAX_AGE}");
    for (name, value) in [(header::ETAG, etag), (header::CACHE_CONTROL, cache)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The file, if there is one.
fn read(path: &PathBuf) -> io::Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() > SIGNED_BYTES_MAX as u64 => {
            Err(io::Error::other("a manifest is larger than any can be"))
        }
        Ok(_) => std::fs::read(path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
