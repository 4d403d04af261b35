//! What each mode takes, port by port (PeerAuthentication), told apart by foreign clients.

use serde_json::json;
use sidering_tests::{
    Connection, HOST, Pair, Run, on_both_drivers, on_every_backend, origin, peer_authentication, record,
    s_client,
};

on_every_backend!(permissive_takes_plaintext_and_mtls, a_stranger_cannot_claim_an_identity);

on_both_drivers!(
    permissive_http_closes_ordinary_tls,
    permissive_tcp_passes_ordinary_tls_untouched,
    disable_takes_only_plaintext,
    a_port_may_differ_from_its_workload,
);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n";

fn permissive_takes_plaintext_and_mtls(run: Run) {
    let pair = Pair::start(run);
    assert_eq!(pair.get("/").status, 200);
    assert!(pair.origin.last().header("x-forwarded-client-cert").is_some());
    let reply = Connection::to(pair.server_http()).get(HOST, "/");
    assert_eq!(reply.text(), "this is server\n");
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), None);
    let told = s_client(pair.server_http(), Some(&pair.client_files), &["-alpn", "istio,http/1.1"], REQUEST);
    assert!(told.stdout.contains("this is server"), "{}{}", told.stdout, told.stderr);
}

fn a_stranger_cannot_claim_an_identity(run: Run) {
    let pair = Pair::start(run);
    let claimed = [("X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/ns/default/sa/admin")];
    let mut stranger = Connection::to(pair.server_http());
    assert_eq!(stranger.request("GET", HOST, "/", &claimed, b"").status, 200);
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), None);
    assert_eq!(pair.http().request("GET", HOST, "/", &claimed, b"").status, 200);
    let seen = pair.origin.last();
    let told: Vec<_> = seen
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-client-cert"))
        .collect();
    assert!(!told.is_empty() && told.iter().all(|(_, value)| !value.contains("sa/admin")), "{told:?}");
}

fn permissive_http_closes_ordinary_tls(run: Run) {
    let pair = Pair::start(run);
    let told = s_client(pair.server_http(), Some(&pair.client_files), &["-alpn", "http/1.1"], REQUEST);
    assert!(!told.stdout.contains("this is server"), "{}", told.stdout);
    let rest = json!({"origin": origin("default", "PERMISSIVE", ""), "detail": "*"});
    let expected = record("inbound", "accept", "127.0.0.1:*", pair.server_http(), rest);
    pair.server.on_record("tls-not-accepted", expected);
}

fn permissive_tcp_passes_ordinary_tls_untouched(run: Run) {
    let pair = Pair::start(run);
    // The application is an echo: the hello that it gets is the hello that comes back.
    let told = s_client(pair.server_tcp(), None, &["-msg"], b"");
    assert!(told.stdout.contains("<<< ") && told.stdout.contains("ClientHello"), "{}", told.stdout);
}

fn disable_takes_only_plaintext(run: Run) {
    let pair = Pair::with(run).yaml("off.yaml", peer_authentication("default", "DISABLE")).start();
    // Both sides know: the client's sidecar sends plain text by auto mTLS.
    assert_eq!(pair.get("/").status, 200);
    assert_eq!(pair.origin.last().header("x-forwarded-client-cert"), None);
    assert_eq!(Connection::to(pair.server_http()).get(HOST, "/").status, 200);
    let told = s_client(pair.server_http(), Some(&pair.client_files), &[], REQUEST);
    assert!(!told.stdout.contains("this is server"), "{}", told.stdout);
}

fn a_port_may_differ_from_its_workload(run: Run) {
    let policy = "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: server, namespace: default}
spec:
  selector: {matchLabels: {app: server}}
  mtls: {mode: STRICT}
  portLevelMtls:
    19090: {mode: PERMISSIVE}
";
    let pair = Pair::with(run).yaml("policy.yaml", policy).start();
    Connection::to(pair.server_http()).send(REQUEST).expect_closed_without_a_byte();
    let mut plain = Connection::to(pair.server_tcp());
    assert_eq!(plain.send("open").finish().read_to_end().expect("an orderly end"), b"open");
    assert_eq!(pair.get("/").status, 200);
}
