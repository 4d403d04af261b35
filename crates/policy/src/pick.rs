//! Which endpoint of a cluster is tried next. Load and health come from the core, through a trait.

use std::sync::Arc;

use crate::{Cluster, Endpoint, Refusal};

/// What a core knows of an endpoint.
pub trait Load {
    /// Requests or connections in flight.
    fn active(&self, endpoint: &Endpoint) -> u32;
    /// Ejected, or known to be down.
    fn ejected(&self, endpoint: &Endpoint) -> bool;
    /// The next number of the cluster's round-robin counter.
    fn next_turn(&self) -> u64;
}

/// Picks an endpoint of a static cluster, avoiding those in `tried` while another is left.
///
/// # Errors
/// [`Refusal::NoEndpoint`], [`Refusal::BlackHole`].
pub fn pick<'a>(
    _cluster: &'a Cluster,
    _load: &dyn Load,
    _entropy: u64,
    _tried: &[Arc<Endpoint>],
) -> Result<&'a Arc<Endpoint>, Refusal> {
    todo!("policy")
}
