//! What a connection is set up with: parameters in, one immutable configuration per backend out. Built off the data
//! path, once per rotation, shared by all cores. A pair of key and certificate that does not fit is refused here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sidering_identity::{Bundle, CertificateChain};

use crate::TicketKeys;
#[cfg(feature = "boring")]
use crate::boring;
#[cfg(feature = "rustls")]
use crate::rustls;

/// Which TLS library does the work; only those compiled in exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// rustls on aws-lc-rs.
    #[cfg(feature = "rustls")]
    Rustls,
    /// BoringSSL.
    #[cfg(feature = "boring")]
    Boring,
}

/// A backend that does not exist or is not compiled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS backend {name:?} is not compiled in; there is: {}", names(Backend::compiled()))]
pub struct UnknownBackend {
    /// The name that was asked for.
    pub name: String,
}

/// Protocol versions, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What a server side is built from. A client certificate is always required.
#[derive(Clone, Copy, Debug)]
pub struct ServerParameters<'a> {
    /// What we present.
    pub chain: &'a CertificateChain,
    /// What client certificates are verified with.
    pub clients: &'a Bundle,
    /// In order of preference. Istio's own tokens (`istio`, `istio-*`) are only ever matched on, never selected, and
    /// are left out.
    pub alpn: &'a [Arc<str>],
    /// The oldest version that is spoken.
    pub min_version: Version,
    /// TLS 1.2 suites by OpenSSL or IANA name, in order; empty: the backend's own. TLS 1.3 suites are always on.
    pub cipher_suites: &'a [Arc<str>],
    /// Shared by every configuration with the same verification context, and by nothing else.
    pub tickets: &'a TicketKeys,
}

/// What a client side is built from. Resumption never crosses two configurations: build one per cluster, version of
/// our credentials, bundle and expected names.
#[derive(Clone, Copy, Debug)]
pub struct ClientParameters<'a> {
    /// What we present when asked.
    pub certificate: Option<&'a CertificateChain>,
    /// How the server is verified.
    pub trust: ClientTrust<'a>,
    /// Offered in this order.
    pub alpn: &'a [Arc<str>],
    /// The oldest version that is spoken.
    pub min_version: Version,
    /// TLS 1.2 suites by OpenSSL or IANA name, in order; empty: the backend's own.
    pub cipher_suites: &'a [Arc<str>],
}

/// How a client verifies the server.
#[derive(Clone, Copy, Debug)]
pub enum ClientTrust<'a> {
    /// Mesh: the chain and the serverAuth usage; the caller checks the identity on the leaf.
    Chain(&'a Bundle),
    /// The chain, the usage and the name.
    Host(
        &'a Bundle,
        /// Exact URI or DNS names, any of which is good, instead of the host; empty: the host that is dialled.
        &'a [Arc<str>],
    ),
    /// Whoever answers.
    Unverified,
}

/// A server's side, ready for connections.
#[derive(Clone, Debug)]
pub struct ServerConfig(pub(crate) ServerSide);

/// A client's side with its session store, ready for connections.
#[derive(Clone, Debug)]
pub struct ClientConfig(pub(crate) ClientSide);

#[derive(Clone, Debug)]
pub(crate) enum ServerSide {
    #[cfg(feature = "rustls")]
    Rustls(rustls::Server),
    #[cfg(feature = "boring")]
    Boring(boring::Server),
}

#[derive(Clone, Debug)]
pub(crate) enum ClientSide {
    #[cfg(feature = "rustls")]
    Rustls(rustls::Client),
    #[cfg(feature = "boring")]
    Boring(boring::Client),
}

/// Why a configuration cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFailure {
    /// A certificate of our own chain is unusable.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The private key is unusable.
    #[error("private key: {0}")]
    Key(String),
    /// Both are fine, but not for each other.
    #[error("the private key does not fit the certificate")]
    KeyMismatch,
    /// The bundle is empty or a root in it is unusable.
    #[error("trust bundle: {0}")]
    Bundle(String),
    /// A cipher suite the backend does not have.
    #[error("cipher suite {name:?} is not supported; there is: {supported}")]
    CipherSuite {
        /// As configured.
        name: String,
        /// OpenSSL names, comma-separated.
        supported: String,
    },
    /// An ALPN name that is empty or longer than 255 bytes.
    #[error("ALPN name {0:?} is not 1 to 255 bytes long")]
    Alpn(String),
    /// The backend refused for another reason.
    #[error("{0}")]
    Other(String),
}

impl Backend {
    /// Those compiled in, the preferred one first.
    pub fn compiled() -> &'static [Backend] {
        &[
            #[cfg(feature = "rustls")]
            Backend::Rustls,
            #[cfg(feature = "boring")]
            Backend::Boring,
        ]
    }

    /// Builds a server's side.
    ///
    /// # Errors
    /// [`ConfigFailure`]; nothing is half-built.
    pub fn server_config(self, parameters: &ServerParameters<'_>) -> Result<ServerConfig, ConfigFailure> {
        let alpn = wire_names(parameters.alpn.iter().filter(|name| !is_istio_token(name)))?;
        let side: Result<ServerSide, ConfigFailure> = match self {
            #[cfg(feature = "rustls")]
            Backend::Rustls => rustls::Server::build(parameters, alpn).map(ServerSide::Rustls),
            #[cfg(feature = "boring")]
            Backend::Boring => boring::Server::build(parameters, alpn).map(ServerSide::Boring),
        };
        side.map(ServerConfig)
    }

    /// Builds a client's side.
    ///
    /// # Errors
    /// [`ConfigFailure`]; nothing is half-built.
    pub fn client_config(self, parameters: &ClientParameters<'_>) -> Result<ClientConfig, ConfigFailure> {
        let alpn = wire_names(parameters.alpn.iter())?;
        let side: Result<ClientSide, ConfigFailure> = match self {
            #[cfg(feature = "rustls")]
            Backend::Rustls => rustls::Client::build(parameters, alpn).map(ClientSide::Rustls),
            #[cfg(feature = "boring")]
            Backend::Boring => boring::Client::build(parameters, alpn).map(ClientSide::Boring),
        };
        side.map(ClientConfig)
    }
}

/// Istio's tokens exist only so that a server can pick a chain by what is *offered*; whoever selects
/// `istio-peer-exchange` must speak it (istio-proxy's metadata exchange).
fn is_istio_token(name: &str) -> bool {
    name == "istio" || name.starts_with("istio-")
}

fn wire_names<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Result<Vec<Vec<u8>>, ConfigFailure> {
    names
        .map(|name| match name.len() {
            1..=255 => Ok(name.as_bytes().to_vec()),
            _ => Err(ConfigFailure::Alpn(name.to_string())),
        })
        .collect()
}

fn names(backends: &[Backend]) -> String {
    backends.iter().map(Backend::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            #[cfg(feature = "rustls")]
            Backend::Rustls => "rustls",
            #[cfg(feature = "boring")]
            Backend::Boring => "boring",
        })
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        let found = Backend::compiled().iter().find(|backend| backend.to_string() == name);
        found.copied().ok_or_else(|| UnknownBackend { name: name.to_owned() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        })
    }
}
