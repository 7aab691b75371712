//! The helper: verifies what the leader sends and keeps its own sums.

mod http;
mod jobs;
mod shares;

use std::sync::Arc;

use arras_protocol::messages::HpkeConfigList;
use arras_protocol::verification::InputShareOpener;
use tokio::sync::Semaphore;

use crate::aggregator::bodies::Bodies;
use crate::aggregator::{Clock, IdKey, Limits, NoiseFactory, ProvisionedTask, Registry};
use crate::net::auth::TokenHash;
use crate::net::endpoint::Endpoint;
use crate::store::HelperStore;

/// What a helper is made of.
pub struct HelperParts {
    /// Our endpoint, as in the tasks.
    pub endpoint: Endpoint,
    /// Storage.
    pub store: Arc<dyn HelperStore>,
    /// Tasks.
    pub registry: Registry,
    /// What `hpke_config` answers.
    pub hpke_configs: HpkeConfigList,
    /// Opens our input shares.
    pub opener: InputShareOpener,
    /// For ids derived from content.
    pub id_key: IdKey,
    /// The leader's token.
    pub leader_token: TokenHash,
    /// Limits.
    pub limits: Limits,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Noise.
    pub noise: NoiseFactory,
}

/// Requests that may be worked on at once; one more is told to come back. Each holds its body and its output
/// shares in memory, and more than this many do not finish sooner on any number of cores in use today.
const REQUESTS_AT_ONCE: usize = 64;

/// A helper. Cheap to clone; all clones are the same helper.
#[derive(Clone)]
pub struct Helper(Arc<Inner>);

struct Inner {
    parts: HelperParts,
    at_once: Arc<Semaphore>,
    bodies: Bodies,
}

impl Helper {
    /// Puts a helper together.
    pub fn new(parts: HelperParts) -> Self {
        let bodies = Bodies::new(parts.limits.max_body);
        Self(Arc::new(Inner { parts, at_once: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)), bodies }))
    }

    /// The HTTP interface.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    fn parts(&self) -> &HelperParts {
        &self.0.parts
    }

    async fn task(&self, id: arras_protocol::messages::TaskId) -> Option<Arc<ProvisionedTask>> {
        // Nearly always; only looking into the folder blocks.
        if let Some(task) = self.parts().registry.cached(id) {
            return Some(task);
        }
        let helper = self.clone();
        let now = self.parts().clock.now();
        crate::aggregator::work::blocking(move || helper.parts().registry.get(id, now)).await
    }
}
