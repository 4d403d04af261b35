//! What Istio's rules amount to for one workload. `compile` builds the Snapshot from exactly this value, and questions
//! about resources ("which mode, and who set it") are answered from it.

mod authentication;
mod destination;
mod naming;
mod service;
mod sum;
mod visibility;
mod workloads;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sidering_identity::TrustDomain;
use sidering_policy::{Map, Origin};

pub use authentication::{Authentication, DecidedMode};
pub(crate) use naming::{of_entry as expected_of_entry, of_rule as expected_of_rule};
pub(crate) use service::{Instance, Service};
pub(crate) use sum::Sum;
pub use workloads::Endpoint;

use crate::host;
use crate::resource::{
    Action, AuthorizationPolicy, Protocol, RequestAuthentication, Sidecar, TlsMode, VirtualService,
    is_selected,
};
use crate::{MeshConfig, OutboundTrafficPolicy, Resources};

/// Who a sidecar stands beside.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Its name, for people.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its service account; `default` where none is set.
    pub service_account: Arc<str>,
    /// Its labels: what selectors select by.
    pub labels: BTreeMap<String, String>,
    /// Its addresses: endpoints with one of them are this workload.
    pub addresses: Vec<IpAddr>,
}

/// Istio's rules, reduced to one workload.
#[derive(Clone, Debug)]
pub struct Effective {
    pub(crate) workload: Workload,
    pub(crate) mesh: MeshConfig,
    pub(crate) authentication: Authentication,
    /// In Istio's order.
    pub(crate) policies: Vec<Arc<AuthorizationPolicy>>,
    /// In Istio's order.
    pub(crate) tokens: Vec<Arc<RequestAuthentication>>,
    pub(crate) sidecar: Option<Arc<Sidecar>>,
    /// What this workload sees, one for each host, by host.
    pub(crate) services: Vec<Arc<Service>>,
    by_host: Map<Arc<str>, usize>,
    /// What this workload sees, oldest first.
    pub(crate) virtual_services: Vec<Arc<VirtualService>>,
    /// Ports of services that this workload stands behind.
    pub(crate) own_ports: BTreeMap<u16, OwnPort>,
    /// Of the whole mesh. What is too much is not here, and refuses the load.
    pub(crate) declared: Sum,
}

/// A workload port that some service declares.
#[derive(Clone, Debug)]
pub(crate) struct OwnPort {
    pub(crate) protocol: Protocol,
    pub(crate) origin: Origin,
    /// Whose it is; `None` where it was only declared.
    service: Option<Named>,
}

/// A service, as metrics name it.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its host.
    pub host: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
}

impl Effective {
    /// Reduces `resources` to what holds for `workload`.
    pub fn of(resources: &Resources, mesh: &MeshConfig, workload: &Workload) -> Self {
        let authentications =
            authentication::Policies::new(&resources.peer_authentications, &mesh.root_namespace);
        let rules = destination::Rules::new(resources, mesh);
        let sidecar = visibility::sidecar_of(resources, mesh, workload);
        let mut declared = Sum::default();
        let every = service::all(resources, mesh, &authentications, &mut declared);
        let own_ports = own_ports(&every, workload);
        let virtual_services = visibility::virtual_services(resources, mesh, workload, sidecar.as_deref());
        let mut services = visibility::services(every, workload, sidecar.as_deref(), &virtual_services);
        for service in &mut services {
            service.rule = rules.of(service, workload);
        }
        let services: Vec<Arc<Service>> = services.into_iter().map(Arc::new).collect();
        let by_host = services.iter().enumerate().map(|(index, s)| (s.hostname.clone(), index)).collect();
        Self {
            authentication: authentications.of(&workload.namespace, &workload.labels),
            policies: policies_of(resources, mesh, workload),
            tokens: tokens_of(resources, mesh, workload),
            workload: workload.clone(),
            mesh: mesh.clone(),
            sidecar,
            services,
            by_host,
            virtual_services,
            own_ports,
            declared,
        }
    }

    /// Which mutual TLS this workload takes, and who says so.
    pub fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// The trust domains that a peer's identity may be in.
    pub fn trust_domains(&self) -> Vec<TrustDomain> {
        self.mesh.trust_domains()
    }

    /// The AuthorizationPolicies of an action that are in force here, dry-run ones included, in Istio's order.
    pub fn in_force(&self, action: Action) -> Vec<Origin> {
        self.policies
            .iter()
            .filter(|policy| policy.action == action)
            .map(|policy| policy.meta.origin())
            .collect()
    }

    /// Claims of an issuer's tokens that are words with spaces between them: Istio's two, and what is listed here.
    pub fn space_delimited_claims(&self, issuer: &str) -> Vec<Arc<str>> {
        let rules = self.tokens.iter().flat_map(|policy| &policy.rules);
        let own = rules.filter(|rule| *rule.issuer == *issuer).flat_map(|rule| rule.space_delimited.clone());
        ["scope", "permission"].map(Arc::from).into_iter().chain(own).collect()
    }

    /// The DestinationRules that were merged for a host, in order.
    pub fn rules_of(&self, host: &str) -> Vec<Origin> {
        let rule = self.service(host).and_then(|service| service.rule.as_ref());
        rule.map(|rule| rule.rules.iter().map(|rule| rule.meta.origin()).collect()).unwrap_or_default()
    }

    /// The subsets of the rules merged for a host, in order.
    pub fn subsets_of(&self, host: &str) -> Vec<Arc<str>> {
        let rule = self.service(host).and_then(|service| service.rule.as_ref());
        rule.map(|rule| rule.subsets.iter().map(|subset| subset.name.clone()).collect()).unwrap_or_default()
    }

    /// The TLS mode that DestinationRules set for a host's service port and subset; `None` leaves it to auto mTLS.
    pub fn rule_tls(&self, host: &str, subset: Option<&str>, port: u16) -> Option<TlsMode> {
        let rule = self.service(host)?.rule.as_ref()?;
        let subset = subset.and_then(|name| rule.subset(name)).map(|subset| &**subset);
        rule.settings(subset, port).tls.map(|tls| tls.mode)
    }

    /// The declared protocol of a host's service port, as Istio calls it; `AUTO` where it is undeclared.
    pub fn protocol_of(&self, host: &str, port: u16) -> Option<String> {
        self.service(host)?.port(port).map(|port| port.protocol.to_string())
    }

    /// The visible service that a name belongs to: its own, else the longest wildcard around it.
    pub fn host_of(&self, name: &str) -> Option<Arc<str>> {
        let around = || {
            let hosts = self.services.iter().map(|service| &service.hostname);
            hosts
                .filter(|host| host.starts_with('*') && host::is_within(name, host))
                .max_by_key(|host| host.len())
        };
        self.by_host.get_key_value(name).map(|(host, _)| host).or_else(around).cloned()
    }

    /// Addresses by which clients dial a host: its own, else its endpoints'.
    pub fn addresses_of(&self, host: &str) -> Vec<IpAddr> {
        self.service(host).map(|service| service.dialled()).unwrap_or_default()
    }

    /// The service that a port of this workload belongs to.
    pub fn own_service(&self, port: u16) -> Option<&Named> {
        self.own_ports.get(&port)?.service.as_ref()
    }

    /// The visible service of exactly that host.
    pub fn service_named(&self, host: &str) -> Option<Named> {
        let service = self.service(host)?;
        Some(Named { host: service.hostname.clone(), namespace: service.namespace.clone() })
    }

    /// Lets a service declare `protocol` for a workload port, as if one were written.
    ///
    /// # Errors
    /// The protocol is none of Istio's.
    pub fn declare(&mut self, port: u16, protocol: &str) -> Result<(), String> {
        let known = Protocol::parse(protocol)?;
        let origin = Origin::default_of("declared protocol");
        self.own_ports.insert(port, OwnPort { protocol: known, origin, service: None });
        Ok(())
    }

    pub(crate) fn service(&self, hostname: &str) -> Option<&Arc<Service>> {
        self.by_host.get(hostname).map(|index| &self.services[*index])
    }

    /// What becomes of traffic for destinations that nothing declares, and who says so.
    pub(crate) fn outbound_policy(&self) -> (OutboundTrafficPolicy, Origin) {
        let own = self.sidecar.as_ref().and_then(|sidecar| {
            let (policy, position) = sidecar.outbound_traffic_policy.as_ref()?;
            Some((*policy, sidecar.meta.origin_at(position)))
        });
        own.unwrap_or_else(|| {
            (self.mesh.outbound_traffic_policy, Origin::default_of("outboundTrafficPolicy"))
        })
    }
}

/// The root namespace's and the own namespace's, unlike PeerAuthentication with selectors, too.
fn policies_of(
    resources: &Resources,
    mesh: &MeshConfig,
    workload: &Workload,
) -> Vec<Arc<AuthorizationPolicy>> {
    let near = |policy: &&Arc<AuthorizationPolicy>| {
        let namespace = &policy.meta.namespace;
        *namespace == workload.namespace || *namespace == mesh.root_namespace
    };
    let policies = resources.authorization_policies.iter().filter(near);
    policies
        .filter(|policy| !policy.targeted && is_selected(&policy.selector, &workload.labels))
        .cloned()
        .collect()
}

/// The same for what is said of tokens.
fn tokens_of(
    resources: &Resources,
    mesh: &MeshConfig,
    workload: &Workload,
) -> Vec<Arc<RequestAuthentication>> {
    let holds = |policy: &&Arc<RequestAuthentication>| {
        let namespace = &policy.meta.namespace;
        let near = *namespace == workload.namespace || *namespace == mesh.root_namespace;
        near && !policy.targeted && is_selected(&policy.selector, &workload.labels)
    };
    resources.request_authentications.iter().filter(holds).cloned().collect()
}

fn own_ports(services: &[Service], workload: &Workload) -> BTreeMap<u16, OwnPort> {
    let mut ports = BTreeMap::new();
    for service in services {
        for instance in service.endpoints.iter().filter(|instance| instance.is_at(&workload.addresses)) {
            for port in &service.ports {
                if let Some(target) = instance.ports.get(&port.number) {
                    let origin = service.origin_at(&port.position);
                    let service =
                        Named { host: service.hostname.clone(), namespace: service.namespace.clone() };
                    let own = OwnPort { protocol: port.protocol, origin, service: Some(service) };
                    ports.entry(*target).or_insert(own);
                }
            }
        }
    }
    ports
}

#[cfg(test)]
mod tests;
