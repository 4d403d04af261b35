//! The rustls backend (on aws-lc-rs): configurations and ticket keys out of plain DER.

mod failure;
mod session;
mod suites;
mod verify;

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, InconsistentKeys, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use sidering_identity::{Bundle, CertificateChain};

use crate::{ClientParameters, ClientTrust, ConfigFailure, Failure, ServerParameters, Version};

pub(crate) use session::Connection;
use verify::ServerVerifier;

/// Client sessions kept per configuration, eight tickets for each name; the room is taken at once.
const SESSIONS: usize = 256;
/// Towards the mesh there is a configuration for each name.
const MESH_SESSIONS: usize = 16;

/// Two configurations that differ in their ALPN list only: rustls ends a handshake in which nothing overlaps, Envoy
/// and BoringSSL go on without a protocol.
#[derive(Clone)]
pub(crate) struct Server {
    with_alpn: Arc<ServerConfig>,
    without: Arc<ServerConfig>,
}

#[derive(Clone)]
pub(crate) struct Client(Arc<ClientConfig>);

/// None: no random bytes, so no tickets.
pub(crate) struct Tickets(Option<Arc<dyn ProducesTickets>>);

impl Tickets {
    pub(crate) fn new() -> Self {
        Self(aws_lc_rs::Ticketer::new().ok())
    }
}

impl Server {
    pub(crate) fn build(from: &ServerParameters<'_>, alpn: Vec<Vec<u8>>) -> Result<Self, ConfigFailure> {
        let provider = provider(from.cipher_suites)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(from.clients)?, provider.clone())
            .build()
            .map_err(|error| ConfigFailure::Bundle(error.to_string()))?;
        let key = certified_key(from.chain, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(from.min_version))
            .map_err(other)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if let Some(tickets) = &from.tickets.rustls().0 {
            config.ticketer = tickets.clone();
        }
        config.send_tls13_tickets = 1;
        let without = Arc::new(config.clone());
        config.alpn_protocols = alpn;
        Ok(Self { with_alpn: Arc::new(config), without })
    }

    pub(crate) fn session(&self, offered: &[Box<str>]) -> Result<Connection, Failure> {
        let ours = &self.with_alpn.alpn_protocols;
        let overlap = offered.iter().any(|name| ours.iter().any(|own| own == name.as_bytes()));
        let config = if overlap { &self.with_alpn } else { &self.without };
        let connection = ServerConnection::new(config.clone()).map_err(failure::from_rustls)?;
        Ok(Connection::new(connection.into()))
    }
}

impl Client {
    pub(crate) fn build(from: &ClientParameters<'_>, alpn: Vec<Vec<u8>>) -> Result<Self, ConfigFailure> {
        let provider = provider(from.cipher_suites)?;
        let verifier = ServerVerifier::new(&from.trust, provider.signature_verification_algorithms)?;
        let key = from.certificate.map(|chain| certified_key(chain, &provider)).transpose()?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(from.min_version))
            .map_err(other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match key {
            Some(key) => {
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(match from.trust {
            ClientTrust::Chain(_) => MESH_SESSIONS,
            ClientTrust::Host(..) | ClientTrust::Unverified => SESSIONS,
        });
        config.alpn_protocols = alpn;
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn session(&self, server_name: Option<&str>) -> Result<Connection, Failure> {
        let name = server_name.unwrap_or(verify::NOBODY);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Failure::Other(format!("{name:?} cannot be a server name")))?;
        let connection = ClientConnection::new(self.0.clone(), name).map_err(failure::from_rustls)?;
        Ok(Connection::new(connection.into()))
    }
}

fn provider(cipher_suites: &[Arc<str>]) -> Result<Arc<CryptoProvider>, ConfigFailure> {
    Ok(Arc::new(CryptoProvider {
        cipher_suites: suites::select(cipher_suites)?,
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    }))
}

fn versions(min: Version) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match min {
        Version::Tls12 => &BOTH,
        Version::Tls13 => &BOTH[..1],
    }
}

fn roots(bundle: &Bundle) -> Result<Arc<RootCertStore>, ConfigFailure> {
    let mut store = RootCertStore::empty();
    for root in &bundle.roots {
        store
            .add(CertificateDer::from_slice(root).into_owned())
            .map_err(|error| ConfigFailure::Bundle(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(ConfigFailure::Bundle("it has no certificate".into()));
    }
    Ok(Arc::new(store))
}

/// Refuses a key that does not fit: aws-lc keys know their public half, so there is no doubt.
fn certified_key(chain: &CertificateChain, provider: &CryptoProvider) -> Result<CertifiedKey, ConfigFailure> {
    let der = PrivateKeyDer::try_from(chain.key.as_slice())
        .map_err(|reason| ConfigFailure::Key(reason.to_owned()))?
        .clone_key();
    let key =
        provider.key_provider.load_private_key(der).map_err(|error| ConfigFailure::Key(error.to_string()))?;
    let certificates: Vec<_> =
        chain.certificates.iter().map(|der| CertificateDer::from_slice(der).into_owned()).collect();
    if certificates.is_empty() {
        return Err(ConfigFailure::Certificate("the chain is empty".into()));
    }
    let certified = CertifiedKey::new(certificates, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch | InconsistentKeys::Unknown)) => {
            Err(ConfigFailure::KeyMismatch)
        }
        Err(error) => Err(ConfigFailure::Certificate(error.to_string())),
    }
}

fn other(error: rustls::Error) -> ConfigFailure {
    ConfigFailure::Other(error.to_string())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server(rustls)")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(rustls)")
    }
}
