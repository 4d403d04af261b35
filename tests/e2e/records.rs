//! What an operator gets to see: the access log, the metrics, `status` and `explain`.

use sidering_tests::{HOST, Pair, Run, allow, on_both_drivers, on_every_backend};

on_every_backend!(the_access_log_tells_who_spoke_how);
on_both_drivers!(
    metrics_count_requests_and_refusals,
    bytes_of_a_live_connection_are_counted_as_they_move,
    latency_says_whose_time_it_was,
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
    let client = "source_principal=\"spiffe://cluster.local/ns/default/sa/client\"";
    let service = "destination_service=\"server.default.svc.cluster.local\"";
    let short = "destination_service_name=\"server\",destination_service_namespace=\"default\"";
    for (sidecar, reporter) in
        [(&pair.server, "reporter=\"destination\""), (&pair.client, "reporter=\"source\"")]
    {
        let served = [
            reporter,
            client,
            service,
            short,
            "mutual_tls",
            "response_code=\"200\"",
            "request_protocol=\"http\"",
        ];
        assert_eq!(sidecar.metric("istio_requests_total", &served), 3.0, "{}", sidecar.metrics());
        let refused = [reporter, client, service, "response_code=\"403\""];
        assert_eq!(sidecar.metric("istio_requests_total", &refused), 1.0, "{}", sidecar.metrics());
        assert_eq!(sidecar.metric("istio_request_duration_milliseconds_count", &served), 3.0);
    }
    assert_eq!(pair.server.metric("istio_request_bytes_sum", &["reporter"]), 0.0);
    assert!(pair.client.metric("istio_response_bytes_sum", &["response_code=\"403\""]) > 0.0);
    assert_eq!(pair.server.metric("sidering_detections_total", &["inbound", "outcome=\"tls\""]), 1.0);
    assert_eq!(
        pair.client.metric("sidering_detections_total", &["outbound"]),
        0.0,
        "the port says what it is"
    );
    assert_eq!(pair.server.metric("sidering_snapshot_version", &[]), pair.server.version() as f64);
}

fn bytes_of_a_live_connection_are_counted_as_they_move(run: Run) {
    let pair = Pair::start(run);
    let mut kept = pair.tcp();
    kept.expect_echo("ping");
    for (sidecar, reporter) in [(&pair.server, "destination"), (&pair.client, "source")] {
        let reporter = format!("reporter=\"{reporter}\"");
        let of = [reporter.as_str(), "request_protocol=\"tcp\"", "mutual_tls"];
        sidecar.wait_metric("istio_tcp_sent_bytes_total", &of, 4.0);
        assert_eq!(sidecar.metric("istio_tcp_received_bytes_total", &of), 4.0);
        assert_eq!(sidecar.metric("istio_tcp_connections_opened_total", &of), 1.0);
        assert_eq!(sidecar.metric("istio_tcp_connections_closed_total", &of), 0.0);
    }
    drop(kept);
    pair.server.wait_metric("istio_tcp_connections_closed_total", &["tcp"], 1.0);
}

fn latency_says_whose_time_it_was(run: Run) {
    let pair = Pair::start(run);
    let mut connection = pair.http();
    for _ in 0..20 {
        assert_eq!(connection.get(HOST, "/").status, 200);
    }
    for (sidecar, direction) in [(&pair.server, "inbound"), (&pair.client, "outbound")] {
        sidecar.wait_metric("sidering_phase_duration_seconds_count", &[direction, "phase=\"own\""], 20.0);
        let latency = sidecar.ask(&["status", "--latency"]).json();
        let phase = |name: &str| latency[direction][name].clone();
        for (name, count) in [("accept", 1), ("connect", 1), ("authorize", 20), ("first_byte", 20)] {
            assert_eq!(phase(name)["count"], count, "{name}: {latency:#}");
        }
        assert_eq!(phase("handshake")["count"], if direction == "inbound" { 1 } else { 0 }, "{latency:#}");
        let median = |name: &str| phase(name)["p50"].as_f64().expect("it was observed");
        // The server's sidecar answers the client's: what one waits for holds all that the other does.
        assert!(median("authorize") > 0.0 && median("authorize") <= median("own"), "{latency:#}");
        assert!(median("first_byte") > median("authorize"), "{latency:#}");
    }
    assert_eq!(connection.get("nobody.example", "/").status, 404);
    let latency = pair.client.ask(&["status", "--latency"]).json();
    assert_eq!(latency["outbound"]["own"]["count"], 20, "what failed is not the sidecar's time: {latency:#}");
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
