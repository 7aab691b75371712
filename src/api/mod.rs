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

use crate::access::Access;
use crate::advertising::Advertising;
use crate::aggregator::Clock;
use crate::collector::Collector;
use crate::insights::Insights;
use crate::net::problem::problems_only;
use crate::places::{Place, Places};
use crate::registry::{AdvertiserId, Registry};
use crate::schedule::Schedule;
use crate::turns::Turns;

pub use document::document;

/// Large bodies of one advertiser that arrive or wait for a turn: whoever sends slowly keeps nobody else waiting.
const BODIES_PER_ADVERTISER: usize = 4;

/// Large bodies of all advertisers, each of two megabytes.
const LARGE_BODIES_MAX: usize = 32;

/// What all handlers share. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Api(Arc<Parts>);

struct Parts {
    advertising: Advertising,
    /// Whose large bodies arrive or wait.
    bodies: Places<AdvertiserId>,
    /// Held from the check of a condition (If-Match) to the end of the change that it is for, so that of two clients that saw
    /// the same version one is refused. Changes by the console do not wait for it: they have no condition.
    changing: Mutex<()>,
}

impl Api {
    fn new(advertising: Advertising) -> Self {
        let bodies = Places::new(BODIES_PER_ADVERTISER, LARGE_BODIES_MAX);
        Self(Arc::new(Parts { advertising, bodies, changing: Mutex::default() }))
    }

    fn advertising(&self) -> &Advertising {
        &self.0.advertising
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

    fn turns(&self) -> &Turns {
        &self.0.advertising.turns
    }

    /// A place of an advertiser for a heavy request, with a body or without; `None` if it has no more.
    fn place(&self, advertiser: AdvertiserId, has_body: bool) -> Option<Place<AdvertiserId>> {
        if has_body { self.0.bodies.take(advertiser) } else { self.turns().answer(advertiser) }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The interface of advertisers. It has no fallback of its own: it is merged with the collector's.
pub fn router(advertising: Advertising) -> Router {
    routes::table().into_router().layer(map_response(problems_only)).with_state(Api::new(advertising))
}
