//! Authorization as data: a rule is any of its sources and any of its operations and all of its conditions, each a
//! list of `[not] any(matchers)`. Istio's AuthorizationPolicy and Envoy's RBAC both normalise to it.

use std::sync::Arc;

use ipnet::IpNet;

use crate::{Origin, StringMatch};

/// The rules of the policies in force, by action, already reduced to the chain's protocol.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// CUSTOM rules: no provider is supported, so a match is denied. Evaluated first.
    pub custom: Vec<Rule>,
    /// A match denies.
    pub deny: Vec<Rule>,
    /// `None`: no ALLOW policy is in force, everything passes. `Some`: something must match.
    pub allow: Option<Allow>,
}

/// The ALLOW policies in force.
#[derive(Clone, Debug)]
pub struct Allow {
    /// May be empty: then everything is denied.
    pub rules: Vec<Rule>,
    /// The policies, for saying who would have had to allow it.
    pub policies: Arc<[Origin]>,
}

/// One rule of one policy.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Any must hold; empty holds.
    pub sources: Vec<Vec<Clause>>,
    /// Any must hold; empty holds.
    pub operations: Vec<Vec<Clause>>,
    /// All must hold.
    pub when: Vec<Clause>,
    /// The policy, the rule's index and its line. Shared, since every request that it allows keeps it.
    pub origin: Arc<Origin>,
}

/// `[not] any(matchers)`.
#[derive(Clone, Debug)]
pub struct Clause {
    /// Holds when none matches.
    pub negated: bool,
    /// Any of these. Empty cannot be evaluated: never in ALLOW, always in DENY.
    pub any: Vec<Matcher>,
}

/// One test of one attribute. A missing attribute never matches.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// The peer's principal, without scheme.
    Principal(StringMatch),
    /// The namespace in the peer's id: what stands between `/ns/` and a later `/`.
    Namespace(StringMatch),
    /// The peer's service account, `namespace` and `account`, literal.
    ServiceAccount(Arc<str>, Arc<str>),
    /// The trust domain in the peer's id.
    TrustDomain(StringMatch),
    /// The immediate peer's address.
    SourceIp(IpNet),
    /// The client's address as forwarded by trusted peers; on TCP the immediate peer's.
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
    /// A header. The name is lower case; of the pseudo-headers there are `:authority` (also called `host`) and
    /// `:method`, others cannot be evaluated. A header with several values is read so that repeating it never gains
    /// anything: where a match opens (ALLOW, or `not` in DENY) every value must match, where it closes one is enough,
    /// or all of them joined by `,`.
    Header(Arc<str>, StringMatch),
    /// Issuer and subject of the request's token.
    RequestPrincipal(StringMatch, StringMatch),
    /// A claim of the request's token, by its path; of a list one item.
    Claim(Arc<[Arc<str>]>, StringMatch),
    /// The SNI.
    ServerName(StringMatch),
    /// A condition that cannot be evaluated, decided to fail closed: never (in ALLOW) or always (in DENY).
    Constant(bool),
}

/// How a path is matched.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Exact, prefix, suffix or presence.
    Plain(StringMatch),
    /// `{*}` and `{**}`.
    Template(PathTemplate),
}

/// A path with operators: `{*}` is one non-empty segment, `{**}` any run of characters, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate(Arc<str>);

/// Why a text is no path template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{**}` was not the last operator.
    #[error("`{{**}}` must be the last operator of a path template")]
    NotLast,
    /// An operator that is only a part of its segment, or another use of braces.
    #[error(
        "{0:?}: in a path template `{{*}}` and `{{**}}` are whole segments, and braces have no other use"
    )]
    Operator(String),
    /// A literal segment with a character that it may not have.
    #[error("{0:?}: segments of a path template are made of A-Z, a-z, 0-9 and -._~%!$&'()+,;:@=")]
    Literal(String),
}

impl PathPattern {
    /// A template where `pattern` has an operator, else Istio's wildcard grammar.
    ///
    /// # Errors
    /// [`TemplateError`]: braces are an error in a pattern without operator, too.
    pub fn parse(pattern: &str) -> Result<Self, TemplateError> {
        if pattern.contains(['{', '}']) {
            return PathTemplate::parse(pattern).map(Self::Template);
        }
        Ok(Self::Plain(StringMatch::parse(pattern)))
    }

    /// Does it match a path without query?
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Plain(value) => value.matches(path),
            Self::Template(PathTemplate(template)) => template_matches(template, path),
        }
    }
}

impl PathTemplate {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks and keeps a template.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(template: &str) -> Result<Self, TemplateError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&b);
        let mut tail = false;
        for segment in template.split('/') {
            match segment {
                "{*}" | "{**}" if tail => return Err(TemplateError::NotLast),
                "{*}" => {}
                "{**}" => tail = true,
                _ if segment.contains(['{', '}']) => return Err(TemplateError::Operator(segment.to_owned())),
                _ if !segment.bytes().all(legal) => return Err(TemplateError::Literal(segment.to_owned())),
                _ => {}
            }
        }
        Ok(Self(template.into()))
    }
}

/// At most one `{**}`, which is the last operator: so nothing is ever tried twice.
fn template_matches(template: &str, path: &str) -> bool {
    let Some((literal, rest)) = template.split_once('{') else {
        return template == path;
    };
    let Some(path) = path.strip_prefix(literal) else {
        return false;
    };
    match rest.strip_prefix("*}") {
        Some(rest) => {
            let segment = path.find('/').unwrap_or(path.len());
            segment > 0 && template_matches(rest, &path[segment..])
        }
        None => rest.strip_prefix("**}").is_some_and(|rest| path.ends_with(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::{PathPattern, TemplateError};

    #[test]
    fn templates() {
        for (template, path, expected) in [
            ("/a/{**}", "/a/", true),
            ("/a/{**}", "/a/b/c", true),
            ("/a/{**}", "/a", false),
            ("/s/{**}/c", "/s//c", true),
            ("/s/{**}/c", "/s/x/y/c", true),
            ("/s/{**}/c", "/s/c", false),
            ("/foo/{*}/bar/{**}", "/foo/a/bar/x/y", true),
            ("/foo/{*}/bar/{**}", "/foo//bar/x", false),
            ("/foo/{*}", "/foo/a", true),
            ("/foo/{*}", "/foo/a/b", false),
            ("/foo/{*}", "/foo/", false),
            ("/{*}/{*}", "/a/b", true),
            ("/foo*", "/foobar", true),
            ("/foo", "/foo/", false),
        ] {
            assert_eq!(PathPattern::parse(template).unwrap().matches(path), expected, "{template} {path}");
        }
    }

    #[test]
    fn templates_that_istio_refuses() {
        assert_eq!(PathPattern::parse("/{**}/a/{*}").unwrap_err(), TemplateError::NotLast);
        assert_eq!(PathPattern::parse("/a{*}").unwrap_err(), TemplateError::Operator("a{*}".into()));
        assert_eq!(PathPattern::parse("/{a}").unwrap_err(), TemplateError::Operator("{a}".into()));
        assert_eq!(PathPattern::parse("/*/{*}").unwrap_err(), TemplateError::Literal("*".into()));
    }
}
