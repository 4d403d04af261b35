//! PEM files to DER, with errors that say what should have been there. No file is read here.

use std::sync::Arc;

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sidering_identity::CertificateChain;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

/// Why a certificate and a key make no pair: which of the two files is to blame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PairProblem {
    Certificate(String),
    Key(String),
    /// Both are sound, and the key belongs to another certificate.
    Mismatch,
}

/// Every certificate of a PEM file, in order; at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("not PEM: {error}"))?;
    if found.is_empty() {
        return Err("no certificate in it; expected `-----BEGIN CERTIFICATE-----`".to_owned());
    }
    for (index, der) in found.iter().enumerate() {
        parse_x509_certificate(der).map_err(|error| format!("certificate {}: {error}", index + 1))?;
    }
    Ok(found.into_iter().map(|der| der.to_vec()).collect())
}

/// A chain, leaf first, with the key that belongs to the leaf.
pub(crate) fn chain(certificate: &[u8], key: &[u8]) -> Result<CertificateChain, PairProblem> {
    let certificates = certificates(certificate).map_err(PairProblem::Certificate)?;
    let key = private_key(key).map_err(PairProblem::Key)?;
    // A kind of key that rcgen cannot read is left to the TLS backend, which checks the pair once more.
    if let Ok(pair) = KeyPair::try_from(&key)
        && !has_public_key(&certificates[0], &pair)
    {
        return Err(PairProblem::Mismatch);
    }
    Ok(CertificateChain { certificates, key: Arc::new(Zeroizing::new(key.secret_der().to_vec())) })
}

/// Is this the public key of that certificate?
pub(crate) fn has_public_key(certificate: &[u8], key: &KeyPair) -> bool {
    parse_x509_certificate(certificate)
        .is_ok_and(|(_, parsed)| parsed.public_key().raw == key.subject_public_key_info())
}

/// The first organization of a certificate's subject.
pub(crate) fn organization(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let organization = parsed.subject().iter_organization().next()?.as_str().ok()?;
    Some(organization.to_owned())
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let encrypted = pem.windows(9).any(|window| window == b"ENCRYPTED");
        match encrypted {
            true => "the private key is encrypted; decrypt it with `openssl pkey`".to_owned(),
            false => "no private key in it; expected `-----BEGIN PRIVATE KEY-----` (PKCS#8, SEC1 or PKCS#1)"
                .to_owned(),
        }
    })
}
