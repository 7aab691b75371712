//! What both aggregators' HTTP interfaces share: reading requests strictly, answering with DAP's media types
//! or a problem document.

use arras_protocol::codec::Encode as _;
use arras_protocol::messages::{HpkeConfigList, MediaType, TaskId};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};

use crate::net::problem::{DapError, OwnError, ProblemDocument, problems_only};
use crate::privacy::gate::Refusal;
use crate::privacy::ledger::LedgerError;
use crate::store::{CollectRefusal, StoreError};

/// How long clients may cache HPKE configurations, in seconds: a day. An operator who
/// replaces a key keeps the old one configured for longer than that, and until no job is open.
const HPKE_CONFIG_MAX_AGE: u32 = 24 * 3600;

/// After how many seconds to try again when the disk is full.
const FULL_RETRY_AFTER: u32 = 60;

pub(crate) type ApiResult = Result<Response, Problem>;

/// A problem document on its way out, with a time after which to come back.
#[derive(Debug)]
pub(crate) struct Problem {
    document: Box<ProblemDocument>,
    retry_after: Option<u32>,
}

impl Problem {
    pub(crate) fn dap(error: DapError, detail: impl Into<String>) -> Self {
        Self { document: Box::new(ProblemDocument::dap(error).with_detail(detail)), retry_after: None }
    }

    pub(crate) fn own(error: OwnError, detail: impl Into<String>) -> Self {
        Self { document: Box::new(ProblemDocument::own(error).with_detail(detail)), retry_after: None }
    }

    pub(crate) fn unauthorized() -> Self {
        Self::own(
            OwnError::Unauthorized,
            "send the token that this server's operator gave for this task, as a bearer token",
        )
    }

    pub(crate) fn invalid(detail: impl std::fmt::Display) -> Self {
        Self::dap(DapError::InvalidMessage, detail.to_string())
    }

    /// What the ledger does not allow. Of an interval that can never be charged the query is at fault, of all else
    /// the budget; either way nothing was charged.
    pub(crate) fn ledger(error: &LedgerError, detail: String) -> Self {
        match error {
            LedgerError::BeforeFirstEpoch { .. }
            | LedgerError::EmptyInterval { .. }
            | LedgerError::TooManyEpochs { .. } => Self::dap(DapError::BatchInvalid, detail),
            _ => Self::own(OwnError::BudgetExhausted, detail),
        }
    }

    pub(crate) fn unrecognized_task(id: TaskId) -> Self {
        Self::dap(DapError::UnrecognizedTask, "this aggregator does not take part in the task").task(id)
    }

    pub(crate) fn unsupported_extensions(kinds: Vec<u16>) -> Self {
        let document = ProblemDocument::dap(DapError::UnsupportedExtension)
            .with_detail("extensions that are not known here change what is meant, and cannot be passed over")
            .with_unsupported_extensions(kinds);
        Self { document: Box::new(document), retry_after: None }
    }

    pub(crate) fn task(mut self, id: TaskId) -> Self {
        self.document = Box::new(self.document.with_task(id));
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn document(&self) -> &ProblemDocument {
        &self.document
    }

    /// Whether it says that something is wrong here rather than with the request.
    pub(crate) fn is_ours(&self) -> bool {
        self.document.status().is_server_error()
    }
}

impl From<ProblemDocument> for Problem {
    fn from(document: ProblemDocument) -> Self {
        Self { document: Box::new(document), retry_after: None }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_full() {
            return Self::own(OwnError::Overloaded, "no space is left; nothing of this request was kept")
                .retry_after(FULL_RETRY_AFTER);
        }
        // What went wrong with our disk is for our log.
        tracing::error!(%error, "the store failed");
        Self::own(OwnError::Internal, "nothing of this request was kept; try again later")
    }
}

impl From<CollectRefusal> for Problem {
    fn from(refusal: CollectRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            CollectRefusal::Overlap => Self::dap(DapError::BatchOverlap, detail),
            CollectRefusal::Mismatch => Self::dap(DapError::BatchMismatch, detail),
            CollectRefusal::Refused(Refusal::OtherTerms(_)) => Self::own(OwnError::Conflict, detail),
            CollectRefusal::Refused(Refusal::Ledger(error)) => Self::ledger(&error, detail),
            CollectRefusal::Refused(_) => Self::dap(DapError::InvalidBatchSize, detail),
            CollectRefusal::Store(error) => error.into(),
        }
    }
}

impl axum::response::IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.document.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Parses an id out of a path.
pub(crate) fn parse_task_id(text: &str) -> Result<TaskId, Problem> {
    text.parse().map_err(Problem::invalid)
}

/// Checks that the body is what it should be.
pub(crate) fn expect_media_type(headers: &HeaderMap, expected: MediaType) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if expected.matches(given) {
        return Ok(());
    }
    Err(Problem::own(OwnError::UnsupportedMediaType, format!("Content-Type must be {}", expected.as_str())))
}

/// A DAP message as a response.
pub(crate) fn message(status: StatusCode, kind: MediaType, body: impl Into<Bytes>) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(kind.as_str()))];
    (status, content_type, body.into()).into_response()
}

/// Adds the location of a resource: an absolute path below the endpoint's.
pub(crate) fn located(mut response: Response, location: &str) -> Response {
    // Ids are base64url and the endpoint's path was checked, so this is always a valid header value.
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// `GET {aggregator}/hpke_config`, cacheable.
pub fn hpke_config_response(list: &HpkeConfigList) -> Response {
    let mut response = message(StatusCode::OK, MediaType::HpkeConfigList, list.to_bytes());
    let cache = HeaderValue::from_str(&format!("max-age={HPKE_CONFIG_MAX_AGE}"));
    if let Ok(value) = cache {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    allow_any_origin(response)
}

/// Web pages of any origin may read this answer: it holds nothing of anybody's.
pub(crate) fn allow_any_origin(mut response: Response) -> Response {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// Answers a browser's question whether it may send a request (CORS preflight).
pub(crate) fn preflight(methods: &'static str) -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods)),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type")),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
    ];
    allow_any_origin((StatusCode::NO_CONTENT, headers).into_response())
}

/// Puts routes below an endpoint's path and answers everything else with a problem document. Pages of any origin may
/// read what the first routes answer, whatever it is.
pub(crate) fn mount<S: Clone + Send + Sync + 'static>(
    path: &str,
    for_any_origin: axum::Router<S>,
    routes: axum::Router<S>,
) -> axum::Router<S> {
    let path = path.trim_end_matches('/');
    let for_any_origin = with_problems(for_any_origin)
        .layer(map_response(async |response: Response| allow_any_origin(response)));
    let routes = for_any_origin.merge(with_problems(routes));
    let mounted = if path.is_empty() { routes } else { axum::Router::new().nest(path, routes) };
    mounted.fallback(async || Problem::own(OwnError::NotFound, "nothing is served at this path"))
}

fn with_problems<S: Clone + Send + Sync + 'static>(routes: axum::Router<S>) -> axum::Router<S> {
    let routes = routes.method_not_allowed_fallback(async || {
        Problem::own(OwnError::MethodNotAllowed, "see the methods of DAP-18, appendix A")
    });
    routes.layer(map_response(problems_only))
}
