//! Who may do what (istio-semantics 4.2). A `Permit` is made here and nowhere else; the relay takes it by value.

use std::net::IpAddr;

use sidering_identity::PeerIdentity;

use crate::{Authorization, Facts, Origin, Refusal};

/// Proof that a connection or request was authorized. It cannot be made outside this module.
#[derive(Debug)]
pub struct Permit {
    /// The rule that allowed it; `None` where no ALLOW policy is in force.
    by: Option<Origin>,
    /// A dry-run policy would have denied it.
    would_deny: Option<Origin>,
}

impl Permit {
    /// The rule that allowed it; `None` where no ALLOW policy is in force.
    pub fn by(&self) -> Option<&Origin> {
        self.by.as_ref()
    }

    /// The dry-run policy that would have denied it.
    pub fn would_deny(&self) -> Option<&Origin> {
        self.would_deny.as_ref()
    }
}

/// What rules read of an HTTP request.
pub struct RequestFacts<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:authority`, as sent.
    pub authority: &'a str,
    /// The normalised path without its query.
    pub path: &'a str,
    /// The client's address as forwarded by trusted peers; the immediate peer's otherwise.
    pub remote_ip: IpAddr,
    /// Every value of a header, by lower-case name, in order.
    pub header: &'a dyn Fn(&str, &mut dyn FnMut(&str)),
}

/// May this request pass? `peer` is absent for plaintext.
///
/// # Errors
/// [`Refusal::Denied`], [`Refusal::NotAllowed`], [`Refusal::CustomUnsupported`].
pub fn authorize(
    _rules: &Authorization,
    _facts: &Facts,
    _peer: Option<&PeerIdentity>,
    _request: &RequestFacts<'_>,
) -> Result<Permit, Refusal> {
    todo!("policy")
}

/// May this connection pass? Asked once, before payload, and again on each publish.
///
/// # Errors
/// As [`authorize`].
pub fn authorize_tcp(
    _rules: &Authorization,
    _facts: &Facts,
    _peer: Option<&PeerIdentity>,
) -> Result<Permit, Refusal> {
    todo!("policy")
}
