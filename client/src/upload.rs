//! Fetching the aggregators' HPKE configurations and uploading reports over HTTP.

use arras_protocol::codec::{CodecError, Decode as _, Encode as _};
use arras_protocol::messages::{
    HpkeConfigList, MediaType, Report, ReportUploadStatus, TaskId, UploadErrors, Url,
};

/// Longest answer that is read: upload errors are 17 bytes a report, a problem document is short. A server
/// that sends more is not one of ours.
pub const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// Why an upload or a fetch failed as a whole. Trying again is safe: reports that arrived are known by
/// their ids.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The server could not be reached, or the connection broke.
    #[error("the aggregator could not be reached: {0}")]
    Http(#[from] reqwest::Error),
    /// The server refused; `detail` is what it said.
    #[error("the aggregator answered {status}: {detail}")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The problem document, or what came in its place.
        detail: String,
        /// After how many seconds to try again, if the server said so.
        retry_after: Option<u64>,
    },
    /// The answer is not what the protocol says.
    #[error("the aggregator's answer does not decode: {0}")]
    Codec(#[from] CodecError),
    /// The answer is longer than any answer of the protocol.
    #[error("the aggregator's answer is longer than {MAX_RESPONSE_BYTES} bytes")]
    TooLong,
}

/// Uploads to one leader. The HTTP client is the caller's: it decides on roots of trust, proxies and relays.
#[derive(Clone, Debug)]
pub struct Uploader {
    http: reqwest::Client,
    leader: Url,
}

/// A resource under an aggregator's base URL, which may or may not end in a slash.
pub fn resource(base: &Url, path: &str) -> String {
    format!("{}/{path}", base.as_str().trim_end_matches('/'))
}

/// Fetches the HPKE configurations of an aggregator.
pub async fn fetch_hpke_configs(
    http: &reqwest::Client,
    aggregator: &Url,
) -> Result<HpkeConfigList, UploadError> {
    let response = http.get(resource(aggregator, "hpke_config")).send().await?;
    let body = read(response).await?;
    Ok(HpkeConfigList::from_bytes(&body)?)
}

impl Uploader {
    /// To a leader.
    pub fn new(http: reqwest::Client, leader: Url) -> Self {
        Self { http, leader }
    }

    /// Uploads reports of one task in one request. The answer lists those that were refused; the others are
    /// stored durably.
    pub async fn upload(
        &self,
        task: TaskId,
        reports: &[Report],
    ) -> Result<Vec<ReportUploadStatus>, UploadError> {
        let mut body = Vec::new();
        for report in reports {
            report.encode(&mut body);
        }
        self.upload_encoded(task, body).await
    }

    /// The same with an encoded `UploadRequest`.
    pub async fn upload_encoded(
        &self,
        task: TaskId,
        body: Vec<u8>,
    ) -> Result<Vec<ReportUploadStatus>, UploadError> {
        let response = self
            .http
            .post(resource(&self.leader, &format!("tasks/{task}/reports")))
            .header("content-type", MediaType::UploadRequest.as_str())
            .body(body)
            .send()
            .await?;
        let body = read(response).await?;
        Ok(UploadErrors::from_bytes(&body)?.status)
    }
}

/// The body of a successful response, at most [`MAX_RESPONSE_BYTES`] of it.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, UploadError> {
    let status = response.status();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(UploadError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(body);
    }
    let detail = String::from_utf8_lossy(&body).into_owned();
    Err(UploadError::Refused { status: status.as_u16(), detail, retry_after })
}
