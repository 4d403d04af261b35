//! RequestAuthentication: tokens are not verified yet. It is read so that mistakes are found, and it says so; rules
//! that ask for tokens fail closed by themselves.

use super::meta::{Meta, envelope, read_selector};
use crate::read::Reader;
use crate::yaml::Node;

pub(crate) fn parse(document: &Node, r: &mut Reader<'_>) -> Option<Meta> {
    let (meta, spec) = envelope(document, "RequestAuthentication", r)?;
    r.warning(document, "tokens are not verified yet: rules that need them match nothing when they allow, and everything when they deny");
    let Some(spec) = spec else { return Some(meta) };
    let mut f = r.fields(spec, "RequestAuthentication spec");
    if let Some(n) = f.get("selector") {
        read_selector(n, r);
    }
    f.allow(&["targetRef", "targetRefs"]);
    if let Some(n) = f.get("jwtRules") {
        for rule in r.list(n, "jwtRules") {
            let mut rule_fields = r.fields(rule, "jwtRules");
            match rule_fields.get("issuer") {
                Some(n) => {
                    r.text(n, "issuer");
                }
                None => r.error(rule, "a token rule needs an `issuer`"),
            }
            rule_fields.allow(&[
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
                "spaceDelimitedClaims",
            ]);
            rule_fields.done(r);
        }
    }
    f.done(r);
    Some(meta)
}
