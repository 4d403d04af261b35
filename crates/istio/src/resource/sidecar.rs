//! Sidecar: which listeners a workload has and which services it sees.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use sidering_policy::{Address, Position};

use super::meta::{Labels, Meta, envelope};
use super::port::{Port, read_port};
use super::service_entry::read_workload_selector;
use crate::OutboundTrafficPolicy;
use crate::host;
use crate::mesh::read_outbound_policy;
use crate::read::{Fields, Reader};
use crate::yaml::Node;

#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) meta: Meta,
    /// Empty: every workload of the namespace.
    pub(crate) selector: Labels,
    /// Empty: inbound listeners come from services.
    pub(crate) ingress: Vec<Ingress>,
    /// Empty: every service is seen.
    pub(crate) egress: Vec<Egress>,
    pub(crate) outbound_traffic_policy: Option<(OutboundTrafficPolicy, Position)>,
}

#[derive(Debug)]
pub(crate) struct Ingress {
    pub(crate) port: Port,
    pub(crate) bind: Option<ListenAt>,
    pub(crate) capture: CaptureMode,
    pub(crate) default_endpoint: Option<DefaultEndpoint>,
    pub(crate) position: Position,
}

#[derive(Debug)]
pub(crate) struct Egress {
    /// Absent: for every port that no other entry names.
    pub(crate) port: Option<Port>,
    pub(crate) bind: Option<ListenAt>,
    pub(crate) capture: CaptureMode,
    pub(crate) hosts: Vec<HostSelector>,
    pub(crate) position: Position,
}

/// `bind`: an address, or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAt {
    Ip(IpAddr),
    Unix(Arc<Path>),
}

/// `defaultEndpoint`: where inbound traffic is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DefaultEndpoint {
    At(Address),
    /// `0.0.0.0:port`: the workload's own address.
    Instance(u16),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CaptureMode {
    #[default]
    Default,
    Iptables,
    None,
}

/// `namespace/host` of an egress entry.
#[derive(Clone, Debug)]
pub(crate) struct HostSelector {
    /// `None`: any.
    namespace: Option<Arc<str>>,
    host: Arc<str>,
}

impl HostSelector {
    /// `*/*`.
    pub(crate) fn everything() -> Self {
        Self { namespace: None, host: "*".into() }
    }

    pub(crate) fn matches(&self, namespace: &str, host: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace) && host::is_within(host, &self.host)
    }
}

pub(crate) fn parse(document: &Node, r: &mut Reader<'_>) -> Option<Sidecar> {
    let (meta, spec) = envelope(document, "Sidecar", r)?;
    let mut sidecar = Sidecar {
        meta,
        selector: Labels::new(),
        ingress: Vec::new(),
        egress: Vec::new(),
        outbound_traffic_policy: None,
    };
    let Some(spec) = spec else { return Some(sidecar) };
    let mut f = r.fields(spec, "Sidecar spec");
    if let Some(n) = f.get("workloadSelector") {
        sidecar.selector = read_workload_selector(n, "labels", r);
    }
    if let Some(n) = f.get("ingress") {
        for item in r.list(n, "ingress") {
            sidecar.ingress.extend(read_ingress(item, r));
        }
    }
    if let Some(n) = f.get("egress") {
        let namespace = sidecar.meta.namespace.clone();
        for item in r.list(n, "egress") {
            sidecar.egress.extend(read_egress(item, &namespace, r));
        }
    }
    if let Some(n) = f.get("outboundTrafficPolicy") {
        sidecar.outbound_traffic_policy = Some((read_outbound_policy(n, r), r.position(n)));
    }
    f.later(&["inboundConnectionPool"], r);
    f.done(r);
    Some(sidecar)
}

fn read_ingress(node: &Node, r: &mut Reader<'_>) -> Option<Ingress> {
    let mut f = r.fields(node, "ingress");
    let port = f.get("port").map(|n| read_port(n, false, r));
    if port.is_none() {
        r.error(node, "an ingress listener needs a `port`");
    }
    let (bind, capture) = read_binding(&mut f, r);
    let default_endpoint = f.get("defaultEndpoint").and_then(|n| read_default_endpoint(n, r));
    // Its own certificates, or plaintext behind a chain that Istio would close: not to be passed over.
    f.refuse(&["tls"], "mutual TLS of the mesh is what PeerAuthentication says", r);
    f.later(&["connectionPool"], r);
    f.done(r);
    Some(Ingress { port: port??, bind, capture, default_endpoint, position: r.position(node) })
}

fn read_egress(node: &Node, namespace: &str, r: &mut Reader<'_>) -> Option<Egress> {
    let mut f = r.fields(node, "egress");
    let (bind, capture) = read_binding(&mut f, r);
    let unix = matches!(bind, Some(ListenAt::Unix(_)));
    let port = f.get("port").map(|n| read_port(n, unix, r));
    if bind.is_some() && port.is_none() {
        r.error(node, "an egress listener with a `bind` needs a `port`");
    }
    let listed = f.get("hosts").map(|n| r.texts(n, "hosts")).unwrap_or_default();
    let none = listed.is_empty();
    let hosts = listed.into_iter().filter_map(|(text, at)| read_host(text, namespace, at, r)).collect();
    if none {
        r.error(node, "an egress listener needs `hosts`, such as [\"./*\"]");
    }
    f.done(r);
    let port = match port {
        Some(None) => return None,
        Some(port) => port,
        None => None,
    };
    Some(Egress { port, bind, capture, hosts, position: r.position(node) })
}

fn read_binding(f: &mut Fields<'_>, r: &mut Reader<'_>) -> (Option<ListenAt>, CaptureMode) {
    let words =
        [("DEFAULT", CaptureMode::Default), ("IPTABLES", CaptureMode::Iptables), ("NONE", CaptureMode::None)];
    let capture = f.get("captureMode").and_then(|n| r.one_of(n, "captureMode", &words)).unwrap_or_default();
    let bind = f.get("bind").and_then(|n| {
        let text = r.text(n, "bind")?;
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            if capture == CaptureMode::Iptables {
                r.error(n, "a Unix socket cannot be captured; write captureMode: NONE");
            }
            return Some(ListenAt::Unix(Path::new(path).into()));
        }
        let ip = text.parse().map(ListenAt::Ip).ok();
        if ip.is_none() {
            r.error(n, format!("bind {text:?} is neither an IP address nor unix:///path"));
        }
        ip
    });
    (bind, capture)
}

fn read_default_endpoint(node: &Node, r: &mut Reader<'_>) -> Option<DefaultEndpoint> {
    let text = r.text(node, "defaultEndpoint")?;
    if let Some(path) = text.strip_prefix("unix://") {
        if path.starts_with('/') {
            return Some(DefaultEndpoint::At(Address::Unix(Path::new(path).into())));
        }
        r.error(node, format!("defaultEndpoint {text:?} needs an absolute path: unix:///run/app.sock"));
        return None;
    }
    let address: Option<SocketAddr> = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    match address {
        Some(address) if address.ip().is_unspecified() => Some(DefaultEndpoint::Instance(address.port())),
        // Istio allows only its own pod; so an ingress listener cannot be a way to elsewhere.
        Some(address) if address.ip().is_loopback() => Some(DefaultEndpoint::At(Address::Tcp(address))),
        _ => {
            let example = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080);
            r.error(
                node,
                format!(
                    "defaultEndpoint {text:?} must be {example}, [::1]:8080, 0.0.0.0:8080 or unix:///path"
                ),
            );
            None
        }
    }
}

fn read_host(text: &str, namespace: &str, at: &Node, r: &mut Reader<'_>) -> Option<HostSelector> {
    let Some((own, name)) = text.split_once('/') else {
        r.error(at, format!("egress host {text:?} must be namespace/host, such as ./* or */{text}"));
        return None;
    };
    if let Err(message) = host::check(name) {
        r.error(at, message);
        return None;
    }
    let own = match own {
        "*" => None,
        "." => Some(namespace.into()),
        // `~/*`: nothing at all. No namespace has this name.
        other => Some(Arc::from(other)),
    };
    Some(HostSelector { namespace: own, host: name.into() })
}
