//! What tests begin with: YAML in, a Snapshot and answers out.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use sidering_identity::{Leaf, PeerIdentity, SpiffeId};
use sidering_policy::{
    Chain, Destination, Facts, Filter, Peer, Permit, Position, Refusal, RequestFacts, RouteRequest, Snapshot,
    Transport, accept, authorize, authorize_tcp, route,
};

use crate::{CaptureListeners, Effective, MeshConfig, Resources, Source, Workload, compile, parse};

pub(crate) fn diagnostics(text: &str) -> Vec<String> {
    parse(&[Source { file: "x.yaml".into(), text }]).1.iter().map(ToString::to_string).collect()
}

pub(crate) fn resources(text: &str) -> Resources {
    let (resources, diagnostics) = parse(&[Source { file: "x.yaml".into(), text }]);
    let errors: Vec<_> = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    resources
}

pub(crate) fn mesh(text: &str) -> MeshConfig {
    let (mesh, diagnostics) = MeshConfig::parse(&Source { file: "mesh.yaml".into(), text }, None);
    assert_eq!(diagnostics, []);
    mesh
}

/// `shop/orders` by its label `app`, at 127.0.0.2.
pub(crate) fn workload(namespace: &str, app: &str) -> Workload {
    Workload {
        name: app.into(),
        namespace: namespace.into(),
        service_account: app.into(),
        labels: [("app".to_owned(), app.to_owned())].into(),
        addresses: vec!["127.0.0.2".parse().unwrap()],
    }
}

pub(crate) fn effective(text: &str) -> Effective {
    Effective::of(&resources(text), &MeshConfig::default(), &workload("shop", "orders"))
}

pub(crate) fn snapshot_of(effective: &Effective, capture: &CaptureListeners) -> Snapshot {
    compile(effective, capture, &no_files).unwrap()
}

/// What the bootstrap file says of a capture listener.
pub(crate) fn captured(address: &str) -> (SocketAddr, Position) {
    (address.parse().unwrap(), Position { file: "sidering.yaml".into(), line: 7, column: 22 })
}

/// The Snapshot of `shop/orders` without capture.
pub(crate) fn snapshot(text: &str) -> Snapshot {
    snapshot_of(&effective(text), &CaptureListeners::default())
}

/// Errors of compiling for `shop/orders` without capture.
pub(crate) fn compile_errors(text: &str) -> Vec<String> {
    let errors = compile(&effective(text), &CaptureListeners::default(), &no_files).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

pub(crate) fn no_files(path: &Path) -> Result<Vec<u8>, String> {
    Err(format!("{} is not there", path.display()))
}

/// What a client opens with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Opens<'a> {
    /// With these ALPN tokens.
    Tls(&'a [&'a str]),
    /// Sniffed as.
    Raw(&'a str),
}

pub(crate) fn facts(port: u16, opens: Opens<'_>) -> Facts {
    let (transport, protocols) = match opens {
        Opens::Tls(tokens) => (Transport::Tls, tokens.to_vec()),
        Opens::Raw("") => (Transport::Raw, Vec::new()),
        Opens::Raw(sniffed) => (Transport::Raw, vec![sniffed]),
    };
    Facts {
        peer: Peer("10.9.9.9:40000".parse().unwrap()),
        destination: Destination(([127, 0, 0, 2], port).into()),
        transport,
        server_name: None,
        application_protocols: protocols.into_iter().map(Box::from).collect(),
    }
}

pub(crate) fn accepted<'s>(
    snapshot: &'s Snapshot,
    listener: &str,
    port: u16,
    opens: Opens<'_>,
) -> Result<&'s Arc<Chain>, Refusal> {
    accept(snapshot, listener, &facts(port, opens))
}

pub(crate) fn peer(principal: &str) -> PeerIdentity {
    let leaf = Leaf {
        uris: vec![format!("spiffe://{principal}")],
        dns: Vec::new(),
        serial: String::new(),
        subject: String::new(),
        not_before: 0,
        not_after: 0,
    };
    PeerIdentity { id: SpiffeId::parse(&format!("spiffe://{principal}")).unwrap(), leaf }
}

/// An HTTP request of `from` (empty: plaintext): method, path, host and one header.
pub(crate) struct Asks<'a> {
    pub(crate) port: u16,
    pub(crate) from: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) header: (&'a str, &'a str),
}

impl Default for Asks<'_> {
    fn default() -> Self {
        Self { port: 8080, from: "", method: "GET", path: "/", host: "orders", header: ("", "") }
    }
}

/// Asks the rules of an HTTP chain.
pub(crate) fn authorized(chain: &Chain, asks: &Asks<'_>) -> Result<Permit, Refusal> {
    let identity = (!asks.from.is_empty()).then(|| peer(asks.from));
    let facts = facts(asks.port, Opens::Raw("http/1.1"));
    let (name, value) = asks.header;
    let request = RequestFacts {
        method: asks.method,
        authority: asks.host,
        path: asks.path,
        remote_ip: facts.peer.0.ip(),
        token: sidering_policy::Token::default(),
        header: &|asked, found| {
            if asked == name {
                found(value.as_bytes());
            }
        },
    };
    authorize(&chain.authorization, &facts, identity.as_ref(), &request)
}

pub(crate) fn authorized_tcp(chain: &Chain, port: u16, from: &str) -> Result<Permit, Refusal> {
    let identity = (!from.is_empty()).then(|| peer(from));
    authorize_tcp(&chain.authorization, &facts(port, Opens::Raw("")), identity.as_ref())
}

/// What a route decides, in words: the cluster, `status 404`, or the refusal.
pub(crate) fn routed(snapshot: &Snapshot, listener: &str, asks: &Asks<'_>) -> String {
    let chain = accepted(snapshot, listener, asks.port, Opens::Raw("http/1.1")).unwrap();
    let Filter::Http(table) = &chain.filter else { panic!("{} is not HTTP", chain.name) };
    let (name, value) = asks.header;
    let request = RouteRequest {
        method: asks.method,
        authority: asks.host,
        scheme: "http",
        path: asks.path,
        header: &|asked, found| {
            if asked == name && !name.is_empty() {
                found(value.as_bytes());
            }
        },
    };
    match route(snapshot, table, &request, 0) {
        Ok(routed) => match (&routed.route.action, routed.cluster) {
            (sidering_policy::RouteAction::Respond { status, .. }, _) => format!("status {status}"),
            (_, Some(cluster)) => cluster.name.to_string(),
            (_, None) => "nowhere".to_owned(),
        },
        Err(refusal) => refusal.to_string(),
    }
}
