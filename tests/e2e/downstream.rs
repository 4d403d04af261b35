//! Foreign clients straight at the server's mTLS port: who is let in, who is not, and what is on record about it.

use serde_json::{Value, json};
use sidering_tests::{
    Connection, Files, Leaf, Pair, Pki, Run, asked, curl, on_both_drivers, on_every_backend, origin,
    peer_authentication, record, s_client,
};

on_every_backend!(
    the_right_certificate_is_let_in,
    a_certificate_of_another_authority_is_refused,
    an_expired_certificate_is_refused,
    a_certificate_that_is_not_valid_yet_is_refused,
    a_servers_certificate_is_no_clients,
    no_certificate_is_refused,
    two_spiffe_ids_are_none,
    a_foreign_trust_domain_is_refused,
    tls_1_2_is_taken_and_1_1_is_not,
    http_2_alone_is_not_spoken,
);

on_both_drivers!(
    plaintext_to_strict_is_closed_without_a_byte,
    noise_to_strict_is_closed_without_a_byte,
    a_hello_may_come_byte_by_byte,
);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n";

fn strict(run: Run) -> Pair {
    Pair::with(run).yaml("strict.yaml", peer_authentication("default", "STRICT")).start()
}

/// Presents that leaf, sees nothing of the application, and gives what is on record of it.
#[track_caller]
fn refused(pair: &Pair, certificate: Option<&Files>, phase: &str) -> Value {
    let told = s_client(pair.server_http(), certificate, &[], REQUEST);
    assert!(!told.stdout.contains("this is server"), "{}", told.stdout);
    assert_eq!(pair.origin.seen(), []);
    record("inbound", phase, "127.0.0.1:*", pair.server_http(), json!({"detail": "*"}))
}

fn the_right_certificate_is_let_in(run: Run) {
    let pair = strict(run);
    let told = s_client(pair.server_http(), Some(&pair.client_files), &[], REQUEST);
    assert!(told.stdout.contains("this is server"), "{}{}", told.stdout, told.stderr);
    let url = format!("https://{}/", pair.server_http());
    let (certificate, key) = (path(&pair.client_files.certificate), path(&pair.client_files.key));
    let told = curl(&[&url, "--insecure", "--cert", &certificate, "--key", &key]);
    assert_eq!(told.ok(), "this is server\n");
}

fn a_certificate_of_another_authority_is_refused(run: Run) {
    let pair = strict(run);
    let files = Pki::new(pair.directory(), "stranger").issue("wrong", &Leaf::workload("default", "client"));
    pair.server.on_record("unknown-ca", refused(&pair, Some(&files), "handshake"));
}

fn an_expired_certificate_is_refused(run: Run) {
    let pair = strict(run);
    let files = pair.pki.issue("expired", &Leaf::workload("default", "client").expired());
    pair.server.on_record("certificate-expired", refused(&pair, Some(&files), "handshake"));
}

fn a_certificate_that_is_not_valid_yet_is_refused(run: Run) {
    let pair = strict(run);
    let files = pair.pki.issue("early", &Leaf::workload("default", "client").not_yet_valid());
    pair.server.on_record("certificate-not-yet-valid", refused(&pair, Some(&files), "handshake"));
}

fn a_servers_certificate_is_no_clients(run: Run) {
    let pair = strict(run);
    let files = pair.pki.issue("usage", &Leaf::workload("default", "client").server_only());
    pair.server.on_record("certificate-wrong-usage", refused(&pair, Some(&files), "handshake"));
}

fn no_certificate_is_refused(run: Run) {
    let pair = strict(run);
    pair.server.on_record("no-client-certificate", refused(&pair, None, "handshake"));
}

fn two_spiffe_ids_are_none(run: Run) {
    let pair = strict(run);
    let leaf = Leaf::workload("default", "client").uri("spiffe://cluster.local/ns/default/sa/admin");
    let files = pair.pki.issue("two", &leaf);
    let mut expected = refused(&pair, Some(&files), "naming");
    let names = ["spiffe://cluster.local/ns/default/sa/client", "spiffe://cluster.local/ns/default/sa/admin"];
    expected["presented"] = files.presented(&names);
    pair.server.on_record("many-uri-names", expected);
}

fn a_foreign_trust_domain_is_refused(run: Run) {
    let pair = strict(run);
    let leaf = Leaf::nameless().uri("spiffe://elsewhere.example/ns/default/sa/client");
    let files = pair.pki.issue("foreign", &leaf);
    let mut expected = refused(&pair, Some(&files), "naming");
    expected["presented"] = files.presented(&["spiffe://elsewhere.example/ns/default/sa/client"]);
    pair.server.on_record("trust-domain-mismatch", expected);
}

fn tls_1_2_is_taken_and_1_1_is_not(run: Run) {
    let pair = strict(run);
    let told = s_client(pair.server_http(), Some(&pair.client_files), &["-tls1_2"], REQUEST);
    assert!(told.stdout.contains("this is server"), "{}{}", told.stdout, told.stderr);
    let old = ["-tls1_1", "-cipher", "ALL@SECLEVEL=0"];
    let told = s_client(pair.server_http(), Some(&pair.client_files), &old, REQUEST);
    assert!(!told.stdout.contains("this is server"), "{}", told.stdout);
}

/// As Envoy, we go on without a protocol where nothing that the client offers is ours; what it then says is answered.
fn http_2_alone_is_not_spoken(run: Run) {
    let pair = strict(run);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let told = s_client(pair.server_http(), Some(&pair.client_files), &["-alpn", "h2"], preface);
    assert!(told.stdout.contains("No ALPN negotiated"), "{}", told.stdout);
    assert!(told.stdout.contains("HTTP/1.1 505 "), "{}", told.stdout);
    assert!(told.stdout.contains("sidering: unsupported-version"), "{}", told.stdout);
    let rest = json!({
        "presented": pair.client_files.presented(&["spiffe://cluster.local/ns/default/sa/client"]),
        "detail": "*",
    });
    let expected = record("inbound", "relay", "127.0.0.1:*", pair.server_http(), rest);
    pair.server.on_record("unsupported-version", expected);

    // Where plaintext is taken too, TLS that is not the mesh's has no chain.
    pair.server.reload(|| pair.mesh.write("strict.yaml", &peer_authentication("default", "PERMISSIVE")));
    let told = s_client(pair.server_http(), Some(&pair.client_files), &["-alpn", "h2"], preface);
    assert!(!told.stdout.contains("505"), "{}", told.stdout);
    let by = origin("PeerAuthentication", "default/default", "strict.yaml:4:21");
    let rest = json!({"origin": by, "detail": "TLS that no chain of port 18080 takes*"});
    let expected = record("inbound", "accept", "127.0.0.1:*", pair.server_http(), rest);
    pair.server.on_record("tls-not-accepted", expected);
    assert_eq!(pair.origin.seen(), []);
}

fn plaintext_to_strict_is_closed_without_a_byte(run: Run) {
    let pair = strict(run);
    let mut connection = Connection::to(pair.server_http());
    connection.send(REQUEST).expect_closed_without_a_byte();
    let rest = json!({
        "request": asked("GET", "server", "/"),
        "origin": origin("PeerAuthentication", "default/default", "strict.yaml:4:21"),
        "detail": "*",
    });
    pair.server.on_record("plaintext-to-strict", connection.record("inbound", "accept", rest));
    let told = curl(&[&format!("http://{}/", pair.server_http())]);
    assert!([52, 56].contains(&told.code), "{told:?}");
    assert_eq!(told.stdout, "");
    assert_eq!(pair.origin.seen(), []);
}

fn noise_to_strict_is_closed_without_a_byte(run: Run) {
    let pair = strict(run);
    for port in [pair.server_http(), pair.server_tcp()] {
        Connection::to(port).send([0xff; 64]).expect_closed_without_a_byte();
        Connection::to(port).finish().expect_closed_without_a_byte();
    }
}

fn a_hello_may_come_byte_by_byte(run: Run) {
    let pair = strict(run);
    // A real hello, taken from openssl: the sidecar answers it with a ServerHello whatever its segments are.
    let listener = std::net::TcpListener::bind((pair.subnet.ip(9), 0)).expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    let client = std::thread::spawn(move || s_client(address, None, &[], b""));
    let (mut stream, _) = listener.accept().expect("openssl connects");
    let mut header = [0; 5];
    std::io::Read::read_exact(&mut stream, &mut header).expect("openssl sends a record");
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    std::io::Read::read_exact(&mut stream, &mut hello).expect("openssl sends a whole record");
    drop((stream, listener));
    client.join().expect("the client's thread does not panic");
    let mut connection = Connection::to(pair.server_http());
    for byte in header.iter().chain(&hello) {
        connection.send([*byte]);
    }
    let mut first = [0; 3];
    std::io::Read::read_exact(connection.stream(), &mut first).expect("the server answers");
    assert_eq!(first[..2], [22, 3], "a handshake record");
}

fn path(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
