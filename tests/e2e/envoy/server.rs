//! Envoy is the server's sidecar, ours the client's.

use serde_json::Value;
use sidering_tests::{
    Connection, EnvoyPeer, HOST, Inbound, Leaf, Pair, PairSetup, Run, Sidecar, destination_rule,
    on_both_drivers, on_every_backend,
};

use super::{
    a_hundred_requests, echo, ends_are_passed_on, every_shape_arrives, half_closing, no_request_fails_while,
    shapes,
};

on_every_backend!(
    strict_envoy_takes_http_and_tcp,
    permissive_envoy_tells_mesh_tls_from_plaintext,
    strict_envoy_refuses_plaintext_and_no_certificate,
    envoy_refuses_another_authority,
    envoy_refuses_a_foreign_trust_domain,
    an_impostor_is_refused,
    another_authority_is_refused,
    envoys_403_passes,
    a_resumed_session_has_its_principal,
    our_certificate_rotates_under_our_requests,
);

on_both_drivers!(http_arrives_in_every_shape);

const CLIENT: &str = "cluster.local/ns/default/sa/client";

fn strict(setup: PairSetup) -> Pair<Sidecar, EnvoyPeer> {
    setup.envoy_server(&Inbound { strict: true, principal: None })
}

fn only(run: Run, principal: &str) -> Pair<Sidecar, EnvoyPeer> {
    Pair::with(run).envoy_server(&Inbound { strict: true, principal: Some(principal.into()) })
}

/// 503 that names the reason, the application hears nothing, and we have it on record.
#[track_caller]
fn refused(pair: &Pair<Sidecar, EnvoyPeer>, reason: &str) -> Value {
    let reply = pair.get("/");
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains(reason), "{}", reply.text());
    assert_eq!(pair.origin.seen(), []);
    let record = pair.client.refusal(reason);
    assert_eq!(record["direction"], "outbound", "{record:#}");
    assert_eq!(record["upstream"], pair.server_http().to_string(), "{record:#}");
    record
}

/// And the same for TCP.
#[track_caller]
fn refused_both(pair: &Pair<Sidecar, EnvoyPeer>, reason: &str) -> Value {
    let record = refused(pair, reason);
    Connection::expect_refused(pair.subnet.address(1, 9090), b"hello");
    assert_eq!(pair.server.stat("tcp.tcp.downstream_cx_rx_bytes_total"), 0);
    let upstream = pair.server_tcp().to_string();
    pair.client.logged(reason, |entry| entry["upstream_host"] == *upstream && entry["reason"] == reason);
    record
}

fn strict_envoy_takes_http_and_tcp(run: Run) {
    let (origin, heard) = half_closing();
    let pair = strict(Pair::with(run).tcp_origin(origin));
    a_hundred_requests(&pair);
    assert_eq!(pair.server.stat("listener.http.downstream_cx_total"), 1);
    let seen = pair.origin.last();
    assert_eq!(seen.header("x-forwarded-client-cert"), Some(&*pair.xfcc()));
    assert_eq!(seen.header("x-sni"), Some(&*format!("outbound_.8080_._.{HOST}")));
    ends_are_passed_on(&pair, &heard);
    assert_eq!(pair.server.stat("listener.tcp.ssl.handshake"), 2);
}

fn http_arrives_in_every_shape(run: Run) {
    every_shape_arrives(&strict(Pair::with(run).origin(shapes())));
}

fn permissive_envoy_tells_mesh_tls_from_plaintext(run: Run) {
    let pair = Pair::with(run).envoy_server(&Inbound::default());
    let tls = || ["http", "tcp"].map(|name| pair.server.stat(&format!("listener.{name}.ssl.handshake")));
    assert_eq!(pair.get("/").status, 200);
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), Some(&*pair.xfcc()));
    echo(&pair);
    assert_eq!(tls(), [1, 1]);
    tls_mode(&pair, "{mode: DISABLE}");
    assert_eq!(pair.get("/").status, 200);
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), None);
    echo(&pair);
    assert_eq!(tls(), [1, 1]);
}

fn strict_envoy_refuses_plaintext_and_no_certificate(run: Run) {
    let pair = strict(Pair::with(run));
    tls_mode(&pair, "{mode: DISABLE}");
    refused_both(&pair, "connection-reset");
    assert_eq!(pair.server.stat("listener.http.no_filter_chain_match"), 1);
    let (ca, name) = (pair.pki.bundle(), "spiffe://cluster.local/ns/default/sa/server");
    tls_mode(&pair, &format!("{{mode: SIMPLE, caCertificates: {ca:?}, subjectAltNames: ['{name}']}}"));
    refused_both(&pair, "peer-alert");
    assert_eq!(pair.server.stat("listener.http.ssl.fail_verify_no_cert"), 1);
}

fn envoy_refuses_another_authority(run: Run) {
    let pair = strict(Pair::with(run).client_of_another_authority());
    refused_both(&pair, "peer-alert");
    assert_eq!(pair.server.stat("listener.http.ssl.fail_verify_error"), 1);
}

fn envoy_refuses_a_foreign_trust_domain(run: Run) {
    let leaf = Leaf::nameless().uri("spiffe://elsewhere.example/ns/default/sa/client");
    let pair = strict(Pair::with(run).client_leaf(leaf));
    refused_both(&pair, "peer-alert");
    assert_eq!(pair.server.stat("listener.http.ssl.fail_verify_san"), 1);
}

fn an_impostor_is_refused(run: Run) {
    let pair = strict(Pair::with(run).server_leaf(Leaf::workload("default", "impostor")));
    let record = refused_both(&pair, "secure-naming-mismatch");
    let (expected, presented) = (&record["expected"][0], &record["presented"]["names"][0]);
    assert_eq!(expected["name"], "spiffe://cluster.local/ns/default/sa/server", "{record:#}");
    assert_eq!(presented, "spiffe://cluster.local/ns/default/sa/impostor", "{record:#}");
    let from = expected["from"].as_str().unwrap_or_default();
    assert!(from.contains("mesh/service.yaml:12:5"), "{record:#}");
}

fn another_authority_is_refused(run: Run) {
    refused_both(&strict(Pair::with(run).server_of_another_authority()), "unknown-ca");
}

fn envoys_403_passes(run: Run) {
    let pair = only(run, "cluster.local/ns/default/sa/other");
    let reply = pair.get("/");
    assert_eq!((reply.status, reply.text()), (403, "RBAC: access denied"));
    assert_eq!(pair.server.stat("http.http.rbac.denied"), 1);
    Connection::expect_refused(pair.subnet.address(1, 9090), b"hello");
    assert_eq!(pair.server.stat("tcp.rbac.denied"), 1);
    assert_eq!(pair.origin.seen(), []);
}

fn a_resumed_session_has_its_principal(run: Run) {
    let pair = only(run, CLIENT);
    (0..3).for_each(|_| echo(&pair));
    assert!(pair.server.stat("listener.tcp.ssl.session_reused") > 0);
    assert!(pair.client.metric("sidering_handshakes_total", &["outbound", "resumed"]) > 0.0);
}

fn our_certificate_rotates_under_our_requests(run: Run) {
    let pair = strict(Pair::with(run));
    no_request_fails_while(&pair, || {
        for _ in 0..3 {
            let rotated = pair.pki.issue("client", &Leaf::workload("default", "client"));
            pair.client.wait_serial(&rotated.serial);
            assert_eq!(pair.get("/").status, 200);
            let named = pair.xfcc();
            let named = |seen: &sidering_tests::Seen| seen.header("x-forwarded-client-cert") == Some(&*named);
            assert!(pair.origin.seen().iter().any(named), "a new connection presents the new certificate");
        }
    });
    assert_eq!(pair.server.stat("listener.tcp.ssl.connection_error"), 0);
}

/// A rule for the service, in force when this returns.
#[track_caller]
fn tls_mode(pair: &Pair<Sidecar, EnvoyPeer>, tls: &str) {
    let rule = destination_rule(&format!("  trafficPolicy: {{tls: {tls}}}\n"));
    pair.client.reload(|| pair.mesh.write("rule.yaml", &rule));
}
