//! The chains of a listener, found by where a connection goes. A listener that takes captured traffic has two for every
//! service that speaks TCP. Built with the Snapshot; asked by `accept`.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::{Chain, Destination, Map};

/// Chains, in order. Made of a list, and read as one.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    all: Vec<Arc<Chain>>,
    by_port: Map<Option<u16>, OfPort>,
}

/// Numbers of chains, ascending.
#[derive(Clone, Debug, Default)]
struct OfPort {
    by_address: Map<IpAddr, Vec<usize>>,
    /// Those that name no address.
    others: Vec<usize>,
}

impl Chains {
    /// The chains of that very port, or those of any port where it has none; among them likewise by address.
    pub(crate) fn towards(&self, destination: Destination) -> impl Iterator<Item = &Arc<Chain>> + Clone {
        let of_port = self.by_port.get(&Some(destination.0.port())).or_else(|| self.by_port.get(&None));
        let address = destination.0.ip().to_canonical();
        let numbers: &[usize] = match of_port {
            Some(of_port) => of_port.by_address.get(&address).unwrap_or(&of_port.others),
            None => &[],
        };
        numbers.iter().map(|number| &self.all[*number])
    }
}

impl From<Vec<Arc<Chain>>> for Chains {
    fn from(all: Vec<Arc<Chain>>) -> Self {
        let mut by_port: Map<Option<u16>, OfPort> = Map::default();
        for (number, chain) in all.iter().enumerate() {
            let of_port = by_port.entry(chain.matches.destination_port).or_default();
            if chain.matches.destinations.is_empty() {
                of_port.others.push(number);
            }
            for address in &chain.matches.destinations {
                of_port.by_address.entry(*address).or_default().push(number);
            }
        }
        Self { all, by_port }
    }
}

impl Deref for Chains {
    type Target = [Arc<Chain>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<'a> IntoIterator for &'a Chains {
    type Item = &'a Arc<Chain>;
    type IntoIter = std::slice::Iter<'a, Arc<Chain>>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;
    use crate::ChainMatch;
    use crate::sample::chain;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// What [`Chains::towards`] says, chain by chain.
    fn scan(chains: &[Arc<Chain>], destination: SocketAddr) -> Vec<&Arc<Chain>> {
        let port = Some(destination.port());
        let port = if chains.iter().any(|c| c.matches.destination_port == port) { port } else { None };
        let of_port = chains.iter().filter(|c| c.matches.destination_port == port);
        let lists = |c: &&Arc<Chain>| c.matches.destinations.contains(&destination.ip());
        let listed: Vec<_> = of_port.clone().filter(lists).collect();
        if listed.is_empty() {
            of_port.filter(|c| c.matches.destinations.is_empty()).collect()
        } else {
            listed
        }
    }

    proptest! {
        #[test]
        fn finds_the_chains_that_a_scan_finds(
            matches in vec((select(&[None, Some(80), Some(81)][..]), subsequence(vec![1, 2, 3], 0..3)), 0..8),
            (last, port) in (1..5u8, 79..82u16),
        ) {
            let chains: Chains = matches.into_iter().map(|(destination_port, listed)| {
                let destinations = listed.into_iter().map(address).collect();
                chain("c", ChainMatch { destination_port, destinations, ..ChainMatch::default() }, false)
            }).collect::<Vec<_>>().into();
            let numbers = |found: Vec<&Arc<Chain>>| {
                let number = |one: &Arc<Chain>| chains.iter().position(|other| Arc::ptr_eq(one, other));
                found.into_iter().map(number).collect::<Vec<_>>()
            };
            let destination = SocketAddr::new(address(last), port);
            let found = chains.towards(Destination(destination)).collect();
            prop_assert_eq!(numbers(found), numbers(scan(&chains, destination)));
        }
    }
}
