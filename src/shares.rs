//! Shares of what there is little of, so that whatever one advertiser asks for leaves something to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::registry::AdvertiserId;

/// Places of which one advertiser holds a few at most. Clones are the same.
#[derive(Clone)]
pub(crate) struct Shares(Arc<Inner>);

struct Inner {
    each_max: usize,
    all_max: usize,
    /// How many places whoever holds some has; nobody is in it with none.
    taken: Mutex<HashMap<AdvertiserId, usize>>,
}

/// A place, until it is dropped. Whoever works on another thread takes it there: the request may end before the work does.
pub(crate) struct Share {
    shares: Shares,
    advertiser: AdvertiserId,
}

impl Shares {
    /// At most so many places of each, and of all together.
    pub(crate) fn new(each_max: usize, all_max: usize) -> Self {
        Self(Arc::new(Inner { each_max, all_max, taken: Mutex::default() }))
    }

    // Each change under the lock is whole.
    fn taken(&self) -> MutexGuard<'_, HashMap<AdvertiserId, usize>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for an advertiser, if it has not as many as it may have, and all together have not either.
    pub(crate) fn take(&self, advertiser: AdvertiserId) -> Option<Share> {
        let mut taken = self.taken();
        let own = taken.get(&advertiser).copied().unwrap_or_default();
        if own >= self.0.each_max || taken.values().sum::<usize>() >= self.0.all_max {
            return None;
        }
        taken.insert(advertiser, own + 1);
        Some(Share { shares: self.clone(), advertiser })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        if let Some(own) = taken.get_mut(&self.advertiser) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.advertiser);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_holds_a_few_and_leaves_the_others_theirs() {
        let [one, two, three] = [1, 2, 3].map(|n| AdvertiserId::from_bytes([n; 12]));
        let shares = Shares::new(2, 3);
        let held = [shares.take(one).unwrap(), shares.take(one).unwrap()];
        assert!(shares.take(one).is_none(), "it has its share");
        let other = shares.take(two).unwrap();
        assert!(shares.take(three).is_none(), "all are taken");
        drop(held);
        let again = shares.take(three).unwrap();
        drop((other, again));
        assert!(shares.taken().is_empty(), "who holds none is forgotten");
    }
}
