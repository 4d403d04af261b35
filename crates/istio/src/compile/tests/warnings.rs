//! What compiles and is probably not meant.

use crate::fixture::snapshot;

const SIDECAR: &str = "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: orders, namespace: shop}
spec: {egress: [{bind: 127.0.0.1, port: {number: 80, protocol: HTTP, name: http}, captureMode: NONE, hosts: ['*/*']}]}
---
";

#[test]
fn a_workload_without_a_listener() {
    let warnings = snapshot("").warnings;
    let expected = "shop/orders has no listener: write a Sidecar that selects it, or set `listeners` in the bootstrap file";
    assert_eq!(warnings, [expected]);
    assert!(snapshot(SIDECAR).warnings.is_empty());
}

#[test]
fn a_route_to_what_is_not_there_names_its_line() {
    let route = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec:
  hosts: [orders.example]
  http:
  - directResponse: {status: 200}
  - route: [{destination: {host: gone.example, subset: v1}}]
";
    assert_eq!(
        snapshot(&(SIDECAR.to_owned() + route)).warnings,
        [
            "VirtualService shop/v[1] (x.yaml:13:5): there is no cluster outbound|80|v1|gone.example: what is routed there is refused"
        ]
    );
}
