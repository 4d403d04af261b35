//! What this workload proves itself with and what it trusts, as plain DER. Parsing PEM and watching files is
//! `control`'s work; building a TLS configuration from this is `tls`'s.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A certificate chain with its private key: leaf first, every entry DER.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateChain {
    /// DER certificates, the leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// The leaf's private key as PKCS#8, SEC1 or PKCS#1 DER; wiped when dropped.
    pub key: Arc<Zeroizing<Vec<u8>>>,
}

/// Trust anchors, DER.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bundle {
    /// DER certificates of the roots.
    pub roots: Vec<Vec<u8>>,
}

/// The workload's identity as of one rotation.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Counts rotations: grows by one with each.
    pub version: u64,
    /// What we present.
    pub chain: Arc<CertificateChain>,
    /// What we verify mesh peers with.
    pub bundle: Arc<Bundle>,
    /// Where it came from, for people: a path or `embeddedCa`.
    pub source: Arc<str>,
}

impl fmt::Debug for CertificateChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateChain({} certificates, key withheld)", self.certificates.len())
    }
}
