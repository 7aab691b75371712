//! A client for one peer: one origin, one token, one certificate authority.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, Method, StatusCode, header};
use bytes::{Bytes, BytesMut};
use reqwest::redirect;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::auth::BearerToken;
use super::endpoint::Endpoint;
use super::problem::ProblemDocument;
use super::tls::{self, TlsError};

#[cfg(any(test, feature = "test-seams"))]
pub use self::simulated::{Exchange, Network, NetworkFailure};

/// A peer that does not even accept a connection in this time is down.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A whole request with its answer. A helper that opens and verifies the largest
/// job on a slow machine needs seconds; past this the leader had better ask again,
/// which is safe because answers to repeated requests are stored. It also ends the
/// request that is handed to a connection in the instant in which the peer closes
/// it: seen with hyper 1.12, once in thousands of such closures, to wait for ever.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Shorter than the server's header timeout, so that a connection is hardly ever
/// reused at the moment when the peer closes it.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer's body. The largest is that of an aggregation job, some hundred bytes
/// a report; more than this would only fill our memory.
pub const RESPONSE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A peer may ask us to wait, but not for ever.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The reference leads away from the peer (a Location header can); nothing was sent.
    #[error("the address is not below the peer's endpoint {0}; nothing was sent")]
    OtherOrigin(String),
    /// No connection; the request has not reached the peer.
    #[error(
        "no connection to {origin}: {cause}; check that it runs, and the CA certificate configured for it"
    )]
    NotConnected {
        /// The peer's origin.
        origin: String,
        /// What the lower layers say.
        cause: String,
    },
    /// The peer did not answer in time; it may have received the request.
    #[error("{0} did not answer in time; it may have received the request")]
    TimedOut(String),
    /// The connection broke or the answer was no HTTP; the peer may have received the request.
    #[error("the exchange with {origin} broke off: {cause}; it may have received the request")]
    Broken {
        /// The peer's origin.
        origin: String,
        /// What the lower layers say.
        cause: String,
    },
    /// The answer is larger than [`RESPONSE_BYTES_MAX`].
    #[error("the answer of {0} is larger than 32 MiB")]
    TooLarge(String),
    /// https without the certificate authority to check it against.
    #[error(
        "an https endpoint needs `ca`, the certificate of the authority that issued the peer's certificate"
    )]
    NoAuthority,
    /// The CA certificate cannot be used.
    #[error("the CA certificate: {0}")]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(String),
}

/// A peer's answer, whatever its status.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`RESPONSE_BYTES_MAX`].
    pub body: Bytes,
    /// The Location header as an absolute URL. It may be passed to [`PeerClient::get`],
    /// which refuses it if it leads elsewhere.
    pub location: Option<String>,
}

impl Reply {
    /// The Content-Type header.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(header::CONTENT_TYPE)?.to_str().ok()
    }

    /// How long the peer asks to wait (RFC 9110 10.2.3), at most [`RETRY_AFTER_MAX`].
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let text = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = match text.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => RETRY_AFTER_MAX,
            Err(_) => {
                let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
                SystemTime::from(date).duration_since(now).unwrap_or_default()
            }
        };
        Some(wait.min(RETRY_AFTER_MAX))
    }

    /// The problem document in the body, if there is one.
    pub fn problem(&self) -> Option<ProblemDocument> {
        ProblemDocument::parse(self.status, self.content_type()?, &self.body)
    }
}

/// Speaks to one peer. The token leaves for URLs below that peer's endpoint only;
/// redirects are not followed, proxies from the environment are not used.
#[derive(Clone, Debug)]
pub struct PeerClient {
    endpoint: Endpoint,
    token: Option<BearerToken>,
    transport: Transport,
}

#[derive(Clone, Debug)]
enum Transport {
    Http(reqwest::Client),
    #[cfg(any(test, feature = "test-seams"))]
    Simulated(simulated::Peer),
}

impl PeerClient {
    /// `ca_pem` holds the certificates that may have issued the peer's; nothing else
    /// is trusted. It may be missing only if the endpoint is plain http (and thus on
    /// a loopback address).
    pub fn new(
        endpoint: Endpoint,
        token: Option<BearerToken>,
        ca_pem: Option<&[u8]>,
    ) -> Result<Self, ClientError> {
        if endpoint.is_https() && ca_pem.is_none() {
            return Err(ClientError::NoAuthority);
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(ca_pem)?)
            .https_only(endpoint.is_https())
            .http1_only()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()
            .map_err(|error| ClientError::Setup(causes(&error)))?;
        Ok(Self { endpoint, token, transport: Transport::Http(http) })
    }

    /// The peer's endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// POST. `reference` is a path below the endpoint (`tasks/...`) or a Location.
    pub async fn post(
        &self,
        reference: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<Reply, ClientError> {
        self.send(Method::POST, reference, Some((content_type, body.into()))).await
    }

    /// GET. `reference` as in [`PeerClient::post`].
    pub async fn get(&self, reference: &str) -> Result<Reply, ClientError> {
        self.send(Method::GET, reference, None).await
    }

    /// DELETE. `reference` as in [`PeerClient::post`].
    pub async fn delete(&self, reference: &str) -> Result<Reply, ClientError> {
        self.send(Method::DELETE, reference, None).await
    }

    /// PUT. `reference` as in [`PeerClient::post`].
    pub async fn put(
        &self,
        reference: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<Reply, ClientError> {
        self.send(Method::PUT, reference, Some((content_type, body.into()))).await
    }

    /// PATCH. `reference` as in [`PeerClient::post`].
    pub async fn patch(
        &self,
        reference: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<Reply, ClientError> {
        self.send(Method::PATCH, reference, Some((content_type, body.into()))).await
    }

    /// GET of one of the media types in which a resource is there. `reference` as in [`PeerClient::post`].
    pub async fn get_as(&self, reference: &str, accept: &'static str) -> Result<Reply, ClientError> {
        self.send_accepting(Method::GET, reference, None, Some(accept)).await
    }

    async fn send(
        &self,
        method: Method,
        reference: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Reply, ClientError> {
        self.send_accepting(method, reference, body, None).await
    }

    async fn send_accepting(
        &self,
        method: Method,
        reference: &str,
        body: Option<(&'static str, Bytes)>,
        accept: Option<&'static str>,
    ) -> Result<Reply, ClientError> {
        // The only place where the token is attached, right after the check of where it goes.
        let url = self
            .endpoint
            .resource(reference)
            .ok_or_else(|| ClientError::OtherOrigin(self.endpoint.as_str().to_owned()))?;
        match &self.transport {
            Transport::Http(http) => {
                let mut request = http.request(method, url);
                if let Some(token) = &self.token {
                    request = request.header(header::AUTHORIZATION, token.header());
                }
                if let Some((content_type, bytes)) = body {
                    request = request.header(header::CONTENT_TYPE, content_type).body(bytes);
                }
                if let Some(accept) = accept {
                    request = request.header(header::ACCEPT, accept);
                }
                let response = request.send().await.map_err(|error| self.error(&error))?;
                self.receive(response).await
            }
            #[cfg(any(test, feature = "test-seams"))]
            Transport::Simulated(peer) => {
                let token = self.token.as_ref().map(BearerToken::header);
                peer.send(&self.endpoint, method, url, token, body).await
            }
        }
    }

    async fn receive(&self, mut response: reqwest::Response) -> Result<Reply, ClientError> {
        let too_large = || ClientError::TooLarge(self.endpoint.origin());
        if response.content_length().is_some_and(|length| length > RESPONSE_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.error(&error))? {
            if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|value| response.url().join(value.to_str().ok()?).ok())
            .map(String::from);
        Ok(Reply {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
            location,
        })
    }

    fn error(&self, error: &reqwest::Error) -> ClientError {
        let origin = self.endpoint.origin();
        if error.is_connect() {
            ClientError::NotConnected { origin, cause: causes(error) }
        } else if error.is_timeout() {
            ClientError::TimedOut(origin)
        } else {
            ClientError::Broken { origin, cause: causes(error) }
        }
    }
}

/// A network of a test's own in place of sockets.
#[cfg(any(test, feature = "test-seams"))]
mod simulated {
    use std::fmt;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;

    use axum::http::{HeaderValue, Method, Request, Response, header};
    use bytes::Bytes;
    use reqwest::Url;

    use super::{BearerToken, ClientError, Endpoint, PeerClient, REQUEST_TIMEOUT, Reply, Transport};

    /// What becomes of a request.
    pub type Exchange = Pin<Box<dyn Future<Output = Result<Response<Bytes>, NetworkFailure>> + Send>>;

    /// Carries requests to peers. A future that never ends is a peer that never answers: it is dropped after
    /// [`REQUEST_TIMEOUT`].
    pub trait Network: Send + Sync {
        /// Delivers a request, whose URI is absolute, and brings its answer.
        fn exchange(&self, request: Request<Bytes>) -> Exchange;
    }

    /// Why a network has no answer.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum NetworkFailure {
        /// Nobody listens there; the request was not delivered.
        NotConnected,
        /// It broke off; the request may have been delivered.
        Broken,
    }

    #[derive(Clone)]
    pub(super) struct Peer(Arc<dyn Network>);

    impl fmt::Debug for Peer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Peer(simulated)")
        }
    }

    impl PeerClient {
        /// A client that sends through a network of a test's own.
        pub fn simulated(endpoint: Endpoint, token: Option<BearerToken>, network: Arc<dyn Network>) -> Self {
            Self { endpoint, token, transport: Transport::Simulated(Peer(network)) }
        }
    }

    impl Peer {
        pub(super) async fn send(
            &self,
            endpoint: &Endpoint,
            method: Method,
            url: Url,
            token: Option<HeaderValue>,
            body: Option<(&'static str, Bytes)>,
        ) -> Result<Reply, ClientError> {
            let mut request = Request::builder().method(method).uri(url.as_str());
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token);
            }
            let mut bytes = Bytes::new();
            if let Some((content_type, content)) = body {
                request = request.header(header::CONTENT_TYPE, content_type);
                bytes = content;
            }
            let origin = || endpoint.origin();
            let request = request.body(bytes).map_err(|error| ClientError::Setup(error.to_string()))?;
            match tokio::time::timeout(REQUEST_TIMEOUT, self.0.exchange(request)).await {
                Ok(Ok(response)) => {
                    let (head, body) = response.into_parts();
                    let location = head.headers.get(header::LOCATION);
                    let location = location.and_then(|value| url.join(value.to_str().ok()?).ok());
                    let location = location.map(String::from);
                    Ok(Reply { status: head.status, headers: head.headers, body, location })
                }
                Ok(Err(NetworkFailure::NotConnected)) => {
                    Err(ClientError::NotConnected { origin: origin(), cause: "nobody listens".to_owned() })
                }
                Ok(Err(NetworkFailure::Broken)) => {
                    Err(ClientError::Broken { origin: origin(), cause: "it broke off".to_owned() })
                }
                Err(_) => Err(ClientError::TimedOut(origin())),
            }
        }
    }
}

/// A client as a device has one: without a token, following no redirect, using no proxy of the environment, and trusting
/// the authorities in `ca_pem` alone.
pub(crate) fn device_client(ca_pem: Option<&[u8]>) -> Result<reqwest::Client, ClientError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client_config(ca_pem)?)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| ClientError::Setup(causes(&error)))
}

/// The chain of causes without the first link, which repeats the URL.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut parts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !parts.contains(&text) {
            parts.push(text);
        }
        next = cause.source();
    }
    if parts.is_empty() { "no cause given".to_owned() } else { parts.join(": ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::HeaderValue;

    use super::*;

    fn reply(retry_after: &str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_str(retry_after).unwrap());
        Reply { status: StatusCode::OK, headers, body: Bytes::new(), location: None }
    }

    #[test]
    fn retry_after_is_read_and_bounded() {
        // 1994-11-06 08:49:37 UTC, the example of RFC 9110 5.6.7, less ten seconds.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 10);
        for (text, seconds) in [
            ("0", Some(0)),
            ("300", Some(300)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(10)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            ("-1", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(reply(text).retry_after(now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn https_needs_an_authority() {
        let endpoint: Endpoint = "https://a.example/".parse().unwrap();
        assert!(matches!(PeerClient::new(endpoint.clone(), None, None), Err(ClientError::NoAuthority)));
        let error = PeerClient::new(endpoint, None, Some(b"no certificate")).unwrap_err();
        assert!(matches!(error, ClientError::Tls(TlsError::NoCertificate)));
    }
}
