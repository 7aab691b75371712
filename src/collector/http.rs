//! The collector's own interface, for its administrator.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 and `ok`; needs no token |
//! | `GET /manifests/{advertiser}` | the signed manifest that devices learn an advertiser's tasks from; needs no token, may be cached |
//! | `GET /keys` | the public keys that sign releases, as a JWK set (RFC 7517), today's first; needs no token |
//! | `GET /v1/tasks` | [`TaskList`] |
//! | `POST /v1/tasks/{task}/releases` with `{"from": "...", "to": "..."}` | collects the window: 200 and the release, 202 if it takes longer (ask again), or a problem document |
//! | `GET /v1/tasks/{task}/releases?after=SECONDS` | [`ReleaseList`] |
//! | `GET /v1/tasks/{task}/sums?from=TIME&to=TIME` | [`Sum`](crate::collector::Sum) of the windows in the range; with `&campaign=NAME`, of these campaigns |
//! | `GET /v1/tasks/{task}/sums/signed?...` | the same, signed |
//! | `GET /v1/releases/{sequence}` | the release: the exact bytes that were signed |
//! | `GET /v1/releases/{sequence}/signed` | the signed release, `application/jose`: the same text for ever |
//!
//! Times are in RFC 3339 or POSIX seconds. Everything below `/v1` needs the administrator's bearer token.
//! A `POST` may be repeated: a window is collected once, and its release is returned from then on. The keys need no token,
//! because whoever was handed a release should be able to ask for them; they are public. A key that is asked for at the
//! same place as the release says no more than that place does: a verifier who wants more gets it once by another way.

mod sums;

use arras_protocol::messages::TaskId;
use arras_protocol::signed::{Jwk, KeyError, PublicKey};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use crate::aggregator::work::blocking;
use crate::collector::attempts::{Heard, UnderWay};
use crate::collector::errors::CollectError;
use crate::collector::release::{Measured, Policy, Published, name};
use crate::collector::span::{Moment, Span};
use crate::collector::store::Stage;
use crate::collector::sums::SumError;
use crate::collector::{Collector, PAGE, manifests};
use crate::net::problem::{DapError, ErrorType, OwnError, ProblemDocument, problems_only};
use crate::store::StoreError;

/// A request's body, in bytes: two times.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// What is said where nothing is served: whoever asks for advertisers learns from it that the collector has none.
pub(crate) const NO_ROUTE: &str =
    "nothing is served at this path; see /v1/tasks or, of a collector with advertisers, /v1/openapi.json";

/// After how many seconds to ask again after a 202.
const COLLECT_RETRY_AFTER: u32 = 1;

/// How many failures a list shows.
const FAILURES_MAX: usize = 100;

/// The tasks that this collector collects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskList {
    /// Those that can be used.
    pub tasks: Vec<TaskEntry>,
    /// Those that cannot.
    pub unusable: Vec<UnusableTask>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEntry {
    /// Its id.
    pub task: String,
    /// Its name, if it is text.
    pub name: Option<String>,
    /// What it measures; `null` if this version has no word for it.
    pub vdaf: Option<Measured>,
    /// Its campaigns; the first has bucket 1.
    pub campaigns: Vec<String>,
    /// Windows are whole multiples of this many seconds since 1970.
    pub time_precision: u64,
    /// Fewest reports in a window that is released.
    pub min_batch_size: u64,
    /// What it promises to the people in it.
    pub policy: Policy,
    /// Whose budget it spends.
    pub budget_source: String,
    /// Of a task that sums values: the id of the task that counts its conversions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversions: Option<String>,
}

/// The keys that sign releases: a JWK set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet {
    /// Today's first.
    pub keys: Vec<Jwk>,
}

impl KeySet {
    /// The set of some keys.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Self {
        Self { keys: keys.into_iter().map(PublicKey::to_jwk).collect() }
    }

    /// The keys of a set that can verify releases. Keys of other kinds are passed over, as RFC 7517 section 5 wants; one
    /// that claims to be of this kind and is wrong is an error.
    pub fn public_keys(&self) -> Result<Vec<PublicKey>, KeyError> {
        let ours = self.keys.iter().map(PublicKey::try_from);
        ours.filter(|key| !matches!(key, Err(KeyError::Kind))).collect()
    }
}

/// A task whose file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnusableTask {
    /// Its id.
    pub task: String,
    /// Why.
    pub error: String,
}

/// The windows of a task, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseList {
    /// Those that were released.
    pub releases: Vec<ReleaseEntry>,
    /// Those that are being collected.
    pub under_way: Vec<Span>,
    /// Those that failed and may be asked for again, whatever the page.
    pub failed: Vec<FailedEntry>,
    /// The `after` of the next page, in POSIX seconds, if there is one.
    pub next: Option<u64>,
}

/// A released window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseEntry {
    /// The release's number.
    pub sequence: u64,
    /// The window.
    pub window: Span,
}

/// A window that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedEntry {
    /// The window.
    pub window: Span,
    /// Why.
    pub reason: String,
}

/// The interface of a collector.
pub fn router(collector: Collector) -> Router {
    let guarded = Router::new()
        .route("/v1/tasks", get(tasks))
        .route("/v1/tasks/{task}/releases", post(collect).get(releases))
        .route("/v1/tasks/{task}/sums", get(sums::sum))
        .route("/v1/tasks/{task}/sums/signed", get(sums::signed_sum))
        .route("/v1/releases/{sequence}", get(release))
        .route("/v1/releases/{sequence}/signed", get(signed))
        .method_not_allowed_fallback(async || ProblemDocument::own(OwnError::MethodNotAllowed))
        .route_layer(from_fn_with_state(collector.clone(), authorize));
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/keys", get(keys))
        .route("/manifests/{advertiser}", get(manifests::manifest))
        .merge(guarded)
        .fallback(async || not_found(NO_ROUTE))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_response(problems_only))
        .with_state(collector)
}

async fn authorize(State(collector): State<Collector>, request: Request, next: Next) -> Response {
    if collector.0.parts.admin_token.authorizes(request.headers()) {
        return next.run(request).await;
    }
    ProblemDocument::own(OwnError::Unauthorized)
        .with_detail("send the administrator's token of this collector as a bearer token")
        .into_response()
}

/// The body of a request to collect.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: Moment,
    to: Moment,
}

async fn collect(
    State(collector): State<Collector>,
    Path(task): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let id = task_id(&task)?;
    let body = body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return ProblemDocument::own(OwnError::TooLarge)
                .with_detail(format!("a request has at most {BODY_BYTES_MAX} bytes"))
                .into();
        }
        invalid("the body ended before its announced length")
    })?;
    let asked: Asked = serde_json::from_slice(&body)
        .map_err(|error| invalid(&format!("expected {{\"from\": ..., \"to\": ...}}: {error}")))?;
    let window = Span::new(asked.from, asked.to).map_err(|error| problem(&error.into(), id))?;
    match collector.collect_within(collector.timing().answer_max, id, window).await {
        Heard::Ended(outcome) => match outcome.as_ref() {
            Ok(published) => Ok(json(StatusCode::OK, published.document().to_vec())),
            Err(error) => Err(problem(error, id)),
        },
        Heard::UnderWay { trouble } => {
            let mut response = json(StatusCode::ACCEPTED, UnderWay::new(trouble).to_json());
            response.headers_mut().insert(header::RETRY_AFTER, COLLECT_RETRY_AFTER.into());
            Ok(response)
        }
        Heard::Broke => Err(ProblemDocument::own(OwnError::Internal)
            .with_detail("collecting the window broke off; ask again, and look into this collector's log")
            .into()),
        Heard::Busy => {
            let problem = ProblemDocument::own(OwnError::Overloaded);
            let mut response = problem.with_detail("too many windows are being collected").into_response();
            response.headers_mut().insert(header::RETRY_AFTER, COLLECT_RETRY_AFTER.into());
            Ok(response)
        }
    }
}

async fn releases(
    State(collector): State<Collector>,
    Path(task): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let id = task_id(&task)?;
    let after = match query.as_deref() {
        None | Some("") => 0,
        Some(query) => query
            .strip_prefix("after=")
            .and_then(|seconds| seconds.parse::<u64>().ok())
            .ok_or_else(|| invalid("the one parameter is after=SECONDS"))?,
    };
    blocking(move || list(&collector, id, after)).await.map_err(|error| problem(&error, id))
}

fn list(collector: &Collector, id: TaskId, after: u64) -> Result<Response, CollectError> {
    let known = collector.known_task(id)?;
    let precision = known.task.configuration().time_precision;
    let collections = collector.store().collections(id, precision.truncate(after).0, PAGE)?;
    let mut list =
        ReleaseList { releases: Vec::new(), under_way: Vec::new(), failed: Vec::new(), next: None };
    if collections.len() == PAGE {
        list.next = collections.last().map(|last| last.interval.end().posix_seconds(precision));
    }
    for collection in collections.into_iter().chain(collector.store().failures(id, FAILURES_MAX)?) {
        // What is kept was a span before.
        let Some(window) = Span::of(collection.interval, precision) else { continue };
        match collection.stage {
            Stage::Released { sequence } => list.releases.push(ReleaseEntry { sequence, window }),
            Stage::UnderWay { .. } => list.under_way.push(window),
            Stage::Failed { reason } => list.failed.push(FailedEntry { window, reason }),
        }
    }
    to_json(&list)
}

async fn keys(State(collector): State<Collector>) -> Result<Response, Failure> {
    let set = serde_json::to_vec(&KeySet::of(collector.public_keys()));
    let set = set.map_err(|error| store_problem(&StoreError::prepare(error)))?;
    Ok(typed("application/jwk-set+json", set))
}

async fn release(
    State(collector): State<Collector>,
    Path(sequence): Path<String>,
) -> Result<Response, Failure> {
    let published = find(collector, &sequence).await?;
    Ok(json(StatusCode::OK, published.document().to_vec()))
}

async fn signed(
    State(collector): State<Collector>,
    Path(sequence): Path<String>,
) -> Result<Response, Failure> {
    let published = find(collector, &sequence).await?;
    match published.signed() {
        Some(text) => Ok(typed("application/jose", text.as_bytes().to_vec())),
        None => Err(not_found(
            "this release is from before releases were signed; it can be read, and not be verified",
        )),
    }
}

async fn find(collector: Collector, sequence: &str) -> Result<Published, Failure> {
    let none = || not_found("there is no release of this number");
    let sequence: u64 = sequence.parse().map_err(|_| none())?;
    let found = blocking(move || collector.store().release(sequence)).await;
    found.map_err(|error| store_problem(&error))?.ok_or_else(none)
}

async fn tasks(State(collector): State<Collector>) -> Result<Response, Failure> {
    blocking(move || list_tasks(&collector)).await.map_err(|error| {
        tracing::error!(%error, "tasks cannot be listed");
        ProblemDocument::own(OwnError::Internal).with_detail(error.to_string()).into()
    })
}

fn list_tasks(collector: &Collector) -> Result<Response, CollectError> {
    let mut list = TaskList { tasks: Vec::new(), unusable: Vec::new() };
    for id in collector.tasks().ids()? {
        match collector.known_task(id) {
            Ok(known) => {
                let configuration = known.task.configuration();
                list.tasks.push(TaskEntry {
                    task: id.to_string(),
                    name: name(&known),
                    vdaf: Measured::of(known.task.vdaf().config()),
                    time_precision: configuration.time_precision.seconds(),
                    min_batch_size: configuration.min_batch_size,
                    policy: Policy::of(&known),
                    budget_source: known.budget_source,
                    conversions: known.conversions.map(|id| id.to_string()),
                    campaigns: known.campaigns,
                });
            }
            Err(error) => {
                list.unusable.push(UnusableTask { task: id.to_string(), error: error.to_string() });
            }
        }
    }
    to_json(&list)
}

fn task_id(text: &str) -> Result<TaskId, Failure> {
    text.parse().map_err(|error| invalid(&format!("{error}")))
}

/// A problem document as an error; boxed for its size.
pub(super) struct Failure(Box<ProblemDocument>);

impl From<ProblemDocument> for Failure {
    fn from(document: ProblemDocument) -> Self {
        Self(Box::new(document))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

fn invalid(detail: &str) -> Failure {
    ProblemDocument::dap(DapError::InvalidMessage).with_detail(detail).into()
}

pub(super) fn not_found(detail: &str) -> Failure {
    ProblemDocument::own(OwnError::NotFound).with_detail(detail).into()
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, body).into_response()
}

fn typed(content_type: &'static str, body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
}

fn to_json(value: &impl Serialize) -> Result<Response, CollectError> {
    let body = serde_json::to_vec(value).map_err(StoreError::prepare)?;
    Ok(json(StatusCode::OK, body))
}

pub(super) fn store_problem(error: &StoreError) -> ProblemDocument {
    tracing::error!(%error, "the collector's store failed");
    let kind = if error.is_full() { OwnError::Overloaded } else { OwnError::Internal };
    // The administrator is the one who can mend it.
    ProblemDocument::own(kind).with_detail(error.to_string())
}

/// A failed collection as a problem document.
fn problem(error: &CollectError, task: TaskId) -> Failure {
    let document = match error {
        CollectError::Store(error) => return store_problem(error).with_task(task).into(),
        CollectError::NoRoom(_) => ProblemDocument::own(OwnError::Overloaded),
        CollectError::UnknownTask(_) => ProblemDocument::dap(DapError::UnrecognizedTask),
        CollectError::Task(_) | CollectError::Release(_) | CollectError::Sum(SumError::Noise(_)) => {
            ProblemDocument::own(OwnError::Internal)
        }
        CollectError::Sum(SumError::Nothing { .. }) => ProblemDocument::own(OwnError::NotFound),
        CollectError::Sum(_) => ProblemDocument::dap(DapError::InvalidMessage),
        CollectError::OtherLeader { .. } | CollectError::Conversions(_) => {
            ProblemDocument::own(OwnError::Conflict)
        }
        CollectError::Window(_) | CollectError::NotOver { .. } | CollectError::Epochs(_) => {
            ProblemDocument::dap(DapError::BatchInvalid)
        }
        CollectError::OverlapsUnderWay(_) | CollectError::OverlapsReleased { .. } => {
            ProblemDocument::dap(DapError::BatchOverlap)
        }
        CollectError::Refused(refused) => match refused.problem().kind() {
            ErrorType::Dap(kind) => ProblemDocument::dap(*kind),
            ErrorType::Own(kind @ (OwnError::BudgetExhausted | OwnError::Gone)) => {
                ProblemDocument::own(*kind)
            }
            // Above all the leader's 401 is none of ours: the administrator's token was right.
            _ => ProblemDocument::own(OwnError::AggregatorFailed),
        },
        CollectError::StillPending { .. } | CollectError::Unreachable { .. } => {
            ProblemDocument::own(OwnError::AggregatorFailed).with_status(StatusCode::GATEWAY_TIMEOUT)
        }
        CollectError::BadAnswer(_) | CollectError::Shares(_) => {
            ProblemDocument::own(OwnError::AggregatorFailed)
        }
    };
    document.with_detail(error.to_string()).with_task(task).into()
}

#[cfg(test)]
mod tests;
