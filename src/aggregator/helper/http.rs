//! The helper's HTTP interface.

use std::sync::Arc;
use std::time::Duration;

use arras_protocol::messages::{AggregateShareId, AggregationJobId, MediaType};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use crate::aggregator::api::{
    ApiResult, Problem, expect_media_type, hpke_config_response, located, message, parse_task_id, preflight,
};
use crate::aggregator::helper::Helper;
use crate::aggregator::ids::Resource;
use crate::aggregator::work::blocking;
use crate::aggregator::{Clock, ProvisionedTask, RELEASE_TICK_SECONDS};
use crate::net::problem::{DapError, OwnError};
use crate::store::RequestKey;

/// After how many seconds a leader should come back when too much is under way.
const BUSY_RETRY_AFTER: u32 = 1;

pub(super) fn router(helper: Helper) -> Router {
    let for_any_origin =
        Router::new().route("/hpke_config", get(hpke_config).options(async || preflight("GET")));
    let routes = Router::new()
        .route("/tasks/{task}/aggregation_jobs", post(create_job))
        .route("/tasks/{task}/aggregation_jobs/{job}", get(read_job).post(continue_job).delete(delete_job))
        .route("/tasks/{task}/aggregate_shares", post(create_share))
        .route("/tasks/{task}/aggregate_shares/{share}", get(read_share).delete(delete_share));
    crate::aggregator::api::mount(helper.parts().endpoint.path(), for_any_origin, routes).with_state(helper)
}

async fn hpke_config(State(helper): State<Helper>) -> Response {
    hpke_config_response(&helper.parts().hpke_configs)
}

/// Checks the leader's token before anything is said about tasks.
async fn authorized_task(
    helper: &Helper,
    headers: &HeaderMap,
    task: &str,
) -> Result<Arc<ProvisionedTask>, Problem> {
    if !helper.parts().leader_token.authorizes(headers) {
        return Err(Problem::unauthorized());
    }
    let id = parse_task_id(task)?;
    helper.task(id).await.ok_or_else(|| Problem::unrecognized_task(id))
}

fn permit(helper: &Helper) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
    Arc::clone(&helper.0.at_once).try_acquire_owned().map_err(|_| {
        Problem::own(OwnError::Overloaded, "too much is under way").retry_after(BUSY_RETRY_AFTER)
    })
}

/// Makes the answer to a request, and keeps it. Blocks.
type Make = fn(&Helper, &ProvisionedTask, RequestKey, &[u8]) -> Result<Vec<u8>, Problem>;

/// What of the leader's requests is kept under a name that follows from their content.
struct Kind {
    resource: Resource,
    /// The last part of the path.
    folder: &'static str,
    name: fn(RequestKey) -> String,
    request: MediaType,
    answer: MediaType,
    make: Make,
    /// Whether the answer leaves on a tick of the clock: how long sampling took cannot be seen.
    on_tick: bool,
}

const JOB: Kind = Kind {
    resource: Resource::AggregationJob,
    folder: "aggregation_jobs",
    name: |key| AggregationJobId::new(key).to_string(),
    request: MediaType::AggregationJobInitReq,
    answer: MediaType::AggregationJobResp,
    make: Helper::aggregate,
    on_tick: false,
};

const SHARE: Kind = Kind {
    resource: Resource::AggregateShare,
    folder: "aggregate_shares",
    name: |key| AggregateShareId::new(key).to_string(),
    request: MediaType::AggregateShareReq,
    answer: MediaType::AggregateShare,
    make: Helper::aggregate_share,
    on_tick: true,
};

/// Answers a request of the leader's, and says where the answer is kept.
async fn create(
    helper: Helper,
    task: &str,
    headers: &HeaderMap,
    body: Body,
    kind: &'static Kind,
) -> ApiResult {
    let task = authorized_task(&helper, headers, task).await?;
    expect_media_type(headers, kind.request)?;
    let body = helper.0.bodies.read(body).await?;
    let permit = permit(&helper)?;
    let clock = Arc::clone(&helper.parts().clock);
    let result = blocking(move || {
        let _permit = permit;
        let id = task.task.id();
        let key = helper.parts().id_key.derive(kind.resource, id, &body);
        let answer = (kind.make)(&helper, &task, key, &body)?;
        let location = format!("{}/tasks/{id}/{}/{}", path(&helper), kind.folder, (kind.name)(key));
        Ok(located(message(StatusCode::OK, kind.answer, answer), &location))
    })
    .await;
    if kind.on_tick {
        until_next_tick(&*clock).await;
    }
    result
}

async fn create_job(
    State(helper): State<Helper>,
    Path(task): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult {
    create(helper, &task, &headers, body, &JOB).await
}

async fn read_job(
    State(helper): State<Helper>,
    Path((task, job)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult {
    let task = authorized_task(&helper, &headers, &task).await?;
    let job: AggregationJobId = job.parse().map_err(Problem::invalid)?;
    blocking(move || {
        let id = task.task.id();
        match helper.parts().store.job_response(id, *job.as_bytes())? {
            Some(response) => Ok(message(StatusCode::OK, MediaType::AggregationJobResp, response)),
            None => Err(Problem::dap(DapError::UnrecognizedAggregationJob, "there is no such job").task(id)),
        }
    })
    .await
}

/// Prio3 takes one round: there is no step to continue to.
async fn continue_job(
    State(helper): State<Helper>,
    Path((task, _)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult {
    let task = authorized_task(&helper, &headers, &task).await?;
    let detail = "the task's VDAF verifies in one round; its jobs are complete after the first";
    Err(Problem::dap(DapError::StepMismatch, detail).task(task.task.id()))
}

/// Its response is not needed any more (DAP-18 section 4.5.5); what guards against replays stays.
async fn delete_job(
    State(helper): State<Helper>,
    Path((task, job)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult {
    let task = authorized_task(&helper, &headers, &task).await?;
    let job: AggregationJobId = job.parse().map_err(Problem::invalid)?;
    blocking(move || {
        helper.parts().store.forget_response(task.task.id(), *job.as_bytes())?;
        Ok(StatusCode::OK.into_response())
    })
    .await
}

async fn create_share(
    State(helper): State<Helper>,
    Path(task): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult {
    create(helper, &task, &headers, body, &SHARE).await
}

/// Waits for the tick of the clock on which answers leave.
async fn until_next_tick(clock: &dyn Clock) {
    let tick = Duration::from_secs(RELEASE_TICK_SECONDS).as_nanos();
    let left = tick - clock.since_epoch().as_nanos() % tick;
    tokio::time::sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0))).await;
}

async fn read_share(
    State(helper): State<Helper>,
    Path((task, share)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult {
    let task = authorized_task(&helper, &headers, &task).await?;
    let share: AggregateShareId = share.parse().map_err(Problem::invalid)?;
    blocking(move || match helper.parts().store.collection_answer(task.task.id(), *share.as_bytes())? {
        Some(answer) => Ok(message(StatusCode::OK, MediaType::AggregateShare, answer)),
        None => Err(Problem::own(OwnError::NotFound, "there is no such aggregate share")),
    })
    .await
}

/// Kept all the same: a retry that came later must get the same bytes, not fresh noise.
async fn delete_share(
    State(helper): State<Helper>,
    Path((task, _)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult {
    authorized_task(&helper, &headers, &task).await?;
    Ok(StatusCode::OK.into_response())
}

fn path(helper: &Helper) -> &str {
    helper.parts().endpoint.path().trim_end_matches('/')
}
