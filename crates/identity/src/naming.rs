//! Whom a verified certificate names, and whether that is who may run this service (secure naming).
//! The TLS backend has verified the chain of this very leaf; identity is decided here, once, for every backend.

use std::sync::Arc;

use crate::{Leaf, SanError, SpiffeId, TrustDomain, read_leaf};

/// A peer whose chain verified and whose identity was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The one SPIFFE id.
    pub id: SpiffeId,
    /// The certificate's other facts.
    pub leaf: Leaf,
}

/// One identity that may run a service, and where that was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExpectedSan {
    /// The exact name: a SPIFFE id, or any URI or DNS name that a resource lists.
    pub name: Arc<str>,
    /// Where it came from, for people: `endpoint 127.1.2.3 (mesh.yaml:12:3)`.
    pub from: Arc<str>,
}

/// Who may answer for a service. Empty: Istio checks nothing; we still want one SPIFFE id in our trust domains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExpectedSans(pub Vec<ExpectedSan>);

/// Why a peer is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The leaf could not be read.
    #[error(transparent)]
    San(#[from] SanError),
    /// No URI name is a SPIFFE id.
    #[error("the certificate has no SPIFFE id")]
    NoSpiffeId,
    /// More than one URI name: which one is meant is anybody's guess (X509-SVID section 2).
    #[error("the certificate has {0} URI names; an SVID has exactly one")]
    ManyUris(usize),
    /// Its trust domain is not one of ours.
    #[error("{id} is not in the trust domains {accepted}")]
    TrustDomain {
        /// Who it says it is.
        id: SpiffeId,
        /// Comma-separated.
        accepted: String,
    },
    /// Secure naming: it is somebody, but not somebody who may run this service.
    #[error("presented {presented}, expected one of {expected}")]
    Naming {
        /// The names in the certificate, comma-separated.
        presented: String,
        /// Comma-separated names.
        expected: String,
    },
}

/// Reads the identity of a mesh peer: exactly one URI SAN, a SPIFFE id, in one of `domains`.
///
/// # Errors
/// Every [`IdentityError`] but `Naming`.
pub fn peer_identity(leaf_der: &[u8], domains: &[TrustDomain]) -> Result<PeerIdentity, IdentityError> {
    PeerIdentity::of(read_leaf(leaf_der)?, domains)
}

impl PeerIdentity {
    /// The same of a leaf that was read.
    ///
    /// # Errors
    /// As [`peer_identity`], but for `San`.
    pub fn of(leaf: Leaf, domains: &[TrustDomain]) -> Result<Self, IdentityError> {
        let id = match leaf.uris.as_slice() {
            [] => return Err(IdentityError::NoSpiffeId),
            [uri] => SpiffeId::parse(uri).map_err(|_| IdentityError::NoSpiffeId)?,
            many => return Err(IdentityError::ManyUris(many.len())),
        };
        if domains.iter().all(|domain| domain.as_str() != id.trust_domain()) {
            return Err(IdentityError::TrustDomain {
                id,
                accepted: list(domains.iter().map(TrustDomain::as_str)),
            });
        }
        Ok(Self { id, leaf })
    }
}

impl ExpectedSans {
    /// Secure naming: is one of the certificate's URI or DNS names expected? An empty set expects nobody in
    /// particular and passes. Names are compared byte for byte: no wildcard, no pattern, no case folding.
    ///
    /// # Errors
    /// [`IdentityError::Naming`].
    pub fn check(&self, leaf: &Leaf) -> Result<(), IdentityError> {
        let presented = || leaf.uris.iter().chain(&leaf.dns);
        let expected = |name: &String| self.0.iter().any(|san| *san.name == **name);
        if self.0.is_empty() || presented().any(expected) {
            return Ok(());
        }
        Err(IdentityError::Naming {
            presented: list(presented().map(String::as_str)),
            expected: list(self.0.iter().map(|san| &*san.name)),
        })
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
