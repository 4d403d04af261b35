//! Nothing is allocated by what is asked for every connection and every request, whichever way it is answered.
//! (A repeated header is joined, and the reason for a refusal may name what the client sent.)

use std::net::IpAddr;
use std::sync::Arc;

use crate::sample::{chain, cluster, facts, listener, origin, peer};
use crate::{
    Allow, Authorization, ChainMatch, Clause, Discovery, FullRegex, HeaderEdits, Map, Matcher, PathPattern,
    RequestFacts, Route, RouteAction, RouteMatch, RouteRequest, RouteTable, Rule, RuleSet, Snapshot,
    StringMatch, Token, Transport, UnknownHost, VirtualHost, WeightedCluster, accept, authorize,
    authorize_tcp, needs, route,
};

/// Allocations of `act`, once it has been done before.
fn allocations(act: impl Fn()) -> u64 {
    act();
    allocation_counter::measure(act).count_total
}

fn is(matcher: Matcher) -> Clause {
    Clause { negated: false, any: vec![matcher] }
}

/// Many, so that they are looked up.
fn rules() -> Vec<Rule> {
    let path = |number: u32| PathPattern::parse(&format!("/{number}/*")).unwrap();
    let namespace = StringMatch::Regex(FullRegex::new("s.*p").unwrap());
    let rule = |number| Rule {
        sources: vec![vec![is(Matcher::Principal(StringMatch::parse("*/sa/web")))]],
        operations: vec![vec![is(Matcher::Path(path(number)))]],
        when: vec![
            is(Matcher::Header("x-a".into(), StringMatch::Present)),
            is(Matcher::Namespace(namespace.clone())),
        ],
        origin: Arc::new(origin("rule").with_rule(number, None)),
    };
    (0..20).map(rule).collect()
}

fn policies(denied: Vec<Rule>, allowed: Vec<Rule>) -> RuleSet {
    let allow = Some(Allow { rules: allowed, policies: Arc::new([origin("policy")]) });
    RuleSet { deny: denied, allow, ..RuleSet::default() }
}

#[test]
fn authorizing_allocates_nothing() {
    let (facts, peer) = (facts(8080, Transport::Tls, &[]), peer("cluster.local/ns/shop/sa/web"));
    let header = |name: &str, each: &mut dyn FnMut(&[u8])| {
        if name == "x-a" {
            each(b"1");
        }
    };
    let request = |path| RequestFacts {
        method: "GET",
        authority: "orders",
        path,
        remote_ip: IpAddr::from([10, 0, 0, 9]),
        token: Token::Unverified,
        header: &header,
    };
    let allowing = Authorization::new(policies(vec![], rules()), policies(vec![], vec![]));
    let denying = Authorization::new(policies(rules(), vec![]), RuleSet::default());
    for (rules, path, expected) in
        [(&allowing, "/19/x", true), (&allowing, "/20/x", false), (&denying, "/19/x", false)]
    {
        let count = allocations(|| {
            assert_eq!(authorize(rules, &facts, Some(&peer), &request(path)).is_ok(), expected);
        });
        assert_eq!(count, 0, "{path} {expected}");
    }
    for rules in [allowing, denying] {
        assert_eq!(allocations(|| assert!(authorize_tcp(&rules, &facts, Some(&peer)).is_err())), 0);
    }
}

#[test]
fn choosing_a_chain_and_a_route_allocates_nothing() {
    let matches = |transport| ChainMatch {
        destination_port: Some(8080),
        transport: Some(transport),
        application_protocols: vec!["istio".into()],
        ..ChainMatch::default()
    };
    let chains = [Transport::Raw, Transport::Tls].map(|transport| chain("a", matches(transport), true));
    let clusters = [("orders".into(), cluster("orders", Discovery::OriginalDestination).into())];
    let snapshot = Snapshot {
        listeners: vec![listener(chains.into()).into()],
        clusters: Map::from_iter(clusters),
        ..Snapshot::default()
    };
    let facts = facts(8080, Transport::Tls, &["istio"]);
    let count = allocations(|| {
        assert!(needs(&snapshot.listeners[0], facts.destination).tls);
        assert!(accept(&snapshot, "inbound", &facts).is_ok());
    });
    assert_eq!(count, 0);

    let table = table();
    let request = RouteRequest {
        method: "GET",
        authority: "orders:80",
        scheme: "http",
        path: "/a/b",
        header: &|_, each| each(b"1"),
    };
    assert_eq!(allocations(|| assert!(route(&snapshot, &table, &request, 0).unwrap().cluster.is_some())), 0);
}

fn table() -> RouteTable {
    let regex = StringMatch::Regex(FullRegex::new("/a/.").unwrap());
    let path = crate::PathMatch { value: regex, ignore_case: false };
    let header = crate::HeaderMatch { name: "x-a".into(), value: None, inverted: false };
    let forward = Route {
        name: "forward".into(),
        matches: vec![RouteMatch { path: Some(path), headers: vec![header], ..RouteMatch::default() }],
        action: RouteAction::Forward {
            clusters: vec![WeightedCluster { cluster: "orders".into(), weight: 1 }],
            host: None,
        },
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        timeout: None,
        origin: origin("forward"),
    };
    let host = VirtualHost { name: "orders".into(), routes: vec![forward], origin: origin("orders") };
    RouteTable {
        name: "80".into(),
        exact: Map::from_iter([("orders".into(), host.into())]),
        suffixes: vec![],
        any: None,
        unknown: UnknownHost::NotFound,
        origin: origin("table"),
    }
}
