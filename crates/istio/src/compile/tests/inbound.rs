//! Which connections a port takes, and how.

use crate::fixture::{Opens, accepted, captured, compile_errors, effective, snapshot, snapshot_of};
use crate::{CaptureListeners, Effective, MeshConfig};

const MESH_HTTP: Opens<'_> = Opens::Tls(&["istio-http/1.1", "istio", "http/1.1"]);
const MESH_TCP: Opens<'_> = Opens::Tls(&["istio-peer-exchange", "istio"]);
const BROWSER: Opens<'_> = Opens::Tls(&["h2", "http/1.1"]);
const NO_ALPN: Opens<'_> = Opens::Tls(&[]);
const HTTP1: Opens<'_> = Opens::Raw("http/1.1");
const HTTP10: Opens<'_> = Opens::Raw("http/1.0");
const H2C: Opens<'_> = Opens::Raw("h2c");
const BYTES: Opens<'_> = Opens::Raw("");

fn of_mode(mode: &str, protocol: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: shop}}
spec: {{mtls: {{mode: {mode}}}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: orders, namespace: shop}}
spec:
  ingress:
  - bind: 127.0.0.2
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:9080
    port: {{number: 8080, name: p{protocol}}}
"
    )
}

#[test]
fn every_mode_class_and_client() {
    #[rustfmt::skip]
    let table: &[(&str, &str, Opens<'_>, &str)] = &[
        ("STRICT", "HTTP", MESH_HTTP, "mtls http"),
        ("STRICT", "HTTP", BROWSER, "mtls http"),
        ("STRICT", "HTTP", HTTP1, "plaintext, and PeerAuthentication shop/default (x.yaml:4:21) wants mutual TLS"),
        ("STRICT", "TCP", MESH_TCP, "mtls tcp"),
        ("STRICT", "TCP", NO_ALPN, "mtls tcp"),
        ("STRICT", "TCP", BYTES, "plaintext, and PeerAuthentication shop/default (x.yaml:4:21) wants mutual TLS"),
        ("STRICT", "", MESH_HTTP, "mtls http"),
        ("STRICT", "", Opens::Tls(&["istio-h2"]), "mtls http"),
        ("STRICT", "", Opens::Tls(&["istio-http/1.0"]), "mtls http"),
        ("STRICT", "", MESH_TCP, "mtls tcp"),
        ("STRICT", "", BROWSER, "mtls tcp"),
        ("STRICT", "", HTTP1, "plaintext, and PeerAuthentication shop/default (x.yaml:4:21) wants mutual TLS"),
        ("PERMISSIVE", "HTTP", MESH_HTTP, "mtls http"),
        ("PERMISSIVE", "HTTP", MESH_TCP, "mtls http"),
        ("PERMISSIVE", "HTTP", HTTP1, "plaintext http"),
        ("PERMISSIVE", "HTTP", HTTP10, "plaintext http"),
        ("PERMISSIVE", "HTTP", BROWSER, "TLS that no chain of port 8080 takes (PeerAuthentication shop/default (x.yaml:4:21))"),
        ("PERMISSIVE", "TCP", MESH_TCP, "mtls tcp"),
        ("PERMISSIVE", "TCP", MESH_HTTP, "mtls tcp"),
        ("PERMISSIVE", "TCP", BROWSER, "opaque tcp"),
        ("PERMISSIVE", "TCP", BYTES, "plaintext tcp"),
        ("PERMISSIVE", "", MESH_HTTP, "mtls http"),
        ("PERMISSIVE", "", MESH_TCP, "mtls tcp"),
        ("PERMISSIVE", "", NO_ALPN, "opaque tcp"),
        ("PERMISSIVE", "", HTTP1, "plaintext http"),
        ("PERMISSIVE", "", H2C, "plaintext http"),
        ("PERMISSIVE", "", HTTP10, "plaintext tcp"),
        ("PERMISSIVE", "", BYTES, "plaintext tcp"),
        ("DISABLE", "HTTP", HTTP1, "plaintext http"),
        ("DISABLE", "TCP", BYTES, "plaintext tcp"),
        ("DISABLE", "", HTTP1, "plaintext http"),
        ("DISABLE", "", BYTES, "plaintext tcp"),
    ];
    for (mode, protocol, opens, expected) in table {
        let declared = if protocol.is_empty() { String::new() } else { format!(", protocol: {protocol}") };
        let snapshot = snapshot(&of_mode(mode, &declared));
        let took = match accepted(&snapshot, "127.0.0.2_8080", 8080, *opens) {
            Ok(chain) => chain.name.strip_prefix("inbound 8080 ").unwrap().to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(took, *expected, "{mode} {protocol:?}");
    }
}

#[test]
fn the_server_prefers_what_istio_prefers_and_never_an_istio_token() {
    for (protocol, expected) in
        [(", protocol: HTTP", vec!["http/1.1"]), (", protocol: TCP", vec!["h2", "http/1.1"])]
    {
        let snapshot = snapshot(&of_mode("STRICT", protocol));
        let chain = accepted(&snapshot, "127.0.0.2_8080", 8080, MESH_HTTP).unwrap();
        let alpn: Vec<&str> = chain.tls.as_ref().unwrap().alpn.iter().map(|token| &**token).collect();
        assert_eq!(alpn, expected);
    }
}

#[test]
fn a_port_that_is_disabled_is_not_inspected() {
    let snapshot = snapshot(&of_mode("DISABLE", ", protocol: TCP"));
    let listener = snapshot.listener("127.0.0.2_8080").unwrap();
    let destination = sidering_policy::Destination("127.0.0.2:8080".parse().unwrap());
    assert_eq!(sidering_policy::needs(listener, destination), sidering_policy::Needs::default());
}

fn ingress(fields: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: orders, namespace: shop}}
spec:
  ingress:
  - {{port: {{number: 8080, name: http, protocol: HTTP}}, captureMode: NONE, {fields}}}
"
    )
}

#[test]
fn an_ingress_listener_is_bound_and_leads_where_it_says() {
    for (fields, listener, endpoint) in [
        ("bind: 127.0.0.9, defaultEndpoint: '127.0.0.1:9080'", "127.0.0.9_8080", "Tcp(127.0.0.1:9080)"),
        ("defaultEndpoint: '0.0.0.0:9080'", "127.0.0.2_8080", "Tcp(127.0.0.2:9080)"),
        ("defaultEndpoint: '[::1]:9080'", "127.0.0.2_8080", "Tcp([::1]:9080)"),
        ("defaultEndpoint: 'unix:///run/app.sock'", "127.0.0.2_8080", "Unix(\"/run/app.sock\")"),
        (
            "bind: 'unix:///run/in.sock', defaultEndpoint: '127.0.0.1:9080'",
            "/run/in.sock",
            "Tcp(127.0.0.1:9080)",
        ),
    ] {
        let snapshot = snapshot(&ingress(fields));
        assert!(snapshot.listener(listener).is_some(), "{fields}: {:?}", snapshot.listeners);
        let cluster = snapshot.cluster("inbound|8080||").unwrap();
        let sidering_policy::Discovery::Static(endpoints) = &cluster.discovery else { panic!("{cluster:?}") };
        assert_eq!(format!("{:?}", endpoints[0].address), endpoint);
        assert_eq!(cluster.origin.to_string(), "Sidecar shop/orders (x.yaml:6:5)");
    }
}

#[test]
fn an_ingress_listener_that_leads_nowhere_or_back_is_an_error() {
    for (fields, expected) in [
        (
            "bind: 127.0.0.9",
            "x.yaml:6:5: error: a listener that is not captured needs a `defaultEndpoint`, such as 127.0.0.1:8080",
        ),
        (
            "bind: 127.0.0.1, defaultEndpoint: '127.0.0.1:8080'",
            "x.yaml:6:5: error: defaultEndpoint leads back to this listener; use another port",
        ),
        (
            "bind: 0.0.0.0, defaultEndpoint: '127.0.0.1:8080'",
            "x.yaml:6:5: error: defaultEndpoint leads back to this listener; use another port",
        ),
    ] {
        assert_eq!(compile_errors(&ingress(fields)), [expected]);
    }
}

#[test]
fn the_capture_listener_has_chains_for_ports_of_services_and_for_the_others() {
    let text = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: orders, namespace: shop}
spec: {selector: {matchLabels: {app: orders}}, mtls: {mode: DISABLE}, portLevelMtls: {9092: {mode: STRICT}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders, namespace: shop}
spec:
  hosts: [orders.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, targetPort: 8080, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.2}]
";
    let capture = CaptureListeners { inbound: Some(captured("0.0.0.0:15006")), outbound: None };
    let snapshot = snapshot_of(&effective(text), &capture);
    for (port, opens, expected) in [
        (8080, HTTP1, Ok("inbound 8080 plaintext http")),
        (9092, MESH_TCP, Ok("inbound passthrough 9092 mtls tcp")),
        (9092, BYTES, Err("plaintext, and PeerAuthentication shop/orders (x.yaml:4:100) wants mutual TLS")),
        (7000, HTTP1, Ok("inbound passthrough plaintext http")),
        (7000, BYTES, Ok("inbound passthrough plaintext tcp")),
        (15006, BYTES, Err("nothing is configured for such a connection to port 15006")),
    ] {
        let took = accepted(&snapshot, "virtualInbound", port, opens).map(|chain| chain.name.to_string());
        assert_eq!(
            took.as_deref().map_err(|refusal| refusal.to_string()),
            expected.map_err(str::to_owned),
            "{port}"
        );
    }
}

#[test]
fn nothing_is_inbound_without_a_sidecar_resource_or_capture() {
    let effective = Effective::of(
        &crate::Resources::default(),
        &MeshConfig::default(),
        &crate::fixture::workload("shop", "orders"),
    );
    assert!(snapshot_of(&effective, &CaptureListeners::default()).listeners.is_empty());
}
