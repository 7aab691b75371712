//! The one way to a handler: authentication, tenancy, scope, then the body, then the handler on a thread that may block.
//!
//! A handler is a function of a [`Tenant`] or an [`Operator`], and the table of routes takes nothing else. Both are made here
//! alone, from a token that was checked: a route whose check was forgotten does not compile. The one route that needs no token
//! says so by its type, and a test counts such routes.
//!
//! The order of checks is part of the promise. Without a valid token the answer is the same everywhere. With one, an advertiser
//! that is another's looks as one that there is not, byte for byte, before anything else of the request is looked at.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{RequestExt as _, RequestPartsExt as _};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::Api;
use super::accept::{self, Media};
use super::answer::Answer;
use super::page::Wanted;
use super::query::Query;
use super::refusal::Refusal;
use crate::access::{Principal, Scope, Who};
use crate::aggregator::work::blocking;
use crate::net::auth::bearer;
use crate::net::problem::OwnError;
use crate::registry::{Advertiser, AdvertiserId};

/// What a handler returns.
pub(super) type Handled = Result<Answer, Refusal>;

/// Body of a request unless its route takes more, in bytes: an advertiser with all kinds of events is below 2 KiB.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;

/// In how many seconds to come back when too much is under way: most of it has ended by then.
const BUSY_RETRY_SECONDS: u64 = 2;

/// A scope as a type, so that what a handler needs stands in its signature.
pub(super) trait AtLeast: Send + Sync + 'static {
    /// The scope.
    const SCOPE: Scope;
}

/// To look.
#[derive(Debug)]
pub(super) struct Read;
/// To change campaigns and delivery numbers.
#[derive(Debug)]
pub(super) struct Manage;
/// To say who may do what, and how the advertiser is measured.
#[derive(Debug)]
pub(super) struct Admin;

impl AtLeast for Read {
    const SCOPE: Scope = Scope::Read;
}
impl AtLeast for Manage {
    const SCOPE: Scope = Scope::Manage;
}
impl AtLeast for Admin {
    const SCOPE: Scope = Scope::Admin;
}

/// Proof that whoever asks may do what scope `S` allows with one advertiser.
pub(super) struct Tenant<S> {
    api: Api,
    advertiser: Arc<Advertiser>,
    who: Who,
    scope: PhantomData<S>,
}

impl<S> Tenant<S> {
    /// The advertiser.
    pub(super) fn advertiser(&self) -> &Advertiser {
        &self.advertiser
    }

    /// Its id.
    pub(super) fn id(&self) -> AdvertiserId {
        self.advertiser.id
    }

    /// Whether the administrator of the collector asks, for the advertiser.
    pub(super) fn is_administrator(&self) -> bool {
        matches!(self.who, Who::Administrator)
    }

    /// Everything that answers stand on.
    pub(super) fn api(&self) -> &Api {
        &self.api
    }
}

/// Proof that the administrator of the collector asks.
pub(super) struct Operator {
    api: Api,
}

impl Operator {
    /// Everything that answers stand on.
    pub(super) fn api(&self) -> &Api {
        &self.api
    }
}

/// What a request says beside who sent it.
pub(super) struct Call {
    /// The time, in POSIX seconds.
    pub(super) now: u64,
    /// The parameters of the URL.
    pub(super) query: Query,
    headers: HeaderMap,
    path: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    /// A part of the path, or that there is no such thing.
    pub(super) fn path<T: std::str::FromStr>(&self, name: &str, missing: &str) -> Result<T, Refusal> {
        let text = self.path.iter().find(|(known, _)| known == name).map(|(_, text)| text);
        text.and_then(|text| text.parse().ok()).ok_or_else(|| Refusal::not_found(missing))
    }

    /// The body, from JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if !matches!(self.content_type().as_str(), "" | "application/json" | "application/merge-patch+json") {
            return Err(Refusal::new(
                OwnError::UnsupportedMediaType,
                "send JSON, with Content-Type: application/json",
            ));
        }
        let wrong = |error: serde_json::Error| {
            Refusal::invalid(format!("the body: {}", crate::text::complaint(&error.to_string())))
        };
        serde_json::from_slice(&self.body).map_err(wrong)
    }

    /// The body as it came.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The media type of the body, without its parameters, in small letters; empty if none is given.
    pub(super) fn content_type(&self) -> String {
        let value = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The media type that the answer is to have.
    pub(super) fn accept(&self, there: &[Media]) -> Result<Media, Refusal> {
        accept::choose(&self.headers, there)
    }

    /// The page that is asked for. Nothing but `limit` and `cursor` may be left in the query.
    pub(super) fn page(&mut self) -> Result<Wanted, Refusal> {
        let wanted = Wanted::take(&mut self.query)?;
        self.query.finish(&["limit", "cursor"])?;
        Ok(wanted)
    }

    /// The headers, for conditions.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Anybody.
    Open,
    /// The administrator.
    Operator,
    /// Whoever has this scope for the advertiser.
    Tenant(Scope),
}

/// Who asks, as far as a route needs to know.
enum Caller {
    Anybody(Api),
    Operator(Operator),
    Tenant(Api, Arc<Advertiser>, Who),
}

type Run = Box<dyn Fn(Caller, &mut Call) -> Handled + Send + Sync>;

/// One method of one path.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) guard: Guard,
    body_bytes_max: usize,
    /// Whether it takes much memory or time, and so waits its turn.
    heavy: bool,
    run: Run,
}

impl Endpoint {
    /// For whoever has scope `S` for the advertiser that the path, or else the parameter `advertiser`, names. A key's own
    /// advertiser need not be named.
    pub(super) fn tenant<S: AtLeast>(method: Method, handler: fn(&Tenant<S>, &mut Call) -> Handled) -> Self {
        let run = move |caller: Caller, call: &mut Call| match caller {
            Caller::Tenant(api, advertiser, who) => {
                handler(&Tenant { api, advertiser, who, scope: PhantomData }, call)
            }
            Caller::Anybody(_) | Caller::Operator(_) => Err(Refusal::unauthorized()),
        };
        Self {
            method,
            guard: Guard::Tenant(S::SCOPE),
            body_bytes_max: BODY_BYTES_MAX,
            heavy: false,
            run: Box::new(run),
        }
    }

    /// For the administrator.
    pub(super) fn operator(method: Method, handler: fn(&Operator, &mut Call) -> Handled) -> Self {
        let run = move |caller: Caller, call: &mut Call| match caller {
            Caller::Operator(operator) => handler(&operator, call),
            Caller::Anybody(_) | Caller::Tenant(..) => Err(Refusal::unauthorized()),
        };
        Self {
            method,
            guard: Guard::Operator,
            body_bytes_max: BODY_BYTES_MAX,
            heavy: false,
            run: Box::new(run),
        }
    }

    /// For anybody.
    pub(super) fn open(method: Method, handler: fn(&Api, &mut Call) -> Handled) -> Self {
        let run = move |caller: Caller, call: &mut Call| match caller {
            Caller::Anybody(api) => handler(&api, call),
            Caller::Operator(_) | Caller::Tenant(..) => Err(Refusal::unauthorized()),
        };
        Self { method, guard: Guard::Open, body_bytes_max: BODY_BYTES_MAX, heavy: false, run: Box::new(run) }
    }

    /// Takes larger bodies, and so waits its turn.
    pub(super) fn with_body(self, bytes_max: usize) -> Self {
        Self { body_bytes_max: bytes_max, ..self.heavy() }
    }

    /// Waits its turn, see [`crate::turns::HEAVY_AT_ONCE`].
    pub(super) fn heavy(self) -> Self {
        Self { heavy: true, ..self }
    }

    /// Answers a request.
    pub(super) async fn answer(self: Arc<Self>, api: Api, request: Request) -> Response {
        let reads = self.method == Method::GET;
        let headers = request.headers().clone();
        match self.handle(api, request).await {
            Ok(answer) => answer.respond(reads, &headers),
            Err(refusal) => {
                let mut response = refusal.into_response();
                let is_busy = response.status() == StatusCode::SERVICE_UNAVAILABLE;
                let headers = response.headers_mut();
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
                if is_busy {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(BUSY_RETRY_SECONDS));
                }
                response
            }
        }
    }

    async fn handle(self: Arc<Self>, api: Api, request: Request) -> Handled {
        let (mut parts, body) = request.with_limited_body().into_parts();
        let path = path_of(&mut parts).await?;
        let mut query = Query::read(parts.uri.query());
        let now = api.clock().now();
        let guard = self.guard;
        let in_path = path.iter().find(|(name, _)| name == "advertiser").map(|(_, text)| text.clone());
        // Where it names nobody it is a parameter that there is not, and is refused with all such.
        let by_parameter = in_path.is_none() && matches!(guard, Guard::Tenant(_));
        let parameter =
            query.as_mut().ok().filter(|_| by_parameter).and_then(|query| query.take("advertiser"));
        let asked =
            Asked { token: bearer(&parts.headers).map(str::to_owned), advertiser: in_path.or(parameter) };
        let admitted = {
            let api = api.clone();
            blocking(move || admit(&api, guard, &asked, now)).await?
        };
        let has_body = !matches!(self.method, Method::GET | Method::DELETE);
        let place = match &admitted {
            Caller::Tenant(_, advertiser, _) if self.heavy => {
                Some(api.place(advertiser.id, has_body).ok_or_else(busy)?)
            }
            _ => None,
        };
        // Before the turn: a body may take a minute to arrive, and whoever sends it so must not hold a place of all meanwhile.
        let body =
            if has_body { read(&parts.headers, body, self.body_bytes_max).await? } else { Bytes::new() };
        let turn = if self.heavy { Some(api.turns().wait(place).await) } else { None };
        let mut call = Call { now, query: query?, headers: parts.headers, path, body };
        blocking(move || {
            // Kept when the client has left: the work goes on.
            let _turn = turn;
            (self.run)(admitted, &mut call)
        })
        .await
    }
}

/// What decides who asks.
struct Asked {
    token: Option<String>,
    /// Of the path, or else of the query.
    advertiser: Option<String>,
}

/// The one place in which a token becomes the right to something. Blocks: a key that was not seen lately is checked against its
/// argon2 hash.
fn admit(api: &Api, guard: Guard, asked: &Asked, now: u64) -> Result<Caller, Refusal> {
    let scope = match guard {
        Guard::Open => return Ok(Caller::Anybody(api.clone())),
        Guard::Operator => Scope::Admin,
        Guard::Tenant(scope) => scope,
    };
    let token = asked.token.as_deref().ok_or_else(Refusal::unauthorized)?;
    let principal = identify(api, token, now)?.ok_or_else(Refusal::unauthorized)?;
    if guard == Guard::Operator {
        if !matches!(principal.who, Who::Administrator) {
            return Err(Refusal::new(OwnError::Forbidden, "this is for the administrator of the collector"));
        }
        return Ok(Caller::Operator(Operator { api: api.clone() }));
    }
    let id = match (&asked.advertiser, principal.advertiser) {
        (Some(named), _) => named.parse::<AdvertiserId>().map_err(|_| Refusal::no_advertiser())?,
        (None, Some(own)) => own,
        (None, None) => {
            return Err(Refusal::invalid("add advertiser=ID: the administrator's token is of no advertiser"));
        }
    };
    if principal.advertiser.is_some_and(|own| own != id) {
        return Err(Refusal::no_advertiser());
    }
    let advertiser = api.registry().advertiser(id).ok_or_else(Refusal::no_advertiser)?;
    if principal.scope < scope {
        let detail = format!("the key has scope {}, and this needs {}", principal.scope, scope);
        return Err(Refusal::new(OwnError::Forbidden, detail));
    }
    Ok(Caller::Tenant(api.clone(), advertiser, principal.who))
}

fn identify(api: &Api, token: &str, now: u64) -> Result<Option<Principal>, Refusal> {
    if api.collector().is_administrator(token) {
        return Ok(Some(Principal::ADMINISTRATOR));
    }
    Ok(api.access().authenticate_key(token, now)?)
}

/// The parts of the path that have a name.
async fn path_of(parts: &mut Parts) -> Result<Vec<(String, String)>, Refusal> {
    let params = parts.extract::<RawPathParams>().await;
    // Only a path that is not UTF-8 has none: then there is nothing of that name.
    let params = params.map_err(|_| Refusal::no_advertiser())?;
    Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// An advertiser has as many heavy requests under way as it may have.
fn busy() -> Refusal {
    Refusal::new(
        OwnError::Overloaded,
        "too many uploads or insights of this advertiser are under way; send a few at a time, and this one again in some seconds",
    )
}

/// The whole body, or why it is not taken.
async fn read(headers: &HeaderMap, body: axum::body::Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::new(
            OwnError::UnsupportedMediaType,
            "send the body as it is, without Content-Encoding",
        ));
    }
    let too_large = || {
        Refusal::new(
            OwnError::TooLarge,
            format!("a request has at most {bytes_max} bytes here; send it in parts"),
        )
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large());
    }
    to_bytes(body, bytes_max).await.map_err(|error| {
        let limit = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if limit {
            too_large()
        } else {
            Refusal::new(OwnError::Incomplete, "the body ended before its announced length")
        }
    })
}
