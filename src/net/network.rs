//! Where a connection comes from, as far as something is shared out by it: places for connections, attempts to sign in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::connect_info::Connected;

/// One network gets at most this part of what there is, so that whoever wants to take all of it needs as many
/// networks. A carrier or a company that hides all its devices behind one address still gets hundreds of connections.
pub const PARTS: usize = 4;

/// Whoever is likely to be one client: an IPv4 address, or the /64 of an IPv6 address, which is the least that a
/// provider gives to a customer. It does not print: it is for comparing, and for no log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(Address);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Address {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// None for this machine: a proxy that stands in front here brings everybody's connections, and who can connect
    /// from here can do worse.
    pub fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self(Address::V4(address))),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Some(Self(Address::V6([a, b, c, d])))
            }
        }
    }
}

/// What a request knows of its connection: the network, and no address or port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) Option<Network>);

impl Connected<SocketAddr> for Client {
    fn connect_info(address: SocketAddr) -> Self {
        Self(Network::of(address.ip()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::places::{Place, Places};

    fn of(address: &str) -> Option<Network> {
        Network::of(address.parse().unwrap())
    }

    /// 2,100 half requests from one address took every place, so that the leader could not reach its helper, nor the
    /// collector its leader.
    #[test]
    fn one_network_leaves_places_for_others() {
        let places = Places::new(8 / PARTS, 8);
        let take = |address| -> Option<Place<Network>> { places.take(of(address)) };
        for [one, same, other] in [
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"],
            ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"],
        ] {
            let mut held = vec![take(one).unwrap(), take(same).unwrap()];
            assert!(take(one).is_none() && take(same).is_none(), "{one}");
            held.push(take(other).unwrap());
            held.remove(0);
            held.push(take(same).unwrap());
        }
    }

    #[test]
    fn this_machine_is_no_network_and_none_prints() {
        assert!(["127.0.0.1", "::1", "::ffff:127.0.0.1"].map(of).iter().all(Option::is_none));
        assert_eq!(format!("{:?}", Client(of("192.0.2.1"))), "Client(Some(Network(..)))");
    }
}
