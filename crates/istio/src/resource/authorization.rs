//! AuthorizationPolicy: who may do what, read and validated. What a field that cannot be
//! evaluated amounts to is `compile`'s decision.

use std::fmt;
use std::sync::Arc;

use sidering_policy::Position;

use super::authorization_value::{Attribute, OPERATION_FIELDS, SOURCE_FIELDS};
use super::meta::{Labels, Meta, envelope, read_selector};
use crate::read::{Fields, Reader};
use crate::yaml::Node;

/// What a policy does with what its rules match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Lets it in; everything else is denied.
    Allow,
    /// Keeps it out.
    Deny,
    /// Marks it only.
    Audit,
    /// Asks a provider; none is supported, so what matches is denied.
    Custom,
}

#[derive(Debug)]
pub(crate) struct AuthorizationPolicy {
    pub(crate) meta: Meta,
    pub(crate) selector: Labels,
    /// For gateways and waypoints: never a sidecar's.
    pub(crate) targeted: bool,
    pub(crate) action: Action,
    pub(crate) dry_run: bool,
    pub(crate) rules: Vec<PolicyRule>,
}

/// Any source, any operation, all conditions; each is all of its terms.
#[derive(Debug)]
pub(crate) struct PolicyRule {
    pub(crate) from: Vec<Vec<Term>>,
    pub(crate) to: Vec<Vec<Term>>,
    pub(crate) when: Vec<Term>,
    pub(crate) position: Position,
}

/// `[not] any(values)` of one attribute.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) attribute: Attribute,
    pub(crate) negated: bool,
    pub(crate) values: Vec<Arc<str>>,
}

impl PolicyRule {
    /// Every term, wherever it stands.
    pub(crate) fn terms(&self) -> impl Iterator<Item = &Term> {
        self.from.iter().flatten().chain(self.to.iter().flatten()).chain(&self.when)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
            Self::Audit => "AUDIT",
            Self::Custom => "CUSTOM",
        })
    }
}

pub(crate) fn parse(document: &Node, r: &mut Reader<'_>) -> Option<AuthorizationPolicy> {
    let (meta, spec) = envelope(document, "AuthorizationPolicy", r)?;
    let mut policy = AuthorizationPolicy {
        meta,
        selector: Labels::new(),
        targeted: false,
        action: Action::Allow,
        dry_run: false,
        rules: Vec::new(),
    };
    let Some(spec) = spec else { return Some(policy) };
    let mut f = r.fields(spec, "AuthorizationPolicy spec");
    let words = [
        ("ALLOW", Action::Allow),
        ("DENY", Action::Deny),
        ("AUDIT", Action::Audit),
        ("CUSTOM", Action::Custom),
    ];
    // A policy whose action cannot be read must not become an ALLOW.
    let action = f.get("action");
    policy.action = action.map_or(Some(Action::Allow), |n| r.one_of(n, "action", &words))?;
    if let (Some(n), Action::Audit) = (action, policy.action) {
        r.warning(n, "a policy of action AUDIT is decided, not executed: it has no effect yet");
    }
    let selector = f.get("selector");
    policy.selector = selector.map(|n| read_selector(n, r)).unwrap_or_default();
    policy.targeted = read_targets(&mut f, selector, r);
    read_provider(&mut f, policy.action, spec, r);
    policy.dry_run = read_dry_run(&policy, document, r);
    let rules = f.get("rules");
    if let Some(n) = rules {
        for item in r.list(n, "rules") {
            policy.rules.extend(read_rule(item, policy.action, r));
        }
    }
    if policy.rules.is_empty() && matches!(policy.action, Action::Deny | Action::Custom) {
        let at = rules.unwrap_or(spec);
        r.error(
            at,
            format!(
                "a {} policy without rules does nothing; write rules: [{{}}] to match all",
                policy.action
            ),
        );
    }
    f.done(r);
    Some(policy)
}

/// Gateways and waypoints that it is for. Is there any? Of RequestAuthentication, too.
pub(super) fn read_targets(f: &mut Fields<'_>, selector: Option<&Node>, r: &mut Reader<'_>) -> bool {
    let single = f.get("targetRef");
    let several = f.get("targetRefs");
    for n in single.iter().chain(&several) {
        if selector.is_some() {
            r.error(n, "selector and targetRef exclude each other; keep one of them");
        }
    }
    if let Some(n) = single {
        read_target(n, r);
    }
    if let Some(n) = several {
        r.list(n, "targetRefs").iter().for_each(|item| read_target(item, r));
    }
    single.is_some() || several.is_some()
}

fn read_target(node: &Node, r: &mut Reader<'_>) {
    let mut f = r.fields(node, "targetRef");
    if let Some(n) = f.get("namespace") {
        r.error(n, "a targetRef is of its own namespace; remove `namespace`");
    }
    let kinds = [("Gateway", ()), ("GatewayClass", ()), ("Service", ()), ("ServiceEntry", ())];
    if let Some(n) = f.get("kind") {
        r.one_of(n, "kind", &kinds);
    }
    match f.get("name") {
        Some(n) => {
            r.text(n, "name");
        }
        None => r.error(node, "a targetRef needs a `name`"),
    }
    f.allow(&["group"]);
    f.done(r);
}

fn read_provider(f: &mut Fields<'_>, action: Action, spec: &Node, r: &mut Reader<'_>) {
    let provider = f.get("provider");
    let named = provider.is_some_and(|n| {
        let mut p = r.fields(n, "provider");
        let name = p.get("name").and_then(|n| r.text(n, "name"));
        p.done(r);
        name.is_some()
    });
    match (action, provider) {
        (Action::Custom, _) if !named => r.error(spec, "a CUSTOM policy needs provider: {name: ...}"),
        (Action::Custom, Some(n)) => {
            r.warning(n, "no provider is supported yet: requests that match are denied")
        }
        (Action::Allow | Action::Deny | Action::Audit, Some(n)) => {
            r.error(n, format!("a provider has no meaning in a policy of action {action}; remove it"));
        }
        _ => {}
    }
}

/// `istio.io/dry-run`, as Go reads a bool.
fn read_dry_run(policy: &AuthorizationPolicy, document: &Node, r: &mut Reader<'_>) -> bool {
    let Some(text) = policy.meta.annotations.get("istio.io/dry-run") else { return false };
    if !matches!(policy.action, Action::Allow | Action::Deny) {
        r.error(
            document,
            format!("istio.io/dry-run is for ALLOW and DENY, not for {}; remove it", policy.action),
        );
    }
    match text.as_str() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
        _ => {
            r.error(
                document,
                format!("istio.io/dry-run {text:?} is no boolean; write \"true\" or \"false\""),
            );
            false
        }
    }
}

fn read_rule(node: &Node, action: Action, r: &mut Reader<'_>) -> Option<PolicyRule> {
    if node.is_null() {
        r.error(node, "a rule must not be null; write {} to match all");
        return None;
    }
    let mut f = r.fields(node, "rule");
    let from = f.get("from").map(|n| read_list(n, "from", "source", SOURCE_FIELDS, r)).unwrap_or_default();
    let to = f.get("to").map(|n| read_list(n, "to", "operation", OPERATION_FIELDS, r)).unwrap_or_default();
    let mut when = Vec::new();
    if let Some(n) = f.get("when") {
        for item in r.list(n, "when") {
            when.extend(read_condition(item, r));
        }
    }
    f.done(r);
    let rule = PolicyRule { from, to, when, position: r.position(node) };
    validate(&rule, action, node, r);
    Some(rule)
}

fn validate(rule: &PolicyRule, action: Action, node: &Node, r: &mut Reader<'_>) {
    let http_only = rule.terms().all(|term| term.attribute.is_http_only());
    if action == Action::Deny && http_only && rule.terms().next().is_some() {
        r.warning(
            node,
            "a DENY rule of HTTP fields alone denies all TCP traffic; name its ports in operation.ports",
        );
    }
    if action == Action::Custom && rule.terms().any(|term| term.attribute.is_identity()) {
        r.error(node, "a CUSTOM rule must not ask for identities or tokens; remove those fields");
    }
    if rule.terms().any(|term| term.attribute.needs_token()) {
        r.warning(node, "tokens are not verified yet: this rule matches nothing if it allows, and as if any token fitted if it denies");
    }
}

/// `from: [{source: {...}}]` and `to: [{operation: {...}}]`.
fn read_list(
    node: &Node,
    list: &'static str,
    entry: &'static str,
    known: &'static [(&'static str, &'static str, Attribute)],
    r: &mut Reader<'_>,
) -> Vec<Vec<Term>> {
    let items = r.list(node, list);
    if items.is_empty() {
        r.error(node, format!("{list} must not be empty; remove it to match all"));
    }
    let mut entries = Vec::new();
    for item in items {
        if item.is_null() {
            r.error(item, format!("an entry of {list} must not be null; write {entry}: {{...}}"));
            continue;
        }
        let mut f = r.fields(item, list);
        let terms = f.get(entry).map(|n| read_terms(n, entry, known, r)).unwrap_or_default();
        f.done(r);
        if terms.is_empty() {
            r.error(item, format!("{entry} sets no field; remove it to match all"));
        }
        entries.push(terms);
    }
    entries
}

fn read_terms(
    node: &Node,
    entry: &'static str,
    known: &'static [(&'static str, &'static str, Attribute)],
    r: &mut Reader<'_>,
) -> Vec<Term> {
    let mut f = r.fields(node, entry);
    let mut terms = Vec::new();
    for (positive, negative, attribute) in known {
        for (name, negated) in [(*positive, false), (*negative, true)] {
            let Some(n) = f.get(name) else { continue };
            let values = read_values(n, name, attribute, r);
            if !values.is_empty() {
                terms.push(Term { attribute: attribute.clone(), negated, values });
            }
        }
    }
    let has = |wanted: &[Attribute]| terms.iter().any(|term| wanted.contains(&term.attribute));
    if has(&[Attribute::ServiceAccount]) && has(&[Attribute::Principal, Attribute::Namespace]) {
        r.error(node, "serviceAccounts excludes principals and namespaces; use a source of its own");
    }
    f.done(r);
    terms
}

fn read_values(node: &Node, name: &str, attribute: &Attribute, r: &mut Reader<'_>) -> Vec<Arc<str>> {
    let texts = r.texts(node, name);
    if *attribute == Attribute::ServiceAccount && texts.len() > 16 {
        r.error(node, format!("{name} takes at most 16 values; use several sources"));
    }
    for (text, at) in &texts {
        if let Err(message) = attribute.check(text) {
            r.error(at, message);
        } else if attribute.needs_regex(text) {
            if !r.findings.has_room() {
                r.error(at, "namespaces with `*` within them take more than 64 MiB together; write them out");
            }
            // For HTTP and for TCP, each `*` less than a kilobyte.
            r.findings.take_room(4096 * (1 + text.matches('*').count()));
        }
    }
    texts.into_iter().map(|(text, _)| text.into()).collect()
}

fn read_condition(node: &Node, r: &mut Reader<'_>) -> Vec<Term> {
    let mut f = r.fields(node, "when");
    let attribute = match f.get("key") {
        Some(n) => r
            .text(n, "key")
            .and_then(|key| Attribute::of_key(key).map_err(|message| r.error(n, message)).ok()),
        None => {
            r.error(node, "a condition needs a `key`");
            None
        }
    };
    let lists = [("values", false, f.get("values")), ("notValues", true, f.get("notValues"))];
    f.done(r);
    if lists.iter().all(|(_, _, n)| n.is_none()) {
        r.error(node, "a condition needs `values` or `notValues`");
    }
    let Some(attribute) = attribute else { return Vec::new() };
    let mut terms = Vec::new();
    for (name, negated, n) in lists {
        let values = n.map(|n| read_values(n, name, &attribute, r)).unwrap_or_default();
        if !values.is_empty() {
            terms.push(Term { attribute: attribute.clone(), negated, values });
        } else if let Some(n) = n {
            r.error(n, format!("{name} must not be empty"));
        }
    }
    terms
}
