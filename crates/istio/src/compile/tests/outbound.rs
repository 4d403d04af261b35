//! Outbound listeners: bound by a Sidecar, or captured.

use sidering_policy::{BindAddress, Facts, Filter, Snapshot, accept, dial};

use crate::CaptureListeners;
use crate::fixture::{
    Asks, Opens, captured, compile_errors, effective, facts, routed, snapshot, snapshot_of,
};

fn service(name: &str, protocol: &str, port: u16, more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{hosts: [{name}.example], location: MESH_INTERNAL, resolution: STATIC, ports: [{{number: {port}, name: p{protocol}}}], endpoints: [{{address: 10.0.0.1}}]{more}}}\n---\n"
    )
}

fn egress(entries: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: orders, namespace: shop}}\nspec: {{egress: [{entries}]}}\n---\n"
    )
}

/// The cluster that a TCP connection goes to.
fn dialled(snapshot: &Snapshot, listener: &str, facts: &Facts) -> String {
    let chain = accept(snapshot, listener, facts).unwrap();
    match &chain.filter {
        Filter::Tcp(clusters) => match dial(snapshot, clusters, &chain.origin, 0) {
            Ok(cluster) => cluster.name.to_string(),
            Err(refusal) => refusal.to_string(),
        },
        Filter::Http(table) => format!("http {}", table.name),
    }
}

#[test]
fn an_egress_listener_is_bound_where_it_says() {
    for (fields, bind) in [
        ("bind: 127.0.0.9, captureMode: NONE", BindAddress::Tcp("127.0.0.9:80".parse().unwrap())),
        ("captureMode: NONE", BindAddress::Tcp("127.0.0.1:80".parse().unwrap())),
        (
            "bind: 'unix:///run/out.sock', captureMode: NONE",
            BindAddress::Unix(std::path::Path::new("/run/out.sock").into()),
        ),
    ] {
        let snapshot = snapshot(&egress(&format!(
            "{{port: {{number: 80, protocol: HTTP, name: http}}, {fields}, hosts: ['*/*']}}"
        )));
        assert_eq!(snapshot.listeners[0].bind, bind);
        assert_eq!(snapshot.listeners[0].origin.to_string(), "Sidecar shop/orders (x.yaml:4:17)");
    }
}

#[test]
fn two_listeners_at_one_address_are_an_error() {
    let one = "{port: {number: 80, protocol: HTTP, name: http}, captureMode: NONE, hosts: ['*/*']}";
    let found = compile_errors(&egress(&format!("{one}, {one}")));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains(
            "127.0.0.1_80 is already bound by Sidecar shop/orders (x.yaml:4:17); use another port or bind"
        ),
        "{found:?}"
    );
}

#[test]
fn a_tcp_listener_leads_to_the_first_service_that_its_hosts_name() {
    let services = service("b", ", protocol: TCP", 90, "") + &service("a", ", protocol: TCP", 90, "");
    let listener = "{port: {number: 90, protocol: TCP, name: t}, bind: 127.0.0.1, captureMode: NONE, hosts: ['./b.example', '*/*']}";
    let bytes = facts(90, Opens::Raw(""));
    let snapshot1 = snapshot(&(services.clone() + &egress(listener)));
    assert_eq!(dialled(&snapshot1, "127.0.0.1_90", &bytes), "outbound|90||b.example");
    let route = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: shop}\nspec: {hosts: [b.example], tcp: [{match: [{port: 91}], route: [{destination: {host: b.example}}]}, {match: [{port: 90}], route: [{destination: {host: a.example}}]}]}\n---\n";
    let snapshot2 = snapshot(&(services + &egress(listener) + route));
    assert_eq!(dialled(&snapshot2, "127.0.0.1_90", &bytes), "outbound|90||a.example");
    let chain = accept(&snapshot2, "127.0.0.1_90", &bytes).unwrap();
    assert_eq!(chain.origin.label(), "shop/v[1]");
    let empty = snapshot(&egress(listener));
    assert!(dialled(&empty, "127.0.0.1_90", &bytes).contains("BlackHoleCluster"), "nothing is there");
}

#[test]
fn an_undeclared_listener_sniffs() {
    let listener = "{port: {number: 90, name: t}, bind: 127.0.0.1, captureMode: NONE, hosts: ['*/*']}";
    let snapshot = snapshot(&(service("a", "", 90, "") + &egress(listener)));
    assert_eq!(dialled(&snapshot, "127.0.0.1_90", &facts(90, Opens::Raw("http/1.1"))), "http 127.0.0.1_90");
    assert_eq!(dialled(&snapshot, "127.0.0.1_90", &facts(90, Opens::Raw(""))), "outbound|90||a.example");
}

#[test]
fn only_what_the_hosts_name_and_has_that_port_is_reached() {
    let services = service("a", ", protocol: HTTP", 80, "")
        + &service("b", ", protocol: HTTP", 80, "")
        + &service("c", ", protocol: HTTP", 81, "");
    let listener = "{port: {number: 80, protocol: HTTP, name: h}, bind: 127.0.0.1, captureMode: NONE, hosts: ['./a.example', './c.example']}";
    let snapshot = snapshot(&(services + &egress(listener)));
    for (host, expected) in [
        ("a.example", "outbound|80||a.example"),
        ("b.example", "no virtual host is named \"b.example\""),
        ("c.example", "no virtual host is named \"c.example\""),
    ] {
        assert_eq!(routed(&snapshot, "127.0.0.1_80", &Asks { host, port: 80, ..Asks::default() }), expected);
    }
}

#[test]
fn captured_traffic_is_told_apart_by_port_host_and_address() {
    let text = service("web", ", protocol: HTTP", 80, "")
        + &service("db", ", protocol: TCP", 5432, ", addresses: [10.96.0.5]")
        + &service("db2", ", protocol: TCP", 5432, ", addresses: [10.96.0.6]")
        + &service("maybe", "", 7000, ", addresses: [10.96.0.7]");
    let capture = CaptureListeners { inbound: None, outbound: Some(captured("0.0.0.0:15001")) };
    let at = |address: &str, opens: Opens<'_>| Facts {
        destination: sidering_policy::Destination(address.parse().unwrap()),
        ..facts(1, opens)
    };
    for (registry_only, undeclared, unknown_host) in [
        (false, "PassthroughCluster", "PassthroughCluster"),
        (true, "BlackHoleCluster leads nowhere", "no virtual host is named \"other.example\""),
    ] {
        let policy = if registry_only { "REGISTRY_ONLY" } else { "ALLOW_ANY" };
        let sidecar = format!(
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: orders, namespace: shop}}\nspec: {{outboundTrafficPolicy: {{mode: {policy}}}}}\n---\n"
        );
        let snapshot = snapshot_of(&effective(&(text.clone() + &sidecar)), &capture);
        for (address, opens, expected) in [
            ("10.1.1.1:80", Opens::Raw("http/1.1"), "http 80"),
            ("10.96.0.5:5432", Opens::Raw(""), "outbound|5432||db.example"),
            ("10.96.0.6:5432", Opens::Tls(&[]), "outbound|5432||db2.example"),
            ("10.96.0.9:5432", Opens::Raw(""), undeclared),
            ("10.96.0.7:7000", Opens::Raw("http/1.1"), "http 7000"),
            ("10.96.0.7:7000", Opens::Raw(""), "outbound|7000||maybe.example"),
            ("10.96.0.9:7000", Opens::Raw(""), undeclared),
            ("10.96.0.9:9999", Opens::Raw(""), undeclared),
        ] {
            assert_eq!(
                dialled(&snapshot, "virtualOutbound", &at(address, opens)),
                expected,
                "{policy} {address}"
            );
        }
        let asks = |host| Asks { host, port: 80, ..Asks::default() };
        assert_eq!(routed(&snapshot, "virtualOutbound", &asks("web.example")), "outbound|80||web.example");
        assert_eq!(routed(&snapshot, "virtualOutbound", &asks("other.example")), unknown_host);
    }
}
