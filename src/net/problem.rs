//! Problem documents (RFC 9457): DAP-18's error types (DAP-18 section 3.6) and our own.

use std::fmt;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::text::printable;

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// DAP-18 section 3.6; nothing outside DAP's registry may be named below it.
const DAP_NAMESPACE: &str = "urn:ietf:params:ppm:dap:error:";

/// Ours: a tag URI (RFC 4151), so that it names without promising a web page.
const OWN_NAMESPACE: &str = "tag:arras.example,2026:error:";

/// Characters of a received title or detail that are kept: enough for what is wrong,
/// who says so and what to do, too few to flood a log.
const RECEIVED_CHARACTERS_MAX: usize = 1_000;

/// Bytes of a framework's own error text that are kept.
const OWN_TEXT_BYTES_MAX: usize = 1_000;

/// Unknown extensions that a received document may list.
const RECEIVED_EXTENSIONS_MAX: usize = 64;

/// Rows that a received document may list.
const RECEIVED_ERRORS_MAX: usize = 1_000;

macro_rules! error_types {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident $token:literal $status:ident $title:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The last part of the type's URI.
            pub fn token(self) -> &'static str {
                match self { $(Self::$variant => $token,)* }
            }

            /// The HTTP status that goes with it unless another is set.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// One sentence for people.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

error_types! {
    /// The error types of DAP-18's table.
    DapError {
        /// The message could not be parsed or is otherwise invalid.
        InvalidMessage "invalidMessage" BAD_REQUEST "The message is invalid.";
        /// No such task here.
        UnrecognizedTask "unrecognizedTask" NOT_FOUND "This server does not know the task.";
        /// No such aggregation job here.
        UnrecognizedAggregationJob "unrecognizedAggregationJob" NOT_FOUND "This server does not know the aggregation job.";
        /// The query's batch boundaries are wrong.
        BatchInvalid "batchInvalid" BAD_REQUEST "The batch's boundaries are not valid for this task.";
        /// Too few reports, or too many.
        InvalidBatchSize "invalidBatchSize" BAD_REQUEST "The number of reports in the batch is not allowed.";
        /// The aggregation parameter does not fit.
        InvalidAggregationParameter "invalidAggregationParameter" BAD_REQUEST "The aggregation parameter is invalid.";
        /// The aggregators hold different reports.
        BatchMismatch "batchMismatch" BAD_REQUEST "The aggregators disagree on the reports in the batch.";
        /// The aggregators are at different steps.
        StepMismatch "stepMismatch" BAD_REQUEST "The aggregators disagree on the step of the aggregation job.";
        /// Part of the query was collected before.
        BatchOverlap "batchOverlap" BAD_REQUEST "The query includes reports that were collected before.";
        /// An extension that this server does not know.
        UnsupportedExtension "unsupportedExtension" BAD_REQUEST "The message holds an extension that is not supported.";
        /// An extension that is out of order or malformed.
        InvalidExtension "invalidExtension" BAD_REQUEST "The extensions are out of order or malformed.";
    }
}

error_types! {
    /// Arras's own error types, for what DAP does not name.
    OwnError {
        /// The request is not as its documentation says; the detail and `errors` say what to change.
        InvalidRequest "invalidRequest" BAD_REQUEST "The request is not valid.";
        /// No token, or one that is not for this.
        Unauthorized "unauthorized" UNAUTHORIZED "A valid bearer token is needed.";
        /// The token is valid, and not for this.
        Forbidden "forbidden" FORBIDDEN "The token does not allow this.";
        /// The ledger has too little left, or its epochs were moved; the detail says which, and how much.
        BudgetExhausted "budgetExhausted" FORBIDDEN "The privacy budget does not allow this release.";
        /// There is nothing at this address.
        NotFound "notFound" NOT_FOUND "There is no such resource.";
        /// The resource is of this kind but the method is not.
        MethodNotAllowed "methodNotAllowed" METHOD_NOT_ALLOWED "The resource does not have this method.";
        /// None of the media types that the client accepts is there.
        NotAcceptable "notAcceptable" NOT_ACCEPTABLE "The resource is not there in an accepted media type.";
        /// The resource is not any more what the request is made for.
        PreconditionFailed "preconditionFailed" PRECONDITION_FAILED "The resource has changed.";
        /// The request contradicts one that was accepted before.
        Conflict "conflict" CONFLICT "The request contradicts an earlier one.";
        /// The resource existed and is no longer kept.
        Gone "gone" GONE "The resource is no longer kept.";
        /// The body is too large; the detail says how large it may be.
        TooLarge "tooLarge" PAYLOAD_TOO_LARGE "The request is too large.";
        /// The body broke off or took too long; nothing of it was looked at.
        Incomplete "incomplete" REQUEST_TIMEOUT "The request did not arrive whole.";
        /// Another media type is expected.
        UnsupportedMediaType "unsupportedMediaType" UNSUPPORTED_MEDIA_TYPE "The media type is not supported.";
        /// Too much to do or no space left; come back later.
        Overloaded "overloaded" SERVICE_UNAVAILABLE "The server cannot take this now.";
        /// The other aggregator did not answer or answered nonsense.
        /// An aggregator did not answer a collector, refused it, or answered nonsense.
        AggregatorFailed "aggregatorFailed" BAD_GATEWAY "An aggregator failed.";
        /// Our fault; the detail stays in the log.
        Internal "internal" INTERNAL_SERVER_ERROR "The server failed.";
    }
}

/// The `type` of a problem document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorType {
    /// One of DAP-18's.
    Dap(DapError),
    /// One of ours.
    Own(OwnError),
    /// Anybody else's, or `about:blank`.
    Other(String),
}

impl ErrorType {
    /// The type of a URI.
    pub fn of(uri: &str) -> Self {
        let dap = |token| DapError::ALL.iter().copied().find(|known| known.token() == token);
        let own = |token| OwnError::ALL.iter().copied().find(|known| known.token() == token);
        let known = match (uri.strip_prefix(DAP_NAMESPACE), uri.strip_prefix(OWN_NAMESPACE)) {
            (Some(token), _) => dap(token).map(Self::Dap),
            (_, Some(token)) => own(token).map(Self::Own),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Other(received(uri)))
    }
}

impl ErrorType {
    /// The last part of the type's URI; of others than DAP's and ours, which can be anything, just `other`.
    pub fn token(&self) -> &'static str {
        match self {
            Self::Dap(error) => error.token(),
            Self::Own(error) => error.token(),
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dap(error) => write!(f, "{DAP_NAMESPACE}{}", error.token()),
            Self::Own(error) => write!(f, "{OWN_NAMESPACE}{}", error.token()),
            Self::Other(uri) => f.write_str(uri),
        }
    }
}

impl From<DapError> for ErrorType {
    fn from(error: DapError) -> Self {
        Self::Dap(error)
    }
}

impl From<OwnError> for ErrorType {
    fn from(error: OwnError) -> Self {
        Self::Own(error)
    }
}

/// What is wrong with one row or field of a request: an entry of the member `errors`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemPart {
    /// Counts the rows that were sent, from 1, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// What to change.
    pub detail: String,
}

/// A problem document, sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemDocument {
    kind: ErrorType,
    title: String,
    status: StatusCode,
    detail: Option<String>,
    task_id: Option<String>,
    unsupported_extensions: Vec<u16>,
    id: Option<String>,
    errors: Vec<ProblemPart>,
}

/// The JSON of it.
#[derive(Serialize, Deserialize)]
struct Json {
    #[serde(rename = "type", default = "about_blank")]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(default, rename = "taskid", skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unsupported_extensions: Vec<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemPart>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

impl ProblemDocument {
    /// One of DAP-18's errors.
    pub fn dap(error: DapError) -> Self {
        Self::new(error.into(), error.status(), error.title())
    }

    /// One of ours.
    pub fn own(error: OwnError) -> Self {
        Self::new(error.into(), error.status(), error.title())
    }

    fn new(kind: ErrorType, status: StatusCode, title: &str) -> Self {
        Self {
            kind,
            title: title.to_owned(),
            status,
            detail: None,
            task_id: None,
            unsupported_extensions: Vec::new(),
            id: None,
            errors: Vec::new(),
        }
    }

    /// Says what to do about it. The text leaves the server: no secret, no report id.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Names the task, in base64url without padding (DAP-18 section 3.6).
    #[must_use]
    pub fn with_task(mut self, task_id: impl fmt::Display) -> Self {
        self.task_id = Some(task_id.to_string());
        self
    }

    /// Lists the code points that were not recognized (DAP-18 section 4.4.2.2).
    #[must_use]
    pub fn with_unsupported_extensions(mut self, code_points: impl Into<Vec<u16>>) -> Self {
        self.unsupported_extensions = code_points.into();
        self
    }

    /// Names what is there already, in a conflict with it.
    #[must_use]
    pub fn with_id(mut self, id: impl fmt::Display) -> Self {
        self.id = Some(id.to_string());
        self
    }

    /// Says what is wrong row by row.
    #[must_use]
    pub fn with_errors(mut self, errors: impl Into<Vec<ProblemPart>>) -> Self {
        self.errors = errors.into();
        self
    }

    /// Another status. It has to be a client or server error (DAP-18 section 3.6); any
    /// other is taken for a fault of ours and becomes 500.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        let error = status.is_client_error() || status.is_server_error();
        self.status = if error { status } else { StatusCode::INTERNAL_SERVER_ERROR };
        self
    }

    /// The type.
    pub fn kind(&self) -> &ErrorType {
        &self.kind
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What to do about it.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The task's id in base64url.
    pub fn task_id(&self) -> Option<&str> {
        self.task_id.as_deref()
    }

    /// The code points that were not recognized.
    pub fn unsupported_extensions(&self) -> &[u16] {
        &self.unsupported_extensions
    }

    /// The id of what is there already.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What is wrong row by row.
    pub fn errors(&self) -> &[ProblemPart] {
        &self.errors
    }

    /// The document itself, as [`ProblemDocument::parse`] reads it.
    pub fn to_json(&self) -> Vec<u8> {
        let json = Json {
            kind: self.kind.to_string(),
            title: self.title.clone(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            task_id: self.task_id.clone(),
            unsupported_extensions: self.unsupported_extensions.clone(),
            id: self.id.clone(),
            errors: self.errors.clone(),
        };
        // Cannot fail: strings and numbers always serialize.
        serde_json::to_vec(&json).expect("strings and numbers always serialize")
    }

    /// Reads a received document. Texts are cut to a length and freed of control
    /// characters, since they will be shown. The status is the response's: the
    /// document's own is advisory (RFC 9457 3.1.2).
    pub fn parse(status: StatusCode, content_type: &str, body: &[u8]) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case(PROBLEM_JSON) {
            return None;
        }
        let json: Json = serde_json::from_slice(body).ok()?;
        let mut unsupported_extensions = json.unsupported_extensions;
        unsupported_extensions.truncate(RECEIVED_EXTENSIONS_MAX);
        let mut errors = json.errors;
        errors.truncate(RECEIVED_ERRORS_MAX);
        for error in &mut errors {
            error.detail = received(&error.detail);
        }
        Some(Self {
            kind: ErrorType::of(&json.kind),
            title: received(&json.title),
            status,
            detail: json.detail.as_deref().map(received),
            task_id: json.task_id.as_deref().map(received),
            unsupported_extensions,
            id: json.id.as_deref().map(received),
            errors,
        })
    }
}

/// A peer's text, as far as it is kept.
fn received(text: &str) -> String {
    let kept: String = text.chars().take(RECEIVED_CHARACTERS_MAX).collect();
    printable(&kept)
}

impl fmt::Display for ProblemDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.title, self.kind, self.status.as_u16())?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl IntoResponse for ProblemDocument {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 15.5.2 wants the scheme to be named.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            // What was not read of the body ends the connection (RFC 9110 15.5.14); a client that is not told sends its next
            // request into it.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Makes a problem document of an error that is none: what the framework answers by itself, to a path that is not
/// UTF-8 for example. Everything else goes through as it is.
pub(crate) async fn problems_only(response: Response) -> Response {
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let own = |error| ProblemDocument::own(error).with_status(status);
    let document = match status {
        StatusCode::NOT_FOUND => own(OwnError::NotFound),
        StatusCode::METHOD_NOT_ALLOWED => own(OwnError::MethodNotAllowed),
        StatusCode::REQUEST_TIMEOUT => own(OwnError::Incomplete),
        StatusCode::PAYLOAD_TOO_LARGE => own(OwnError::TooLarge),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => own(OwnError::UnsupportedMediaType),
        status if status.is_server_error() => own(OwnError::Internal),
        StatusCode::NOT_ACCEPTABLE => own(OwnError::NotAcceptable),
        status => ProblemDocument::dap(DapError::InvalidMessage).with_status(status),
    };
    // The text of a client's error says what to change; one of ours is for our log.
    let text = to_bytes(body, OWN_TEXT_BYTES_MAX).await.unwrap_or_default();
    let detail =
        if status.is_client_error() { received(&String::from_utf8_lossy(&text)) } else { String::new() };
    let document = if detail.is_empty() { document } else { document.with_detail(detail) };
    let (made, body) = document.into_response().into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(made.headers);
    Response::from_parts(parts, Body::new(body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn sent(problem: ProblemDocument) -> (StatusCode, String, serde_json::Value) {
        let response = problem.into_response();
        let status = response.status();
        let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, content_type, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn every_type_travels_and_comes_back() {
        let dap = DapError::ALL.iter().map(|error| ProblemDocument::dap(*error));
        let own = OwnError::ALL.iter().map(|error| ProblemDocument::own(*error));
        assert_eq!(dap.len(), 11);
        for problem in dap.chain(own) {
            let (status, content_type, json) = sent(problem.clone()).await;
            assert!(status.is_client_error() || status.is_server_error());
            let body = json.to_string();
            let back = ProblemDocument::parse(status, &content_type, body.as_bytes()).unwrap();
            assert_eq!(back, problem);
        }
    }

    #[tokio::test]
    async fn members_are_named_as_dap_names_them() {
        let problem = ProblemDocument::dap(DapError::UnsupportedExtension)
            .with_task("8BY0RzZMzxvA46_8ymhzycOB9krN-QIGYvg_RsByGec")
            .with_detail("remove them")
            .with_unsupported_extensions([23, 42]);
        let (status, content_type, json) = sent(problem).await;
        assert_eq!((status.as_u16(), content_type.as_str()), (400, PROBLEM_JSON));
        let expected = serde_json::json!({
            "type": "urn:ietf:params:ppm:dap:error:unsupportedExtension",
            "title": "The message holds an extension that is not supported.",
            "status": 400,
            "detail": "remove them",
            "taskid": "8BY0RzZMzxvA46_8ymhzycOB9krN-QIGYvg_RsByGec",
            "unsupported_extensions": [23, 42],
        });
        assert_eq!(json, expected);
    }

    #[tokio::test]
    async fn rows_and_what_is_there_already_travel() {
        let part = |row, detail: &str| ProblemPart { row, detail: detail.to_owned() };
        let errors = [part(Some(3), "no such campaign"), part(None, "too many rows")];
        let problem = ProblemDocument::own(OwnError::Conflict).with_id("cmp_1").with_errors(errors.clone());
        let (status, content_type, json) = sent(problem.clone()).await;
        assert_eq!(json["id"], "cmp_1");
        assert_eq!(json["errors"][0], serde_json::json!({ "row": 3, "detail": "no such campaign" }));
        assert_eq!(json["errors"][1], serde_json::json!({ "detail": "too many rows" }));
        let back = ProblemDocument::parse(status, &content_type, json.to_string().as_bytes()).unwrap();
        assert_eq!((back.id(), back.errors()), (Some("cmp_1"), errors.as_slice()));
    }

    #[test]
    fn received_documents_are_tamed() {
        let status = StatusCode::BAD_REQUEST;
        let long = format!("{{\"type\":\"x\",\"detail\":\"\\u001b[2J\\n{}\"}}", "a".repeat(5000));
        let problem =
            ProblemDocument::parse(status, "Application/Problem+JSON; x=y", long.as_bytes()).unwrap();
        assert_eq!(problem.kind(), &ErrorType::Other("x".to_owned()));
        let detail = problem.detail().unwrap();
        assert!(detail.len() <= RECEIVED_CHARACTERS_MAX && !detail.chars().any(char::is_control));

        let empty = ProblemDocument::parse(status, PROBLEM_JSON, b"{}").unwrap();
        assert_eq!(empty.kind(), &ErrorType::Other("about:blank".to_owned()));
        let lookalike = ErrorType::of("urn:ietf:params:ppm:dap:error:unauthorized");
        assert!(matches!(lookalike, ErrorType::Other(_)));

        assert!(ProblemDocument::parse(status, "application/json", b"{}").is_none());
        assert!(ProblemDocument::parse(status, PROBLEM_JSON, b"[").is_none());
    }

    #[test]
    fn a_success_is_no_problem() {
        let problem = ProblemDocument::own(OwnError::Conflict).with_status(StatusCode::OK);
        assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn what_is_no_problem_document_becomes_one_if_it_is_an_error() {
        for (status, kind) in [
            (StatusCode::BAD_REQUEST, ErrorType::Dap(DapError::InvalidMessage)),
            (StatusCode::URI_TOO_LONG, ErrorType::Dap(DapError::InvalidMessage)),
            (StatusCode::NOT_FOUND, ErrorType::Own(OwnError::NotFound)),
            (StatusCode::METHOD_NOT_ALLOWED, ErrorType::Own(OwnError::MethodNotAllowed)),
            (StatusCode::PAYLOAD_TOO_LARGE, ErrorType::Own(OwnError::TooLarge)),
            (StatusCode::NOT_IMPLEMENTED, ErrorType::Own(OwnError::Internal)),
        ] {
            let bare = (status, [(header::ALLOW, "GET")], "why\nnot").into_response();
            let response = problems_only(bare).await;
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::ALLOW], "GET");
            let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
            let body = to_bytes(response.into_body(), 10_000).await.unwrap();
            let problem = ProblemDocument::parse(status, &content_type, &body).unwrap();
            assert_eq!(problem.kind(), &kind);
            assert_eq!(problem.detail(), status.is_client_error().then_some("why not"));
        }
        let whole = problems_only((StatusCode::OK, "fine").into_response()).await;
        assert_eq!(&to_bytes(whole.into_body(), 10_000).await.unwrap()[..], b"fine");
        let problem = ProblemDocument::own(OwnError::Gone).with_detail("it was deleted");
        let same = problems_only(problem.clone().into_response()).await;
        assert_eq!(&to_bytes(same.into_body(), 10_000).await.unwrap()[..], problem.to_json());
    }
}
