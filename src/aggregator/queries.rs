//! What both aggregators ask of a request before it costs them anything.

use arras_protocol::codec::CodecError;
use arras_protocol::messages::{CollectionJobReq, Extensions, Interval, TaskId};
use arras_protocol::task::Task;

use crate::aggregator::api::Problem;
use crate::net::problem::DapError;

/// The window that a collector asks for, if it is one that can be collected once it is over: of whole buckets by its
/// encoding, and not empty (DAP-18 sections 4.6.2 and 5.1).
pub(crate) fn window_of(task: &Task, query: &CollectionJobReq) -> Result<Interval, Problem> {
    let id = task.id();
    let interval = query.as_time_interval().map_err(|error| query_problem(error).task(id))?.batch_interval;
    check_parameters(id, query.agg_param(), &query.extensions)?;
    if interval.duration().0 == 0 {
        let detail = "the window is empty: ask for at least one unit of the task's time precision";
        return Err(Problem::dap(DapError::BatchInvalid, detail).task(id));
    }
    Ok(interval)
}

/// Whether a window is over at a POSIX second. Reports that come later would be lost.
pub(crate) fn is_over(task: &Task, window: Interval, now: u64) -> bool {
    window.end().posix_seconds(task.configuration().time_precision) <= now
}

/// Refuses aggregation parameters, of which Prio3 has none: a report that is verified under two of them could give
/// itself away. And extensions, of which none is known: what one asks for cannot be ignored.
pub(crate) fn check_parameters(
    task: TaskId,
    agg_param: &[u8],
    extensions: &Extensions,
) -> Result<(), Problem> {
    if !agg_param.is_empty() {
        let detail = "Prio3 has no aggregation parameter";
        return Err(Problem::dap(DapError::InvalidAggregationParameter, detail).task(task));
    }
    let unknown = extensions.unknown(&[]);
    if !unknown.is_empty() {
        return Err(Problem::unsupported_extensions(unknown).task(task));
    }
    Ok(())
}

/// What is wrong with a collector's query (DAP-18 sections 4.6.2 and 5.1.1).
pub(crate) fn query_problem(error: CodecError) -> Problem {
    match error {
        CodecError::ExtensionOrder { .. } => Problem::dap(DapError::InvalidExtension, error.to_string()),
        CodecError::Invalid { field: "interval", .. } => {
            Problem::dap(DapError::BatchInvalid, error.to_string())
        }
        _ => Problem::invalid(error),
    }
}
