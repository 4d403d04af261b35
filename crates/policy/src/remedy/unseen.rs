//! A request whose headers are not known: records keep none. What asks for one is set aside, so that it is neither
//! guessed nor forgotten: the rule or route that decided did match, no other one counts as if it had.

use std::sync::Arc;

use super::{World, rules};
use crate::route::virtual_host;
use crate::{
    Chain, Clause, Filter, Matcher, Origin, Route, RouteMatch, RouteTable, Rule, RuleSet, VirtualHost,
    accept as ask_accept,
};

/// True where something was.
pub(super) fn set_aside(world: &mut World) -> bool {
    if world.case.request.as_ref().is_none_or(|request| request.headers.is_some()) {
        return false;
    }
    let accepted = ask_accept(&world.snapshot, &world.case.listener, &world.case.facts);
    let Ok(chain) = accepted.cloned() else { return false };
    let Filter::Http(table) = &chain.filter else { return false };
    let asked = world.case.request.as_ref().map(|request| request.authority.as_str()).unwrap_or_default();
    let asks = virtual_host(table, asked).is_some_and(|host| host.routes.iter().any(route_asks));
    let decided = world.case.decided.clone();
    let decided = |origin: &Origin| decided.as_ref() == Some(&origin.label());
    let mut found = false;
    if let Some(rules) = without_headers(chain.authorization.enforced(), &decided) {
        *world = rules::with_rules(world, &chain, rules);
        found = true;
    }
    if asks {
        *world = with_table(world, &chain, routes_without_headers(table, &decided));
        found = true;
    }
    found
}

/// The world with other routes, wherever the chain's hold.
pub(super) fn with_table(world: &World, of: &Chain, table: RouteTable) -> World {
    let Filter::Http(own) = &of.filter else { return world.clone() };
    let table = Arc::new(table);
    world.with_chains(|chains| {
        for chain in chains {
            if matches!(&chain.filter, Filter::Http(other) if Arc::ptr_eq(own, other)) {
                *chain = Arc::new(Chain { filter: Filter::Http(table.clone()), ..Chain::clone(chain) });
            }
        }
    })
}

fn asks(clause: &Clause) -> bool {
    clause.any.iter().any(|matcher| match matcher {
        Matcher::Header(name, _) => !name.starts_with(':') && **name != *"host",
        _ => false,
    })
}

fn rule_asks(rule: &Rule) -> bool {
    rule.when.iter().chain(rule.sources.iter().flatten()).chain(rule.operations.iter().flatten()).any(asks)
}

/// `None`: no rule asks for a header.
fn without_headers(mut rules: RuleSet, decided: &impl Fn(&Origin) -> bool) -> Option<RuleSet> {
    let RuleSet { custom, deny, allow } = &mut rules;
    let allowing = || allow.iter().flat_map(|allow| &allow.rules);
    if !custom.iter().chain(&*deny).chain(allowing()).any(rule_asks) {
        return None;
    }
    for list in [custom, deny] {
        list.retain(|rule| !rule_asks(rule) || decided(&rule.origin));
        each_clause(list, |clauses| clauses.retain(|clause| !asks(clause)));
    }
    if let Some(allow) = allow {
        // None of them matched: one that lists what a header must not be would, without one.
        each_clause(&mut allow.rules, |clauses| {
            for clause in clauses.iter_mut().filter(|clause| clause.negated && asks(clause)) {
                clause.any.push(Matcher::Constant(true));
            }
        });
    }
    Some(rules)
}

fn each_clause(rules: &mut [Rule], mut change: impl FnMut(&mut Vec<Clause>)) {
    for rule in rules {
        rule.sources.iter_mut().chain(&mut rule.operations).chain([&mut rule.when]).for_each(&mut change);
    }
}

fn route_asks(route: &Route) -> bool {
    route.matches.iter().any(match_asks)
}

fn match_asks(entry: &RouteMatch) -> bool {
    entry.headers.iter().any(|header| !header.name.starts_with(':') && *header.name != *"host")
}

/// Routes that ask for headers do not match, but for the one that did.
fn routes_without_headers(table: &RouteTable, decided: &impl Fn(&Origin) -> bool) -> RouteTable {
    let known = |host: &Arc<VirtualHost>| {
        let mut host = VirtualHost::clone(host);
        for route in host.routes.iter_mut().filter(|route| decided(&route.origin) && route_asks(route)) {
            for entry in &mut route.matches {
                entry.headers.retain(|header| header.name.starts_with(':') || *header.name == *"host");
            }
        }
        Arc::new(host)
    };
    RouteTable {
        exact: table.exact.iter().map(|(name, host)| (name.clone(), known(host))).collect(),
        suffixes: table.suffixes.iter().map(|(suffix, host)| (suffix.clone(), known(host))).collect(),
        any: table.any.as_ref().map(known),
        ..table.clone()
    }
}
