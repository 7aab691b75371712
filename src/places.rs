//! Places of which there is a limited number, and of these a part for any one network or advertiser, so that whoever asks for
//! all of them leaves something to the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places of which one `K` holds a part at most. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Places<K: Copy + Eq + Hash>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K> {
    each_max: usize,
    all_max: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    /// How many places whoever holds some has; nobody is in it with none.
    each: HashMap<K, usize>,
}

/// A place, free again when it is dropped. Whoever works on another thread takes it there: the request may end before the
/// work does.
#[derive(Debug)]
pub(crate) struct Place<K: Copy + Eq + Hash> {
    places: Places<K>,
    of: Option<K>,
}

impl<K: Copy + Eq + Hash> Places<K> {
    /// At most so many places of each, and of all together.
    pub(crate) fn new(each_max: usize, all_max: usize) -> Self {
        let taken = Taken { all: 0, each: HashMap::new() };
        Self(Arc::new(Inner { each_max, all_max, taken: Mutex::new(taken) }))
    }

    // Each change under the lock is whole.
    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if whoever it is for has not as many as it may have, and all together have not either. What is of nobody has
    /// the second limit alone.
    pub(crate) fn take(&self, of: impl Into<Option<K>>) -> Option<Place<K>> {
        let of = of.into();
        let mut taken = self.taken();
        if taken.all >= self.0.all_max {
            return None;
        }
        if let Some(of) = of {
            let own = taken.each.get(&of).copied().unwrap_or_default();
            if own >= self.0.each_max {
                return None;
            }
            taken.each.insert(of, own + 1);
        }
        taken.all += 1;
        Some(Place { places: self.clone(), of })
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        let Some(of) = self.of else { return };
        if let Some(own) = taken.each.get_mut(&of) {
            *own -= 1;
            if *own == 0 {
                taken.each.remove(&of);
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
        let places = Places::new(2, 3);
        let held = [places.take(1).unwrap(), places.take(1).unwrap()];
        assert!(places.take(1).is_none(), "it has its part");
        let other = places.take(2).unwrap();
        assert!(places.take(3).is_none(), "all are taken");
        drop(held);
        drop((other, places.take(3).unwrap()));
        let taken = places.taken();
        assert!(taken.all == 0 && taken.each.is_empty(), "who holds none is forgotten");
    }

    #[test]
    fn what_is_of_nobody_has_the_limit_of_all_alone() {
        let places = Places::<u8>::new(1, 3);
        let held: Vec<_> = [(); 3].map(|()| places.take(None).unwrap()).into();
        assert!(places.take(1).is_none() && places.take(None).is_none());
        drop(held);
        assert!(places.take(1).is_some());
    }
}
