//! What is refused and what is warned of, with its place: istio-semantics 1.2, 2.6, 4.9.

use crate::fixture::diagnostics;
use crate::{Diagnostic, Source, parse};

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

#[test]
fn yaml_that_cannot_be_trusted_is_refused() {
    let nested = format!("a: {}{}", "[".repeat(70), "]".repeat(70));
    for (text, expected) in [
        (
            "a: &x 1\nb: *x",
            "x.yaml:1:4: error: anchors are not supported; write the value out where it is needed",
        ),
        ("a: 1\nb:\n  c: 1\n  c: 2", "x.yaml:4:3: error: `c` is written twice; keep one of them"),
        ("<<: {a: 1}", "x.yaml:1:1: error: merge keys are not supported; write the fields out"),
        ("a: !!str 1", "x.yaml:1:4: error: tags are not supported; remove it"),
        ("? [a]\n: b", "x.yaml:1:3: error: a key must be a plain word or a quoted string"),
        ("a: {b", "x.yaml:2:1: error: not valid YAML"),
        ("- a", "x.yaml:1:1: error: the document must be a mapping, not a list"),
        (&nested, "x.yaml:1:67: error: nested deeper than 64 levels"),
    ] {
        let found = diagnostics(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }
    let large = " ".repeat(11 << 20);
    assert_eq!(diagnostics(&large), ["x.yaml:1:1: error: larger than 10 MiB; split the file"]);
}

#[test]
fn what_is_no_resource_of_ours() {
    for (text, expected) in [
        ("kind: PeerAuthentication", "x.yaml:1:1: error: a resource needs `apiVersion` and `kind`"),
        (
            "apiVersion: security.istio.io/v2\nkind: PeerAuthentication",
            "x.yaml:1:1: error: PeerAuthentication has no apiVersion \"security.istio.io/v2\"; write security.istio.io/v1",
        ),
        (
            "apiVersion: v1\nkind: PeerAuthentication",
            "x.yaml:1:1: error: PeerAuthentication has no apiVersion \"v1\"; write security.istio.io/v1",
        ),
        (
            "apiVersion: serving.knative.dev/v1\nkind: Service",
            "x.yaml:1:1: warning: Service of serving.knative.dev/v1 is ignored; v1 is supported",
        ),
        (
            "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter",
            "x.yaml:1:1: warning: EnvoyFilter is ignored: it is not supported and never will be",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthorisation",
            "x.yaml:1:1: warning: unknown kind \"PeerAuthorisation\" (security.istio.io/v1) is ignored; check its spelling",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nspec: {}",
            "x.yaml:1:1: error: PeerAuthentication needs metadata with a name",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, creationTimestamp: yesterday}",
            "x.yaml:3:40: error: creationTimestamp \"yesterday\" is no UTC time; write it as 2026-03-01T10:00:00Z",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspc: {}",
            "x.yaml:4:1: error: unknown field `spc` in PeerAuthentication; did you mean `spec`?",
        ),
    ] {
        assert_eq!(diagnostics(text), [expected], "{text}");
    }
}

#[test]
fn a_name_is_taken_once_and_a_list_is_its_items() {
    let one =
        "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a, namespace: shop}}";
    assert_eq!(
        diagnostics(&format!("apiVersion: v1\nkind: List\nitems:\n- {one}\n- {one}\n")),
        ["x.yaml:5:3: error: PeerAuthentication shop/a is already defined at x.yaml:4:3; keep one of them"]
    );
}

#[test]
fn every_istio_version_is_read() {
    for version in ["v1", "v1beta1"] {
        let text = format!(
            "apiVersion: security.istio.io/{version}\nkind: PeerAuthentication\nmetadata: {{name: a}}\n"
        );
        assert_eq!(diagnostics(&text), Vec::<String>::new());
    }
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let text = format!(
            "apiVersion: networking.istio.io/{version}\nkind: Sidecar\nmetadata: {{name: a}}\nspec: {{}}\n"
        );
        assert_eq!(diagnostics(&text), Vec::<String>::new());
    }
}

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
fn dry_run_is_a_boolean_of_go_for_allow_and_deny() {
    let of = |action: &str, value: &str| {
        diagnostics(&format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, annotations: {{istio.io/dry-run: '{value}'}}}}\nspec: {{action: {action}, rules: [{{}}]}}\n"
        ))
    };
    for value in ["1", "t", "TRUE", "False", "0"] {
        assert_eq!(of("DENY", value), Vec::<String>::new());
    }
    assert_eq!(
        of("ALLOW", "yes"),
        ["x.yaml:1:1: error: istio.io/dry-run \"yes\" is no boolean; write \"true\" or \"false\""]
    );
    assert_eq!(
        of("AUDIT", "true"),
        ["x.yaml:1:1: error: istio.io/dry-run is for ALLOW and DENY, not for AUDIT; remove it"]
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

#[test]
fn destination_rule() {
    check(
        "DestinationRule",
        &[
            ("{host: '*orders.example'}", &[]),
            (
                "{trafficPolicy: {loadBalancer: {simple: RANDOM}}}",
                &["4:7: error: DestinationRule needs a `host`"],
            ),
            ("{host: a.*.b}", &["4:14: error: host \"a.*.b\" may have a `*` only at its beginning"]),
            ("{host: 10.0.0.1}", &["4:14: error: host \"10.0.0.1\" is an address; write a DNS name"]),
            ("{host: a, trafficPolicy: {}}", &["4:32: error: trafficPolicy must set at least one field"]),
            (
                "{host: a, trafficPolicy: {connectionPool: {}, tls: {mode: DISABLE}}}",
                &["4:49: error: connectionPool must not be empty; remove it or set tcp or http"],
            ),
            (
                "{host: a, trafficPolicy: {portLevelSettings: [{port: {number: 80}}]}}",
                &[
                    "4:53: error: a portLevelSettings entry must set tls, loadBalancer, connectionPool or outlierDetection",
                ],
            ),
            (
                "{host: a, trafficPolicy: {portLevelSettings: [{tls: {mode: DISABLE}}]}}",
                &["4:53: error: a portLevelSettings entry needs port: {number: ...}"],
            ),
            (
                "{host: a, subsets: [null]}",
                &["4:27: error: a subset must not be null; write {name: ..., labels: {...}}"],
            ),
            ("{host: a, subsets: [{labels: {a: b}}]}", &["4:27: error: a subset needs a `name`"]),
            (
                "{host: a, subsets: [{name: v1}, {name: v1}]}",
                &["4:39: error: subset \"v1\" is defined twice; rename one of them"],
            ),
            (
                "{host: a, exportTo: [shop, .]}",
                &["4:34: error: exportTo names \".\" twice (`.` is the own namespace); keep one of them"],
            ),
            (
                "{host: a, exportTo: ['*', b]}",
                &["4:28: error: `*` in exportTo must stand alone; remove the others"],
            ),
            (
                "{host: a, exportTo: ['~']}",
                &[
                    "4:28: error: `~` in exportTo is for ServiceEntry; write `.` to keep it in its own namespace",
                ],
            ),
            (
                "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: [c]}",
                &[
                    "4:68: error: a rule with a workloadSelector is for its own namespace alone; write exportTo: [.]",
                ],
            ),
            (
                "{host: a, trafficPolicy: {outlierDetection: {}, loadBalancer: {simple: RANDOM}}}",
                &[
                    "4:51: warning: `outlierDetection` of trafficPolicy is decided, not executed: it has no effect yet",
                ],
            ),
        ],
    );
}

#[test]
fn client_tls() {
    let tls = |fields: &str| {
        of_spec("DestinationRule", &format!("{{host: a, trafficPolicy: {{tls: {{{fields}}}}}}}"))
    };
    for (fields, expected) in [
        ("mode: SIMPLE, insecureSkipVerify: true", None),
        ("mode: MUTUAL, clientCertificate: c, privateKey: k, insecureSkipVerify: true", None),
        ("mode: MUTUAL, credentialName: c, insecureSkipVerify: true", None),
        ("mode: SIMPLE, credentialName: 'configmap://shop/ca'", None),
        (
            "mode: SIMPEL",
            Some(
                "4:45: error: mode \"SIMPEL\" is unknown; write one of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL",
            ),
        ),
        (
            "mode: SIMPLE, caCert: x",
            Some("4:53: error: unknown field `caCert` in tls; did you mean `caCertificates`?"),
        ),
        (
            "mode: SIMPLE, insecureSkipVerify: true, caCertificates: x",
            Some(
                "4:38: error: insecureSkipVerify verifies nothing: remove it, or remove caCertificates, credentialName and subjectAltNames",
            ),
        ),
        (
            "mode: SIMPLE, insecureSkipVerify: true, credentialName: x",
            Some(
                "4:38: error: insecureSkipVerify verifies nothing: remove it, or remove caCertificates, credentialName and subjectAltNames",
            ),
        ),
        (
            "mode: MUTUAL, clientCertificate: c, privateKey: k, insecureSkipVerify: true, subjectAltNames: [x]",
            Some(
                "4:38: error: insecureSkipVerify verifies nothing: remove it, or remove caCertificates, credentialName and subjectAltNames",
            ),
        ),
        (
            "mode: MUTUAL, clientCertificate: c",
            Some(
                "4:38: error: mode MUTUAL needs a `privateKey` file; or write ISTIO_MUTUAL for the workload's own",
            ),
        ),
        (
            "mode: MUTUAL, credentialName: c, privateKey: k",
            Some(
                "4:38: error: credentialName excludes clientCertificate, privateKey, caCertificates and caCrl",
            ),
        ),
        (
            "mode: SIMPLE, credentialName: 'configmap://other/ca'",
            Some("4:38: error: credentialName \"configmap://other/ca\" must be in the rule's namespace shop"),
        ),
        (
            "mode: SIMPLE, caCrl: x",
            Some("4:60: error: caCrl is not supported: revoked certificates would be taken; remove it"),
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|line| format!("x.yaml:{line}")).collect();
        assert_eq!(tls(fields), expected, "{fields}");
    }
}

#[test]
fn service_entry() {
    let rest = "ports: [{number: 80, name: http}], resolution: STATIC";
    let of = |fields: &str| of_spec("ServiceEntry", &format!("{{{fields}, {rest}}}"));
    for (fields, expected) in [
        ("hosts: [a.example], location: MESH_INTERNAL", None),
        (
            "hosts: ['*']",
            Some("4:16: error: host `*` would be every host; write a domain, such as *.example.com"),
        ),
        ("hosts: []", Some("4:7: error: ServiceEntry needs at least one host")),
        (
            "hosts: [a], addresses: [x]",
            Some("4:32: error: address \"x\" is neither an IP address nor a CIDR block"),
        ),
        (
            "hosts: [a], endpoints: [{address: x}]",
            Some("4:42: error: address \"x\" is no IP address; write one, or unix:///path"),
        ),
        ("hosts: [a], endpoints: [{}]", Some("4:32: error: an endpoint needs an `address`")),
        (
            "hosts: [a], endpoints: [], workloadSelector: {labels: {a: b}}",
            Some("4:31: error: endpoints and workloadSelector exclude each other; keep one of them"),
        ),
        (
            "hosts: [a], endpoints: [{address: 10.0.0.1, adress: x}]",
            Some("4:52: warning: unknown field `adress` in endpoint; did you mean `address`?"),
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|line| format!("x.yaml:{line}")).collect();
        assert_eq!(of(fields), expected, "{fields}");
    }
    check(
        "ServiceEntry",
        &[
            (
                "{hosts: [a], ports: [{number: 80, name: a}], resolution: DNS}",
                &[
                    "4:64: warning: only resolution STATIC is executed yet: this service has no endpoint and refuses; list its endpoints",
                ],
            ),
            (
                "{hosts: [a], ports: [{number: 80, name: a}, {number: 80, name: b}], resolution: STATIC}",
                &["4:51: error: port 80 is listed twice; keep one of them"],
            ),
            (
                "{hosts: [a], ports: [{number: 80, name: a, protocol: HTP}], resolution: STATIC}",
                &[
                    "4:60: error: protocol \"HTP\" is unknown; write one of HTTP, HTTP2, GRPC, GRPC-Web, HTTP_PROXY, TCP, TLS, HTTPS, Mongo, Redis, MySQL, UDP",
                ],
            ),
            (
                "{hosts: [a], ports: [{number: 99999, name: a}], resolution: STATIC}",
                &["4:37: error: port number 99999 is out of range; a port is 1 to 65535"],
            ),
        ],
    );
}

#[test]
fn sidecar() {
    check(
        "Sidecar",
        &[
            ("{egress: [{hosts: ['./*']}]}", &[]),
            (
                "{egress: [{hosts: ['orders']}]}",
                &["4:26: error: egress host \"orders\" must be namespace/host, such as ./* or */orders"],
            ),
            ("{egress: [{}]}", &["4:17: error: an egress listener needs `hosts`, such as [\"./*\"]"]),
            (
                "{egress: [{bind: 127.0.0.1, hosts: ['./*']}]}",
                &["4:17: error: an egress listener with a `bind` needs a `port`"],
            ),
            (
                "{egress: [{port: {number: 80}, bind: localhost, hosts: ['./*']}]}",
                &["4:44: error: bind \"localhost\" is neither an IP address nor unix:///path"],
            ),
            (
                "{ingress: [{defaultEndpoint: '127.0.0.1:80'}]}",
                &["4:18: error: an ingress listener needs a `port`"],
            ),
            (
                "{ingress: [{port: {number: 80}, defaultEndpoint: '10.0.0.1:80'}]}",
                &[
                    "4:56: error: defaultEndpoint \"10.0.0.1:80\" must be 127.0.0.1:8080, [::1]:8080, 0.0.0.0:8080 or unix:///path",
                ],
            ),
            (
                "{ingress: [{port: {number: 80}, tls: {mode: SIMPLE}}]}",
                &[
                    "4:44: error: `tls` of ingress is not supported: mutual TLS of the mesh is what PeerAuthentication says",
                ],
            ),
        ],
    );
}

#[test]
fn virtual_service() {
    let route = "route: [{destination: {host: a}}]";
    let of = |fields: &str| of_spec("VirtualService", &format!("{{hosts: [a], http: [{{{fields}}}]}}"));
    for (fields, expected) in [
        (route, None),
        ("directResponse: {status: 404}", None),
        (
            "redirect: {uri: /x}",
            Some("4:38: warning: `redirect` of http route is decided, not executed: it has no effect yet"),
        ),
        (
            "match: [{uri: {exact: /}}]",
            Some("4:27: error: an http route needs `route`, `directResponse` or `redirect`"),
        ),
        (
            &format!("match: [{{queryParams: {{a: {{exact: b}}}}}}], {route}"),
            Some(
                "4:50: error: `queryParams` of http match is not supported: the route would match more than was meant; match by uri or headers",
            ),
        ),
        (
            &format!("match: [{{path: {{exact: /a}}}}], {route}"),
            Some(
                "4:37: error: unknown field `path` in http match; known fields are port, sourceLabels, sourceNamespace, gateways, uri, method, authority, scheme, ignoreUriCase, headers, withoutHeaders, queryParams, name, statPrefix",
            ),
        ),
        (&format!("match: [{{uri: {{}}}}], {route}"), Some("4:42: error: uri needs exact, prefix or regex")),
        (
            &format!("match: [{{uri: {{exact: /a, prefix: /b}}}}], {route}"),
            Some("4:42: error: uri takes one of exact, prefix and regex"),
        ),
        (
            &format!("match: [{{headers: {{a: {{regex: '('}}}}}}], {route}"),
            Some("4:58: error: regex \"(\" is not valid RE2"),
        ),
        (
            &format!("retries: {{attempts: 3}}, {route}"),
            Some("4:37: warning: `retries` of http route is decided, not executed: it has no effect yet"),
        ),
        (
            &format!("timeout: soon, {route}"),
            Some("4:37: error: timeout \"soon\" is no duration; write it as 1.5s, 100ms or 1h30m"),
        ),
        (
            "route: [{destination: {host: a}}, {destination: {host: b}}]",
            Some("4:35: error: of several destinations at least one needs a `weight`"),
        ),
        ("directResponse: {status: 42}", Some("4:53: error: status 42 is out of range; write 200 to 599")),
        (
            &format!("headers: {{request: {{set: {{'a b': c}}}}}}, {route}"),
            Some("4:61: error: \"a b\" is no header; check its name and value"),
        ),
    ] {
        let found = of(fields);
        match expected {
            None => assert_eq!(found, Vec::<String>::new(), "{fields}"),
            Some(line) => {
                let line = format!("x.yaml:{line}");
                let found: Vec<&str> =
                    found.iter().map(|text| text.get(..line.len()).unwrap_or(text)).collect();
                assert_eq!(found, [line], "{fields}");
            }
        }
    }
    check(
        "VirtualService",
        &[(
            "{hosts: [a], tcp: [{match: [{destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: a}}]}]}",
            &[
                "4:56: error: `destinationSubnets` of tcp match is not supported: the route would match more than was meant",
            ],
        )],
    );
}

#[test]
fn diagnostics_come_by_file_and_line_whatever_the_order_of_sources() {
    let bad = |file: &str| Source { file: file.into(), text: "kind: A\n---\nkind: B\n" };
    let lines = |sources: &[Source<'_>]| -> Vec<String> {
        parse(sources).1.iter().map(|d: &Diagnostic| d.position.to_string()).collect()
    };
    let expected = ["a.yaml:1:1", "a.yaml:3:1", "b.yaml:1:1", "b.yaml:3:1"];
    assert_eq!(lines(&[bad("a.yaml"), bad("b.yaml")]), expected);
    assert_eq!(lines(&[bad("b.yaml"), bad("a.yaml")]), expected);
}
