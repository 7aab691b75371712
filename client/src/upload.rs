//! Fetching the aggregators' HPKE configurations and uploading reports over HTTP.

mod courier;

use arras_protocol::codec::{CodecError, Decode as _, Encode as _};
use arras_protocol::manifest::entity_tag;
use arras_protocol::messages::{HpkeConfigList, MediaType, Report, ReportUploadStatus, TaskId, Url};

use crate::queue::HttpAnswer;
pub use crate::queue::resource;
pub use courier::{Courier, Http, LOOK_SECONDS_MAX, Outbox, REQUEST_TIMEOUT, Transport};

/// Longest answer that is read: upload errors are 17 bytes a report, a problem document is short. A server
/// that sends more is not one of ours.
pub const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// The one status with which an aggregator says that all is well.
const OK: u16 = 200;

/// What was asked for is what the client has.
const NOT_MODIFIED: u16 = 304;

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
        /// The detail of the problem document, or what came in its place.
        detail: String,
        /// After how many seconds to try again, if the server said so.
        retry_after: Option<u64>,
    },
    /// The answer is not what the protocol says.
    #[error("the aggregator's answer does not decode: {0}")]
    Codec(#[from] CodecError),
    /// A success that an aggregator does not answer with: whoever answered, nothing shows that the reports are stored.
    #[error(
        "the answer is not an aggregator's: status {status}, content type {content_type:?}; a proxy in between may \
         have answered in its place"
    )]
    NotAnAggregator {
        /// The HTTP status code.
        status: u16,
        /// What it called its body; empty if nothing.
        content_type: String,
    },
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

/// Fetches the HPKE configurations of an aggregator.
pub async fn fetch_hpke_configs(
    http: &reqwest::Client,
    aggregator: &Url,
) -> Result<HpkeConfigList, UploadError> {
    let response = http.get(resource(aggregator, "hpke_config")).send().await?;
    let body = read(response).await?.succeeded()?.message(MediaType::HpkeConfigList)?;
    Ok(HpkeConfigList::from_bytes(&body)?)
}

/// Fetches the signed text of an advertiser's manifest from a collector, or from whatever serves the same;
/// `App::update_manifest` checks it. `held` is the text that the device has, see `App::manifest_text`; `None` is returned if
/// it is still the one.
///
/// The request says that somebody asks and, with `held`, which manifest they have: its tag is computed from the text. The tag
/// that a server gives is not looked at, since one that is handed back could be of one device only.
pub async fn fetch_manifest(
    http: &reqwest::Client,
    collector: &Url,
    advertiser: &str,
    held: Option<&str>,
) -> Result<Option<String>, UploadError> {
    let mut request = http.get(resource(collector, &format!("manifests/{advertiser}")));
    if let Some(text) = held {
        request = request.header("if-none-match", entity_tag(text.as_bytes()));
    }
    let response = request.send().await?;
    if held.is_some() && response.status().as_u16() == NOT_MODIFIED {
        return Ok(None);
    }
    let answer = read(response).await?.succeeded()?;
    match String::from_utf8(answer.body) {
        Ok(text) if answer.status == OK => Ok(Some(text)),
        _ => Err(UploadError::NotAnAggregator { status: answer.status, content_type: answer.content_type }),
    }
}

impl Uploader {
    /// To a leader.
    pub fn new(http: reqwest::Client, leader: Url) -> Self {
        Self { http, leader }
    }

    /// Uploads reports of one task in one request. The answer lists those that were refused; the others are
    /// stored durably. Any other answer than an aggregator's is an error, see [`UploadError::NotAnAggregator`].
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
        self.post(task, body).await?.succeeded()?.refused_reports()
    }

    async fn post(&self, task: TaskId, body: Vec<u8>) -> Result<Answer, UploadError> {
        let response = self
            .http
            .post(resource(&self.leader, &format!("tasks/{task}/reports")))
            .header("content-type", MediaType::UploadRequest.as_str())
            .body(body)
            .send()
            .await?;
        read(response).await
    }
}

/// An answer, whoever gave it.
#[derive(Debug)]
struct Answer {
    status: u16,
    content_type: String,
    retry_after: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    /// As a host without this module has it.
    fn as_http(&self) -> HttpAnswer<'_> {
        HttpAnswer {
            status: self.status,
            content_type: &self.content_type,
            retry_after: self.retry_after.as_deref(),
            body: &self.body,
        }
    }

    /// Unless the server refused.
    fn succeeded(self) -> Result<Self, UploadError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let retry_after = self.retry_after.as_deref().and_then(crate::queue::seconds);
        Err(UploadError::Refused { status: self.status, detail: detail(&self.body), retry_after })
    }

    fn refused_reports(self) -> Result<Vec<ReportUploadStatus>, UploadError> {
        match crate::queue::refused_reports(self.status, &self.content_type, &self.body) {
            Some(refused) => Ok(refused?),
            None => {
                Err(UploadError::NotAnAggregator { status: self.status, content_type: self.content_type })
            }
        }
    }

    /// The body, if it is the message that was asked for.
    fn message(self, kind: MediaType) -> Result<Vec<u8>, UploadError> {
        if self.status == OK && kind.matches(&self.content_type) {
            return Ok(self.body);
        }
        Err(UploadError::NotAnAggregator { status: self.status, content_type: self.content_type })
    }
}

/// A response, at most [`MAX_RESPONSE_BYTES`] of it.
async fn read(mut response: reqwest::Response) -> Result<Answer, UploadError> {
    let status = response.status().as_u16();
    let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let content_type = header("content-type").unwrap_or_default();
    let retry_after = header("retry-after");
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(UploadError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, content_type, retry_after, body })
}

/// What a refusal says: the detail of a problem document, or its title, or whatever came in its place.
fn detail(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<serde_json::Value>(body).ok();
    let said = ["detail", "title"].into_iter().find_map(|name| problem.as_ref()?.get(name)?.as_str());
    said.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arras_protocol::messages::{ReportError, ReportId, UploadErrors};

    use super::*;
    use crate::queue::SendFailure;

    fn answer(status: u16, content_type: &str, body: &[u8]) -> Answer {
        Answer { status, content_type: content_type.to_owned(), retry_after: None, body: body.to_vec() }
    }

    /// A proxy's page with a 200 asked devices to come back later, and only hosts that read answers themselves heard it; of " 60" it
    /// was they, too.
    #[test]
    fn who_asks_to_come_back_later_is_heard() {
        let page =
            Answer { retry_after: Some(" 60".to_owned()), ..answer(200, "text/html", b"<h1>later</h1>") };
        assert_eq!(page.as_http().read(), Err(SendFailure { retry_after: Some(60) }));
        let busy = Answer { status: 503, ..page };
        let refused = busy.succeeded().unwrap_err();
        assert!(matches!(refused, UploadError::Refused { retry_after: Some(60), .. }), "{refused}");
    }

    /// Any 2xx without a body was taken for "stored", so a proxy that answered 204, or a queue in front that answered
    /// 202 and then lost the request, made a client drop its reports.
    #[test]
    fn only_a_leaders_own_answer_means_stored() {
        let errors = MediaType::UploadErrors.as_str();
        assert_eq!(answer(200, "", b"").refused_reports().unwrap(), []);
        let refused = ReportUploadStatus {
            report_id: ReportId::from_bytes(&[7; 16]).unwrap(),
            error: ReportError::ReportReplayed,
        };
        let list = UploadErrors { status: vec![refused] }.to_bytes();
        assert_eq!(answer(200, errors, &list).refused_reports().unwrap(), [refused]);
        let config = MediaType::HpkeConfigList.as_str();
        for (status, content_type, body) in [
            (204, "", &b""[..]),
            (202, "", b""),
            (201, errors, b""),
            (206, errors, &list),
            (200, "text/html", b"<h1>maintenance</h1>"),
            (200, "", &list),
            (200, config, &list),
        ] {
            let refused = answer(status, content_type, body).refused_reports();
            assert!(matches!(refused, Err(UploadError::NotAnAggregator { .. })), "{status} {content_type}");
        }
        assert!(matches!(answer(200, errors, b"abc").refused_reports(), Err(UploadError::Codec(_))));
        assert!(answer(200, config, b"x").message(MediaType::HpkeConfigList).is_ok());
        assert!(answer(200, "text/html", b"x").message(MediaType::HpkeConfigList).is_err());
    }

    #[test]
    fn a_refusal_says_what_the_problem_document_says() {
        for (body, said) in [
            (r#"{"type":"x","title":"No.","detail":"no space is left"}"#, "no space is left"),
            (r#"{"type":"x","title":"No."}"#, "No."),
            (r#"{"type":"x"}"#, r#"{"type":"x"}"#),
            ("<h1>502</h1>", "<h1>502</h1>"),
        ] {
            assert_eq!(detail(body.as_bytes()), said);
        }
    }
}
