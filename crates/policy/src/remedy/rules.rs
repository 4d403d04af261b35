//! Ways past AuthorizationPolicies: a rule that denies left out, a rule that allows with what it lacks.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{BROAD, PLAIN, SLIP, Way, World, any_of, in_a_file, near};
use crate::evaluate::{Effect, Subject};
use crate::{
    Authorization, Chain, Clause, Filter, Matcher, Origin, PathPattern, Refusal, Rule, RuleSet, StringMatch,
};

/// Where in a rule a clause stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    From,
    To,
    When,
}

/// What clauses need, and how they are then.
#[derive(Default)]
struct Mended {
    cost: u32,
    /// The client is another, too.
    wire: bool,
    says: Vec<String>,
    clauses: Vec<Clause>,
}

impl Mended {
    fn one(cost: u32, says: String, clause: Option<Clause>) -> Self {
        Self { cost, wire: false, says: vec![says], clauses: clause.into_iter().collect() }
    }

    /// What no rule can say: that the client is another.
    fn of_client(says: String) -> Self {
        Self { wire: true, ..Self::one(PLAIN, says, None) }
    }

    fn and(&mut self, other: Self) {
        self.cost += other.cost;
        self.wire |= other.wire;
        self.says.extend(other.says);
        self.clauses.extend(other.clauses);
    }
}

pub(super) fn ways(world: &World, refusal: &Refusal, chain: &Chain) -> Vec<Way> {
    match refusal {
        Refusal::Denied { origin } | Refusal::CustomUnsupported { origin } => {
            left_out(world, chain, origin).into_iter().collect()
        }
        Refusal::NotAllowed { policies } => let_in(world, chain, policies),
        _ => Vec::new(),
    }
}

/// The world with other rules, wherever the chain's hold.
pub(super) fn with_rules(world: &World, of: &Chain, rules: RuleSet) -> World {
    let changed = Arc::new(Authorization::new(rules, RuleSet::default()));
    world.with_chains(|chains| {
        for chain in chains.iter_mut().filter(|c| Arc::ptr_eq(&c.authorization, &of.authorization)) {
            *chain = Arc::new(Chain { authorization: changed.clone(), ..Chain::clone(chain) });
        }
    })
}

/// What matched, and the rule away.
fn left_out(world: &World, chain: &Chain, origin: &Origin) -> Option<Way> {
    let mut rules = chain.authorization.enforced();
    let is_it = |rule: &Rule| *rule.origin == *origin;
    let rule = rules.custom.iter().chain(&rules.deny).find(|rule| is_it(rule))?.clone();
    let unsupported = rules.custom.iter().any(is_it);
    rules.custom.retain(|rule| !is_it(rule));
    rules.deny.retain(|rule| !is_it(rule));
    let mut matched = world.about(chain, |subject| what_matched(subject, &rule));
    if matched.is_empty() {
        matched.push(match chain.filter {
            Filter::Http(_) => "it matches everything".to_owned(),
            Filter::Tcp(_) => {
                "it matches every connection, since HTTP conditions do not count for bytes".to_owned()
            }
        });
    }
    let unit = if world.case.request.is_some() { "request" } else { "connection" };
    let mut what = format!("leave this {unit} out: {}", matched.join(", "));
    if unsupported {
        what += "; no provider is supported, so what it matches is denied";
    }
    Some(in_a_file(PLAIN, what, origin, with_rules(world, chain, rules)))
}

/// The conditions by which a rule that denies matches.
fn what_matched(subject: &Subject<'_>, rule: &Rule) -> Vec<String> {
    let holds = |list: &&Vec<Clause>| list.iter().all(|clause| subject.satisfies(clause, Effect::Deny));
    let source = rule.sources.iter().find(holds).into_iter().flatten().map(|clause| (Place::From, clause));
    let operation = rule.operations.iter().find(holds).into_iter().flatten().map(|c| (Place::To, c));
    let clauses = source.chain(operation).chain(rule.when.iter().map(|clause| (Place::When, clause)));
    clauses.map(|(place, clause)| matched(subject, place, clause)).collect()
}

fn matched(subject: &Subject<'_>, place: Place, clause: &Clause) -> String {
    let field = field(place, clause);
    if clause.negated {
        return format!("{field} does not list it");
    }
    let hit = clause.any.iter().find(|matcher| subject.satisfies(&is(matcher), Effect::Deny));
    match hit {
        Some(Matcher::RequestPrincipal(..) | Matcher::Claim(..)) => {
            format!("{field} counts as met, since tokens are not verified")
        }
        Some(hit) => format!("{field} has `{}`", spelled(hit)),
        None => format!("{field} counts as met"),
    }
}

fn is(matcher: &Matcher) -> Clause {
    Clause { negated: false, any: vec![matcher.clone()] }
}

/// Each ALLOW rule with what it lacks, and a rule of its own.
fn let_in(world: &World, chain: &Chain, policies: &[Origin]) -> Vec<Way> {
    let rules = chain.authorization.enforced();
    let Some(allow) = &rules.allow else { return Vec::new() };
    let mut mended: Vec<(usize, Mended, Rule)> = world.about(chain, |subject| {
        let each = allow.rules.iter().enumerate();
        each.filter_map(|(index, rule)| mend(subject, rule).map(|(mended, rule)| (index, mended, rule)))
            .collect()
    });
    // Asking again is dear where there are many rules: only the closest are.
    mended.sort_by_key(|(index, mended, _)| (mended.cost, *index));
    mended.truncate(super::WAYS);
    let admitting = |index: Option<usize>, rule: Rule| {
        let mut rules = rules.clone();
        if let Some(allow) = &mut rules.allow {
            match index {
                Some(index) => allow.rules[index] = rule,
                None => allow.rules.push(rule),
            }
        }
        with_rules(world, chain, rules)
    };
    let mut ways: Vec<Way> = Vec::new();
    for (index, mended, rule) in mended {
        let origin = rule.origin.clone();
        let says = mended.says.join(", and ");
        let way = in_a_file(mended.cost, says, &origin, admitting(Some(index), rule));
        ways.push(Way { wire: mended.wire, ..way });
    }
    if let Some(policy) = policies.first() {
        let (rule, says) = world.about(chain, |subject| rule_of_its_own(subject, policy));
        ways.push(in_a_file(BROAD, says, policy, admitting(None, rule)));
    }
    ways
}

/// What the rule lacks, and how it would let the subject in. `None`: no value in it would.
fn mend(subject: &Subject<'_>, rule: &Rule) -> Option<(Mended, Rule)> {
    let (mut all, mut changed) = (Mended::default(), rule.clone());
    for (place, lists) in [(Place::From, &mut changed.sources), (Place::To, &mut changed.operations)] {
        if lists.is_empty() {
            continue;
        }
        let each = lists.iter().enumerate();
        let each = each.filter_map(|(index, list)| Some((index, mend_all(subject, place, list)?)));
        let (index, mut best) = each.min_by_key(|(_, mended)| mended.cost)?;
        lists[index] = std::mem::take(&mut best.clauses);
        all.and(best);
    }
    let mut when = mend_all(subject, Place::When, &changed.when)?;
    changed.when = std::mem::take(&mut when.clauses);
    all.and(when);
    // Several new values let in more than was asked for: each goes with what the others had before, too.
    all.cost += u32::try_from(all.says.len().saturating_sub(1)).unwrap_or(u32::MAX);
    Some((all, changed))
}

fn mend_all(subject: &Subject<'_>, place: Place, clauses: &[Clause]) -> Option<Mended> {
    let mut all = Mended::default();
    for clause in clauses {
        if subject.satisfies(clause, Effect::Allow) {
            all.clauses.push(clause.clone());
        } else {
            all.and(mend_one(subject, place, clause)?);
        }
    }
    Some(all)
}

/// A clause that does not hold, and how it would.
fn mend_one(subject: &Subject<'_>, place: Place, clause: &Clause) -> Option<Mended> {
    let first = clause.any.first()?;
    let field = field(place, clause);
    let listed = || any_of(clause.any.iter().filter(|m| !matches!(m, Matcher::Constant(_))).map(spelled));
    match first {
        Matcher::RequestPrincipal(..) | Matcher::Claim(..) | Matcher::Constant(_) => return None,
        Matcher::Header(name, _) => {
            let not = if clause.negated { "not " } else { "" };
            let says = format!("header `{name}` of the request would have to be {not}{} ({field})", listed());
            return Some(Mended::one(PLAIN, says, None));
        }
        _ if clause.negated => {
            let hits = |matcher: &Matcher| subject.satisfies(&is(matcher), Effect::Allow);
            let (hits, others): (Vec<_>, Vec<_>) = clause.any.iter().cloned().partition(hits);
            let says = format!("take {} out of {field}", any_of(hits.iter().map(spelled)));
            let left = (!others.is_empty()).then_some(Clause { negated: true, any: others });
            return Some(Mended::one(PLAIN, says, left));
        }
        _ => {}
    }
    let Some(value) = value(subject, first) else {
        let lacks = match first {
            Matcher::ServerName(_) => "the client would have to send as SNI",
            _ => "the client, which has no such identity, would have to come by mutual TLS as",
        };
        return Some(Mended::of_client(format!("{lacks} {} ({field})", listed())));
    };
    let presented = spelled(&value);
    let slip = clause.any.iter().map(spelled).find(|text| is_slip(first, &presented, text));
    let (cost, says) = match slip {
        Some(slip) => (SLIP, format!("write `{presented}` for `{slip}` in {field}, if that is a slip")),
        None => (PLAIN, format!("add `{presented}` to {field}, which has {}", listed())),
    };
    let any = clause.any.iter().cloned().chain([value]).collect();
    Some(Mended::one(cost, says, Some(Clause { negated: false, any })))
}

/// Principals are also written with their scheme, or without their trust domain.
fn is_slip(of: &Matcher, presented: &str, listed: &str) -> bool {
    if let Matcher::Principal(_) = of {
        let bare = listed.strip_prefix("spiffe://").unwrap_or(listed);
        let path = presented.split_once('/').map_or("", |(_, path)| path);
        if bare == presented || bare.trim_start_matches('/') == path {
            return true;
        }
    }
    !listed.contains('*')
        && !matches!(
            of,
            Matcher::SourceIp(_) | Matcher::RemoteIp(_) | Matcher::DestinationIp(_) | Matcher::Port(_)
        )
        && near::is_slip(presented, listed)
}

/// The value that the subject has of a matcher's attribute, as a matcher for it alone.
fn value(subject: &Subject<'_>, matcher: &Matcher) -> Option<Matcher> {
    let exact = |text: &str| StringMatch::Exact(text.into());
    let id = subject.peer.map(|peer| &peer.id);
    let request = subject.request;
    let net = |ip: IpAddr| IpNet::from(ip.to_canonical());
    Some(match matcher {
        Matcher::Principal(_) => Matcher::Principal(exact(id?.principal())),
        Matcher::Namespace(_) => Matcher::Namespace(exact(id?.account()?.0)),
        Matcher::ServiceAccount(..) => {
            let (namespace, account) = id?.account()?;
            Matcher::ServiceAccount(namespace.into(), account.into())
        }
        Matcher::TrustDomain(_) => Matcher::TrustDomain(exact(id?.trust_domain())),
        Matcher::SourceIp(_) => Matcher::SourceIp(net(subject.facts.peer.0.ip())),
        Matcher::RemoteIp(_) => {
            Matcher::RemoteIp(net(request.map_or(subject.facts.peer.0.ip(), |request| request.remote_ip)))
        }
        Matcher::DestinationIp(_) => Matcher::DestinationIp(net(subject.facts.destination.0.ip())),
        Matcher::Port(_) => Matcher::Port(subject.facts.destination.0.port()),
        Matcher::Host(_) => Matcher::Host(exact(request?.authority)),
        Matcher::Method(_) => Matcher::Method(exact(request?.method)),
        Matcher::Path(_) => Matcher::Path(PathPattern::Plain(exact(request?.path))),
        Matcher::ServerName(_) => Matcher::ServerName(exact(subject.facts.server_name.as_deref()?)),
        Matcher::Header(..) | Matcher::RequestPrincipal(..) | Matcher::Claim(..) | Matcher::Constant(_) => {
            return None;
        }
    })
}

/// A rule for this client and what it asks for, and nothing else.
fn rule_of_its_own(subject: &Subject<'_>, policy: &Origin) -> (Rule, String) {
    let any = Matcher::Principal(StringMatch::Present);
    let who = value(subject, &any).or_else(|| value(subject, &Matcher::SourceIp(IpNet::default())));
    let what =
        [Matcher::Method(StringMatch::Present), Matcher::Path(PathPattern::Plain(StringMatch::Present))];
    let what: Vec<Matcher> = what.iter().filter_map(|matcher| value(subject, matcher)).collect();
    let clauses = |matchers: &[Matcher]| -> Vec<Clause> { matchers.iter().map(is).collect() };
    let who: Vec<Matcher> = who.into_iter().collect();
    let says: Vec<String> = [(Place::From, &who), (Place::To, &what)]
        .into_iter()
        .flat_map(|(place, list)| {
            list.iter().map(move |m| format!("{}: [{}]", field(place, &is(m)), spelled(m)))
        })
        .collect();
    let rule = Rule {
        sources: vec![clauses(&who)],
        operations: if what.is_empty() { Vec::new() } else { vec![clauses(&what)] },
        when: Vec::new(),
        origin: Arc::new(policy.clone()),
    };
    (rule, format!("add a rule with {}", says.join(", ")))
}

/// As it is written in an AuthorizationPolicy.
fn field(place: Place, clause: &Clause) -> String {
    let Some(first) = clause.any.first() else { return "a condition that cannot be evaluated".to_owned() };
    let (name, key) = match first {
        Matcher::Principal(_) => ("principals", "source.principal"),
        Matcher::Namespace(_) => ("namespaces", "source.namespace"),
        Matcher::ServiceAccount(..) => ("serviceAccounts", "source.serviceAccount"),
        Matcher::TrustDomain(_) => ("trustDomains", "source.trustDomain"),
        Matcher::SourceIp(_) => ("ipBlocks", "source.ip"),
        Matcher::RemoteIp(_) => ("remoteIpBlocks", "remote.ip"),
        Matcher::DestinationIp(_) => ("destination.ip", "destination.ip"),
        Matcher::Port(_) => ("ports", "destination.port"),
        Matcher::Host(_) => ("hosts", "request.headers[:authority]"),
        Matcher::Method(_) => ("methods", "request.headers[:method]"),
        Matcher::Path(_) => ("paths", "paths"),
        Matcher::Header(name, _) => ("headers", &*format!("request.headers[{name}]")),
        Matcher::RequestPrincipal(..) => ("requestPrincipals", "request.auth.principal"),
        Matcher::Claim(path, _) => ("claims", &*format!("request.auth.claims[{}]", path.join("]["))),
        Matcher::ServerName(_) => ("sni", "connection.sni"),
        Matcher::Constant(_) => {
            ("a condition that cannot be evaluated", "a condition that cannot be evaluated")
        }
    };
    let (list, values) = match place {
        Place::From => ("from.source.", name),
        Place::To => ("to.operation.", name),
        Place::When => return format!("when[{key}].{}", if clause.negated { "notValues" } else { "values" }),
    };
    match (clause.negated, values.split_at(1)) {
        (false, _) => format!("{list}{values}"),
        (true, (first, rest)) => format!("{list}not{}{rest}", first.to_ascii_uppercase()),
    }
}

/// A matcher's text, as it is written in a policy.
pub(super) fn spelled(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Principal(value)
        | Matcher::Namespace(value)
        | Matcher::TrustDomain(value)
        | Matcher::Host(value)
        | Matcher::Method(value)
        | Matcher::Header(_, value)
        | Matcher::Claim(_, value)
        | Matcher::ServerName(value)
        | Matcher::Path(PathPattern::Plain(value)) => pattern(value),
        Matcher::Path(PathPattern::Template(template)) => template.as_str().to_owned(),
        Matcher::ServiceAccount(namespace, account) => format!("{namespace}/{account}"),
        Matcher::SourceIp(net) | Matcher::RemoteIp(net) | Matcher::DestinationIp(net) => {
            if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
        }
        Matcher::Port(port) => port.to_string(),
        Matcher::RequestPrincipal(issuer, subject) => format!("{}/{}", pattern(issuer), pattern(subject)),
        Matcher::Constant(answer) => answer.to_string(),
    }
}

/// In Istio's wildcard grammar; a regular expression as it is.
pub(super) fn pattern(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text) => text.to_string(),
        StringMatch::Prefix(text) => format!("{text}*"),
        StringMatch::Suffix(text) => format!("*{text}"),
        StringMatch::Present => "*".to_owned(),
        StringMatch::Regex(regex) => regex.as_str().to_owned(),
    }
}
