//! Refusals that have no story of their own: what provokes each, what the peer gets, and what is on record. The last
//! test holds the table of reasons against the tests.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sidering_tests::{
    Bootstrap, Connection, Gate, HOST, Leaf, Mesh, Origin, Pair, Pki, Run, Sidecar, Subnet, TcpOrigin, asked,
    destination_rule, on_both_drivers, on_every_backend, origin, peer_authentication, record, s_client,
    virtual_service,
};
use socket2::SockRef;

on_both_drivers!(
    a_listener_that_left_ends_its_connections,
    a_port_that_changes_its_protocol_ends_its_connections,
    a_connection_to_the_capture_port_itself,
    requests_that_are_none,
    a_path_that_hides_a_nul,
    a_hello_that_is_none,
    a_response_that_is_none,
    an_upstream_that_does_not_answer_in_time,
    an_upstream_that_resets,
    an_endpoint_that_takes_no_connection,
    an_endpoint_that_no_route_leads_to,
    an_endpoint_of_another_kind,
    a_port_without_a_service,
    a_sidecar_without_descriptors,
    a_provider_that_is_not_supported
);
on_every_backend!(
    a_peer_that_refuses_us,
    a_peer_with_nothing_in_common,
    a_certificate_that_nobody_understands,
    tls_to_a_port_that_speaks_plaintext,
    a_server_that_leaves_in_its_handshake,
    a_server_that_says_nothing_in_its_handshake,
    a_server_that_talks_nonsense_in_its_handshake
);

const TCP_CLUSTER: &str = "outbound|9090||server.default.svc.cluster.local";
/// Where the service's endpoint is written.
const ENDPOINT: &str = "service.yaml:12:5";
const CLUSTER: &str = "outbound|8080||server.default.svc.cluster.local";

fn a_listener_that_left_ends_its_connections(run: Run) {
    let pair = Pair::start(run);
    let mut kept = pair.tcp();
    kept.expect_echo("ping");
    reload_sidecars(&pair, "port: {number: 9090,", "port: {number: 9091,");
    kept.expect_closed_without_a_byte();
    let rest = json!({
        "cluster": TCP_CLUSTER,
        "upstream": pair.server_tcp(),
        "detail": "no listener * any more",
    });
    pair.client.on_record("no-listener", kept.record("outbound", "accept", rest));
}

fn a_port_that_changes_its_protocol_ends_its_connections(run: Run) {
    let pair = Pair::start(run);
    let mut kept = pair.tcp();
    kept.expect_echo("ping");
    reload_sidecars(&pair, "port: {number: 9090, protocol: TCP", "port: {number: 9090, protocol: HTTP");
    kept.expect_closed_without_a_byte();
    let rest = json!({
        "cluster": TCP_CLUSTER,
        "upstream": pair.server_tcp(),
        "origin": origin("Sidecar", "default/client", "sidecars.yaml:8:5"),
        "detail": "chain * became *",
    });
    pair.client.on_record("configuration-changed", kept.record("outbound", "accept", rest));
}

fn a_connection_to_the_capture_port_itself(run: Run) {
    let (directory, subnet) = (tempfile::tempdir().expect("there is room for a directory"), Subnet::new());
    Mesh::new(directory.path(), subnet).write("mesh.yaml", &peer_authentication("default", "STRICT"));
    let files = Pki::new(directory.path(), "ca").issue("server", &Leaf::workload("default", "server"));
    let mut bootstrap = Bootstrap::new(run, directory.path(), "server", subnet.ip(2), &files);
    let capture = subnet.address(2, 15006);
    bootstrap.more = format!("listeners: {{inbound: \"{capture}\"}}\n");
    let sidecar = Sidecar::start(&bootstrap);
    let mut connection = Connection::to(capture);
    connection.expect_closed_without_a_byte();
    let expected = connection.record("inbound", "accept", json!({"detail": "*has no original destination"}));
    sidecar.on_record("own-port", expected);
}

fn requests_that_are_none(run: Run) {
    let pair = Pair::start(run);
    let answer = |request: &str, status, reason: &str| {
        let mut connection = pair.http();
        // A refused head need not be taken whole.
        let _ = connection.stream().write_all(request.as_bytes());
        let reply = connection.reply_to("GET");
        assert_eq!((reply.status, reply.text()), (status, &*format!("sidering: {reason}")), "{request}");
        connection.record("outbound", "relay", json!({"detail": "*"}))
    };
    let nameless = answer("GET / HTTP/1.1\r\n\r\n", 400, "malformed-request");
    pair.client.on_record("malformed-request", nameless);
    let signed = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: +1\r\n\r\n");
    pair.client.on_record("malformed-request", answer(&signed, 400, "malformed-request"));
    let large = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    pair.client.on_record("headers-too-large", answer(&large, 431, "headers-too-large"));
    let connect = "CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\n";
    pair.client.on_record("not-implemented", answer(connect, 501, "not-implemented"));
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    pair.client.on_record("unsupported-version", answer(preface, 505, "unsupported-version"));
}

fn a_path_that_hides_a_nul(run: Run) {
    let decoding = "{pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}}";
    let pair = Pair::with(run).mesh_config(decoding).start();
    let mut connection = pair.http();
    assert_eq!(connection.get(HOST, "/a%00b").status, 400);
    let rest = json!({"request": asked("GET", HOST, "/a%00b"), "detail": "the path cannot be normalised"});
    pair.client.on_record("malformed-path", connection.record("outbound", "route", rest));
}

fn a_hello_that_is_none(run: Run) {
    let pair = Pair::start(run);
    let mut connection = Connection::to(pair.server_http());
    connection.send([22, 3, 1, 0, 4, 9, 0, 0, 0]).expect_closed_without_a_byte();
    let expected = connection.record("inbound", "sniff", json!({"detail": "*"}));
    pair.server.on_record("malformed-client-hello", expected);
}

fn a_response_that_is_none(run: Run) {
    let nonsense = TcpOrigin::start(|mut stream| {
        let mut request = [0; 1024];
        stream.read(&mut request).and_then(|_| stream.write_all(b"HTTP/1.1 two hundred\r\n\r\n"))
    });
    let pair = Pair::start(run);
    pair.put_behind(nonsense.address());
    assert_eq!(pair.get("/").status, 502);
    pair.server.on_record("malformed-response", of_application(&pair, "relay", nonsense.address(), "/"));
}

fn an_upstream_that_does_not_answer_in_time(run: Run) {
    // Holds what it is asked until the client leaves.
    let silent = TcpOrigin::start(|mut stream| stream.read_to_end(&mut Vec::new()).map(drop));
    let routes = "  - timeout: 1s\n    route: [{destination: {host: server.default.svc.cluster.local}}]\n";
    let pair = Pair::with(run).yaml("timeout.yaml", virtual_service(routes)).start();
    pair.put_behind(silent.address());
    let mut connection = pair.http();
    let reply = connection.get(HOST, "/slow");
    assert_eq!((reply.status, reply.text()), (504, "sidering: upstream-timeout"));
    let mut expected = of_endpoint(&connection, "relay", pair.server_http(), "/slow");
    expected["origin"] = origin("VirtualService", "default/server[0]", "timeout.yaml:7:5");
    expected["detail"] = "no answer within the route's timeout".into();
    pair.client.on_record("upstream-timeout", expected);
}

fn an_upstream_that_resets(run: Run) {
    let hasty = TcpOrigin::start(|mut stream| {
        let mut request = [0; 1024];
        stream.read(&mut request).and_then(|_| reset(&stream))
    });
    let pair = Pair::start(run);
    pair.put_behind(hasty.address());
    let reply = pair.get("/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: connection-reset"));
    pair.server.on_record("connection-reset", of_application(&pair, "relay", hasty.address(), "/"));
}

fn an_endpoint_that_takes_no_connection(run: Run) {
    let limit = "  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 200ms}}}\n";
    let pair = Pair::with(run).yaml("limit.yaml", destination_rule(limit)).start();
    let elsewhere = pair.subnet.address(7, 18080);
    let _gate = Gate::shut(elsewhere, pair.server_http());
    pair.move_endpoint("NET.7");
    let mut connection = pair.http();
    let reply = connection.get(HOST, "/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: connect-timeout"));
    pair.client.on_record("connect-timeout", of_endpoint(&connection, "connect", elsewhere, "/"));
}

fn an_endpoint_that_no_route_leads_to(run: Run) {
    let pair = Pair::start(run);
    // Nobody connects to a broadcast address.
    pair.move_endpoint("127.255.255.255");
    let mut connection = pair.http();
    let reply = connection.get(HOST, "/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: connect-unreachable"));
    let expected = of_endpoint(&connection, "connect", ([127, 255, 255, 255], 18080).into(), "/");
    pair.client.on_record("connect-unreachable", expected);
}

fn an_endpoint_of_another_kind(run: Run) {
    let pair = Pair::start(run);
    let path = pair.directory().join("datagrams.sock");
    let _socket = UnixDatagram::bind(&path).expect("the test's directory takes sockets");
    pair.put_behind(format!("unix://{}", path.display()));
    let reply = pair.get("/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: os-error"));
    pair.server.on_record("os-error", of_application(&pair, "connect", path.display(), "/"));
}

fn a_port_without_a_service(run: Run) {
    let pair = Pair::start(run);
    reload_sidecars(&pair, "port: {number: 9090,", "port: {number: 9091,");
    let mut connection = Connection::to(pair.subnet.address(1, 9091));
    connection.send("anybody?").expect_closed_without_a_byte();
    let rest = json!({
        "origin": origin("Sidecar", "default/client", "sidecars.yaml:8:5"),
        "detail": "BlackHoleCluster leads nowhere",
    });
    pair.client.on_record("black-hole", connection.record("outbound", "route", rest));
}

fn a_sidecar_without_descriptors(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.http();
    // Its descriptor is there, and none yet of an upstream.
    assert_eq!(connection.get("nobody.example", "/").status, 404);
    let reply = pair.client.without_files(|| connection.get(HOST, "/"));
    assert_eq!((reply.status, reply.text()), (503, "sidering: exhausted"));
    pair.client.on_record("exhausted", of_endpoint(&connection, "connect", pair.server_http(), "/"));
    assert_eq!(connection.get(HOST, "/").status, 200, "it goes on once there are some");
}

fn a_provider_that_is_not_supported(run: Run) {
    let custom = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                  metadata: {name: asks, namespace: default}\n\
                  spec: {action: CUSTOM, provider: {name: elsewhere}, rules: [{}]}\n";
    let pair = Pair::with(run).origin(Origin::named("server")).yaml("custom.yaml", custom).start();
    let reply = pair.get("/");
    assert_eq!((reply.status, reply.text()), (403, "RBAC: access denied"));
    let rest = json!({
        "request": asked("GET", HOST, "/"),
        "origin": origin("AuthorizationPolicy", "default/asks[0]", "custom.yaml:4:61"),
        "detail": "*its provider is not supported",
    });
    pair.server.on_record("custom-unsupported", of_client(&pair, "authorize", rest));
}

fn a_peer_that_refuses_us(run: Run) {
    let pair = Pair::with(run).client_leaf(Leaf::workload("default", "client").server_only()).start();
    let mut connection = pair.http();
    assert_eq!(connection.get(HOST, "/").status, 503);
    // Under TLS 1.3 a client is done before the server has looked at its certificate.
    pair.client.on_record("peer-alert", of_endpoint(&connection, "relay", pair.server_http(), "/"));
    pair.server.refusal("certificate-wrong-usage");
}

fn a_peer_with_nothing_in_common(run: Run) {
    let pair = Pair::with(run).mesh_config("{meshMTLS: {minProtocolVersion: TLSV1_3}}").start();
    let mesh = ["-tls1_2", "-alpn", "istio"];
    let told = s_client(pair.server_http(), Some(&pair.client_files), &mesh, b"");
    assert_ne!(told.code, 0, "{}", told.stdout);
    let expected = record(
        "inbound",
        "handshake",
        "127.0.0.1:*",
        pair.server_http(),
        json!({"detail": "nothing in common*"}),
    );
    pair.server.on_record("no-shared-parameters", expected);
}

fn a_certificate_that_nobody_understands(run: Run) {
    let pair = Pair::start(run);
    let leaf = Leaf::workload("default", "client").incomprehensible();
    let files = pair.pki.issue("odd", &leaf);
    let told = s_client(pair.server_http(), Some(&files), &["-alpn", "istio"], b"");
    assert_ne!(told.code, 0, "{}", told.stdout);
    let rest = json!({"detail": "bad certificate: *"});
    let expected = record("inbound", "handshake", "127.0.0.1:*", pair.server_http(), rest);
    pair.server.on_record("certificate-invalid", expected);
}

fn tls_to_a_port_that_speaks_plaintext(run: Run) {
    let pair = Pair::with(run)
        .yaml("off.yaml", peer_authentication("default", "DISABLE"))
        .yaml("always.yaml", destination_rule("  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}\n"))
        .start();
    let mut connection = pair.http();
    let reply = connection.get(HOST, "/");
    assert_eq!((reply.status, reply.text()), (503, "sidering: not-tls"));
    let rule = origin("DestinationRule", "default/server", "always.yaml:6:31");
    pair.client.on_record("not-tls", of_handshake(&connection, pair.server_http(), rule));
}

/// A server in the service's place that does something else than TLS once it has a hello: what the client gets.
fn instead_of_a_handshake(
    run: Run,
    reason: &str,
    answer: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> (Pair, Value) {
    let limit = "  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 2s}}}\n";
    let pair = Pair::with(run).yaml("limit.yaml", destination_rule(limit)).start();
    let elsewhere = pair.subnet.address(7, 18080);
    let _server = TcpOrigin::bind(elsewhere, move |mut stream| {
        let mut header = [0; 5];
        stream.read_exact(&mut header)?;
        stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))])?;
        answer(stream)
    });
    pair.move_endpoint("NET.7");
    let mut connection = pair.http();
    let reply = connection.get(HOST, "/");
    assert_eq!((reply.status, reply.text()), (503, &*format!("sidering: {reason}")));
    let expected = of_handshake(&connection, elsewhere, origin("default", "auto mTLS", ""));
    (pair, expected)
}

fn a_server_that_leaves_in_its_handshake(run: Run) {
    let (pair, expected) = instead_of_a_handshake(run, "tls-truncated", |_| Ok(()));
    pair.client.on_record("tls-truncated", expected);
}

fn a_server_that_says_nothing_in_its_handshake(run: Run) {
    let silence = |mut stream: TcpStream| stream.read_to_end(&mut Vec::new()).map(drop);
    let (pair, expected) = instead_of_a_handshake(run, "handshake-timeout", silence);
    pair.client.on_record("handshake-timeout", expected);
}

fn a_server_that_talks_nonsense_in_its_handshake(run: Run) {
    // A ServerHello without anything in it.
    let nonsense = |mut stream: TcpStream| {
        stream.write_all(&[22, 3, 3, 0, 4, 2, 0, 0, 0])?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    };
    let (pair, expected) = instead_of_a_handshake(run, "handshake-failed", nonsense);
    pair.client.on_record("handshake-failed", expected);
}

/// On record at the client: a request to the service failed at that endpoint.
fn of_endpoint(connection: &Connection, phase: &str, endpoint: SocketAddr, path: &str) -> Value {
    let rest = json!({
        "request": asked("GET", HOST, path),
        "cluster": CLUSTER,
        "upstream": endpoint,
        "origin": origin("ServiceEntry", "default/server", ENDPOINT),
        "detail": "*",
    });
    connection.record("outbound", phase, rest)
}

/// The same of a handshake, which somebody asked for and which was to end with the service.
fn of_handshake(connection: &Connection, endpoint: SocketAddr, asked_for: Value) -> Value {
    let mut record = of_endpoint(connection, "handshake", endpoint, "/");
    record["origin"] = asked_for;
    record["expected"] = json!([{
        "name": "spiffe://cluster.local/ns/default/sa/server",
        "from": format!("serviceAccount of an endpoint, ServiceEntry default/server (*/mesh/{ENDPOINT})"),
    }]);
    record
}

/// On record at the server: of a connection from the client's sidecar.
fn of_client(pair: &Pair, phase: &str, rest: Value) -> Value {
    let mut record = record("inbound", phase, "127.0.0.1:*", pair.server_http(), rest);
    record["presented"] = pair.client_files.presented(&["spiffe://cluster.local/ns/default/sa/client"]);
    record["server_name"] = "outbound_.8080_._.server.default.svc.cluster.local".into();
    record
}

/// On record at the server: the client's request failed at the application.
fn of_application(pair: &Pair, phase: &str, application: impl ToString, path: &str) -> Value {
    let rest = json!({
        "request": asked("GET", HOST, path),
        "cluster": "inbound|18080||",
        "upstream": application.to_string(),
        "origin": origin("Sidecar", "default/server", "sidecars.yaml:16:5"),
        "detail": "*",
    });
    of_client(pair, phase, rest)
}

fn reload_sidecars(pair: &Pair, before: &str, after: &str) {
    let sidecars = fs::read_to_string(pair.mesh.path("sidecars.yaml")).expect("the pair wrote it");
    pair.reload(|mesh| mesh.write("sidecars.yaml", &sidecars.replace(before, after)));
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// docs/reasons.md has a row for every reason, which the unit tests of the table see to.
#[test]
fn every_reason_is_provoked_by_a_test_that_reads_its_record() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path:?}: {why}"));
    let document = read(root.join("docs/reasons.md"));
    let reasons: BTreeSet<&str> =
        document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();

    let stories = fs::read_dir(root.join("tests/e2e")).expect("the stories are there");
    let mut tests: Vec<PathBuf> =
        stories.map(|story| story.map(|story| story.path()).expect("it can be listed")).collect();
    tests.retain(|path| path.is_file());
    tests.push(root.join("crates/proxy/tests/data_path/main.rs"));
    let sources: String = tests.into_iter().map(read).collect();
    let asserted: BTreeSet<&str> = sources
        .split(".on_record(")
        .filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    let missing: Vec<_> = reasons.difference(&asserted).collect();
    assert!(missing.is_empty(), "no test reads the record of {missing:?}");
}
