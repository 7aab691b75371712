//! The leader's HTTP interface.

use std::sync::Arc;

use arras_protocol::codec::{Decode as _, Encode as _};
use arras_protocol::messages::{CollectionJobId, CollectionJobReq, Interval, MediaType};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use super::collections::decode_problem;
use crate::aggregator::ProvisionedTask;
use crate::aggregator::api::{
    ApiResult, Problem, expect_media_type, hpke_config_response, located, message, parse_task_id, preflight,
};
use crate::aggregator::ids::Resource;
use crate::aggregator::leader::Leader;
use crate::aggregator::queries::{is_over, query_problem, window_of};
use crate::aggregator::work::blocking;
use crate::net::problem::{DapError, OwnError};
use crate::store::{CollectionCreated, CollectionDeleted, CollectionJob, CollectionState};

/// After how many seconds a collector should ask again.
const COLLECTION_RETRY_AFTER: u32 = 1;

/// After how many seconds a collector should ask again when too many of its jobs are open.
const COLLECTIONS_RETRY_AFTER: u32 = 10;

pub(super) fn router(leader: Leader) -> Router {
    let for_any_origin = Router::new()
        .route("/hpke_config", get(hpke_config).options(async || preflight("GET")))
        .route("/tasks/{task}/reports", post(upload).options(async || preflight("POST")));
    let routes = Router::new()
        .route("/tasks/{task}/collection_jobs", post(create_collection))
        .route("/tasks/{task}/collection_jobs/{job}", get(poll_collection).delete(delete_collection));
    crate::aggregator::api::mount(leader.parts().endpoint.path(), for_any_origin, routes).with_state(leader)
}

async fn hpke_config(State(leader): State<Leader>) -> Response {
    hpke_config_response(&leader.parts().hpke_configs)
}

async fn upload(
    State(leader): State<Leader>,
    Path(task): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult {
    expect_media_type(&headers, MediaType::UploadRequest)?;
    let task = known_task(&leader, &task).await?;
    let body = leader.0.bodies.read(body).await?;
    leader.take_in(task, body).await
}

async fn create_collection(
    State(leader): State<Leader>,
    Path(task): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> ApiResult {
    let task = known_task(&leader, &task).await?;
    authorize(&task, &headers)?;
    expect_media_type(&headers, MediaType::CollectionJobReq)?;
    let body = leader.0.bodies.read(body).await?;
    blocking(move || {
        create(&leader, &task, &body).inspect_err(|problem| {
            leader.metrics().collections_refused.count(problem.document().kind().token());
        })
    })
    .await
}

fn create(leader: &Leader, task: &ProvisionedTask, body: &[u8]) -> ApiResult {
    let id = task.task.id();
    let request = CollectionJobReq::from_bytes(body).map_err(|error| query_problem(error).task(id))?;
    let interval = window_of(&task.task, &request)?;
    if !is_over(&task.task, interval, leader.parts().clock.now()) {
        let detail =
            "the window is not over yet: reports that come later would be lost; ask again when it is";
        return Err(Problem::dap(DapError::BatchInvalid, detail).task(id));
    }
    // The encoding, not the body: they are the same bytes, since decoding is strict.
    let content = request.to_bytes();
    let job = CollectionJobId::new(leader.parts().id_key.derive(Resource::CollectionJob, id, &content));
    refuse_unaffordable(leader, task, job, interval)?;
    let (status, job) = match leader.store().create_collection(id, job, &content, interval)? {
        CollectionCreated::New(job) => {
            leader.0.created.notify_one();
            (StatusCode::CREATED, job)
        }
        CollectionCreated::Existing(job) => (StatusCode::OK, job),
        CollectionCreated::Overlap => {
            let detail = "part of the window was collected before, or is being collected by another request";
            return Err(Problem::dap(DapError::BatchOverlap, detail).task(id));
        }
        CollectionCreated::TooMany => {
            let detail = "too many collection jobs of this task are open; ask again when one of them is done";
            let problem = Problem::own(OwnError::Overloaded, detail).task(id);
            return Err(problem.retry_after(COLLECTIONS_RETRY_AFTER));
        }
    };
    let location = format!(
        "{}/tasks/{id}/collection_jobs/{}",
        leader.parts().endpoint.path().trim_end_matches('/'),
        job.id
    );
    Ok(located(represent(leader, task, &job, status)?, &location))
}

/// Refuses what the budget will not allow before the window is closed to reports. A job that was created before is
/// not judged here: it may have been charged for.
fn refuse_unaffordable(
    leader: &Leader,
    task: &ProvisionedTask,
    job: CollectionJobId,
    interval: Interval,
) -> Result<(), Problem> {
    let id = task.task.id();
    let existing = leader.store().collection(id, job)?;
    if existing.is_some_and(|job| !matches!(job.state, CollectionState::Failed { .. })) {
        return Ok(());
    }
    let affordable = leader.promising(task, |promising| promising.afford(task, interval));
    affordable.map_err(|problem| problem.task(id))
}

async fn poll_collection(
    State(leader): State<Leader>,
    Path((task, job)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult {
    let task = known_task(&leader, &task).await?;
    authorize(&task, &headers)?;
    let job_id: CollectionJobId = job.parse().map_err(Problem::invalid)?;
    blocking(move || {
        let job = leader.store().collection(task.task.id(), job_id)?;
        let job = job.ok_or_else(|| Problem::own(OwnError::NotFound, "there is no such collection job"))?;
        represent(&leader, &task, &job, StatusCode::OK)
    })
    .await
}

async fn delete_collection(
    State(leader): State<Leader>,
    Path((task, job)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult {
    let task = known_task(&leader, &task).await?;
    authorize(&task, &headers)?;
    let job_id: CollectionJobId = job.parse().map_err(Problem::invalid)?;
    blocking(move || match leader.store().delete_collection(task.task.id(), job_id)? {
        CollectionDeleted::Gone => Ok(StatusCode::OK.into_response()),
        CollectionDeleted::Busy => {
            let detail = "the helper is being asked, and the batch may have been charged for: wait for the \
                              answer, then delete it";
            Err(Problem::own(OwnError::Conflict, detail).task(task.task.id()))
        }
    })
    .await
}

/// What a collection job looks like now: empty until it is ready.
fn represent(leader: &Leader, task: &ProvisionedTask, job: &CollectionJob, status: StatusCode) -> ApiResult {
    let pending = || {
        let headers = [(header::RETRY_AFTER, HeaderValue::from(COLLECTION_RETRY_AFTER))];
        // 202 where nothing is created: the answer is put off.
        let status = if status == StatusCode::OK { StatusCode::ACCEPTED } else { status };
        Ok((status, headers).into_response())
    };
    match &job.state {
        CollectionState::Draining | CollectionState::AskingHelper { .. } => pending(),
        CollectionState::Failed { problem } => {
            Err(Problem::from(decode_problem(problem)).task(task.task.id()))
        }
        CollectionState::Ready { readable_from } if leader.parts().clock.now() < *readable_from => pending(),
        CollectionState::Ready { .. } => {
            let answer = leader.store().collection_answer(task.task.id(), *job.id.as_bytes())?;
            let answer = answer.ok_or_else(|| Problem::own(OwnError::Gone, "the answer was deleted"))?;
            Ok(message(status, MediaType::CollectionJobResp, answer))
        }
    }
}

async fn known_task(leader: &Leader, task: &str) -> Result<Arc<ProvisionedTask>, Problem> {
    let id = parse_task_id(task)?;
    leader.task(id).await.ok_or_else(|| Problem::unrecognized_task(id))
}

/// The token must be the one of the task's own collector.
fn authorize(task: &ProvisionedTask, headers: &HeaderMap) -> Result<(), Problem> {
    match &task.collector.token {
        Some(token) if token.authorizes(headers) => Ok(()),
        _ => Err(Problem::unauthorized()),
    }
}
