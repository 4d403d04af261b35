//! Little that multiplies to much.

use crate::compile::compile;
use crate::fixture::{captured, no_files, resources, workload};
use crate::{CaptureListeners, Effective, MeshConfig};

fn refused(text: &str) -> Vec<String> {
    let effective = Effective::of(&resources(text), &MeshConfig::default(), &workload("shop", "orders"));
    let capture = CaptureListeners { inbound: None, outbound: Some(captured("0.0.0.0:15001")) };
    match compile(&effective, &capture, &no_files) {
        Ok(_) => Vec::new(),
        Err(diagnostics) => diagnostics.iter().map(ToString::to_string).collect(),
    }
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(", ")
}

/// So many hosts, ports and endpoints of one ServiceEntry.
fn entry(hosts: usize, ports: usize, endpoints: usize) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: a, namespace: shop}}\nspec: {{resolution: STATIC, hosts: [{}], ports: [{}], endpoints: [{}]}}\n",
        list(hosts, |n| format!("h{n}.example")),
        list(ports, |n| format!("{{number: {}, name: http-{n}, protocol: HTTP}}", n + 1)),
        list(endpoints, |n| format!("{{address: 10.0.{}.{}}}", n / 256, n % 256)),
    )
}

const REFUSED: &str = "error: with this, hosts, ports and subsets multiply to more than 1,000,000 endpoints and routes; let a Sidecar's egress name the hosts that this workload needs";

#[test]
fn endpoints_by_hosts_and_ports() {
    assert_eq!(refused(&entry(32, 16, 4096)), [format!("x.yaml:1:1: {REFUSED}")]);
    assert_eq!(refused(&entry(4, 4, 4096)), Vec::<String>::new());
}

#[test]
fn routes_by_hosts() {
    let routes =
        list(5000, |n| format!("{{match: [{{uri: {{exact: /{n}}}}}], directResponse: {{status: 200}}}}"));
    let text = |hosts| {
        format!(
            "{}---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, namespace: shop}}\nspec: {{hosts: ['*.example'], http: [{routes}]}}\n",
            entry(hosts, 1, 1)
        )
    };
    assert_eq!(refused(&text(256)), [format!("x.yaml:6:1: {REFUSED}")]);
    assert_eq!(refused(&text(10)), Vec::<String>::new());
}
