//! Upstreams: a cluster, its endpoints, and how TLS is spoken to each.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidering_identity::{Bundle, CertificateChain, ExpectedSans};

use crate::route::without_port;
use crate::{Origin, TlsVersion};

/// A named set of endpoints with what is common to them. Pools, ejection and balancer state live in the core, keyed
/// by cluster name and endpoint address.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// `outbound|PORT|SUBSET|HOST`, `inbound|PORT||`, `PassthroughCluster`, `BlackHoleCluster`.
    pub name: Arc<str>,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// How one is picked.
    pub balancer: BalancerKind,
    /// Deadline of connect and handshake together; Istio's default is 10 s.
    pub connect_timeout: Duration,
    /// An idle pooled HTTP connection is closed after this; `None` is no limit.
    pub idle_timeout: Option<Duration>,
    /// Opaque bytes that do not flow either way for this long end; `None` is no limit.
    pub tcp_idle_timeout: Option<Duration>,
    /// At most this many connections; `None` is no limit.
    pub max_connections: Option<u32>,
    /// Requests per connection; `None` is no limit, 1 turns keep-alive off.
    pub max_requests_per_connection: Option<u32>,
    /// The resource that made it.
    pub origin: Origin,
}

/// Where a cluster's endpoints come from.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// Written in the configuration; may be empty.
    Static(Vec<Arc<Endpoint>>),
    /// The address that the client dialled, in plain text (`PassthroughCluster`, `InboundPassthroughCluster`).
    OriginalDestination,
    /// Nothing is ever reached (`BlackHoleCluster`).
    BlackHole,
}

/// How an endpoint is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BalancerKind {
    /// The less loaded of two drawn at random: Istio's default.
    #[default]
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// Drawn at random.
    Random,
}

/// An upstream's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(Arc<Path>),
}

/// One upstream and how to speak to it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where to connect.
    pub address: Address,
    /// Relative share; at least 1.
    pub weight: u32,
    /// `None`: plain text. Chosen per endpoint by auto mTLS. Clusters share one `Arc` among endpoints.
    pub tls: Option<Arc<UpstreamTls>>,
    /// The line that lists it.
    pub origin: Origin,
}

/// TLS towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// What we present.
    pub certificate: ClientCertificate,
    /// What we verify with.
    pub trust: Trust,
    /// What name we ask for.
    pub sni: Sni,
    /// Who may answer. With [`Trust::Mesh`] secure naming on the raw leaf; else exact names in place of the host.
    pub sans: Arc<ExpectedSans>,
    /// What we offer.
    pub alpn: UpstreamAlpn,
    /// Oldest version offered.
    pub min_version: TlsVersion,
    /// TLS 1.2 cipher suites by name; empty takes the default list.
    pub cipher_suites: Vec<Arc<str>>,
    /// Who chose TLS here: the DestinationRule, or auto mTLS.
    pub origin: Origin,
}

/// What we present to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// SIMPLE.
    None,
    /// ISTIO_MUTUAL and auto mTLS: the workload's current credentials.
    Workload,
    /// MUTUAL: read from files when the configuration was compiled.
    Files(Arc<CertificateChain>),
}

/// How an upstream's certificate is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Chain to the workload's bundle, then one SPIFFE id in our trust domains, then `sans`.
    Mesh,
    /// Chain to these roots, then the host's name or `sans`, by the TLS library's own verifier.
    Roots(Arc<Bundle>),
    /// `insecureSkipVerify`.
    Unverified,
}

/// The name we ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sni {
    /// As configured, or `outbound_.PORT_.SUBSET_.HOST`.
    Fixed(Arc<str>),
    /// The request's host, without port.
    RequestHost,
    /// None is sent.
    None,
}

impl Sni {
    /// The name asked for; `authority` is the request's, if there is one: case and port do not count.
    pub fn name(&self, authority: Option<&str>) -> Option<Arc<str>> {
        match self {
            Self::Fixed(name) => Some(name.clone()),
            Self::RequestHost => authority.map(|host| without_port(host).to_ascii_lowercase().into()),
            Self::None => None,
        }
    }
}

/// What we offer by ALPN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAlpn {
    /// Istio's tokens for the protocol in use: `istio-http/1.1, istio, http/1.1` for HTTP/1.1, `istio` for TCP. Never
    /// `istio-peer-exchange`.
    Mesh,
    /// Exactly these; may be empty. `h2` joins where HTTP/2 is spoken.
    Fixed(Vec<Arc<str>>),
}

/// What is spoken within TLS towards an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inside {
    /// Bytes.
    Tcp,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl UpstreamAlpn {
    /// Istio's tokens by the protocol inside. `istio-peer-exchange` is never offered: a server that
    /// selected it would expect a message that we do not send.
    pub fn offered(&self, inside: Inside) -> Vec<Arc<str>> {
        let tokens: &[&str] = match (self, inside) {
            (Self::Fixed(tokens), Inside::Http2) if tokens.is_empty() => &["h2"],
            (Self::Fixed(tokens), _) => return tokens.clone(),
            (Self::Mesh, Inside::Tcp) => &["istio"],
            (Self::Mesh, Inside::Http10) => &["istio-http/1.0", "istio", "http/1.0"],
            (Self::Mesh, Inside::Http11) => &["istio-http/1.1", "istio", "http/1.1"],
            (Self::Mesh, Inside::Http2) => &["istio-h2", "istio", "h2"],
        };
        tokens.iter().map(|&token| token.into()).collect()
    }
}
