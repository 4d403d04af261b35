//! Secure naming and the server's certificate, as the client's sidecar judges it: 503 with the reason's name, and the
//! application behind the impostor hears nothing.

use std::io::{self, Read};
use std::sync::mpsc;

use serde_json::{Value, json};
use sidering_tests::{
    HOST, Leaf, Pair, PairSetup, Run, TcpOrigin, asked, destination_rule, on_every_backend, origin,
};

on_every_backend!(
    another_services_certificate_is_refused,
    a_certificate_without_identity_is_refused,
    a_certificate_of_another_authority_is_refused,
    an_expired_certificate_is_refused,
    a_clients_certificate_is_no_servers,
    tcp_to_an_impostor_is_closed,
    the_rules_names_replace_the_services,
);

/// Starts it, is answered with that reason, and gives what is on record of it at the client.
#[track_caller]
fn refused(setup: PairSetup, reason: &str, phase: &str) -> (Pair, Value) {
    let pair = setup.start();
    let mut connection = pair.http();
    let reply = connection.get(HOST, "/");
    assert_eq!((reply.status, reply.text()), (503, &*format!("sidering: {reason}")));
    assert_eq!(pair.origin.seen(), []);
    let rest = json!({
        "request": asked("GET", HOST, "/"),
        "cluster": "outbound|8080||server.default.svc.cluster.local",
        "upstream": pair.server_http(),
        "origin": origin("default", "auto mTLS", ""),
        "expected": [{
            "name": "spiffe://cluster.local/ns/default/sa/server",
            "from": "serviceAccount of an endpoint, ServiceEntry default/server (*/mesh/service.yaml:12:5)",
        }],
        "detail": "*",
    });
    (pair, connection.record("outbound", phase, rest))
}

fn another_services_certificate_is_refused(run: Run) {
    let setup = Pair::with(run).server_leaf(Leaf::workload("default", "impostor"));
    let (pair, mut expected) = refused(setup, "secure-naming-mismatch", "naming");
    expected["presented"] = pair.server_files.presented(&["spiffe://cluster.local/ns/default/sa/impostor"]);
    pair.client.on_record("secure-naming-mismatch", expected);
}

fn a_certificate_without_identity_is_refused(run: Run) {
    let setup = Pair::with(run).server_leaf(Leaf::host(HOST));
    let (pair, mut expected) = refused(setup, "no-spiffe-id", "naming");
    expected["presented"] = pair.server_files.presented(&[HOST]);
    pair.client.on_record("no-spiffe-id", expected);
}

fn a_certificate_of_another_authority_is_refused(run: Run) {
    let setup = Pair::with(run).server_of_another_authority();
    let (pair, expected) = refused(setup, "unknown-ca", "handshake");
    pair.client.on_record("unknown-ca", expected);
}

fn an_expired_certificate_is_refused(run: Run) {
    let setup = Pair::with(run).server_leaf(Leaf::workload("default", "server").expired());
    let (pair, expected) = refused(setup, "certificate-expired", "handshake");
    let status = pair.server.status();
    assert_eq!(status["ready"], false, "{status:#}");
    assert!(status["unready"].as_str().is_some_and(|why| why.contains("has expired")), "{status:#}");
    assert_eq!(pair.server.ask(&["wait", "--timeout", "100ms"]).code, 124);
    pair.client.on_record("certificate-expired", expected);
}

fn a_clients_certificate_is_no_servers(run: Run) {
    let setup = Pair::with(run).server_leaf(Leaf::workload("default", "server").client_only());
    let (pair, expected) = refused(setup, "certificate-wrong-usage", "handshake");
    pair.client.on_record("certificate-wrong-usage", expected);
}

fn tcp_to_an_impostor_is_closed(run: Run) {
    let (sender, received) = mpsc::channel();
    let origin = TcpOrigin::start(move |mut stream| {
        let mut bytes = Vec::new();
        // However it ends, what came counts.
        let _ = stream.read_to_end(&mut bytes);
        sender.send(bytes).map_err(io::Error::other)
    });
    let setup = Pair::with(run).server_leaf(Leaf::workload("default", "impostor")).tcp_origin(origin);
    let pair = setup.start();
    pair.tcp().send("secret").expect_closed_without_a_byte();
    pair.client.refusal("secure-naming-mismatch");
    // The impostor takes the connection, as it would, but nothing comes.
    assert_eq!(received.recv().expect("the impostor's application is dialled"), b"");
}

fn the_rules_names_replace_the_services(run: Run) {
    let rule = "  trafficPolicy:\n    tls:\n      mode: ISTIO_MUTUAL\n      subjectAltNames: \
                ['spiffe://cluster.local/ns/default/sa/impostor']\n";
    let setup = Pair::with(run).server_leaf(Leaf::workload("default", "impostor"));
    let pair = setup.yaml("rule.yaml", destination_rule(rule)).start();
    assert_eq!(pair.get("/").status, 200);
}
