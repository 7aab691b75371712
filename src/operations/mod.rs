//! The operator's interface: `/metrics`, `/healthz` and `/readyz`, on a loopback address of its own.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | every series, in OpenMetrics |
//! | `GET /healthz` | 200: the process answers |
//! | `GET /readyz` | 200 if every role can do its work; else 503, and a line for each role that says why not |
//! | `GET /budget` | what was spent of each budget source, in JSON: see [`budget`]; with `?source=NAME` of that one |
//!
//! It needs no token, as it is for this machine alone, and what it says holds nothing of anybody's. Another address
//! than a loopback one is refused.

pub(crate) mod budget;
mod watch;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::aggregator::work::blocking;
use crate::metrics::{self, Metrics};
use crate::net::server::{ServeError, ServerLimits, serve_with};

use self::budget::{BudgetReport, BudgetReports};
pub(crate) use self::watch::{watch_collector, watch_helper, watch_leader, watch_registry, watch_schedule};

/// Connections at once: a scraper, a supervisor, somebody with curl. Each may have the stores asked.
const CONNECTIONS_MAX: usize = 16;

/// How often it is looked whether a role can do its work.
const TROUBLES_PAUSE: Duration = Duration::from_secs(10);

/// For how many times as long as reading budgets took they are told again without reading: stores take no commit
/// meanwhile, and whoever asks in a loop holds them up for a tenth of the time at most.
const BUDGETS_KEPT: u32 = 9;

/// What `/readyz` says until the roles are there.
const STARTING: &str = "the stores are being opened";

/// Why a role cannot do its work, in words for its operator.
type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a role knows of budgets, or why it cannot tell.
type Budget = Box<dyn Fn() -> Result<BudgetReport, String> + Send + Sync>;

/// What the interface tells. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Operations(Arc<Inner>);

#[derive(Default)]
struct Inner {
    metrics: Metrics,
    started: AtomicBool,
    /// Of each role that was started, its name and its check.
    checks: Mutex<Vec<(&'static str, Check)>>,
    /// Of each role that was started, what tells of its budgets.
    budgets: Mutex<Vec<(&'static str, Budget)>>,
    /// What was told of them last, and until when it is told again. Locked with the list.
    told: Mutex<Option<(BudgetReports, Instant)>>,
}

impl Operations {
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Adds what decides whether a role is ready; it may block on the disk.
    fn add_check(&self, role: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.checks().push((role, Box::new(check)));
    }

    /// Adds what tells of a role's budgets; it may block on the disk.
    fn add_budget(
        &self,
        role: &'static str,
        budget: impl Fn() -> Result<BudgetReport, String> + Send + Sync + 'static,
    ) {
        self.budgets().push((role, Box::new(budget)));
    }

    /// What all roles know of budgets. Blocks.
    fn report_budgets(&self) -> Result<BudgetReports, String> {
        if !self.0.started.load(Ordering::Acquire) {
            return Err(STARTING.to_owned());
        }
        // One at a time.
        let budgets = self.budgets();
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((reports, _)) = told.as_ref().filter(|(_, until)| Instant::now() < *until) {
            return Ok(reports.clone());
        }
        let begun = Instant::now();
        let reports =
            budgets.iter().map(|(role, budget)| budget().map_err(|reason| format!("{role}: {reason}")));
        let reports = BudgetReports { roles: reports.collect::<Result<_, _>>()? };
        *told = Some((reports.clone(), Instant::now() + begun.elapsed() * BUDGETS_KEPT));
        Ok(reports)
    }

    // As with the checks.
    fn budgets(&self) -> MutexGuard<'_, Vec<(&'static str, Budget)>> {
        self.0.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that all roles are there.
    pub(crate) fn started(&self) {
        self.0.started.store(true, Ordering::Release);
    }

    /// What keeps roles from their work, each with its name. Blocks.
    pub(crate) fn troubles(&self) -> Vec<String> {
        if !self.0.started.load(Ordering::Acquire) {
            return vec![STARTING.to_owned()];
        }
        let checks = self.checks();
        let failed = checks.iter().filter_map(|(role, check)| Some((role, check().err()?)));
        failed.map(|(role, reason)| format!("{role}: {reason}")).collect()
    }

    // A panic in a check leaves the list as it was.
    fn checks(&self) -> MutexGuard<'_, Vec<(&'static str, Check)>> {
        self.0.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to the log when something begins to keep a role from its work (a full disk, say) and when it is over, for
    /// operators who do not ask `/readyz`.
    pub(crate) async fn tell_troubles(self) {
        let mut told = BTreeSet::new();
        loop {
            let operations = self.clone();
            let troubles = blocking(move || operations.troubles()).await;
            // By role: what is said of one may hold numbers that change all the time.
            let role_of = |trouble: &String| trouble.split(':').next().unwrap_or_default().to_owned();
            for trouble in troubles.iter().filter(|trouble| !told.contains(&role_of(trouble))) {
                tracing::warn!(trouble, "a role cannot do its work");
            }
            let now: BTreeSet<String> = troubles.iter().map(role_of).collect();
            for role in told.difference(&now) {
                tracing::info!(role, "a role can do its work again");
            }
            told = now;
            tokio::time::sleep(TROUBLES_PAUSE).await;
        }
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/budget", get(budgets))
            .with_state(self.clone())
    }

    /// Serves until `shutdown` completes.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let limits = ServerLimits { connections_max: CONNECTIONS_MAX, ..ServerLimits::default() };
        serve_with(self.router(), listener, None, shutdown, limits).await
    }
}

async fn metrics(State(operations): State<Operations>) -> Response {
    match blocking(move || operations.metrics().encode()).await {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn budgets(State(operations): State<Operations>, RawQuery(query): RawQuery) -> Response {
    // Of a whole URL, since that is what the parser takes; the host is not looked at.
    let url = reqwest::Url::parse(&format!("http://localhost/?{}", query.unwrap_or_default()));
    let pairs: Vec<(String, String)> = url
        .iter()
        .flat_map(reqwest::Url::query_pairs)
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    let wanted = match pairs.as_slice() {
        [] => None,
        [(key, name)] if key == "source" => Some(name.clone()),
        _ => return (StatusCode::BAD_REQUEST, "the only parameter is source=NAME\n").into_response(),
    };
    let reported = blocking(move || {
        let reports = operations.report_budgets()?;
        let reports = match wanted {
            Some(wanted) => reports.details_of(&wanted),
            None => reports,
        };
        serde_json::to_vec(&reports).map_err(|error| error.to_string())
    });
    match reported.await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response(),
    }
}

async fn ready(State(operations): State<Operations>) -> Response {
    let troubles = blocking(move || operations.troubles()).await;
    if troubles.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n").into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::AtomicBool;

    use super::*;

    async fn answer(operations: &Operations) -> (StatusCode, String) {
        let response = ready(State(operations.clone())).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_process_is_ready_when_all_its_roles_are() {
        let operations = Operations::default();
        assert_eq!(answer(&operations).await, (StatusCode::SERVICE_UNAVAILABLE, format!("{STARTING}\n")));
        let works = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&works);
        operations.add_check("helper", || Ok(()));
        operations.add_check("leader", move || {
            if asked.load(Ordering::Relaxed) { Ok(()) } else { Err("nothing drives its jobs".to_owned()) }
        });
        operations.started();
        let (status, reason) = answer(&operations).await;
        assert_eq!((status.as_u16(), reason.as_str()), (503, "leader: nothing drives its jobs\n"));
        works.store(true, Ordering::Relaxed);
        assert_eq!(answer(&operations).await, (StatusCode::OK, "ready\n".to_owned()));
    }
    /// Each look into a ledger holds up the commits of its store, so whoever asked in a loop held up all of them.
    #[tokio::test]
    async fn budgets_are_not_read_again_at_once() {
        let operations = Operations::default();
        let read = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let asked = Arc::clone(&read);
        operations.add_budget("helper", move || {
            asked.fetch_add(1, Ordering::Relaxed);
            // What follows is asked for within nine times as long.
            std::thread::sleep(Duration::from_secs(1));
            let role = "helper".to_owned();
            Ok(BudgetReport { role, sources: Vec::new(), disagreements: Vec::new() })
        });
        operations.started();
        let ask = async |query: Option<&str>| {
            budgets(State(operations.clone()), RawQuery(query.map(str::to_owned))).await.status().as_u16()
        };
        assert_eq!(
            [ask(None).await, ask(Some("source=shop.example")).await, ask(Some("x=1")).await],
            [200, 200, 400]
        );
        assert_eq!(read.load(Ordering::Relaxed), 1);
    }
}
