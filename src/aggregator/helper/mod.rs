//! The helper: verifies what the leader sends and keeps its own sums.

mod http;
mod jobs;
mod shares;

use std::sync::{Arc, Weak};

use arras_protocol::messages::{HpkeConfigList, TaskId};
use arras_protocol::verification::InputShareOpener;
use tokio::sync::Semaphore;

use crate::aggregator::api::Problem;
use crate::aggregator::bodies::Bodies;
use crate::aggregator::rejections::Rejections;
use crate::aggregator::{Clock, IdKey, Limits, NoiseFactory, ProvisionedTask, ProvisionedTasks};
use crate::metrics::HelperMetrics;
use crate::net::auth::TokenHash;
use crate::net::endpoint::Endpoint;
use crate::net::problem::OwnError;
use crate::store::HelperStore;

/// What a helper is made of.
pub struct HelperParts {
    /// Our endpoint, as in the tasks.
    pub endpoint: Endpoint,
    /// Storage.
    pub store: Arc<dyn HelperStore>,
    /// Tasks.
    pub tasks: ProvisionedTasks,
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
    /// What it counts.
    pub metrics: HelperMetrics,
}

/// Requests that may be worked on at once; one more is told to come back. Each holds its body and its output
/// shares in memory, and more than this many do not finish sooner on any number of cores in use today.
const REQUESTS_AT_ONCE: usize = 64;

/// After how many seconds to ask again for what is too early. Clocks are mended by people.
const EARLY_RETRY_AFTER: u32 = 10;

/// Puts off what is too early by this helper's clock: an answer now would be another one in time.
fn too_early(detail: &str, task: TaskId) -> Problem {
    Problem::own(OwnError::Overloaded, detail).retry_after(EARLY_RETRY_AFTER).task(task)
}

/// A helper. Cheap to clone; all clones are the same helper.
#[derive(Clone)]
pub struct Helper(Arc<Inner>);

/// A helper that may be gone.
#[derive(Clone)]
pub(crate) struct WeakHelper(Weak<Inner>);

impl WeakHelper {
    pub(crate) fn upgrade(&self) -> Option<Helper> {
        self.0.upgrade().map(Helper)
    }
}

struct Inner {
    parts: HelperParts,
    at_once: Arc<Semaphore>,
    bodies: Bodies,
    rejections: Rejections,
}

impl Helper {
    /// Puts a helper together.
    pub fn new(parts: HelperParts) -> Self {
        let bodies = Bodies::new(parts.limits.max_body);
        Self(Arc::new(Inner {
            parts,
            at_once: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
            bodies,
            rejections: Rejections::default(),
        }))
    }

    /// The HTTP interface.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// Bytes of request bodies in memory, and how many may be.
    pub(crate) fn bodies_held(&self) -> (usize, usize) {
        self.0.bodies.held()
    }

    /// Requests that are worked on.
    pub(crate) fn under_way(&self) -> usize {
        REQUESTS_AT_ONCE - self.0.at_once.available_permits()
    }

    fn parts(&self) -> &HelperParts {
        &self.0.parts
    }

    pub(crate) fn metrics(&self) -> &HelperMetrics {
        &self.0.parts.metrics
    }

    /// A handle that does not keep it alive.
    pub(crate) fn downgrade(&self) -> WeakHelper {
        WeakHelper(Arc::downgrade(&self.0))
    }

    /// In how many tasks it takes part.
    pub(crate) fn tasks(&self) -> usize {
        self.parts().tasks.all().len()
    }

    async fn task(&self, id: arras_protocol::messages::TaskId) -> Option<Arc<ProvisionedTask>> {
        // Nearly always; only looking into the folder blocks.
        if let Some(task) = self.parts().tasks.cached(id) {
            return Some(task);
        }
        let helper = self.clone();
        let now = self.parts().clock.now();
        crate::aggregator::work::blocking(move || helper.parts().tasks.get(id, now)).await
    }
}
