//! What an operator gets to see: the access log, the metrics, `status` and `explain`.

use sidering_tests::{HOST, Pair, Run, allow, on_both_drivers, on_every_backend};

on_every_backend!(the_access_log_tells_who_spoke_how);
on_both_drivers!(
    metrics_count_requests_and_refusals,
    status_tells_what_runs,
    explain_finds_a_refusal_by_its_id
);

fn the_access_log_tells_who_spoke_how(run: Run) {
    let pair = Pair::start(run);
    assert_eq!(pair.get("/logged").status, 200);
    let inbound = pair.server.logged("the request", |entry| entry["path"] == "/logged");
    assert_eq!(inbound["source_principal"], "spiffe://cluster.local/ns/default/sa/client", "{inbound:#}");
    let tls = &inbound["downstream_tls"];
    assert_eq!(tls["version"], "TLSv1.3", "{inbound:#}");
    assert!(tls["cipher"].as_str().is_some_and(|cipher| cipher.contains("GCM")), "{inbound:#}");
    assert!(tls["group"].as_str().is_some_and(|group| group.contains("25519")), "{inbound:#}");
    assert_eq!(tls["peer_serial"], pair.client_files.serial.as_str(), "{inbound:#}");
    assert_eq!(inbound["response_code"], 200, "{inbound:#}");
    let outbound = pair.client.logged("the request", |entry| entry["path"] == "/logged");
    assert_eq!(
        outbound["destination_principal"], "spiffe://cluster.local/ns/default/sa/server",
        "{outbound:#}"
    );
    assert_eq!(outbound["upstream_tls"]["peer_serial"], pair.server_files.serial.as_str(), "{outbound:#}");
}

fn metrics_count_requests_and_refusals(run: Run) {
    let rule = "to: [{operation: {methods: [GET]}}]";
    let pair = Pair::with(run).yaml("readers.yaml", allow("readers", rule)).start();
    let mut connection = pair.http();
    for _ in 0..3 {
        assert_eq!(connection.get(HOST, "/").status, 200);
    }
    assert_eq!(connection.request("PUT", HOST, "/", &[], b"").status, 403);
    pair.server.refusal("not-allowed-by-policy");
    let reason = "reason=\"not-allowed-by-policy\"";
    assert_eq!(pair.server.metric("sidering_refusals_total", &[reason]), 1.0);
    assert_eq!(pair.server.metric("istio_requests_total", &["response_code=\"200\""]), 3.0);
    assert_eq!(pair.server.metric("istio_requests_total", &["response_code=\"403\""]), 1.0);
    assert_eq!(pair.server.metric("sidering_snapshot_version", &[]), pair.server.version() as f64);
}

fn status_tells_what_runs(run: Run) {
    let pair = Pair::start(run);
    let status = pair.server.status();
    assert_eq!(status["driver"], run.driver, "{status:#}");
    assert_eq!(status["backend"], run.backend, "{status:#}");
    assert_eq!(status["certificate"]["serial"], pair.server_files.serial.as_str(), "{status:#}");
    let before = pair.server.version();
    pair.server.reload(|| pair.mesh.write("readers.yaml", &allow("readers", "{}")));
    assert!(pair.server.version() > before);
}

fn explain_finds_a_refusal_by_its_id(run: Run) {
    let pair =
        Pair::with(run).yaml("nobody.yaml", allow("nobody", "to: [{operation: {paths: [/no]}}]")).start();
    assert_eq!(pair.get("/").status, 403);
    let last = pair.server.refusal("not-allowed-by-policy");
    let id = last["id"].to_string().trim_matches('"').to_owned();
    let found = pair.server.ask(&["explain", &id]).json();
    assert_eq!(found, last);
    assert_eq!(pair.server.ask(&["explain", "99999999"]).code, 1);
}
