//! What a workload sees: its Sidecar, the services and VirtualServices exported to it and let in by the Sidecar.

use std::collections::HashSet;
use std::sync::Arc;

use sidering_policy::Map;

use super::Workload;
use super::service::Service;
use crate::resource::{Sidecar, VirtualService, is_selected};
use crate::{MeshConfig, Resources};

/// The oldest of the own namespace that selects the workload, else the oldest for the whole namespace, else the root
/// namespace's.
pub(crate) fn sidecar_of(
    resources: &Resources,
    mesh: &MeshConfig,
    workload: &Workload,
) -> Option<Arc<Sidecar>> {
    let of = |namespace: Arc<str>| resources.sidecars.iter().filter(move |s| s.meta.namespace == namespace);
    let selecting = |s: &&Arc<Sidecar>| !s.selector.is_empty() && is_selected(&s.selector, &workload.labels);
    let general = |s: &&Arc<Sidecar>| s.selector.is_empty();
    let own = of(workload.namespace.clone()).find(selecting);
    own.or_else(|| of(workload.namespace.clone()).find(general))
        .or_else(|| of(mesh.root_namespace.clone()).find(general))
        .cloned()
}

/// May a resource of `own` be seen from `namespace`? Nothing written is `*`.
pub(crate) fn is_exported(export_to: &[Arc<str>], own: &str, namespace: &str) -> bool {
    let names = |name: &Arc<str>| match &**name {
        "*" => true,
        "." => own == namespace,
        other => other == namespace,
    };
    export_to.is_empty() || export_to.iter().any(names)
}

pub(crate) fn virtual_services(
    resources: &Resources,
    mesh: &MeshConfig,
    workload: &Workload,
    sidecar: Option<&Sidecar>,
) -> Vec<Arc<VirtualService>> {
    let seen = |service: &&Arc<VirtualService>| {
        let default = &mesh.default_virtual_service_export_to;
        let export_to = if service.export_to.is_empty() { default } else { &service.export_to };
        let own = &*service.meta.namespace;
        let mesh_gateway =
            service.gateways.is_empty() || service.gateways.iter().any(|name| &**name == "mesh");
        let imported = |host: &Arc<str>| is_imported(sidecar, own, host);
        mesh_gateway
            && (own == &*workload.namespace || is_exported(export_to, own, &workload.namespace))
            && service.hosts.iter().any(imported)
    };
    resources.virtual_services.iter().filter(seen).cloned().collect()
}

/// Does any egress listener let it in? Without egress listeners everything is.
fn is_imported(sidecar: Option<&Sidecar>, namespace: &str, host: &str) -> bool {
    match sidecar {
        Some(sidecar) if !sidecar.egress.is_empty() => sidecar
            .egress
            .iter()
            .flat_map(|egress| &egress.hosts)
            .any(|selector| selector.matches(namespace, host)),
        _ => true,
    }
}

/// One service for each host, by host. Of several namespaces' the own one's, else the oldest. What a visible
/// VirtualService leads to is seen with it.
pub(crate) fn services(
    all: Vec<Service>,
    workload: &Workload,
    sidecar: Option<&Sidecar>,
    virtual_services: &[Arc<VirtualService>],
) -> Vec<Service> {
    let routed = virtual_services.iter().flat_map(|service| {
        let http = service.http.iter().flat_map(|route| &route.route);
        http.chain(service.tcp.iter().flat_map(|route| &route.route)).map(|item| &item.destination.host)
    });
    let routed: HashSet<Arc<str>> = routed.cloned().collect();
    let mut by_host: Map<Arc<str>, Service> = Map::default();
    for service in all {
        let seen = is_exported(&service.export_to, &service.namespace, &workload.namespace)
            && (is_imported(sidecar, &service.namespace, &service.hostname)
                || routed.contains(&service.hostname));
        let own = service.namespace == workload.namespace;
        if seen && (own || !by_host.contains_key(&service.hostname)) {
            by_host.insert(service.hostname.clone(), service);
        }
    }
    let mut services: Vec<Service> = by_host.into_values().collect();
    services.sort_by(|a, b| a.hostname.cmp(&b.hostname));
    services
}
