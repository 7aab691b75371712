//! How long writes to a store take.

use std::time::Instant;

use prometheus_client::metrics::histogram::Histogram;

use super::{Families, seconds};

/// Times of one role's store, in seconds. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct StoreTimes {
    /// Reports that are stored with one call, until they are durable.
    append: Histogram,
    /// A commit of the state.
    commit: Histogram,
    /// A sync of a file, of any part of the store.
    sync: Histogram,
}

impl StoreTimes {
    pub(super) fn new(families: &Families, role: &'static str) -> Self {
        let of = |operation| {
            families.server.store_seconds.get_or_create_owned(&[("role", role), ("operation", operation)])
        };
        Self { append: of("append"), commit: of("commit"), sync: of("sync") }
    }

    pub(crate) fn append_took(&self, since: Instant) {
        self.append.observe(since.elapsed().as_secs_f64());
    }

    pub(crate) fn commit_took(&self, since: Instant) {
        self.commit.observe(since.elapsed().as_secs_f64());
    }

    pub(crate) fn sync_took(&self, since: Instant) {
        self.sync.observe(since.elapsed().as_secs_f64());
    }
}

/// Times that nobody reads.
impl Default for StoreTimes {
    fn default() -> Self {
        Self { append: seconds(), commit: seconds(), sync: seconds() }
    }
}
