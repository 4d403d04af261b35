//! How the client's sidecar speaks to upstreams: the four modes of DestinationRule, and auto mTLS endpoint by
//! endpoint. The TLS upstreams are openssl's.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sidering_tests::{
    Answer, Files, HOST, Leaf, Origin, Pair, Reply, Run, TlsOrigin, asked, destination_rule, on_both_drivers,
    on_every_backend, origin,
};

on_every_backend!(
    simple_asks_only_the_server_for_a_certificate,
    simple_refuses_another_name_and_another_authority,
    simple_may_ask_for_other_names,
    mutual_presents_the_files_of_the_rule,
    istio_mutual_presents_the_workload,
    auto_mtls_chooses_for_each_endpoint,
);

on_both_drivers!(disable_sends_plaintext, istio_mutual_to_a_plain_application_is_503);

const OUTSIDE: &str = "outside.example";

/// A service outside the mesh at that address, and a rule of how to speak TLS to it.
fn outside(pair: &Pair, upstream: std::net::SocketAddr, tls: &str) {
    let yaml = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: outside, namespace: default}}\n\
         spec:\n  hosts: [{OUTSIDE}]\n  location: MESH_EXTERNAL\n  resolution: STATIC\n  \
         ports: [{{number: 8080, targetPort: {}, protocol: HTTP, name: http}}]\n  \
         endpoints: [{{address: {}}}]\n---\n\
         apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: outside, namespace: default}}\n\
         spec:\n  host: {OUTSIDE}\n  trafficPolicy:\n    tls: {tls}\n",
        upstream.port(),
        upstream.ip()
    );
    pair.reload(|mesh| mesh.write("outside.yaml", &yaml));
}

fn fetch(pair: &Pair) -> Reply {
    pair.http().get(OUTSIDE, "/")
}

fn host_leaf(pair: &Pair) -> Files {
    pair.pki.issue("outside", &Leaf::host(OUTSIDE))
}

/// Is refused for that reason, and gives what is on record of it at the client.
#[track_caller]
fn refused(pair: &Pair, upstream: SocketAddr, reason: &str) -> Value {
    let mut connection = pair.http();
    let reply = connection.get(OUTSIDE, "/");
    assert_eq!((reply.status, reply.text()), (503, &*format!("sidering: {reason}")));
    let rest = json!({
        "request": asked("GET", OUTSIDE, "/"),
        "cluster": format!("outbound|8080||{OUTSIDE}"),
        "upstream": upstream,
        "origin": origin("DestinationRule", "default/outside", "outside.yaml:17:17"),
        "expected": [{"name": OUTSIDE, "from": "server name, DestinationRule default/outside (*)"}],
        "detail": "*",
    });
    connection.record("outbound", "handshake", rest)
}

fn simple_asks_only_the_server_for_a_certificate(run: Run) {
    let pair = Pair::start(run);
    let upstream = TlsOrigin::start(pair.subnet.ip(9), &host_leaf(&pair));
    outside(&pair, upstream.address(), &format!("{{mode: SIMPLE, caCertificates: {:?}}}", pair.pki.bundle()));
    let reply = fetch(&pair);
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("no client certificate available"), "{}", reply.text());
}

fn simple_refuses_another_name_and_another_authority(run: Run) {
    let pair = Pair::start(run);
    let another = pair.pki.issue("another", &Leaf::host("another.example"));
    let upstream = TlsOrigin::start(pair.subnet.ip(9), &another);
    outside(&pair, upstream.address(), &format!("{{mode: SIMPLE, caCertificates: {:?}}}", pair.pki.bundle()));
    let expected = refused(&pair, upstream.address(), "certificate-name-mismatch");
    pair.client.on_record("certificate-name-mismatch", expected);
    let stranger = sidering_tests::Pki::new(pair.directory(), "stranger");
    outside(&pair, upstream.address(), &format!("{{mode: SIMPLE, caCertificates: {:?}}}", stranger.bundle()));
    pair.client.on_record("unknown-ca", refused(&pair, upstream.address(), "unknown-ca"));
}

fn simple_may_ask_for_other_names(run: Run) {
    let pair = Pair::start(run);
    let another = pair.pki.issue("another", &Leaf::host("another.example"));
    let upstream = TlsOrigin::start(pair.subnet.ip(9), &another);
    let ca = pair.pki.bundle();
    let tls = format!("{{mode: SIMPLE, caCertificates: {ca:?}, subjectAltNames: [another.example]}}");
    outside(&pair, upstream.address(), &tls);
    assert_eq!(fetch(&pair).status, 200);
}

fn mutual_presents_the_files_of_the_rule(run: Run) {
    let pair = Pair::start(run);
    let upstream = TlsOrigin::mutual(pair.subnet.ip(9), &host_leaf(&pair));
    let ours = pair.pki.issue("caller", &Leaf::host("caller.example"));
    let (ca, certificate, key) = (pair.pki.bundle(), &ours.certificate, &ours.key);
    let tls = format!(
        "{{mode: MUTUAL, caCertificates: {ca:?}, clientCertificate: {certificate:?}, privateKey: {key:?}}}"
    );
    outside(&pair, upstream.address(), &tls);
    let reply = fetch(&pair);
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains("CN = caller") || reply.text().contains("CN=caller"), "{}", reply.text());
    outside(&pair, upstream.address(), &format!("{{mode: SIMPLE, caCertificates: {ca:?}}}"));
    assert_eq!(fetch(&pair).status, 503, "without a certificate the upstream hangs up");
}

fn istio_mutual_presents_the_workload(run: Run) {
    let pair = Pair::with(run).yaml("rule.yaml", mode("ISTIO_MUTUAL")).start();
    assert_eq!(pair.get("/").status, 200);
    let seen = pair.origin.last();
    let peer = seen.header("x-forwarded-client-cert").unwrap_or_default();
    assert!(peer.contains("URI=spiffe://cluster.local/ns/default/sa/client"), "{peer}");
}

fn disable_sends_plaintext(run: Run) {
    let pair = Pair::with(run).yaml("rule.yaml", mode("DISABLE")).start();
    assert_eq!(pair.get("/").status, 200);
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), None);
}

fn istio_mutual_to_a_plain_application_is_503(run: Run) {
    let pair = Pair::start(run);
    let plain = Origin::named("plain");
    outside(&pair, plain.address(), "{mode: ISTIO_MUTUAL}");
    assert_eq!(fetch(&pair).status, 503);
    assert_eq!(plain.seen(), []);
}

fn auto_mtls_chooses_for_each_endpoint(run: Run) {
    let pair = Pair::start(run);
    let plain = Origin::bind(pair.subnet.address(8, 18080), |_| Answer::ok("this is plain\n"));
    pair.reload(|mesh| {
        mesh.write(
            "rule.yaml",
            &destination_rule("  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}\n"),
        );
        mesh.write("service.yaml", MIXED);
    });
    let bodies: Vec<String> = (0..6).map(|_| pair.http().get(HOST, "/").text().to_owned()).collect();
    assert_eq!(bodies.iter().filter(|body| *body == "this is plain\n").count(), 3, "{bodies:?}");
    assert_eq!(bodies.iter().filter(|body| *body == "this is server\n").count(), 3, "{bodies:?}");
    assert!(pair.origin.seen().iter().all(|seen| seen.header("x-forwarded-client-cert").is_some()));
    assert!(plain.seen().iter().all(|seen| seen.header("x-forwarded-client-cert").is_none()));
}

fn mode(mode: &str) -> String {
    destination_rule(&format!("  trafficPolicy: {{tls: {{mode: {mode}}}}}\n"))
}

const MIXED: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: server, namespace: default}
spec:
  hosts: [server.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {number: 8080, targetPort: 18080, protocol: HTTP, name: http}
  endpoints:
  - {address: NET.2, serviceAccount: server, labels: {app: server, version: v1}}
  - {address: NET.8, labels: {app: plain}}
";
