//! Tests one rule against one connection or request. Where a test has no clear answer it falls to the closed side,
//! which depends on what a match brings about. Called by `authorize` only; allocates nothing but to join a repeated header.

use std::net::IpAddr;

use sidering_identity::{PeerIdentity, SpiffeId};

use crate::rule::{Clause, Matcher, Rule};
use crate::{Facts, RequestFacts, StringMatch};

/// Who asks, and for what.
pub(crate) struct Subject<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) peer: Option<&'a PeerIdentity>,
    /// Absent on TCP.
    pub(crate) request: Option<&'a RequestFacts<'a>>,
}

/// What the match of a rule brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// How many values of a repeated header must match.
#[derive(Clone, Copy)]
enum Quantifier {
    Every,
    Any,
}

impl Subject<'_> {
    /// Does the rule match?
    pub(crate) fn meets(&self, rule: &Rule, effect: Effect) -> bool {
        let all = |clauses: &[Clause]| clauses.iter().all(|clause| self.satisfies(clause, effect));
        let any = |lists: &[Vec<Clause>]| lists.is_empty() || lists.iter().any(|list| all(list));
        any(&rule.sources) && any(&rule.operations) && all(&rule.when)
    }

    pub(crate) fn satisfies(&self, clause: &Clause, effect: Effect) -> bool {
        if clause.any.is_empty() || !clause.any.iter().all(|matcher| self.can_answer(matcher)) {
            // The producer should have reduced it: ALLOW shrinks, DENY grows.
            return effect == Effect::Deny;
        }
        let quantifier = match (effect, clause.negated) {
            (Effect::Allow, false) | (Effect::Deny, true) => Quantifier::Every,
            (Effect::Allow, true) | (Effect::Deny, false) => Quantifier::Any,
        };
        clause.any.iter().any(|matcher| self.matches(matcher, quantifier)) != clause.negated
    }

    /// HTTP-only attributes have no value on TCP, and of the pseudo-headers only two are kept.
    fn can_answer(&self, matcher: &Matcher) -> bool {
        match matcher {
            Matcher::RequestPrincipal(..) | Matcher::Claim(..) => {
                self.request.is_some_and(|request| request.token.is_known())
            }
            Matcher::Host(_) | Matcher::Method(_) | Matcher::Path(_) => self.request.is_some(),
            Matcher::Header(name, _) => {
                let known = !name.starts_with(':') || matches!(&**name, ":authority" | ":method");
                known && self.request.is_some()
            }
            _ => true,
        }
    }

    fn matches(&self, matcher: &Matcher, quantifier: Quantifier) -> bool {
        let id = self.peer.map(|peer| &peer.id);
        let request = self.request;
        match matcher {
            Matcher::Principal(value) => id.is_some_and(|id| value.matches(id.principal())),
            Matcher::Namespace(value) => {
                id.is_some_and(|id| namespaces(id).any(|namespace| value.matches(namespace)))
            }
            Matcher::ServiceAccount(namespace, account) => {
                id.is_some_and(|id| is_account(id, namespace, account))
            }
            Matcher::TrustDomain(value) => id.is_some_and(|id| value.matches(id.trust_domain())),
            Matcher::SourceIp(net) => net.contains(&self.peer_ip()),
            Matcher::RemoteIp(net) => net.contains(
                &request.map_or_else(|| self.peer_ip(), |request| request.remote_ip.to_canonical()),
            ),
            Matcher::DestinationIp(net) => net.contains(&self.facts.destination.0.ip().to_canonical()),
            Matcher::Port(port) => self.facts.destination.0.port() == *port,
            Matcher::Host(value) => {
                request.is_some_and(|request| value.matches_ignoring_case(request.authority))
            }
            Matcher::Method(value) => request.is_some_and(|request| value.matches(request.method)),
            Matcher::Path(pattern) => request.is_some_and(|request| pattern.matches(request.path)),
            Matcher::Header(name, value) => {
                request.is_some_and(|request| request.has(name, value, quantifier))
            }
            Matcher::ServerName(value) => {
                self.facts.server_name.as_deref().is_some_and(|name| value.matches(name))
            }
            Matcher::RequestPrincipal(issuer, subject) => {
                request.is_some_and(|request| request.token.is_principal(issuer, subject))
            }
            Matcher::Claim(path, value) => request.is_some_and(|request| request.token.has(path, value)),
            Matcher::Constant(answer) => *answer,
        }
    }

    /// IPv4 on a dual-stack socket arrives mapped into IPv6.
    fn peer_ip(&self) -> IpAddr {
        self.facts.peer.0.ip().to_canonical()
    }
}

impl RequestFacts<'_> {
    fn has(&self, name: &str, value: &StringMatch, quantifier: Quantifier) -> bool {
        match name {
            ":authority" | "host" => return value.matches(self.authority),
            ":method" => return value.matches(self.method),
            _ => {}
        }
        let (mut values, mut matching) = (0, 0);
        (self.header)(name, &mut |text| {
            values += 1;
            matching += usize::from(value.matches(text));
        });
        match quantifier {
            Quantifier::Every => values > 0 && matching == values,
            Quantifier::Any => matching > 0 || (values > 1 && value.matches(self.joined(name))),
        }
    }

    /// RFC 9110 5.3: a repeated header means the same as its values joined by commas.
    fn joined(&self, name: &str) -> Vec<u8> {
        crate::route::joined(self.header, name).unwrap_or_default()
    }
}

/// As Istio's `.*/ns/<value>/.*` on the whole id: whatever `<value>` may be, a wildcard crossing slashes. Of `/ns/ns/`
/// both begin one, and so does a trust domain of that name.
pub(crate) fn namespaces(id: &SpiffeId) -> impl Iterator<Item = &str> {
    let id = id.as_str();
    let begun = id.match_indices('/').filter_map(|(at, _)| id[at + 1..].strip_prefix("ns/"));
    begun.flat_map(|rest| rest.match_indices('/').map(|(end, _)| &rest[..end]))
}

/// `ns/<namespace>` and after it `sa/<account>`; other pairs may stand before, between and behind them.
fn is_account(id: &SpiffeId, namespace: &str, account: &str) -> bool {
    let path = &id.principal()[id.trust_domain().len() + 1..];
    let mut parts = path.split('/');
    let mut pairs = std::iter::from_fn(|| Some((parts.next()?, parts.next())));
    let found =
        pairs.any(|pair| pair == ("ns", Some(namespace))) && pairs.any(|pair| pair == ("sa", Some(account)));
    // A key without value: not of Istio's form.
    found && pairs.all(|(_, value)| value.is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::sample::{facts, origin, peer};
    use crate::{FullRegex, Transport};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_namespace_is_what_istios_regular_expression_finds(
            id in proptest::collection::vec(select(&["ns", "a", "xns", "sa"][..]), 2..7),
            value in select(&["ns", "a", "xns", "n*", "*s", "*", "ns/ns", "ns/a", "a/ns*", "*/ns"][..]),
            effect in select(&[Effect::Allow, Effect::Deny][..]),
        ) {
            let peer = peer(&id.join("/"));
            let facts = facts(80, Transport::Tls, &[]);
            let subject = Subject { facts: &facts, peer: Some(&peer), request: None };
            let any = vec![Matcher::Namespace(StringMatch::parse(value))];
            let when = vec![Clause { negated: false, any }];
            let (sources, operations, origin) = (Vec::new(), Vec::new(), std::sync::Arc::new(origin("rule")));
            let rule = Rule { sources, operations, when, origin };
            let istio = FullRegex::new(&format!(".*/ns/{}/.*", value.replace('*', ".*"))).unwrap();
            prop_assert_eq!(
                subject.meets(&rule, effect),
                StringMatch::Regex(istio).matches(peer.id.as_str()),
                "{} {}", peer.id, value
            );
        }
    }
}
