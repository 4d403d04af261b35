//! Which cluster an opaque connection goes to, and which of several a route's traffic is split among.

use std::sync::Arc;

use crate::{Cluster, Discovery, Origin, Refusal, Snapshot, WeightedCluster};

/// Chooses a cluster by weight; `entropy` decides. A single cluster's weight is ignored.
///
/// # Errors
/// [`Refusal::NoCluster`], [`Refusal::BlackHole`].
pub fn dial<'a>(
    snapshot: &'a Snapshot,
    clusters: &'a [WeightedCluster],
    origin: &Origin,
    entropy: u64,
) -> Result<&'a Arc<Cluster>, Refusal> {
    let name = by_weight(clusters, entropy).map_or("", |chosen| &chosen.cluster);
    let Some(cluster) = snapshot.cluster(name) else {
        return Err(Refusal::NoCluster { cluster: name.into(), origin: origin.clone() });
    };
    match cluster.discovery {
        Discovery::BlackHole => {
            Err(Refusal::BlackHole { cluster: cluster.name.clone(), origin: cluster.origin.clone() })
        }
        Discovery::Static(_) | Discovery::OriginalDestination => Ok(cluster),
    }
}

fn by_weight(clusters: &[WeightedCluster], entropy: u64) -> Option<&WeightedCluster> {
    let total: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    let mut point = entropy.checked_rem(total).unwrap_or(0);
    let hit = |cluster: &&WeightedCluster| {
        let weight = u64::from(cluster.weight);
        let inside = point < weight;
        point = point.saturating_sub(weight);
        inside
    };
    clusters.iter().find(hit).or(clusters.first())
}

#[cfg(test)]
mod tests {
    use super::dial;
    use crate::sample::{cluster, origin};
    use crate::{Discovery, Map, Refusal, Snapshot, WeightedCluster};

    fn snapshot() -> Snapshot {
        let of = |name: &str, discovery| (name.into(), cluster(name, discovery).into());
        let clusters = Map::from_iter([
            of("a", Discovery::Static(vec![])),
            of("b", Discovery::OriginalDestination),
            of("hole", Discovery::BlackHole),
        ]);
        Snapshot { clusters, ..Snapshot::default() }
    }

    fn split(parts: &[(&str, u32)]) -> Vec<WeightedCluster> {
        parts
            .iter()
            .map(|(name, weight)| WeightedCluster { cluster: (*name).into(), weight: *weight })
            .collect()
    }

    #[test]
    fn weights_share_out() {
        let (snapshot, parts) = (snapshot(), split(&[("a", 3), ("hole", 0), ("b", 1)]));
        let chosen: Vec<_> =
            (0..8).map(|n| dial(&snapshot, &parts, &origin("o"), n).unwrap().name.to_string()).collect();
        assert_eq!(chosen, ["a", "a", "a", "b", "a", "a", "a", "b"]);
    }

    #[test]
    fn the_weight_of_a_single_cluster_is_ignored() {
        let snapshot = snapshot();
        assert_eq!(&*dial(&snapshot, &split(&[("a", 0)]), &origin("o"), 7).unwrap().name, "a");
    }

    #[test]
    fn what_is_missing_or_leads_nowhere_is_refused() {
        let (snapshot, o) = (snapshot(), origin("o"));
        let refused = |parts: &[(&str, u32)]| dial(&snapshot, &split(parts), &o, 0).unwrap_err();
        assert_eq!(refused(&[("nope", 1)]), Refusal::NoCluster { cluster: "nope".into(), origin: o.clone() });
        assert_eq!(
            refused(&[("hole", 1)]),
            Refusal::BlackHole { cluster: "hole".into(), origin: origin("hole") }
        );
        assert_eq!(refused(&[]), Refusal::NoCluster { cluster: "".into(), origin: o.clone() });
    }
}
