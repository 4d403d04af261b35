//! SPIFFE ids and trust domains, as text that was checked once (SPIFFE-ID section 2; Istio's `pkg/spiffe`).
//! Comparison is literal, byte for byte. Called by configuration and by every handshake.

use std::fmt;
use std::sync::Arc;

/// A trust domain: `[a-z0-9._-]+` as SPIFFE-ID 2.1 wants it; upper case is kept out, as in SPIFFE.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

/// `spiffe://<trust domain>/<path>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Length of the trust domain within `text`, which starts after the scheme.
    domain: usize,
}

/// Why a text is no SPIFFE id or trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// The scheme is missing.
    #[error("a SPIFFE id starts with `spiffe://`")]
    Scheme,
    /// The trust domain is empty or has a character outside `[a-z0-9._-]`.
    #[error("trust domain {0:?}: only a-z, 0-9, '.', '-' and '_' are allowed")]
    TrustDomain(String),
    /// The path is empty, has an empty or dot segment, or a character outside `[a-zA-Z0-9._-]`.
    #[error(
        "path {0:?}: segments are made of a-z, A-Z, 0-9, '.', '-' and '_', and are never empty, '.' or '..'"
    )]
    Path(String),
    /// Longer than 2048 bytes.
    #[error("longer than 2048 bytes")]
    TooLong,
}

const SCHEME: &str = "spiffe://";

impl TrustDomain {
    /// Checks and keeps a trust domain.
    pub fn parse(text: &str) -> Result<Self, SpiffeError> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > 255 || !text.bytes().all(legal) {
            return Err(SpiffeError::TrustDomain(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The trust domain as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SpiffeId {
    /// Checks and keeps a SPIFFE id; custom paths (`spiffe://td/anything`) are legal.
    pub fn parse(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > 2048 {
            return Err(SpiffeError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeError::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or_else(|| SpiffeError::Path(String::new()))?;
        TrustDomain::parse(domain)?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.bytes().all(legal);
        if !path.split('/').all(segment) {
            return Err(SpiffeError::Path(path.to_owned()));
        }
        Ok(Self { text: text.into(), domain: domain.len() })
    }

    /// The id of a service account: `spiffe://<td>/ns/<namespace>/sa/<account>`.
    pub fn of_account(domain: &TrustDomain, namespace: &str, account: &str) -> Result<Self, SpiffeError> {
        if let Some(part) = [namespace, account].into_iter().find(|part| part.contains('/')) {
            return Err(SpiffeError::Path(part.to_owned()));
        }
        Self::parse(&format!("{SCHEME}{}/ns/{namespace}/sa/{account}", domain.as_str()))
    }

    /// The whole id, with its scheme.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id without its scheme: what Istio's policies call a principal.
    pub fn principal(&self) -> &str {
        &self.text[SCHEME.len()..]
    }

    /// The trust domain's text.
    pub fn trust_domain(&self) -> &str {
        &self.principal()[..self.domain]
    }

    /// Namespace and service account, where the id has Istio's form (`/ns/<namespace>/sa/<account>`).
    pub fn account(&self) -> Option<(&str, &str)> {
        let mut parts = self.principal()[self.domain + 1..].split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("ns"), Some(namespace), Some("sa"), Some(account), None) => Some((namespace, account)),
            _ => None,
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
