//! Outbound listeners: those that Sidecar egress entries bind, and the capture listener with a chain for every
//! service port.

use std::collections::{BTreeSet, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sidering_policy::{
    BindAddress, Chain, ChainMatch, Direction, Discovery, Filter, Listener, Origin, Transport,
    WeightedCluster,
};

use super::route::{ServicePort, Unknown, carries_http};
use super::{Compiler, bootstrap_key, cluster, listener_name};
use crate::OutboundTrafficPolicy;
use crate::effective::Service;
use crate::resource::{
    CaptureMode, Egress, HostSelector, ListenAt, Port, ProtocolClass, Sidecar, VirtualService,
};

/// What plaintext HTTP is sniffed as.
const SNIFFED_HTTP: &[&str] = &["http/1.1", "h2c"];

impl Compiler<'_> {
    pub(super) fn outbound(&mut self) {
        let mut captured: Vec<Arc<Chain>> = Vec::new();
        let mut taken: BTreeSet<u16> = BTreeSet::new();
        let sidecar = self.effective.sidecar.clone();
        for (sidecar, egress) in sidecar.iter().flat_map(|s| s.egress.iter().map(move |egress| (s, egress))) {
            let Some(port) = &egress.port else { continue };
            match &self.capture.outbound {
                Some(_) if egress.capture != CaptureMode::None && egress.bind.is_none() => {
                    taken.insert(port.number);
                    captured.extend(self.captured_port(port.number, &egress.hosts));
                }
                _ => self.bound_egress(sidecar, egress, port),
            }
        }
        if let Some((bind, position)) = &self.capture.outbound {
            let hosts = catch_all(sidecar.as_deref());
            let numbers: BTreeSet<u16> =
                self.effective.services.iter().flat_map(|s| s.ports.iter().map(|port| port.number)).collect();
            for number in numbers.difference(&taken) {
                captured.extend(self.captured_port(*number, &hosts));
            }
            self.capture_outbound(*bind, bootstrap_key("listeners.outbound", position), captured);
        }
    }

    /// A listener of its own.
    fn bound_egress(&mut self, sidecar: &Sidecar, egress: &Egress, port: &Port) {
        let bind = match &egress.bind {
            Some(ListenAt::Unix(path)) => BindAddress::Unix(path.clone()),
            Some(ListenAt::Ip(ip)) => BindAddress::Tcp(SocketAddr::new(*ip, port.number)),
            None => BindAddress::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.number)),
        };
        let origin = sidecar.meta.origin_at(&egress.position);
        let effective = self.effective;
        let services = seen(&effective.services, &egress.hosts, port.number);
        let virtual_services = routed(&effective.virtual_services, &egress.hosts);
        let name = listener_name(&bind);
        let mut chains = Vec::new();
        if port.protocol.class() != ProtocolClass::Tcp {
            let http: Vec<ServicePort<'_>> =
                services.iter().copied().filter(|(service, port)| carries_http(service, *port)).collect();
            let unknown = match self.effective.outbound_policy() {
                // There is no address that the client dialled, so nothing to pass on to.
                (OutboundTrafficPolicy::AllowAny, _) => Unknown::NotFound,
                (OutboundTrafficPolicy::RegistryOnly, _) => Unknown::BlackHole,
            };
            let table = self.route_table(&name, port.number, &http, &virtual_services, unknown, &origin);
            let declared = port.protocol.class() == ProtocolClass::Http;
            let matches = if declared { ChainMatch::default() } else { sniffed() };
            chains.push(outbound_chain(&name, matches, Filter::Http(table), &origin));
        }
        if port.protocol.class() != ProtocolClass::Http {
            let (clusters, by) = match services.first() {
                Some((service, number)) => self.tcp_clusters(service, *number, &virtual_services),
                None => (vec![self.nowhere(&origin)], origin.clone()),
            };
            let filter = Filter::Tcp(clusters.into());
            chains.extend(bytes_chains(&name, ChainMatch::default(), filter, &by));
        }
        self.listen(Listener {
            name,
            bind,
            direction: Direction::Outbound,
            captures: false,
            chains: chains.into(),
            detection_timeout: self.effective.mesh.protocol_detection_timeout,
            origin,
        });
    }

    /// Chains of the capture listener for one service port.
    fn captured_port(&mut self, number: u16, hosts: &[HostSelector]) -> Vec<Arc<Chain>> {
        let effective = self.effective;
        let services = seen(&effective.services, hosts, number);
        let virtual_services = routed(&effective.virtual_services, hosts);
        let origin = Origin::default_of("outbound capture");
        let mut chains = Vec::new();
        let http: Vec<ServicePort<'_>> =
            services.iter().copied().filter(|(service, port)| carries_http(service, *port)).collect();
        let name = number.to_string();
        let mut table = None;
        if !http.is_empty() {
            let unknown = match effective.outbound_policy() {
                (OutboundTrafficPolicy::AllowAny, by) => Unknown::Passthrough(self.passthrough(&by)),
                (OutboundTrafficPolicy::RegistryOnly, _) => Unknown::BlackHole,
            };
            let routes = self.route_table(&name, number, &http, &virtual_services, unknown, &origin);
            let declared = http.iter().any(|(service, port)| class_at(service, *port) == ProtocolClass::Http);
            let any = ChainMatch { destination_port: Some(number), ..ChainMatch::default() };
            let matches = if declared { any } else { sniffed_at(number) };
            chains.push(outbound_chain(&name, matches, Filter::Http(routes.clone()), &origin));
            table = Some(routes);
        }
        for (service, port) in
            services.iter().filter(|(service, port)| class_at(service, *port) != ProtocolClass::Http)
        {
            let destinations = service.dialled();
            if destinations.is_empty() {
                continue;
            }
            // Up to three chains.
            if self.multiplies(3 * (1 + destinations.len()), &service.origin).is_none() {
                break;
            }
            let (clusters, origin) = self.tcp_clusters(service, *port, &virtual_services);
            let matches =
                ChainMatch { destination_port: Some(number), destinations, ..ChainMatch::default() };
            // Sniffed HTTP to an undeclared port is routed by Host like all HTTP of that number.
            if let (ProtocolClass::Auto, Some(table)) = (class_at(service, *port), &table) {
                let matches = ChainMatch { destinations: matches.destinations.clone(), ..sniffed_at(number) };
                chains.push(outbound_chain(&service.hostname, matches, Filter::Http(table.clone()), &origin));
            }
            chains.extend(bytes_chains(&service.hostname, matches, Filter::Tcp(clusters.into()), &origin));
        }
        let everything = ChainMatch { destination_port: Some(number), ..ChainMatch::default() };
        if !chains.is_empty() && !chains.iter().any(|chain| chain.matches == everything) {
            // Chains for some addresses of a port keep the general chain from the others.
            chains.extend(self.undeclared(everything));
        }
        chains
    }

    /// What becomes of connections to what nothing declares.
    fn undeclared(&mut self, matches: ChainMatch) -> [Arc<Chain>; 2] {
        let (policy, by) = self.effective.outbound_policy();
        let cluster = match policy {
            OutboundTrafficPolicy::AllowAny => WeightedCluster { cluster: self.passthrough(&by), weight: 1 },
            OutboundTrafficPolicy::RegistryOnly => self.nowhere(&by),
        };
        bytes_chains("undeclared", matches, Filter::Tcp([cluster].into()), &by)
    }

    /// The capture listener, with a chain for what nothing declares.
    fn capture_outbound(&mut self, bind: SocketAddr, origin: Origin, mut chains: Vec<Arc<Chain>>) {
        chains.extend(self.undeclared(ChainMatch::default()));
        self.listen(Listener {
            name: "virtualOutbound".into(),
            bind: BindAddress::Tcp(bind),
            direction: Direction::Outbound,
            captures: true,
            chains: chains.into(),
            detection_timeout: self.effective.mesh.protocol_detection_timeout,
            origin,
        });
    }

    /// The first tcp route of a VirtualService for the service that holds at its port, else the service itself.
    fn tcp_clusters(
        &mut self,
        service: &Service,
        port: u16,
        virtual_services: &[&Arc<VirtualService>],
    ) -> (Vec<WeightedCluster>, Origin) {
        let own = virtual_services.iter().find(|virtual_service| {
            !virtual_service.tcp.is_empty() && virtual_service.hosts.contains(&service.hostname)
        });
        if let Some(own) = own {
            for (index, route) in (0u32..).zip(&own.tcp) {
                if route.matches.is_empty() || route.matches.iter().any(|scope| self.is_in_scope(scope, port))
                {
                    let origin = own.meta.origin().with_rule(index, Some(route.position.clone()));
                    return (self.split(&route.route, port), origin);
                }
            }
        }
        let cluster = self.cluster(&service.hostname, None, port);
        (vec![WeightedCluster { cluster, weight: 1 }], service.origin.clone())
    }

    fn passthrough(&mut self, by: &Origin) -> Arc<str> {
        self.fixed_cluster(cluster::PASSTHROUGH, Discovery::OriginalDestination, by)
    }

    fn nowhere(&mut self, by: &Origin) -> WeightedCluster {
        WeightedCluster {
            cluster: self.fixed_cluster(cluster::BLACK_HOLE, Discovery::BlackHole, by),
            weight: 1,
        }
    }
}

/// Services that an egress entry sees at a port, in the order of its hosts. Port 0, of a Unix socket, is each one's
/// first.
fn seen<'s>(services: &'s [Arc<Service>], hosts: &[HostSelector], port: u16) -> Vec<ServicePort<'s>> {
    let mut found: Vec<ServicePort<'s>> = Vec::new();
    let mut names: HashSet<&str> = HashSet::new();
    for selector in hosts {
        for service in services.iter().filter(|s| selector.matches(&s.namespace, &s.hostname)) {
            let number = match port {
                0 => service.ports.iter().map(|port| port.number).min(),
                port => service.port(port).map(|port| port.number),
            };
            if let Some(number) = number
                && names.insert(&service.hostname)
            {
                found.push((service, number));
            }
        }
    }
    found
}

/// VirtualServices that an egress entry lets in.
fn routed<'s>(all: &'s [Arc<VirtualService>], hosts: &[HostSelector]) -> Vec<&'s Arc<VirtualService>> {
    let let_in = |service: &&Arc<VirtualService>| {
        let namespace = &*service.meta.namespace;
        service.hosts.iter().any(|host| hosts.iter().any(|selector| selector.matches(namespace, host)))
    };
    all.iter().filter(let_in).collect()
}

/// The hosts of the egress entry without a port; without any entry, all.
fn catch_all(sidecar: Option<&Sidecar>) -> Vec<HostSelector> {
    let egress = sidecar.map(|sidecar| sidecar.egress.as_slice()).unwrap_or_default();
    if egress.is_empty() {
        return vec![HostSelector::everything()];
    }
    egress
        .iter()
        .filter(|egress| egress.port.is_none())
        .flat_map(|egress| egress.hosts.iter().cloned())
        .collect()
}

fn class_at(service: &Service, port: u16) -> ProtocolClass {
    service.port(port).map_or(ProtocolClass::Tcp, |port| port.protocol.class())
}

/// HTTP that was found out at a captured port.
fn sniffed_at(port: u16) -> ChainMatch {
    ChainMatch { destination_port: Some(port), ..sniffed() }
}

/// HTTP that was found out.
fn sniffed() -> ChainMatch {
    ChainMatch {
        transport: Some(Transport::Raw),
        application_protocols: SNIFFED_HTTP.iter().map(|token| Arc::from(*token)).collect(),
        ..ChainMatch::default()
    }
}

/// Chains for bytes: beside a chain for sniffed HTTP, which asks for raw ones, raw bytes need one that does so, too.
fn bytes_chains(name: &str, matches: ChainMatch, filter: Filter, origin: &Origin) -> [Arc<Chain>; 2] {
    let raw = ChainMatch { transport: Some(Transport::Raw), ..matches.clone() };
    [raw, matches].map(|matches| outbound_chain(name, matches, filter.clone(), origin))
}

fn outbound_chain(name: &str, matches: ChainMatch, filter: Filter, origin: &Origin) -> Arc<Chain> {
    let kind = if matches!(filter, Filter::Http(_)) { "http" } else { "tcp" };
    Arc::new(Chain {
        name: format!("outbound {name} {kind}").into(),
        matches,
        tls: None,
        filter,
        authorization: Arc::default(),
        origin: origin.clone(),
    })
}
