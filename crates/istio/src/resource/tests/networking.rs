//! DestinationRule, ServiceEntry, Sidecar, VirtualService.

use super::{check, of_spec};

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
                    "4:64: warning: names are not resolved yet: only endpoints that are listed by address are reached; list them, with resolution STATIC",
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
            Some("4:58: error: regex \"(\" cannot be used: unclosed group"),
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
        (
            "fault: {abort: {httpStatus: 503, percentage: {value: NaN}}}, route: [{destination: {host: a}}]",
            Some("4:81: error: percentage must be a number from 0 to 100"),
        ),
        (
            "fault: {abort: {httpStatus: 503, percentage: {value: '100'}}}, route: [{destination: {host: a}}]",
            Some("4:81: error: percentage must be a number from 0 to 100"),
        ),
        (
            "fault: {abort: {httpStatus: 503, percentage: {value: 101}}}, route: [{destination: {host: a}}]",
            Some("4:81: error: percentage must be a number from 0 to 100"),
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
