//! Secure naming and the server's certificate, as the client's sidecar judges it: 503 with the reason's name, and the
//! application behind the impostor hears nothing.

use std::io::{self, Read};
use std::sync::mpsc;

use sidering_tests::{Leaf, Pair, PairSetup, Run, TcpOrigin, destination_rule, on_every_backend};

on_every_backend!(
    another_services_certificate_is_refused,
    a_certificate_without_identity_is_refused,
    a_certificate_of_another_authority_is_refused,
    an_expired_certificate_is_refused,
    a_clients_certificate_is_no_servers,
    tcp_to_an_impostor_is_closed,
    the_rules_names_replace_the_services,
);

#[track_caller]
fn refused(setup: PairSetup, reason: &str) -> serde_json::Value {
    let pair = setup.start();
    let reply = pair.get("/");
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains(reason), "{}", reply.text());
    assert_eq!(pair.origin.seen(), []);
    pair.client.refusal(reason)
}

fn another_services_certificate_is_refused(run: Run) {
    let record =
        refused(Pair::with(run).server_leaf(Leaf::workload("default", "impostor")), "secure-naming-mismatch");
    assert_eq!(record["expected"][0]["name"], "spiffe://cluster.local/ns/default/sa/server", "{record:#}");
    assert_eq!(
        record["presented"]["names"][0], "spiffe://cluster.local/ns/default/sa/impostor",
        "{record:#}"
    );
}

fn a_certificate_without_identity_is_refused(run: Run) {
    refused(Pair::with(run).server_leaf(Leaf::host("server.default.svc.cluster.local")), "no-spiffe-id");
}

fn a_certificate_of_another_authority_is_refused(run: Run) {
    refused(Pair::with(run).server_of_another_authority(), "unknown-ca");
}

fn an_expired_certificate_is_refused(run: Run) {
    refused(
        Pair::with(run).server_leaf(Leaf::workload("default", "server").expired()),
        "certificate-expired",
    );
}

fn a_clients_certificate_is_no_servers(run: Run) {
    refused(
        Pair::with(run).server_leaf(Leaf::workload("default", "server").client_only()),
        "certificate-wrong-usage",
    );
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
