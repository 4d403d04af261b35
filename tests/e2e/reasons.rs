//! Refusals that have no story of their own: what provokes each, what the peer gets, and that the record says so.

use std::fs;
use std::io::{Read, Write};

use sidering_tests::{
    Connection, Gate, HOST, Leaf, Origin, Pair, Run, TcpOrigin, destination_rule, on_both_drivers,
    on_every_backend, peer_authentication, s_client, virtual_service,
};

on_both_drivers!(
    requests_that_are_none,
    a_path_that_hides_a_nul,
    a_hello_that_is_none,
    a_response_that_is_none,
    an_upstream_that_does_not_answer_in_time,
    an_endpoint_that_takes_no_connection,
    a_provider_that_is_not_supported
);
on_every_backend!(a_peer_that_refuses_us, a_peer_with_nothing_in_common, tls_to_a_port_that_speaks_plaintext);

fn requests_that_are_none(run: Run) {
    let pair = Pair::start(run);
    let table = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "malformed-request"),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: +1\r\n\r\n"), 400, "malformed-request"),
        (
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nx: {}\r\n\r\n", "y".repeat(70_000)),
            431,
            "headers-too-large",
        ),
        ("CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\n".to_owned(), 501, "not-implemented"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505, "unsupported-version"),
    ];
    for (request, status, reason) in table {
        let mut connection = pair.http();
        // A refused head need not be taken whole.
        let _ = connection.stream().write_all(request.as_bytes());
        let reply = connection.reply_to("GET");
        assert_eq!((reply.status, reply.text()), (status, &*format!("sidering: {reason}")), "{reason}");
        let record = pair.client.refusal(reason);
        assert_eq!(record["direction"], "outbound", "{record:#}");
        assert!(record["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{record:#}");
    }
}

fn a_path_that_hides_a_nul(run: Run) {
    let decoding = "{pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}}";
    let pair = Pair::with(run).mesh_config(decoding).start();
    assert_eq!(pair.get("/a%00b").status, 400);
    let record = pair.client.refusal("malformed-path");
    assert_eq!(record["request"]["path"], "/a%00b", "{record:#}");
}

fn a_hello_that_is_none(run: Run) {
    let pair = Pair::start(run);
    let mut connection = Connection::to(pair.server_http());
    connection.send([22, 3, 1, 0, 4, 9, 0, 0, 0]).expect_closed_without_a_byte();
    let record = pair.server.refusal("malformed-client-hello");
    assert_eq!(record["phase"], "sniff", "{record:#}");
}

fn a_response_that_is_none(run: Run) {
    let nonsense = TcpOrigin::start(|mut stream| {
        let mut request = [0; 1024];
        stream.read(&mut request).and_then(|_| stream.write_all(b"HTTP/1.1 two hundred\r\n\r\n"))
    });
    let pair = Pair::start(run);
    pair.put_behind(nonsense.address());
    assert_eq!(pair.get("/").status, 502);
    let record = pair.server.refusal("malformed-response");
    assert_eq!(record["upstream"], nonsense.address().to_string().as_str(), "{record:#}");
}

fn an_upstream_that_does_not_answer_in_time(run: Run) {
    // Holds what it is asked until the client leaves.
    let silent = TcpOrigin::start(|mut stream| stream.read_to_end(&mut Vec::new()).map(drop));
    let routes = "  - timeout: 200ms\n    route: [{destination: {host: server.default.svc.cluster.local}}]\n";
    let pair = Pair::with(run).yaml("timeout.yaml", virtual_service(routes)).start();
    pair.put_behind(silent.address());
    let reply = pair.get("/slow");
    assert_eq!((reply.status, reply.text()), (504, "sidering: upstream-timeout"));
    let record = pair.client.refusal("upstream-timeout");
    assert_eq!(record["request"]["path"], "/slow", "{record:#}");
    // And the server's sidecar saw its client give up.
    pair.server.refusal("downstream-closed");
}

fn an_endpoint_that_takes_no_connection(run: Run) {
    let limit = "  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 200ms}}}\n";
    let pair = Pair::with(run).yaml("limit.yaml", destination_rule(limit)).start();
    let elsewhere = pair.subnet.address(7, 18080);
    let _gate = Gate::shut(elsewhere, pair.server_http());
    let service = fs::read_to_string(pair.mesh.path("service.yaml")).expect("the pair wrote it");
    let own = format!("address: {}", pair.subnet.ip(2));
    let moved = service.replace(&own, &format!("address: {}", pair.subnet.ip(7)));
    pair.reload(|mesh| mesh.write("service.yaml", &moved));
    let reply = pair.get("/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: connect-timeout"));
    let record = pair.client.refusal("connect-timeout");
    assert_eq!(record["upstream"], elsewhere.to_string().as_str(), "{record:#}");
}

fn a_provider_that_is_not_supported(run: Run) {
    let custom = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                  metadata: {name: asks, namespace: default}\n\
                  spec: {action: CUSTOM, provider: {name: elsewhere}, rules: [{}]}\n";
    let pair = Pair::with(run).origin(Origin::named("server")).yaml("custom.yaml", custom).start();
    let reply = pair.get("/");
    assert_eq!((reply.status, reply.text()), (403, "RBAC: access denied"));
    let record = pair.server.refusal("custom-unsupported");
    assert_eq!(record["origin"]["label"], "default/asks[0]", "{record:#}");
}

fn a_peer_that_refuses_us(run: Run) {
    let pair = Pair::with(run).client_leaf(Leaf::workload("default", "client").server_only()).start();
    assert_eq!(pair.get("/").status, 503);
    let record = pair.client.refusal("peer-alert");
    assert!(record["detail"].as_str().is_some_and(|detail| detail.contains("alert")), "{record:#}");
    pair.server.refusal("certificate-wrong-usage");
}

fn a_peer_with_nothing_in_common(run: Run) {
    let pair = Pair::with(run).mesh_config("{meshMTLS: {minProtocolVersion: TLSV1_3}}").start();
    let mesh = ["-tls1_2", "-alpn", "istio"];
    let told = s_client(pair.server_http(), Some(&pair.client_files), &mesh, b"");
    assert_ne!(told.code, 0, "{}", told.stdout);
    let record = pair.server.refusal("no-shared-parameters");
    assert_eq!(record["phase"], "handshake", "{record:#}");
}

fn tls_to_a_port_that_speaks_plaintext(run: Run) {
    let pair = Pair::with(run)
        .yaml("off.yaml", peer_authentication("default", "DISABLE"))
        .yaml("always.yaml", destination_rule("  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}\n"))
        .start();
    let reply = pair.get("/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: not-tls"));
    let record = pair.client.refusal("not-tls");
    assert_eq!(record["origin"]["label"], "default/server", "{record:#}");
}
