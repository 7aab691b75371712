//! What an HTTP answer to an upload means, for whatever HTTP stack a host has.

use arras_protocol::codec::{CodecError, Decode as _};
use arras_protocol::messages::{MediaType, ReportUploadStatus, UploadErrors};

use super::SendFailure;

/// The one status with which an aggregator says that all is well.
const OK: u16 = 200;

/// The answer to an [`UploadRequest`](super::UploadRequest), as any HTTP stack has it.
#[derive(Clone, Copy, Debug)]
pub struct HttpAnswer<'a> {
    /// The status code. Redirects are not to be followed.
    pub status: u16,
    /// The header `Content-Type`; empty if there is none.
    pub content_type: &'a str,
    /// The header `Retry-After`. Only its form in seconds is read; aggregators use no other.
    pub retry_after: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

impl HttpAnswer<'_> {
    /// What to give to [`Queue::answered`](super::Queue::answered), or to `App::answered`: the reports that the leader refused.
    ///
    /// # Errors
    /// The request failed as a whole, or somebody in between answered in the leader's place: a proxy's 204, an empty 202 or a page
    /// stored nothing.
    pub fn read(&self) -> Result<Vec<ReportUploadStatus>, SendFailure> {
        let retry_after = self.retry_after.and_then(seconds);
        match refused_reports(self.status, self.content_type, self.body) {
            Some(Ok(refused)) => Ok(refused),
            Some(Err(_)) | None => Err(SendFailure { retry_after }),
        }
    }
}

/// What a header `Retry-After` says, if it does in seconds.
pub(crate) fn seconds(retry_after: &str) -> Option<u64> {
    retry_after.trim().parse().ok()
}

/// The reports that a leader did not store; `None` if it was not a leader that answered. It answers 200 and nothing, or 200 and a
/// list.
pub(crate) fn refused_reports(
    status: u16,
    content_type: &str,
    body: &[u8],
) -> Option<Result<Vec<ReportUploadStatus>, CodecError>> {
    if status != OK {
        return None;
    }
    if body.is_empty() {
        return Some(Ok(Vec::new()));
    }
    let is_list = MediaType::UploadErrors.matches(content_type);
    is_list.then(|| Ok(UploadErrors::from_bytes(body)?.status))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arras_protocol::codec::Encode as _;
    use arras_protocol::messages::{ReportError, ReportId};

    use super::*;

    /// An example for hosts without the feature `upload` took every 200 for "stored" and passed an empty list on, so that
    /// whoever copied it lost the reports that a leader refuses, and all that a proxy's page was the answer to.
    #[test]
    fn every_host_reads_an_answer_like_the_courier() {
        let errors = MediaType::UploadErrors.as_str();
        let refused =
            ReportUploadStatus { report_id: ReportId::new([7; 16]), error: ReportError::OutdatedConfig };
        let list = UploadErrors { status: vec![refused] }.to_bytes();
        let read = |status, content_type, retry_after, body| {
            HttpAnswer { status, content_type, retry_after, body }.read()
        };
        assert_eq!(read(200, "", None, b"").unwrap(), []);
        assert_eq!(read(200, errors, None, &list).unwrap(), [refused]);
        for (status, content_type, body) in
            [(204, "", &b""[..]), (200, "text/html", b"hello"), (200, errors, b"abc"), (404, errors, &list)]
        {
            assert_eq!(
                read(status, content_type, Some(" 60"), body),
                Err(SendFailure { retry_after: Some(60) })
            );
        }
        assert_eq!(read(503, "", Some("Wed, 21 Oct 2026 07:28:00 GMT"), b""), Err(SendFailure::default()));
    }
}
