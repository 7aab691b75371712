//! Sums in the collector's interface.

use arras_protocol::messages::TaskId;
use arras_protocol::signed::{self, DocumentType, SignError};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::{Failure, invalid, json, problem, task_id, typed};
use crate::aggregator::work::blocking;
use crate::collector::Collector;
use crate::collector::errors::CollectError;
use crate::collector::span::{Moment, Span};
use crate::collector::sums::{SUM_CAMPAIGNS_MAX, SumError, Wanted};
use crate::store::StoreError;

/// `GET /v1/tasks/{task}/sums`.
pub(super) async fn sum(
    State(collector): State<Collector>,
    Path(task): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let sum = in_turn(collector, &task, query.as_deref(), Collector::sum).await?;
    Ok(json(StatusCode::OK, sum.to_json()))
}

/// `GET /v1/tasks/{task}/sums/signed`.
pub(super) async fn signed_sum(
    State(collector): State<Collector>,
    Path(task): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let text = in_turn(collector, &task, query.as_deref(), signed_text).await?;
    Ok(typed("application/jose", text.into_bytes()))
}

/// Computes what a query asks for when it is its turn, off the runtime.
async fn in_turn<T: Send + 'static>(
    collector: Collector,
    task: &str,
    query: Option<&str>,
    compute: impl FnOnce(&Collector, TaskId, &Wanted) -> Result<T, CollectError> + Send + 'static,
) -> Result<T, Failure> {
    let (id, wanted) = (task_id(task)?, wanted(query, task)?);
    let turn = collector.turn_to_sum().await;
    let computed = blocking(move || {
        let _turn = turn;
        compute(&collector, id, &wanted)
    })
    .await;
    computed.map_err(|error| problem(&error, id))
}

fn signed_text(collector: &Collector, id: TaskId, wanted: &Wanted) -> Result<String, CollectError> {
    let sum = collector.sum(id, wanted)?;
    let text = signed::sign(collector.signer(), DocumentType::Sum, &sum.to_json());
    text.map_err(not_signed)
}

/// A document that is too large is the question's fault and no failure of the store.
fn not_signed(error: SignError) -> CollectError {
    match error {
        SignError::TooLarge => SumError::TooLarge.into(),
        other => StoreError::prepare(other).into(),
    }
}

/// Reads `from=TIME&to=TIME&campaign=NAME&campaign=NAME`, percent-encoded.
fn wanted(query: Option<&str>, task: &str) -> Result<Wanted, Failure> {
    let expected = "the parameters are from=TIME, to=TIME and, as often as wanted, campaign=NAME";
    // Of a whole URL, since that is what the parser takes; the host is not looked at.
    let url = reqwest::Url::parse(&format!("http://localhost/?{}", query.unwrap_or_default()))
        .map_err(|_| invalid(expected))?;
    let (mut from, mut to, mut campaigns) = (None, None, Vec::new());
    for (key, value) in url.query_pairs() {
        let moment = || value.parse::<Moment>().map_err(|error| invalid(&format!("{key}: {error}")));
        match &*key {
            "from" if from.is_none() => from = Some(moment()?),
            "to" if to.is_none() => to = Some(moment()?),
            "campaign" if campaigns.len() < SUM_CAMPAIGNS_MAX => campaigns.push(value.into_owned()),
            _ => return Err(invalid(expected)),
        }
    }
    let (Some(from), Some(to)) = (from, to) else { return Err(invalid(expected)) };
    let id = task_id(task)?;
    let range = Span::new(from, to).map_err(|error| problem(&error.into(), id))?;
    Ok(Wanted { range, campaigns })
}

#[cfg(test)]
mod tests {
    use arras_protocol::signed::DOCUMENT_BYTES_MAX;
    use axum::response::IntoResponse as _;

    use super::*;
    use crate::collector::fixture::signer;

    /// A sum of ten thousand windows with gaps between them could be larger than what is signed. That was logged as a failure
    /// of the collector's store and answered with 500.
    #[test]
    fn a_sum_too_large_to_sign_is_the_questions_fault() {
        let large = vec![b' '; DOCUMENT_BYTES_MAX + 1];
        let Err(error) = signed::sign(&signer(), DocumentType::Sum, &large) else { panic!("it is signed") };
        let error = not_signed(error);
        assert!(matches!(error, CollectError::Sum(SumError::TooLarge)), "{error}");
        assert!(error.to_string().contains("ask for a shorter range"), "{error}");
        let answer = problem(&error, TaskId::new([9; 32])).into_response();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
}
