//! How a client verifies a server: the chain and the usage always, the name where the configuration says so.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::roots;
use crate::leaf::presents_any;
use crate::{ClientTrust, ConfigFailure};

/// Stands for "no name": an address is never sent as SNI.
pub(super) const NOBODY: &str = "0.0.0.0";

fn is_nobody(name: &ServerName<'_>) -> bool {
    name.to_str() == NOBODY
}

#[derive(Debug)]
pub(super) struct ServerVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust {
    Chain(Arc<RootCertStore>),
    Host(Arc<RootCertStore>),
    Names(Arc<RootCertStore>, Vec<Arc<str>>),
    Unverified,
}

impl ServerVerifier {
    pub(super) fn new(
        trust: &ClientTrust<'_>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, ConfigFailure> {
        let trust = match *trust {
            ClientTrust::Chain(bundle) => Trust::Chain(roots(bundle)?),
            ClientTrust::Host(bundle, []) => Trust::Host(roots(bundle)?),
            ClientTrust::Host(bundle, names) => Trust::Names(roots(bundle)?, names.to_vec()),
            ClientTrust::Unverified => Trust::Unverified,
        };
        Ok(Self { trust, algorithms })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (Trust::Chain(roots) | Trust::Host(roots) | Trust::Names(roots, _)) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let leaf = ParsedCertificate::try_from(end_entity)?;
        // With the serverAuth usage, which is required where the extension is there at all.
        verify_server_cert_signed_by_trust_anchor(&leaf, roots, intermediates, now, self.algorithms.all)?;
        match &self.trust {
            Trust::Chain(_) | Trust::Unverified => {}
            Trust::Host(_) if is_nobody(server_name) => return Err(CertificateError::NotValidForName.into()),
            Trust::Host(_) => verify_server_name(&leaf, server_name)?,
            Trust::Names(_, names) => match presents_any(end_entity, names) {
                Ok(true) => {}
                Ok(false) => return Err(CertificateError::NotValidForName.into()),
                Err(_) => return Err(CertificateError::BadEncoding.into()),
            },
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
