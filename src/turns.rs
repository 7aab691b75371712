//! Turns of requests that take much memory or time, wherever they arrive: programs and browsers wait for the same few.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::places::{Place, Places};
use crate::registry::AdvertiserId;

/// Requests with large bodies (delivery numbers) or large answers (insights, and the pages that are made of them) that are worked
/// on at once; others wait. The largest answer takes some tens of megabytes and half a second of a core.
pub(crate) const HEAVY_AT_ONCE: usize = 4;

/// Requests of one advertiser's programs for large answers that are worked on or wait: whoever asks a lot keeps nobody else waiting.
pub(crate) const ANSWERS_PER_ADVERTISER: usize = 4;

/// Pages of one advertiser that are made or wait: some colleagues who press the button at once. They have places of their own, so that
/// a program does not keep its own people out.
pub(crate) const PAGES_PER_ADVERTISER: usize = 8;

/// Who waits, and who has a turn. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    heavy: Arc<Semaphore>,
    answers: Places<AdvertiserId>,
    pages: Places<AdvertiserId>,
}

/// A turn, until it is dropped. Whoever works on another thread takes it there: the client may leave before the work is done.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
    _place: Option<Place<AdvertiserId>>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            heavy: Arc::new(Semaphore::new(HEAVY_AT_ONCE)),
            answers: Places::new(ANSWERS_PER_ADVERTISER, usize::MAX),
            pages: Places::new(PAGES_PER_ADVERTISER, usize::MAX),
        }
    }

    /// A place of an advertiser's programs, if it has one left.
    pub(crate) fn answer(&self, advertiser: AdvertiserId) -> Option<Place<AdvertiserId>> {
        self.answers.take(advertiser)
    }

    /// A place of an advertiser's people, if it has one left.
    pub(crate) fn page(&self, advertiser: AdvertiserId) -> Option<Place<AdvertiserId>> {
        self.pages.take(advertiser)
    }

    /// Waits for a turn, with the place that it is taken from.
    pub(crate) async fn wait(&self, place: Option<Place<AdvertiserId>>) -> Turn {
        // None only if the semaphore were closed, which nobody does.
        Turn { _permit: Arc::clone(&self.heavy).acquire_owned().await.ok(), _place: place }
    }

    /// Turns that nobody has.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.heavy.available_permits()
    }
}
