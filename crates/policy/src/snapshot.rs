//! The tree that the data path reads, Envoy-shaped: listeners, filter-chain matches, clusters, virtual hosts.
//! STRICT is not a flag here: it is the absence of a plaintext chain. Built whole off the data path, shared by `Arc`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidering_identity::{SpiffeId, TrustDomain};

use crate::{
    Authorization, Chains, Cluster, Origin, PathNormalization, RouteTable, Transport, WeightedCluster,
};

/// Counts publishes: grows by one with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A map by names of the configuration, looked up for every request: its hash is fast, and need not withstand chosen
/// keys.
pub type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Everything this sidecar does, as of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Set by the publisher.
    pub version: Version,
    /// In the order in which they are bound. Names are unique.
    pub listeners: Vec<Arc<Listener>>,
    /// By name, such as `outbound|8080|v1|orders.shop.svc.cluster.local` or `inbound|8080||`.
    pub clusters: Map<Arc<str>, Arc<Cluster>>,
    /// Who this workload is; `By=` in XFCC. Absent only in tests.
    pub identity: Option<SpiffeId>,
    /// Trust domains of mesh peers: ours, its aliases, and those of further CAs.
    pub trust_domains: Arc<[TrustDomain]>,
    /// Applied to every request path before routing, authorization and forwarding.
    pub path_normalization: PathNormalization,
    /// Warnings of the compiler, for `status`.
    pub warnings: Vec<String>,
}

/// Which way a listener's traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards our workload.
    Inbound,
    /// From our workload.
    Outbound,
}

impl Direction {
    /// As metrics, records and logs spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Where a listener is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(Arc<Path>),
}

/// A bound address and the chains that its connections may take.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Unique; connections find their listener again by it after a publish.
    pub name: Arc<str>,
    /// Where to bind.
    pub bind: BindAddress,
    /// Inbound or outbound.
    pub direction: Direction,
    /// A capture listener: the destination is SO_ORIGINAL_DST, and traffic aimed at its own port is refused.
    pub captures: bool,
    /// Candidates; `accept` picks the most specific (port, then server name, transport, application protocols).
    pub chains: Chains,
    /// How long to wait for the client's first bytes; `None` waits for ever (Istio's default).
    pub detection_timeout: Option<Duration>,
    /// The resource that made it.
    pub origin: Origin,
}

/// What a connection must be to take a chain. Empty lists and `None` match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainMatch {
    /// The destination's port.
    pub destination_port: Option<u16>,
    /// TLS or raw.
    pub transport: Option<Transport>,
    /// Any of these is the destination address: how captured traffic tells services on one port apart.
    pub destinations: Vec<IpAddr>,
    /// Any of these was offered (TLS) or sniffed (raw).
    pub application_protocols: Vec<Arc<str>>,
    /// Any of these is the SNI; `*.x` is a wildcard.
    pub server_names: Vec<Arc<str>>,
}

/// One way to handle a connection.
#[derive(Clone, Debug)]
pub struct Chain {
    /// For people: `inbound 8080 mtls http`.
    pub name: Arc<str>,
    /// What takes it.
    pub matches: ChainMatch,
    /// Terminate TLS with these parameters; `None` takes the bytes as they are.
    pub tls: Option<Arc<DownstreamTls>>,
    /// What is done with the bytes.
    pub filter: Filter,
    /// Who may pass. Inbound only; outbound chains hold an empty one, which allows.
    pub authorization: Arc<Authorization>,
    /// Who decided the mode of this chain: the PeerAuthentication, the Sidecar, or a default.
    pub origin: Origin,
}

/// Protocol of a chain, and where its traffic goes.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Per request: authorize, route.
    Http(Arc<RouteTable>),
    /// Per connection: the clusters by weight.
    Tcp(Arc<[WeightedCluster]>),
}

/// TLS protocol versions that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Parameters of a chain that terminates mesh mTLS. A client certificate is always required
/// and verified to the workload's bundle; its one SPIFFE id must be in the Snapshot's trust domains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DownstreamTls {
    /// Our preference; never holds an `istio` token. Where nothing overlaps, none is selected.
    pub alpn: Vec<Arc<str>>,
    /// Oldest version taken.
    pub min_version: TlsVersion,
    /// IANA or OpenSSL names for TLS 1.2 from MeshConfig; empty takes the default list.
    pub cipher_suites: Vec<Arc<str>>,
}

impl Snapshot {
    /// The listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| &*listener.name == name)
    }

    /// The cluster of that name.
    pub fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.get(name)
    }
}
