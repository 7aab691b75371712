//! Requests and connections of one role's HTTP interface.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tracing::Instrument as _;

use super::{Counters, Families, Timings, gauge};

/// Every route of every role, below its endpoint. A request elsewhere is [`NO_ROUTE`], whatever its path.
pub(super) const ROUTES: [&str; 12] = [
    "/hpke_config",
    "/tasks/{task}/reports",
    "/tasks/{task}/collection_jobs",
    "/tasks/{task}/collection_jobs/{job}",
    "/tasks/{task}/aggregation_jobs",
    "/tasks/{task}/aggregation_jobs/{job}",
    "/tasks/{task}/aggregate_shares",
    "/tasks/{task}/aggregate_shares/{share}",
    "/v1/tasks",
    "/v1/tasks/{task}/releases",
    "/v1/releases/{sequence}",
    "/healthz",
];

const NO_ROUTE: &str = "none";

/// What a client that went away before it was answered counts as, in place of a status.
const GIVEN_UP: &str = "given_up";

/// What one role counts of its requests. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    role: &'static str,
    requests: Counters<4>,
    seconds: Timings<2>,
    connections: Connections,
}

/// What one role counts of its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    pub(crate) open: Gauge,
    pub(crate) max: Gauge,
    pub(crate) refused: Counter,
}

impl Connections {
    pub(crate) fn set_max(&self, max: usize) {
        self.max.set(gauge(max as u64));
    }
}

impl HttpMetrics {
    pub(super) fn new(families: &Families, role: &'static str) -> Self {
        let connections = Connections {
            open: families.server.http_connections.get_or_create_owned(&[("role", role)]),
            max: families.server.http_connections_max.get_or_create_owned(&[("role", role)]),
            refused: families.server.http_connections_refused.get_or_create_owned(&[("role", role)]),
        };
        Self {
            role,
            requests: families.server.http_requests.clone(),
            seconds: families.server.http_request_seconds.clone(),
            connections,
        }
    }

    pub(crate) fn connections(&self) -> Connections {
        self.connections.clone()
    }
}

/// A request that is being answered. Counted when it is dropped, so that one whose client goes away counts, too.
struct Exchange<'a> {
    http: &'a HttpMetrics,
    started: Instant,
    method: &'static str,
    route: &'static str,
    status: Option<StatusCode>,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        let role = self.http.role;
        let status = self.status.map_or(GIVEN_UP, class_of);
        let labels = [("role", role), ("route", self.route), ("method", self.method), ("status", status)];
        self.http.requests.get_or_create(&labels).inc();
        let seconds = self.http.seconds.get_or_create(&[("role", role), ("route", self.route)]);
        seconds.observe(self.started.elapsed().as_secs_f64());
    }
}

/// Counts a request and gives what is logged meanwhile its route, method and status: a template, never a path, which
/// holds ids that are capabilities.
pub(crate) async fn observe(State(http): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let (method, route) = (method_of(request.method()), route_of(request.extensions().get::<MatchedPath>()));
    let span = tracing::debug_span!("request", role = http.role, method, route);
    let mut exchange = Exchange { http: &http, started: Instant::now(), method, route, status: None };
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    exchange.status = Some(status);
    span.in_scope(|| {
        let microseconds = u64::try_from(exchange.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(status = status.as_u16(), microseconds, "answered");
    });
    response
}

fn route_of(matched: Option<&MatchedPath>) -> &'static str {
    let matched = matched.map_or("", MatchedPath::as_str);
    // The longest, as one could end in another; before it stands the endpoint's own path.
    let routes = ROUTES.iter().filter(|route| matched.ends_with(**route));
    routes.max_by_key(|route| route.len()).copied().unwrap_or(NO_ROUTE)
}

fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
