//! The collector: it asks for each window once, opens what both aggregators sealed to it, suppresses what is
//! below the threshold and keeps the rest as a release.
//!
//! It never sees a report, and an exact sum neither: both aggregators have added their noise before.

mod attempts;
mod collect;
mod conversions;
mod errors;
#[cfg(test)]
pub(crate) mod fixture;
mod http;
pub(crate) mod judged;
mod manifests;
mod release;
mod scheduled;
mod span;
mod start;
mod store;
mod sums;
mod table;
pub(crate) mod words;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arras_protocol::hpke::PrivateKey;
use arras_protocol::messages::TaskId;
use arras_protocol::signed::{PublicKey, SigningKey};

pub(crate) use attempts::UnderWay;
pub use collect::{
    ANSWER_MAX, PENDING_MAX, POLL_DEFAULT, POLL_MAX, POLL_MIN, RETRY_FIRST, RETRY_MAX, Timing,
    UNREACHABLE_MAX,
};
pub use conversions::ConversionsError;
pub use errors::{CollectError, Refused};
pub(crate) use http::NO_ROUTE;
pub use http::{KeySet, ReleaseList, TaskList, router};
pub(crate) use release::CONFIDENCE;
pub use release::{
    Bucket, Cell, Charged, ChargedEpoch, Conversions, Draft, Estimate, Keys, Measured, NoiseScales, Policy,
    Published, RELEASE_VERSION, ReadError, Release, ReleaseError,
};
pub use span::{Moment, NotAMoment, Span, SpanError};
pub use start::StartError;
pub use store::{
    BeginError, Begun, Collection, CollectorDisk, CollectorStore, LOCATION_BYTES_MAX, REASON_CHARACTERS_MAX,
    Stage, Summed, WithCells,
};
pub use sums::{
    Covered, Gap, GapReason, NoiseShare, SUM_CAMPAIGNS_MAX, SUM_CELLS_MAX, SUM_VERSION, SUM_WINDOWS_MAX, Sum,
    SumError, SumKeys, SumRow,
};
pub use table::{claimed_sum_table, claimed_table, sum_table, table};
pub use words::{Signature, Told, how_made, how_summed, told};

use crate::aggregator::Clock;
use crate::collector::attempts::Attempts;
use crate::metrics::CollectorMetrics;
use crate::net::auth::TokenHash;
use crate::net::client::PeerClient;
use crate::store::StoreError;
use crate::tasks::TaskFolder;

/// Windows read at a time.
const PAGE: usize = 500;

/// What a collector is made of.
pub struct CollectorParts {
    /// Where windows and releases are kept.
    pub store: Arc<dyn CollectorStore>,
    /// The folder of tasks; looked into anew at each request, so that tasks can be added.
    pub tasks: TaskFolder,
    /// The folder of manifests for devices, if they are served here.
    pub manifests: Option<std::path::PathBuf>,
    /// The leader, with this collector's token for it.
    pub leader: PeerClient,
    /// HPKE configuration ids and keys that shares may be sealed to.
    pub keys: Vec<(u8, PrivateKey)>,
    /// Signs releases.
    pub signer: Arc<SigningKey>,
    /// Keys that signed earlier releases, published beside that of `signer`.
    pub former_keys: Vec<PublicKey>,
    /// When epoch 0 of each known budget source starts, in POSIX seconds.
    pub epoch_starts: Vec<(String, u64)>,
    /// SHA-256 of the token of this collector's own interface.
    pub admin_token: TokenHash,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long to wait for what.
    pub timing: Timing,
    /// What it counts.
    pub metrics: CollectorMetrics,
}

/// The collector role. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Collector(Arc<Inner>);

/// A collector that may be gone.
#[derive(Clone)]
pub(crate) struct WeakCollector(Weak<Inner>);

impl WeakCollector {
    pub(crate) fn upgrade(&self) -> Option<Collector> {
        self.0.upgrade().map(Collector)
    }
}

/// Sums that are computed at once; others wait. Each reads up to [`SUM_CELLS_MAX`] cells with their releases, on a thread that
/// goes on when its caller has left.
const SUMS_AT_ONCE: usize = 2;

struct Inner {
    parts: CollectorParts,
    /// One entry for each window that somebody is collecting or waiting for. Locked for moments only.
    turns: Mutex<HashMap<WindowKey, Arc<tokio::sync::Mutex<()>>>>,
    attempts: Attempts,
    /// Sums that are computed now.
    sums: Arc<tokio::sync::Semaphore>,
}

/// A task's window, in POSIX seconds.
type WindowKey = (TaskId, u64, u64);

fn window_key(task: TaskId, window: Span) -> WindowKey {
    (task, window.from().seconds(), window.to().seconds())
}

impl Collector {
    /// A collector of these parts. It does nothing by itself: [`Collector::resume`] goes on with what an
    /// earlier run began.
    pub fn new(parts: CollectorParts) -> Self {
        let sums = Arc::new(tokio::sync::Semaphore::new(SUMS_AT_ONCE));
        Self(Arc::new(Inner { parts, turns: Mutex::default(), attempts: Attempts::default(), sums }))
    }

    /// What was collected.
    pub(crate) fn store(&self) -> &dyn CollectorStore {
        self.0.parts.store.as_ref()
    }

    pub(crate) fn tasks(&self) -> &TaskFolder {
        &self.0.parts.tasks
    }

    fn leader(&self) -> &PeerClient {
        &self.0.parts.leader
    }

    fn keys(&self) -> &[(u8, PrivateKey)] {
        &self.0.parts.keys
    }

    fn signer(&self) -> &Arc<SigningKey> {
        &self.0.parts.signer
    }

    /// Whether a text is the token of this collector's administrator. Takes as long for every text of a length.
    pub(crate) fn is_administrator(&self, token: &str) -> bool {
        self.0.parts.admin_token.matches(token)
    }

    /// The keys that verify releases, today's first.
    pub(crate) fn public_keys(&self) -> impl Iterator<Item = &PublicKey> {
        let today = self.signer().public_key();
        std::iter::once(today).chain(self.0.parts.former_keys.iter().filter(move |key| *key != today))
    }

    fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    fn clock(&self) -> &dyn Clock {
        self.0.parts.clock.as_ref()
    }

    fn timing(&self) -> Timing {
        self.0.parts.timing
    }

    /// Windows that somebody collects or waits for.
    pub(crate) fn under_way_now(&self) -> usize {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn metrics(&self) -> &CollectorMetrics {
        &self.0.parts.metrics
    }

    /// A handle that does not keep it alive.
    pub(crate) fn downgrade(&self) -> WeakCollector {
        WeakCollector(Arc::downgrade(&self.0))
    }

    pub(crate) fn epoch_start(&self, source: &str) -> Option<u64> {
        self.0.parts.epoch_starts.iter().find(|(name, _)| name == source).map(|(_, start)| *start)
    }

    /// Every window of a task that is under way or released.
    fn all_collections(&self, task: TaskId) -> Result<Vec<Collection>, StoreError> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let page = self.store().collections(task, after, PAGE)?;
            let Some(last) = page.last() else { return Ok(all) };
            after = last.interval.end().0;
            all.extend(page);
        }
    }

    /// Waits for the right to compute a sum; whoever leaves while waiting gives up its place. `None` does not happen: the
    /// semaphore is never closed.
    async fn turn_to_sum(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        Arc::clone(&self.0.sums).acquire_owned().await.ok()
    }

    /// Waits until nobody else collects this window. Two callers at once would do no harm, but ask the
    /// leader twice.
    async fn turn(&self, task: TaskId, window: Span) -> Turn {
        let key = window_key(task, window);
        let lock = {
            let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(key).or_default())
        };
        let mut turn = Turn { collector: self.clone(), key, held: None };
        turn.held = Some(lock.lock_owned().await);
        turn
    }
}

/// The right to collect a window; the last one to leave takes the entry away.
struct Turn {
    collector: Collector,
    key: WindowKey,
    held: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held = None;
        let mut turns = self.collector.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the map has it: whoever waits for it holds another reference.
        if turns.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            turns.remove(&self.key);
        }
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("leader", self.leader().endpoint()).finish_non_exhaustive()
    }
}
