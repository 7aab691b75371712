//! What advertisers ask for, over HTTP: campaigns, delivery numbers, insights, releases, keys and users, below `/v1`.
//!
//! `routes` is the table of all routes, [`document`] describes them (OpenAPI 3.1, `docs/openapi.json`), `guard` is the one
//! way to a handler. Every list has a limit and pages, every answer to a GET an ETag, every error is a problem document.
//! Whatever a handler calls may block: handlers run on threads for that.

mod accept;
mod advertisers;
mod advice;
mod answer;
mod budget;
mod campaigns;
mod delivery;
mod document;
mod guard;
mod insights;
mod keys;
mod page;
mod query;
mod refusal;
mod releases;
mod routes;
mod sheet;
mod tasks;
mod users;
mod when;
mod windows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::middleware::map_response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::Access;
use crate::advertising::Advertising;
use crate::aggregator::Clock;
use crate::collector::Collector;
use crate::insights::Insights;
use crate::net::problem::problems_only;
use crate::registry::{AdvertiserId, Registry};
use crate::schedule::Schedule;
use crate::shares::{Share, Shares};

pub use document::document;

/// Requests with large bodies (delivery numbers) or large answers (insights) that are worked on at once; others wait. The largest
/// answer takes some tens of megabytes and half a second of a core.
const HEAVY_AT_ONCE: usize = 4;

/// Of one advertiser, large bodies that arrive or wait for such a place, and as many requests for large answers: whoever sends
/// slowly or asks a lot keeps nobody else waiting.
const HEAVY_PER_ADVERTISER: usize = 4;

/// Large bodies of all advertisers, each of two megabytes.
const LARGE_BODIES_MAX: usize = 32;

/// What all handlers share. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Api(Arc<Parts>);

struct Parts {
    advertising: Advertising,
    /// Places for heavy requests.
    heavy: Arc<Semaphore>,
    /// Whose large bodies arrive or wait.
    bodies: Shares,
    /// Who waits for large answers.
    answers: Shares,
    /// Held from the check of a condition (If-Match) to the end of the change that it is for, so that of two clients that saw
    /// the same version one is refused. Changes by the console do not wait for it: they have no condition.
    changing: Mutex<()>,
}

impl Api {
    fn new(advertising: Advertising) -> Self {
        let heavy = Arc::new(Semaphore::new(HEAVY_AT_ONCE));
        let bodies = Shares::new(HEAVY_PER_ADVERTISER, LARGE_BODIES_MAX);
        let answers = Shares::new(HEAVY_PER_ADVERTISER, usize::MAX);
        Self(Arc::new(Parts { advertising, heavy, bodies, answers, changing: Mutex::default() }))
    }

    fn registry(&self) -> &Registry {
        &self.0.advertising.registry
    }

    fn access(&self) -> &Access {
        &self.0.advertising.access
    }

    fn collector(&self) -> &Collector {
        &self.0.advertising.collector
    }

    fn insights(&self) -> &Insights {
        &self.0.advertising.insights
    }

    fn schedule(&self) -> &Schedule {
        &self.0.advertising.schedule
    }

    fn clock(&self) -> &dyn Clock {
        self.0.advertising.clock.as_ref()
    }

    /// An advertiser's share of heavy requests, with a body or without; `None` if it has all of it.
    fn share(&self, advertiser: AdvertiserId, has_body: bool) -> Option<Share> {
        if has_body { self.0.bodies.take(advertiser) } else { self.0.answers.take(advertiser) }
    }

    /// Waits for a place for a heavy request, if it is one. The semaphore is never closed.
    async fn turn(&self, heavy: bool) -> Option<OwnedSemaphorePermit> {
        if !heavy {
            return None;
        }
        Arc::clone(&self.0.heavy).acquire_owned().await.ok()
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The interface of advertisers. It has no fallback of its own: it is merged with the collector's.
pub fn router(advertising: Advertising) -> Router {
    routes::table().into_router().layer(map_response(problems_only)).with_state(Api::new(advertising))
}
