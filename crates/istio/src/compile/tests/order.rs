//! The order of files and documents never changes the result.

use proptest::prelude::*;

use crate::fixture::{snapshot_of, workload};
use crate::{CaptureListeners, Effective, MeshConfig, Source, parse};

const DOCUMENTS: &[&str] = &[
    // As old as each other.
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: d, namespace: shop, creationTimestamp: '2026-03-01T10:00:00Z'}\nspec: {selector: {matchLabels: {app: orders}}, mtls: {mode: DISABLE}, portLevelMtls: {8080: {mode: PERMISSIVE}}}",
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: c, namespace: shop, creationTimestamp: '2026-03-01T10:00:00Z'}\nspec: {selector: {matchLabels: {app: orders}}, mtls: {mode: STRICT}}",
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: x, namespace: istio-system}\nspec: {mtls: {mode: DISABLE}}",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: istio-system}\nspec: {action: DENY, rules: [{to: [{operation: {paths: [/x], ports: ['8080']}}]}]}",
    "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\nspec: {selector: {app: api}, ports: [{port: 80, name: http}]}",
    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, namespace: shop}\nspec: {hosts: [api.shop.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: tcp, protocol: TCP}], endpoints: [{address: 10.0.0.3, serviceAccount: c}]}",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: api-1, namespace: shop, labels: {app: api}}\nspec: {serviceAccountName: api}\nstatus: {podIP: 10.0.0.4}",
    "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: api-2, namespace: shop, labels: {app: api}}\nspec: {address: 10.0.0.5, serviceAccount: d}",
    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: s, namespace: shop}\nspec: {host: api.example, workloadSelector: {matchLabels: {app: orders}}, exportTo: [.], subsets: [{name: v1, labels: {v: '1'}}]}",
    "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, namespace: shop}\nspec: {host: api.example, workloadSelector: {matchLabels: {app: orders}}, exportTo: [.], subsets: [{name: v1, labels: {v: '2'}}], trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}}",
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

/// A file for each document.
fn described(order: &[usize]) -> String {
    let names: Vec<String> = (0..DOCUMENTS.len()).map(|index| format!("{index}.yaml")).collect();
    let source = |index: &usize| Source { file: names[*index].as_str().into(), text: DOCUMENTS[*index] };
    described_of(&order.iter().map(source).collect::<Vec<_>>())
}

/// Without what is written where.
fn nowhere(text: &str) -> String {
    let mut parts = text.split("Position {");
    let first = parts.next().unwrap_or_default().to_owned();
    let places = regex::Regex::new(r"\(?\w+\.yaml:\d+:\d+\)?").unwrap();
    let text = parts.fold(first, |text, part| text + part.split_once('}').map_or("", |(_, rest)| rest));
    places.replace_all(&text, "").into_owned()
}

/// Everything in the Snapshot, as text; maps by key.
fn described_of(sources: &[Source<'_>]) -> String {
    let (resources, diagnostics) = parse(sources);
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

    #[test]
    fn documents_may_stand_in_any_file(
        order in Just((0..DOCUMENTS.len()).collect::<Vec<_>>()).prop_shuffle(),
        files in proptest::collection::vec(0..4usize, DOCUMENTS.len()),
    ) {
        let mut texts = [const { String::new() }; 4];
        for (index, file) in order.iter().zip(files) {
            texts[file] += &format!("{}\n---\n", DOCUMENTS[*index]);
        }
        let sources: Vec<Source<'_>> =
            ["d", "b", "c", "a"].into_iter().zip(&texts).map(|(file, text)| Source { file: format!("{file}.yaml").into(), text }).collect();
        let first: Vec<usize> = (0..DOCUMENTS.len()).collect();
        prop_assert_eq!(nowhere(&described_of(&sources)), nowhere(&described(&first)));
    }
}
