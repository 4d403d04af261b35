//! Inbound listeners: the chains of a port, by its mode and protocol class.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use sidering_policy::{
    Address, Authorization, BindAddress, Chain, ChainMatch, Direction, Discovery, DownstreamTls, Endpoint,
    Filter, Listener, Map, Origin, RouteTable, Transport, UnknownHost, VirtualHost, WeightedCluster,
};

use super::route::plain_route;
use super::{Compiler, bootstrap_key, listener_name, rules};
use crate::effective::DecidedMode;
use crate::resource::{CaptureMode, DefaultEndpoint, Ingress, ListenAt, MtlsMode, ProtocolClass, Sidecar};

/// Tokens by which a mesh client says that it speaks HTTP inside.
const MESH_HTTP: &[&str] = &["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// Tokens of a mesh client that does not say so.
const MESH_TCP: &[&str] = &["istio-peer-exchange", "istio"];
/// What plaintext HTTP is sniffed as. HTTP/1.0 is not among them: on an undeclared port it is bytes.
const SNIFFED_HTTP: &[&str] = &["http/1.1", "h2c"];

/// How a chain takes a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Mtls,
    Plain,
}

/// What makes the chains of one port.
struct Port<'p> {
    /// For names: `8080`, `passthrough`.
    label: String,
    /// `None` where the listener has only this port.
    number: Option<u16>,
    class: ProtocolClass,
    decided: &'p DecidedMode,
    cluster: Arc<str>,
}

/// The rules of both kinds of chain, shared by every port.
struct Rules {
    http: Arc<Authorization>,
    tcp: Arc<Authorization>,
}

impl Compiler<'_> {
    pub(super) fn inbound(&mut self) {
        let rules = Rules {
            http: Arc::new(rules::authorization(self.effective, true)),
            tcp: Arc::new(rules::authorization(self.effective, false)),
        };
        let mut captured: Vec<Arc<Chain>> = Vec::new();
        let sidecar = self.effective.sidecar.clone();
        let ingress =
            sidecar.iter().flat_map(|sidecar| sidecar.ingress.iter().map(move |ingress| (sidecar, ingress)));
        for (sidecar, ingress) in ingress {
            match &self.capture.inbound {
                Some(_) if ingress.capture != CaptureMode::None && ingress.bind.is_none() => {
                    captured.extend(self.captured_ingress(sidecar, ingress, &rules));
                }
                _ => self.bound_ingress(sidecar, ingress, &rules),
            }
        }
        if let Some((bind, position)) = &self.capture.inbound {
            if sidecar.is_none_or(|sidecar| sidecar.ingress.is_empty()) {
                captured.extend(self.service_ports(&rules));
            }
            let origin = bootstrap_key("listeners.inbound", position);
            self.capture_listener(*bind, origin, captured, &rules);
        }
    }

    /// A listener of its own.
    fn bound_ingress(&mut self, sidecar: &Sidecar, ingress: &Ingress, rules: &Rules) {
        let number = ingress.port.number;
        let bind = match &ingress.bind {
            Some(ListenAt::Unix(path)) => BindAddress::Unix(path.clone()),
            Some(ListenAt::Ip(ip)) => BindAddress::Tcp(SocketAddr::new(*ip, number)),
            None => match self.effective.workload.addresses.first() {
                Some(ip) => BindAddress::Tcp(SocketAddr::new(*ip, number)),
                None => {
                    let message =
                        "this listener has no address; write `bind`, or give the workload an address";
                    return self.error(&ingress.position, message);
                }
            },
        };
        let Some(address) = self.ingress_endpoint(ingress) else { return };
        if matches!((&address, &bind), (Some(Address::Tcp(to)), BindAddress::Tcp(at)) if is_loop(*to, *at)) {
            return self
                .error(&ingress.position, "defaultEndpoint leads back to this listener; use another port");
        }
        let Some(address) = address else {
            let message = "a listener that is not captured needs a `defaultEndpoint`, such as 127.0.0.1:8080";
            return self.error(&ingress.position, message);
        };
        let origin = sidecar.meta.origin_at(&ingress.position);
        let cluster = self.inbound_cluster(number, Some(address), &origin);
        let effective = self.effective;
        let port = Port {
            label: number.to_string(),
            number: None,
            class: ingress.port.protocol.class(),
            decided: effective.authentication.at(number),
            cluster,
        };
        self.listen(Listener {
            name: listener_name(&bind),
            bind,
            direction: Direction::Inbound,
            captures: false,
            chains: self.chains(&port, rules).into(),
            detection_timeout: effective.mesh.protocol_detection_timeout,
            origin,
        });
    }

    /// Chains of the capture listener.
    fn captured_ingress(&mut self, sidecar: &Sidecar, ingress: &Ingress, rules: &Rules) -> Vec<Arc<Chain>> {
        let Some(address) = self.ingress_endpoint(ingress) else { return Vec::new() };
        let number = ingress.port.number;
        let cluster = self.inbound_cluster(number, address, &sidecar.meta.origin_at(&ingress.position));
        let effective = self.effective;
        self.chains(
            &Port {
                label: number.to_string(),
                number: Some(number),
                class: ingress.port.protocol.class(),
                decided: effective.authentication.at(number),
                cluster,
            },
            rules,
        )
    }

    /// `Some(None)`: the address that was dialled. `None`: it cannot be said, and the diagnostics tell why.
    fn ingress_endpoint(&mut self, ingress: &Ingress) -> Option<Option<Address>> {
        match &ingress.default_endpoint {
            None => Some(None),
            Some(DefaultEndpoint::At(address)) => Some(Some(address.clone())),
            Some(DefaultEndpoint::Instance(port)) => match self.effective.workload.addresses.first() {
                Some(ip) => Some(Some(Address::Tcp(SocketAddr::new(*ip, *port)))),
                None => {
                    let message = "defaultEndpoint 0.0.0.0 is the workload's own address, and it has none; write 127.0.0.1";
                    self.error(&ingress.position, message);
                    None
                }
            },
        }
    }

    fn inbound_cluster(&mut self, port: u16, address: Option<Address>, origin: &Origin) -> Arc<str> {
        let discovery = match address {
            Some(address) => {
                let endpoint = Endpoint { address, weight: 1, tls: None, origin: origin.clone() };
                Discovery::Static(vec![Arc::new(endpoint)])
            }
            None => Discovery::OriginalDestination,
        };
        self.fixed_cluster(&format!("inbound|{port}||"), discovery, origin)
    }

    /// Chains for every port of a service that this workload stands behind.
    fn service_ports(&mut self, rules: &Rules) -> Vec<Arc<Chain>> {
        let effective = self.effective;
        let mut chains = Vec::new();
        for (number, own) in &effective.own_ports {
            let cluster = self.inbound_cluster(*number, None, &own.origin);
            let port = Port {
                label: number.to_string(),
                number: Some(*number),
                class: own.protocol.class(),
                decided: effective.authentication.at(*number),
                cluster,
            };
            chains.extend(self.chains(&port, rules));
        }
        chains
    }

    /// The capture listener, with chains for what nothing declares: always sniffed, under the same modes.
    fn capture_listener(
        &mut self,
        bind: SocketAddr,
        origin: Origin,
        mut chains: Vec<Arc<Chain>>,
        rules: &Rules,
    ) {
        let cluster =
            self.fixed_cluster("InboundPassthroughCluster", Discovery::OriginalDestination, &origin);
        let authentication = &self.effective.authentication;
        let declared = |port: &u16| chains.iter().any(|chain| chain.matches.destination_port == Some(*port));
        let undeclared: Vec<u16> =
            authentication.ports.keys().copied().filter(|port| !declared(port)).collect();
        for number in undeclared.into_iter().map(Some).chain([None]) {
            let decided = number.map_or(&authentication.mode, |number| authentication.at(number));
            let label =
                number.map_or_else(|| "passthrough".to_owned(), |number| format!("passthrough {number}"));
            let port = Port { label, number, class: ProtocolClass::Auto, decided, cluster: cluster.clone() };
            chains.extend(self.chains(&port, rules));
        }
        self.listen(Listener {
            name: "virtualInbound".into(),
            bind: BindAddress::Tcp(bind),
            direction: Direction::Inbound,
            captures: true,
            chains: chains.into(),
            detection_timeout: self.effective.mesh.protocol_detection_timeout,
            origin,
        });
    }

    /// What each mode accepts of each protocol class, row by row.
    fn chains(&self, port: &Port<'_>, rules: &Rules) -> Vec<Arc<Chain>> {
        use ProtocolClass::{Auto, Http, Tcp};
        use Takes::{Mtls, Plain};
        let mesh: Vec<&str> = MESH_TCP.iter().chain(MESH_HTTP).copied().collect();
        let (tls, raw) = (Some(Transport::Tls), Some(Transport::Raw));
        let rows: Vec<(Option<Transport>, &[&str], Takes, ProtocolClass)> =
            match (port.decided.mode, port.class) {
                (MtlsMode::Strict, Auto) => vec![(tls, MESH_HTTP, Mtls, Http), (tls, &[], Mtls, Tcp)],
                (MtlsMode::Strict, class) => vec![(tls, &[], Mtls, class)],
                (MtlsMode::Permissive, Http) => vec![(tls, &mesh, Mtls, Http), (raw, &[], Plain, Http)],
                (MtlsMode::Permissive, Tcp) => {
                    vec![(tls, &mesh, Mtls, Tcp), (tls, &[], Plain, Tcp), (raw, &[], Plain, Tcp)]
                }
                (MtlsMode::Permissive, Auto) => vec![
                    (tls, MESH_HTTP, Mtls, Http),
                    (tls, MESH_TCP, Mtls, Tcp),
                    (tls, &[], Plain, Tcp),
                    (raw, SNIFFED_HTTP, Plain, Http),
                    (raw, &[], Plain, Tcp),
                ],
                (MtlsMode::Disable, Auto) => vec![(raw, SNIFFED_HTTP, Plain, Http), (raw, &[], Plain, Tcp)],
                (MtlsMode::Disable, class) => vec![(raw, &[], Plain, class)],
            };
        let chain =
            |(transport, tokens, takes, class)| self.chain(port, transport, tokens, takes, class, rules);
        rows.into_iter().map(chain).collect()
    }

    fn chain(
        &self,
        port: &Port<'_>,
        transport: Option<Transport>,
        tokens: &[&str],
        takes: Takes,
        class: ProtocolClass,
        rules: &Rules,
    ) -> Arc<Chain> {
        let http = class == ProtocolClass::Http;
        let way = match (takes, transport) {
            (Takes::Mtls, _) => "mtls",
            (Takes::Plain, Some(Transport::Tls)) => "opaque",
            (Takes::Plain, _) => "plaintext",
        };
        let filter = if http {
            Filter::Http(inbound_routes(port))
        } else {
            Filter::Tcp([WeightedCluster { cluster: port.cluster.clone(), weight: 1 }].into())
        };
        Arc::new(Chain {
            name: format!("inbound {} {way} {}", port.label, if http { "http" } else { "tcp" }).into(),
            matches: ChainMatch {
                destination_port: port.number,
                transport,
                application_protocols: tokens.iter().map(|token| Arc::from(*token)).collect(),
                ..ChainMatch::default()
            },
            tls: (takes == Takes::Mtls).then(|| Arc::new(self.downstream_tls(http))),
            filter,
            authorization: if http { rules.http.clone() } else { rules.tcp.clone() },
            origin: port.decided.by.clone(),
        })
    }

    /// Never an `istio` token; on HTTP chains `h2` joins when it is served.
    fn downstream_tls(&self, http: bool) -> DownstreamTls {
        let parameters = &self.effective.mesh.mesh_mtls;
        let alpn: &[&str] = if http { &["http/1.1"] } else { &["h2", "http/1.1"] };
        DownstreamTls {
            alpn: alpn.iter().map(|token| Arc::from(*token)).collect(),
            min_version: parameters.min_version,
            cipher_suites: parameters.cipher_suites.clone(),
        }
    }
}

/// Whatever the Host, to the application.
fn inbound_routes(port: &Port<'_>) -> Arc<RouteTable> {
    let origin = &port.decided.by;
    let name: Arc<str> = format!("inbound|http|{}", port.label).into();
    let routes = vec![plain_route(port.cluster.clone(), origin)];
    let host = VirtualHost { name: name.clone(), routes, origin: origin.clone() };
    Arc::new(RouteTable {
        name,
        exact: Map::default(),
        suffixes: Vec::new(),
        any: Some(Arc::new(host)),
        unknown: UnknownHost::NotFound,
        origin: origin.clone(),
    })
}

/// Would a connection to `to` arrive at a listener bound at `at`?
fn is_loop(to: SocketAddr, at: SocketAddr) -> bool {
    let covered = |ip: IpAddr| at.ip() == ip || at.ip().is_unspecified();
    to.port() == at.port() && covered(to.ip())
}
