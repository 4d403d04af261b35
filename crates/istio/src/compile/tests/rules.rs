//! What AuthorizationPolicies amount to on HTTP and on TCP chains.

use std::sync::Arc;

use sidering_policy::{Chain, Refusal};

use crate::compile::rules::authorization;
use crate::fixture::{Asks, authorized, authorized_tcp, mesh, resources, workload};
use crate::{Effective, MeshConfig};

const WEB: &str = "cluster.local/ns/shop/sa/web";
const BATCH: &str = "cluster.local/ns/legacy/sa/batch";

pub(super) fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n---\n"
    )
}

pub(super) fn chain(text: &str, mesh: &MeshConfig, http: bool) -> Chain {
    let effective = Effective::of(&resources(text), mesh, &workload("shop", "orders"));
    Chain {
        name: "".into(),
        matches: Default::default(),
        tls: None,
        filter: sidering_policy::Filter::Tcp([].into()),
        authorization: Arc::new(authorization(&effective, http)),
        origin: sidering_policy::Origin::default_of("test"),
    }
}

/// `+` with the rule that allowed, `-` with the one that denied.
fn verdict(result: Result<sidering_policy::Permit, Refusal>) -> String {
    match result {
        Ok(permit) => format!("+{}", permit.by().map(|by| by.label()).unwrap_or_default()),
        Err(Refusal::Denied { origin } | Refusal::CustomUnsupported { origin }) => {
            format!("-{}", origin.label())
        }
        Err(_) => "-".to_owned(),
    }
}

fn http(text: &str, asks: &Asks<'_>) -> String {
    verdict(authorized(&chain(text, &MeshConfig::default(), true), asks))
}

fn tcp(text: &str, port: u16, from: &str) -> String {
    verdict(authorized_tcp(&chain(text, &MeshConfig::default(), false), port, from))
}

#[test]
fn policies_and_their_actions() {
    let admin =
        policy("admin", "{action: DENY, rules: [{to: [{operation: {paths: [/admin*], ports: ['8080']}}]}]}");
    let all = policy("all", "{rules: [{}]}");
    let nothing = policy("nothing", "{}");
    let ask =
        policy("ask", "{action: CUSTOM, provider: {name: x}, rules: [{to: [{operation: {paths: [/ask]}}]}]}");
    let audit = policy("audit", "{action: AUDIT, rules: [{}]}");
    for (text, path, expected) in [
        (String::new(), "/", "+"),
        (all.clone(), "/", "+shop/all[0]"),
        (nothing.clone(), "/", "-"),
        (nothing.clone() + &all, "/", "+shop/all[0]"),
        (admin.clone(), "/", "+"),
        (admin.clone() + &all, "/admin/x", "-shop/admin[0]"),
        (ask.clone() + &all, "/ask", "-shop/ask[0]"),
        (ask + &all, "/", "+shop/all[0]"),
        (audit, "/", "+"),
    ] {
        assert_eq!(http(&text, &Asks { path, ..Asks::default() }), expected, "{text}");
    }
}

#[test]
fn every_source_field() {
    #[rustfmt::skip]
    let table: &[(&str, &str, bool)] = &[
        ("principals: [cluster.local/ns/shop/sa/web]", WEB, true),
        ("principals: [cluster.local/ns/shop/sa/we]", WEB, false),
        ("principals: ['*']", WEB, true),
        ("principals: ['*']", "", false),
        ("principals: ['*/sa/web']", WEB, true),
        ("principals: ['*prod.example/ns/shop/sa/web']", "eu-prod.example/ns/shop/sa/web", true),
        ("principals: [cluster.local/ns/shop/*]", WEB, true),
        ("notPrincipals: ['*']", "", true),
        ("notPrincipals: ['*']", WEB, false),
        ("namespaces: [shop]", WEB, true),
        ("namespaces: [sho]", WEB, false),
        ("namespaces: ['s*p']", WEB, true),
        ("namespaces: ['*']", "", false),
        ("namespaces: [shop.*.prod]", "cluster.local/ns/shop.eu.prod/sa/web", true),
        ("namespaces: [shop.*.prod]", "cluster.local/ns/shopXeu.prod/sa/web", false),
        ("notNamespaces: [shop]", BATCH, true),
        ("notNamespaces: [shop]", "", true),
        ("serviceAccounts: [web]", WEB, true),
        ("serviceAccounts: [shop/web]", WEB, true),
        ("serviceAccounts: [web]", "cluster.local/ns/legacy/sa/web", false),
        ("trustDomains: [cluster.local]", WEB, true),
        ("trustDomains: ['*.example']", WEB, false),
        ("trustDomains: ['*local']", WEB, true),
        ("notTrustDomains: [partner.example]", WEB, true),
        ("ipBlocks: [10.9.0.0/16]", "", true),
        ("ipBlocks: [10.8.0.0/16, 10.9.9.9]", "", true),
        ("notIpBlocks: [10.9.0.0/16]", "", false),
        ("remoteIpBlocks: [10.9.9.9]", "", true),
        ("notRemoteIpBlocks: [10.9.9.9]", "", false),
        ("principals: ['*'], notNamespaces: [legacy]", BATCH, false),
        ("requestPrincipals: ['*']", WEB, false),
        ("notRequestPrincipals: ['*']", WEB, false),
    ];
    for (source, from, allowed) in table {
        let text = policy("p", &format!("{{rules: [{{from: [{{source: {{{source}}}}}]}}]}}"));
        let expected = if *allowed { "+shop/p[0]" } else { "-" };
        assert_eq!(http(&text, &Asks { from, ..Asks::default() }), expected, "{source} {from:?}");
    }
}

#[test]
fn every_operation_field_and_condition() {
    let asks = || Asks {
        port: 8080,
        from: WEB,
        method: "GET",
        path: "/store/a/cart",
        host: "Orders.example:8080",
        header: ("x-tenant", "blue"),
    };
    #[rustfmt::skip]
    let table: &[(&str, bool)] = &[
        ("to: [{operation: {hosts: ['orders.example:8080']}}]", true),
        ("to: [{operation: {hosts: ['orders.example']}}]", false),
        ("to: [{operation: {hosts: ['orders.example:*']}}]", true),
        ("to: [{operation: {notHosts: ['ORDERS*']}}]", false),
        ("to: [{operation: {ports: ['8080']}}]", true),
        ("to: [{operation: {ports: ['80']}}]", false),
        ("to: [{operation: {notPorts: ['8080']}}]", false),
        ("to: [{operation: {methods: [GET, POST]}}]", true),
        ("to: [{operation: {methods: [get]}}]", false),
        ("to: [{operation: {notMethods: [PUT]}}]", true),
        ("to: [{operation: {paths: [/store/*]}}]", true),
        ("to: [{operation: {paths: ['*/cart']}}]", true),
        ("to: [{operation: {paths: ['/store/{*}/cart']}}]", true),
        ("to: [{operation: {paths: ['/store/{**}']}}]", true),
        ("to: [{operation: {paths: ['/store/{*}']}}]", false),
        ("to: [{operation: {paths: [/store/*], notPaths: ['*/cart']}}]", false),
        ("to: [{operation: {methods: [PUT]}}, {operation: {ports: ['8080']}}]", true),
        ("when: [{key: 'request.headers[X-Tenant]', values: [red, blue]}]", true),
        ("when: [{key: 'request.headers[x-tenant]', notValues: [blue]}]", false),
        ("when: [{key: 'request.headers[x-tenant]', values: ['*'], notValues: [red]}]", true),
        ("when: [{key: 'request.headers[x-other]', values: ['*']}]", false),
        ("when: [{key: 'request.headers[:method]', values: [GET]}]", true),
        ("when: [{key: source.ip, values: [10.0.0.0/8]}]", true),
        ("when: [{key: remote.ip, values: [10.0.0.0/8]}]", true),
        ("when: [{key: source.namespace, values: [shop]}]", true),
        ("when: [{key: source.principal, values: [cluster.local/ns/shop/sa/web]}]", true),
        ("when: [{key: source.serviceAccount, values: [web]}]", true),
        ("when: [{key: source.trustDomain, values: [cluster.local]}]", true),
        ("when: [{key: destination.ip, values: [127.0.0.2]}]", true),
        ("when: [{key: destination.port, values: ['8080']}]", true),
        ("when: [{key: destination.port, values: ['8080']}, {key: source.ip, values: [1.1.1.1]}]", false),
        ("when: [{key: connection.sni, values: ['*']}]", false),
        ("when: [{key: request.auth.principal, values: ['*']}]", false),
        ("when: [{key: 'request.auth.claims[iss]', notValues: [x]}]", false),
    ];
    for (rule, allowed) in table {
        let text = policy("p", &format!("{{rules: [{{{rule}}}]}}"));
        assert_eq!(http(&text, &asks()), if *allowed { "+shop/p[0]" } else { "-" }, "{rule}");
    }
}

#[test]
fn a_token_that_nobody_verified_always_counts_against() {
    for source in [
        "requestPrincipals: [a/b]",
        "notRequestPrincipals: ['*']",
        "requestPrincipals: [a/b], namespaces: [shop]",
    ] {
        let text = policy("p", &format!("{{action: DENY, rules: [{{from: [{{source: {{{source}}}}}]}}]}}"));
        assert_eq!(http(&text, &Asks { from: WEB, ..Asks::default() }), "-shop/p[0]", "{source}");
    }
    let text = policy(
        "p",
        "{action: DENY, rules: [{when: [{key: 'request.auth.claims[a]', values: [b]}, {key: source.namespace, values: [legacy]}]}]}",
    );
    assert_eq!(http(&text, &Asks { from: WEB, ..Asks::default() }), "+", "the other conditions still count");
}

#[test]
fn http_fields_on_tcp_narrow_what_allows_and_widen_what_denies() {
    #[rustfmt::skip]
    let table: &[(&str, u16, &str, &str)] = &[
        ("{rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ['9001'], methods: [GET]}}]}, {from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ['9000']}}]}]}", 9001, WEB, "-"),
        ("{rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ['9001'], methods: [GET]}}]}, {from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ['9000']}}]}]}", 9000, WEB, "+shop/p[1]"),
        ("{rules: [{to: [{operation: {hosts: [a]}}]}]}", 9000, WEB, "-"),
        ("{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}", 9000, WEB, "-shop/p[0]"),
        ("{action: DENY, rules: [{from: [{source: {requestPrincipals: [a/b]}}]}]}", 9000, WEB, "-shop/p[0]"),
        ("{action: DENY, rules: [{from: [{source: {namespaces: [legacy]}}], to: [{operation: {methods: [GET]}}]}]}", 9000, WEB, "+"),
        ("{action: DENY, rules: [{from: [{source: {namespaces: [legacy]}}], to: [{operation: {methods: [GET]}}]}]}", 9000, BATCH, "-shop/p[0]"),
        ("{action: DENY, rules: [{from: [{source: {requestPrincipals: [a/b]}}], to: [{operation: {ports: ['9000']}}]}]}", 9001, WEB, "+"),
        ("{action: DENY, rules: [{when: [{key: 'request.headers[:method]', values: [GET]}]}]}", 9000, WEB, "-shop/p[0]"),
        ("{action: DENY, rules: [{when: [{key: destination.port, values: ['9000']}]}]}", 9000, WEB, "-shop/p[0]"),
        ("{action: DENY, rules: [{from: [{source: {notNamespaces: [trusted], requestPrincipals: [a/b]}}], to: [{operation: {notPorts: ['9001'], methods: [GET]}}]}]}", 9000, WEB, "-shop/p[0]"),
        ("{action: CUSTOM, provider: {name: x}, rules: [{to: [{operation: {methods: [GET]}}]}]}", 9000, WEB, "-shop/p[0]"),
    ];
    for (spec, port, from, expected) in table {
        assert_eq!(tcp(&policy("p", spec), *port, from), *expected, "{spec}");
    }
}

#[test]
fn our_trust_domain_has_several_names_and_cluster_local_is_always_one() {
    let mesh = mesh("trustDomain: prod.example\ntrustDomainAliases: [old.example]");
    #[rustfmt::skip]
    let table: &[(&str, &str, bool)] = &[
        ("principals: [cluster.local/ns/shop/sa/web]", "prod.example/ns/shop/sa/web", true),
        ("principals: [cluster.local/ns/shop/sa/web]", "old.example/ns/shop/sa/web", true),
        ("principals: [cluster.local/ns/shop/sa/web]", "cluster.local/ns/shop/sa/web", false),
        ("principals: [prod.example/ns/shop/sa/web]", "old.example/ns/shop/sa/web", true),
        ("principals: [other.example/ns/shop/sa/web]", "prod.example/ns/shop/sa/web", false),
        ("principals: [other.example/ns/shop/sa/web]", "other.example/ns/shop/sa/web", true),
        ("principals: ['*old.example/ns/shop/sa/web']", "very-old.example/ns/shop/sa/web", true),
        ("principals: ['*old.example/ns/shop/sa/web']", "prod.example/ns/shop/sa/web", true),
        ("principals: ['*/ns/shop/sa/web']", "any.example/ns/shop/sa/web", true),
        ("principals: [prod.example/ns/*]", "old.example/ns/shop/sa/web", false),
        ("trustDomains: [prod.example]", "old.example/ns/shop/sa/web", true),
        ("trustDomains: [other.example]", "old.example/ns/shop/sa/web", false),
        ("namespaces: [shop]", "other.example/ns/shop/sa/web", true),
    ];
    for (source, from, allowed) in table {
        let text = policy("p", &format!("{{rules: [{{from: [{{source: {{{source}}}}}]}}]}}"));
        let found = verdict(authorized(&chain(&text, &mesh, true), &Asks { from, ..Asks::default() }));
        assert_eq!(found, if *allowed { "+shop/p[0]" } else { "-" }, "{source} {from}");
    }
    let not = policy(
        "p",
        "{action: DENY, rules: [{from: [{source: {notPrincipals: [cluster.local/ns/shop/sa/web]}}]}]}",
    );
    let asks = Asks { from: "old.example/ns/shop/sa/web", ..Asks::default() };
    assert_eq!(verdict(authorized(&chain(&not, &mesh, true), &asks)), "+", "negative fields too");
}

#[test]
fn a_dry_run_policy_changes_nothing_and_says_what_it_would_have_done() {
    let dry = |name: &str, spec: &str| {
        policy(name, spec)
            .replace("namespace: shop}", "namespace: shop, annotations: {istio.io/dry-run: 'true'}}")
    };
    let asks = Asks { path: "/b", ..Asks::default() };
    for (text, would) in [
        (dry("deny", "{action: DENY, rules: [{}]}"), Some("shop/deny[0]")),
        (dry("allow", "{rules: [{to: [{operation: {paths: [/a]}}]}]}"), Some("shop/allow")),
        (dry("allow", "{rules: [{to: [{operation: {paths: [/b]}}]}]}"), None),
    ] {
        let permit = authorized(&chain(&text, &MeshConfig::default(), true), &asks).unwrap();
        assert_eq!(permit.would_deny().map(|by| by.label()).as_deref(), would, "{text}");
    }
    let text =
        dry("planned", "{rules: [{}]}") + &policy("real", "{rules: [{to: [{operation: {paths: [/a]}}]}]}");
    assert_eq!(http(&text, &asks), "-", "it lets nothing in beside a real one");
}

#[test]
fn a_verdict_names_its_line() {
    let text = policy("p", "\n  action: DENY\n  rules:\n  - to: [{operation: {ports: ['1']}}]\n  - {}");
    let refusal = authorized(&chain(&text, &MeshConfig::default(), true), &Asks::default()).unwrap_err();
    assert_eq!(refusal.to_string(), "denied by AuthorizationPolicy shop/p[1] (x.yaml:8:5)");
}
