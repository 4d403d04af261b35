//! Envoy is the client's sidecar, ours the server's.

use serde_json::Value;
use sidering_tests::{
    Connection, EnvoyPeer, HOST, Leaf, Pair, PairSetup, Run, Sidecar, Way, allow, on_both_drivers,
    on_every_backend, peer_authentication,
};

use super::{
    a_hundred_requests, echo, echo_at, ends_are_passed_on, every_shape_arrives, half_closing,
    no_request_fails_while, shapes,
};

on_every_backend!(
    strict_takes_http_and_tcp,
    permissive_tells_mesh_tls_from_plaintext,
    the_client_is_named_behind_those_that_envoy_names,
    strict_refuses_plaintext_and_no_certificate,
    another_authority_is_refused,
    a_foreign_trust_domain_is_refused,
    envoy_refuses_an_impostor,
    envoy_refuses_another_authority,
    a_403_passes_through_envoy,
    our_certificate_rotates_under_envoys_requests,
);

on_both_drivers!(http_arrives_in_every_shape);

fn strict(run: Run) -> PairSetup {
    Pair::with(run).yaml("strict.yaml", peer_authentication("default", "STRICT"))
}

/// Envoy answers 503, the application hears nothing, and we have that on record.
#[track_caller]
fn refused(pair: &Pair<EnvoyPeer, Sidecar>, way: Way, reason: &str) -> Value {
    assert_eq!(pair.by(way).get(HOST, "/").status, 503);
    assert_eq!(pair.origin.seen(), []);
    let record = pair.server.refusal(reason);
    assert_eq!(record["direction"], "inbound", "{record:#}");
    record
}

/// And the same for TCP.
#[track_caller]
fn refused_both(pair: &Pair<EnvoyPeer, Sidecar>, reason: &str) -> Value {
    let record = refused(pair, Way::Mesh, reason);
    Connection::expect_refused(pair.subnet.address(1, 9090), b"hello");
    assert_eq!(pair.tcp_origin.accepted(), 0);
    let port = pair.server_tcp().to_string();
    pair.server
        .logged(reason, |entry| entry["downstream_local_address"] == *port && entry["reason"] == reason);
    record
}

fn strict_takes_http_and_tcp(run: Run) {
    let (origin, heard) = half_closing();
    let pair = strict(run).tcp_origin(origin).envoy_client();
    a_hundred_requests(&pair);
    assert_eq!(pair.client.stat("cluster.mesh.upstream_cx_total"), 1);
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), Some(&*pair.xfcc()));
    ends_are_passed_on(&pair, &heard);
    assert_eq!(pair.server.metric("sidering_handshakes_total", &["inbound"]), 3.0);
}

fn http_arrives_in_every_shape(run: Run) {
    every_shape_arrives(&strict(run).origin(shapes()).envoy_client());
}

fn permissive_tells_mesh_tls_from_plaintext(run: Run) {
    let pair = Pair::with(run).envoy_client();
    assert_eq!(pair.get("/").status, 200);
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), Some(&*pair.xfcc()));
    echo(&pair);
    // Envoy offers metadata exchange too, and would wait for it if we took that up.
    let port = pair.server_tcp().to_string();
    let tcp = pair.server.logged("the bytes", |entry| entry["downstream_local_address"] == *port);
    assert_eq!(tcp["downstream_tls"]["alpn"], Value::Null, "{tcp:#}");
    assert_eq!(tcp["downstream_tls"]["version"], "TLSv1.3", "{tcp:#}");
    let kinds = |policy| pair.server.metric("sidering_connections_security_total", &["inbound", policy]);
    assert_eq!((kinds("mutual_tls"), kinds("none")), (2.0, 0.0));
    assert_eq!(pair.by(Way::Plaintext).get(HOST, "/").status, 200);
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), None);
    assert_eq!((kinds("mutual_tls"), kinds("none")), (2.0, 1.0));
}

fn the_client_is_named_behind_those_that_envoy_names(run: Run) {
    let pair = Pair::with(run).envoy_client();
    let named =
        "By=spiffe://cluster.local/ns/default/sa/client;URI=spiffe://cluster.local/ns/default/sa/caller";
    let claim = [("x-forwarded-client-cert", named)];
    assert_eq!(pair.by(Way::Gateway).request("GET", HOST, "/", &claim, b"").status, 200);
    let both = format!("{named},{}", pair.xfcc());
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), Some(&*both));
}

fn strict_refuses_plaintext_and_no_certificate(run: Run) {
    let pair = strict(run).envoy_client();
    let record = refused(&pair, Way::Plaintext, "plaintext-to-strict");
    let position = record["origin"]["position"].as_str().unwrap_or_default();
    assert!(position.contains("mesh/strict.yaml:4:"), "{record:#}");
    refused(&pair, Way::NoCertificate, "no-client-certificate");
    assert_eq!(pair.client.stat("cluster.nocertificate.ssl.connection_error"), 1, "our alert");
}

fn another_authority_is_refused(run: Run) {
    let pair = strict(run).client_of_another_authority().envoy_client();
    refused_both(&pair, "unknown-ca");
    assert_eq!(pair.client.stat("cluster.mesh.ssl.connection_error"), 1, "our alert");
}

fn a_foreign_trust_domain_is_refused(run: Run) {
    let leaf = Leaf::nameless().uri("spiffe://elsewhere.example/ns/default/sa/client");
    let pair = strict(run).client_leaf(leaf).envoy_client();
    let record = refused_both(&pair, "trust-domain-mismatch");
    let presented = &record["presented"]["names"][0];
    assert_eq!(presented, "spiffe://elsewhere.example/ns/default/sa/client", "{record:#}");
}

fn envoy_refuses_an_impostor(run: Run) {
    let pair = strict(run).server_leaf(Leaf::workload("default", "impostor")).envoy_client();
    refused_both(&pair, "peer-alert");
    assert!(pair.client.stat("cluster.mesh.ssl.fail_verify_san") > 0);
}

fn envoy_refuses_another_authority(run: Run) {
    let pair = strict(run).server_of_another_authority().envoy_client();
    refused_both(&pair, "peer-alert");
    assert!(pair.client.stat("cluster.mesh.ssl.fail_verify_error") > 0);
}

fn a_403_passes_through_envoy(run: Run) {
    let only = |account| allow("only", &format!("from: [{{source: {{serviceAccounts: [{account}]}}}}]"));
    let pair = strict(run).yaml("only.yaml", only("other")).envoy_client();
    let reply = pair.get("/");
    assert_eq!((reply.status, reply.text()), (403, "RBAC: access denied"));
    let record = pair.server.refusal("not-allowed-by-policy");
    assert_eq!(record["presented"]["names"][0], "spiffe://cluster.local/ns/default/sa/client", "{record:#}");
    assert_eq!(record["policies"][0]["label"], "default/only", "{record:#}");
    Connection::expect_refused(pair.subnet.address(1, 9090), b"hello");
    assert_eq!((pair.origin.seen(), pair.tcp_origin.accepted()), (vec![], 0));
    pair.server.reload(|| pair.mesh.write("only.yaml", &only("client")));
    assert_eq!(pair.get("/").status, 200);
    // Envoy resumes its sessions, and a resumed one has its client's name too.
    (0..3).for_each(|_| echo(&pair));
    assert!(pair.server.metric("sidering_handshakes_total", &["inbound", "resumed"]) > 0.0);
}

fn our_certificate_rotates_under_envoys_requests(run: Run) {
    let pair = strict(run).envoy_client();
    let rotate = |account| {
        let rotated = pair.pki.issue("server", &Leaf::workload("default", account));
        pair.server.wait_serial(&rotated.serial);
    };
    no_request_fails_while(&pair, || {
        for shaken in 1..=3 {
            rotate("server");
            echo_at(pair.subnet.address(1, 9091));
            assert_eq!(pair.client.stat("cluster.fresh.ssl.handshake"), shaken);
        }
    });
    assert_eq!(pair.client.stat("cluster.tcp.ssl.connection_error"), 0);
    // Envoy does judge the new one each time.
    rotate("impostor");
    Connection::expect_refused(pair.subnet.address(1, 9091), b"hello");
    assert_eq!(pair.client.stat("cluster.fresh.ssl.fail_verify_san"), 1);
}
