//! The table of routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter};

use super::guard::{AtLeast, Call, Endpoint, Handled, Tenant};
use super::{
    Api, advertisers, advice, budget, campaigns, delivery, document, insights, keys, releases, tasks, users,
    windows,
};
use crate::net::problem::{OwnError, ProblemDocument};

/// Every path with its methods.
pub(super) struct Table(pub(super) Vec<(&'static str, Vec<Endpoint>)>);

/// The routes of the interface.
pub(super) fn table() -> Table {
    Table(Vec::new())
        .route("/v1/openapi.json", [Endpoint::open(Method::GET, document::get)])
        .route("/v1/insights", [get(insights::get).heavy()])
        .route(
            "/v1/advertisers",
            [
                Endpoint::operator(Method::GET, advertisers::list),
                Endpoint::operator(Method::POST, advertisers::create),
            ],
        )
        .route(
            "/v1/advertisers/{advertiser}",
            [get(advertisers::show), Endpoint::tenant(Method::PATCH, advertisers::change)],
        )
        .route(
            "/v1/advertisers/{advertiser}/campaigns",
            [get(campaigns::list), Endpoint::tenant(Method::POST, campaigns::create)],
        )
        .route(
            "/v1/advertisers/{advertiser}/campaigns/{campaign}",
            [get(campaigns::show), Endpoint::tenant(Method::PATCH, campaigns::change)],
        )
        .route(
            "/v1/advertisers/{advertiser}/delivery",
            [
                get(delivery::list),
                Endpoint::tenant(Method::PUT, delivery::put).with_body(delivery::BODY_BYTES_MAX),
            ],
        )
        .route("/v1/advertisers/{advertiser}/windows", [get(windows::list)])
        .route("/v1/advertisers/{advertiser}/releases", [get(releases::list)])
        .route("/v1/advertisers/{advertiser}/releases/{sequence}", [get(releases::show)])
        .route("/v1/advertisers/{advertiser}/tasks", [get(tasks::list)])
        .route("/v1/advertisers/{advertiser}/manifest-file", [get(tasks::manifest_file)])
        .route("/v1/advertisers/{advertiser}/value-advice", [get(advice::get)])
        .route("/v1/advertisers/{advertiser}/budget", [get(budget::get)])
        .route(
            "/v1/advertisers/{advertiser}/keys",
            [get(keys::list), Endpoint::tenant(Method::POST, keys::create)],
        )
        .route("/v1/advertisers/{advertiser}/keys/{key}", [Endpoint::tenant(Method::DELETE, keys::revoke)])
        .route(
            "/v1/advertisers/{advertiser}/users",
            [get(users::list), Endpoint::tenant(Method::POST, users::create)],
        )
        .route(
            "/v1/advertisers/{advertiser}/users/{user}",
            [Endpoint::tenant(Method::PATCH, users::change), Endpoint::tenant(Method::DELETE, users::remove)],
        )
}

/// A GET for whoever has a scope for the advertiser.
fn get<S: AtLeast>(handler: fn(&Tenant<S>, &mut Call) -> Handled) -> Endpoint {
    Endpoint::tenant(Method::GET, handler)
}

impl Table {
    fn route<const N: usize>(mut self, path: &'static str, endpoints: [Endpoint; N]) -> Self {
        self.0.push((path, endpoints.into()));
        self
    }

    /// The routes, as they are served. HEAD is answered as GET without a body, OPTIONS with the methods that there are, which
    /// the description says anyway; there are no CORS headers, so that no page of another site can ask.
    pub(super) fn into_router(self) -> Router<Api> {
        self.0.into_iter().fold(Router::new(), |router, (path, endpoints)| {
            let allowed = allowed(&endpoints);
            let methods = endpoints.into_iter().fold(MethodRouter::new(), |methods, endpoint| {
                // Every method of the table has a filter.
                let filter = MethodFilter::try_from(endpoint.method.clone()).unwrap_or(MethodFilter::TRACE);
                let endpoint = Arc::new(endpoint);
                methods.on(filter, move |State(api): State<Api>, request: Request| {
                    Arc::clone(&endpoint).answer(api, request)
                })
            });
            let options = allowed.clone();
            let methods = methods
                .on(MethodFilter::OPTIONS, async move || (StatusCode::NO_CONTENT, [(header::ALLOW, options)]))
                .fallback(async move || not_allowed(allowed));
            router.route(path, methods)
        })
    }
}

/// The methods of a path, as in `Allow`.
fn allowed(endpoints: &[Endpoint]) -> HeaderValue {
    let mut names: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.method.as_str()).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

fn not_allowed(allowed: HeaderValue) -> Response {
    let mut response = ProblemDocument::own(OwnError::MethodNotAllowed).into_response();
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
