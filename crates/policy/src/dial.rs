//! Which cluster an opaque connection goes to.

use std::sync::Arc;

use crate::{Cluster, Refusal, Snapshot, WeightedCluster};

/// Chooses a cluster by weight; `entropy` decides.
///
/// # Errors
/// [`Refusal::NoCluster`], [`Refusal::BlackHole`].
pub fn dial<'a>(
    _snapshot: &'a Snapshot,
    _clusters: &'a [WeightedCluster],
    _origin: &crate::Origin,
    _entropy: u64,
) -> Result<&'a Arc<Cluster>, Refusal> {
    todo!("policy")
}
