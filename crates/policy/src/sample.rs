//! Nodes of a Snapshot for this crate's tests, with everything that a test does not talk about left at its default.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sidering_identity::{Leaf, PeerIdentity, SpiffeId};

use crate::{
    Address, BalancerKind, BindAddress, Chain, ChainMatch, Cluster, Destination, Direction, Discovery,
    DownstreamTls, Endpoint, Facts, Filter, HeaderEdits, Listener, Origin, Peer, Route, RouteAction,
    RouteMatch, Transport,
};

pub(crate) fn origin(name: &str) -> Origin {
    Origin { kind: "Sample".into(), name: name.into(), rule: None, position: None }
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A route that answers 200 itself.
pub(crate) fn responding(name: &str, matches: Vec<RouteMatch>) -> Route {
    Route {
        name: name.into(),
        matches,
        action: RouteAction::Respond { status: 200, body: "".into() },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        timeout: None,
        origin: origin(name),
    }
}

/// A chain that says in its name what it does; `tls` terminates mTLS.
pub(crate) fn chain(name: &str, matches: ChainMatch, tls: bool) -> Arc<Chain> {
    Arc::new(Chain {
        name: name.into(),
        matches,
        tls: tls.then(|| Arc::new(DownstreamTls::default())),
        filter: Filter::Tcp(Arc::new([])),
        authorization: Arc::default(),
        origin: origin(name),
    })
}

pub(crate) fn listener(chains: Vec<Arc<Chain>>) -> Listener {
    Listener {
        name: "inbound".into(),
        bind: BindAddress::Tcp(address("0.0.0.0:15006")),
        direction: Direction::Inbound,
        captures: true,
        chains: chains.into(),
        detection_timeout: None,
        origin: origin("listener"),
    }
}

/// A connection from 10.0.0.9 to `port` of 10.0.0.1.
pub(crate) fn facts(port: u16, transport: Transport, protocols: &[&str]) -> Facts {
    Facts {
        peer: Peer(address("10.0.0.9:40000")),
        destination: Destination(SocketAddr::new([10, 0, 0, 1].into(), port)),
        transport,
        server_name: None,
        application_protocols: protocols.iter().map(|name| (*name).into()).collect(),
    }
}

pub(crate) fn peer(principal: &str) -> PeerIdentity {
    let leaf = Leaf {
        uris: vec![],
        dns: vec![],
        serial: String::new(),
        subject: String::new(),
        not_before: 0,
        not_after: 0,
    };
    PeerIdentity { id: SpiffeId::parse(&format!("spiffe://{principal}")).unwrap(), leaf }
}

pub(crate) fn cluster(name: &str, discovery: Discovery) -> Cluster {
    Cluster {
        name: name.into(),
        discovery,
        balancer: BalancerKind::default(),
        connect_timeout: Duration::from_secs(10),
        idle_timeout: Some(Duration::from_secs(60)),
        tcp_idle_timeout: None,
        max_connections: None,
        max_requests_per_connection: None,
        origin: origin(name),
    }
}

pub(crate) fn endpoint(port: u16, weight: u32) -> Arc<Endpoint> {
    let address = Address::Tcp(SocketAddr::new([10, 0, 0, 2].into(), port));
    Arc::new(Endpoint { address, weight, tls: None, origin: origin("endpoint") })
}
