//! TLS of the demo's partners outside the mesh: a plain server on the library that the sidecars use. Our own server
//! side is not for them, since it never takes a client without a certificate.
// Without a backend there is no partner; see `sidering_tls`.
#![cfg_attr(not(any(feature = "rustls", feature = "boring")), allow(unused, unreachable_code))]

use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(feature = "rustls")]
use std::sync::Arc;

use sidering_identity::{Bundle, CertificateChain};
use sidering_tls::Backend;

/// A partner's side, ready for connections.
#[derive(Clone)]
pub(super) enum Partner {
    #[cfg(feature = "rustls")]
    Rustls(Arc<rustls::ServerConfig>),
    #[cfg(feature = "boring")]
    Boring(boring::ssl::SslAcceptor),
}

/// A connection after its handshake.
pub(super) struct Accepted {
    pub(super) stream: Box<dyn Plaintext>,
    /// What the client has presented, DER.
    pub(super) leaf: Option<Vec<u8>>,
}

/// What is inside of TLS.
pub(super) trait Plaintext: Read + Write {}

impl<S: Read + Write> Plaintext for S {}

impl Partner {
    /// Presents `chain`; with `clients` it insists on a certificate from one of them.
    pub(super) fn new(
        backend: Backend,
        chain: &CertificateChain,
        clients: Option<&Bundle>,
    ) -> Result<Self, String> {
        match backend {
            #[cfg(feature = "rustls")]
            Backend::Rustls => on_rustls(chain, clients).map(Self::Rustls),
            #[cfg(feature = "boring")]
            Backend::Boring => on_boring(chain, clients).map(Self::Boring).map_err(|error| error.to_string()),
            #[allow(
                unreachable_patterns,
                reason = "a workspace's tests compile in more than this crate asks for"
            )]
            absent => Err(format!("{absent:?} is not compiled in")),
        }
    }

    /// Does the handshake.
    pub(super) fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        match *self {
            #[cfg(feature = "rustls")]
            Self::Rustls(ref config) => {
                let connection =
                    rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                let mut stream = rustls::StreamOwned::new(connection, stream);
                stream.conn.complete_io(&mut stream.sock)?;
                let leaf = stream.conn.peer_certificates().and_then(|chain| chain.first());
                let leaf = leaf.map(|leaf| leaf.to_vec());
                Ok(Accepted { stream: Box::new(stream), leaf })
            }
            #[cfg(feature = "boring")]
            Self::Boring(ref acceptor) => {
                let stream = acceptor.accept(stream).map_err(|error| io::Error::other(error.to_string()))?;
                let leaf = stream.ssl().peer_certificate().map(|leaf| leaf.to_der()).transpose()?;
                Ok(Accepted { stream: Box::new(stream), leaf })
            }
        }
    }
}

#[cfg(feature = "rustls")]
fn on_rustls(
    chain: &CertificateChain,
    clients: Option<&Bundle>,
) -> Result<Arc<rustls::ServerConfig>, String> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig};

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(bundle) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(bundle.roots.iter().cloned().map(CertificateDer::from));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
        }
    };
    let certificates = chain.certificates.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::try_from(chain.key.to_vec()).map_err(str::to_owned)?;
    builder.with_single_cert(certificates, key).map(Arc::new).map_err(|error| error.to_string())
}

#[cfg(feature = "boring")]
fn on_boring(
    chain: &CertificateChain,
    clients: Option<&Bundle>,
) -> Result<boring::ssl::SslAcceptor, boring::error::ErrorStack> {
    use boring::pkey::PKey;
    use boring::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
    use boring::x509::{X509, store::X509StoreBuilder};

    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_certificate(X509::from_der(&chain.certificates[0])?.as_ref())?;
    for issuer in &chain.certificates[1..] {
        builder.add_extra_chain_cert(X509::from_der(issuer)?)?;
    }
    builder.set_private_key(PKey::private_key_from_der(&chain.key)?.as_ref())?;
    // Without one BoringSSL refuses to resume where clients are verified.
    builder.set_session_id_context(b"partner")?;
    match clients {
        None => builder.set_verify(SslVerifyMode::NONE),
        Some(bundle) => {
            let mut roots = X509StoreBuilder::new()?;
            for root in &bundle.roots {
                roots.add_cert(&X509::from_der(root)?)?;
            }
            builder.set_verify_cert_store(roots.build())?;
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
    }
    Ok(builder.build())
}
