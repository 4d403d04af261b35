//! What is said to each refusal, and that following it helps: every remedy was asked about before it is told.

use std::sync::Arc;

use sidering_identity::{ExpectedSan, ExpectedSans, Leaf, SpiffeId, TrustDomain};

use super::*;
use crate::sample::{address, chain, cluster, facts, listener, origin, responding};
use crate::{
    Allow, Authorization, BindAddress, ChainMatch, Clause, ClientCertificate, HeaderMatch, Map, Matcher,
    PathMatch, PathPattern, Route, RouteMatch, RouteTable, Rule, RuleSet, Sni, StringMatch, TlsVersion,
    Transport, UnknownHost, UpstreamAlpn, UpstreamTls, VirtualHost,
};

const MESH: &[&str] = &["istio"];
const WEB: &str = "cluster.local/ns/shop/sa/web";

fn leaf(principal: &str) -> Leaf {
    Leaf { uris: vec![format!("spiffe://{principal}")], ..crate::sample::peer(principal).leaf }
}

/// `GET /orders` of the web, by mutual TLS.
fn case() -> Case {
    Case {
        listener: "inbound".into(),
        facts: facts(8080, Transport::Tls, MESH),
        client: Some(leaf(WEB)),
        request: Some(Asked {
            method: "GET".into(),
            authority: "orders.shop".into(),
            path: "/orders".into(),
            remote_ip: address("10.0.0.9:1").ip(),
            headers: Some(Vec::new()),
        }),
        server: None,
        decided: None,
    }
}

fn snapshot(chains: Vec<Arc<Chain>>) -> Snapshot {
    Snapshot {
        listeners: vec![Arc::new(listener(chains))],
        trust_domains: [TrustDomain::parse("cluster.local").unwrap()].into(),
        identity: Some(SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/orders").unwrap()),
        ..Snapshot::default()
    }
}

/// What is told, a remedy a line.
#[track_caller]
fn told(snapshot: Snapshot, case: &Case) -> Vec<String> {
    let answer = remedies(&Arc::new(snapshot), case);
    assert!(answer.refused.is_some() || answer.remedies.is_empty(), "{answer:?}");
    answer.remedies.iter().map(ToString::to_string).collect()
}

fn any_host(routes: Vec<Route>) -> RouteTable {
    RouteTable {
        name: "80".into(),
        exact: Map::default(),
        suffixes: Vec::new(),
        any: Some(Arc::new(VirtualHost { name: "any".into(), routes, origin: origin("any") })),
        unknown: UnknownHost::NotFound,
        origin: origin("table"),
    }
}

/// A mesh chain of port 8080 that speaks HTTP by those routes, under those rules.
fn http(rules: RuleSet, table: RouteTable) -> Arc<Chain> {
    let matches =
        ChainMatch { destination_port: Some(8080), transport: Some(Transport::Tls), ..ChainMatch::default() };
    Arc::new(Chain {
        filter: Filter::Http(Arc::new(table)),
        authorization: Arc::new(Authorization::new(rules, RuleSet::default())),
        ..Chain::clone(&chain("strict", matches, true))
    })
}

fn under(rules: RuleSet) -> Snapshot {
    snapshot(vec![http(rules, any_host(vec![responding("all", vec![])]))])
}

fn text(pattern: &str) -> StringMatch {
    StringMatch::parse(pattern)
}

fn principal(pattern: &str) -> Clause {
    is(Matcher::Principal(text(pattern)))
}

fn path(pattern: &str) -> Clause {
    is(Matcher::Path(PathPattern::parse(pattern).unwrap()))
}

fn header(name: &str, pattern: &str) -> Clause {
    is(Matcher::Header(name.into(), text(pattern)))
}

fn is(matcher: Matcher) -> Clause {
    Clause { negated: false, any: vec![matcher] }
}

fn not(clause: Clause) -> Clause {
    Clause { negated: true, ..clause }
}

fn rule(name: &str, from: Vec<Clause>, to: Vec<Clause>, when: Vec<Clause>) -> Rule {
    let list = |clauses: Vec<Clause>| if clauses.is_empty() { vec![] } else { vec![clauses] };
    Rule { sources: list(from), operations: list(to), when, origin: Arc::new(origin(name)) }
}

fn allowing(rules: Vec<Rule>) -> RuleSet {
    let allow = Some(Allow { rules, policies: Arc::new([origin("policy")]) });
    RuleSet { allow, ..RuleSet::default() }
}

fn denying(deny: Vec<Rule>) -> RuleSet {
    RuleSet { deny, ..RuleSet::default() }
}

#[test]
fn what_passes_needs_no_remedy() {
    let answer = remedies(&Arc::new(under(RuleSet::default())), &case());
    assert_eq!(answer, Answer::default());
}

#[test]
fn what_an_allow_rule_lacks() {
    let of_its_own = "Sample policy: add a rule with from.source.principals: [cluster.local/ns/shop/sa/web], to.operation.methods: [GET], to.operation.paths: [/orders]";
    for (clauses, expected) in [
        (
            (vec![principal("cluster.local/ns/bank/sa/teller")], vec![], vec![]),
            "Sample r: add `cluster.local/ns/shop/sa/web` to from.source.principals, which has `cluster.local/ns/bank/sa/teller`",
        ),
        (
            (vec![principal("cluster.local/ns/shop/sa/wbe")], vec![], vec![]),
            "Sample r: write `cluster.local/ns/shop/sa/web` for `cluster.local/ns/shop/sa/wbe` in from.source.principals, if that is a slip",
        ),
        (
            (vec![principal("spiffe://cluster.local/ns/shop/sa/web")], vec![], vec![]),
            "Sample r: write `cluster.local/ns/shop/sa/web` for `spiffe://cluster.local/ns/shop/sa/web` in from.source.principals, if that is a slip",
        ),
        (
            (vec![principal("ns/shop/sa/web")], vec![], vec![]),
            "Sample r: write `cluster.local/ns/shop/sa/web` for `ns/shop/sa/web` in from.source.principals, if that is a slip",
        ),
        (
            (vec![is(Matcher::Namespace(text("bank")))], vec![], vec![]),
            "Sample r: add `shop` to from.source.namespaces, which has `bank`",
        ),
        (
            (vec![not(is(Matcher::Namespace(text("sh*"))))], vec![], vec![]),
            "Sample r: take `sh*` out of from.source.notNamespaces",
        ),
        (
            (vec![], vec![is(Matcher::Method(text("get"))), path("/orders*")], vec![]),
            "Sample r: write `GET` for `get` in to.operation.methods, if that is a slip",
        ),
        (
            (vec![], vec![is(Matcher::Port(9090))], vec![]),
            "Sample r: add `8080` to to.operation.ports, which has `9090`",
        ),
        (
            (vec![], vec![], vec![is(Matcher::SourceIp("192.168.0.0/16".parse().unwrap()))]),
            "Sample r: add `10.0.0.9` to when[source.ip].values, which has `192.168.0.0/16`",
        ),
        (
            (vec![], vec![], vec![header("x-role", "admin*")]),
            "Sample r: header `x-role` of the request would have to be `admin*` (when[request.headers[x-role]].values)",
        ),
        (
            (vec![], vec![], vec![is(Matcher::ServerName(text("orders.example")))]),
            "Sample r: the client would have to send as SNI `orders.example` (when[connection.sni].values)",
        ),
    ] {
        let rules = allowing(vec![rule("r", clauses.0, clauses.1, clauses.2)]);
        let all = told(under(rules), &case());
        assert_eq!(all, [expected, of_its_own]);
    }
}

#[test]
fn the_rule_that_lacks_least_comes_first() {
    let far = rule("far", vec![principal("a/b")], vec![path("/x"), is(Matcher::Port(1))], vec![]);
    let near = rule("near", vec![principal("*/sa/web")], vec![path("/carts")], vec![]);
    let all = told(under(allowing(vec![far, near])), &case());
    assert_eq!(all[0], "Sample near: add `/orders` to to.operation.paths, which has `/carts`");
    assert!(all[1].starts_with("Sample policy: add a rule with"), "{all:?}");
    assert_eq!(all.len(), 3);
    assert_eq!(all[2].matches(", and ").count(), 2, "each that is missing: {all:?}");
}

#[test]
fn a_rule_of_its_own_comes_before_one_that_would_let_in_more() {
    let wide = rule("wide", vec![principal("cluster.local/ns/shop/sa/wbe")], vec![path("/carts")], vec![]);
    let all = told(under(allowing(vec![wide])), &case());
    assert!(
        all[0].starts_with("Sample policy: add a rule") && all[1].starts_with("Sample wide: "),
        "{all:?}"
    );
}

#[test]
fn the_closest_of_many_is_found_and_no_more_than_three_are_told() {
    let far = |_| rule("far", vec![principal("a/b")], vec![path("/x"), is(Matcher::Port(1))], vec![]);
    let near = |name: &str| rule(name, vec![principal("*/sa/web")], vec![path("/carts")], vec![]);
    let rules = (0..9).map(far).chain(["one", "two", "three", "four"].map(near)).collect();
    let all = told(under(allowing(rules)), &case());
    let names: Vec<_> = all.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["Sample one", "Sample two", "Sample three"]);

    let to = |path: &str, method: &str| RouteMatch {
        path: Some(PathMatch { value: text(path), ignore_case: false }),
        method: Some(text(method)),
        ..RouteMatch::default()
    };
    let far = (0..9).map(|_| responding("far", vec![to("/x", "PUT")]));
    let routes = far.chain([responding("near", vec![to("/orders", "PUT")])]).collect();
    let all = told(routed(any_host(routes)), &asking(|_| {}));
    assert_eq!(all[0], "Sample near: let the route take method `GET` (it wants `PUT`)");
}

#[test]
fn a_policy_without_rules_gets_one() {
    let all = told(under(allowing(vec![])), &case());
    assert_eq!(all.len(), 1);
    assert!(
        all[0].starts_with("Sample policy: add a rule with from.source.principals: [cluster.local"),
        "{all:?}"
    );
}

#[test]
fn no_value_helps_where_tokens_are_asked_for() {
    let token = is(Matcher::RequestPrincipal(text("*"), text("*")));
    let all = told(under(allowing(vec![rule("r", vec![token], vec![], vec![])])), &case());
    assert_eq!(all.len(), 1, "only a rule of its own: {all:?}");
}

#[test]
fn everything_that_denies_is_named_together() {
    let custom = rule("custom", vec![], vec![path("/orders")], vec![]);
    let first = rule("first", vec![principal("*/web")], vec![path("/o*")], vec![]);
    let second = rule("second", vec![], vec![], vec![not(header("x-token", "t"))]);
    let rules = RuleSet {
        custom: vec![custom],
        deny: vec![first, second],
        ..allowing(vec![rule("readers", vec![], vec![path("/orders*"), is(Matcher::Port(1))], vec![])])
    };
    let all = told(under(rules), &case());
    assert_eq!(
        all[0],
        "Sample custom: leave this request out: to.operation.paths has `/orders`; no provider is supported, so what it matches is denied; \
         and Sample first: leave this request out: from.source.principals has `*/web`, to.operation.paths has `/o*`; \
         and Sample second: leave this request out: when[request.headers[x-token]].notValues does not list it; \
         and Sample readers: add `8080` to to.operation.ports, which has `1`"
    );
}

#[test]
fn headers_that_are_not_known_are_not_guessed() {
    let unseen = |decided: Option<&str>| {
        let mut case = case();
        case.request.as_mut().unwrap().headers = None;
        case.decided = decided.map(Into::into);
        case
    };
    let deny = || rule("deny", vec![], vec![path("/o*")], vec![header("x-role", "guest")]);
    let all = told(under(denying(vec![deny()])), &unseen(Some("deny")));
    assert_eq!(all, ["Sample deny: leave this request out: to.operation.paths has `/o*`"]);
    let answer = remedies(&Arc::new(under(denying(vec![deny()]))), &unseen(None));
    assert_eq!(answer, Answer { unseen_headers: true, ..Answer::default() });

    let both = RuleSet {
        deny: vec![deny()],
        ..allowing(vec![rule("allow", vec![], vec![], vec![header("x-id", "*")])])
    };
    let all = told(under(both), &unseen(Some("deny")));
    assert!(all[0].ends_with("; and Sample allow: header `x-id` of the request would have to be `*` (when[request.headers[x-id]].values)"), "{all:?}");

    let listed = rule("allow", vec![], vec![], vec![not(header("x-role", "guest"))]);
    let all = told(under(allowing(vec![listed])), &unseen(None));
    assert_eq!(
        all[0],
        "Sample allow: header `x-role` of the request would have to be not `guest` (when[request.headers[x-role]].notValues)"
    );
}

#[test]
fn plaintext_to_strict() {
    let mut plain = case();
    (plain.facts, plain.client) = (facts(8080, Transport::Raw, &[]), None);
    let strict = under(allowing(vec![rule("web", vec![principal("*/web")], vec![], vec![])]));
    let all = told(strict, &plain);
    assert!(all[0].starts_with("the client uses mutual TLS: "), "{all:?}");
    assert_eq!(
        all[1],
        "Sample strict: let port 8080 be PERMISSIVE while clients move to mutual TLS; \
         and Sample policy: add a rule with from.source.ipBlocks: [10.0.0.9], to.operation.methods: [GET], to.operation.paths: [/orders]"
    );
    assert_eq!(all.len(), 2, "nobody comes by mutual TLS because a port is PERMISSIVE: {all:?}");
}

#[test]
fn plaintext_has_no_identity() {
    let mut plain = case();
    (plain.facts, plain.client) = (facts(8080, Transport::Raw, &["http/1.1"]), None);
    let rules = allowing(vec![rule("web", vec![principal("*/web")], vec![path("/orders")], vec![])]);
    let strict = under(rules);
    let listener = Listener::clone(&strict.listeners[0]);
    let matches = ChainMatch { transport: Some(Transport::Raw), ..listener.chains[0].matches.clone() };
    let open = Arc::new(Chain { tls: None, matches, ..Chain::clone(&listener.chains[0]) });
    let permissive =
        Snapshot { listeners: vec![Arc::new(Listener { chains: vec![open].into(), ..listener })], ..strict };
    assert_eq!(
        told(permissive, &plain)[0],
        "Sample web: the client, which has no such identity, would have to come by mutual TLS as `*/web` (from.source.principals)"
    );
}

#[test]
fn tls_that_nobody_takes() {
    let raw = |transport| ChainMatch {
        destination_port: Some(8080),
        transport: Some(transport),
        application_protocols: if transport == Transport::Tls { vec!["istio".into()] } else { vec![] },
        ..ChainMatch::default()
    };
    let mut ordinary = case();
    (ordinary.facts, ordinary.client, ordinary.request) =
        (facts(8080, Transport::Tls, &["h2", "http/1.1"]), None, None);
    let chains = vec![chain("mtls", raw(Transport::Tls), true), chain("plain", raw(Transport::Raw), false)];
    let all = told(snapshot(chains), &ordinary);
    assert_eq!(
        all,
        [
            "the client's TLS is the mesh's mutual TLS, which offers `istio` by ALPN (it offered `h2` or `http/1.1`)",
            "the client sends plaintext instead of TLS"
        ]
    );
    let disabled = told(snapshot(vec![chain("plain", raw(Transport::Raw), false)]), &ordinary);
    assert_eq!(disabled, ["the client sends plaintext instead of TLS"], "what does not help is not told");
}

#[test]
fn a_port_that_is_not_configured() {
    let of = |port| ChainMatch { destination_port: Some(port), ..ChainMatch::default() };
    let mut elsewhere = case();
    (elsewhere.facts, elsewhere.client) = (facts(8081, Transport::Raw, &[]), None);
    let all = told(snapshot(vec![chain("a", of(80), false), chain("b", of(8080), false)]), &elsewhere);
    assert_eq!(all[0], "the client connects to port 8080, which is configured");
    assert_eq!(all[1], "the client connects to port 80, which is configured");
    assert!(all[2].starts_with("declare port 8081 in a ServiceEntry"), "{all:?}");
}

#[test]
fn a_listener_that_is_gone() {
    let bound = |port: u16| {
        let bind = BindAddress::Tcp(address(&format!("10.0.0.1:{port}")));
        let name: Arc<str> = format!("10.0.0.1_{port}").into();
        let chains = vec![chain("raw", ChainMatch::default(), false)].into();
        Arc::new(Listener { name, bind, captures: false, chains, ..listener(vec![]) })
    };
    let snapshot = Snapshot { listeners: vec![bound(80), bound(8081)], ..Snapshot::default() };
    let mut gone = case();
    (gone.listener, gone.facts, gone.client) =
        ("10.0.0.1_8080".into(), facts(8080, Transport::Raw, &[]), None);
    assert_eq!(
        told(snapshot, &gone),
        [
            "the client connects to 10.0.0.1:8081, which Sample listener binds",
            "the client connects to 10.0.0.1:80, which Sample listener binds"
        ]
    );
}

#[test]
fn a_foreign_trust_domain() {
    let mut foreign = case();
    foreign.client = Some(leaf("elsewhere.org/ns/shop/sa/web"));
    let all = told(under(RuleSet::default()), &foreign);
    assert_eq!(
        all,
        [
            "the client's certificate is issued as `spiffe://cluster.local/ns/shop/sa/web`, in the trust domain of this mesh",
            "MeshConfig trustDomainAliases: list `elsewhere.org`"
        ]
    );
    let only = allowing(vec![rule("r", vec![principal("cluster.local/ns/shop/sa/*")], vec![], vec![])]);
    let all = told(under(only), &foreign);
    assert_eq!(all.len(), 3);
    assert!(
        all[1].contains("list `elsewhere.org`; and Sample r: add `elsewhere.org/ns/shop/sa/web`"),
        "{all:?}"
    );
}

fn outbound(expected: &str, from: &str) -> Snapshot {
    let tls = UpstreamTls {
        certificate: ClientCertificate::Workload,
        trust: Trust::Mesh,
        sni: Sni::None,
        sans: Arc::new(ExpectedSans(vec![ExpectedSan { name: expected.into(), from: from.into() }])),
        alpn: UpstreamAlpn::Mesh,
        min_version: TlsVersion::default(),
        cipher_suites: vec![],
        origin: origin("tls"),
    };
    let endpoint = Endpoint {
        address: Address::Tcp(address("10.0.0.2:80")),
        weight: 1,
        tls: Some(Arc::new(tls)),
        origin: origin("endpoint"),
    };
    let name: Arc<str> = "outbound|80||orders.shop".into();
    let to = WeightedCluster { cluster: name.clone(), weight: 1 };
    let chain = Arc::new(Chain {
        filter: Filter::Tcp([to].into()),
        ..Chain::clone(&chain("tcp", ChainMatch::default(), false))
    });
    let mut snapshot = snapshot(vec![chain]);
    let cluster = cluster(&name, Discovery::Static(vec![Arc::new(endpoint)]));
    snapshot.clusters.insert(name, Arc::new(cluster));
    snapshot
}

fn answered(principal: &str) -> Case {
    let server = Answered {
        cluster: "outbound|80||orders.shop".into(),
        address: Address::Tcp(address("10.0.0.2:80")),
        leaf: leaf(principal),
    };
    Case { client: None, request: None, server: Some(server), ..case() }
}

#[test]
fn a_server_that_is_somebody_else() {
    let snapshot = || outbound("spiffe://cluster.local/ns/shop/sa/orders", "an endpoint");
    assert_eq!(
        remedies(&Arc::new(snapshot()), &answered("cluster.local/ns/shop/sa/orders")),
        Answer::default()
    );
    assert_eq!(
        told(snapshot(), &answered("cluster.local/ns/bank/sa/teller")),
        [
            "the server presents a certificate for `spiffe://cluster.local/ns/shop/sa/orders`",
            "Sample endpoint: if the server is the right one, set `serviceAccount: teller` (in namespace bank) or list `spiffe://cluster.local/ns/bank/sa/teller` in `subjectAltNames`"
        ]
    );
    let slip = told(snapshot(), &answered("cluster.local/ns/shop/sa/order"));
    assert!(
        slip[0].ends_with(
            "(it expects `spiffe://cluster.local/ns/shop/sa/orders`, which is almost the same: a slip?)"
        ),
        "{slip:?}"
    );
    let of_rule = outbound(
        "spiffe://cluster.local/ns/shop/sa/orders",
        "subjectAltNames of the DestinationRule (f:1:1)",
    );
    let all = told(of_rule, &answered("cluster.local/ns/bank/sa/teller"));
    assert!(all[1].starts_with("Sample tls: if the server is the right one, list `spiffe://"), "{all:?}");
    let foreign = told(snapshot(), &answered("other/ns/shop/sa/orders"));
    assert_eq!(
        foreign[0],
        "the server's certificate is issued as `spiffe://cluster.local/ns/shop/sa/orders`, in the trust domain of this mesh"
    );
    assert!(foreign[1].contains("list `other`; and Sample endpoint: "), "both are in the way: {foreign:?}");
}

/// An outbound listener of plaintext HTTP.
fn routed(table: RouteTable) -> Snapshot {
    let chain = Chain {
        filter: Filter::Http(Arc::new(table)),
        ..Chain::clone(&chain("http", ChainMatch::default(), false))
    };
    snapshot(vec![Arc::new(chain)])
}

fn asking(change: impl FnOnce(&mut Asked)) -> Case {
    let mut case = Case { client: None, facts: facts(80, Transport::Raw, &[]), ..case() };
    change(case.request.as_mut().unwrap());
    case
}

#[test]
fn a_host_that_nobody_declares() {
    let known = |unknown| {
        let host = |name: &str| {
            let routes = vec![responding("all", vec![])];
            (name.into(), Arc::new(VirtualHost { name: name.into(), routes, origin: origin(name) }))
        };
        let exact = Map::from_iter(["orders.shop.svc", "orders.shop", "billing.shop"].map(host));
        routed(RouteTable { exact, any: None, unknown, ..any_host(vec![]) })
    };
    let all =
        told(known(UnknownHost::NotFound), &asking(|request| request.authority = "Ordres.shop:80".into()));
    assert_eq!(all[0], "the client asks for host `orders.shop`, which Sample orders.shop declares");
    assert_eq!(
        all[1],
        "declare host `ordres.shop` with port 80 in a ServiceEntry or Service that this workload sees"
    );
    let all =
        told(known(UnknownHost::BlackHole), &asking(|request| request.authority = "example.com".into()));
    assert_eq!(all.len(), 2);
    assert!(all[1].starts_with("let outboundTrafficPolicy be ALLOW_ANY"), "{all:?}");
}

#[test]
fn a_request_that_no_route_takes() {
    let prefix = |text: &str| Some(PathMatch { value: StringMatch::Prefix(text.into()), ignore_case: false });
    let header = HeaderMatch { name: "x-user".into(), value: Some(text("alice")), inverted: false };
    let carts = RouteMatch { path: prefix("/carts"), ..RouteMatch::default() };
    let posts = RouteMatch {
        path: prefix("/orders"),
        method: Some(text("POST")),
        headers: vec![header],
        ..RouteMatch::default()
    };
    let table =
        || any_host(vec![responding("carts", vec![carts.clone()]), responding("posts", vec![posts.clone()])]);
    let all = told(routed(table()), &asking(|_| {}));
    assert_eq!(
        all,
        [
            "Sample carts: let the route take path `/orders` (it wants `/carts*`)",
            "Sample any: add a route without `match` at the end, for everything else",
            "Sample posts: let the route take method `GET` (it wants `POST`), and requests without header `x-user: alice`"
        ]
    );
    let known = |name: &str| (name.into(), any_host(vec![responding(name, vec![])]).any.unwrap());
    let others = || RouteTable { exact: Map::from_iter([known("orders.shop")]), ..table() };
    let elsewhere = asking(|request| request.headers = None);
    let answer = remedies(&Arc::new(routed(others())), &elsewhere);
    assert_eq!(answer, Answer::default(), "no route of this host asks for a header");
    let unseen = asking(|request| request.headers = None);
    assert!(remedies(&Arc::new(routed(table())), &unseen).unseen_headers);
}

#[test]
fn a_cluster_that_is_not_there() {
    let to = |name: &str| Route {
        action: RouteAction::Forward {
            clusters: vec![
                WeightedCluster { cluster: "outbound|80|v1|orders.shop".into(), weight: 1 },
                WeightedCluster { cluster: name.into(), weight: 9 },
            ],
            host: None,
        },
        ..responding("split", vec![])
    };
    let world = |name: &str, discovery: Option<Discovery>| {
        let mut snapshot = routed(any_host(vec![to(name)]));
        let endpoints = || Discovery::Static(vec![crate::sample::endpoint(80, 1)]);
        let all = [
            ("outbound|80|v1|orders.shop", Some(endpoints())),
            ("outbound|80||orders.shop", Some(endpoints())),
            (name, discovery),
        ];
        for (name, discovery) in all {
            if let Some(discovery) = discovery {
                snapshot.clusters.insert(name.into(), Arc::new(cluster(name, discovery)));
            }
        }
        snapshot
    };
    let all = told(world("outbound|80|v2|orders.shop", None), &asking(|_| {}));
    assert_eq!(
        all,
        [
            "Sample split: name host `orders.shop`, port 80, subset `v1` instead, which exists (Sample outbound|80|v1|orders.shop)",
            "Sample split: name host `orders.shop`, port 80, without subset instead, which exists (Sample outbound|80||orders.shop)",
            "define subset `v2` in a DestinationRule for host `orders.shop`"
        ]
    );
    let empty = told(world("outbound|80|v2|orders.shop", Some(Discovery::Static(vec![]))), &asking(|_| {}));
    assert_eq!(
        empty,
        [
            "let the route name host `orders.shop` without subset `v2`: of 1 endpoints none has the subset's labels",
            "Sample outbound|80|v2|orders.shop: give an endpoint the labels that subset `v2` selects by, or select by other labels"
        ]
    );
    let hole = told(world("BlackHoleCluster", Some(Discovery::BlackHole)), &asking(|_| {}));
    assert_eq!(
        hole[0],
        "declare a service with address 10.0.0.1 and port 80 in a ServiceEntry that this workload sees"
    );
    assert!(
        hole[1].starts_with("Sample BlackHoleCluster: let outboundTrafficPolicy be ALLOW_ANY"),
        "{hole:?}"
    );
}
