//! Requests and connections of one role's HTTP interface.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tracing::Instrument as _;

use super::{Counters, Families, Timings, gauge};

/// Every route of every role, below its endpoint. A request elsewhere is [`NO_ROUTE`], whatever its path.
pub(super) const ROUTES: &[&str] = &[
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
    "/v1/tasks/{task}/sums",
    "/v1/tasks/{task}/sums/signed",
    "/v1/releases/{sequence}",
    "/v1/releases/{sequence}/signed",
    "/v1/openapi.json",
    "/v1/insights",
    "/v1/advertisers",
    "/v1/advertisers/{advertiser}",
    "/v1/advertisers/{advertiser}/campaigns",
    "/v1/advertisers/{advertiser}/campaigns/{campaign}",
    "/v1/advertisers/{advertiser}/delivery",
    "/v1/advertisers/{advertiser}/windows",
    "/v1/advertisers/{advertiser}/releases",
    "/v1/advertisers/{advertiser}/releases/{sequence}",
    "/v1/advertisers/{advertiser}/tasks",
    "/v1/advertisers/{advertiser}/manifest-file",
    "/v1/advertisers/{advertiser}/value-advice",
    "/v1/advertisers/{advertiser}/budget",
    "/v1/advertisers/{advertiser}/keys",
    "/v1/advertisers/{advertiser}/keys/{key}",
    "/v1/advertisers/{advertiser}/users",
    "/v1/advertisers/{advertiser}/users/{user}",
    "/keys",
    "/manifests/{advertiser}",
    "/healthz",
    "/console",
    "/console/style.css",
    "/console/icon.svg",
    "/console/sign-in",
    "/console/sign-out",
    "/console/account",
    "/console/account/password",
    "/console/account/users",
    "/console/account/users/{user}/remove",
    "/console/account/keys",
    "/console/account/keys/{key}/revoke",
    "/console/overview",
    "/console/campaigns",
    "/console/campaigns.csv",
    "/console/campaigns/new",
    "/console/campaigns/{campaign}",
    "/console/campaigns/{campaign}/edit",
    "/console/help",
    "/console/budget",
    "/console/releases",
    "/console/releases/{sequence}",
    "/console/releases/{sequence}/signed",
    "/console/delivery",
    "/console/delivery/template.csv",
    "/console/planner",
    "/console/{*elsewhere}",
];

/// What requests elsewhere count as; the last of the indices of routes.
const NO_ROUTE: &str = "none";

/// Every method that has a label of its own, and the others.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

/// The classes of a status, and what a client that went away before it was answered counts as in their place.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "given_up"];

/// What one role counts of its requests. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics(Arc<Requests>);

/// Series are found by their labels once; from then on a request costs an addition and an observation.
#[derive(Debug)]
struct Requests {
    role: &'static str,
    families: (Counters<4>, Timings<2>),
    /// One for each route, method and class, in this order.
    counted: Vec<OnceLock<Counter>>,
    /// One for each route.
    timed: Vec<OnceLock<Histogram>>,
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
        let server = &families.server;
        let connections = Connections {
            open: server.http_connections.get_or_create_owned(&[("role", role)]),
            max: server.http_connections_max.get_or_create_owned(&[("role", role)]),
            refused: server.http_connections_refused.get_or_create_owned(&[("role", role)]),
        };
        let routes = ROUTES.len() + 1;
        Self(Arc::new(Requests {
            role,
            families: (server.http_requests.clone(), server.http_request_seconds.clone()),
            counted: vec![OnceLock::new(); routes * METHODS.len() * CLASSES.len()],
            timed: vec![OnceLock::new(); routes],
            connections,
        }))
    }

    pub(crate) fn connections(&self) -> Connections {
        self.0.connections.clone()
    }
}

impl Requests {
    /// Counts a request; the three are indices.
    fn count(&self, route: usize, method: usize, class: usize, since: Instant) {
        let text = route_text(route);
        let counter =
            self.counted[(route * METHODS.len() + method) * CLASSES.len() + class].get_or_init(|| {
                let (method, status) = (METHODS[method], CLASSES[class]);
                let labels = [("role", self.role), ("route", text), ("method", method), ("status", status)];
                self.families.0.get_or_create_owned(&labels)
            });
        counter.inc();
        let labels = || [("role", self.role), ("route", text)];
        let timed = self.timed[route].get_or_init(|| self.families.1.get_or_create_owned(&labels()));
        timed.observe(since.elapsed().as_secs_f64());
    }
}

/// A request that is being answered. Counted when it is dropped, so that one whose client goes away counts, too.
struct Exchange<'a> {
    requests: &'a Requests,
    started: Instant,
    method: usize,
    route: usize,
    class: usize,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.requests.count(self.route, self.method, self.class, self.started);
    }
}

/// Counts a request and gives what is logged meanwhile its route, method and status: a template, never a path, which
/// holds ids that are capabilities.
pub(crate) async fn observe(State(http): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let (method, route) = (method_of(request.method()), route_of(request.extensions().get::<MatchedPath>()));
    let span = tracing::debug_span!(
        "request",
        role = http.0.role,
        method = METHODS[method],
        route = route_text(route)
    );
    let class = CLASSES.len() - 1;
    let mut exchange = Exchange { requests: &http.0, started: Instant::now(), method, route, class };
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    exchange.class = class_of(status);
    span.in_scope(|| {
        let microseconds = u64::try_from(exchange.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(status = status.as_u16(), microseconds, "answered");
    });
    response
}

fn route_text(route: usize) -> &'static str {
    ROUTES.get(route).copied().unwrap_or(NO_ROUTE)
}

fn route_of(matched: Option<&MatchedPath>) -> usize {
    let matched = matched.map_or("", MatchedPath::as_str);
    // The longest, as one could end in another; before it stands the endpoint's own path.
    let routes = ROUTES.iter().enumerate().filter(|(_, route)| matched.ends_with(**route));
    routes.max_by_key(|(_, route)| route.len()).map_or(ROUTES.len(), |(index, _)| index)
}

fn method_of(method: &Method) -> usize {
    let known = METHODS.iter().position(|known| *known == method.as_str());
    known.unwrap_or(METHODS.len() - 1)
}

fn class_of(status: StatusCode) -> usize {
    (usize::from(status.as_u16()) / 100).clamp(1, 5) - 1
}
