//! Who is spoken to, and how TLS is, by DestinationRule or auto mTLS.

use std::path::Path;
use std::time::Duration;

use sidering_policy::{Address, ClientCertificate, Cluster, Discovery, Snapshot, Sni, Trust, UpstreamAlpn};

use crate::fixture::{compile_errors, effective, snapshot};
use crate::{CaptureListeners, compile};

/// A client's egress listener at port 80, and what else there is.
fn client(text: &str) -> String {
    "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: orders, namespace: shop}
spec: {egress: [{bind: 127.0.0.1, port: {number: 80, protocol: HTTP, name: http}, captureMode: NONE, hosts: ['*/*']}]}
---
"
    .to_owned()
        + text
}

fn api(more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api, namespace: bank}}
spec: {{hosts: [api.example], resolution: STATIC, ports: [{{number: 80, targetPort: 8080, name: http, protocol: HTTP}}], {more}}}
---
"
    )
}

const MIXED: &str = "location: MESH_INTERNAL, endpoints: [{address: 10.0.0.1, serviceAccount: api, labels: {v: a}}, {address: 10.0.0.2, labels: {v: b}}]";

fn rule(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: api, namespace: bank}}\nspec: {{host: api.example, {spec}}}\n---\n"
    )
}

fn peer_authentication(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: bank}}\nspec: {spec}\n---\n"
    )
}

const NAME: &str = "outbound|80||api.example";

/// Every endpoint's last octet, and `tls` where it is spoken to so.
fn endpoints(cluster: &Cluster) -> Vec<String> {
    let Discovery::Static(endpoints) = &cluster.discovery else { panic!("{cluster:?}") };
    let word = |endpoint: &std::sync::Arc<sidering_policy::Endpoint>| {
        let Address::Tcp(address) = &endpoint.address else { panic!("{endpoint:?}") };
        let text = address.to_string();
        format!(
            "{}{}",
            text.strip_prefix("10.0.0.").unwrap(),
            if endpoint.tls.is_some() { " tls" } else { "" }
        )
    };
    endpoints.iter().map(word).collect()
}

fn tls(snapshot: &Snapshot, cluster: &str) -> sidering_policy::UpstreamTls {
    let Discovery::Static(endpoints) = &snapshot.cluster(cluster).unwrap().discovery else { panic!() };
    let tls = endpoints.iter().find_map(|endpoint| endpoint.tls.as_deref());
    tls.unwrap().clone()
}

#[test]
fn auto_mtls_is_each_endpoint_s_and_a_rule_s_mode_is_for_all() {
    let off = peer_authentication("default", "{mtls: {mode: DISABLE}}");
    let strict_workload = peer_authentication("w", "{selector: {matchLabels: {v: a}}, mtls: {mode: STRICT}}");
    let off_port =
        peer_authentication("w", "{selector: {matchLabels: {v: a}}, portLevelMtls: {8080: {mode: DISABLE}}}");
    let external = MIXED.replace("MESH_INTERNAL", "MESH_EXTERNAL");
    let of_port = "trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}";
    for (what, text, expected) in [
        ("by sidecar", api(MIXED), ["1:8080 tls", "2:8080"]),
        ("external", api(&external), ["1:8080", "2:8080"]),
        (
            "ISTIO_MUTUAL",
            api(MIXED) + &rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}"),
            ["1:8080 tls", "2:8080 tls"],
        ),
        ("DISABLE", api(MIXED) + &rule("trafficPolicy: {tls: {mode: DISABLE}}"), ["1:8080", "2:8080"]),
        (
            "the namespace is off, whatever the workload",
            api(MIXED) + &off + &strict_workload,
            ["1:8080", "2:8080"],
        ),
        ("the endpoint's own port is off", api(MIXED) + &off_port, ["1:8080", "2:8080"]),
        (
            "a port's entry without tls: the top mode labels endpoints",
            api(MIXED) + &rule(of_port),
            ["1:8080 tls", "2:8080 tls"],
        ),
        (
            "PASSTHROUGH decides for all",
            api(MIXED) + &rule("trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}"),
            ["1:8080", "2:8080"],
        ),
    ] {
        let snapshot = snapshot(&client(&text));
        assert_eq!(endpoints(snapshot.cluster(NAME).unwrap()), expected, "{what}");
    }
}

#[test]
fn auto_mtls_may_be_off_for_the_mesh() {
    let resources = crate::fixture::resources(&client(&api(MIXED)));
    let mesh = crate::fixture::mesh("enableAutoMtls: false");
    let effective = crate::Effective::of(&resources, &mesh, &crate::fixture::workload("shop", "orders"));
    let snapshot = crate::fixture::snapshot_of(&effective, &CaptureListeners::default());
    assert_eq!(endpoints(snapshot.cluster(NAME).unwrap()), ["1:8080", "2:8080"]);
}

#[test]
fn a_headless_service_is_plaintext_if_one_endpoint_has_no_sidecar() {
    let pod = |name: &str, ip: &str, mode: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: bank, labels: {{app: s{mode}}}}}\nstatus: {{podIP: {ip}}}\n---\n"
        )
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: store, namespace: bank}\nspec: {clusterIP: None, selector: {app: s}, ports: [{name: http, port: 80, targetPort: 8080}]}\n---\n";
    let istio = ", security.istio.io/tlsMode: istio";
    for (pods, expected) in [
        (pod("a", "10.0.0.1", istio) + &pod("b", "10.0.0.2", ""), vec!["1:8080", "2:8080"]),
        (pod("a", "10.0.0.1", istio), vec!["1:8080 tls"]),
        (String::new(), vec![]),
    ] {
        let snapshot = snapshot(&client(&(service.to_owned() + &pods)));
        assert_eq!(
            endpoints(snapshot.cluster("outbound|80||store.bank.svc.cluster.local").unwrap()),
            expected
        );
    }
}

#[test]
fn mesh_mtls_names_service_port_and_subset_and_expects_the_service_s_accounts() {
    let subset = rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}, subsets: [{name: v1, labels: {v: a}}]");
    let route = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: api, namespace: bank}\nspec: {hosts: [api.example], http: [{route: [{destination: {host: api.example, subset: v1}}]}]}\n---\n";
    let snapshot = snapshot(&client(&(api(MIXED) + &subset + route)));
    let name = "outbound|80|v1|api.example";
    assert_eq!(endpoints(snapshot.cluster(name).unwrap()), ["1:8080 tls"]);
    let tls = tls(&snapshot, name);
    assert_eq!(tls.sni, Sni::Fixed("outbound_.80_.v1_.api.example".into()));
    assert_eq!(tls.certificate, ClientCertificate::Workload);
    assert_eq!(tls.trust, Trust::Mesh);
    assert_eq!(tls.alpn, UpstreamAlpn::Mesh);
    let names: Vec<&str> = tls.sans.0.iter().map(|san| &*san.name).collect();
    assert_eq!(names, ["spiffe://cluster.local/ns/bank/sa/api"], "of the whole service, not the subset");
    assert_eq!(tls.origin.to_string(), "DestinationRule bank/api (x.yaml:14:55)");
}

#[test]
fn a_rule_s_own_sni_and_names_replace_the_generated_ones() {
    let tls_fields =
        "trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: other.example, subjectAltNames: ['spiffe://x/y']}}";
    let tls = tls(&snapshot(&client(&(api(MIXED) + &rule(tls_fields)))), NAME);
    assert_eq!(tls.sni, Sni::Fixed("other.example".into()));
    assert_eq!(&*tls.sans.0[0].name, "spiffe://x/y");
    assert!(tls.sans.0[0].from.starts_with("subjectAltNames of the DestinationRule (x.yaml:14:"));
}

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAE=\n-----END PRIVATE KEY-----\n";

fn files(path: &Path) -> Result<Vec<u8>, String> {
    match path.to_str().unwrap() {
        "ca.pem" | "cert.pem" | "/etc/ssl/certs/ca-certificates.crt" => Ok(PEM.into()),
        "key.pem" => Ok(KEY.into()),
        _ => Err("no such file".into()),
    }
}

#[test]
fn simple_and_mutual_take_their_certificates_from_files() {
    let compiled = |fields: &str, more: &str| {
        let text = client(
            &(api(&MIXED.replace("endpoints", &format!("{more}endpoints")))
                + &rule(&format!("trafficPolicy: {{tls: {{{fields}}}}}"))),
        );
        tls(&compile(&effective(&text), &CaptureListeners::default(), &files).unwrap(), NAME)
    };
    let simple = compiled("mode: SIMPLE, caCertificates: ca.pem", "");
    assert_eq!(simple.certificate, ClientCertificate::None);
    assert!(matches!(&simple.trust, Trust::Roots(bundle) if bundle.roots == [vec![0x30, 0]]));
    assert_eq!(simple.sni, Sni::RequestHost);
    assert!(simple.sans.0.is_empty());
    assert_eq!(simple.alpn, UpstreamAlpn::Fixed(Vec::new()));
    assert!(matches!(compiled("mode: SIMPLE", "").trust, Trust::Roots(_)), "the system's roots");
    assert_eq!(compiled("mode: SIMPLE, insecureSkipVerify: true", "").trust, Trust::Unverified);
    let named =
        compiled("mode: SIMPLE, caCertificates: ca.pem, sni: a.example, subjectAltNames: [b.example]", "");
    assert_eq!((named.sni, &*named.sans.0[0].name), (Sni::Fixed("a.example".into()), "b.example"));
    let entry = compiled("mode: SIMPLE, caCertificates: ca.pem", "subjectAltNames: [c.example], ");
    assert_eq!(&*entry.sans.0[0].name, "c.example");
    let mutual = compiled(
        "mode: MUTUAL, caCertificates: ca.pem, clientCertificate: cert.pem, privateKey: key.pem",
        "",
    );
    let ClientCertificate::Files(chain) = &mutual.certificate else { panic!("{mutual:?}") };
    assert_eq!((&chain.certificates[..], &chain.key[..]), (&[vec![0x30, 0]][..], &[0x30, 1][..]));
}

#[test]
fn what_cannot_be_read_or_is_not_supported_refuses_the_load() {
    for (fields, expected) in [
        ("mode: SIMPLE, caCertificates: gone.pem", "x.yaml:14:79: error: cannot read gone.pem: no such file"),
        ("mode: SIMPLE, caCertificates: key.pem", "x.yaml:14:79: error: key.pem holds no PEM certificate"),
        (
            "mode: MUTUAL, clientCertificate: cert.pem, privateKey: ca.pem",
            "x.yaml:14:104: error: ca.pem holds no PEM private key",
        ),
        (
            "mode: SIMPLE, credentialName: x",
            "x.yaml:14:79: error: credentialName \"x\" is not supported: there is no secret store; name files in clientCertificate, privateKey and caCertificates",
        ),
    ] {
        let text = client(&(api(MIXED) + &rule(&format!("trafficPolicy: {{tls: {{{fields}}}}}"))));
        let errors = compile(&effective(&text), &CaptureListeners::default(), &files).unwrap_err();
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected], "{fields}");
    }
    let text = client(&(api(MIXED) + &rule("trafficPolicy: {tls: {mode: SIMPLE}}")));
    assert_eq!(compile_errors(&text).len(), 1, "no system roots");
}

#[test]
fn pools_and_balancers_are_the_rule_s() {
    let text = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {tcp: {maxConnections: 5, connectTimeout: 2s, idleTimeout: 0s}, http: {idleTimeout: 30s, maxRequestsPerConnection: 7}}}";
    let snapshot = snapshot(&client(&(api(MIXED) + &rule(text))));
    let cluster = snapshot.cluster(NAME).unwrap();
    assert_eq!(cluster.balancer, sidering_policy::BalancerKind::RoundRobin);
    assert_eq!((cluster.max_connections, cluster.max_requests_per_connection), (Some(5), Some(7)));
    assert_eq!(cluster.connect_timeout.as_secs(), 2);
    assert_eq!(
        (cluster.idle_timeout, cluster.tcp_idle_timeout),
        (Some(Duration::from_secs(30)), None),
        "0 is off"
    );
}

#[test]
fn a_service_that_is_not_static_has_a_cluster_that_refuses() {
    let text = api("location: MESH_EXTERNAL").replace("STATIC", "DNS");
    let snapshot = snapshot(&client(&text));
    assert_eq!(endpoints(snapshot.cluster(NAME).unwrap()), Vec::<String>::new());
}

#[test]
fn an_endpoint_may_be_a_unix_socket() {
    let snapshot = snapshot(&client(&api("endpoints: [{address: 'unix:///run/api.sock'}]")));
    let Discovery::Static(endpoints) = &snapshot.cluster(NAME).unwrap().discovery else { panic!() };
    assert_eq!(endpoints[0].address, Address::Unix(Path::new("/run/api.sock").into()));
}
