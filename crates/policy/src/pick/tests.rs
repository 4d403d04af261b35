//! Shares, loads, and what is never picked.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::{Load, pick};
use crate::sample::{cluster, endpoint, origin};
use crate::{Address, BalancerKind, Cluster, Discovery, Endpoint, Refusal};

/// Loads and ejections by port.
#[derive(Default)]
struct Known {
    active: HashMap<u16, u32>,
    ejected: Vec<u16>,
    turn: Cell<u64>,
}

impl Load for Known {
    fn active(&self, endpoint: &Endpoint) -> u32 {
        self.active.get(&port(endpoint)).copied().unwrap_or(0)
    }
    fn ejected(&self, endpoint: &Endpoint) -> bool {
        self.ejected.contains(&port(endpoint))
    }
    fn next_turn(&self) -> u64 {
        self.turn.replace(self.turn.get() + 1)
    }
}

fn port(endpoint: &Endpoint) -> u16 {
    match endpoint.address {
        Address::Tcp(address) => address.port(),
        Address::Unix(_) => 0,
    }
}

fn of(balancer: BalancerKind, endpoints: &[(u16, u32)]) -> Cluster {
    let endpoints = endpoints.iter().map(|(port, weight)| endpoint(*port, *weight)).collect();
    Cluster { balancer, ..cluster("c", Discovery::Static(endpoints)) }
}

/// Ports picked, with evenly spread random numbers (a Weyl sequence).
fn picks(cluster: &Cluster, load: &Known, tried: &[Arc<Endpoint>], times: u64) -> Vec<u16> {
    let random = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..times).map(|n| port(pick(cluster, load, random(n), tried).unwrap())).collect()
}

fn count(picks: &[u16], port: u16) -> usize {
    picks.iter().filter(|picked| **picked == port).count()
}

#[test]
fn round_robin_takes_turns_by_weight() {
    let picked = picks(&of(BalancerKind::RoundRobin, &[(1, 1), (2, 2)]), &Known::default(), &[], 6);
    assert_eq!(picked, [1, 2, 2, 1, 2, 2]);
}

#[test]
fn random_shares_by_weight() {
    let picked = picks(&of(BalancerKind::Random, &[(1, 1), (2, 3)]), &Known::default(), &[], 1000);
    assert!((225..=275).contains(&count(&picked, 1)), "{}", count(&picked, 1));
}

#[test]
fn least_request_takes_the_less_loaded_of_two() {
    let cluster = of(BalancerKind::LeastRequest, &[(1, 1), (2, 1)]);
    let busy = Known { active: HashMap::from([(1, 3)]), ..Known::default() };
    assert_eq!(count(&picks(&cluster, &busy, &[], 100), 1), 0);
    let idle = picks(&cluster, &Known::default(), &[], 1000);
    assert!((450..=550).contains(&count(&idle, 1)), "{}", count(&idle, 1));
    // Load counts relative to weight: 3 of 4 is less than 1 of 1.
    let weighted = of(BalancerKind::LeastRequest, &[(1, 4), (2, 1)]);
    let load = Known { active: HashMap::from([(1, 3), (2, 1)]), ..Known::default() };
    assert_eq!(count(&picks(&weighted, &load, &[], 100), 2), 0);
}

#[test]
fn the_busiest_of_three_is_never_taken_and_the_others_share() {
    let cluster = of(BalancerKind::LeastRequest, &[(1, 1), (2, 1), (3, 1)]);
    let load = Known { active: HashMap::from([(2, 9)]), ..Known::default() };
    let picked = picks(&cluster, &load, &[], 900);
    assert_eq!(count(&picked, 2), 0);
    assert!((350..=550).contains(&count(&picked, 1)), "{}", count(&picked, 1));
}

#[test]
fn what_was_tried_is_avoided_while_another_is_left() {
    for balancer in [BalancerKind::LeastRequest, BalancerKind::RoundRobin, BalancerKind::Random] {
        let cluster = of(balancer, &[(1, 1), (2, 1)]);
        // Another Arc of the same address, as after a publish.
        assert_eq!(count(&picks(&cluster, &Known::default(), &[endpoint(1, 1)], 50), 1), 0, "{balancer:?}");
        let both = [endpoint(1, 1), endpoint(2, 1)];
        assert_eq!(picks(&cluster, &Known::default(), &both, 5).len(), 5);
        let ejected = Known { ejected: vec![2], ..Known::default() };
        assert_eq!(picks(&cluster, &ejected, &[endpoint(1, 1)], 2), [1, 1], "an ejected one is not another");
    }
}

#[test]
fn nothing_to_pick() {
    let none = Refusal::NoEndpoint { cluster: "c".into(), origin: origin("c") };
    let refused = |cluster: &Cluster, load: &Known| pick(cluster, load, 0, &[]).unwrap_err();
    for balancer in [BalancerKind::LeastRequest, BalancerKind::RoundRobin, BalancerKind::Random] {
        assert_eq!(refused(&of(balancer, &[]), &Known::default()), none);
        let ejected = Known { ejected: vec![1], ..Known::default() };
        assert_eq!(refused(&of(balancer, &[(1, 1)]), &ejected), none);
    }
    assert_eq!(refused(&cluster("c", Discovery::OriginalDestination), &Known::default()), none);
    let hole = Refusal::BlackHole { cluster: "c".into(), origin: origin("c") };
    assert_eq!(refused(&cluster("c", Discovery::BlackHole), &Known::default()), hole);
}
