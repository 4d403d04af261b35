//! What compiles and is probably not meant: said in the Snapshot, for `status` and the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use sidering_policy::{Chain, Filter, Origin, RouteAction, RouteTable, WeightedCluster};

use super::Compiler;

impl Compiler<'_> {
    pub(super) fn warnings(&self) -> Vec<String> {
        if self.listeners.is_empty() {
            let workload = &self.effective.workload;
            return vec![format!(
                "{}/{} has no listener: write a Sidecar that selects it, or set `listeners` in the bootstrap file",
                workload.namespace, workload.name
            )];
        }
        let mut warnings = BTreeSet::new();
        let mut missing = |origin: &Origin, clusters: &[WeightedCluster]| {
            for name in
                clusters.iter().map(|item| &item.cluster).filter(|name| !self.clusters.contains_key(*name))
            {
                warnings
                    .insert(format!("{origin}: there is no cluster {name}: what is routed there is refused"));
            }
        };
        for chain in self.listeners.iter().flat_map(|listener| &listener.chains) {
            each_destination(chain, &mut missing);
        }
        warnings.into_iter().collect()
    }
}

fn each_destination(chain: &Chain, visit: &mut dyn FnMut(&Origin, &[WeightedCluster])) {
    match &chain.filter {
        Filter::Tcp(clusters) => visit(&chain.origin, clusters),
        Filter::Http(table) => {
            for route in hosts(table).flat_map(|host| &host.routes) {
                if let RouteAction::Forward { clusters, .. } = &route.action {
                    visit(&route.origin, clusters);
                }
            }
        }
    }
}

fn hosts(table: &RouteTable) -> impl Iterator<Item = &Arc<sidering_policy::VirtualHost>> {
    table.exact.values().chain(table.suffixes.iter().map(|(_, host)| host)).chain(&table.any)
}
