//! Which endpoint of a cluster is tried next. Load and health come from the core, through a trait.

use std::sync::Arc;

use crate::{BalancerKind, Cluster, Discovery, Endpoint, Refusal};

/// What a core knows of an endpoint.
pub trait Load {
    /// Requests or connections in flight.
    fn active(&self, endpoint: &Endpoint) -> u32;
    /// Ejected, or known to be down: never picked.
    fn ejected(&self, endpoint: &Endpoint) -> bool;
    /// The next number of the cluster's round-robin counter.
    fn next_turn(&self) -> u64;
}

/// Picks an endpoint of a static cluster, avoiding those in `tried` (by address) while another is left. All 64 bits of
/// `entropy` are used. Shares are by weight.
///
/// # Errors
/// [`Refusal::NoEndpoint`], also for a cluster whose endpoints are not listed; [`Refusal::BlackHole`].
pub fn pick<'a>(
    cluster: &'a Cluster,
    load: &dyn Load,
    entropy: u64,
    tried: &[Arc<Endpoint>],
) -> Result<&'a Arc<Endpoint>, Refusal> {
    let endpoints: &[_] = match &cluster.discovery {
        Discovery::Static(endpoints) => endpoints,
        Discovery::OriginalDestination => &[],
        Discovery::BlackHole => {
            return Err(Refusal::BlackHole { cluster: cluster.name.clone(), origin: cluster.origin.clone() });
        }
    };
    let up = endpoints.iter().filter(|endpoint| !load.ejected(endpoint));
    let new = up.clone().filter(|endpoint| tried.iter().all(|other| other.address != endpoint.address));
    choose(cluster.balancer, new, load, entropy)
        .or_else(|| choose(cluster.balancer, up, load, entropy))
        .ok_or_else(|| Refusal::NoEndpoint { cluster: cluster.name.clone(), origin: cluster.origin.clone() })
}

fn choose<'a, I>(
    balancer: BalancerKind,
    candidates: I,
    load: &dyn Load,
    entropy: u64,
) -> Option<&'a Arc<Endpoint>>
where
    I: Iterator<Item = &'a Arc<Endpoint>> + Clone,
{
    let total: u64 = candidates.clone().map(weight).sum();
    match balancer {
        BalancerKind::Random => at(candidates, scale(entropy, total)),
        BalancerKind::RoundRobin => at(candidates, load.next_turn().checked_rem(total)?),
        BalancerKind::LeastRequest => {
            let first = at(candidates.clone(), scale(entropy, total))?;
            let others = candidates.filter(|endpoint| !Arc::ptr_eq(endpoint, first));
            let second = at(others, scale(entropy.rotate_left(32), total - weight(first)));
            let share = |endpoint, other| u64::from(load.active(endpoint)) * weight(other);
            Some(second.filter(|second| share(second, first) < share(first, second)).unwrap_or(first))
        }
    }
}

/// The endpoint that covers `point` when all stand side by side, each as wide as its weight.
fn at<'a>(
    mut endpoints: impl Iterator<Item = &'a Arc<Endpoint>>,
    mut point: u64,
) -> Option<&'a Arc<Endpoint>> {
    endpoints.find(|endpoint| {
        let inside = point < weight(endpoint);
        point = point.saturating_sub(weight(endpoint));
        inside
    })
}

fn weight(endpoint: &Arc<Endpoint>) -> u64 {
    u64::from(endpoint.weight.max(1))
}

/// Maps random bits onto `0..limit`, by their upper half.
fn scale(entropy: u64, limit: u64) -> u64 {
    ((u128::from(entropy) * u128::from(limit)) >> 64) as u64
}

#[cfg(test)]
mod tests;
