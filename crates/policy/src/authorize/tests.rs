//! Verdicts by rule shape, the fields one by one, and where a doubtful answer falls.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Permit, RequestFacts, authorize, authorize_tcp};
use crate::sample::{address, facts, origin, peer};
use crate::{
    Allow, Authorization, Clause, FullRegex, Matcher, PathPattern, Peer, Refusal, Rule, RuleSet, StringMatch,
    Transport,
};

/// What a test asks with; every field has a dull default.
struct Ask<'a> {
    from: Option<&'a str>,
    peer: SocketAddr,
    port: u16,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    tcp: bool,
}

fn ask() -> Ask<'static> {
    Ask {
        from: Some("cluster.local/ns/shop/sa/web"),
        peer: address("10.0.0.9:40000"),
        port: 8080,
        method: "GET",
        host: "orders.shop",
        path: "/orders",
        headers: &[],
        tcp: false,
    }
}

impl Ask<'_> {
    fn verdict(&self, rules: &Authorization) -> Result<Permit, Refusal> {
        let identity = self.from.map(peer);
        let mut facts = facts(self.port, Transport::Tls, &[]);
        facts.peer = Peer(self.peer);
        facts.server_name = Some("orders.example".into());
        if self.tcp {
            return authorize_tcp(rules, &facts, identity.as_ref());
        }
        let header = |name: &str, each: &mut dyn FnMut(&[u8])| {
            self.headers.iter().filter(|(n, _)| *n == name).for_each(|(_, value)| each(value.as_bytes()));
        };
        let request = RequestFacts {
            method: self.method,
            authority: self.host,
            path: self.path,
            remote_ip: address("203.0.113.7:1").ip(),
            token: crate::Token::default(),
            header: &header,
        };
        authorize(rules, &facts, identity.as_ref(), &request)
    }

    fn allowed_by(&self, matcher: Matcher) -> bool {
        self.verdict(&allow(vec![rule("r", when(is(matcher)))])).is_ok()
    }

    fn denied_by(&self, clause: Clause) -> bool {
        self.verdict(&deny(vec![rule("r", when(clause))])).is_err()
    }
}

type Parts = (Vec<Vec<Clause>>, Vec<Vec<Clause>>, Vec<Clause>);

fn rule(name: &str, (sources, operations, when): Parts) -> Rule {
    Rule { sources, operations, when, origin: Arc::new(origin(name)) }
}

fn when(clause: Clause) -> Parts {
    (vec![], vec![], vec![clause])
}

fn is(matcher: Matcher) -> Clause {
    Clause { negated: false, any: vec![matcher] }
}

fn not(matcher: Matcher) -> Clause {
    Clause { negated: true, any: vec![matcher] }
}

fn allow(rules: Vec<Rule>) -> Authorization {
    Authorization::new(RuleSet { allow: some(rules), ..RuleSet::default() }, RuleSet::default())
}

fn deny(rules: Vec<Rule>) -> Authorization {
    Authorization::new(RuleSet { deny: rules, ..RuleSet::default() }, RuleSet::default())
}

fn some(rules: Vec<Rule>) -> Option<Allow> {
    Some(Allow { rules, policies: Arc::new([origin("policy")]) })
}

fn text(pattern: &str) -> StringMatch {
    StringMatch::parse(pattern)
}

fn header(name: &str, pattern: &str) -> Matcher {
    Matcher::Header(name.into(), text(pattern))
}

#[test]
fn no_policy_lets_everything_pass() {
    assert!(ask().verdict(&Authorization::default()).unwrap().by().is_none());
    assert!(Ask { tcp: true, from: None, ..ask() }.verdict(&Authorization::default()).is_ok());
}

#[test]
fn custom_comes_before_deny_and_deny_before_allow() {
    let everything = || (vec![], vec![], vec![]);
    let rules = |custom, deny, allowed: &[&str]| {
        let named = |name: &&str| rule(name, everything());
        let set = |names: &[&str]| names.iter().map(named).collect::<Vec<_>>();
        let enforced = RuleSet { custom: set(custom), deny: set(deny), allow: some(set(allowed)) };
        ask().verdict(&Authorization::new(enforced, RuleSet::default()))
    };
    assert_eq!(
        rules(&["c"], &["d"], &["a"]).unwrap_err(),
        Refusal::CustomUnsupported { origin: origin("c") }
    );
    assert_eq!(rules(&[], &["d"], &["a"]).unwrap_err(), Refusal::Denied { origin: origin("d") });
    assert_eq!(rules(&[], &[], &["a", "b"]).unwrap().by(), Some(&origin("a")));
    let refused = Refusal::NotAllowed { policies: Arc::new([origin("policy")]) };
    assert_eq!(rules(&[], &[], &[]).unwrap_err(), refused);
}

#[test]
fn a_rule_is_any_source_and_any_operation_and_every_condition() {
    let method = |name: &str| is(Matcher::Method(text(name)));
    let path = |pattern: &str| is(Matcher::Path(PathPattern::parse(pattern).unwrap()));
    let from = |principal: &str| vec![is(Matcher::Principal(text(principal)))];
    let web = || from("cluster.local/ns/shop/sa/web");
    let stranger = || from("cluster.local/ns/x/sa/y");
    let here = || vec![method("GET"), path("/orders")];
    let elsewhere = || vec![method("GET"), path("/other")];
    for (sources, operations, when, expected) in [
        (vec![stranger(), web()], vec![elsewhere(), here()], vec![is(Matcher::Port(8080))], true),
        (vec![stranger()], vec![here()], vec![], false),
        (vec![web()], vec![elsewhere()], vec![], false),
        (vec![web()], vec![], vec![is(Matcher::Port(8080)), is(Matcher::Port(1))], false),
        (vec![], vec![], vec![], true),
        // An empty source is one without conditions, not an empty list of sources.
        (vec![vec![]], vec![], vec![], true),
    ] {
        let rules = allow(vec![rule("r", (sources, operations, when))]);
        assert_eq!(ask().verdict(&rules).is_ok(), expected, "{rules:?}");
    }
}

#[test]
fn fields() {
    let net = |text: &str| text.parse().unwrap();
    for (matcher, expected) in [
        (Matcher::Principal(text("cluster.local/ns/shop/sa/web")), true),
        (Matcher::Principal(text("*/sa/web")), true),
        (Matcher::Principal(text("cluster.local/*")), true),
        (Matcher::Principal(text("*")), true),
        (Matcher::Principal(text("spiffe://cluster.local/ns/shop/sa/web")), false),
        (Matcher::Principal(text("Cluster.local/ns/shop/sa/web")), false),
        (Matcher::Namespace(text("shop")), true),
        (Matcher::Namespace(text("sh*")), true),
        (Matcher::Namespace(text("web")), false),
        (Matcher::ServiceAccount("shop".into(), "web".into()), true),
        (Matcher::ServiceAccount("shop".into(), "we".into()), false),
        (Matcher::ServiceAccount("legacy".into(), "web".into()), false),
        (Matcher::TrustDomain(text("cluster.local")), true),
        (Matcher::TrustDomain(text("cluster*")), true),
        (Matcher::TrustDomain(text("cluster.local/ns*")), false),
        (Matcher::SourceIp(net("10.0.0.0/24")), true),
        (Matcher::SourceIp(net("203.0.113.7/32")), false),
        (Matcher::RemoteIp(net("203.0.113.7/32")), true),
        (Matcher::RemoteIp(net("10.0.0.0/24")), false),
        (Matcher::DestinationIp(net("10.0.0.1/32")), true),
        (Matcher::DestinationIp(net("::/0")), false),
        (Matcher::Port(8080), true),
        (Matcher::Port(80), false),
        (Matcher::Host(text("ORDERS.*")), true),
        (Matcher::Host(text("orders.shop:80")), false),
        (Matcher::Method(text("GET")), true),
        (Matcher::Method(text("get")), false),
        (Matcher::ServerName(text("orders.example")), true),
        (header("x-tier", "gold"), true),
        (header("x-tier", "*"), true),
        (header("x-none", "*"), false),
        (header("x-empty", "*"), false),
        (header(":method", "GET"), true),
        (header(":authority", "orders.shop"), true),
        (header("host", "orders.shop"), true),
        (Matcher::Constant(true), true),
        (Matcher::Constant(false), false),
    ] {
        let label = format!("{matcher:?}");
        let headers = &[("x-tier", "gold"), ("x-empty", "")];
        assert_eq!(Ask { headers, ..ask() }.allowed_by(matcher), expected, "{label}");
    }
}

#[test]
fn a_namespace_wildcard_may_cross_slashes_and_accounts_tolerate_other_pairs() {
    let custom = Ask { from: Some("td.example/env/prod/ns/shop/tier/a/sa/web/x/y"), ..ask() };
    assert!(custom.allowed_by(Matcher::Namespace(text("shop/tier*"))));
    assert!(custom.allowed_by(Matcher::Namespace(text("shop"))));
    assert!(custom.allowed_by(Matcher::ServiceAccount("shop".into(), "web".into())));
    let odd = Ask { from: Some("td.example/ns/shop/sa/web/x"), ..ask() };
    assert!(!odd.allowed_by(Matcher::ServiceAccount("shop".into(), "web".into())));
    let order = Ask { from: Some("td.example/sa/web/ns/shop"), ..ask() };
    assert!(!order.allowed_by(Matcher::ServiceAccount("shop".into(), "web".into())));
    assert!(!order.allowed_by(Matcher::Namespace(text("shop"))));
}

#[test]
fn without_an_identity_nothing_about_it_matches_and_so_every_negation_holds() {
    let plaintext = Ask { from: None, ..ask() };
    let fields = || {
        [
            Matcher::Principal(text("*")),
            Matcher::Namespace(text("*")),
            Matcher::TrustDomain(text("*")),
            Matcher::ServiceAccount("shop".into(), "web".into()),
        ]
    };
    for matcher in fields() {
        assert!(!plaintext.allowed_by(matcher));
    }
    for matcher in fields() {
        assert!(plaintext.denied_by(not(matcher)));
    }
}

#[test]
fn an_ipv4_peer_of_a_dual_stack_socket_is_an_ipv4_peer() {
    let mapped = Ask { peer: address("[::ffff:10.1.2.3]:9"), ..ask() };
    assert!(mapped.allowed_by(Matcher::SourceIp("10.1.0.0/16".parse().unwrap())));
}

/// What repeating a header must never do: open what one value would not have opened.
#[test]
fn a_repeated_header_gains_nothing() {
    let twice = Ask { headers: &[("x-role", "user"), ("x-role", "admin")], ..ask() };
    assert!(!twice.allowed_by(header("x-role", "admin")), "ALLOW wants every value");
    assert!(twice.allowed_by(header("x-role", "*")));
    assert!(twice.denied_by(is(header("x-role", "admin"))), "for DENY one is enough");
    assert!(twice.denied_by(not(header("x-role", "admin"))), "DENY unless admin: the other value is not");
    let rules = allow(vec![rule("r", when(not(header("x-role", "user"))))]);
    assert!(twice.verdict(&rules).is_err(), "ALLOW unless user: one value is");
    assert!(twice.denied_by(is(header("x-role", "user,admin"))), "joined by commas it is the same header");
}

#[test]
fn a_header_that_is_not_utf8_is_matched_all_the_same() {
    let bytes = |name: &str, each: &mut dyn FnMut(&[u8])| {
        if name == "x-role" {
            each(b"guest\xff");
        }
    };
    let request = RequestFacts {
        method: "GET",
        authority: "a",
        path: "/",
        remote_ip: address("10.0.0.9:1").ip(),
        token: crate::Token::default(),
        header: &bytes,
    };
    let rules = deny(vec![rule("r", when(is(header("x-role", "guest*"))))]);
    assert!(authorize(&rules, &facts(80, Transport::Raw, &[]), None, &request).is_err());
}

#[test]
fn http_fields_on_tcp_shrink_allow_and_grow_deny() {
    let tcp = Ask { tcp: true, ..ask() };
    for matcher in [Matcher::Method(text("GET")), Matcher::Host(text("*")), header("x", "y")] {
        assert!(!tcp.allowed_by(matcher));
    }
    assert!(tcp.verdict(&allow(vec![rule("r", when(not(Matcher::Method(text("PUT")))))])).is_err());
    assert!(tcp.denied_by(is(Matcher::Method(text("PUT")))));
    assert!(tcp.denied_by(not(Matcher::Path(PathPattern::Plain(text("/x"))))));
    assert!(tcp.allowed_by(Matcher::RemoteIp("10.0.0.9/32".parse().unwrap())), "remote is the peer");
}

#[test]
fn what_cannot_be_answered_falls_to_the_closed_side() {
    for negated in [false, true] {
        let empty = || Clause { negated, any: vec![] };
        assert!(ask().denied_by(empty()));
        assert!(ask().verdict(&allow(vec![rule("r", when(empty()))])).is_err());
        let unknown = || Clause { negated, any: vec![header(":path", "/orders")] };
        assert!(ask().denied_by(unknown()));
        assert!(ask().verdict(&allow(vec![rule("r", when(unknown()))])).is_err());
    }
}

#[test]
fn dry_run_denies_nothing_and_says_what_it_would_have_done() {
    let everything = || vec![rule("d", (vec![], vec![], vec![]))];
    let with = |deny, allow| {
        let dry_run = RuleSet { deny, allow, ..RuleSet::default() };
        let permit = ask().verdict(&Authorization::new(RuleSet::default(), dry_run)).unwrap();
        permit.would_deny().cloned()
    };
    assert_eq!(with(everything(), None), Some(origin("d")));
    assert_eq!(with(vec![], some(vec![])), Some(origin("policy")));
    assert_eq!(with(vec![], some(everything())), None);
    assert_eq!(with(vec![], None), None);
}

#[test]
fn a_regex_is_taken_whole() {
    let shop = StringMatch::Regex(FullRegex::new("s.*p").unwrap());
    assert!(ask().allowed_by(Matcher::Namespace(shop)));
    let part = StringMatch::Regex(FullRegex::new("ho").unwrap());
    assert!(!ask().allowed_by(Matcher::Namespace(part)));
}
