//! PeerAuthentication (modes and who set them), DestinationRules (lookup, merging), secure naming, visibility.

use super::*;
use crate::fixture::{mesh, resources, workload};
use crate::resource::{MtlsMode, TlsMode};

/// One PeerAuthentication: namespace, name, second of creation, spec.
fn policy(namespace: &str, name: &str, second: u8, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{namespace: {namespace}, name: {name}, \
         creationTimestamp: '2026-03-01T10:00:{second:02}Z'}}\nspec: {spec}\n---\n"
    )
}

fn decided(text: &str, workload: &Workload) -> Authentication {
    Effective::of(&resources(text), &MeshConfig::default(), workload).authentication().clone()
}

#[test]
fn the_mode_is_the_mesh_s_then_the_namespace_s_then_the_workload_s() {
    let (strict, disable, permissive) =
        ("{mtls: {mode: STRICT}}", "{mtls: {mode: DISABLE}}", "{mtls: {mode: PERMISSIVE}}");
    let orders = "{selector: {matchLabels: {app: orders}}, mtls: {mode: DISABLE}}";
    let others = "{selector: {matchLabels: {app: others}}, mtls: {mode: DISABLE}}";
    let unset = "{selector: {matchLabels: {app: orders}}, mtls: {}}";
    let root = "istio-system";
    for (what, policies, mode, by) in [
        ("nothing", vec![], MtlsMode::Permissive, "default PERMISSIVE"),
        (
            "mesh",
            vec![policy(root, "m", 0, strict)],
            MtlsMode::Strict,
            "PeerAuthentication istio-system/m (x.yaml:4:21)",
        ),
        (
            "namespace over mesh",
            vec![policy(root, "m", 0, strict), policy("shop", "n", 1, disable)],
            MtlsMode::Disable,
            "PeerAuthentication shop/n (x.yaml:9:21)",
        ),
        (
            "another namespace",
            vec![policy("bank", "n", 0, strict)],
            MtlsMode::Permissive,
            "default PERMISSIVE",
        ),
        (
            "workload over namespace",
            vec![policy("shop", "n", 0, strict), policy("shop", "w", 1, orders)],
            MtlsMode::Disable,
            "PeerAuthentication shop/w (x.yaml:9:61)",
        ),
        (
            "not selected",
            vec![policy("shop", "n", 0, strict), policy("shop", "w", 1, others)],
            MtlsMode::Strict,
            "PeerAuthentication shop/n (x.yaml:4:21)",
        ),
        (
            "UNSET changes nothing",
            vec![policy("shop", "n", 0, strict), policy("shop", "w", 1, unset)],
            MtlsMode::Strict,
            "PeerAuthentication shop/n (x.yaml:4:21)",
        ),
        (
            "UNSET namespace inherits",
            vec![policy(root, "m", 0, strict), policy("shop", "n", 1, "{mtls: {mode: UNSET}}")],
            MtlsMode::Strict,
            "PeerAuthentication istio-system/m (x.yaml:4:21)",
        ),
        (
            "a root policy with labels is ignored",
            vec![policy(root, "m", 0, orders)],
            MtlsMode::Permissive,
            "default PERMISSIVE",
        ),
        (
            "the oldest mesh policy",
            vec![
                policy(root, "a", 5, disable),
                policy(root, "c", 0, strict),
                policy(root, "b", 0, permissive),
            ],
            MtlsMode::Permissive,
            "PeerAuthentication istio-system/b (x.yaml:14:21)",
        ),
        (
            "younger ones are dropped whole",
            vec![policy("shop", "w", 0, unset), policy("shop", "v", 1, orders)],
            MtlsMode::Permissive,
            "default PERMISSIVE",
        ),
    ] {
        let found = decided(&policies.concat(), &workload("shop", "orders")).mode;
        assert_eq!((found.mode, found.by.to_string().as_str()), (mode, by), "{what}");
    }
}

#[test]
fn a_workload_in_the_root_namespace_has_the_mesh_policy_and_no_other() {
    let text = [
        policy("istio-system", "m", 0, "{mtls: {mode: STRICT}}"),
        policy("istio-system", "w", 1, "{selector: {matchLabels: {app: gate}}, mtls: {mode: DISABLE}}"),
    ];
    assert_eq!(decided(&text.concat(), &workload("istio-system", "gate")).mode.mode, MtlsMode::Strict);
}

#[test]
fn a_port_without_a_mode_has_the_workload_s() {
    let text = [
        policy("istio-system", "m", 0, "{mtls: {mode: DISABLE}}"),
        policy(
            "shop",
            "w",
            0,
            "{selector: {matchLabels: {app: orders}}, mtls: {mode: STRICT}, portLevelMtls: {1: {mode: DISABLE}, 2: {mode: UNSET}, 3: {}}}",
        ),
        policy(
            "shop",
            "y",
            1,
            "{selector: {matchLabels: {app: orders}}, portLevelMtls: {4: {mode: DISABLE}}}",
        ),
    ];
    let found = decided(&text.concat(), &workload("shop", "orders"));
    let modes: Vec<MtlsMode> = (1..=4).map(|port| found.at(port).mode).collect();
    assert_eq!(modes, [MtlsMode::Disable, MtlsMode::Strict, MtlsMode::Strict, MtlsMode::Strict]);
    assert_eq!(found.at(1).by.to_string(), "PeerAuthentication shop/w (x.yaml:9:96)");
}

#[test]
fn authorization_policies_of_the_root_namespace_select_too_and_targeted_ones_never_do() {
    let policy = |namespace: &str, name: &str, spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{namespace: {namespace}, name: {name}}}\nspec: {spec}\n---\n"
        )
    };
    let text = [
        policy("istio-system", "everywhere", "{selector: {matchLabels: {app: orders}}}"),
        policy("istio-system", "others", "{selector: {matchLabels: {app: others}}}"),
        policy("shop", "all", "{}"),
        policy("bank", "all", "{}"),
        policy("shop", "gate", "{targetRef: {kind: Gateway, name: x}}"),
        policy("shop", "audit", "{action: AUDIT, rules: [{}]}"),
    ];
    let effective =
        Effective::of(&resources(&text.concat()), &MeshConfig::default(), &workload("shop", "orders"));
    let names = |action| effective.in_force(action).iter().map(Origin::label).collect::<Vec<_>>();
    assert_eq!(names(Action::Allow), ["shop/all", "istio-system/everywhere"]);
    assert_eq!(names(Action::Audit), ["shop/audit"]);
    assert!(names(Action::Deny).is_empty());
}

fn service(namespace: &str, host: &str, more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s{}, namespace: {namespace}}}\n\
         spec: {{hosts: [{host}], location: MESH_INTERNAL, resolution: STATIC, ports: [{{number: 80, name: http}}]{more}}}\n---\n",
        host.replace(['*', '.'], "-"),
    )
}

fn rule(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
    )
}

/// The rules for `api.example` of namespace `shop`, merged, as a client sees them.
fn rules(text: &str, client: &Workload) -> Vec<String> {
    let text = service("shop", "api.example", "") + text;
    let effective = Effective::of(&resources(&text), &MeshConfig::default(), client);
    effective.rules_of("api.example").iter().map(Origin::label).collect()
}

#[test]
fn the_client_s_rule_then_the_service_s_then_the_root_s() {
    let front = workload("front", "web");
    let of = |namespace: &str, fields: &str| rule(namespace, namespace, &format!("{{host: {fields}}}"));
    for (what, text, expected) in [
        ("client first", of("front", "api.example") + &of("shop", "api.example"), vec!["front/front"]),
        (
            "even a wildcard of the client's",
            of("front", "'*.example'") + &of("shop", "api.example"),
            vec!["front/front"],
        ),
        (
            "service before root",
            of("shop", "api.example") + &of("istio-system", "api.example"),
            vec!["shop/shop"],
        ),
        ("root", of("istio-system", "'*'"), vec!["istio-system/istio-system"]),
        (
            "a private one leaves the root's",
            of("shop", "api.example, exportTo: [.]") + &of("istio-system", "api.example"),
            vec!["istio-system/istio-system"],
        ),
        ("nobody else's", of("bank", "api.example"), vec![]),
        ("exported to another", of("shop", "api.example, exportTo: [bank]"), vec![]),
        (
            "specificity before export",
            rule("shop", "a", "{host: api.example, exportTo: [bank]}")
                + &rule("shop", "b", "{host: '*.example'}"),
            vec![],
        ),
        ("a wildcard needs the dot", of("shop", "'*.api.example'"), vec![]),
        (
            "the longest wildcard",
            rule("shop", "a", "{host: '*.example'}") + &rule("shop", "b", "{host: '*api.example'}"),
            vec!["shop/b"],
        ),
        (
            "another workload's hides the service's",
            rule("front", "x", "{host: api.example, workloadSelector: {matchLabels: {app: batch}}}")
                + &of("shop", "api.example"),
            vec![],
        ),
    ] {
        assert_eq!(rules(&text, &front), expected, "{what}");
    }
    let root = workload("istio-system", "gate");
    let public = of("istio-system", "api.example") + &of("shop", "api.example");
    assert_eq!(rules(&public, &root), ["shop/shop"], "public root rules are for the others first");
    let private = of("istio-system", "api.example, exportTo: [.]") + &of("shop", "api.example");
    assert_eq!(rules(&private, &root), ["istio-system/istio-system"]);
}

#[test]
fn rules_for_one_host_are_merged_unless_exported_to_others() {
    let shop = workload("shop", "web");
    let text = rule("shop", "a", "{host: api.example, subsets: [{name: v1}, {name: v2}]}")
        + &rule("shop", "b", "{host: api.example, subsets: [{name: v2, labels: {x: y}}, {name: v3}]}")
        + &rule("shop", "c", "{host: api.example, exportTo: [istio-system], subsets: [{name: v4}]}");
    assert_eq!(rules(&text, &shop), ["shop/a", "shop/b"]);
    let text = rule(
        "shop",
        "general",
        "{host: api.example, exportTo: [., front], trafficPolicy: {tls: {mode: DISABLE}}}",
    ) + &rule(
        "shop",
        "first",
        "{host: api.example, workloadSelector: {matchLabels: {app: web}}, trafficPolicy: {tls: {mode: SIMPLE}}}",
    ) + &rule(
        "shop",
        "second",
        "{host: api.example, workloadSelector: {matchLabels: {app: web}}}",
    ) + &rule("shop", "unexported", "{host: api.example}");
    assert_eq!(rules(&text, &shop), ["shop/first", "shop/second", "shop/general"]);
    assert_eq!(rules(&text, &workload("front", "web")), ["shop/general"]);
}

#[test]
fn a_port_s_settings_replace_and_a_subset_s_override() {
    let text = service("shop", "api.example", "")
        + &rule(
            "shop",
            "r",
            "{host: api.example, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, loadBalancer: {simple: RANDOM},
              portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]},
              subsets: [{name: plain, trafficPolicy: {tls: {mode: DISABLE}}},
                        {name: port, trafficPolicy: {tls: {mode: DISABLE}, portLevelSettings: [{port: {number: 81}, tls: {mode: SIMPLE}}]}}]}",
        );
    let effective = Effective::of(&resources(&text), &MeshConfig::default(), &workload("front", "web"));
    let rule = effective.service("api.example").unwrap().rule.clone().unwrap();
    let mode = |subset: Option<&str>, port| {
        let subset = subset.map(|name| &**rule.subset(name).unwrap());
        let settings = rule.settings(subset, port);
        (settings.tls.map(|tls| tls.mode), settings.balancer.is_some(), rule.endpoint_mode(subset, port))
    };
    assert_eq!(
        mode(None, 80),
        (None, true, Some(TlsMode::IstioMutual)),
        "what a port leaves out is not inherited"
    );
    assert_eq!(mode(None, 81), (Some(TlsMode::IstioMutual), true, Some(TlsMode::IstioMutual)));
    assert_eq!(mode(Some("plain"), 81), (Some(TlsMode::Disable), true, Some(TlsMode::Disable)));
    assert_eq!(mode(Some("port"), 81), (Some(TlsMode::Simple), false, Some(TlsMode::Simple)));
    assert_eq!(mode(Some("port"), 82), (Some(TlsMode::Disable), true, Some(TlsMode::Disable)));
}

#[test]
fn the_expected_names_of_a_service_say_where_they_are_from() {
    let text = service(
        "shop",
        "api.example",
        ", subjectAltNames: [api.example, 'spiffe://cluster.local/custom'], endpoints: [{address: 10.0.0.1, serviceAccount: a}, {address: 10.0.0.2, serviceAccount: a}, {address: 10.0.0.3}]",
    );
    let effective = Effective::of(
        &resources(&text),
        &mesh("trustDomainAliases: [old.example]"),
        &workload("front", "web"),
    );
    let names: Vec<(String, String)> = effective
        .service("api.example")
        .unwrap()
        .expected
        .0
        .iter()
        .map(|san| (san.name.to_string(), san.from.to_string()))
        .collect();
    let expected = [
        (
            "spiffe://cluster.local/ns/shop/sa/a",
            "serviceAccount of an endpoint, ServiceEntry shop/sapi-example (x.yaml:4:187)",
        ),
        (
            "spiffe://old.example/ns/shop/sa/a",
            "trust domain alias of spiffe://cluster.local/ns/shop/sa/a, serviceAccount of an endpoint, ServiceEntry shop/sapi-example (x.yaml:4:187)",
        ),
        ("api.example", "subjectAltNames of ServiceEntry shop/sapi-example (x.yaml:4:128)"),
        ("spiffe://cluster.local/custom", "subjectAltNames of ServiceEntry shop/sapi-example (x.yaml:4:141)"),
    ];
    let found: Vec<(&str, &str)> = names.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_kubernetes_service_has_its_pods_and_their_accounts() {
    let text = "apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop, annotations: {alpha.istio.io/kubernetes-serviceaccounts: 'x, y', alpha.istio.io/canonical-serviceaccounts: 'spiffe://z/c'}}
spec: {clusterIP: 10.96.0.1, selector: {app: orders}, ports: [{name: http, port: 80, targetPort: web}, {name: tcp-b, port: 90}]}
---
apiVersion: v1
kind: Pod
metadata: {name: orders-1, namespace: shop, labels: {app: orders, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: till, containers: [{name: app, image: orders, ports: [{name: web, containerPort: 8080}]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: other-1, namespace: shop, labels: {app: other}}
spec: {containers: [{name: app, image: orders}]}
status: {podIP: 10.0.0.2}
";
    let effective = Effective::of(&resources(text), &MeshConfig::default(), &workload("front", "web"));
    let service = effective.service("orders.shop.svc.cluster.local").unwrap();
    let names: Vec<&str> = service.expected.0.iter().map(|san| &*san.name).collect();
    assert_eq!(
        names,
        [
            "spiffe://cluster.local/ns/shop/sa/till",
            "spiffe://cluster.local/ns/shop/sa/x",
            "spiffe://cluster.local/ns/shop/sa/y",
            "spiffe://z/c"
        ]
    );
    assert_eq!(service.endpoints.len(), 1);
    assert_eq!(service.endpoints[0].ports, BTreeMap::from([(80, 8080), (90, 90)]));
    assert!(service.endpoints[0].has_sidecar);
}

#[test]
fn workload_entries_join_the_services_that_select_them() {
    let entry = |name: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n---\n"
        )
    };
    let text = service("shop", "api.example", ", workloadSelector: {labels: {app: api}}")
        + &entry("a", "{address: 10.0.0.1, labels: {app: api}, ports: {http: 8080}, serviceAccount: api}")
        + &entry("b", "{address: 10.0.0.2, labels: {app: api}}")
        + &entry(
            "c",
            "{address: 10.0.0.3, labels: {app: api, security.istio.io/tlsMode: disabled}, serviceAccount: api}",
        )
        + &entry("d", "{address: 10.0.0.4, labels: {app: api, security.istio.io/tlsMode: istio}}")
        + &entry("e", "{address: 10.0.0.5, labels: {app: other}}");
    let effective = Effective::of(&resources(&text), &MeshConfig::default(), &workload("front", "web"));
    let endpoints = &effective.service("api.example").unwrap().endpoints;
    let found: Vec<(u16, bool)> = endpoints.iter().map(|e| (e.ports[&80], e.has_sidecar)).collect();
    assert_eq!(found, [(8080, true), (80, false), (80, false), (80, true)]);
}

#[test]
fn services_are_seen_as_exported_and_as_the_sidecar_lets_them_in() {
    let text = service("shop", "all.example", "")
        + &service("shop", "own.example", ", exportTo: [.]")
        + &service("shop", "front.example", ", exportTo: [front]")
        + &service("shop", "none.example", ", exportTo: ['~']");
    let hosts = |text: &str, client: &Workload| -> Vec<String> {
        let effective = Effective::of(&resources(text), &MeshConfig::default(), client);
        effective.services.iter().map(|service| service.hostname.to_string()).collect()
    };
    assert_eq!(hosts(&text, &workload("front", "web")), ["all.example", "front.example"]);
    assert_eq!(hosts(&text, &workload("shop", "web")), ["all.example", "own.example"]);
    let sidecar = |name: &str, namespace: &str, spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
        )
    };
    let narrow = sidecar("n", "front", "{egress: [{hosts: ['shop/front.example']}]}");
    assert_eq!(hosts(&(text.clone() + &narrow), &workload("front", "web")), ["front.example"]);
    let selecting = sidecar(
        "w",
        "front",
        "{workloadSelector: {labels: {app: web}}, egress: [{hosts: ['*/all.example']}]}",
    );
    assert_eq!(hosts(&(text.clone() + &narrow + &selecting), &workload("front", "web")), ["all.example"]);
    let nothing = sidecar("r", "istio-system", "{egress: [{hosts: ['~/*']}]}");
    assert_eq!(hosts(&(text + &nothing), &workload("front", "web")), Vec::<String>::new());
}

#[test]
fn of_two_services_with_one_host_the_own_namespace_s_is_seen() {
    let text = service("bank", "api.example", "") + &service("shop", "api.example", "");
    for (client, seen) in [("shop", "shop"), ("bank", "bank"), ("front", "bank")] {
        let effective = Effective::of(&resources(&text), &MeshConfig::default(), &workload(client, "web"));
        assert_eq!(&*effective.service("api.example").unwrap().namespace, seen);
    }
}
