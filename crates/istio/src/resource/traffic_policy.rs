//! DestinationRule's trafficPolicy: what is said for all ports, and per port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sidering_policy::BalancerKind;

use super::client_tls::{self, ClientTls};
use super::meta::Meta;
use crate::read::{Fields, Reader};
use crate::yaml::Node;

#[derive(Clone, Debug, Default)]
pub(crate) struct TrafficPolicy {
    pub(crate) settings: Settings,
    /// By service port. An entry replaces `settings` whole: what it leaves out is the default, not inherited.
    pub(crate) ports: BTreeMap<u16, Settings>,
}

/// The four things a policy can say; `None` is not said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) tls: Option<Arc<ClientTls>>,
    pub(crate) balancer: Option<Balancer>,
    pub(crate) pool: Option<ConnectionPool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balancer {
    Kind(BalancerKind),
    /// The address that was dialled.
    Passthrough,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionPool {
    pub(crate) max_connections: Option<u32>,
    pub(crate) connect_timeout: Option<Duration>,
    /// Of pooled HTTP connections.
    pub(crate) idle_timeout: Option<Duration>,
    /// Of opaque bytes.
    pub(crate) tcp_idle_timeout: Option<Duration>,
    pub(crate) max_requests_per_connection: Option<u32>,
}

pub(crate) fn read(node: &Node, meta: &Meta, r: &mut Reader<'_>) -> TrafficPolicy {
    let mut f = r.fields(node, "trafficPolicy");
    if f.is_empty() {
        r.error(node, "trafficPolicy must set at least one field");
    }
    let settings = read_settings(&mut f, meta, r);
    let mut ports = BTreeMap::new();
    if let Some(n) = f.get("portLevelSettings") {
        for item in r.list(n, "portLevelSettings") {
            if let Some((port, settings)) = read_port_settings(item, meta, r) {
                ports.entry(port).or_insert(settings);
            }
        }
    }
    f.later(&["tunnel", "proxyProtocol", "retryBudget"], r);
    f.done(r);
    TrafficPolicy { settings, ports }
}

fn read_port_settings(node: &Node, meta: &Meta, r: &mut Reader<'_>) -> Option<(u16, Settings)> {
    let mut f = r.fields(node, "portLevelSettings");
    let port = f.get("port").and_then(|n| {
        let mut p = r.fields(n, "port");
        let number = p.get("number").and_then(|n| r.port(n, "port number"));
        p.done(r);
        number
    });
    if port.is_none() {
        r.error(node, "a portLevelSettings entry needs port: {number: ...}");
    }
    if !["tls", "loadBalancer", "connectionPool", "outlierDetection"]
        .into_iter()
        .any(|name| f.get(name).is_some())
    {
        r.error(
            node,
            "a portLevelSettings entry must set tls, loadBalancer, connectionPool or outlierDetection",
        );
    }
    let settings = read_settings(&mut f, meta, r);
    f.done(r);
    Some((port?, settings))
}

fn read_settings(f: &mut Fields<'_>, meta: &Meta, r: &mut Reader<'_>) -> Settings {
    let tls = f.get("tls").and_then(|n| r.strictly(|r| client_tls::read(n, meta, r))).map(Arc::new);
    let balancer = f.get("loadBalancer").and_then(|n| read_balancer(n, r));
    let pool = f.get("connectionPool").map(|n| read_pool(n, r));
    f.later(&["outlierDetection"], r);
    Settings { tls, balancer, pool }
}

fn read_balancer(node: &Node, r: &mut Reader<'_>) -> Option<Balancer> {
    let words = [
        ("UNSPECIFIED", Balancer::Kind(BalancerKind::LeastRequest)),
        ("LEAST_REQUEST", Balancer::Kind(BalancerKind::LeastRequest)),
        ("LEAST_CONN", Balancer::Kind(BalancerKind::LeastRequest)),
        ("ROUND_ROBIN", Balancer::Kind(BalancerKind::RoundRobin)),
        ("RANDOM", Balancer::Kind(BalancerKind::Random)),
        ("PASSTHROUGH", Balancer::Passthrough),
    ];
    let mut f = r.fields(node, "loadBalancer");
    let balancer = f.get("simple").and_then(|n| r.one_of(n, "simple", &words));
    f.later(
        &["consistentHash", "localityLbSetting", "zoneAwareLbSetting", "warmup", "warmupDurationSecs"],
        r,
    );
    f.done(r);
    balancer
}

fn read_pool(node: &Node, r: &mut Reader<'_>) -> ConnectionPool {
    let mut f = r.fields(node, "connectionPool");
    if f.is_empty() {
        r.error(node, "connectionPool must not be empty; remove it or set tcp or http");
    }
    let mut pool = ConnectionPool::default();
    let limit = |count: Option<u32>| count.filter(|count| *count > 0);
    if let Some(n) = f.get("tcp") {
        let mut t = r.fields(n, "tcp");
        let connections = t.get("maxConnections");
        pool.max_connections = limit(connections.and_then(|n| r.count(n, "maxConnections")));
        pool.connect_timeout = t.get("connectTimeout").and_then(|n| r.duration(n, "connectTimeout"));
        pool.tcp_idle_timeout = t.get("idleTimeout").and_then(|n| r.duration(n, "idleTimeout"));
        t.later(&["maxConnections", "tcpKeepalive", "maxConnectionDuration"], r);
        t.done(r);
    }
    if let Some(n) = f.get("http") {
        let mut h = r.fields(n, "http");
        let requests = h.get("maxRequestsPerConnection");
        pool.max_requests_per_connection =
            limit(requests.and_then(|n| r.count(n, "maxRequestsPerConnection")));
        pool.idle_timeout = h.get("idleTimeout").and_then(|n| r.duration(n, "idleTimeout"));
        h.later(
            &[
                "http1MaxPendingRequests",
                "http2MaxRequests",
                "maxRetries",
                "h2UpgradePolicy",
                "useClientProtocol",
                "maxConcurrentStreams",
                "http2KeepAlive",
            ],
            r,
        );
        h.done(r);
    }
    f.done(r);
    pool
}
