//! The order of files and documents never changes the result.

use proptest::prelude::*;

use crate::fixture::{snapshot_of, workload};
use crate::{CaptureListeners, Effective, MeshConfig, Source, parse};

const DOCUMENTS: &[&str] = &[
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: b, namespace: shop}\nspec: {mtls: {mode: STRICT}}",
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: shop}\nspec: {mtls: {mode: DISABLE}}",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: b, namespace: shop}\nspec: {rules: [{to: [{operation: {ports: ['1']}}]}]}",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}\nspec: {rules: [{}]}",
    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: one, namespace: shop}\nspec: {hosts: [api.example], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.0.0.1, serviceAccount: a}]}",
    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: two, namespace: shop}\nspec: {hosts: [api.example], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.0.0.2, serviceAccount: b}]}",
    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: three, namespace: bank}\nspec: {hosts: [api.example], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}]}",
    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: b, namespace: shop}\nspec: {host: api.example, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a, namespace: shop}\nspec: {host: api.example, trafficPolicy: {tls: {mode: DISABLE}}}",
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: b, namespace: shop}\nspec: {hosts: [api.example], http: [{directResponse: {status: 404}}]}",
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: shop}\nspec: {hosts: [api.example], http: [{route: [{destination: {host: api.example}}]}]}",
    "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: b, namespace: shop}\nspec: {egress: [{bind: 127.0.0.1, port: {number: 80, protocol: HTTP, name: http}, captureMode: NONE, hosts: ['*/*']}], ingress: [{port: {number: 8080, name: p}, captureMode: NONE, bind: 127.0.0.2, defaultEndpoint: '127.0.0.1:9080'}]}",
    "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: c, namespace: shop}\nspec: {}",
];

/// Everything in the Snapshot, as text; maps by key.
fn described(order: &[usize]) -> String {
    let names: Vec<String> = (0..DOCUMENTS.len()).map(|index| format!("{index}.yaml")).collect();
    let sources: Vec<Source<'_>> = order
        .iter()
        .map(|index| Source { file: names[*index].as_str().into(), text: DOCUMENTS[*index] })
        .collect();
    let (resources, diagnostics) = parse(&sources);
    assert_eq!(diagnostics, []);
    let effective = Effective::of(&resources, &MeshConfig::default(), &workload("shop", "orders"));
    let snapshot = snapshot_of(&effective, &CaptureListeners::default());
    let mut clusters: Vec<String> =
        snapshot.clusters.values().map(|cluster| format!("{cluster:?}")).collect();
    clusters.sort();
    let mut text = clusters.join("\n");
    for chain in snapshot.listeners.iter().flat_map(|listener| &listener.chains) {
        text.push_str(&format!(
            "{} {:?} {:?} {:?}\n",
            chain.name, chain.matches, chain.authorization, chain.origin
        ));
        if let sidering_policy::Filter::Http(table) = &chain.filter {
            let mut hosts: Vec<_> =
                table.exact.iter().map(|(name, host)| format!("{name} {host:?}")).collect();
            hosts.sort();
            text.push_str(&hosts.join("\n"));
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn files_may_come_in_any_order(order in Just((0..DOCUMENTS.len()).collect::<Vec<_>>()).prop_shuffle()) {
        let first: Vec<usize> = (0..DOCUMENTS.len()).collect();
        prop_assert_eq!(described(&order), described(&first));
    }
}
