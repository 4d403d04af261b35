//! The index finds what testing every rule finds, of whatever rules and for whomever.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Literals, Part, Rules};
use crate::evaluate::{Effect, Subject};
use crate::sample::{facts, origin, peer};
use crate::{
    Clause, FullRegex, Matcher, PathPattern, PathTemplate, RequestFacts, Rule, StringMatch, Token, Transport,
};

/// Ids and the parts of them that rules ask for; short, so that they meet often.
const IDS: &[&str] = &[
    "td/ns/a/sa/b",
    "td/ns/a/sa/c",
    "td/ns/b/sa/b",
    "td/ns/a/t/x/sa/b",
    "td/sa/b/ns/a",
    "other/a",
    "td/ns/ns/sa/b",
    "td/ns/ns/a/sa/b",
    "ns/ns/ns/sa/ns",
];
const PATHS: &[&str] = &["/", "/a", "/a/b", "/a/b/c", "/b", "/a.png", ""];
const METHODS: &[&str] = &["GET", "PUT"];

fn text(of: &'static [&'static str]) -> impl Strategy<Value = StringMatch> {
    (select(of), 0..20usize, 0..6).prop_map(|(text, cut, kind)| {
        let cut = cut.min(text.len());
        match kind {
            0 | 1 => StringMatch::Exact(text.into()),
            2 => StringMatch::Prefix(text[..cut].into()),
            3 => StringMatch::Suffix(text[cut..].into()),
            4 => StringMatch::Present,
            _ => StringMatch::Regex(FullRegex::new(&format!("{}.*", &text[..cut])).unwrap()),
        }
    })
}

fn template() -> impl Strategy<Value = PathTemplate> {
    select(&["/a", "/a/{*}", "/{*}/b", "/a/{**}", "{**}", "/a/b/{*}/{**}"][..])
        .prop_map(|text| PathTemplate::parse(text).unwrap())
}

fn matcher() -> impl Strategy<Value = Matcher> {
    prop_oneof![
        3 => text(IDS).prop_map(Matcher::Principal),
        3 => text(PATHS).prop_map(|value| Matcher::Path(PathPattern::Plain(value))),
        1 => template().prop_map(|value| Matcher::Path(PathPattern::Template(value))),
        2 => text(&["a", "b", "a/t/x", "ns", "ns/a"]).prop_map(Matcher::Namespace),
        2 => (select(&["a", "b"][..]), select(&["b", "c"][..]))
            .prop_map(|(namespace, account)| Matcher::ServiceAccount(namespace.into(), account.into())),
        1 => text(METHODS).prop_map(Matcher::Method),
        1 => text(METHODS).prop_map(|value| Matcher::Header("x-a".into(), value)),
        1 => text(METHODS).prop_map(|value| Matcher::Header(":path".into(), value)),
        1 => text(IDS).prop_map(|value| Matcher::RequestPrincipal(value, StringMatch::Present)),
        1 => any::<bool>().prop_map(Matcher::Constant),
    ]
}

/// Mostly of one kind, as policies have them; now and then of several, or of none.
fn clause() -> impl Strategy<Value = Clause> {
    let one_kind = prop_oneof![
        vec(text(IDS).prop_map(Matcher::Principal), 1..4),
        vec(text(PATHS).prop_map(|value| Matcher::Path(PathPattern::Plain(value))), 1..4),
    ];
    let any = prop_oneof![3 => one_kind, 1 => vec(matcher(), 0..3)];
    (prop::bool::weighted(0.2), any).prop_map(|(negated, any)| Clause { negated, any })
}

fn rule() -> impl Strategy<Value = Rule> {
    let lists = || vec(vec(clause(), 0..3), 0..3);
    (lists(), lists(), vec(clause(), 0..2)).prop_map(|(sources, operations, when)| Rule {
        sources,
        operations,
        when,
        origin: Arc::new(origin("rule")),
    })
}

#[test]
fn no_more_of_a_value_is_looked_up_than_rules_have_of_text() {
    let mut literals = Literals::default();
    ["/ab", "/ef", "/abcd"].into_iter().enumerate().for_each(|(number, text)| literals.add(text, number));
    let long = "/".repeat(60_000);
    for (value, part, expected) in [
        (&*long, Part::Whole, &[][..]),
        (&*long, Part::Begin, &["///", "/////"]),
        (&*long, Part::End, &["///", "/////"]),
        ("/xy", Part::Whole, &["/xy"]),
        ("/xyz", Part::Whole, &[]),
        ("/xyz", Part::Begin, &["/xy"]),
        ("/xyz", Part::End, &["xyz"]),
        ("", Part::Begin, &[]),
    ] {
        let found: Vec<&[u8]> = literals.possible(part, value.as_bytes()).collect();
        let expected: Vec<&[u8]> = expected.iter().map(|text| text.as_bytes()).collect();
        assert_eq!(found, expected, "{:.9}", value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn finds_the_rule_that_a_scan_finds(
        rules in vec(rule(), 0..12),
        id in proptest::option::weighted(0.8, select(IDS)),
        (method, path) in (select(METHODS), select(PATHS)),
        header in proptest::option::of(select(METHODS)),
        token in select(&[Token::Unverified, Token::Absent][..]),
    ) {
        let rules = Rules::new(rules);
        let peer = id.map(peer);
        let facts = facts(80, Transport::Tls, &[]);
        let request = RequestFacts {
            method,
            authority: "host",
            path,
            remote_ip: IpAddr::from([10, 0, 0, 9]),
            token,
            header: &|name, each| header.iter().filter(|_| name == "x-a").for_each(|value| each(value.as_bytes())),
        };
        for request in [Some(&request), None] {
            let subject = Subject { facts: &facts, peer: peer.as_ref(), request };
            for effect in [Effect::Allow, Effect::Deny] {
                let number = |found: Option<&Rule>| {
                    found.and_then(|found| rules.rules.iter().position(|rule| std::ptr::eq(rule, found)))
                };
                prop_assert_eq!(number(rules.look_up(&subject, effect)), number(rules.scan(&subject, effect)));
            }
        }
    }
}
