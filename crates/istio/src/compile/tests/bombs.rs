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

const REFUSED: &str = "error: with this, hosts, ports and subsets multiply to more than 1,000,000 clusters, endpoints, names, routes, matches and header edits; let a Sidecar's egress name the hosts that this workload needs";
const DECLARED: &str = "error: with this, hosts and selectors multiply to more than 1,000,000 endpoints, addresses and ports; list fewer hosts, or select fewer workloads";

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

/// Such a VirtualService for hosts of a ServiceEntry with one route.
fn routed(hosts: usize, route: &str) -> String {
    format!(
        "{}---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, namespace: shop}}\nspec: {{hosts: ['*.example'], http: [{{{route}}}]}}\n",
        entry(hosts, 1, 1)
    )
}

#[test]
fn matches_and_header_edits_by_hosts() {
    let matches = list(5000, |n| format!("{{uri: {{exact: /{n}}}}}"));
    let matches = format!("match: [{matches}], directResponse: {{status: 200}}");
    let edits = list(5000, |n| format!("h{n}: a"));
    let edits = format!("headers: {{response: {{set: {{{edits}}}}}}}, directResponse: {{status: 200}}");
    for route in [matches, edits] {
        assert_eq!(refused(&routed(256, &route)), [format!("x.yaml:6:1: {REFUSED}")]);
        assert_eq!(refused(&routed(10, &route)), Vec::<String>::new());
    }
}

/// So many ServiceEntries, each of its own hosts at those ports.
fn entries(count: usize, hosts: usize, ports: usize, endpoints: usize) -> String {
    let own = |n: usize| {
        let text = entry(hosts, ports, endpoints).replace("name: a,", &format!("name: a{n},"));
        text.replace(".example", &format!(".example{n}"))
    };
    (0..count).map(own).collect::<Vec<_>>().join("---\n")
}

#[test]
fn clusters_and_names_by_hosts_and_ports() {
    // Two hundred thousand service ports, each with a cluster, a virtual host and names.
    let found = refused(&entries(4, 256, 200, 1));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with(REFUSED), "{found:?}");
    assert_eq!(refused(&entries(1, 256, 20, 1)), Vec::<String>::new());
}

#[test]
fn endpoints_by_hosts_that_nobody_calls() {
    assert_eq!(refused(&entries(2, 256, 1, 4096)), [format!("x.yaml:1:1: {DECLARED}")]);
}
