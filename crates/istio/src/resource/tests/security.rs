//! PeerAuthentication, AuthorizationPolicy, RequestAuthentication.

use super::{check, of_spec};
use crate::fixture::diagnostics;

#[test]
fn peer_authentication() {
    check(
        "PeerAuthentication",
        &[
            ("{}", &[]),
            ("{mtls: {mode: UNSET}}", &[]),
            ("{mtls: {}}", &[]),
            ("{selector: {matchLabels: {app: ''}}}", &[]),
            (
                "{selector: {}}",
                &[
                    "4:18: warning: the selector has no labels and selects every workload; remove it or write matchLabels",
                ],
            ),
            (
                "{mtls: {mode: STRCT}}",
                &["4:21: error: mode \"STRCT\" is unknown; write one of UNSET, DISABLE, PERMISSIVE, STRICT"],
            ),
            ("{mtls: {mod: STRICT}}", &["4:15: error: unknown field `mod` in mtls; did you mean `mode`?"]),
            (
                "{mTLS: {mode: STRICT}}",
                &["4:8: error: unknown field `mTLS` in PeerAuthentication spec; did you mean `mtls`?"],
            ),
            ("{mtls: STRICT}", &["4:14: error: mtls must be a mapping, not a string"]),
            (
                "{portLevelMtls: {80: {mode: STRICT}}}",
                &[
                    "4:23: error: portLevelMtls needs a selector with labels: policies for a mesh or a namespace have no ports",
                ],
            ),
            (
                "{selector: {matchLabels: {a: b}}, portLevelMtls: {}}",
                &["4:56: error: portLevelMtls needs at least one port; remove it or write one"],
            ),
            (
                "{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {}}}",
                &["4:60: error: port \"0\" is out of range; a port is 1 to 65535"],
            ),
            (
                "{selector: {matchLabels: {a: b}}, portLevelMtls: {65536: {}}}",
                &["4:64: error: port \"65536\" is out of range; a port is 1 to 65535"],
            ),
            (
                "{selector: {matchLabels: {'': b}}}",
                &["4:32: error: a selector's label has an empty key; write a label name"],
            ),
            (
                "{selector: {matchLabels: {a: 'b*'}}}",
                &["4:32: error: wildcards are not supported in selectors: write \"a\" without `*`"],
            ),
            (
                "{selector: {matchLabels: {a: 1, b: c}}}",
                &["4:36: error: a selector's label must be a string, not a number; write \"1\""],
            ),
        ],
    );
}

#[test]
fn authorization_policy() {
    check(
        "AuthorizationPolicy",
        &[
            ("{}", &[]),
            ("{rules: []}", &[]),
            ("{rules: [{}]}", &[]),
            (
                "{action: ALOW}",
                &["4:16: error: action \"ALOW\" is unknown; write one of ALLOW, DENY, AUDIT, CUSTOM"],
            ),
            (
                "{action: DENY}",
                &["4:7: error: a DENY policy without rules does nothing; write rules: [{}] to match all"],
            ),
            (
                "{action: AUDIT, rules: [{}]}",
                &["4:16: warning: a policy of action AUDIT is decided, not executed: it has no effect yet"],
            ),
            ("{action: CUSTOM, rules: [{}]}", &["4:7: error: a CUSTOM policy needs provider: {name: ...}"]),
            (
                "{action: DENY, provider: {name: x}, rules: [{}]}",
                &["4:32: error: a provider has no meaning in a policy of action DENY; remove it"],
            ),
            (
                "{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: x}}",
                &["4:52: error: selector and targetRef exclude each other; keep one of them"],
            ),
            (
                "{targetRefs: [{kind: Pod, name: x, namespace: y}]}",
                &[
                    "4:28: error: kind \"Pod\" is unknown; write one of Gateway, GatewayClass, Service, ServiceEntry",
                    "4:53: error: a targetRef is of its own namespace; remove `namespace`",
                ],
            ),
            ("{rules: [null]}", &["4:16: error: a rule must not be null; write {} to match all"]),
            ("{rules: [{from: []}]}", &["4:23: error: from must not be empty; remove it to match all"]),
            (
                "{rules: [{to: [null]}]}",
                &["4:22: error: an entry of to must not be null; write operation: {...}"],
            ),
            (
                "{rules: [{from: [{source: {}}]}]}",
                &["4:24: error: source sets no field; remove it to match all"],
            ),
            (
                "{rules: [{from: [{source: {principal: [a]}}]}]}",
                &[
                    "4:24: error: source sets no field; remove it to match all",
                    "4:34: error: unknown field `principal` in source; did you mean `principals`?",
                ],
            ),
            (
                "{rules: [{from: [{source: {principals: ['']}}]}]}",
                &[
                    "4:24: error: source sets no field; remove it to match all",
                    "4:47: error: principals must not be empty",
                ],
            ),
            (
                "{rules: [{from: [{source: {ipBlocks: [10.0.0.0/33, 10.0.0.0/8, '::1']}}]}]}",
                &[
                    "4:45: error: \"10.0.0.0/33\" is neither an IP address nor a CIDR block; write 10.0.0.1 or 10.0.0.0/8",
                ],
            ),
            (
                "{rules: [{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}]}",
                &["4:33: error: serviceAccounts excludes principals and namespaces; use a source of its own"],
            ),
            (
                "{rules: [{from: [{source: {serviceAccounts: ['a/*']}}]}]}",
                &[
                    "4:52: error: service account \"a/*\": wildcards are not supported; write namespace/account",
                ],
            ),
            (
                "{rules: [{from: [{source: {serviceAccounts: [a/b/c]}}]}]}",
                &["4:52: error: service account \"a/b/c\" must be written account or namespace/account"],
            ),
            (
                "{rules: [{from: [{source: {trustDomains: [a/b]}}]}]}",
                &[
                    "4:49: error: trust domain \"a/b\" must not hold a `/`; write principals for whole identities",
                ],
            ),
            (
                "{rules: [{to: [{operation: {ports: [80]}}]}]}",
                &[
                    "4:22: error: operation sets no field; remove it to match all",
                    "4:43: error: ports must be a string, not a number; write \"80\"",
                ],
            ),
            (
                "{rules: [{to: [{operation: {ports: ['65536', '0']}}]}]}",
                &["4:43: error: port \"65536\" must be a number from 0 to 65535"],
            ),
            (
                "{rules: [{to: [{operation: {paths: ['/{**}/{*}']}}]}]}",
                &["4:43: error: `{**}` must be the last operator of a path template"],
            ),
            (
                "{rules: [{to: [{operation: {paths: ['/a{b}']}}]}]}",
                &[
                    "4:43: error: \"a{b}\": in a path template `{*}` and `{**}` are whole segments, and braces have no other use",
                ],
            ),
            (
                "{rules: [{when: [{key: source.ip}]}]}",
                &["4:24: error: a condition needs `values` or `notValues`"],
            ),
            (
                "{rules: [{when: [{key: destination.port, values: ['80', http]}]}]}",
                &["4:63: error: port \"http\" must be a number from 0 to 65535"],
            ),
            (
                "{action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]}",
                &[
                    "4:30: warning: a DENY rule of HTTP fields alone denies all TCP traffic; name its ports in operation.ports",
                ],
            ),
            ("{action: DENY, rules: [{to: [{operation: {methods: [PUT], ports: ['80']}}]}]}", &[]),
            (
                "{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {namespaces: [a]}}]}]}",
                &[
                    "4:34: warning: no provider is supported yet: requests that match are denied",
                    "4:53: error: a CUSTOM rule must not ask for identities or tokens; remove those fields",
                ],
            ),
            (
                "{rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}",
                &[
                    "4:16: warning: tokens are not verified yet: this rule matches nothing if it allows, and as if any token fitted if it denies",
                ],
            ),
        ],
    );
}

#[test]
fn a_condition_key_that_is_not_known_names_those_that_are() {
    for key in
        ["destination.labels[app]", "source.user", "request.headers[]", "experimental.envoy.filters.a[b]"]
    {
        let found = of_spec(
            "AuthorizationPolicy",
            &format!("{{rules: [{{when: [{{key: '{key}', values: [a]}}]}}]}}"),
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(&format!(
                "x.yaml:4:30: error: condition key {key:?} is not supported; write request.headers[NAME]"
            )),
            "{found:?}"
        );
    }
}

#[test]
fn a_pseudo_header_is_no_header() {
    let found =
        of_spec("AuthorizationPolicy", "{rules: [{when: [{key: 'request.headers[:path]', values: [/a]}]}]}");
    assert!(
        found[0].contains("\":path\" is no header of HTTP/1.1; write paths, methods or hosts in `to`"),
        "{found:?}"
    );
}

#[test]
fn dry_run_is_a_boolean_of_go_for_allow_and_deny() {
    let of = |action: &str, value: &str| {
        diagnostics(&format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, annotations: {{istio.io/dry-run: '{value}'}}}}\nspec: {{action: {action}, rules: [{{}}]}}\n"
        ))
    };
    for value in ["False", "0", "1", "t", "TRUE"] {
        assert_eq!(of("DENY", value), Vec::<String>::new());
    }
    assert_eq!(
        of("ALLOW", "yes"),
        ["x.yaml:1:1: error: istio.io/dry-run \"yes\" is no boolean; write \"true\" or \"false\""]
    );
    assert_eq!(
        of("AUDIT", "true"),
        [
            "x.yaml:1:1: error: istio.io/dry-run is for ALLOW and DENY, not for AUDIT; remove it",
            "x.yaml:4:16: warning: a policy of action AUDIT is decided, not executed: it has no effect yet",
        ]
    );
}

#[test]
fn request_authentication_is_read_and_says_that_it_is_not_enforced() {
    let found = of_spec("RequestAuthentication", "{jwtRules: [{issuer: a, jwksUri: b}]}");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("x.yaml:1:1: warning: tokens are not verified yet"), "{found:?}");
    let found = of_spec("RequestAuthentication", "{jwtRules: [{isuer: a}]}");
    assert!(
        found.contains(
            &"x.yaml:4:20: error: unknown field `isuer` in jwtRules; did you mean `issuer`?".to_owned()
        ),
        "{found:?}"
    );
}
