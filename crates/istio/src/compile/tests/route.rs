//! Which Host reaches a service, and what VirtualServices make of a request.

use sidering_policy::{Filter, RouteAction};

use crate::fixture::{Asks, Opens, accepted, routed, snapshot};

const LISTENER: &str = "127.0.0.1_80";

fn service(namespace: &str, host: &str, more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s{}, namespace: {namespace}}}\n\
         spec: {{hosts: ['{host}'], location: MESH_INTERNAL, resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: [{{address: 10.0.0.1}}]{more}}}\n---\n",
        host.replace(['*', '.'], "-"),
    )
}

fn client(text: &str) -> String {
    service("shop", "orders.shop.svc.cluster.local", ", addresses: [10.96.0.1, 'fd00::1']")
        + &service("bank", "till.bank.svc.cluster.local", "")
        + &service("shop", "*.wild.example", "")
        + "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: orders, namespace: shop}
spec: {egress: [{bind: 127.0.0.1, port: {number: 80, protocol: HTTP, name: http}, captureMode: NONE, hosts: ['*/*']}]}
---
"
        + text
}

fn virtual_service(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: orders, namespace: shop}}\nspec: {spec}\n---\n"
    )
}

fn to(host: &str) -> String {
    format!("outbound|80||{host}")
}

#[test]
fn a_service_has_many_names() {
    let orders = to("orders.shop.svc.cluster.local");
    let till = to("till.bank.svc.cluster.local");
    let snapshot = snapshot(&client(""));
    for (host, expected) in [
        ("orders.shop.svc.cluster.local", &*orders),
        ("ORDERS.shop.svc.cluster.local:80", &orders),
        ("orders.shop.svc.cluster.local.", &orders),
        ("orders.shop.svc", &orders),
        ("orders.shop", &orders),
        ("orders", &orders),
        ("10.96.0.1", &orders),
        ("[fd00::1]:80", &orders),
        ("till.bank", &till),
        ("till", "no virtual host is named \"till\""),
        ("a.wild.example", &to("*.wild.example")),
        ("wild.example", "no virtual host is named \"wild.example\""),
    ] {
        assert_eq!(
            routed(&snapshot, LISTENER, &Asks { host, port: 80, ..Asks::default() }),
            expected,
            "{host}"
        );
    }
}

#[test]
fn the_endpoints_of_a_headless_service_have_names_below_it() {
    let store = "apiVersion: v1\nkind: Service\nmetadata: {name: store, namespace: shop}\nspec: {clusterIP: None, selector: {app: s}, ports: [{name: http, port: 80}]}\n---\n";
    let snapshot = snapshot(&client(store));
    for host in ["store", "store-0.store", "store-0.store.shop.svc.cluster.local"] {
        let expected = to("store.shop.svc.cluster.local");
        assert_eq!(
            routed(&snapshot, LISTENER, &Asks { host, port: 80, ..Asks::default() }),
            expected,
            "{host}"
        );
    }
}

#[test]
fn a_name_in_full_is_never_taken_by_an_alias() {
    let snapshot = snapshot(&client(&service("zoo", "orders.shop", "")));
    assert_eq!(
        routed(&snapshot, LISTENER, &Asks { host: "orders.shop", port: 80, ..Asks::default() }),
        to("orders.shop")
    );
}

/// The first of these routes that takes the request leads to `orders`; the last to `till`.
fn takes(matching: &str, asks: &Asks<'_>) -> bool {
    let spec = format!(
        "{{hosts: [orders], http: [{{match: [{matching}], route: [{{destination: {{host: orders}}}}]}}, {{route: [{{destination: {{host: till.bank.svc.cluster.local}}}}]}}]}}"
    );
    let snapshot = snapshot(&client(&virtual_service(&spec)));
    let taken = routed(&snapshot, LISTENER, asks);
    assert!(
        taken == to("orders.shop.svc.cluster.local") || taken == to("till.bank.svc.cluster.local"),
        "{taken}"
    );
    taken.contains("orders")
}

#[test]
fn every_match() {
    let asks = || Asks {
        port: 80,
        from: "",
        method: "POST",
        path: "/Foo/bar",
        host: "orders",
        header: ("x-a", "abc"),
    };
    #[rustfmt::skip]
    let table: &[(&str, bool)] = &[
        ("{uri: {prefix: /Fo}}", true),
        ("{uri: {prefix: /fo}}", false),
        ("{uri: {prefix: /fo}, ignoreUriCase: true}", true),
        ("{uri: {exact: /Foo/bar}}", true),
        ("{uri: {exact: /Foo}}", false),
        ("{uri: {regex: '/F[o]+/.*'}}", true),
        ("{uri: {regex: '/F[o]+'}}", false),
        ("{uri: {regex: '/f[o]+/.*'}, ignoreUriCase: true}", false),
        ("{headers: {X-A: {exact: abc}}}", true),
        ("{headers: {x-a: {prefix: ab}}}", true),
        ("{headers: {x-a: {regex: 'a|b'}}}", false),
        ("{headers: {x-a: {}}}", true),
        ("{headers: {x-a: {regex: '*'}}}", true),
        ("{headers: {x-b: {}}}", false),
        ("{headers: {':method': {exact: POST}, ':authority': {exact: orders}}}", true),
        ("{withoutHeaders: {x-b: {exact: abc}}}", true),
        ("{withoutHeaders: {x-a: {exact: abc}}}", false),
        ("{withoutHeaders: {x-a: {}}}", false),
        ("{withoutHeaders: {x-b: {}}}", true),
        ("{withoutHeaders: {x-b: {regex: '.*'}}}", false),
        ("{method: {exact: POST}, authority: {prefix: ord}, scheme: {exact: http}}", true),
        ("{method: {exact: GET}}, {uri: {prefix: /}}", true),
        ("{method: {exact: GET}, uri: {prefix: /}}", false),
        ("{port: 80}", true),
        ("{port: 81}", false),
        ("{sourceLabels: {app: orders}}", true),
        ("{sourceLabels: {app: web}}", false),
        ("{sourceNamespace: shop}", true),
        ("{sourceNamespace: front}", false),
        ("{gateways: [mesh], sourceNamespace: front, sourceLabels: {app: web}}", true),
        ("{gateways: [edge]}", false),
    ];
    for (matching, expected) in table {
        assert_eq!(takes(matching, &asks()), *expected, "{matching}");
    }
}

#[test]
fn what_a_route_does() {
    let asks = |host| Asks { host, port: 80, ..Asks::default() };
    for (route, expected) in [
        ("{directResponse: {status: 404}}", "status 404"),
        (
            "{fault: {abort: {percentage: {value: 100}, httpStatus: 418}}, route: [{destination: {host: orders}}]}",
            "status 418",
        ),
        (
            "{fault: {abort: {percentage: {value: 50}, httpStatus: 418}}, route: [{destination: {host: orders}}]}",
            "outbound|80||orders.shop.svc.cluster.local",
        ),
        (
            "{fault: {abort: {httpStatus: 418}}, route: [{destination: {host: orders}}]}",
            "outbound|80||orders.shop.svc.cluster.local",
        ),
        ("{redirect: {uri: /x}}", "status 503"),
        (
            "{match: [{uri: {exact: /x}}], route: [{destination: {host: orders}}]}",
            "no route of orders.shop.svc.cluster.local:80 matches",
        ),
        (
            "{route: [{destination: {host: orders, subset: v9}}]}",
            "there is no cluster outbound|80|v9|orders.shop.svc.cluster.local",
        ),
        ("{route: [{destination: {host: gone.example}}]}", "there is no cluster outbound|80||gone.example"),
        (
            "{route: [{destination: {host: till.bank.svc.cluster.local, port: {number: 80}}}]}",
            "outbound|80||till.bank.svc.cluster.local",
        ),
        (
            "{route: [{destination: {host: orders}, weight: 0}, {destination: {host: till.bank.svc.cluster.local}, weight: 3}]}",
            "outbound|80||till.bank.svc.cluster.local",
        ),
    ] {
        let snapshot = snapshot(&client(&virtual_service(&format!("{{hosts: [orders], http: [{route}]}}"))));
        assert_eq!(routed(&snapshot, LISTENER, &asks("orders")), expected, "{route}");
    }
}

#[test]
fn edits_weights_and_timeouts() {
    let spec = "{hosts: [orders], http: [{name: main, timeout: 1.5s,
      headers: {request: {set: {':authority': by-route.example, x-both: route}, remove: [X-Gone]}, response: {add: {x-out: '1'}}},
      route: [{destination: {host: orders}, headers: {request: {set: {Host: by-destination.example, x-both: destination, x-own: '2', x-gone: '3'}}}}]}]}";
    let snapshot = snapshot(&client(&virtual_service(spec)));
    let chain = accepted(&snapshot, LISTENER, 80, Opens::Raw("http/1.1")).unwrap();
    let Filter::Http(table) = &chain.filter else { panic!() };
    let route = &table.exact["orders"].routes[0];
    assert_eq!((&*route.name, route.timeout.map(|timeout| timeout.as_millis())), ("main", Some(1500)));
    let text = |list: &[(std::sync::Arc<str>, std::sync::Arc<str>)]| -> Vec<String> {
        list.iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    assert_eq!(text(&route.request_headers.set), ["x-own=2", "x-both=route"]);
    assert_eq!(route.request_headers.remove, ["x-gone".into()]);
    assert_eq!(text(&route.response_headers.add), ["x-out=1"]);
    let RouteAction::Forward { host, .. } = &route.action else { panic!() };
    assert_eq!(host.as_ref().map(|host| &*host.0), Some("by-route.example"));
    assert_eq!(route.origin.to_string(), "VirtualService shop/orders[0] (x.yaml:24:32)");
}

#[test]
fn weights_are_kept_and_those_without_get_nothing() {
    let spec = "{hosts: [orders], http: [{route: [{destination: {host: orders}, weight: 50}, {destination: {host: a}}, {destination: {host: till.bank.svc.cluster.local}, weight: 25}]}]}";
    let snapshot = snapshot(&client(&virtual_service(spec)));
    let chain = accepted(&snapshot, LISTENER, 80, Opens::Raw("http/1.1")).unwrap();
    let Filter::Http(table) = &chain.filter else { panic!() };
    let RouteAction::Forward { clusters, .. } = &table.exact["orders"].routes[0].action else { panic!() };
    let found: Vec<(&str, u32)> = clusters.iter().map(|c| (&*c.cluster, c.weight)).collect();
    assert_eq!(
        found,
        [
            ("outbound|80||orders.shop.svc.cluster.local", 50),
            ("outbound|80||till.bank.svc.cluster.local", 25)
        ]
    );
}

#[test]
fn the_exact_virtual_service_beats_a_wildcard_and_the_oldest_one_counts() {
    let of = |name: &str, host: &str, status: u16| {
        virtual_service(&format!("{{hosts: ['{host}'], http: [{{directResponse: {{status: {status}}}}}]}}"))
            .replace("name: orders,", &format!("name: {name},"))
    };
    let asks = Asks { host: "orders", port: 80, ..Asks::default() };
    let wide = of("a", "*.cluster.local", 401);
    let exact = of("c", "orders", 402);
    let younger = of("d", "orders", 403);
    assert_eq!(routed(&snapshot(&client(&wide)), LISTENER, &asks), "status 401");
    assert_eq!(routed(&snapshot(&client(&(wide + &younger + &exact))), LISTENER, &asks), "status 402");
}

#[test]
fn a_host_without_a_service_is_routed_at_port_80() {
    let text = virtual_service("{hosts: [virtual.example], http: [{directResponse: {status: 204}}]}");
    let asks = Asks { host: "virtual.example", port: 80, ..Asks::default() };
    assert_eq!(routed(&snapshot(&client(&text)), LISTENER, &asks), "status 204");
}

#[test]
fn a_virtual_service_that_is_not_exported_or_not_for_sidecars_has_no_effect() {
    let asks = Asks { host: "till.bank", port: 80, ..Asks::default() };
    for (more, expected) in [
        ("", "status 204"),
        (", exportTo: [.]", "outbound|80||till.bank.svc.cluster.local"),
        (", exportTo: [shop]", "status 204"),
        (", gateways: [edge]", "outbound|80||till.bank.svc.cluster.local"),
        (", gateways: [edge, mesh]", "status 204"),
    ] {
        let text =
            virtual_service(&format!("{{hosts: [till], http: [{{directResponse: {{status: 204}}}}]{more}}}"))
                .replace("namespace: shop", "namespace: bank");
        assert_eq!(routed(&snapshot(&client(&text)), LISTENER, &asks), expected, "{more}");
    }
}
