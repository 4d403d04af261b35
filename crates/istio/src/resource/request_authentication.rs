//! RequestAuthentication: tokens are not verified yet. It is read so that mistakes are found, and it says so; rules
//! that ask for tokens fail closed by themselves. What it says of claims holds where a token is taken as verified.

use std::sync::Arc;

use super::authorization::read_targets;
use super::meta::{Labels, Meta, envelope, read_selector};
use crate::read::Reader;
use crate::yaml::Node;

#[derive(Debug)]
pub(crate) struct RequestAuthentication {
    pub(crate) meta: Meta,
    pub(crate) selector: Labels,
    /// For gateways and waypoints: never a sidecar's.
    pub(crate) targeted: bool,
    pub(crate) rules: Vec<TokenRule>,
}

/// One issuer's tokens.
#[derive(Debug)]
pub(crate) struct TokenRule {
    pub(crate) issuer: Arc<str>,
    /// Claims that are words with spaces between them.
    pub(crate) space_delimited: Vec<Arc<str>>,
}

pub(crate) fn parse(document: &Node, r: &mut Reader<'_>) -> Option<RequestAuthentication> {
    let (meta, spec) = envelope(document, "RequestAuthentication", r)?;
    r.warning(document, "tokens are not verified yet: rules that need them match nothing when they allow, and everything when they deny");
    let mut policy =
        RequestAuthentication { meta, selector: Labels::new(), targeted: false, rules: Vec::new() };
    let Some(spec) = spec else { return Some(policy) };
    let mut f = r.fields(spec, "RequestAuthentication spec");
    let selector = f.get("selector");
    policy.selector = selector.map(|n| read_selector(n, r)).unwrap_or_default();
    policy.targeted = read_targets(&mut f, selector, r);
    if let Some(n) = f.get("jwtRules") {
        for rule in r.list(n, "jwtRules") {
            policy.rules.extend(read_rule(rule, r));
        }
    }
    f.done(r);
    Some(policy)
}

fn read_rule(node: &Node, r: &mut Reader<'_>) -> Option<TokenRule> {
    let mut f = r.fields(node, "jwtRules");
    let issuer = match f.get("issuer") {
        Some(n) => r.text(n, "issuer"),
        None => {
            r.error(node, "a token rule needs an `issuer`");
            None
        }
    };
    let mut space_delimited = Vec::new();
    if let Some(n) = f.get("spaceDelimitedClaims") {
        r.at_most(64, n, "spaceDelimitedClaims");
        space_delimited = r.names(n, "spaceDelimitedClaims");
    }
    f.allow(&[
        "audiences",
        "jwksUri",
        "jwks_uri",
        "jwks",
        "fromHeaders",
        "fromParams",
        "fromCookies",
        "outputPayloadToHeader",
        "outputClaimToHeaders",
        "forwardOriginalToken",
        "timeout",
    ]);
    f.done(r);
    Some(TokenRule { issuer: issuer?.into(), space_delimited })
}
