//! Authorization as data: a rule is any of its sources and any of its operations and all of its conditions, each a
//! list of `[not] any(matchers)`. Istio's AuthorizationPolicy and Envoy's RBAC both normalise to it.

use std::sync::Arc;

use ipnet::IpNet;

use crate::{Origin, StringMatch};

/// Everything that decides who may pass a chain, already reduced to the chain's protocol (HTTP-only fields on TCP).
#[derive(Debug, Default)]
pub struct Authorization {
    /// A match denies. Evaluated before `allow`.
    pub deny: Vec<Rule>,
    /// `None`: no ALLOW policy is in force, everything passes. `Some`: something must match.
    pub allow: Option<Allow>,
    /// CUSTOM rules: no provider is supported, so a match is denied.
    pub custom: Vec<Rule>,
    /// Evaluated and recorded only.
    pub dry_run: Vec<Rule>,
}

/// The ALLOW policies in force.
#[derive(Debug)]
pub struct Allow {
    /// May be empty: then everything is denied.
    pub rules: Vec<Rule>,
    /// The policies, for saying who would have had to allow it.
    pub policies: Vec<Origin>,
}

/// One rule of one policy.
#[derive(Debug)]
pub struct Rule {
    /// Any must hold; empty holds.
    pub sources: Vec<Vec<Clause>>,
    /// Any must hold; empty holds.
    pub operations: Vec<Vec<Clause>>,
    /// All must hold.
    pub when: Vec<Clause>,
    /// The policy, the rule's index and its line.
    pub origin: Origin,
}

/// `[not] any(matchers)`.
#[derive(Debug)]
pub struct Clause {
    /// Holds when none matches.
    pub negated: bool,
    /// Any of these.
    pub any: Vec<Matcher>,
}

/// One test of one attribute. A missing attribute never matches.
#[derive(Debug)]
pub enum Matcher {
    /// The peer's principal, without scheme.
    Principal(StringMatch),
    /// The namespace in the peer's id.
    Namespace(StringMatch),
    /// The peer's service account, `namespace` and `account`, literal.
    ServiceAccount(Arc<str>, Arc<str>),
    /// The trust domain in the peer's id.
    TrustDomain(StringMatch),
    /// The immediate peer's address.
    SourceIp(IpNet),
    /// The client's address as forwarded by trusted peers.
    RemoteIp(IpNet),
    /// The destination address.
    DestinationIp(IpNet),
    /// The destination port: the workload's.
    Port(u16),
    /// `:authority` as sent, ignoring case.
    Host(StringMatch),
    /// `:method`.
    Method(StringMatch),
    /// The normalised path without its query.
    Path(PathPattern),
    /// Any value of a header; the name is lower case, `:authority` and `:method` included.
    Header(Arc<str>, StringMatch),
    /// The SNI.
    ServerName(StringMatch),
    /// A condition that cannot be evaluated, decided to fail closed: never (in ALLOW) or always (in DENY).
    Constant(bool),
}

/// How a path is matched.
#[derive(Debug)]
pub enum PathPattern {
    /// Exact, prefix, suffix or presence.
    Plain(StringMatch),
    /// `{*}` one non-empty segment, `{**}` any run of characters.
    Template(Arc<str>),
}
