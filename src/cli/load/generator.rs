//! Sends the requests: a number of connections, each with one request at a time, on one thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arras_protocol::codec::Decode as _;
use arras_protocol::messages::UploadErrors;
use axum::http::StatusCode;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use super::connection::{Connection, Target};
use super::latency::{Latencies, Schedule};
use super::process;
use super::reports::Request;
use crate::cli::Failure;
use crate::net::problem::ProblemDocument;

/// How the requests are sent.
pub(super) struct Plan {
    pub(super) schedule: Schedule,
    pub(super) connections: usize,
    /// When the sending ends although there are requests left.
    pub(super) duration: Option<Duration>,
    /// The CPU of the thread that sends.
    pub(super) cpu: Option<usize>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) latencies: Latencies,
    /// Reports that the leader has stored.
    pub(super) accepted: u64,
    /// Reports that it has not, or did not say so, by reason.
    pub(super) rejected: BTreeMap<String, u64>,
    /// Reports that were not sent because time was over.
    pub(super) left: u64,
    /// From the first that was due to the last answer.
    pub(super) elapsed: Duration,
}

/// Sends all requests and waits for the answers; blocks.
pub(super) fn run(target: &Target, requests: &[Request], plan: &Plan) -> Result<Sent, Failure> {
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            if let Some(cpu) = plan.cpu {
                process::pin(cpu)?;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, send(target.clone(), requests.to_vec(), plan))
        });
        sender.join().unwrap_or_else(|_| Err("the thread that sends ended".into()))
    })
}

/// Shared by the connections.
struct Shared {
    requests: Vec<Request>,
    schedule: Schedule,
    start: Instant,
    /// No request is sent from here on.
    end: Option<Instant>,
    /// How many are sent at all, and the next of them.
    count: usize,
    next: Cell<usize>,
    /// A permit for each request that is due.
    due: Arc<Semaphore>,
    sent: RefCell<Sent>,
}

async fn send(target: Target, requests: Vec<Request>, plan: &Plan) -> Result<Sent, Failure> {
    let mut connections = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        connections.push(Connection::open(target.clone()).await?);
    }
    let in_time = plan.duration.map_or(usize::MAX, |duration| plan.schedule.due_before(duration));
    let due = Arc::new(Semaphore::new(0));
    let start = Instant::now();
    let shared = Rc::new(Shared {
        count: requests.len().min(in_time),
        requests,
        schedule: plan.schedule,
        start,
        // What is due in time is sent, however late.
        end: plan.duration.filter(|_| plan.schedule == Schedule::Saturate).map(|duration| start + duration),
        next: Cell::new(0),
        due: Arc::clone(&due),
        sent: RefCell::new(Sent {
            latencies: Latencies::new(),
            accepted: 0,
            rejected: BTreeMap::new(),
            left: 0,
            elapsed: Duration::ZERO,
        }),
    });
    if plan.schedule != Schedule::Saturate {
        let (schedule, count) = (plan.schedule, shared.count);
        let connections = plan.connections;
        thread::Builder::new().name("pace".to_owned()).spawn(move || {
            pace(schedule, count, start, &due);
            // Those that wait in vain look, and find that nothing is left.
            due.add_permits(connections);
        })?;
    }
    let mut under_way = tokio::task::JoinSet::new();
    for connection in connections {
        under_way.spawn_local(use_connection(Rc::clone(&shared), connection));
    }
    while let Some(ended) = under_way.join_next().await {
        ended?;
    }
    let mut sent = shared.sent.borrow().clone();
    let left = shared.requests.iter().skip(shared.next.get());
    sent.left = left.map(|request| u64::from(request.reports)).sum();
    Ok(sent)
}

/// Says when requests are due. A thread's sleep is exact to some 50 microseconds, a timer of tokio's to a millisecond.
fn pace(schedule: Schedule, count: usize, start: Instant, due: &Semaphore) {
    let mut released = 0;
    while released < count {
        let next = start + schedule.due(released).unwrap_or_default();
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let now_due = schedule.due_before(start.elapsed() + Duration::from_nanos(1)).min(count);
        if now_due > released {
            due.add_permits(now_due - released);
            released = now_due;
        }
    }
}

async fn use_connection(shared: Rc<Shared>, mut connection: Connection) {
    loop {
        if shared.schedule != Schedule::Saturate {
            match shared.due.acquire().await {
                Ok(permit) => permit.forget(),
                // It is never closed.
                Err(_) => return,
            }
        }
        let n = shared.next.get();
        if n >= shared.count || shared.end.is_some_and(|end| Instant::now() >= end) {
            return;
        }
        shared.next.set(n + 1);
        let request = &shared.requests[n];
        let due = shared.schedule.due(n).unwrap_or_else(|| shared.start.elapsed());
        let answer = connection.post(request.body.clone()).await;
        let answered = shared.start.elapsed();
        let mut sent = shared.sent.borrow_mut();
        sent.elapsed = sent.elapsed.max(answered);
        match answer {
            Ok((status, body)) => {
                sent.latencies.enter(due, answered);
                sent.count(request.reports, status, &body);
            }
            Err(error) => sent.reject(&format!("no answer: {error}"), request.reports.into()),
        }
    }
}

impl Sent {
    fn reject(&mut self, reason: &str, reports: u64) {
        if reports > 0 {
            *self.rejected.entry(reason.to_owned()).or_default() += reports;
        }
    }

    /// Counts what an answer says of the reports of its request.
    fn count(&mut self, reports: u32, status: StatusCode, body: &Bytes) {
        let reports = u64::from(reports);
        if !status.is_success() {
            return self.reject(&refusal(status, body), reports);
        }
        let Ok(errors) = UploadErrors::from_bytes(body) else {
            return self.reject("the answer does not decode", reports);
        };
        let refused = (errors.status.len() as u64).min(reports);
        self.accepted += reports - refused;
        for status in errors.status {
            self.reject(&status.error.to_string(), 1);
        }
    }
}

fn refusal(status: StatusCode, body: &Bytes) -> String {
    let problem = ProblemDocument::parse(status, "application/problem+json", body);
    match problem.as_ref().and_then(ProblemDocument::detail) {
        Some(detail) => format!("{status}: {detail}"),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use arras_protocol::codec::Encode as _;
    use arras_protocol::messages::{ReportError, ReportId, ReportUploadStatus};

    use super::*;

    #[test]
    fn answers_are_counted_by_what_they_say() {
        let mut sent = Sent {
            latencies: Latencies::new(),
            accepted: 0,
            rejected: BTreeMap::new(),
            left: 0,
            elapsed: Duration::ZERO,
        };
        sent.count(64, StatusCode::OK, &Bytes::new());
        let status = |error| ReportUploadStatus { report_id: ReportId::new([1; 16]), error };
        let errors = UploadErrors {
            status: vec![status(ReportError::ReportReplayed), status(ReportError::ReportReplayed)],
        };
        sent.count(10, StatusCode::OK, &errors.to_bytes().into());
        sent.count(5, StatusCode::SERVICE_UNAVAILABLE, &Bytes::new());
        sent.count(3, StatusCode::OK, &Bytes::from_static(b"?"));
        assert_eq!(sent.accepted, 64 + 8);
        let reasons: Vec<_> = sent.rejected.values().copied().collect();
        assert_eq!((sent.rejected.len(), reasons.iter().sum::<u64>()), (3, 2 + 5 + 3));
        assert_eq!(sent.rejected[&ReportError::ReportReplayed.to_string()], 2);
    }
}
