//! AuthorizationPolicies as rules of a chain. Once for HTTP chains and once for TCP
//! chains: there HTTP-only fields narrow what allows and widen what denies.

use std::sync::Arc;

use ipnet::IpNet;
use sidering_policy::{
    Allow, Authorization, Clause, FullRegex, Matcher, PathPattern, Rule, RuleSet, StringMatch,
};

use crate::MeshConfig;
use crate::effective::Effective;
use crate::resource::{Action, Attribute, AuthorizationPolicy, PolicyRule, Term, parse_net};

/// What a rule does where it matches: decides which way an unknown must fall.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Admits,
    Refuses,
}

/// The rules that hold on chains that speak HTTP, or only bytes.
pub(super) fn authorization(effective: &Effective, http: bool) -> Authorization {
    let mut enforced = RuleSet::default();
    let mut dry_run = RuleSet::default();
    for policy in &effective.policies {
        let effect = if policy.action == Action::Allow { Effect::Admits } else { Effect::Refuses };
        let rules = RuleCompiler { mesh: &effective.mesh, policy, effect, http }.rules();
        let set = if policy.dry_run { &mut dry_run } else { &mut enforced };
        match policy.action {
            // Marks only, and nothing reads the mark yet.
            Action::Audit => {}
            Action::Custom => set.custom.extend(rules),
            Action::Deny => set.deny.extend(rules),
            Action::Allow => {
                set.allow
                    .get_or_insert_with(|| Allow { rules: Vec::new(), policies: Arc::default() })
                    .rules
                    .extend(rules);
            }
        }
    }
    for (set, dry_run) in [(&mut enforced, false), (&mut dry_run, true)] {
        if let Some(allow) = &mut set.allow {
            let of_set = |policy: &&Arc<AuthorizationPolicy>| {
                policy.action == Action::Allow && policy.dry_run == dry_run
            };
            allow.policies =
                effective.policies.iter().filter(of_set).map(|policy| policy.meta.origin()).collect();
        }
    }
    Authorization::new(enforced, dry_run)
}

struct RuleCompiler<'p> {
    mesh: &'p MeshConfig,
    policy: &'p AuthorizationPolicy,
    effect: Effect,
    http: bool,
}

impl RuleCompiler<'_> {
    fn rules(&self) -> Vec<Rule> {
        let numbered = (0u32..).zip(&self.policy.rules);
        numbered.filter_map(|(index, rule)| self.rule(index, rule)).collect()
    }

    fn rule(&self, index: u32, rule: &PolicyRule) -> Option<Rule> {
        let uses_http = rule.terms().any(|term| term.attribute.is_http_only());
        if !self.http && uses_http && self.effect == Effect::Admits {
            return None;
        }
        let clauses = |terms: &Vec<Term>| terms.iter().filter_map(|term| self.clause(term)).collect();
        Some(Rule {
            sources: rule.from.iter().map(clauses).collect(),
            operations: rule.to.iter().map(clauses).collect(),
            when: clauses(&rule.when),
            origin: self.policy.meta.origin().with_rule(index, Some(rule.position.clone())).into(),
        })
    }

    /// `None`: counts as not written.
    fn clause(&self, term: &Term) -> Option<Clause> {
        if !self.http && term.attribute.is_http_only() {
            return None;
        }
        let any = term.values.iter().flat_map(|value| self.matchers(&term.attribute, value)).collect();
        Some(Clause { negated: term.negated, any })
    }

    fn matchers(&self, attribute: &Attribute, value: &Arc<str>) -> Vec<Matcher> {
        let pattern = || StringMatch::parse(value);
        let net = |make: fn(IpNet) -> Matcher| parse_net(value).map(make).into_iter().collect();
        match attribute {
            Attribute::Principal => principals(value, self.mesh)
                .iter()
                .map(|p| Matcher::Principal(StringMatch::parse(p)))
                .collect(),
            Attribute::Namespace => vec![namespace(value)],
            Attribute::ServiceAccount => {
                let (namespace, account) =
                    value.split_once('/').unwrap_or((&self.policy.meta.namespace, value));
                vec![Matcher::ServiceAccount(namespace.into(), account.into())]
            }
            Attribute::TrustDomain => trust_domains(value, self.mesh)
                .iter()
                .map(|d| Matcher::TrustDomain(StringMatch::parse(d)))
                .collect(),
            Attribute::SourceIp => net(Matcher::SourceIp),
            Attribute::RemoteIp => net(Matcher::RemoteIp),
            Attribute::DestinationIp => net(Matcher::DestinationIp),
            Attribute::Port => value.parse().map(Matcher::Port).into_iter().collect(),
            Attribute::Host => vec![Matcher::Host(StringMatch::parse(&value.to_ascii_lowercase()))],
            Attribute::Method => vec![Matcher::Method(pattern())],
            Attribute::Path => PathPattern::parse(value).map(Matcher::Path).into_iter().collect(),
            Attribute::Header(name) => vec![Matcher::Header(name.clone(), pattern())],
            Attribute::ServerName => vec![Matcher::ServerName(pattern())],
            Attribute::RequestPrincipal => vec![request_principal(value)],
            Attribute::Claim(path) => vec![Matcher::Claim(path.clone(), pattern())],
        }
    }
}

/// `issuer/subject`, split at the last `/`. What has none is a pattern of both, or of one beside any other.
fn request_principal(value: &str) -> Matcher {
    let (issuer, subject) = match value.rsplit_once('/') {
        Some((issuer, subject)) => (StringMatch::parse(issuer), StringMatch::parse(subject)),
        None if value.starts_with('*') => (StringMatch::Present, StringMatch::parse(value)),
        None if value.ends_with('*') => (StringMatch::parse(value), StringMatch::Present),
        None => (StringMatch::parse(value), StringMatch::Exact("".into())),
    };
    Matcher::RequestPrincipal(issuer, subject)
}

/// Every `*` is `.*`, unlike in other fields.
fn namespace(value: &str) -> Matcher {
    if !Attribute::Namespace.needs_regex(value) {
        return Matcher::Namespace(StringMatch::parse(value));
    }
    let pattern = regex::escape(value).replace("\\*", ".*");
    let regex = FullRegex::new(&pattern).expect("escaped text of 253 characters and `.*` make a regex");
    Matcher::Namespace(StringMatch::Regex(regex))
}

/// A principal of our trust domain, an alias, or `cluster.local` is one of each of ours.
fn principals(value: &Arc<str>, mesh: &MeshConfig) -> Vec<Arc<str>> {
    let Some((domain, rest)) = value.split_once('/') else { return vec![value.clone()] };
    if rest.split('/').count() != 4 || domain.is_empty() || domain == "*" {
        return vec![value.clone()];
    }
    let ours = || {
        std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases).map(|domain| domain.as_str())
    };
    if domain != "cluster.local" && !ours().any(|own| overlaps(domain, own)) {
        return vec![value.clone()];
    }
    let mut expanded: Vec<Arc<str>> = Vec::new();
    for own in ours() {
        let covered = domain.strip_prefix('*').is_some_and(|suffix| own.ends_with(suffix));
        let one: Arc<str> = if covered { value.clone() } else { format!("{own}/{rest}").into() };
        if !expanded.contains(&one) {
            expanded.push(one);
        }
    }
    expanded
}

/// Equal, or one is a wildcard that covers the other.
fn overlaps(a: &str, b: &str) -> bool {
    let covers = |pattern: &str, text: &str| {
        pattern.strip_suffix('*').is_some_and(|prefix| text.starts_with(prefix))
            || pattern.strip_prefix('*').is_some_and(|suffix| text.ends_with(suffix))
    };
    a == b || covers(a, b) || covers(b, a)
}

/// A value that is our trust domain or an alias means all of them.
fn trust_domains(value: &Arc<str>, mesh: &MeshConfig) -> Vec<Arc<str>> {
    let ours: Vec<&str> = std::iter::once(&mesh.trust_domain)
        .chain(&mesh.trust_domain_aliases)
        .map(|domain| domain.as_str())
        .collect();
    if ours.contains(&&**value) { ours.into_iter().map(Arc::from).collect() } else { vec![value.clone()] }
}
