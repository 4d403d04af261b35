//! Route tables: the virtual hosts of a service port, each with its VirtualService's routes or the default one.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sidering_policy::{
    HeaderEdits, HeaderMatch, HostRewrite, Map, Origin, PathMatch, Route, RouteAction, RouteMatch,
    RouteTable, UnknownHost, VirtualHost, WeightedCluster,
};

use super::Compiler;
use crate::effective::Service;
use crate::host::{self, HostMap};
use crate::resource::{
    Destination, HeaderEdits as Edits, HttpMatch, HttpRoute, ProtocolClass, Scope, VirtualService,
    WeightedDestination, is_selected,
};

/// A service at one of its ports.
pub(super) type ServicePort<'s> = (&'s Service, u16);

impl Compiler<'_> {
    /// The table of a listener: `services` are those it sees at its port, `virtual_services` those it lets in.
    pub(super) fn route_table(
        &mut self,
        name: &str,
        port: u16,
        services: &[ServicePort<'_>],
        virtual_services: &[&Arc<VirtualService>],
        unknown: Unknown,
        origin: &Origin,
    ) -> Arc<RouteTable> {
        let mut by_host: HostMap<&Arc<VirtualService>> = HostMap::default();
        for service in virtual_services.iter().filter(|service| !service.http.is_empty()) {
            service.hosts.iter().for_each(|host| by_host.insert(host, service));
        }
        let mut domains = Domains::default();
        let mut aliases: Vec<(String, Arc<VirtualHost>)> = Vec::new();
        for (service, number) in services {
            let names = self.aliases(service);
            // A virtual host with its route and its names.
            if self.multiplies(3 + names.len(), &service.origin).is_none() {
                break;
            }
            let (routes, origin) = match by_host.most_specific(&service.hostname) {
                Some(found) => (self.routes(found, port), found.meta.origin()),
                None => {
                    let cluster = self.cluster(&service.hostname, None, *number);
                    (vec![plain_route(cluster, &service.origin)], service.origin.clone())
                }
            };
            let name = format!("{}:{number}", service.hostname).into();
            let virtual_host = Arc::new(VirtualHost { name, routes, origin });
            domains.add(&service.hostname, &virtual_host);
            aliases.extend(names.into_iter().map(|alias| (alias, virtual_host.clone())));
        }
        // Hosts that are no service's: Istio takes their port to be 80.
        let names: HashSet<&str> = services.iter().map(|(service, _)| &*service.hostname).collect();
        for virtual_service in
            virtual_services.iter().filter(|service| port == 80 && !service.http.is_empty())
        {
            for host in &virtual_service.hosts {
                let covers = |(service, _): &ServicePort<'_>| host::is_within(&service.hostname, host);
                let is_service =
                    names.contains(&**host) || (host.starts_with('*') && services.iter().any(covers));
                if !is_service {
                    if self.multiplies(2, &virtual_service.meta.origin()).is_none() {
                        break;
                    }
                    let name = format!("{host}:{port}").into();
                    let routes = self.routes(virtual_service, port);
                    let origin = virtual_service.meta.origin();
                    domains.add(host, &Arc::new(VirtualHost { name, routes, origin }));
                }
            }
        }
        // Names in full come first: an alias never takes one away.
        for (alias, virtual_host) in aliases {
            domains.add(&alias, &virtual_host);
        }
        let unknown = match unknown {
            Unknown::NotFound => UnknownHost::NotFound,
            Unknown::BlackHole => UnknownHost::BlackHole,
            Unknown::Passthrough(cluster) => {
                domains.add("*", &Arc::new(allow_any(cluster, origin)));
                UnknownHost::NotFound
            }
        };
        Arc::new(domains.into_table(name, unknown, origin))
    }

    /// What else a service is called, apart from its host.
    fn aliases(&self, service: &Service) -> Vec<String> {
        let mut aliases = vec![format!("{}.", service.hostname)];
        if let Some((name, namespace)) = service.short_name() {
            if namespace == &*self.effective.workload.namespace {
                aliases.push(name.to_owned());
            }
            aliases.push(format!("{name}.{namespace}"));
            aliases.push(format!("{name}.{namespace}.svc"));
        }
        if service.headless {
            // Its endpoints have names of their own below it.
            let names = std::iter::once(&*service.hostname).chain(aliases.iter().map(String::as_str));
            aliases.extend(names.map(|name| format!("*.{name}")).collect::<Vec<_>>());
        }
        for net in service.addresses.iter().filter(|net| net.prefix_len() == net.max_prefix_len()) {
            aliases.push(net.addr().to_string());
            if net.addr().is_ipv6() {
                aliases.push(format!("[{}]", net.addr()));
            }
        }
        aliases
    }

    fn routes(&mut self, service: &VirtualService, port: u16) -> Vec<Route> {
        let made = service.http.iter().map(|route| size(route)).sum();
        if self.multiplies(made, &service.meta.origin()).is_none() {
            return Vec::new();
        }
        let numbered = (0u32..).zip(&service.http);
        numbered.filter_map(|(index, route)| self.route(service, index, route, port)).collect()
    }

    /// `None`: no match of it can hold for this client and port.
    fn route(&mut self, service: &VirtualService, index: u32, route: &HttpRoute, port: u16) -> Option<Route> {
        let held: Vec<&HttpMatch> =
            route.matches.iter().filter(|m| self.is_in_scope(&m.scope, port)).collect();
        if held.is_empty() && !route.matches.is_empty() {
            return None;
        }
        let single = match &route.route[..] {
            [one] => Some(&one.headers),
            _ => None,
        };
        let mut request = merged(&route.headers.request, single.map(|headers| &headers.request));
        let response = merged(&route.headers.response, single.map(|headers| &headers.response));
        let host = route.authority.clone().or_else(|| take_host(&mut request));
        take_host(&mut request);
        let action = match (&route.abort, &route.direct) {
            (Some(abort), _) => {
                RouteAction::Respond { status: abort.status, body: "fault filter abort".into() }
            }
            (None, Some(direct)) => RouteAction::Respond { status: direct.status, body: direct.body.clone() },
            (None, None) => {
                RouteAction::Forward { clusters: self.split(&route.route, port), host: host.map(HostRewrite) }
            }
        };
        Some(Route {
            name: route.name.clone(),
            matches: held.into_iter().map(route_match).collect(),
            action,
            request_headers: request.into_policy(),
            response_headers: response.into_policy(),
            timeout: route.timeout,
            origin: service.meta.origin().with_rule(index, Some(route.position.clone())),
        })
    }

    /// What is known of the client and the port: beside gateways its labels and namespace are not looked at.
    pub(super) fn is_in_scope(&self, scope: &Scope, port: u16) -> bool {
        let workload = &self.effective.workload;
        if scope.port.is_some_and(|own| own != port) {
            return false;
        }
        if !scope.gateways.is_empty() {
            return scope.gateways.iter().any(|name| &**name == "mesh");
        }
        is_selected(&scope.source_labels, &workload.labels)
            && scope.source_namespace.as_ref().is_none_or(|namespace| *namespace == workload.namespace)
    }

    /// Destinations by weight: of several those without weight get nothing; a single one's is not looked at.
    pub(super) fn split(&mut self, destinations: &[WeightedDestination], port: u16) -> Vec<WeightedCluster> {
        if let [one] = destinations {
            return vec![WeightedCluster { cluster: self.destination(&one.destination, port), weight: 1 }];
        }
        let weighted = destinations.iter().filter(|item| item.weight > 0);
        weighted
            .map(|item| WeightedCluster {
                cluster: self.destination(&item.destination, port),
                weight: item.weight,
            })
            .collect()
    }

    /// A destination without a port means a service's only one, else the listener's.
    fn destination(&mut self, destination: &Destination, port: u16) -> Arc<str> {
        let only = self.effective.service(&destination.host).and_then(|service| match &service.ports[..] {
            [port] => Some(port.number),
            _ => None,
        });
        let port = destination.port.or(only).unwrap_or(port);
        self.cluster(&destination.host, destination.subset.as_deref(), port)
    }
}

/// What a Host that nothing declares gets.
pub(super) enum Unknown {
    NotFound,
    BlackHole,
    /// This cluster, which dials the address that the client dialled.
    Passthrough(Arc<str>),
}

fn allow_any(cluster: Arc<str>, origin: &Origin) -> VirtualHost {
    VirtualHost {
        name: "allow_any".into(),
        routes: vec![plain_route(cluster, origin)],
        origin: origin.clone(),
    }
}

/// How much a route is made of: itself, its matches, destinations and header edits.
fn size(route: &HttpRoute) -> usize {
    let edits = |edits: &Edits| edits.set.len() + edits.add.len() + edits.remove.len();
    let matches = route.matches.iter().map(|one| 1 + one.headers.len());
    let destinations =
        route.route.iter().map(|one| 1 + edits(&one.headers.request) + edits(&one.headers.response));
    let own = edits(&route.headers.request) + edits(&route.headers.response);
    1 + matches.sum::<usize>() + destinations.sum::<usize>() + own
}

/// Everything to one cluster.
pub(super) fn plain_route(cluster: Arc<str>, origin: &Origin) -> Route {
    Route {
        name: "default".into(),
        matches: Vec::new(),
        action: RouteAction::Forward { clusters: vec![WeightedCluster { cluster, weight: 1 }], host: None },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        timeout: None,
        origin: origin.clone(),
    }
}

/// Does this service port carry HTTP, declared or found out?
pub(super) fn carries_http(service: &Service, port: u16) -> bool {
    service.port(port).is_some_and(|port| port.protocol.class() != ProtocolClass::Tcp)
}

#[derive(Default)]
struct Domains {
    exact: Map<Arc<str>, Arc<VirtualHost>>,
    /// By suffix; the first keeps it.
    wildcards: BTreeMap<String, Arc<VirtualHost>>,
    any: Option<Arc<VirtualHost>>,
}

impl Domains {
    fn add(&mut self, domain: &str, host: &Arc<VirtualHost>) {
        let domain = domain.to_ascii_lowercase();
        match domain.strip_prefix('*') {
            None => {
                self.exact.entry(domain.into()).or_insert_with(|| host.clone());
            }
            Some("") => {
                self.any.get_or_insert_with(|| host.clone());
            }
            Some(suffix) => {
                self.wildcards.entry(suffix.to_owned()).or_insert_with(|| host.clone());
            }
        }
    }

    fn into_table(self, name: &str, unknown: UnknownHost, origin: &Origin) -> RouteTable {
        let mut suffixes: Vec<(Arc<str>, Arc<VirtualHost>)> =
            self.wildcards.into_iter().map(|(suffix, host)| (suffix.into(), host)).collect();
        suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        RouteTable {
            name: name.into(),
            exact: self.exact,
            suffixes,
            any: self.any,
            unknown,
            origin: origin.clone(),
        }
    }
}

fn route_match(value: &HttpMatch) -> RouteMatch {
    let plain = |text: &crate::resource::Text| text.to_match(false);
    RouteMatch {
        path: value.uri.as_ref().map(|text| PathMatch {
            value: text.to_match(value.ignore_uri_case),
            ignore_case: value.ignore_uri_case,
        }),
        headers: value
            .headers
            .iter()
            .map(|(name, text, inverted)| HeaderMatch {
                name: name.clone(),
                value: text.as_ref().map(plain),
                inverted: *inverted,
            })
            .collect(),
        method: value.method.as_ref().map(plain),
        authority: value.authority.as_ref().map(plain),
        scheme: value.scheme.as_ref().map(plain),
    }
}

/// A route's edits after its only destination's: what the route removes or sets is not the destination's to say.
fn merged(route: &Edits, destination: Option<&Edits>) -> Edits {
    let mut edits = route.clone();
    let Some(own) = destination else { return edits };
    let decided =
        |name: &Arc<str>| route.remove.contains(name) || route.set.iter().any(|(other, _)| other == name);
    let kept = |list: &[(Arc<str>, Arc<str>)]| -> Vec<(Arc<str>, Arc<str>)> {
        list.iter().filter(|(name, _)| !decided(name)).cloned().collect()
    };
    edits.set.splice(0..0, kept(&own.set));
    edits.add.splice(0..0, kept(&own.add));
    edits.remove.extend(own.remove.iter().cloned());
    edits
}

/// Setting `Host` is rewriting the authority; the last one set, the route's, wins.
fn take_host(edits: &mut Edits) -> Option<Arc<str>> {
    let is_host = |name: &str| name == "host" || name == ":authority";
    let found = edits.set.iter().rev().find(|(name, _)| is_host(name)).map(|(_, value)| value.clone());
    edits.set.retain(|(name, _)| !is_host(name));
    found
}

impl Edits {
    fn into_policy(self) -> HeaderEdits {
        HeaderEdits { remove: self.remove, set: self.set, add: self.add }
    }
}
