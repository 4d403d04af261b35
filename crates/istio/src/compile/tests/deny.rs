//! A DENY policy more never allows more, whatever the others are; one that is not enforced changes nothing.

use proptest::prelude::*;
use proptest::sample::select;
use sidering_policy::{Permit, Refusal};

use crate::MeshConfig;
use crate::compile::tests::rules::{chain, policy};
use crate::fixture::{Asks, authorized, authorized_tcp};

const PEERS: &[&str] =
    &["", "cluster.local/ns/shop/sa/web", "cluster.local/ns/bank/sa/web", "other.example/custom"];
const PATHS: &[&str] = &["/", "/a", "/a/b", "/admin/x"];
const METHODS: &[&str] = &["GET", "POST"];

fn source() -> impl Strategy<Value = String> {
    select(vec![
        "principals: ['*']",
        "principals: [cluster.local/ns/shop/sa/web]",
        "principals: ['*/sa/web']",
        "notPrincipals: ['*']",
        "notPrincipals: [cluster.local/ns/bank/sa/web]",
        "namespaces: [shop]",
        "namespaces: ['b*k', shop]",
        "notNamespaces: [shop]",
        "serviceAccounts: [web]",
        "trustDomains: [cluster.local]",
        "notTrustDomains: [cluster.local]",
        "ipBlocks: [10.0.0.0/8]",
        "notIpBlocks: [10.0.0.0/8]",
        "requestPrincipals: ['*']",
        "notRequestPrincipals: ['*']",
    ])
    .prop_map(str::to_owned)
}

fn operation() -> impl Strategy<Value = String> {
    select(vec![
        "methods: [GET]",
        "notMethods: [GET]",
        "paths: [/a]",
        "paths: ['/a*', /admin/*]",
        "paths: ['/{*}/x', '/{**}']",
        "notPaths: ['/a*']",
        "hosts: [orders]",
        "notHosts: ['*']",
        "ports: ['8080']",
        "notPorts: ['8080']",
        "methods: [GET], notPaths: [/a], ports: ['8080', '9000']",
    ])
    .prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = String> {
    select(vec![
        "key: 'request.headers[x]', values: ['1']",
        "key: 'request.headers[x]', notValues: ['*']",
        "key: source.namespace, values: [shop]",
        "key: source.principal, notValues: ['*']",
        "key: destination.port, values: ['8080']",
        "key: request.auth.audiences, values: [me]",
        "key: connection.sni, values: [orders]",
    ])
    .prop_map(str::to_owned)
}

fn rule() -> impl Strategy<Value = String> {
    let list = |one: BoxedStrategy<String>| proptest::collection::vec(one, 0..3);
    (list(source().boxed()), list(operation().boxed()), list(condition().boxed())).prop_map(
        |(from, to, when)| {
            let part = |name: &str, items: Vec<String>| match items.len() {
                0 => None,
                _ => Some(format!("{name}: [{}]", items.join(", "))),
            };
            let from = from.into_iter().map(|one| format!("{{source: {{{one}}}}}")).collect();
            let to = to.into_iter().map(|one| format!("{{operation: {{{one}}}}}")).collect();
            let when = when.into_iter().map(|one| format!("{{{one}}}")).collect();
            let parts = [part("from", from), part("to", to), part("when", when)];
            format!("{{{}}}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
        },
    )
}

fn spec(action: &'static str) -> impl Strategy<Value = String> {
    let least = usize::from(action != "ALLOW");
    proptest::collection::vec(rule(), least..3)
        .prop_map(move |rules| format!("{{action: {action}, rules: [{}]}}", rules.join(", ")))
}

fn specs() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(prop_oneof![3 => spec("ALLOW"), 2 => spec("DENY"), 1 => spec("AUDIT")], 0..4)
}

/// Every verdict on requests and connections that the vocabulary can tell apart.
fn verdicts(text: &str) -> Vec<Result<Permit, Refusal>> {
    let mesh = MeshConfig::default();
    let (http, tcp) = (chain(text, &mesh, true), chain(text, &mesh, false));
    let mut verdicts = Vec::new();
    for from in PEERS {
        for port in [8080, 9000] {
            for (path, method) in
                PATHS.iter().flat_map(|path| METHODS.iter().map(move |method| (path, method)))
            {
                for header in [("", ""), ("x", "1")] {
                    verdicts.push(authorized(
                        &http,
                        &Asks { port, from, method, path, header, ..Asks::default() },
                    ));
                }
            }
            verdicts.push(authorized_tcp(&tcp, port, from));
        }
    }
    verdicts
}

fn all(specs: &[String]) -> String {
    specs.iter().enumerate().map(|(index, spec)| policy(&format!("p{index}"), spec)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn one_more_deny_never_allows_more(specs in specs(), deny in spec("DENY"), name in select(vec!["before", "p1-within", "z"])) {
        let before = all(&specs);
        let after = format!("{}{before}", policy(name, &deny));
        for (before, after) in verdicts(&before).iter().zip(verdicts(&after)) {
            prop_assert!(before.is_ok() || after.is_err(), "{:?} became {:?}", before, after);
        }
    }

    #[test]
    fn a_deny_of_everything_leaves_nothing(specs in specs()) {
        let text = all(&specs) + &policy("never", "{action: DENY, rules: [{}]}");
        prop_assert!(verdicts(&text).iter().all(Result::is_err));
    }

    #[test]
    fn what_is_not_enforced_changes_no_verdict(specs in specs(), deny in spec("DENY"), allow in spec("ALLOW"), audit in spec("AUDIT")) {
        let before = all(&specs);
        let dry = |name: &str, spec: &str| policy(name, spec).replace("namespace: shop", "namespace: shop, annotations: {istio.io/dry-run: 'true'}");
        let after = [before.clone(), dry("d", &deny), dry("a", &allow), policy("audit", &audit)].concat();
        for (before, after) in verdicts(&before).iter().zip(verdicts(&after)) {
            let by = |result: &Result<Permit, Refusal>| result.as_ref().map(|permit| permit.by().map(|by| by.label())).map_err(Clone::clone);
            prop_assert_eq!(by(before), by(&after));
        }
    }
}
