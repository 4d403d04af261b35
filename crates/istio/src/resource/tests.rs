//! What is refused and what is warned of, with its place.

mod document;
mod networking;
mod security;

use crate::fixture::diagnostics;

/// The diagnostics of a resource whose spec is on line 4, from its eighth column.
fn of_spec(kind: &str, spec: &str) -> Vec<String> {
    let group = match kind {
        "PeerAuthentication" | "AuthorizationPolicy" | "RequestAuthentication" => "security.istio.io/v1",
        _ => "networking.istio.io/v1",
    };
    diagnostics(&format!(
        "apiVersion: {group}\nkind: {kind}\nmetadata: {{name: p, namespace: shop}}\nspec: {spec}\n"
    ))
}

#[track_caller]
fn check(kind: &str, table: &[(&str, &[&str])]) {
    for (spec, expected) in table {
        let found = of_spec(kind, spec);
        let expected: Vec<String> = expected.iter().map(|line| format!("x.yaml:{line}")).collect();
        assert_eq!(found, expected, "{kind} {spec}");
    }
}
