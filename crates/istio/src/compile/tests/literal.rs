//! Identities are compared letter by letter: nothing in a name but `*` is a pattern.

use proptest::prelude::*;

use crate::MeshConfig;
use crate::compile::tests::rules::{chain, policy};
use crate::fixture::{Asks, authorized};

/// What a certificate may say, with what regular expressions, globs and case folding would make of it.
fn presented() -> impl Strategy<Value = String> {
    "[aAbB._-]{1,4}".prop_filter("dot segments are no SPIFFE id", |name| name != "." && name != "..")
}

/// What a policy may say, which is more.
fn written() -> impl Strategy<Value = String> {
    let beyond = prop_oneof![
        Just("[ab]"),
        Just("."),
        Just(".+"),
        Just("a?"),
        Just("(a|b)"),
        Just("é"),
        Just("a\u{301}"),
        Just("ａ"),
        Just("a\\.b"),
        Just("^a$"),
        Just("{a,b}"),
        Just("%61"),
        Just("a b"),
        Just("\\d"),
        Just("🦀"),
    ];
    prop_oneof![3 => presented(), 1 => beyond.prop_map(str::to_owned), 1 => (presented(), "[.\\[\\]()+?|é]").prop_map(|(a, b)| a + &b)]
}

fn allows(source: &str, from: &str) -> bool {
    let text = policy("p", &format!("{{rules: [{{from: [{{source: {{{source}}}}}]}}]}}"));
    authorized(&chain(&text, &MeshConfig::default(), true), &Asks { from, ..Asks::default() }).is_ok()
}

/// As a quoted YAML string.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_name_names_one_account(
        (namespace, account) in (presented(), presented()),
        (other_namespace, other_account) in (written(), written()),
    ) {
        let from = format!("cluster.local/ns/{namespace}/sa/{account}");
        for (namespace_written, account_written) in
            [(&namespace, &account), (&namespace, &other_account), (&other_namespace, &account), (&other_namespace, &other_account)]
        {
            let same = (namespace_written, account_written) == (&namespace, &account);
            let principal = format!("cluster.local/ns/{namespace_written}/sa/{account_written}");
            prop_assert_eq!(allows(&format!("principals: [{}]", quoted(&principal)), &from), same, "{}", principal);
            let account = format!("{namespace_written}/{account_written}");
            prop_assert_eq!(allows(&format!("serviceAccounts: [{}]", quoted(&account)), &from), same, "{}", account);
            prop_assert_eq!(
                allows(&format!("namespaces: [{}]", quoted(namespace_written)), &from),
                *namespace_written == namespace
            );
        }
    }

    #[test]
    fn a_pattern_is_literal_but_for_its_star(start in written(), namespace in presented()) {
        let from = format!("cluster.local/ns/{namespace}/sa/web");
        let held = allows(&format!("namespaces: [{}]", quoted(&format!("{start}*"))), &from);
        prop_assert_eq!(held, namespace.starts_with(&start));
        let held = allows(&format!("namespaces: [{}]", quoted(&format!("{start}*b"))), &from);
        let rest = namespace.strip_prefix(&start);
        prop_assert_eq!(held, rest.is_some_and(|rest| rest.ends_with('b')));
        let held = allows(&format!("principals: [{}]", quoted(&format!("*/ns/{start}/sa/web"))), &from);
        prop_assert_eq!(held, namespace == start);
    }

    #[test]
    fn a_trust_domain_is_literal(domain in "[ab.-]{1,3}", other in written()) {
        let from = format!("{domain}/ns/shop/sa/web");
        prop_assert_eq!(allows(&format!("trustDomains: [{}]", quoted(&other)), &from), other == domain);
        let own = allows(&format!("trustDomains: [{}]", quoted(&domain)), &from);
        prop_assert!(own, "{}", domain);
    }
}
