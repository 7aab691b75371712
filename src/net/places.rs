//! Places for connections: a limited number, and of these a part for any one network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One network gets at most this part of the places, so that whoever wants to take all of them needs as many
/// networks. A carrier or a company that hides all its devices behind one address still gets hundreds.
const PARTS: usize = 4;

/// Whoever is likely to be one client: an IPv4 address, or the /64 of an IPv6 address, which is the least that a
/// provider gives to a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Network {
    /// None for this machine: a proxy that stands in front here brings everybody's connections, and who can connect
    /// from here can do worse.
    fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self::V4(address)),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Some(Self::V6([a, b, c, d]))
            }
        }
    }
}

/// The places of a server.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    network_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only networks with a connection: an address is forgotten with its last one.
    networks: HashMap<Network, usize>,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        let network_max = max.div_ceil(PARTS);
        Arc::new(Self { max, network_max, taken: Mutex::default() })
    }

    /// A place for a connection from an address, if there is one.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = Network::of(address);
        let mut taken = self.taken();
        if taken.all >= self.max {
            return None;
        }
        if let Some(network) = network {
            if taken.networks.get(&network).is_some_and(|count| *count >= self.network_max) {
                return None;
            }
            *taken.networks.entry(network).or_default() += 1;
        }
        taken.all += 1;
        Some(Place { places: Arc::clone(self), network })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Counts are whole between any two statements: a panic elsewhere leaves nothing half done.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    network: Option<Network>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        let Some(network) = self.network else { return };
        if let Some(count) = taken.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                taken.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn take(places: &Arc<Places>, address: &str) -> Option<Place> {
        places.take(address.parse().unwrap())
    }

    /// 2,100 half requests from one address took every place, so that the leader could not reach its helper, nor the
    /// collector its leader.
    #[test]
    fn one_network_leaves_places_for_others() {
        let places = Places::new(8);
        for [one, same, other] in [
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"],
            ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"],
        ] {
            let mut held = vec![take(&places, one).unwrap(), take(&places, same).unwrap()];
            assert!(take(&places, one).is_none() && take(&places, same).is_none(), "{one}");
            held.push(take(&places, other).unwrap());
            held.remove(0);
            held.push(take(&places, same).unwrap());
        }
    }

    #[test]
    fn all_places_together_are_limited_and_addresses_forgotten() {
        let places = Places::new(3);
        let held: Vec<_> = ["127.0.0.1", "127.0.0.1", "::1"].map(|here| take(&places, here).unwrap()).into();
        assert!(take(&places, "192.0.2.1").is_none());
        assert!(take(&places, "127.0.0.1").is_none());
        drop(held);
        let place = take(&places, "192.0.2.1").unwrap();
        assert_eq!(places.taken().networks.len(), 1);
        drop(place);
        let taken = places.taken();
        assert_eq!((taken.all, taken.networks.len()), (0, 0));
    }
}
